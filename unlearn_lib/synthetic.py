"""Data made for a purpose: two moons with a mislabeled tip, and noise that gives samples their own details.

Both are deterministic: the same arguments give the same bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from unlearn_lib import check
from unlearn_lib.data import Dataset, Examples, check_examples

__all__ = ["noisy", "two_moons"]


def two_moons(points: int = 160, mislabeled: int = 10, noise: float = 0.2, seed: int = 0) -> Dataset:
    """Two half circles in the plane, one per class; the left tip of the upper moon carries the wrong label.

    Ids count from left to right. So the `mislabeled` points have the first ids. The same number of last ids
    form the right tip of the lower moon, their mirror image in everything but the label.

    Args:
        points: training points, half of them on each moon; the test set has twice as many.
        mislabeled: leftmost training points, labeled "lower". Test labels are all correct.
        noise: standard deviation of the points around their half circle, whose radius is 1; >= 0.
        seed: of the noise.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is not a number, or a fraction where a whole number belongs.
    """
    for name, value in (("points", points), ("mislabeled", mislabeled)):
        check.whole(name, value)
    check.number("noise", noise, "[0, inf)"), check.whole("seed", seed, 0)
    if points < 8 or not 0 <= mislabeled <= points // 8:
        raise ValueError(
            "`points` must be at least 8, and `mislabeled` at most an eighth of them to form a tip; "
            f"got {points} and {mislabeled}."
        )
    random = np.random.default_rng(seed)
    train, test = (_moons(n, noise, random) for n in (points, 2 * points))
    y = train.y.clone()
    y[:mislabeled] = 1
    source = f"computed just now; {mislabeled} of the training labels are wrong on purpose"
    return Dataset("two moons", replace(train, y=y), test, ("upper", "lower"), source)


def _moons(n: int, noise: float, random: np.random.Generator) -> Examples:
    """n points, half of them on each moon, from left to right."""
    angle, lower = np.pi * (np.arange(n) // 2 + 0.5) / (n / 2), np.arange(n) % 2
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(lower[:, None] == 1, [1.0, 0.5] - x, x) + noise * random.standard_normal((n, 2))
    order = np.argsort(x[:, 0])
    return Examples.of(torch.from_numpy(x[order].astype(np.float32)), torch.from_numpy(lower[order]))


def noisy(examples: Examples, amount: float, seed: int | torch.Generator = 0) -> Examples:
    """The samples as network inputs, with normal noise of this standard deviation.

    On clean digits a model is as sure of a sample that it never saw as of one that it did. Noise gives every
    training sample details that a model can know only by having seen them.

    Args:
        examples: left unchanged.
        amount: in units of network inputs, that is, of the data's own standard deviation; >= 0.
        seed: of the noise, or a stream to draw it from, which several sets can share.
    """
    check.number("amount", amount, "[0, inf)")
    if isinstance(seed, torch.Generator):
        stream = seed
    else:
        stream = torch.Generator().manual_seed(check.whole("seed", seed, -(2**63), 2**64 - 1))
    x = check_examples("examples", examples).batch(slice(None)).x
    return replace(examples, x=x + amount * torch.randn(x.shape, generator=stream).to(x), scale=None)
