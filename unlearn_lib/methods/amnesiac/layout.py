"""How a training run is laid out so that undoing a part of it costs the rest little."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import keyed_order
from unlearn_lib.train import Order, Recipe

__all__ = ["packed"]


def packed(ids: Ids, batches: int, recipe: Recipe) -> Order:
    """An order of samples in which `ids` stand in few batches of every epoch: the kindest layout for undoing.

    How the samples to forget are spread over the batches decides how much else is torn out with them. This is
    a set-up for training, not a trick for forgetting: samples that are likely to be withdrawn together (one
    data holder, one source) are trained on together. One holder per batch is ``batches=1``.

    Args:
        ids: samples to keep together.
        batches: how many batches of every epoch may hold them; which ones is drawn anew each epoch.
        recipe: batch size and seed.

    Returns:
        For `train(..., order=...)` and `record(..., order=...)`. Within its group each order is keyed.

    Raises:
        ValueError: the samples do not fit (when the order is used).
        TypeError: no ids, no whole number, no recipe.
    """
    group = check.ids(ids)
    batches = check.whole("batches", batches, 1)
    check.instance("recipe", recipe, Recipe)

    def order(everyone: Tensor, epoch: int) -> Tensor:
        size, inside = recipe.batch_size, torch.isin(everyone.cpu(), group)
        full, count = len(everyone) // size, int(inside.sum())
        if not math.ceil(count / size) <= batches <= full:
            raise ValueError(
                f"`batches` must be in {math.ceil(count / size)} ... {full} for {count} of {len(everyone)} "
                f"samples in batches of {size}; got {batches}."
            )
        chosen = keyed_order(torch.arange(full), recipe.seed, epoch)[:batches]
        share = torch.arange(count) * batches // max(count, 1)  # which of the chosen batches
        place = chosen[share] * size + torch.arange(count) - torch.searchsorted(share, share)
        special = torch.zeros(len(everyone), dtype=torch.bool)
        special[place] = True
        rows = keyed_order(everyone, recipe.seed, 0, epoch).cpu()
        result = torch.empty_like(rows)
        result[special], result[~special] = rows[inside[rows]], rows[~inside[rows]]
        return result.to(everyone.device)

    return order
