"""Relabeling in the contest: one pass, with the optimizer and the batches of the original."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Failure, Kit, Method, Portrait, Rate, Run, Share
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.relabel import relabel

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How relabeling is run.

    Args:
        lr: step size.
        share: of the retain set to train on beside the relabeled samples.
    """

    lr: Rate = 0.003
    share: Share = 1.0


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """One pass over wrong labels and some right ones."""
    recipe = task.recipe.but(lr=settings.lr, epochs=1)
    return relabel(kit.original, task.split, recipe, share=settings.share)


def leave_the_rest_alone(trial: Trial[Settings]) -> str:
    """Accuracies when no retained samples are beside the relabeled ones."""
    return trial.accuracies("class", trial.again("class", share=0.0).model)


METHODS = (
    Method(
        name="relabel",
        sentence="trains for one pass on the forget set with wrong labels, and on some retained samples",
        lesson="05_relabel",
        settings=Settings(),
        start=start,
        failure=Failure(
            "a class, without any retained sample", "nothing holds the rest together", leave_the_rest_alone
        ),
        grid={"lr": (0.0003, 0.001, 0.003, 0.01), "share": (0.1, 0.3, 1.0)},
    ),
)
PORTRAITS = (
    Portrait(
        name="relabeling",
        forgets="samples or a class",
        stores="nothing",
        reads="$D_f$ and a share of $D_r$",
        costs="one short pass over both",
    ),
)
