"""Fine-tuning and gradient ascent in the contest: the baselines that any method must beat."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Count, Failure, Kit, Method, Portrait, Rate, Run
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.metrics.backdoor import backdoor_success
from unlearn_lib.train import Recipe

__all__ = ["METHODS", "PORTRAITS", "AscentSettings", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How fine-tuning is run.

    Args:
        epochs: on the retain set, with the original's recipe.
    """

    epochs: Count = 5


@dataclass(frozen=True)
class AscentSettings(method.Settings):
    """How gradient ascent is run.

    Args:
        lr: step size.
        steps: how many.
    """

    lr: Rate = 0.02
    steps: Count = 12


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """More training on the retain set."""
    return finetune(kit.original, task.split.retain, task.recipe.but(epochs=settings.epochs))


def climb(task: Task, kit: Kit, settings: AscentSettings) -> Run:
    """Steps up the loss on the forget set."""
    recipe = Recipe("sgd", settings.lr, batch_size=64, seed=task.recipe.seed)
    return gradient_ascent(kit.original, task.split.forget, recipe, steps=settings.steps)


def keep_the_backdoor(trial: Trial[Settings]) -> str:
    """Backdoor success after as many epochs as the original was trained."""
    task = trial.tasks["backdoor"]
    assert task.backdoor is not None
    model = trial.again("backdoor", epochs=task.recipe.epochs).model
    return f"backdoor success {backdoor_success(model, trial.test, *task.backdoor):.0%}"


def climb_too_far(trial: Trial[AscentSettings]) -> str:
    """Accuracies after three times the steps."""
    task = trial.tasks["class"]
    longer = trial.method.but(steps=3 * trial.settings.steps)
    return trial.outcome("class", longer.begin(task, longer.kit(task)))


METHODS = (
    Method(
        name="fine-tune",
        sentence="keeps training on the retain set and hopes",
        lesson="00_start_here",
        settings=Settings(),
        start=start,
        failure=Failure(
            "trains as long as the original did, on a backdoor",
            "it cannot unteach what it never shows",
            keep_the_backdoor,
        ),
        grid={"epochs": (1, 2, 5)},
    ),
    Method(
        name="gradient ascent",
        sentence="raises the loss on the forget set for a few steps",
        lesson="00_start_here",
        settings=AscentSettings(),
        start=climb,
        failure=Failure(
            "three times the steps, on a class", "no lower bound, no sense of when to stop", climb_too_far
        ),
        grid={"lr": (0.001, 0.005, 0.02, 0.05), "steps": (4, 12)},
    ),
)
PORTRAITS: tuple[Portrait, ...] = ()
