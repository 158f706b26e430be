"""Classes, intervals and parts by arithmetic; accuracy and loss are those of `unlearn_lib.outputs`.

Every function that needs outputs takes a model or its logits, so a control that moves a threshold can use
stored logits. Counts are exact: no mean of batch means, and a short last batch changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples
from unlearn_lib.outputs import accuracy, logits, logits_of, loss, losses, predictions

__all__ = [
    "Interval",
    "accuracy",
    "confusion",
    "forgotten_classes",
    "logits",
    "loss",
    "losses",
    "parts_of_test",
    "per_class_accuracy",
    "predictions",
    "wilson",
]


class Interval(NamedTuple):
    """A closed interval, low <= high."""

    low: float
    high: float


def confusion(source: nn.Module | Tensor, examples: Examples) -> Int[Tensor, "k k"]:
    """How many samples of class i (row) are predicted as class j (column)."""
    outputs = logits_of(source, examples)
    k = outputs.shape[1]
    return torch.bincount(examples.y.cpu() * k + outputs.argmax(1), minlength=k * k).reshape(k, k)


def per_class_accuracy(source: nn.Module | Tensor, examples: Examples) -> Float[Tensor, " k"]:
    """Accuracy within each class, NaN where it has no sample: an average hides one ruined class."""
    counts = confusion(source, examples).double()
    return counts.diag() / counts.sum(1)


def wilson(k: int, n: int, z: float = 1.959964) -> Interval:
    """Wilson's score interval for the share k of n: 0 of 51 still allows 7.0 %.

    Args:
        k: successes, 0 <= k <= n.
        n: trials, >= 1.
        z: quantile of the normal distribution, > 0; 1.96 for 95 %.
    """
    if not 0 <= check.whole("k", k) <= check.whole("n", n) or n < 1:
        raise ValueError(f"`k` must be in [0, n] and `n` at least 1; got k = {k}, n = {n}.")
    check.number("z", z, "(0, inf)")
    share, width = k / n, z * z / n
    center = (share + width / 2) / (1 + width)
    half = math.sqrt(share * (1 - share) * width + width * width / 4) / (1 + width)
    return Interval(0.0 if k == 0 else center - half, 1.0 if k == n else center + half)


def forgotten_classes(split: Split) -> tuple[int, ...]:
    """The classes that the request removes entirely; empty in the sample setting.

    In the class setting no sample of a forgotten class is retained. Then the retrained model cannot know
    these classes, and everything that compares with test data must compare within them.
    """
    labels = check.instance("split", split, Split).forget.y.unique()
    whole = not torch.isin(split.retain.y, labels).any()
    return tuple(labels.tolist()) if whole else ()


def parts_of_test(split: Split, test: Examples) -> dict[str, Examples]:
    """The test data as the request divides it: T_f and T_r in the class setting, else T alone.

    Returns:
        ``{"forget test": T_f, "retain test": T_r}`` or ``{"test": T}``.

    Raises:
        ValueError: in the class setting, `test` lacks samples of the forgotten or of the retained classes.
    """
    classes = forgotten_classes(split)
    check_examples("test", test)
    if not classes:
        return {"test": test}
    mask = torch.isin(test.y, torch.tensor(classes, device=test.y.device))
    for part, name in ((mask, "forgotten"), (~mask, "retained")):
        if not part.any():
            raise ValueError(f"`test` must hold samples of the {name} classes; forgotten are {classes}.")
    return {"forget test": test.where(mask), "retain test": test.where(~mask)}
