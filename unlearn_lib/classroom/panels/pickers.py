"""Choosing samples with box, lasso and mouse in a two-dimensional embedding.

A module of its own, imported by those who need it, because plotly's `FigureWidget` takes long to import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import anywidget
import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import traitlets

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.classroom import session
from unlearn_lib.classroom.assets import asset
from unlearn_lib.classroom.charts import MARKERS, View, dollars, literal
from unlearn_lib.classroom.look import ROLES
from unlearn_lib.classroom.panels.controls import NAMED, KeyGuard, button, picture_of
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Examples, check_examples

COLORS = tuple(role.color for role in ROLES.values())
AXES, PLANE = ("first principal component", "second"), ("first feature", "second feature")

TOOLS = ["select2d", "lasso2d", "zoom2d", "pan2d", "resetScale2d"]

__all__ = ["EmbeddingPicker"]


@contextmanager
def without(name: str) -> Iterator[None]:
    """As if this module could not be imported, unless it already is."""
    hidden = sys.modules.setdefault(name, None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]


with without("rfc3987_syntax"):  # or a grammar is compiled for a second, for jsonschema's test of addresses
    from plotly.graph_objects import FigureWidget


class Chart(FigureWidget):
    """A live figure that reaches the page in one piece.

    plotly sends the traces after the figure, and a busy page that draws in between stays empty.
    """

    whole = False

    def __init__(self, traces: list[go.Scatter], layout: dict[str, Any]) -> None:
        super().__init__(traces, layout)
        self._config = {"modeBarButtons": [TOOLS], "displaylogo": False, "responsive": True}
        self.whole = True
        self.open()

    def open(self) -> None:
        """Tell the page about the figure once nothing is missing."""
        if self.whole:
            super().open()


class Fit(anywidget.AnyWidget):
    """Invisible. Makes the chart beside it follow the width of the page; plotly's widget alone does not."""

    _esm = asset("fit.js")


class EmbeddingPicker(w.VBox):
    """The samples on their first two principal components: box- or lasso-select some; `value` is their ids.

    Points of the plane are shown where they are. A click selects one, Shift adds to a choice.

    Holds the one `FigureWidget` that a notebook can afford (about 5 MB). Beside it stands a field for the ids
    themselves, so that the choice can also be made, and corrected, by keyboard.

    Args:
        examples: what to choose from; at most `shown` of them are drawn.
        description: name of the control.
        classes: names of the classes.
        value: ids that are chosen at the start.
        shown: drawn samples; any id of `examples` can still be typed.
        colors: of the classes; default those of the roles.

    Raises:
        ValueError: there is no sample or none to draw, a label has no name, or a choice is not among them.
        TypeError: a choice that is not made of ids, such as a mask; the same holds when `value` is set later.
    """

    value = traitlets.Tuple()
    symbols: ClassVar = [*MARKERS, "circle-open", "square-open", "diamond-open"]

    def __init__(
        self,
        examples: Examples,
        description: str,
        classes: Sequence[str],
        *,
        value: Ids = (),
        shown: int = 1_500,
        colors: Sequence[str] = COLORS,
    ) -> None:
        check.text("description", description), check.fit("classes", classes, Sequence[str])
        if (most := int(check_examples("examples", examples).y.max())) >= len(classes):
            raise ValueError(f"`classes` must name every label; the samples have {most}, got {classes}.")
        if not len(colors):
            raise ValueError("`colors` must hold at least one; got none.")
        self.examples, self.classes, self.description = examples, classes, description
        self.drawn = examples.head(check.whole("shown", shown, 1))
        value = self._ids(value)
        self.points = principal_components(self.drawn)
        self.axes = AXES if self.drawn.x[0].numel() > 2 else PLANE
        self.traces = [(self.drawn.y == k).nonzero()[:, 0].numpy() for k in range(len(classes))]
        self.figure = Chart(
            [  # every trace here, and its choice: what comes later may not be drawn
                go.Scatter(
                    x=self.points[rows, 0],
                    y=self.points[rows, 1],
                    customdata=self.drawn.ids[rows].numpy(),
                    mode="markers",
                    name=literal(name),
                    marker={
                        "color": colors[k % len(colors)],
                        "symbol": self.symbols[k % len(self.symbols)],
                        "size": 7,
                    },
                    hovertemplate=f"sample %{{customdata}}, class {literal(name)}<extra></extra>",
                    selectedpoints=self._selected(rows, value),
                )
                for k, (name, rows) in enumerate(zip(classes, self.traces, strict=True))
            ],
            layout={
                "template": "plotly_white",
                "height": 380,
                "autosize": True,
                "dragmode": "select",
                "clickmode": "event+select",
                "margin": {"l": 50, "r": 10, "t": 30, "b": 45},
                "xaxis": {"title": self.axes[0]},
                "yaxis": {"title": self.axes[1]},
                "legend": {"title": {"text": "class"}},
            },
        )
        self._picked: dict[int, list[int]] = {}
        for k, trace in enumerate(self.figure.data):
            trace.on_selection(lambda _, points, __, k=k: self.pick(k, points.point_inds))
            trace.on_deselect(lambda _, __: setattr(self, "value", ()))
        self.field = w.Text(
            description=description,
            placeholder="ids such as 3, 17, 20-24",
            style=NAMED,
            continuous_update=False,
            layout={"width": "420px", "max_width": "100%"},
        )
        self.count = w.Label()
        self.field.observe(lambda change: self._typed(change["new"]), "value")
        clear = button("Clear", "Choose no sample", lambda: setattr(self, "value", ()))
        super().__init__([KeyGuard(), w.HBox([self.field, clear, self.count]), self.figure, Fit()])
        self.children[1].add_class("unlearn-controls")
        self.add_class("unlearn-panel")
        self.observe(lambda _: self._chosen(), "value")
        self.value = value
        self._chosen()

    @property
    def disabled(self) -> bool:
        """Whether the ids can be typed."""
        return bool(self.field.disabled)

    @disabled.setter
    def disabled(self, to: bool) -> None:
        self.field.disabled = to

    def pick(self, trace: int, rows: Iterable[int]) -> None:
        """Points of one class were selected; plotly reports every class in turn, even those without any."""
        self._picked[trace] = [int(self.drawn.ids[self.traces[trace][i]]) for i in rows]
        if trace == len(self.traces) - 1:
            self.value = tuple(sorted(i for ids in self._picked.values() for i in ids))
            self._picked = {}

    def _ids(self, value: Any) -> tuple[int, ...]:
        """The value, if it is ids of the samples, each named once or more, in order."""
        ids = tuple(check.column("value", value).tolist())
        self.examples.rows(value)
        return ids

    @traitlets.validate("value")
    def _among(self, proposal: dict[str, Any]) -> tuple[int, ...]:
        try:
            return self._ids(proposal["value"])
        except (TypeError, ValueError) as error:  # what traitlets raises for a value that a trait cannot have
            raise traitlets.TraitError(str(error)) from error

    def _typed(self, text: str) -> None:
        try:
            self.value = parse_ids(text, self.examples)
        except (ValueError, TypeError) as error:
            self.count.value = str(error)

    def _chosen(self) -> None:
        y = self.examples.select(self.value).y.bincount(minlength=len(self.classes)).tolist()
        split = ", ".join(f"{n} of class {k}" for k, n in zip(self.classes, y, strict=True) if n)
        chosen = amount(len(self.value), "sample")
        self.count.value = f"{chosen} chosen" + (f": {split}" if split else "")
        self.field.value = ids_text(self.value)
        with self.figure.batch_update():
            for trace, rows in zip(self.figure.data, self.traces, strict=True):
                trace.selectedpoints = self._selected(rows, self.value)

    def _selected(self, rows: np.ndarray, ids: Iterable[int]) -> list[int] | None:
        """Which points of a class are chosen; None if no sample is, so that all points are drawn alike."""
        wanted = list(ids)
        chosen = np.isin(self.drawn.ids[rows].numpy(), wanted).nonzero()[0].tolist()
        return chosen if wanted else None

    def view(self) -> View:
        """The embedding as a picture, for a page without a front end."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.8), layout="constrained")
        ax, wanted = figure.subplots(), set(self.value)
        for name, trace, rows in zip(self.classes, self.figure.data, self.traces, strict=True):
            chosen = np.isin(self.drawn.ids[rows].numpy(), list(wanted))
            shape = trace.marker.symbol.removesuffix("-open")
            look = {"marker": MARKERS[shape], "color": trace.marker.color, "s": 14}
            look |= {"facecolor": "none"} if trace.marker.symbol.endswith("-open") else {}
            ax.scatter(*self.points[rows].T, alpha=0.25 if wanted else 0.8, **look)
            ax.scatter(*self.points[rows][chosen].T, label=dollars(f" {name}"), **look)
        ax.set(xlabel=self.axes[0], ylabel=self.axes[1])
        ax.legend(title="class", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        alt = f"{len(self.drawn)} samples by {self.axes[0]} and {self.axes[1]}; {self.count.value}."
        return View(figure, alt, {"chosen samples": ids_text(self.value) or "none"})

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        static = picture_of(self.view())
        return static if session.HEADLESS else {**static, **super()._repr_mimebundle_(**kwargs)}


def principal_components(examples: Examples) -> np.ndarray:
    """The samples [n, 2] along the two directions in which they vary most, with fixed signs.

    Points of the plane stay where they are.
    """
    from sklearn.decomposition import PCA

    x = examples.batch(slice(None)).x.flatten(1).cpu().numpy().astype(np.float64)
    if x.shape[1] == 2:
        return x
    return np.asarray(PCA(2, svd_solver="full", random_state=0).fit_transform(x))


def parse_ids(text: str, examples: Examples) -> tuple[int, ...]:
    """Ids from "3, 17, 20-24".

    Raises:
        ValueError: a part is neither a number nor a range, or names no sample of `examples`.
        TypeError: zeros and ones that repeat: a mask, not ids.
    """
    ids: list[int] = []
    for part in text.replace(",", " ").split():
        low, dash, high = part.partition("-")
        first, last = (
            end if end.isascii() and end.isdecimal() else "" for end in (low, high if dash else low)
        )
        if not first or not last or int(first) > int(last):
            raise ValueError(f"`ids` must be numbers and ranges such as 3, 17, 20-24; got {part!r}.")
        if int(last) - int(first) >= len(examples):
            raise ValueError(
                f"`ids` must be ids of these {len(examples)} samples; {part} are more than that."
            )
        ids += range(int(first), int(last) + 1)
    examples.rows(ids)
    return tuple(sorted(set(ids)))


def ids_text(ids: Sequence[int]) -> str:
    """The shortest way to write sorted ids: "3, 17, 20-24"."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs)
