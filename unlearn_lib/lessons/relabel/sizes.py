"""Lesson 05 by size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """Relabeling, and UNSIR beside it.

    Args:
        lr: learning rate of relabeling.
        share: of the retain set that goes along.
        samples: of the second request.
        passes: for which the second request is followed.
        per_class: retain images of each class, for UNSIR.
        impair_lr: of UNSIR.
        penalty: of UNSIR.
    """

    lr: float = 0.001
    share: float = 0.5
    samples: int
    passes: int = 8
    per_class: int
    impair_lr: float = 0.001
    penalty: float = 0.1


@dataclass(frozen=True)
class Limits:
    """What the last cell asserts; the defaults promise nothing.

    Args:
        forget: the most forget accuracy.
        loss: the most accuracy on the other classes lost.
    """

    forget: float = 1.0
    loss: float = 1.0


digits = Sizes(
    model="small_cnn",
    recipe=Recipe("adam", lr=0.001, batch_size=16, epochs=15),
    samples=80,
    per_class=60,
    impair_lr=0.002,
    penalty=1.0,
)
quick_digits = replace(digits, train=700, samples=60, per_class=40)
mnist = Sizes(
    model="lenet5",
    train=3_000,
    test=1_000,
    recipe=Recipe("adam", lr=0.001, batch_size=32, epochs=6),
    samples=200,
    per_class=100,
)
cifar10 = replace(mnist, model="small_cnn", recipe=mnist.recipe.but(epochs=8))
SIZES = {
    "digits": Presets(
        quick=quick_digits, lesson=digits, full=replace(digits, recipe=digits.recipe.but(epochs=30))
    ),
    "mnist": Presets(
        quick=replace(mnist, train=1_500, test=500, samples=100, per_class=60),
        lesson=mnist,
        full=replace(mnist, train=10_000, test=2_000, samples=500, per_class=200),
    ),
    "cifar10": Presets(
        quick=replace(cifar10, model="lenet5", train=1_500, test=500, samples=100, per_class=60),
        lesson=cifar10,
        full=replace(cifar10, train=10_000, test=2_000, samples=500),
    ),
}
LIMITS = {"digits": Presets.alike(Limits(forget=0.3, loss=0.15))}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """No more retain images than the smallest class has, and no more than a tenth of all to forget."""
    return replace(
        sizes,
        samples=min(sizes.samples, room.n // 10),
        per_class=min(sizes.per_class, int(room.counts.min())),
    )


LESSON = Lesson(
    name="relabel",
    sizes=SIZES,
    small=replace(
        quick_digits,
        train=300,
        test=120,
        recipe=Recipe("adam", lr=0.003, batch_size=16, epochs=3),
        samples=30,
        passes=2,
        per_class=12,
    ),
    needs=Needs(samples=60, each=4, wanted=30),
    fit=fit,
    defaults={"forget_class": 3},
    limits=LIMITS,
    no_limits=Limits(),
)
