"""Block-wise training: a chain of models M_0 ... M_B, one stored after each block; it can be replaced."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples, keyed_order
from unlearn_lib.methods.deepobliviate.decay import Trend
from unlearn_lib.methods.stages import Building, Fit, Stages, building, check_fit, forget, train_stages
from unlearn_lib.params import Params, add, subtract
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step, as_run, train

__all__ = ["Chain", "ResidualTrace", "chaining", "cut_into_blocks", "train_chain"]

Reason = Literal["trend", "identical", "end of chain", "asked to stop", "nothing to forget"]


@dataclass(frozen=True)
class ResidualTrace:
    """What DeepObliviate measured on its way.

    `residual` and `gap` hold Delta_k and G_k = ||P_k - P'_k||_1 for k = d_min ... T; `retrained` the full
    states M'_k of the same blocks. The window that the stop rule sees begins at d_max. `exact` says that the
    model is, bit for bit, what training without the samples gives. It is False for a chain whose loop is
    one's own, even where T = B: whether that loop repeats itself we cannot know.
    """

    ids: tuple[int, ...]
    d_min: int
    d_max: int
    T: int
    blocks: int
    reason: Reason
    residual: tuple[float, ...]
    gap: tuple[float, ...]
    trend: Trend | None
    exact: bool
    retrained: tuple[Params, ...] = field(repr=False)

    @property
    def window(self) -> tuple[float, ...]:
        """The residuals from d_max on: what the stop rule tests."""
        return self.residual[self.d_max - self.d_min :]

    @property
    def blocks_retrained(self) -> int:
        """T - d_min + 1."""
        return len(self.residual)

    @property
    def speedup(self) -> float:
        """B / (T - d_min + 1): blocks of retraining from scratch per block retrained."""
        return self.blocks / max(self.blocks_retrained, 1)


@dataclass(frozen=True)
class Chain(Stages):
    """Models M_0 ... M_B in a folder, and the blocks they were trained on.

    `members[k - 1]` are the ids of block k. `stitched_from` is the first block whose stored model is stitched
    and so no longer a training trajectory (None: none is). A chain is a value: `commit` returns a new
    one and the old one's files are gone.
    """

    stitched_from: int | None = None

    kind: ClassVar[str] = "chain"
    opened_by: ClassVar[str] = "train_chain"
    memory: ClassVar[tuple[str, ...]] = (*Stages.memory, "stitched_from")

    def model(self, k: int | None = None) -> nn.Module:
        """M_k in eval mode; by default the final model M_B.

        Raises:
            ValueError: there is no such block.
            StoreError: the file is missing, damaged, or not the one that was stored here.
        """
        return super().model(self.blocks if k is None else k)

    def start(self, k: int) -> int:
        """k - 1: block follows block."""
        return check.whole("k", k, 1, self.blocks) - 1

    def examples(self, k: int) -> Examples:
        """D_k: block k alone."""
        return self.data.select(self.members[check.whole("k", k, 1, self.blocks) - 1])

    def info(self, k: int) -> dict[str, int]:
        """`block` and `blocks`."""
        return {"block": k, "blocks": self.blocks}

    def phase(self, k: int) -> str:
        """Block k of B."""
        return f"block {k} of {self.blocks}"

    def by_recipe(self, recipe: Recipe, k: int, model: nn.Module, examples: Examples) -> Iterable[Step]:
        """Go on from M_{k-1}, with a fresh optimizer."""
        return train(model, examples, recipe, phase=self.phase(k), block=k, part=(k, self.blocks))

    def check(self) -> None:
        """Refuse blocks that are empty or do not cover the data; warn of small ones."""
        if not self.members:
            raise ValueError("`blocks` must hold at least one block; got none.")
        if not self.covers():
            raise ValueError("`blocks` must hold every id of `data` exactly once.")
        if not all(len(block) for block in self.members):
            raise ValueError("`blocks` must each hold at least one sample.")
        data, size = self.data, self.recipe.batch_size if self.recipe else 1
        classes = len(data.y.unique())
        short = sum(len(block) < size for block in self.members)
        lacking = sum(len(data.y[torch.isin(data.ids, block)].unique()) < classes for block in self.members)
        if short:
            check.warn(f"Blocks smaller than one mini-batch of {size}: {short} of {self.blocks}.")
        if lacking:
            check.warn(
                f"Blocks that lack a class, so that the residual will be noisy: {lacking} of {self.blocks}."
            )

    def stitched_state(self, trace: ResidualTrace, T: int, k: int) -> Params:
        """The new M_k: M'_B if T = B; else the parameters P_k + (P'_T - P_T) beside the buffers of M'_T."""
        retrained = trace.retrained[T - trace.d_min]
        if self.blocks == T:
            return retrained
        P_T = self.params(T)
        shift = subtract({name: retrained[name] for name in P_T}, P_T)
        return {**retrained, **add(self.params(k), shift)}

    def commit(self, trace: ResidualTrace) -> Chain:
        """Replace the stored chain by the one that forgot: new models, new membership, old files deleted.

        M_1 ... M_{d_min-1} stay; M_k := M'_k up to T; M_k := M_k + (M'_T - M_T) after T. One thing it cannot
        do: the increments after T were learned by models that had seen the data. The purge is procedural, its
        guarantee approximate, and a stitched chain is no longer a training trajectory (see `stitched_from`).
        Where the loop is one's own and T = B, nothing is stitched, but what is stored is what that loop made
        when it was called again: free of the samples only if it keeps nothing from call to call.

        Args:
            trace: of the request to carry out. One that is carried out already changes nothing.

        Returns:
            The new chain. This one can no longer be read.

        Raises:
            StoreError: another request has been committed in between, or the folder cannot be written; the
                old chain is then still whole.
        """
        check.instance("trace", trace, ResidualTrace)
        if not trace.residual or (trace.ids and not len(self.pending(trace.ids))):
            return self

        def state_of(k: int) -> Params:
            return (
                trace.retrained[k - trace.d_min] if k <= trace.T else self.stitched_state(trace, trace.T, k)
            )

        replaced = range(trace.d_min, self.blocks + 1)
        return forget(self, trace.ids, replaced, state_of, stitched_from=self._stitched_from(trace))

    def _stitched_from(self, trace: ResidualTrace) -> int | None:
        before = self.stitched_from
        if before is not None and trace.d_min - 1 >= before:
            return before  # restarted from a stitched model
        if trace.blocks == trace.T or (before is None and trace.reason == "identical"):
            return None
        return trace.T + 1


def cut_into_blocks(data: Examples, blocks: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Ids of `blocks` class-stratified blocks of equal size (to within one sample).

    Raises:
        ValueError: fewer than one block, or more blocks than samples.
    """
    blocks = check.whole("blocks", blocks, 1, len(check_examples("data", data)))
    order = keyed_order(data.ids, seed)
    dealt = order[data.y[order].argsort(stable=True)]  # class by class, dealt out in turn
    return tuple(data.ids[dealt[k::blocks]].sort().values for k in range(blocks))


@contextmanager
def chaining(
    model: nn.Module, data: Examples, blocks: int | Sequence[Tensor], folder: Folder | Path | str
) -> Iterator[Building[Chain]]:
    """Train a chain by a loop that stands in line, in a notebook say, rather than in a function.

        with chaining(model, data, 10, folder) as chain:
            for k in chain.missing:                         # all, or what a killed run has left
                with chain.block(k) as (net, examples):
                    ...                                     # train `net` in place on `examples`, block k

    Each model is stored when its block ends. To forget, the loop must be called again: give it to
    `train_chain` as a function, which then opens this chain.

    Args:
        model: M_0, untrained; left unchanged.
        data: the training set. Samples that this folder has forgotten are left out.
        blocks: B, or the ids of each block.
        folder: where the models live. One chain a folder.

    Yields:
        What is `missing`, `block(k)` around the training of one, and what is `stored`: a `Chain`.

    Raises:
        ValueError, TypeError, StoreError: see `train_chain`.

    Example:
        >>> with ul.chaining(initial, data, 3, folder) as chain:
        ...     for k in chain.missing:
        ...         with chain.block(k) as (net, examples):
        ...             sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        ...             for x, y, ids in torch.utils.data.DataLoader(examples, batch_size=64):
        ...                 loss = torch.nn.functional.cross_entropy(net(x), y)
        ...                 sgd.zero_grad()
        ...                 loss.backward()
        ...                 _ = sgd.step()
        >>> chain.stored.blocks
        3
    """
    members, pinned = _members(data, blocks, 0)
    with building(Chain.new(model, data, None, members, folder), pinned=pinned) as made:
        yield made


@as_run
def train_chain(
    model: nn.Module,
    data: Examples,
    recipe: Recipe | Fit,
    blocks: int | Sequence[Tensor],
    folder: Folder | Path | str,
) -> Generator[Step, None, Chain]:
    """Train block after block, storing every model; go on where an interrupted run ended.

        for k = 1 ... B: train M_{k-1} on D_k with a fresh optimizer, E epochs; store M_k

    A folder that holds the complete chain is opened, without a step. A run killed at any moment and started
    again ends bit-identical to one that was not.

    Args:
        model: M_0, untrained; left unchanged.
        data: the training set. Samples that this folder has forgotten are left out.
        recipe: `epochs` is E, the passes over each block. Or a loop of your own: a function
            ``fit(model, examples, k)`` that trains `model` in place on block k. It is called again when
            samples are forgotten, so let it repeat itself: seed what is random by k. The folder knows only
            that it was a loop of your own.
        blocks: B, or the ids of each block.
        folder: where the models live. One chain a folder.

    Yields:
        One `Step` per mini-batch; `info` holds `block` and `blocks`.

    Returns:
        The chain.

    Raises:
        StoreError: the folder holds another chain (which fields differ), is damaged, in use or cannot be
            written.
        ValueError: more blocks than samples; ids that are not in `data`.
        TypeError: `blocks` is neither a whole number nor some blocks of ids.

    Example:
        >>> chain = ul.run(ul.train_chain(initial, data, recipe, 3, folder))
        >>> chain.block_of([7])
        [2]
    """
    seed = recipe.seed if isinstance(recipe, Recipe) else 0
    members, pinned = _members(data, blocks, seed)
    return (
        yield from train_stages(Chain.new(model, data, check_fit(recipe), members, folder), pinned=pinned)
    )


def _members(data: Examples, blocks: int | Sequence[Tensor], seed: int) -> tuple[tuple[Tensor, ...], bool]:
    """The ids of every block, and whether they were given."""
    if isinstance(blocks, list | tuple):
        return tuple(check.column(f"blocks[{k}]", block) for k, block in enumerate(blocks)), True
    return cut_into_blocks(data, check.whole("blocks", blocks), seed), False
