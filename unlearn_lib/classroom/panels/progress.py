"""What a run has shown so far, as plain data: the state of a panel, apart from its view."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Dataset, Split
from unlearn_lib.metrics.accuracy import confusion
from unlearn_lib.train import Step, Unlearned, device_of

__all__ = ["Progress"]

MEASURED = 2_000  # samples of each part that a panel measures; more cost more time than training does
FREE = 1.0  # seconds of measuring before it is rationed
ROWS = 300  # measured steps that are kept: a chart shows no more


@dataclass
class Progress:
    """A watcher that turns the steps of a run into the data of its charts.

    Use it as ``run(steps, watch=[progress])`` and then ``progress.finish(result)``. A short run is
    measured at every step; in a long one measuring takes at most half of the time. It changes no bit of the
    result, and its time is not counted in `seconds`.

    Args:
        values: the controls, by attribute, as they were at the start.
        split: the request.
        data: test samples and names of classes.
        original: the model before the request.
    """

    values: SimpleNamespace
    split: Split
    data: Dataset
    original: nn.Module
    rows: list[dict[str, float]] = field(default_factory=list)  # step, forget, retain, test
    losses: list[float] = field(default_factory=list)
    infos: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)  # step, what a method added
    phases: list[tuple[int, str]] = field(default_factory=list)  # first step, name
    models: dict[str, nn.Module] = field(default_factory=dict)  # by role
    tables: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # predictions, by role and part
    scores: dict[str, dict[str, float]] = field(default_factory=dict)  # accuracies and seconds, by role
    result: Unlearned[Any] | None = None
    last: Step | None = None
    steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        check.instance("split", self.split, Split), check.instance("data", self.data, Dataset)
        parts = {"forget": self.split.forget, "retain": self.split.retain, "test": self.data.test}
        device = device_of(self.original)
        self._parts = {name: part.head(MEASURED).to(device) for name, part in parts.items()}
        self._measured = self._cost = self._spent = 0.0
        self._add("original", self.original)
        self.rows.append({"step": 0, **shares(self.tables["original"])})
        self.resume()

    def __call__(self, step: Step) -> None:
        """One step: count it, keep its loss and what the method says; measure if there is time."""
        self.seconds += time.perf_counter() - self._resumed
        check.instance("step", step, Step)
        if not self.phases or step.phase != self.phases[-1][1]:
            self.phases.append((self.steps, step.phase))
        self.steps += 1
        self.last = step
        self.losses.append(step.loss)
        if step.info:
            self.infos.append((self.steps, step.info))
        begun = time.perf_counter()
        if self._spent < FREE or begun - self._measured >= self._cost:
            self.rows.append({"step": self.steps, **shares(self.measure(step.model))})
            if len(self.rows) > ROWS:  # every other one is enough, but for the original and the present model
                del self.rows[1:-1:2]
            self._measured = time.perf_counter()
            self._cost = self._measured - begun
            self._spent += self._cost
        self.resume()

    def resume(self) -> None:
        """Restart the method's clock, after other work between two steps."""
        self._resumed = time.perf_counter()

    def finish(self, result: Unlearned[Any]) -> None:
        """End the run with this result, and measure it; its cost is the method's own time."""
        self.seconds += time.perf_counter() - self._resumed
        self.result = check.instance("result", result, Unlearned)
        self._add("unlearned", result.model, self.seconds)
        if self.rows[-1]["step"] == self.steps:  # the result may differ from the last step's model
            self.rows.pop()
        self.rows.append({"step": self.steps, **shares(self.tables["unlearned"])})

    def add_reference(self, retrained: Unlearned[Any]) -> None:
        """The model retrained without the forget set: what a method should reach."""
        check.instance("retrained", retrained, Unlearned)
        self._add("retrained", retrained.model, retrained.seconds)

    def measure(self, model: nn.Module) -> dict[str, np.ndarray]:
        """The model's predictions for the forget, the retain and the test samples (see `confusion`)."""
        return {name: confusion(model, part).numpy() for name, part in self._parts.items()}

    def _add(self, role: str, model: nn.Module, seconds: float | None = None) -> None:
        self.models[role], self.tables[role] = model, self.measure(model)
        self.scores[role] = shares(self.tables[role]) | ({} if seconds is None else {"seconds": seconds})


def shares(tables: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Accuracy on each part: the diagonal's share."""
    return {name: float(np.trace(table) / max(table.sum(), 1)) for name, table in tables.items()}
