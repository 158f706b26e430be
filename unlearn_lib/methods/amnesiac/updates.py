"""Updates of a training run as rows of numbers, and which entries of each are kept.

An update is the change that one optimizer step made, U = parameters after - before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.methods.layers import Keep, Layers, random_scores, top
from unlearn_lib.params import Params

__all__ = ["KeepRule", "Updates", "check_rule", "kept_entries", "undo", "update_nbytes"]

KeepRule = Literal["magnitude", "random", "global"]


def check_rule(rule: KeepRule, keep: Keep) -> None:
    """Raise `ValueError` for a rule that does not exist, or that cannot use this `keep`."""
    check.choice("rule", rule, get_args(KeepRule))
    if rule == "global" and isinstance(keep, Mapping):
        raise ValueError(
            '`keep` must be one number for `rule="global"`, which has one budget for all layers.'
        )


@dataclass(frozen=True)
class Updates:
    """Updates of some steps of one run, in chronological order.

    Args:
        layers: how a row is cut into layers.
        keys: (epoch, step) of each row.
        rows: the updates, one a row.
        seed: of the run; the "random" rule draws from (seed, epoch, step, layer).
    """

    layers: Layers
    keys: Sequence[tuple[int, int]]
    rows: Float[Tensor, "m n"]
    seed: int

    def __post_init__(self) -> None:
        check.instance("layers", self.layers, Layers)
        check.whole("seed", self.seed)
        check.fit("keys", self.keys, Sequence[tuple[int, int]])
        rows = check.tensor("rows", self.rows, "m n")
        if tuple(rows.shape) != (len(self.keys), self.layers.n):
            raise ValueError(
                f"`rows` must have shape [{len(self.keys)}, {self.layers.n}], one update a key; "
                f"got {list(rows.shape)}."
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, part: slice) -> Updates:
        return Updates(self.layers, self.keys[part], self.rows[part], self.seed)

    def kept(self, keep: Keep, rule: KeepRule = "magnitude") -> Bool[Tensor, "m n"]:
        """KEEP: which entries of each update are kept (S_l); the other 1 - p are pruned.

        Args:
            keep: the share p in [0, 1], a number or by layer (layers not named are off). Layer l keeps
                k_l = ceil(p n_l) entries.
            rule: "magnitude" keeps the largest abs(U_l), ties by lower index; "random" draws them; "global"
                gives all layers one budget ceil(p n), ranked by magnitude: some layers starve.
        """
        check_rule(rule, keep)
        if rule == "global":
            return top(self.rows.abs(), kept_entries(self.layers, keep, rule))
        if rule == "magnitude":
            return self.layers.top(self.rows.abs(), keep)
        scores = [random_scores(self.layers, self.seed, *key) for key in self.keys]
        if not scores:
            return torch.zeros_like(self.rows, dtype=torch.bool)
        return self.layers.top(torch.stack(scores).to(self.rows.device), keep)


def undo(params: Params, updates: Updates, keep: Keep = 1.0, rule: KeepRule = "magnitude") -> Params:
    """`params` less the kept part of these updates: forgetting as a pure function, for exploring.

    From one full recording (``record(..., keep=1)``, then ``log.updates(ids)``) any share, rule or choice of
    layers is answered at once, bit for bit as if the training run had been recorded with it; ``updates[:k]``
    undoes the first k batches only.

    Args:
        params: of the trained model; left unchanged.
        updates: rows to undo, in chronological order.
        keep: share in [0, 1], a number or by layer; layers not named are off.
        rule: see `Updates.kept`.

    Returns:
        New parameters.
    """
    check.instance("params", params, Mapping)
    theta = check.instance("updates", updates, Updates).layers.flatten(params)
    for U, S in zip(updates.rows, updates.kept(keep, rule), strict=True):
        theta[S] -= U[S]
    return {**params, **updates.layers.unflatten(theta)}


def kept_entries(layers: Layers, keep: Keep, rule: KeepRule = "magnitude") -> int:
    """K: how many entries of an update are kept."""
    check_rule(rule, keep)
    check.instance("layers", layers, Layers)
    if rule == "global":
        return sum(Layers({"all": (layers.n,)}).budgets(keep).values())
    return sum(layers.budgets(keep).values())


def update_nbytes(layers: Layers, keep: Keep, rule: KeepRule = "magnitude", itemsize: int = 4) -> int:
    """Bytes of one stored update of n entries of which K are kept: itemsize K + min(4 K, ceil(n / 8)).

    Values, and beside them int32 positions or a bitmask: in float32 8p or 4p + 1/8 bytes an entry. A full
    update is 4 bytes an entry, so pruning saves storage where 4p + 1/8 < 4.
    """
    K = kept_entries(layers, keep, rule)
    itemsize = check.whole("itemsize", itemsize, 1)
    return itemsize * K + min(4 * K, math.ceil(layers.n / 8))
