"""Baselines that any unlearning method must beat: fine-tune on what is retained, or ascend on what is not.

    fine-tuning:      theta <- theta - lr * grad CE(theta; R)
    gradient ascent:  theta <- theta + lr * grad CE(theta; D_f)

Fine-tuning hopes that the rest crowds the forgotten out; at moderate rates it does not. Ascent *reads the
forget data*, has no lower bound, and wrecks the rest of the model unless it is stopped early.

Differs from the paper:
    Both are customary baselines rather than one paper's method. Ours start from a fresh optimizer and can
    stop after a given number of steps, so that two methods are compared at equal cost.

References:
    A. Golatkar, A. Achille, S. Soatto, Eternal Sunshine of the Spotless Net: Selective Forgetting in Deep
    Networks, CVPR 2020, arXiv:1911.04933 (compares with both).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Generator

from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples, check_examples
from unlearn_lib.params import clone
from unlearn_lib.train import LossFn, Recipe, Step, Unlearned, as_run, cross_entropy, train

__all__ = ["finetune", "gradient_ascent"]


@as_run
def finetune(
    model: nn.Module, retain: Examples, recipe: Recipe, steps: int | None = None
) -> Generator[Step, None, Unlearned[None]]:
    """Go on training a copy of the model, on retained samples only.

    Args:
        model: the trained network; left unchanged.
        retain: all or some of the retained samples.
        recipe: as for the original model, say.
        steps: stop after so many mini-batches, in as many epochs as that takes; None: `recipe.epochs`.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The model and the seconds it took.

    Raises:
        ValueError: `steps` is negative, or there is no sample.

    Example:
        >>> result = ul.run(ul.finetune(model, split.retain, recipe, steps=10))
        >>> ul.accuracy(result.model, split.retain) > 0.9
        True
    """
    check_examples("retain", retain)
    return (yield from _tuned(model, retain, recipe, steps, cross_entropy, "finetune"))


@as_run
def gradient_ascent(
    model: nn.Module, forget: Examples, recipe: Recipe, steps: int | None = None
) -> Generator[Step, None, Unlearned[None]]:
    """Raise the loss on the forget samples: train a copy of the model on - CE.

    Args:
        model: the trained network; left unchanged.
        forget: D_f. This baseline reads it; UNSIR does not.
        recipe: a low learning rate; the loss has no lower bound.
        steps: stop after so many mini-batches, in as many epochs as that takes; None: `recipe.epochs`.

    Yields:
        One `Step` per mini-batch; its loss is - CE.

    Returns:
        The model and the seconds it took.

    Raises:
        ValueError: `steps` is negative, or there is no sample.
        FloatingPointError: it has diverged.

    Example:
        >>> result = ul.run(ul.gradient_ascent(model, split.forget, recipe, steps=10))
        >>> ul.accuracy(result.model, split.forget) < ul.accuracy(model, split.forget)
        True
    """
    check_examples("forget", forget)
    return (yield from _tuned(model, forget, recipe, steps, _negative_cross_entropy, "ascent"))


def _negative_cross_entropy(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    return -cross_entropy(model, batch)


def _tuned(
    model: nn.Module, data: Examples, recipe: Recipe, steps: int | None, loss_fn: LossFn, phase: str
) -> Generator[Step, None, Unlearned[None]]:
    begun = time.perf_counter()
    check.instance("recipe", recipe, Recipe)
    if steps is not None:
        least = max(1, len(data) // recipe.batch_size)  # steps an epoch, or one more
        recipe = recipe.but(epochs=math.ceil(check.whole("steps", steps, 0) / least))
    model = clone(model)
    training = train(model, data, recipe, loss_fn=loss_fn, phase=phase)
    yield from itertools.islice(training, steps)
    return Unlearned(model.eval(), time.perf_counter() - begun, None)
