"""Lesson 04 by size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """A class request and one of single samples.

    Args:
        noise: added to the inputs, as a standard deviation.
        step: learning rate of unlearning.
        samples: of the second request.
        seeds: retrained models.
    """

    noise: float = 0.0
    step: float
    samples: int
    seeds: int = 2


@dataclass(frozen=True)
class Limits:
    """What the last cell asserts.

    Args:
        kept: the share of retain accuracy that PGU keeps, and the same steps without projection do not.
    """

    kept: float = 0.0


digits = Sizes(model="small_cnn_bn", recipe=Recipe(lr=0.1, epochs=15), noise=1.0, step=0.05, samples=40)
mnist = Sizes(model="lenet5", train=6_000, test=2_000, recipe=Recipe(lr=0.1, epochs=6), step=0.2, samples=100)
cifar10 = Sizes(
    model="lenet5", train=5_000, test=2_000, recipe=Recipe(lr=0.05, epochs=30), step=0.2, samples=100
)
large_cifar10 = replace(cifar10, train=10_000, test=4_000)
SIZES = {
    "digits": Presets(
        quick=digits,
        lesson=replace(digits, seeds=4),
        full=replace(digits, recipe=digits.recipe.but(epochs=20), seeds=8),
    ),
    "mnist": Presets(
        quick=replace(mnist, train=3_000, test=1_000, samples=60),
        lesson=mnist,
        full=replace(
            mnist, train=20_000, test=None, recipe=mnist.recipe.but(epochs=10), samples=200, seeds=3
        ),
    ),
    "cifar10": Presets(
        quick=replace(cifar10, train=3_000, test=1_000, step=0.4, samples=60),
        lesson=cifar10,
        full=large_cifar10,
        full_on_cuda=replace(large_cifar10, model="resnet18", step=0.05),
    ),
}
LIMITS = {
    "digits": Presets.alike(Limits(kept=0.99)),
    "mnist": Presets.alike(Limits(kept=0.97)),
    "cifar10": Presets.alike(Limits(kept=0.97)),
}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """A tenth of the samples, at most, for the second request."""
    return replace(sizes, noise=room.noise(sizes.noise), samples=min(sizes.samples, room.n // 10))


LESSON = Lesson(
    name="pgu",
    sizes=SIZES,
    small=replace(digits, model="mlp", train=300, test=120, recipe=Recipe(lr=0.1, epochs=6), samples=12),
    needs=Needs(samples=60, each=4, wanted=30),
    fit=fit,
    defaults={"forget_class": [3], "energy": 0.8, "rule": "sigma"},
    limits=LIMITS,
    no_limits=Limits(),
)
