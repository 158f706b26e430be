"""SISA in the contest: samples to forget are in as few shards as possible, as one data holder's would be."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Count, Failure, Kit, Method, Portrait, Run, beyond, quietly
from unlearn_lib.contest.task import Task
from unlearn_lib.methods.sisa import partition, sisa, train_sisa
from unlearn_lib.store import Folder

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How SISA is run.

    Args:
        shards: isolated models that vote.
        slices: of each shard, with a checkpoint after each.
    """

    shards: Count = 4
    slices: Count = 3


def prepare(task: Task, settings: Settings) -> Kit:
    """The ensemble. A class is spread over all shards: if one held it all, no other would know it."""
    begun = time.perf_counter()
    together = None if task.kind == "class" else torch.isin(task.data.ids, task.ids).float()
    mode: Literal["strat", "prior"] = "strat" if together is None else "prior"
    cells = partition(
        task.data, settings.shards, settings.slices, mode, seed=task.recipe.seed, likely=together
    )
    ensemble = quietly(train_sisa(task.initial, task.data, task.recipe, cells, Folder(task.folder / "sisa")))
    return Kit(ensemble.vote(), ensemble.nbytes, beyond(task, begun), ensemble)


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """Retrain the shards that held a sample."""
    return sisa(kit.tools, task.ids)


def redo_all_shards(trial: Trial[Settings]) -> str:
    """The share of training that a whole class costs."""
    trace = trial.again("class").trace
    redone = f"{len(trace.shards)} of {trial.settings.shards} shards redone"
    return f"{redone}: {1 / trace.speedup:.0%} of all training"


METHODS = (
    Method(
        name="SISA",
        sentence="isolated models of shards vote; retrains the shards that held a sample",
        lesson="09_side_by_side",
        settings=Settings(),
        start=start,
        failure=Failure(
            "a class, not samples kept together", "every shard holds some of it", redo_all_shards
        ),
        prepare=prepare,
    ),
)
PORTRAITS: tuple[Portrait, ...] = ()
