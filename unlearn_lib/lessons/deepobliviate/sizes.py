"""Lesson 01 by size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """A chain of blocks, and what is forgotten in it.

    Args:
        blocks: of the chain.
        block: the one that holds the samples to forget.
        forget: number of samples to forget.
        poisoned_block: the one that holds the poisoned samples.
        poisoned: how many.
    """

    blocks: int
    block: int
    forget: int = 8
    poisoned_block: int
    poisoned: int


@dataclass(frozen=True)
class Limits:
    """What the last cell asserts.

    Args:
        saves: how many times fewer blocks than retraining from scratch.
    """

    saves: float = 0.0


digits = Sizes(
    model="mlp",
    recipe=Recipe(lr=0.1, batch_size=16, epochs=3),
    blocks=60,
    block=6,
    poisoned_block=50,
    poisoned=20,
)
mnist = Sizes(
    model="lenet5",
    train=12_000,
    test=2_000,
    recipe=Recipe(lr=0.1, batch_size=32, epochs=3),
    blocks=60,
    block=6,
    poisoned_block=60,
    poisoned=60,
)
cifar10 = Sizes(
    model="lenet5",
    train=6_000,
    test=2_000,
    recipe=Recipe(lr=0.05, batch_size=16, epochs=6),
    blocks=30,
    block=3,
    poisoned_block=30,
    poisoned=130,
)
location30 = Sizes(
    model="mlp",
    recipe=Recipe(lr=0.1, batch_size=16, epochs=5),
    blocks=40,
    block=4,
    poisoned_block=40,
    poisoned=80,
)
SIZES = {
    "digits": Presets(
        quick=replace(digits, blocks=40, block=4, poisoned_block=30, poisoned=25),
        lesson=digits,
        full=replace(digits, recipe=digits.recipe.but(epochs=10)),
    ),
    "mnist": Presets(
        quick=replace(
            mnist,
            model="mlp",
            train=3_000,
            test=1_000,
            recipe=mnist.recipe.but(batch_size=16, epochs=2),
            blocks=40,
            block=4,
            poisoned_block=30,
            poisoned=30,
        ),
        lesson=mnist,
        full=Sizes(
            model="lenet5_dropout",
            recipe=Recipe(lr=0.03, batch_size=16, epochs=10),
            blocks=200,
            block=100,
            forget=1,
            poisoned_block=200,
            poisoned=100,
        ),
    ),
    "cifar10": Presets(
        quick=replace(cifar10, train=3_000, test=1_000, blocks=20, block=2, poisoned_block=20, poisoned=100),
        lesson=cifar10,
        full=replace(cifar10, train=10_000, blocks=40, block=4, poisoned_block=40, poisoned=170),
    ),
    "location30": Presets(
        quick=replace(
            location30,
            recipe=location30.recipe.but(epochs=3),
            blocks=20,
            block=2,
            poisoned_block=20,
            poisoned=120,
        ),
        lesson=location30,
        full=replace(location30, recipe=location30.recipe.but(epochs=20)),
    ),
}
LIMITS = {
    "digits": Presets.alike(Limits(saves=2.0)),
    "mnist": Presets.alike(Limits(saves=2.0)),
    # Measured: the residual of these samples grows, and the rule never stops.
    "cifar10": Presets.alike(Limits(saves=1.0)),
    "location30": Presets.alike(Limits(saves=2.0)),
}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """Blocks of some sixteen samples, and places of the same depth in a shorter chain."""
    B = min(sizes.blocks, max(12, room.n // 16))
    size, where = room.n // B, B / sizes.blocks
    return replace(
        sizes,
        blocks=B,
        block=min(max(1, math.floor(where * sizes.block)), B - 8),  # the rule needs some after it
        forget=min(sizes.forget, size // 2),
        poisoned_block=max(1, math.floor(where * sizes.poisoned_block)),
        poisoned=min(sizes.poisoned, 2 * size // 3),
    )


LESSON = Lesson(
    name="deepobliviate",
    sizes=SIZES,
    small=replace(
        digits,
        test=100,
        recipe=digits.recipe.but(epochs=1),
        blocks=20,
        block=2,
        poisoned_block=15,
    ),
    needs=Needs(samples=60, each=2, wanted=30, classes=2),
    fit=fit,
    defaults={"epsilon": 0.003, "estimator": "fit", "n_min": 0},
    limits=LIMITS,
    no_limits=Limits(),
)
