"""Lesson 03 by size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """A packed class, and steps of which only a part is taken.

    Args:
        batches: of every epoch in which the class stands.
        seeds: that repeat a claim.
        sgd: learning rate of plain SGD.
        flip: learning rate of label flipping.
        ascent: learning rate of ascent.
        shares: of the entries that move in a partial step, one or the other.
        steps: at most.
    """

    batches: int
    seeds: int = 2
    sgd: float = 0.1
    flip: float = 0.02
    ascent: float = 0.02
    shares: tuple[float, float] = (0.05, 0.2)
    steps: int = 200


digits = Sizes(model="mlp", recipe=Recipe("adam", lr=0.003, batch_size=16, epochs=15), batches=10)
mnist = Sizes(
    model="lenet5",
    train=6_000,
    test=2_000,
    recipe=Recipe("adam", lr=0.001, batch_size=64, epochs=5),
    batches=16,
)
cifar10 = Sizes(
    model="lenet5",  # its updates are a tenth of small_cnn's on 32x32
    train=5_000,
    test=1_000,
    recipe=Recipe("adam", lr=0.0015, batch_size=64, epochs=24),  # 16 do only at full
    batches=12,
    sgd=0.05,
)
SIZES = {
    "digits": Presets(quick=digits, lesson=replace(digits, seeds=5), full=replace(digits, seeds=10)),
    "mnist": Presets(
        quick=replace(
            mnist,
            model="mlp",
            train=3_000,
            test=1_000,
            recipe=mnist.recipe.but(lr=0.002, batch_size=32),
            batches=12,
        ),
        lesson=mnist,
        full=replace(mnist, train=12_000, recipe=mnist.recipe.but(epochs=4), batches=24, seeds=3),
    ),
    "cifar10": Presets(
        quick=replace(
            cifar10, train=2_000, test=500, recipe=cifar10.recipe.but(lr=0.002, batch_size=32), batches=8
        ),
        lesson=cifar10,
        full=replace(
            cifar10, train=10_000, test=2_000, recipe=cifar10.recipe.but(lr=0.001, epochs=16), batches=24
        ),
    ),
}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """Batches enough for the largest class, and not more than a quarter of all where that will do."""
    b, largest = sizes.recipe.batch_size, int(room.counts.max())
    batches = max(math.ceil(largest / b), min(sizes.batches, room.n // b // 4))
    return replace(sizes, batches=min(batches, room.n // b))


LESSON = Lesson(
    name="partial",
    sizes=SIZES,
    small=replace(
        digits,
        train=300,
        test=120,
        recipe=Recipe("adam", lr=0.01, batch_size=16, epochs=3),
        batches=3,
        seeds=1,
        steps=12,
    ),
    needs=Needs(samples=60, each=4, wanted=30),
    fit=fit,
    defaults={"forget_class": 3, "target": 0.05},
    limits={},
    no_limits=None,
)
