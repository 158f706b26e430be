"""Choosing samples: from a grid of their pictures, or with box and lasso in a two-dimensional embedding."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import anywidget
import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from unlearn_lib.data import Examples
from unlearn_lib.lesson import session
from unlearn_lib.lesson.charts import MARKERS, View, counted
from unlearn_lib.lesson.controls import NAMED, KeyGuard, button, picture_of
from unlearn_lib.lesson.plots import ROLES

COLORS = tuple(role.color for role in ROLES.values())
AXES, PLANE = ("first principal component", "second"), ("first feature", "second feature")

TOOLS = ["select2d", "lasso2d", "zoom2d", "pan2d", "resetScale2d"]

__all__ = ["EmbeddingPicker", "Thumbnails", "image_array", "image_url"]


def image_array(x: Tensor, top: float) -> np.ndarray:
    """One sample as an image of bytes, `top` being full intensity; one channel is drawn as dark ink.

    A sample that is no image, such as Location-30's 446 bits, is folded into a square.
    """
    values = x.detach().cpu().double().numpy()
    if values.ndim == 1:
        side = math.ceil(math.sqrt(len(values)))
        values = np.pad(values, (0, side * side - len(values))).reshape(1, side, side)
    scaled = (255 * np.clip(values / top, 0, 1)).round().astype(np.uint8)
    return 255 - scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)


def image_url(x: Tensor, top: float) -> str:
    """One sample as the address of a PNG that is in the address itself."""
    buffer = io.BytesIO()
    Image.fromarray(image_array(x, top)).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def top_of(examples: Examples) -> float:
    """Full intensity: 255 for photographs, 16 for the digits."""
    return max(float(examples.x.max()), 1e-9)


class Thumbnails(anywidget.AnyWidget):
    """A grid of buttons with the samples' pictures; `value` holds the ids of those pressed.

    Args:
        examples: what to choose from, in this order; keep it to a hundred or two.
        description: name of the control.
        classes: names of the classes, for the labels.
        value: ids that are chosen at the start.
        multiple: False lets a click replace the choice.
        label: what a screen reader says of a picture.
    """

    description = traitlets.Unicode("").tag(sync=True)
    images: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    labels: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ids: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    value: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    multiple = traitlets.Bool(True).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    _esm = """export default { render({ model, el }) {
        const title = document.createElement("div"), grid = document.createElement("div");
        grid.className = "unlearn-grid";
        grid.setAttribute("role", "group");
        const press = () => {
            const chosen = new Set(model.get("value")), ids = model.get("ids");
            [...grid.children].forEach((b, i) => b.setAttribute("aria-pressed", chosen.has(ids[i])));
            const count = model.get("multiple") ? `: ${chosen.size} chosen` : "";
            title.textContent = model.get("description") + count;
            grid.setAttribute("aria-disabled", model.get("disabled"));
        };
        const click = id => {
            if (model.get("disabled")) return;
            const old = model.get("value"), has = old.includes(id);
            const chosen = !model.get("multiple") ? [id] : has ? old.filter(v => v !== id) : [...old, id];
            model.set("value", chosen);
            model.save_changes();
            press();
        };
        const draw = () => {
            const labels = model.get("labels"), names = model.get("names"), images = model.get("images");
            grid.setAttribute("aria-label", model.get("description"));
            grid.replaceChildren(...model.get("ids").map((id, i) => {
                const b = document.createElement("button"), img = document.createElement("img");
                b.type = "button";
                b.title = names[i];
                img.src = images[i];
                img.alt = names[i];
                const label = document.createElement("span");
                label.textContent = labels[i];
                label.setAttribute("aria-hidden", "true");
                b.append(img, label);
                b.addEventListener("click", () => click(id));
                return b;
            }));
            press();
        };
        draw();
        model.on("change:images", draw);
        model.on("change:value", press);
        model.on("change:description", press);
        model.on("change:disabled", press);
        el.append(title, grid);
    } };"""
    _css = """
    .unlearn-grid { display: flex; flex-wrap: wrap; gap: 4px; max-height: 300px; overflow-y: auto;
        padding: 3px; }
    .unlearn-grid button { display: flex; flex-direction: column; align-items: center; padding: 3px;
        background: #ffffff; color: #1a1a1a; border: 2px solid #767676; border-radius: 3px; cursor: pointer;
        font: 12px/1.3 var(--jp-ui-font-family, sans-serif); }
    .unlearn-grid img { width: 40px; height: 40px; image-rendering: pixelated; }
    .unlearn-grid button[aria-pressed="true"] { background: #ffe0b8; border: 4px double #b34700;
        padding: 1px; font-weight: 700; }
    .unlearn-grid button[aria-pressed="true"] span::before { content: "\\2713\\00a0"; }
    .unlearn-grid button:focus-visible { outline: 3px solid #0072b2; outline-offset: 1px; }
    """

    def __init__(
        self,
        examples: Examples,
        description: str,
        classes: Sequence[str],
        *,
        value: Iterable[int] = (),
        multiple: bool = True,
        label: str = "sample {id}, class {name}",
        **traits: Any,
    ) -> None:
        self.classes, self.label = classes, label
        super().__init__(description=description, multiple=multiple, **traits)
        self.show(examples)
        self.value = list(value)

    def show(self, examples: Examples) -> None:
        """Offer these samples instead; a choice that is not among them is dropped."""
        top, self.examples = top_of(examples), examples
        ids, labels = examples.ids.tolist(), [self.classes[int(k)] for k in examples.y]
        with self.hold_sync():
            self.ids, self.labels = ids, labels
            self.names = [self.label.format(id=i, name=k) for i, k in zip(ids, labels, strict=True)]
            self.images = [image_url(x, top) for x in examples.x]
            self.value = [i for i in self.value if i in set(ids)]

    @classmethod
    def of_classes(
        cls, examples: Examples, description: str, classes: Sequence[str], value: Iterable[int], **traits: Any
    ) -> Thumbnails:
        """One picture a class, for choosing classes: `value` holds their numbers."""
        numbers = torch.arange(len(classes))
        rows = [int((examples.y == k).nonzero()[0, 0]) for k in numbers]
        samples = Examples(examples.x[rows], numbers, numbers, examples.scale)
        return cls(samples, description, classes, value=value, label="class {name}", **traits)

    def view(self) -> View:
        """The grid as a picture, for a page without a front end."""
        shown, columns, top = min(len(self.ids), 60), 20, top_of(self.examples)
        rows = math.ceil(shown / columns)
        figure = Figure(figsize=(9, 0.72 * rows), layout="constrained")
        ax = figure.subplots()
        ax.axis("off")
        for place in range(shown):
            y, x = divmod(place, columns)
            pixels = image_array(self.examples.x[place], top)
            box = (x - 0.38, x + 0.38, y + 0.4, y - 0.28)
            ax.imshow(
                pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=box, aspect="auto"
            )
            mark = "✓ " if self.ids[place] in self.value else ""
            ax.text(x, y - 0.32, mark + self.labels[place], fontsize=7, ha="center", va="bottom")
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.55, -0.65))
        chosen = [name for i, name in zip(self.ids, self.names, strict=True) if i in self.value]
        alt = f"{self.description}: {counted(shown, 'picture')}, {len(chosen)} of them chosen."
        return View(figure, alt, {"chosen": "; ".join(chosen) or "none"})


class Chart(go.FigureWidget):
    """A live figure that reaches the page whole.

    plotly sends the traces after the figure: a page that draws in between, on a busy machine, stays empty.
    """

    whole = False

    def __init__(self, traces: list[go.Scatter], layout: dict[str, Any]) -> None:
        super().__init__(traces, layout)
        self._config = {"modeBarButtons": [TOOLS], "displaylogo": False, "responsive": True}
        self.whole = True
        self.open()

    def open(self) -> None:
        """Tell the page of the figure, as soon as nothing is missing."""
        if self.whole:
            super().open()


class Fit(anywidget.AnyWidget):
    """Invisible. Lets the chart beside it follow the width of the page, which its widget does not."""

    _esm = """export default { render({ el }) {
        el.style.display = "none";
        const watch = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
        const begin = () => el.isConnected ? watch.observe(el.parentElement) : requestAnimationFrame(begin);
        begin();
        return () => watch.disconnect();
    } };"""


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
    """

    value = traitlets.Tuple()
    symbols: ClassVar = [*MARKERS, "circle-open", "square-open", "diamond-open"]

    def __init__(
        self,
        examples: Examples,
        description: str,
        classes: Sequence[str],
        *,
        value: Iterable[int] = (),
        shown: int = 1_500,
        colors: Sequence[str] = COLORS,
    ) -> None:
        self.examples, self.classes, self.description = examples, classes, description
        self.drawn, value = examples.head(shown), tuple(value)
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
                    name=str(name),
                    marker={
                        "color": colors[k % len(colors)],
                        "symbol": self.symbols[k % len(self.symbols)],
                        "size": 7,
                    },
                    hovertemplate=f"sample %{{customdata}}, class {name}<extra></extra>",
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
        """Points of one class were selected; plotly reports every class in turn, also those without any."""
        self._picked[trace] = [int(self.drawn.ids[self.traces[trace][i]]) for i in rows]
        if trace == len(self.traces) - 1:
            self.value = tuple(sorted(i for ids in self._picked.values() for i in ids))
            self._picked = {}

    def _typed(self, text: str) -> None:
        try:
            self.value = parse_ids(text, self.examples)
        except ValueError as error:
            self.count.value = str(error)

    def _chosen(self) -> None:
        y = self.examples.select(self.value).y.bincount(minlength=len(self.classes)).tolist()
        split = ", ".join(f"{n} of class {k}" for k, n in zip(self.classes, y, strict=True) if n)
        chosen = counted(len(self.value), "sample")
        self.count.value = f"{chosen} chosen" + (f": {split}" if split else "")
        self.field.value = ids_text(self.value)
        with self.figure.batch_update():
            for trace, rows in zip(self.figure.data, self.traces, strict=True):
                trace.selectedpoints = self._selected(rows, self.value)

    def _selected(self, rows: np.ndarray, ids: Iterable[int]) -> list[int] | None:
        """Which points of a class are chosen; None, where nothing is, draws all of them alike."""
        wanted = list(ids)
        chosen = np.isin(self.drawn.ids[rows].numpy(), wanted).nonzero()[0].tolist()
        return chosen if wanted else None

    def view(self) -> View:
        """The embedding as a picture, for a page without a front end."""
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        ax, wanted = figure.subplots(), set(self.value)
        for trace, rows in zip(self.figure.data, self.traces, strict=True):
            chosen = np.isin(self.drawn.ids[rows].numpy(), list(wanted))
            shape = trace.marker.symbol.removesuffix("-open")
            look = {"marker": MARKERS[shape], "color": trace.marker.color, "s": 14}
            look |= {"facecolor": "none"} if trace.marker.symbol.endswith("-open") else {}
            ax.scatter(*self.points[rows].T, alpha=0.25 if wanted else 0.8, **look)
            ax.scatter(*self.points[rows][chosen].T, label=trace.name, **look)
        ax.set(xlabel=self.axes[0], ylabel=self.axes[1])
        ax.legend(title="class", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        alt = f"{len(self.drawn)} samples by {self.axes[0]} and {self.axes[1]}; {self.count.value}."
        return View(figure, alt, {"chosen samples": ids_text(self.value) or "none"})

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        static = picture_of(self.view())
        return static if session.HEADLESS else {**static, **super()._repr_mimebundle_(**kwargs)}


def principal_components(examples: Examples) -> np.ndarray:
    """The samples [n, 2] along the two directions in which they vary most; the signs are fixed.

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
        ValueError: something is no number, or no id of `examples`.
    """
    ids: set[int] = set()
    for part in text.replace(",", " ").split():
        low, _, high = part.partition("-")
        if not low.isdigit() or not (high or low).isdigit():
            raise ValueError(f"`ids` must be numbers and ranges such as 3, 17, 20-24; got {part!r}.")
        ids |= set(range(int(low), min(int(high or low), int(low) + 100_000) + 1))
    examples.rows(ids)
    return tuple(sorted(ids))


def ids_text(ids: Sequence[int]) -> str:
    """The shortest way to write sorted ids: "3, 17, 20-24"."""
    runs: list[list[int]] = []
    for i in sorted(ids):
        if runs and i == runs[-1][1] + 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ", ".join(f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs)
