"""Partial label flipping and partial optimization in the contest: steps only where gradients are largest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Failure, Kit, Method, Portrait, Rate, Run, Share
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.partial import ascent, label_flip
from unlearn_lib.train import Recipe

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How partial steps are run.

    Args:
        lr: step size.
        share: the share of every layer that a step moves.
    """

    lr: Rate
    share: Share


def recipe_of(task: Task, lr: float) -> Recipe:
    """Plain steps of this size, for more epochs than it will need."""
    return Recipe("sgd", lr, batch_size=64, epochs=100, seed=task.recipe.seed)


def step_to_goal(steps: Callable[..., Run], task: Task, kit: Kit, settings: Settings) -> Run:
    """`label_flip` or `ascent`, until the goal is reached, which is measured on the clock."""
    recipe = recipe_of(task, settings.lr)
    return (
        yield from steps(kit.original, task.split, recipe, keep=settings.share, steps=200, target=task.goal)
    )


def flip_to_zero(trial: Trial[Settings]) -> str:
    """Accuracies when single samples must be answered wrongly."""
    task, recipe = trial.tasks["samples"], recipe_of(trial.tasks["samples"], 20 * trial.settings.lr)
    steps = label_flip(task.original, task.split, recipe, keep=trial.settings.share, steps=200, target=0.0)
    return trial.outcome("samples", steps)


def climb_without_end(trial: Trial[Settings]) -> str:
    """Accuracies when nothing stops it."""
    task, recipe = trial.tasks["class"], recipe_of(trial.tasks["class"], 5 * trial.settings.lr)
    return trial.outcome("class", ascent(task.original, task.split, recipe, keep=1.0, steps=60))


METHODS = (
    Method(
        name="partial label-flip",
        sentence="trains on wrong labels; a step moves only entries with the largest gradients",
        lesson="03_partial",
        settings=Settings(lr=0.001, share=0.2),
        start=partial(step_to_goal, label_flip),
        failure=Failure(
            "asked for 0 % instead of the level of unseen samples, with twenty times the step size",
            "it learns mistakes, and mistakes can generalize",
            flip_to_zero,
        ),
        grid={"lr": (0.001, 0.005, 0.02, 0.1), "share": (0.05, 0.2)},
    ),
    Method(
        name="partial optimization",
        sentence="raises the loss on the forget set; a step moves only entries with the largest gradients",
        lesson="03_partial",
        settings=Settings(lr=0.02, share=0.05),
        start=partial(step_to_goal, ascent),
        failure=Failure(
            "sixty steps of every entry, five times as large, with no goal",
            "nothing bounds the loss: the more it moves, the more breaks",
            climb_without_end,
        ),
        grid={"lr": (0.001, 0.005, 0.02, 0.1), "share": (0.05, 0.2)},
    ),
)
PORTRAITS = (
    Portrait(
        name="partial steps: label flipping, ascent",
        forgets="samples or a class",
        stores="nothing",
        reads="$D_f$",
        costs="some steps on $D_f$",
    ),
)
