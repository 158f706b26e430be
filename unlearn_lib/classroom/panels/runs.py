"""The runs of a panel, one at a time: their state, their clock and their outcomes. Knows no widget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.worker import Stopped, Worker
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Dataset, Split
from unlearn_lib.train import Step, Unlearned

__all__ = ["Look", "Runs", "State"]

PAUSE = 0.25  # seconds between two looks at a run


class State(StrEnum):
    """The state of the runs; the last three are how a run ends, and `IDLE` is the first state again."""

    IDLE = "idle"
    RUNNING = "running"
    RETRAINING = "retraining"  # the method has finished; its reference is on the way
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


BUSY = (State.RUNNING, State.RETRAINING, State.STOPPING)


class Look(NamedTuple):
    """How far a run is.

    Args:
        where: the phase, the epoch and the step, in words.
        done: steps done, of the whole run; of the present epoch where nobody knows how long the run is.
        expected: steps that this will take.
        elapsed: seconds since the run began.
        remaining: seconds that the other steps will take if they are like those before.
        whole: whether all this is of the whole run.
    """

    where: str
    done: int
    expected: int
    elapsed: float
    remaining: float
    whole: bool

    @classmethod
    def at(cls, step: Step, done: int, expected: int, elapsed: float) -> Look:
        """After `done` steps, this one included, out of the `expected` ones (0: unknown)."""
        whole = done <= expected
        left = expected - done if whole else step.steps - step.number
        return cls(
            where=f"{step.phase}, epoch {step.epoch}, step {step.number} of {step.steps}",
            done=done if whole else step.number,
            expected=expected if whole else step.steps,
            elapsed=elapsed,
            remaining=elapsed / done * left,
            whole=whole,
        )

    def __str__(self) -> str:
        scope = "" if self.whole else " in this epoch"
        return f"{self.where}: {self.elapsed:.1f} s elapsed, about {self.remaining:.1f} s remaining{scope}"


class Runs:
    """Runs a method, then the reference of its request, and tells listeners how things stand.

    ``on_state`` is told every new state, ``on_look`` how far a run is (at most four times a second), and
    ``on_outcome`` that `outcome` is another; all but the first `State.RUNNING`, `State.STOPPING` and a reset
    between two runs come from the thread that works.

    Args:
        name: of the panel; what ran under this name before is stopped.
        data: samples and names of classes.
        original: from the values of the controls to the model before the request.
        split: from the values to the request.
        method: from values and request to the method's generator.
        values: of the first state.
        retrain: from the request to the generator of its reference; None does without.
        reference: of the first request, where it has already been retrained.
        total: number of steps, from values and request; else a run is taken to be as long as the last one of
            the same values.
        first: run once now, in this thread.
    """

    @check.arguments
    def __init__(
        self,
        name: str,
        data: Dataset,
        original: Callable[[SimpleNamespace], nn.Module],
        *,
        split: Callable[[SimpleNamespace], Split],
        method: Callable[[SimpleNamespace, Split], Generator[Step, None, Unlearned[Any]]],
        values: SimpleNamespace,
        retrain: Callable[[Split], Generator[Step, None, Unlearned[Any]]] | None = None,
        reference: Unlearned[Any] | None = None,
        total: Callable[[SimpleNamespace, Split], int] | None = None,
        first: bool = True,
    ) -> None:
        self.worker = Worker(name)
        self.data, self.original, self.split = data, original, split
        self.method, self.retrain, self.total = method, retrain, total
        self.state, self.said = State.IDLE, ""
        self.lock = threading.Lock()  # of `state` and `said`, and of what is shown of them
        self.on_state: list[Callable[[State], None]] = []
        self.on_look: list[Callable[[Look], None]] = []
        self.on_outcome: list[Callable[[], None]] = []
        self.references: dict[tuple[int, ...], Unlearned[Any]] = {}  # by `_key`
        self._reset_asked, self._begun, self._looked = False, time.monotonic(), 0.0
        request = check.instance("split", split(values), Split)
        if reference is not None:
            self.references[_key(original(values), request)] = reference
        self.first = self.outcome = self.progress = self._prepared(values, request)
        if first:
            self._drive(self.progress)

    @property
    def busy(self) -> bool:
        """Whether a run is going on."""
        return self.state in BUSY

    def start(self, values: SimpleNamespace) -> bool:
        """Begin a run with these values and return; do nothing and return False while another goes on."""
        return self.worker.start(lambda: self._work(values), before=self._begin)

    def stop(self, wait: float = 0) -> None:
        """Stop at the next step; wait up to this many seconds for it."""
        self._turn(State.STOPPING, "stopping at the next step", only_if=(State.RUNNING, State.RETRAINING))
        self.worker.stop(wait)

    def reset(self) -> None:
        """Back to the first state; a run is stopped first."""
        self._reset_asked = self.worker.busy.locked()
        if self._reset_asked:
            self.stop()
        else:
            self._back()

    def _begin(self) -> None:
        self._begun, self._looked = time.monotonic(), 0.0
        self._turn(State.RUNNING, "running")

    def _work(self, values: SimpleNamespace) -> None:
        try:
            self.progress = self._prepared(values, self.split(values))
            state, said = State.FINISHED, self._drive(self.progress)
            self.outcome = self.progress
            self._tell_outcome()
        except Stopped:
            state, said = (
                State.STOPPED,
                f"stopped after {amount(self.progress.steps, 'step')}; "
                + (
                    "the curves show it, everything else is from the last finished run"
                    if self.outcome.result
                    else "no run has finished yet"
                ),
            )
        except Exception as error:  # shown in the panel, never swallowed
            state, said = State.FAILED, f"failed: {type(error).__name__}: {error}"
        if self._reset_asked:
            self._reset_asked = False
            self._back()
        else:
            self._turn(state, said)

    def _drive(self, progress: Progress) -> str:
        """Run the method, then the reference; return what to say at the end."""
        expected = self._expected(progress)

        def watch(step: Step) -> None:
            progress(step)
            self._look(step, progress.steps, expected)
            progress.resume()

        progress.resume()
        progress.finish(self.worker.drive(self.method(progress.values, progress.split), [watch]))
        said = f"finished after {amount(progress.steps, 'step')} in {progress.seconds:.2f} s"
        if self.retrain is None or "retrained" in progress.models:
            return said
        now = f"running: {said}; now retraining the reference"
        self._turn(State.RETRAINING, now, only_if=(State.RUNNING,))
        done = 0

        def count(step: Step) -> None:
            nonlocal done
            done += 1
            self._look(step, done, 0)

        try:
            reference = self.worker.drive(self.retrain(progress.split), [count])
        except Stopped:
            return said + "; the reference was stopped"
        self.references[_key(progress.original, progress.split)] = reference
        progress.add_reference(reference)
        return said

    def _prepared(self, values: SimpleNamespace, split: Split) -> Progress:
        progress = Progress(values, split, self.data, self.original(values))
        if (known := _key(progress.original, split)) in self.references:
            progress.add_reference(self.references[known])
        return progress

    def _expected(self, progress: Progress) -> int:
        """How many steps the method will take; 0 if unknown."""
        if self.total:
            return self.total(progress.values, progress.split)
        return self.outcome.steps if progress.values == self.outcome.values else 0

    def _back(self) -> None:
        self.progress = self.outcome = self.first
        self._turn(State.IDLE, "")
        self._tell_outcome()

    def _turn(self, state: State, said: str, only_if: tuple[State, ...] = tuple(State)) -> None:
        with self.lock:
            if self.state not in only_if:
                return
            self.state, self.said = state, said
        for tell in self.on_state:
            tell(state)

    def _look(self, step: Step, done: int, expected: int) -> None:
        now = time.monotonic()
        if now - self._looked < PAUSE:
            return
        self._looked = now
        for tell in self.on_look:
            tell(Look.at(step, done, expected, now - self._begun))

    def _tell_outcome(self) -> None:
        for tell in self.on_outcome:
            tell()


def _key(original: nn.Module, split: Split) -> tuple[int, ...]:
    return (id(original), *split.forget.ids.tolist())
