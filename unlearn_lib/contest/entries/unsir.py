"""UNSIR in the contest, with as many retained images of each class as the smallest class has."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Count, Failure, Kit, Method, Portrait, Rate, Run
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.unsir import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics.accuracy import forgotten_classes

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How UNSIR is run.

    Args:
        images: number of noise images.
        penalty: on the size of the noise.
        impair_lr: step size of the impair phase.
    """

    images: Count = 256
    penalty: Rate = 0.1
    impair_lr: Rate = 5e-3


def recipe_of(task: Task, settings: Settings) -> UnsirRecipe:
    """UNSIR's own recipe."""
    return UnsirRecipe(
        images=settings.images,
        penalty=settings.penalty,
        impair_lr=settings.impair_lr,
        batch_size=16,
        seed=task.recipe.seed,
    )


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """Noise, impair, repair."""
    classes, retain = forgotten_classes(task.split), task.split.retain
    least = min(int((retain.y == c).sum()) for c in retain.y.unique())
    R = retain_subset(retain, classes, least, task.recipe.seed)
    return unsir(kit.original, classes, R, recipe_of(task, settings))


def starve(trial: Trial[Settings]) -> str:
    """Accuracies with three retained images per class."""
    task = trial.tasks["class"]
    classes = forgotten_classes(task.split)
    three = retain_subset(task.split.retain, classes, 3, task.recipe.seed)
    return trial.outcome("class", unsir(task.original, classes, three, recipe_of(task, trial.settings)))


METHODS = (
    Method(
        name="UNSIR",
        sentence="learns noise that the class would hate, impairs with it, repairs with some retained images",
        lesson="02_unsir",
        settings=Settings(),
        start=start,
        failure=Failure(
            "three retained images per class",
            "with much noise of one label and few other images, everything may get that label",
            starve,
        ),
        grid={"penalty": (0.01, 0.1), "impair_lr": (5e-4, 2e-3, 5e-3)},
        refuses={
            "samples": "its noise stands for a whole class; single samples have no noise of their own.",
            "backdoor": "its noise stands for a whole class; poisoned samples share theirs with clean ones.",
        },
    ),
)
PORTRAITS = (
    Portrait(
        name="UNSIR",
        forgets="a class",
        stores="nothing",
        reads="a part of $D_r$, never $D_f$",
        costs="learning a noise, then two short epochs",
    ),
)
