"""Live panels: a learner's choices drive the same generator functions as the plain cells of a lesson.

Three layers: computation (generators of steps, pure functions), pure figure functions (`charts`), and these
thin panels. `UnlearnPanel` trains, in a thread, with progress and Stop; `Explorer` answers at once from what
is already computed. (`ComparePanel`, of two models side by side, is in `compare`.)

Every panel shows its first state at once, and carries a static form of it for pages without a front end.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import ipywidgets as w
from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom import session
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels import run_views
from unlearn_lib.classroom.panels.controls import (
    NAMED,
    KeyGuard,
    button,
    draw_into,
    either,
    picture_of,
    table,
)
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.classroom.panels.worker import Stopped, Worker
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Dataset, Split
from unlearn_lib.metrics.table import escaped
from unlearn_lib.train import Step, Unlearned

__all__ = ["Explorer", "Panel", "Progress", "UnlearnPanel", "View"]

LARGE = (w.Box, Thumbnails)  # controls with a row of their own
LOOK = 0.25  # seconds between two looks at a run; between two drawings more, see `_glance`


class Panel:
    """Controls above a status line and drawings. The controls are attributes: ``panel.epsilon.value = 0.1``.

    Args:
        name: of the panel; making another panel of this name ends the work of the first.
        controls: widgets by name, from `unlearn_lib.classroom.panels.controls`, `thumbnails` or `pickers`.

    Raises:
        ValueError: a control has the name of something else that the panel has.
        TypeError: something that has no value is no control.
    """

    @check.arguments
    def __init__(self, name: str, controls: Mapping[str, Any]) -> None:
        self._name = name
        for key, control in controls.items():
            if not hasattr(control, "observe") or not hasattr(control, "value"):
                raise TypeError(f"`controls` must hold widgets with a value; got {control!r} for {key!r}.")
        for taken in {"controls", *dir(type(self))}.intersection(controls):
            self._refuse(taken)
        self.controls = dict(controls)
        self.status, self.numbers = w.Label(), w.HTML()
        self.status.add_class("unlearn-status")
        self.initial = vars(self.values)

    def __getattr__(self, name: str) -> Any:
        controls = self.__dict__.get("controls", {})
        if name not in controls:
            raise AttributeError(f"{type(self).__name__} has no attribute or control {name!r}.")
        return controls[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("controls", {}):  # `__getattr__` would never find the control again
            self._refuse(name)
        super().__setattr__(name, value)

    def _refuse(self, name: str) -> NoReturn:
        raise ValueError(
            f"`controls` of the panel {self._name!r} must not hold {name!r}: it has another {name!r}. "
            f"(To change what a control says, set `{name}.value`.)"
        )

    @property
    def values(self) -> SimpleNamespace:
        """What the controls say now."""
        return SimpleNamespace(**{name: control.value for name, control in self.controls.items()})

    def views(self) -> list[View]:
        """What the panel shows now: its static form."""
        raise NotImplementedError

    def _assemble(self, *below: Any, buttons: Sequence[Any] = ()) -> None:
        small = [c for c in self.controls.values() if not isinstance(c, LARGE)]
        large = [c for c in self.controls.values() if isinstance(c, LARGE)]
        rows = [beside(small, "unlearn-controls")] if small else []
        rows += [*large, *([beside(buttons, "unlearn-controls")] if buttons else [])]
        self.box = w.VBox([KeyGuard(), *rows, *below])
        self.box.add_class("unlearn-panel")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        pictures = [picture_of(view) for view in self.views()]
        joined = "".join(picture["text/html"] for picture in pictures)
        static = {**pictures[0], "text/html": joined} if pictures else {"text/plain": self.status.value}
        return static if session.HEADLESS else {**static, **self.box._repr_mimebundle_(**kwargs)}


class Explorer(Panel):
    """Controls -> a pure function of their values -> a figure and numbers, at once; nothing is trained.

    Args:
        name: of the panel.
        controls: widgets by name.
        view: from the values, by attribute, to a `View`. Reads what was computed before; aim below 0.2 s.
    """

    @check.arguments
    def __init__(
        self, name: str, *, controls: Mapping[str, Any], view: Callable[[SimpleNamespace], View]
    ) -> None:
        super().__init__(name, controls)
        self.view, self.shown, self.seconds = view, None, 0.0
        self.chart = w.Output()
        self.chart.add_class("unlearn-chart")
        self._assemble(self.chart, self.numbers, self.status)
        # an error of the first state belongs to the cell
        self.shown = check.instance("view", view(self.values), View)
        self.answer()
        for control in self.controls.values():
            control.observe(lambda _: self.answer(), "value")

    def answer(self) -> None:
        """Draw what the controls say; an error goes to the status line and leaves the last drawing."""
        begun = time.perf_counter()
        try:
            self.shown = self.view(self.values)
            draw_into(self.chart, self.shown)
            self.numbers.value = described(self.shown)
            self.status.value = ""
        except Exception as error:
            self.status.value = f"failed: {type(error).__name__}: {error}"
        self.seconds = time.perf_counter() - begun

    def views(self) -> list[View]:
        """The figure of the present values."""
        return [self.shown] if self.shown else []


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
        self.worker = Worker(name)  # ends the worker of an earlier panel of this name
        self.data = data
        self.original = (lambda _: original) if isinstance(original, nn.Module) else original
        self.split, self.generator, self.retrain, self.total = split, start, retrain, total
        self.unused = unused
        self.references: dict[tuple[int, ...], Unlearned[Any]] = {}  # by `_key`
        self.listeners: list[Callable[[], None]] = []
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
        self._reset_asked = self._running = self._made = False
        self._speaking = threading.Lock()
        request = check.instance("split", split(self.values), Split)
        if reference is not None:
            self.references[_key(self.original(self.values), request)] = reference
        self.progress = self._new_progress(self.values, request)
        if first:
            self._drive(self.progress)
        self.first = self.outcome = self.progress
        self._made = True
        self._restore()
        self.detail.observe(lambda _: self._draw_detail(), "value")
        for control in self.controls.values():
            control.observe(lambda _: self._announce(), "value")

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Accuracies and seconds of the last finished run, by role."""
        return self.outcome.scores

    @property
    def result(self) -> Unlearned[Any] | None:
        """What the last finished run returned."""
        return self.outcome.result

    def start(self) -> None:
        """Begin a run with the present values and return; ignored while another runs."""
        values = self.values
        self.worker.start(lambda: self._work(values), before=self._begin)

    def stop(self, wait: float = 0) -> None:
        """Stop at the next step; wait up to so many seconds for it."""
        with self._speaking:
            if self._running:
                self.status.value = "stopping at the next step"
        self.worker.stop(wait)

    def reset(self) -> None:
        """Back to the first state, choices included; a run is stopped first."""
        self._reset_asked = self.worker.busy.locked()
        if self._reset_asked:
            self.stop()
        else:
            self._restore()

    def views(self) -> list[View]:
        """The curves and the chosen chart, with the numbers."""
        curves = [run_views.curves(self.progress)] if self.progress.steps else []
        *others, last = [*curves, self.charts[self.detail.value](self.outcome)]
        return [*others, last._replace(numbers={**run_views.scores(self.outcome), **last.numbers})]

    # In the caller's thread

    def _begin(self) -> None:
        self._running, self.status.value = True, "running"
        self._enable()
        self.bar.value, self._looked, self._next_drawing, self._begun = 0, 0.0, 0.0, time.monotonic()

    def _end(self, said: str) -> None:
        with self._speaking:  # or "stopping" could be written over the last word
            self._running, self.status.value = False, said
        self._announce()

    def _enable(self) -> None:
        """Disable what a run, or the choices, make useless."""
        unused = self.unused(self.values)
        for name, control in self.controls.items():
            control.disabled = self._running or name in unused
            if isinstance(control, LARGE):
                control.layout.display = "none" if name in unused else None

    def _announce(self) -> None:
        """Say how much the present choices forget, or why they cannot: then there is nothing to run."""
        self._enable()
        self.run.disabled = True
        try:
            split = self.split(self.values)
        except Exception as error:
            self.asked.value = str(error)
            return
        self.run.disabled = False
        self.asked.value = f"these choices forget {amount(len(split.forget), 'sample')}"

    def _new_progress(self, values: SimpleNamespace, split: Split) -> Progress:
        progress = Progress(values, split, self.data, self.original(values))
        if (known := _key(progress.original, split)) in self.references:
            progress.add_reference(self.references[known])
        return progress

    # In the worker's thread: traits and `outputs` only, for nothing printed there is ever seen

    def _work(self, values: SimpleNamespace) -> None:
        try:
            self.progress = self._new_progress(values, self.split(values))
            said = self._drive(self.progress)
            self.outcome = self.progress
            for listener in self.listeners:
                listener()
        except Stopped:
            said = f"stopped after {amount(self.progress.steps, 'step')}; " + (
                "only the curves show it: all else is of the last finished run"
                if self.outcome.result
                else "no run has finished yet"
            )
        except Exception as error:  # shown in the panel, never swallowed
            said = f"failed: {type(error).__name__}: {error}"
        if self._reset_asked:
            self._reset_asked = False
            self._restore()
        else:
            self._draw()
            self._end(said)

    def _drive(self, progress: Progress) -> str:
        """The method, then the reference; what to say at the end."""
        expected = self.total(progress.values, progress.split) if self.total else 0
        if self._made and not self.total and progress.values == self.outcome.values:
            expected = self.outcome.steps

        def watch(step: Step) -> None:
            progress(step)
            self._glance(step, progress.steps, expected, [progress])
            progress.resume()

        progress.resume()
        progress.finish(self.worker.drive(self.generator(progress.values, progress.split), [watch]))
        said = f"finished after {amount(progress.steps, 'step')} in {progress.seconds:.2f} s"
        if self.retrain is None or "retrained" in progress.models:
            return said
        self.status.value = f"running: {said}; now retraining the reference"
        count = iter(range(1, 1 << 62))
        try:
            reference = self.worker.drive(
                self.retrain(progress.split), [lambda step: self._glance(step, next(count), 0, [])]
            )
        except Stopped:
            return said + "; the reference was stopped"
        self.references[_key(progress.original, progress.split)] = reference
        progress.add_reference(reference)
        return said

    def _glance(self, step: Step, done: int, expected: int, drawn: Sequence[Progress]) -> None:
        """A look at a run, at most four times a second; charts less often the longer it lasts."""
        now = time.monotonic()
        if not self._made or now - self._looked < LOOK:
            return
        elapsed, self._looked = now - self._begun, now
        where = f"{step.phase}, epoch {step.epoch}, step {step.number} of {step.steps}"
        known = done <= expected
        self.bar.max, self.bar.value = (expected, done) if known else (step.steps, step.number)
        left = elapsed / done * (expected - done if known else step.steps - step.number)
        scope = "" if known else " in this epoch"
        self.clock.value = f"{where}: {elapsed:.1f} s elapsed, about {left:.1f} s remaining{scope}"
        if now < self._next_drawing:
            return
        for progress in drawn:
            draw_into(self.curves, run_views.curves(progress))
            self.numbers.value = run_views.scoreboard(progress)
            if self.detail.value == "Method":
                self._draw_detail(progress)
        cost = time.monotonic() - now
        self._next_drawing = now + max(LOOK, 8 * cost, min(1.0, elapsed / 4))  # the page draws longer

    # Drawing, from any thread

    def _draw(self) -> None:
        draw_into(self.curves, run_views.curves(self.progress))
        self.numbers.value = run_views.scoreboard(self.outcome)
        self.bar.max = max(self.progress.steps, 1)
        self.bar.value = self.progress.steps
        spent = f"{self.progress.seconds:.2f} s of computing"
        self.clock.value = f"{amount(self.progress.steps, 'step')}, {spent}"
        self._draw_detail()

    def _draw_detail(self, progress: Progress | None = None) -> None:
        try:
            view = self.charts[self.detail.value](progress or self.outcome)
            draw_into(self.picture, view)
            self.caption.value = described(view)
        except Exception as error:
            self.caption.value = f"<p>failed: {html.escape(f'{type(error).__name__}: {error}')}</p>"

    def _restore(self) -> None:
        for name, value in self.initial.items():
            self.controls[name].value = value
        self.progress = self.outcome = self.first
        self._draw()
        self._end(f"ready: “{self.run.description}” trains; everything else answers at once")
        for listener in self.listeners:
            listener()


def beside(children: Sequence[Any], style: str) -> w.HBox:
    """Widgets side by side."""
    box = w.HBox(list(children))
    box.add_class(style)
    return box


def _key(original: nn.Module, split: Split) -> tuple[int, ...]:
    return (id(original), *split.forget.ids.tolist())


def described(view: View) -> str:
    """The text alternative of a view: its numbers, and what there is to see."""
    return table(view.numbers) + f"<p>{escaped(view.alt)}</p>"
