"""DeepObliviate in the contest: samples to forget are kept together, past the middle of the chain."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_lib.contest import method
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.method import Count, Failure, Kit, Method, Portrait, Rate, Run, beyond, quietly
from unlearn_lib.contest.task import Task
from unlearn_lib.data import keyed_order
from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.store import Folder

__all__ = ["METHODS", "PORTRAITS", "Settings"]


@dataclass(frozen=True)
class Settings(method.Settings):
    """How DeepObliviate is run.

    Args:
        blocks: of the chain.
        epochs: passes over each block.
        epsilon: slope of the residual's trend at which retraining stops.
    """

    blocks: Count = 12
    epochs: Count = 15
    epsilon: Rate = 0.02


def blocks_of(task: Task, count: int) -> tuple[Tensor, ...]:
    """Ids in equal blocks, in keyed order; single samples to forget are kept together, past the middle."""
    ids = task.data.ids[keyed_order(task.data.ids, task.recipe.seed)]
    if task.kind == "class":
        return tuple(ids.tensor_split(count))
    inside = torch.isin(ids, task.ids)
    others, ours = ids[~inside], ids[inside]
    parts = list(others.tensor_split(count))
    share = max(1, len(others) // count)  # at most half of a block must go
    for k, group in enumerate(ours.split(share)):
        where = min(2 * count // 3 + k, count - 1)
        parts[where] = torch.cat([parts[where], group])
    return tuple(parts)


def prepare(task: Task, settings: Settings) -> Kit:
    """The chain."""
    begun, recipe = time.perf_counter(), task.recipe.but(epochs=settings.epochs)
    blocks, folder = blocks_of(task, settings.blocks), Folder(task.folder / "chain")
    chain = quietly(train_chain(task.initial, task.data, recipe, blocks, folder))
    return Kit(chain.model(), chain.nbytes, beyond(task, begun), chain)


def start(task: Task, kit: Kit, settings: Settings) -> Run:
    """Retrain some blocks, and stitch the rest."""
    return deepobliviate(kit.tools, task.ids, TrendRule(settings.epsilon, "fixed", n_min=3))


def begin_at_the_first_block(trial: Trial[Settings]) -> str:
    """How many blocks a whole class costs."""
    trace = trial.again("class").trace
    return f"{trace.blocks_retrained} of {trace.blocks} blocks retrained"


METHODS = (
    Method(
        name="DeepObliviate",
        sentence="retrains a few blocks of a stored chain of models and stitches the rest",
        lesson="01_deepobliviate",
        settings=Settings(),
        start=start,
        failure=Failure(
            "a class: samples in every block",
            "retraining starts at the very first block",
            begin_at_the_first_block,
        ),
        grid={"epochs": (4, 8, 15), "epsilon": (0.02, 0.1)},
        prepare=prepare,
    ),
)
PORTRAITS = (
    Portrait(
        name="DeepObliviate",
        forgets="samples",
        stores="a model for every block of data",
        reads="$D_r$, from the sample's block on, until its trace has faded",
        costs="training on those blocks; exact only if it goes on to the end",
    ),
)
