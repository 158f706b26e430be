"""How each method fails: the functions of the contest with something changed, measured live.

failures(methods, arenas, test, prices) -> rows: method, what was changed, what came out, why
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.contest.arena import Arena
from unlearn_lib.contest.method import Method, Settings
from unlearn_lib.contest.task import KINDS, Kind, Task
from unlearn_lib.contest.ulira import Exposure
from unlearn_lib.data import Examples
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.train import Step, Unlearned, run

__all__ = ["Trial", "failures"]

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Trial(Generic[S]):
    """A method, and what its failure is measured on.

    Args:
        method: the method.
        tasks: the first seed of each request.
        test: samples that no model has seen.
        seconds: the time that retraining took for one request.
        exposed: what U-LiRA found, by method.
    """

    method: Method[S]
    tasks: Mapping[Kind, Task]
    test: Examples
    seconds: float
    exposed: Mapping[str, Exposure]

    @property
    def settings(self) -> S:
        """The method's settings in the contest."""
        return self.method.settings

    def again(self, kind: Kind, *, batches: int | None = None, **changes: Any) -> Unlearned[Any]:
        """The method, prepared and run with some settings changed, or with the samples in other batches."""
        with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
            return self.method.but(**changes).unlearn(self.tasks[kind].again(Path(folder), batches))

    def accuracies(self, kind: Kind, model: nn.Module) -> str:
        """Accuracy on the forget set and on test samples that should stay known, before and after."""
        task, kept = self.tasks[kind], self.test
        if kind == "class":
            kept = kept.where(~torch.isin(kept.y, task.split.forget.y))
        ends = [(accuracy(m, task.split.forget), accuracy(m, kept)) for m in (task.original, model)]
        forget, test = zip(*ends, strict=True)
        return f"forget {forget[0]:.0%} → {forget[1]:.0%}, test {test[0]:.0%} → {test[1]:.0%}"

    def outcome(self, kind: Kind, steps: Generator[Step, None, Unlearned[Any]]) -> str:
        """The accuracies after a run that may ruin the model."""
        try:
            return self.accuracies(kind, run(steps).model)
        except FloatingPointError:
            return "the weights overflow: no model is left"


def failures(
    methods: Mapping[str, Method[Any]],
    arenas: Mapping[Kind, Arena],
    test: Examples,
    seconds: float,
    exposed: Mapping[str, Exposure],
) -> list[tuple[str, str, str, str]]:
    """One live failure per method.

    Args:
        methods: by name.
        arenas: the contest, by request; the first seed is used.
        test: its test samples.
        seconds: the time that retraining took for one request.
        exposed: what U-LiRA found, for every method that applies to samples.

    Returns:
        Rows: method, what was changed, what came out, why.

    Raises:
        ValueError: the arena of a request, or what U-LiRA found about a method, is missing.
    """
    attacked = [name for name, m in check.fit("methods", methods, Mapping[str, Method[Any]]).items()]
    attacked = [name for name in attacked if "samples" not in methods[name].refuses]
    for what, given, keys in (("arenas", arenas, KINDS), ("exposed", exposed, attacked)):
        if missing := [key for key in keys if key not in check.instance(what, given, Mapping)]:
            raise ValueError(f"`{what}` must hold {', '.join(keys)}; {', '.join(missing)} is missing.")
    tasks = {kind: arenas[kind].tasks[0] for kind in KINDS}
    return [
        (
            name,
            method.failure.changed,
            method.failure.measure(Trial(method, tasks, test, seconds, exposed)),
            method.failure.why,
        )
        for name, method in methods.items()
    ]
