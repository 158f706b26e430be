"""Lesson 00 by size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """Points in the plane, and images.

    Args:
        points: in the plane.
        mislabeled: of them.
        noise: added to images, as a standard deviation.
        forget: images to forget.
        poisoned: images with a mark and a wrong label.
        tuning: epochs of fine-tuning.
        seeds: retrained models.
    """

    points: int = 160
    mislabeled: int = 10
    noise: float = 1.0
    forget: int = 100
    poisoned: int = 20
    tuning: int = 5
    seeds: int


digits = Sizes(model="mlp", train=400, recipe=Recipe(lr=0.1, batch_size=32, epochs=30), seeds=2)
mnist = replace(digits, train=1_000, test=1_000, recipe=digits.recipe.but(epochs=15))
cifar10 = Sizes(
    model="small_cnn",
    train=1_000,
    test=500,
    recipe=Recipe(lr=0.05, batch_size=32, epochs=15),
    noise=0.5,
    poisoned=40,
    seeds=3,
)
SIZES = {
    "digits": Presets(
        quick=digits,
        lesson=replace(digits, seeds=5),
        full=replace(digits, seeds=10, recipe=digits.recipe.but(epochs=60)),
    ),
    "mnist": Presets(
        quick=mnist,
        lesson=replace(mnist, test=2_000, seeds=5),
        full=replace(
            mnist,
            train=2_000,
            test=None,
            forget=200,
            poisoned=40,
            seeds=10,
            recipe=mnist.recipe.but(epochs=20),
        ),
    ),
    "cifar10": Presets(quick=cifar10, lesson=replace(cifar10, test=1_000), full=replace(cifar10, test=2_000)),
}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """As many images to forget and to poison as the data can spare."""
    return replace(
        sizes,
        noise=room.noise(sizes.noise),
        forget=min(sizes.forget, room.n // 4),
        poisoned=min(sizes.poisoned, room.n // 10),
    )


LESSON = Lesson(
    name="start",
    sizes=SIZES,
    small=replace(digits, train=200, test=100, points=80, forget=40, poisoned=10, tuning=1),
    needs=Needs(samples=40, each=2, wanted=20, classes=2),
    fit=fit,
    defaults={"lr": 0.02},
    limits={},
    no_limits=None,
)
