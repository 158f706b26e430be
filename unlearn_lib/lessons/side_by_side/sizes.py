"""Lesson 09 by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from unlearn_lib.classroom.lesson import CommonSizes, Lesson, Needs, Presets, Room
from unlearn_lib.contest.entries import (
    amnesiac,
    configured,
    deepobliviate,
    finetune,
    partial,
    pgu,
    sisa,
    unsir,
)
from unlearn_lib.contest.method import Settings
from unlearn_lib.train import Recipe

__all__ = ["LESSON"]


@dataclass(frozen=True, kw_only=True)
class Sizes(CommonSizes):
    """The contest, its requests and U-LiRA.

    Args:
        normed: the net with batch norm.
        noise: added to the inputs, as a standard deviation.
        validation: training samples that decide when to stop.
        forget: samples to forget.
        poisoned: samples with a mark, to forget as well.
        seeds: of every contestant.
        shadows: models of U-LiRA.
        base: samples that each of them is trained on.
        candidates: samples that half of them are trained on besides.
        tuned: settings of methods, where they differ from their own.
    """

    normed: str = "small_cnn_bn"
    noise: float = 0.0
    validation: int = 300
    forget: int
    poisoned: int
    seeds: int = 2
    shadows: int = 32
    base: int
    candidates: int
    tuned: Mapping[str, Settings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        configured(self.tuned)


@dataclass(frozen=True)
class Limits:
    """What the last cell asserts.

    Args:
        exposed: the least AUC of U-LiRA on the original; clean MNIST hardly exposes anybody.
    """

    exposed: float = 0.0


digits = Sizes(
    model="mlp",
    train=900,
    recipe=Recipe("adam", lr=0.003, batch_size=16, epochs=15),
    noise=1.0,
    forget=60,
    poisoned=40,
    seeds=5,
    base=240,
    candidates=24,
)
quick_digits = replace(
    digits,
    train=700,
    forget=40,
    poisoned=26,
    seeds=3,
    base=100,
    candidates=20,
    tuned={
        "SISA": sisa.Settings(slices=2),
        "DeepObliviate": deepobliviate.Settings(blocks=8, epochs=8),
    },
)
mnist = Sizes(
    model="lenet5",
    train=2_500,
    test=2_000,
    recipe=Recipe("adam", lr=0.001, batch_size=32, epochs=10),
    validation=500,
    forget=100,
    poisoned=60,
    base=240,
    candidates=24,
    tuned={
        "fine-tune": finetune.Settings(epochs=2),
        "gradient ascent": finetune.AscentSettings(lr=0.001),
        "UNSIR": unsir.Settings(penalty=0.01, impair_lr=0.002),
        "partial amnesiac": amnesiac.Settings(keep=0.1),
        "partial label-flip": partial.Settings(lr=0.005, share=0.2),
        "partial optimization": partial.Settings(lr=0.001, share=0.05),
        "PGU class": pgu.Settings(lr=0.3, energy=0.9),
    },
)
cifar10 = Sizes(
    model="lenet5",  # its updates are a tenth of small_cnn's on 32x32
    train=2_500,
    test=2_000,
    recipe=Recipe("adam", lr=0.001, batch_size=64, epochs=15),
    validation=500,
    forget=100,
    poisoned=200,
    base=240,
    candidates=24,
    tuned={
        "fine-tune": finetune.Settings(epochs=2),
        "gradient ascent": finetune.AscentSettings(lr=0.001, steps=4),
        "DeepObliviate": deepobliviate.Settings(epsilon=0.1),
        "UNSIR": unsir.Settings(penalty=0.01, impair_lr=0.0005),
        "partial amnesiac": amnesiac.Settings(keep=0.1),
        "partial label-flip": partial.Settings(lr=0.001, share=0.05),
        "partial optimization": partial.Settings(lr=0.001, share=0.05),
        "PGU samples": pgu.Settings(lr=0.3, energy=0.5),
    },
)
large_cifar10 = replace(
    cifar10, train=10_000, validation=1_000, forget=200, poisoned=300, base=400, candidates=40
)
SIZES = {
    "digits": Presets(
        quick=quick_digits,
        lesson=digits,
        full=replace(digits, seeds=10, shadows=64, base=300, candidates=40),
    ),
    "mnist": Presets(
        quick=replace(
            mnist,
            train=1_000,
            test=500,
            validation=300,
            forget=40,
            poisoned=40,
            base=100,
            candidates=20,
        ),
        lesson=mnist,
        full=replace(mnist, train=4_000, test=None, seeds=3, base=400, candidates=40),
    ),
    "cifar10": Presets(
        quick=replace(
            cifar10,
            train=1_000,
            test=500,
            recipe=cifar10.recipe.but(batch_size=32),
            validation=300,
            forget=40,
            poisoned=140,
            base=100,
            candidates=20,
        ),
        lesson=cifar10,
        full=large_cifar10,
        full_on_cuda=replace(  # not run yet; a full log of ResNet-18's updates would take 45 MB a batch
            large_cifar10,
            model="resnet18",
            test=None,
            recipe=Recipe("adam", lr=0.001, batch_size=256, epochs=15),
            tuned={
                "amnesiac": amnesiac.Settings(sensitive=True),
                "partial amnesiac": amnesiac.Settings(keep=0.1, sensitive=True),
            },
        ),
    ),
}
LIMITS = {
    "digits": Presets.alike(Limits(exposed=0.75)),
    "mnist": Presets.alike(Limits(exposed=0.5)),
    "cifar10": Presets.alike(Limits(exposed=0.5)),
}


def fit(sizes: Sizes, room: Room) -> Sizes:
    """At most a third to validate, and an eighth of the rest for each request and for the candidates."""
    validation = min(sizes.validation, room.n // 3)
    rest = room.n - validation
    forget, candidates = min(sizes.forget, rest // 8), min(sizes.candidates, rest // 8)
    return replace(
        sizes,
        normed=room.net(sizes.normed),
        noise=room.noise(sizes.noise),
        validation=validation,
        forget=forget,
        poisoned=min(sizes.poisoned, rest // 8),
        candidates=candidates,
        base=min(sizes.base, rest - forget - candidates),
    )


LESSON = Lesson(
    name="side_by_side",
    sizes=SIZES,
    small=replace(
        quick_digits,
        train=300,
        test=120,
        recipe=Recipe("adam", lr=0.003, batch_size=16, epochs=4),
        validation=100,
        forget=20,
        poisoned=10,
        seeds=2,
        shadows=16,
        base=60,
        candidates=8,
    ),
    needs=Needs(samples=150, each=12, wanted=12),
    fit=fit,
    defaults={"forget_class": 3},
    limits=LIMITS,
    no_limits=Limits(),
)
