"""PGU in the contest: once with the stop rule for classes, once with the one for samples."""

from __future__ import annotations

import time
from dataclasses import dataclass

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Failure, Kit, Method, Portrait, Rate, Run, Share
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.pgu import CLASS, SAMPLES, GoalRule, forgotten, overtaken, pgu
from unlearn_lib.methods.pgu.moments import moments
from unlearn_lib.methods.pgu.projection import spectra
from unlearn_lib.train import Recipe

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How PGU is run.

    Args:
        lr: step size.
        energy: share of the retained data's energy to protect.
    """

    lr: Rate
    energy: Share


def prepare(task: Task, settings: Settings) -> Kit:
    """Second moments of every layer's inputs, over all training samples."""
    original = task.original
    begun = time.perf_counter()
    stored = moments(original, task.data)
    return Kit(original, sum(stored.nbytes.values()), time.perf_counter() - begun, stored)


def push_class(task: Task, kit: Kit, settings: Settings) -> Run:
    """Projected steps until forget accuracy is low."""
    return push(task, kit, settings, CLASS, forgotten(task.target))


def push_samples(task: Task, kit: Kit, settings: Settings) -> Run:
    """Projected steps until unseen samples do better."""
    return push(task, kit, settings, SAMPLES, overtaken(task.validation))


def push(task: Task, kit: Kit, settings: Settings, recipe: Recipe, stop: GoalRule) -> Run:
    """Projected steps until `stop`; the forget samples' moments are subtracted on the clock."""
    forget = task.split.forget
    retained = spectra(kit.tools.without(kit.original, forget))
    recipe = recipe.but(lr=settings.lr, seed=task.recipe.seed)
    return (yield from pgu(kit.original, retained, forget, recipe, stop=stop, energy=settings.energy))


def protect_too_much(trial: Trial[Settings]) -> str:
    """Accuracies when nearly all directions are protected."""
    return trial.accuracies("class", trial.again("class", energy=0.999).model)


def look_sample_by_sample(trial: Trial[Settings]) -> str:
    """What both attacks find, beside the retrained model's values."""
    gold, found = trial.exposed["retrain"], trial.exposed[trial.method.name]
    return (
        f"population attack {found.population.value:.2f} (retrained {gold.population.value:.2f}), "
        f"U-LiRA {found.attack.auc.value:.2f} ({gold.attack.auc.value:.2f})"
    )


METHODS = (
    Method(
        name="PGU class",
        sentence="pushes where the retained data do not look, until forget accuracy is low",
        lesson="04_pgu",
        settings=Settings(lr=0.03, energy=0.5),
        start=push_class,
        failure=Failure(
            "protects nearly all directions",
            "what must go shares its directions with what stays",
            protect_too_much,
        ),
        grid={"lr": (0.03, 0.3), "energy": (0.5, 0.9, 0.98)},
        prepare=prepare,
        refuses={
            "samples": "its stop rule asks for a low forget accuracy; the retrained model has a high one."
        },
    ),
    Method(
        name="PGU samples",
        sentence="pushes where the retained data do not look, until unseen samples do better",
        lesson="04_pgu",
        settings=Settings(lr=0.3, energy=0.9),
        start=push_samples,
        failure=Failure(
            "nothing",
            "it stops when one average is right, whatever other averages and single samples say",
            look_sample_by_sample,
        ),
        grid={"lr": (0.03, 0.3), "energy": (0.5, 0.9, 0.98)},
        prepare=prepare,
        refuses={
            "class": "that unseen samples of all classes do better says nothing about one class.",
            "backdoor": "unseen samples do better before a wrong label is gone; PGU class has the rule.",
        },
    ),
)
PORTRAITS = (
    Portrait(
        name="PGU",
        forgets="samples or a class",
        stores="second moments of every layer's inputs",
        reads="$D_f$, not $D_r$; some validation data to know when to stop",
        costs="one eigendecomposition per layer, a few epochs on $D_f$",
    ),
)
