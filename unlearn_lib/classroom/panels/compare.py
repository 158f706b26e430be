"""Two models side by side, sample by sample."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import ipywidgets as w
import numpy as np
from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom import charts
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.controls import choice, draw_into, switch, table
from unlearn_lib.classroom.panels.panel import Panel, beside
from unlearn_lib.classroom.panels.thumbnails import Thumbnails, image_url, top_of
from unlearn_lib.classroom.panels.unlearn import UnlearnPanel
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.metrics.accuracy import logits

__all__ = ["ComparePanel"]

SHOWN = 60  # thumbnails in a grid
MEASURED = 1_000  # samples of each kind whose answers are computed


class ComparePanel(Panel):
    """Two models side by side: choose a sample by its picture and see what each says, and how surely.

    Args:
        name: of the panel.
        models: any number of models, by role.
        samples: what to choose from, by name; a few dozen of each are shown.
        classes: names of the classes.
    """

    @check.arguments
    def __init__(
        self,
        name: str,
        models: Mapping[str, nn.Module],
        samples: Mapping[str, Examples],
        classes: Sequence[str],
    ) -> None:
        for what, given in (("models", models), ("samples", samples)):
            if not given:
                raise ValueError(f"`{what}` must hold at least one; got none.")
        roles = list(models)
        first = samples[next(iter(samples))]
        super().__init__(
            name,
            {
                "left": choice("Model", roles),
                "right": choice("beside", roles, roles[-1]),
                "which": choice("Samples", samples),
                "differ": switch("only where the two disagree"),
                "grid": Thumbnails(first.head(1), "Choose a sample", classes, multiple=False),
            },
        )
        self.classes, self.chart = list(classes), w.Output()
        self.chart.add_class("unlearn-chart")
        self.answer = beside([self.numbers, self.chart], "unlearn-row")
        self._assemble(self.status, self.answer)
        self.renew(models, samples)
        for control in ("left", "right", "which", "differ"):
            self.controls[control].observe(lambda _: self._offer(), "value")
        self.grid.observe(lambda _: self._draw(), "value")

    @classmethod
    def following(cls, panel: UnlearnPanel) -> ComparePanel:
        """The models and samples of another panel, renewed after each of its runs."""

        check.instance("panel", panel, UnlearnPanel)

        def parts() -> tuple[dict[str, nn.Module], dict[str, Examples]]:
            split = panel.outcome.split
            samples = {"forget": split.forget, "retain": split.retain, "test": panel.runs.data.test}
            return panel.outcome.models, samples

        made = cls(f"{panel.runs.worker.name} models", *parts(), panel.runs.data.classes)
        panel.runs.on_outcome.append(lambda: made.renew(*parts()))
        return made

    def renew(self, models: Mapping[str, nn.Module], samples: Mapping[str, Examples]) -> None:
        """Other models or samples: every answer is computed now, so that a click shows it at once."""
        self.samples = {
            name: check_examples(name, examples).head(MEASURED) for name, examples in samples.items()
        }
        self.answers = {
            (role, name): logits(model, examples).double().softmax(1).numpy()
            for role, model in models.items()
            for name, examples in self.samples.items()
        }
        roles = list(models)
        for side in (self.left, self.right):
            if list(side.options) != roles:
                kept = side.value if side.value in roles else roles[-1]
                side.options, side.value = roles, kept
        self._offer()

    def _offer(self) -> None:
        if (self.right.value, self.which.value) not in self.answers:
            return  # between two assignments of `renew`
        examples, which = self.samples[self.which.value], self.which.value
        left, right = (self.answers[side.value, which].argmax(1) for side in (self.left, self.right))
        rows = np.flatnonzero(left != right) if self.differ.value else np.arange(len(examples))
        self.status.value = self._found(len(rows), len(examples))
        for part in (self.grid, self.answer):
            part.layout.display = None if len(rows) else "none"
        self.offered = ""
        if len(rows):
            shown = examples.select(examples.ids[rows[:SHOWN]])
            self.offered = self.which.value
            self.grid.show(shown)
            if not self.grid.value:
                self.grid.value = [int(shown.ids[0])]
        self._draw()

    def _found(self, rows: int, samples: int) -> str:
        if rows:
            found = f"The two disagree on {rows:,} of " if self.differ.value else ""
            some = f"; the first {SHOWN} are shown." if rows > SHOWN else "."
            return f"{found}{amount(samples, 'sample')}{some}"
        if self.left.value == self.right.value:
            return "A model never disagrees with itself: choose two."
        return f"The two agree on all of the {amount(samples, 'sample')}: there is nothing to show."

    def view(self) -> View:
        """The chosen sample: its picture, label, and the two models' answers."""
        wanted, examples = self.grid.value[0], self.samples[self.offered]
        place = int((examples.ids == wanted).nonzero()[0, 0])
        answers = {
            side.value: self.answers[side.value, self.offered][place] for side in (self.left, self.right)
        }
        view = charts.probability_chart({role: p.tolist() for role, p in answers.items()}, self.classes)
        said = {f"{role} says": f"{self.classes[p.argmax()]} ({p.max():.0%})" for role, p in answers.items()}
        label = self.classes[int(examples.y[place])]
        return view._replace(numbers={"sample": wanted, "true class": label, **said})

    def views(self) -> list[View]:
        """The grid and the chosen sample; nothing if no samples are offered."""
        return [self.grid.view()._replace(numbers={}), self.view()] if self.offered else []

    def _draw(self) -> None:
        if not self.grid.value or not self.offered:
            return  # between two assignments of `_offer`
        try:
            view, examples = self.view(), self.grid.examples
            image = image_url(examples.select(self.grid.value).x[0], top_of(examples))
            alt = f"sample {self.grid.value[0]}, class {view.numbers['true class']}"
            self.numbers.value = (
                f'<img alt="{html.escape(alt)}" src="{image}" width="112" '
                f'style="image-rendering: pixelated; border: 1px solid #767676">{table(view.numbers)}'
            )
            draw_into(self.chart, view)
        except Exception as error:
            self.status.value = f"failed: {type(error).__name__}: {error}"
