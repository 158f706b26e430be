"""SISA's partition: who is in which slice of which shard, and what a request costs there, by counting alone.

D_{s,r} is slice r of shard s; stage r of a shard trains on its slices 1 ... r together for e_r epochs. Cost
is counted in sample visits, samples times epochs, which no busy machine disturbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Shaped
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples, check_examples, keyed_order, mix

__all__ = ["Deal", "Partition", "expected_shards", "expected_visits", "partition", "stage_epochs"]

Deal = Literal["keyed", "strat", "hash", "prior"]


@dataclass(frozen=True)
class Partition:
    """S shards of R slices of ids; ``cells[s - 1][r - 1]`` are the ids of D_{s,r}, which may be none.

    Raises:
        ValueError: no shard, no slice, shards with different numbers of slices, or an id in two cells.
    """

    cells: tuple[tuple[Tensor, ...], ...] = field(repr=False)

    def __post_init__(self) -> None:
        check.instance("cells", self.cells, (tuple, list))
        cells = tuple(
            tuple(
                check.column(f"cells[{s}][{r}]", cell)
                for r, cell in enumerate(check.instance(f"cells[{s}]", shard, (tuple, list)))
            )
            for s, shard in enumerate(self.cells)
        )
        object.__setattr__(self, "cells", cells)
        slices = {len(shard) for shard in cells}
        if len(slices) != 1 or slices == {0}:
            raise ValueError(f"`cells` must be shards of one number of slices; got {sorted(slices)}.")
        ids = torch.cat(self.flat)
        if len(ids.unique()) < len(ids):
            raise ValueError("`cells` must be disjoint; at least one id is in two of them.")

    @classmethod
    def of(cls, flat: Sequence[Tensor], slices: int) -> Partition:
        """From the cells in one row, shard after shard."""
        check.whole("slices", slices, 1)
        return cls(tuple(tuple(flat[k : k + slices]) for k in range(0, len(flat), slices)))

    @property
    def flat(self) -> tuple[Tensor, ...]:
        """The cells in one row, shard after shard."""
        return tuple(cell for shard in self.cells for cell in shard)

    @property
    def shards(self) -> int:
        """S."""
        return len(self.cells)

    @property
    def slices(self) -> int:
        """R."""
        return len(self.cells[0])

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """The number of samples in every cell, shard by shard."""
        return tuple(tuple(len(cell) for cell in shard) for shard in self.cells)

    def without(self, ids: Ids) -> Partition:
        """The same cells without these ids; no other id moves."""
        gone = check.ids(ids)
        return Partition.of([cell[~torch.isin(cell, gone)] for cell in self.flat], self.slices)

    def restarts(self, ids: Ids) -> dict[int, int]:
        """{s: j}: the shards that hold any of these ids, and the lowest slice that does.

        Raises:
            ValueError: an id is in no cell.
        """
        wanted = check.ids(ids)
        unknown = wanted[~torch.isin(wanted, torch.cat(self.flat))]
        if len(unknown):
            raise ValueError(
                f"`ids` must be in the partition; {len(unknown)} are not, among them {unknown[:5].tolist()}."
            )
        first: dict[int, int] = {}
        for k, cell in enumerate(self.flat):
            if torch.isin(cell, wanted).any():
                first.setdefault(k // self.slices + 1, k % self.slices + 1)
        return first

    def visits(self, budget: int, ids: Ids | None = None) -> int:
        """Samples times epochs to train everything or, given `ids`, to redo what forgetting them touches.

        Args:
            budget: e', full epochs that a shard would get without slicing.
            ids: to forget.
        """
        restarts = dict.fromkeys(range(1, self.shards + 1), 1) if ids is None else self.restarts(ids)
        left = self.sizes if ids is None else self.without(ids).sizes
        R = self.slices
        return sum(
            stage_epochs(r, R, budget) * sum(left[s - 1][:r])
            for s, j in restarts.items()
            for r in range(j, R + 1)
        )


def partition(
    data: Examples,
    shards: int,
    slices: int,
    mode: Deal = "keyed",
    *,
    seed: int = 0,
    likely: Shaped[Tensor, " n"] | Sequence[float] | None = None,
) -> Partition:
    """PARTITION(ids, S, R, mode): deal the samples into shards and slices.

    Args:
        data: the training set, n samples.
        shards: S, at least 1.
        slices: R, at least 1; S * R is at most n.
        mode: "keyed": dealt in turn in an order keyed by (seed, id); sizes differ by at most one.
            "strat": the same class by class. "hash": the cell is a hash of (seed, id), so that removing an
            id moves no other even if the partition is made anew; sizes vary and cells can be empty.
            "prior": in the order of `likely`, so that those likely to go are in the last slices of the last
            shards. A whole class kept together is cheap to forget and hard to learn: few shards know it,
            and they are outvoted.
        seed: of the deal.
        likely: only and always with "prior": how likely a deletion of each sample is, in any unit, such as
            ``(data.y == 3).float()``.

    Raises:
        ValueError: unknown mode, more cells than samples, or `likely` where it does not belong.

    Example:
        >>> cells = ul.partition(data, shards=2, slices=3)
        >>> cells.restarts([7])  # forgetting it redoes this shard from this slice on
        {1: 1}
    """
    n = len(check_examples("data", data))
    S, R, seed = check.whole("shards", shards, 1), check.whole("slices", slices, 1), check.whole("seed", seed)
    if n < S * R:
        raise ValueError(f"`shards * slices` must be at most {n}, the number of samples; got {S} * {R}.")
    check.choice("mode", mode, get_args(Deal))
    if (likely is None) == (mode == "prior"):
        raise ValueError(f'`likely` must be given with mode "prior" and with no other; mode is {mode!r}.')
    ids, order = data.ids.cpu(), keyed_order(data.ids, seed).cpu()
    if mode == "hash":
        cell = torch.tensor([mix(seed, i) % (S * R) for i in ids.tolist()])
        return Partition.of([ids[cell == k] for k in range(S * R)], R)
    if likely is not None:
        chances = check.finite("likely", check.as_tensor("likely", likely), "n").cpu()
        if len(chances) != n:
            raise ValueError(f"`likely` must have one value for each of {n} samples; got {len(chances)}.")
        order = order[chances[order].argsort(stable=True)]
        return Partition(tuple(ids[shard].tensor_split(R) for shard in order.tensor_split(S)))
    if mode == "strat":
        order = order[data.y.cpu()[order].argsort(stable=True)]
    return Partition(tuple(tuple(ids[order[s::S][r::R]] for r in range(R)) for s in range(S)))


def stage_epochs(r: int, slices: int, budget: int) -> int:
    """e_r = floor(2 e' r / (R+1)) - floor(2 e' (r-1) / (R+1)), in whole numbers.

    Stage r visits r/R of the shard, so all stages together cost e' epochs of it, as without slicing.

    Args:
        r: stage, in 1 ... R.
        slices: R.
        budget: e', at least 0.
    """
    slices, budget = check.whole("slices", slices, 1), check.whole("budget", budget, 0)
    r = check.whole("r", r, 1, slices)
    return 2 * budget * r // (slices + 1) - 2 * budget * (r - 1) // (slices + 1)


def expected_visits(n: int, shards: int, slices: int, budget: int, requests: int = 1) -> float:
    """Expected visits to forget K samples at once, drawn uniformly.

        work = e' N sum_r 2r / (R (R+1)) (1 - (1 - r/(SR))^K)      K = 1:  e' (N/S) (2/3 + 1/(3R))

    The bracket is the chance that stage r of a shard is redone: one of the K is in its slices 1 ... r.

    Args:
        n: N, training samples.
        shards: S.
        slices: R.
        budget: e'.
        requests: K, small beside N.

    Raises:
        ValueError: a number is negative, or there is no shard or slice.
        TypeError: a number is not whole.
    """
    n, budget = check.whole("n", n, 0), check.whole("budget", budget, 0)
    S, R = check.whole("shards", shards, 1), check.whole("slices", slices, 1)
    K = check.whole("requests", requests, 0)
    redone = (2 * r / (R * (R + 1)) * (1 - (1 - r / (S * R)) ** K) for r in range(1, R + 1))
    return budget * n * sum(redone)


def expected_shards(shards: int, requests: int) -> float:
    """S (1 - (1 - 1/S)^K): shards touched by K samples drawn uniformly.

    Raises:
        ValueError: no shard, or K is negative.
        TypeError: a number is not whole.
    """
    S, K = check.whole("shards", shards, 1), check.whole("requests", requests, 0)
    return float(S * (1 - (1 - 1 / S) ** K))
