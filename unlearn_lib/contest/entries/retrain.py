"""Retraining in the contest: the reference, and an exact but slow contestant."""

from __future__ import annotations

from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Failure, Kit, Method, Portrait, Run, Settings
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.retrain import retrain

__all__ = ["METHODS", "PORTRAITS"]


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """Training from scratch on the retain set."""
    return retrain(task.initial, task.split, task.recipe)


def price(trial: Trial[Settings]) -> str:
    """What it takes, every time."""
    return f"{trial.seconds:.2f} s for every request"


METHODS = (
    Method(
        name="retrain",
        sentence="trains from scratch on the retain set: the reference, and an exact but slow contestant",
        lesson="00_start_here",
        settings=Settings(),
        start=start,
        failure=Failure("nothing", "exact, at full price", price),
    ),
)
PORTRAITS = (
    Portrait(
        name="retraining",
        forgets="anything, exactly",
        stores="nothing",
        reads="all of $D_r$",
        costs="the whole training",
    ),
)
