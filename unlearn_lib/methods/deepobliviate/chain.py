"""Block-wise training: a chain of models M_0 ... M_B, one stored after each block of the training set."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples, keyed_order
from unlearn_lib.methods.stages import Stages, train_stages
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step, train

__all__ = ["Chain", "cut_into_blocks", "train_chain"]


@dataclass(frozen=True)
class Chain(Stages):
    """Models M_0 ... M_B in a folder, and the blocks they were trained on.

    `members[k - 1]` are the ids of block k. `stitched_from` is the first block whose stored model is stitched
    and so no longer a training trajectory (None: all are exact). A chain is a value: `commit` returns a new
    one and the old one's files are gone.
    """

    stitched_from: int | None = None

    kind: ClassVar[str] = "chain"
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

    def learn(self, k: int, model: nn.Module) -> Iterator[Step]:
        """Train M_{k-1} on block k alone."""
        examples, phase = self.data.select(self.members[k - 1]), f"block {k} of {self.blocks}"
        for step in train(model, examples, self.recipe, phase=phase, block=k):
            yield step._replace(info={"block": k, "blocks": self.blocks})

    def check(self) -> None:
        """Refuse blocks that are empty or do not cover the data; warn of small ones."""
        if not self.members:
            raise ValueError("`blocks` must hold at least one block; got none.")
        if not self.covers():
            raise ValueError("`blocks` must hold every id of `data` exactly once.")
        if not all(len(block) for block in self.members):
            raise ValueError("`blocks` must each hold at least one sample.")
        data, size = self.data, self.recipe.batch_size
        classes = len(data.y.unique())
        short = sum(len(block) < size for block in self.members)
        lacking = sum(len(data.y[torch.isin(data.ids, block)].unique()) < classes for block in self.members)
        if short:
            warnings.warn(
                f"Blocks smaller than one mini-batch of {size}: {short} of {self.blocks}.", stacklevel=6
            )
        if lacking:
            warnings.warn(
                f"Blocks that lack a class, so that the residual will be noisy: {lacking} of {self.blocks}.",
                stacklevel=6,
            )


def cut_into_blocks(data: Examples, blocks: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Ids of `blocks` class-stratified blocks of equal size (to within one sample).

    Raises:
        ValueError: fewer than one block, or more blocks than samples.
    """
    blocks = check.whole("blocks", blocks, 1, len(check_examples("data", data)))
    order = keyed_order(data.ids, seed)
    dealt = order[data.y[order].argsort(stable=True)]  # class by class, dealt out in turn
    return tuple(data.ids[dealt[k::blocks]].sort().values for k in range(blocks))


def train_chain(
    model: nn.Module,
    data: Examples,
    recipe: Recipe,
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
        recipe: `epochs` is E, the passes over each block.
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
    """
    if pinned := isinstance(blocks, list | tuple):
        members = tuple(check.column(f"blocks[{k}]", block) for k, block in enumerate(blocks))
    else:
        seed = check.instance("recipe", recipe, Recipe).seed
        members = cut_into_blocks(data, check.whole("blocks", blocks), seed)
    return (yield from train_stages(Chain.new(model, data, recipe, members, folder), pinned=pinned))
