"""A panel that runs a method: choose, press the button, and watch it forget, beside its reference.

What goes on is in `runs`; this is how it looks.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Collection, Generator, Mapping
from types import SimpleNamespace
from typing import Any

import ipywidgets as w
from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels import run_views
from unlearn_lib.classroom.panels.controls import NAMED, button, draw_into, either
from unlearn_lib.classroom.panels.panel import LARGE, Panel, beside, described
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.runs import PAUSE, Look, Runs, State
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Dataset, Split
from unlearn_lib.train import Step, Unlearned

__all__ = ["UnlearnPanel"]


class UnlearnPanel(Panel):
    """Choose what to forget and how, press the button, and watch a method work, beside its reference.

    Drives ``start(values, split)``, the same generator as a plain cell, to the same bits. Charts: forget,
    retain and test accuracy over the steps; the method's own picture; classes; predictions before and after;
    seconds. After the method it retrains the reference of a request that it has not seen yet.

    Args:
        name: of the panel.
        data: samples and names of classes.
        original: the trained model; or from the values to it, where a control chooses among several.
        controls: widgets by name.
        split: from the values, by attribute, to the request.
        start: from values and request to the method's generator.
        retrain: from the request to the generator of the reference; None does without.
        reference: of the request of the first state, where a cell above has already retrained it.
        draw: the method's own picture: from `Progress` (`infos` while it runs, `result` at the end, None
            before) to a `View`.
        total: number of steps, from values and request, for the time that remains.
        unused: from the values to the names of the controls that these choices ignore: they are disabled, or
            hidden where they are large.
        action: what the main button says.
        picture_first: the chosen picture stands above the curves, near the controls.
        first: run once when made, so that the panel says something at once; False shows the original only.
    """

    @check.arguments
    def __init__(
        self,
        name: str,
        data: Dataset,
        original: nn.Module | Callable[[SimpleNamespace], nn.Module],
        *,
        controls: Mapping[str, Any],
        split: Callable[[SimpleNamespace], Split],
        start: Callable[[SimpleNamespace, Split], Generator[Step, None, Unlearned[Any]]],
        retrain: Callable[[Split], Generator[Step, None, Unlearned[Any]]] | None = None,
        reference: Unlearned[Any] | None = None,
        draw: Callable[[Progress], View] | None = None,
        total: Callable[[SimpleNamespace, Split], int] | None = None,
        unused: Callable[[SimpleNamespace], Collection[str]] = lambda _: (),
        action: str = "Unlearn",
        picture_first: bool = False,
        first: bool = True,
    ) -> None:
        super().__init__(name, controls)
        self.unused = unused
        self.charts: dict[str, Callable[[Progress], View]] = {"Method": draw} if draw else {}
        self.charts |= {
            "Classes": run_views.classes,
            "Predictions": lambda p: run_views.predictions(p, "test"),
            "Forgotten samples": lambda p: run_views.predictions(p, "forget"),
            "Seconds": run_views.seconds,
        }
        self.detail = either("Show", list(self.charts))
        self.run = button(action, "Train with these choices; takes a few seconds", self.start, main=True)
        self.halt = button("Stop", "Stop at the next step", self.stop)
        self.back = button("Reset", "Back to the first state", self.reset)
        self.asked = w.Label()  # what the choices ask for
        self.bar, self.clock = w.IntProgress(description="Steps", style=NAMED), w.Label()
        self.curves, self.picture, self.caption = w.Output(), w.Output(), w.HTML()
        for out in (self.curves, self.picture):
            out.add_class("unlearn-chart")
        parts = [[self.curves, self.numbers], [self.detail, self.picture, self.caption]]
        self._assemble(
            beside([self.bar, self.clock], "unlearn-controls"),
            self.status,
            *(part for group in (parts[::-1] if picture_first else parts) for part in group),
            buttons=[self.run, self.halt, self.back, self.asked],
        )
        self.runs = Runs(
            name,
            data,
            (lambda _: original) if isinstance(original, nn.Module) else original,
            split=split,
            method=start,
            values=self.values,
            retrain=retrain,
            reference=reference,
            total=total,
            first=first,
        )
        self._next_drawing = 0.0
        self._follow(State.IDLE)
        self.runs.on_state.append(self._follow)
        self.runs.on_look.append(self._glance)
        self.detail.observe(lambda _: self._draw_detail(), "value")
        for control in self.controls.values():
            control.observe(lambda _: self._announce(), "value")

    @property
    def outcome(self) -> Progress:
        """The last finished run."""
        return self.runs.outcome

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Accuracies and seconds of the last finished run, by role."""
        return self.outcome.scores

    @property
    def result(self) -> Unlearned[Any] | None:
        """What the last finished run returned."""
        return self.outcome.result

    def start(self) -> None:
        """Begin a run with the current values and return; ignored while another runs."""
        self.runs.start(self.values)

    def stop(self, wait: float = 0) -> None:
        """Stop at the next step; wait up to this many seconds for it."""
        self.runs.stop(wait)

    def reset(self) -> None:
        """Back to the first state, choices included; a run is stopped first."""
        self.runs.reset()

    def views(self) -> list[View]:
        """The curves and the chosen chart, with the numbers."""
        curves = [run_views.curves(self.runs.progress)] if self.runs.progress.steps else []
        *others, last = [*curves, self.charts[self.detail.value](self.outcome)]
        return [*others, last._replace(numbers={**run_views.scores(self.outcome), **last.numbers})]

    # What the runs tell. Most of it comes from the worker's thread: traits and `outputs` only, for nothing
    # printed there is ever seen.

    def _follow(self, state: State) -> None:
        """Show a new state."""
        ended = state in (State.IDLE, State.FINISHED, State.STOPPED, State.FAILED)
        if state is State.IDLE:
            for name, value in self.initial.items():
                self.controls[name].value = value
        if ended:
            self._draw()
        with self.runs.lock:  # or "stopping" could be written over the last word
            ready = f"ready: “{self.run.description}” trains; everything else answers at once"
            self.status.value = self.runs.said or ready
        if ended:
            self._announce()
        elif state is State.RUNNING:
            self._enable()
            self.bar.value, self._next_drawing = 0, 0.0

    def _glance(self, look: Look) -> None:
        """Show how far a run is, with charts less often the longer it lasts."""
        now = time.monotonic()
        self.bar.max, self.bar.value = look.expected, look.done
        self.clock.value = str(look)
        if now < self._next_drawing or self.runs.state is State.RETRAINING:
            return
        draw_into(self.curves, run_views.curves(self.runs.progress))
        self.numbers.value = run_views.scoreboard(self.runs.progress)
        if self.detail.value == "Method":
            self._draw_detail(self.runs.progress)
        cost = time.monotonic() - now
        self._next_drawing = now + max(PAUSE, 8 * cost, min(1.0, look.elapsed / 4))  # the page draws longer

    # Drawing, from any thread

    def _enable(self) -> None:
        """Disable whatever a run or the choices make useless."""
        unused = self.unused(self.values)
        for name, control in self.controls.items():
            control.disabled = self.runs.busy or name in unused
            if isinstance(control, LARGE):
                control.layout.display = "none" if name in unused else None

    def _announce(self) -> None:
        """Say how much the current choices forget, or why they cannot; then there is nothing to run."""
        self._enable()
        self.run.disabled = True
        try:
            split = self.runs.split(self.values)
        except Exception as error:
            self.asked.value = str(error)
            return
        self.run.disabled = False
        self.asked.value = f"these choices forget {amount(len(split.forget), 'sample')}"

    def _draw(self) -> None:
        progress = self.runs.progress
        draw_into(self.curves, run_views.curves(progress))
        self.numbers.value = run_views.scoreboard(self.outcome)
        self.bar.max = max(progress.steps, 1)
        self.bar.value = progress.steps
        self.clock.value = f"{amount(progress.steps, 'step')}, {progress.seconds:.2f} s of computing"
        self._draw_detail()

    def _draw_detail(self, progress: Progress | None = None) -> None:
        try:
            view = self.charts[self.detail.value](progress or self.outcome)
            draw_into(self.picture, view)
            self.caption.value = described(view)
        except Exception as error:
            self.caption.value = f"<p>failed: {html.escape(f'{type(error).__name__}: {error}')}</p>"
