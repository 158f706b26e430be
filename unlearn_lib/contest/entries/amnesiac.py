"""Amnesiac unlearning in the contest, with whole updates and with only their largest entries."""

from __future__ import annotations

import time
from dataclasses import dataclass

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Failure, Kit, Method, Portrait, Run, Share, beyond
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.amnesiac import amnesiac, record
from unlearn_lib.params import clone
from unlearn_lib.train import run

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How amnesiac unlearning is run.

    Args:
        keep: share of every update that is recorded: its largest entries.
        sensitive: record only the batches that hold samples to forget, if all would not fit on the disk.
    """

    keep: Share = 1.0
    sensitive: bool = False


def prepare(task: Task, settings: Settings) -> Kit:
    """Training again with a log of updates: the same original, bit for bit."""
    begun, model = time.perf_counter(), clone(task.initial)
    log = run(
        record(
            model,
            task.data,
            task.recipe,
            task.folder / f"log {settings.keep:g}",
            keep=settings.keep,
            sensitive=task.ids if settings.sensitive else None,
            order=task.order,
        )
    )
    return Kit(model.eval(), log.nbytes, beyond(task, begun), log)


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """Take back the updates of the samples to forget."""
    return amnesiac(kit.original, task.ids, kit.tools, purge=False)


def undo_everywhere(trial: Trial[Settings]) -> str:
    """Accuracies when the class is in two thirds of all batches."""
    task = trial.tasks["class"]
    batches = 2 * (len(task.data) // task.recipe.batch_size) // 3
    return trial.accuracies("class", trial.again("class", batches=batches).model)


def prune_too_much(trial: Trial[Settings]) -> str:
    """Accuracies when only a fiftieth of each update was kept."""
    return trial.accuracies("class", trial.again("class", keep=0.02).model)


METHODS = (
    Method(
        name="amnesiac",
        sentence="subtracts the recorded updates of every batch that held a sample",
        lesson="03_partial",
        settings=Settings(),
        start=start,
        failure=Failure(
            "the class in two thirds of all batches",
            "taking back a batch takes back all that it taught",
            undo_everywhere,
        ),
        prepare=prepare,
    ),
    Method(
        name="partial amnesiac",
        sentence="records and subtracts only the largest entries of each layer of these updates",
        lesson="03_partial",
        settings=Settings(keep=0.5),
        start=start,
        failure=Failure(
            "a fiftieth of each update kept",
            "too little is undone, and the rest was never stored",
            prune_too_much,
        ),
        grid={"keep": (0.1, 0.3, 0.5)},
        prepare=prepare,
    ),
)
PORTRAITS = (
    Portrait(
        name="partial amnesiac",
        forgets="the samples of some batches",
        stores="the largest entries of every update, and who was in it",
        reads="only that log",
        costs="a few subtractions",
    ),
)
