"""Retraining from scratch on the retained samples: the reference that every method is compared with.

The retrained model has never seen what is to be forgotten. Its scores, not 0 %, are what a method should
reach; its cost is what a method should save.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Split
from unlearn_lib.params import clone
from unlearn_lib.train import Recipe, Step, Unlearned, as_run, train

__all__ = ["retrain"]


@as_run
def retrain(initial: nn.Module, split: Split, recipe: Recipe) -> Generator[Step, None, Unlearned[None]]:
    """Train a copy of the untrained model on the retain set alone.

    Args:
        initial: the model *before* any training; left unchanged.
        split: only `split.retain` is read.
        recipe: as for the original model.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The retrained model and the seconds it took.

    Example:
        >>> result = ul.run(ul.retrain(initial, split, recipe))
        >>> ul.accuracy(result.model, split.forget)
        0.0
    """
    begun = time.perf_counter()
    check.instance("split", split, Split)
    model = clone(check.instance("initial", initial, nn.Module))
    yield from train(model, split.retain, recipe, phase="retrain")
    return Unlearned(model.eval(), time.perf_counter() - begun, None)
