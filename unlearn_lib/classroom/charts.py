"""The panels' charts: pure functions from numbers to plotly figures, and `still`, the static twin of each.

A chart is written once, for plotly. A live notebook shows it as it is; without a front end `still` draws its
traces again with matplotlib. Color is never the only cue: marker, dash and hatch differ with the role too.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.look import ROLES
from unlearn_lib.classroom.words import amount

if TYPE_CHECKING:  # matplotlib takes half a second to import, and a live lesson may do without
    from matplotlib.figure import Figure

__all__ = [
    "View",
    "accuracy_chart",
    "class_chart",
    "dollars",
    "literal",
    "matrix_chart",
    "probability_chart",
    "seconds_chart",
    "still",
]

MEASURES = ("forget", "retain", "test")
MAX_PHASES = 6  # more of them cannot be told apart in a chart
HATCHES = {"original": "", "unlearned": "/", "retrained": "."}
MARKERS = {role.symbol: role.marker for role in ROLES.values()}
DASHES = {role.dash: role.line for role in ROLES.values()}


class View(NamedTuple):
    """What a panel shows at one moment: a figure, its alternative text, and its numbers.

    Args:
        figure: of plotly (scatter, bar and heatmap traces), or of matplotlib.
        alt: a sentence for those who cannot see the figure.
        numbers: what stands beside it as text: the text alternative of the chart.
    """

    figure: go.Figure | Figure
    alt: str
    numbers: Mapping[str, object] = {}


@check.arguments
def accuracy_chart(
    rows: Sequence[Mapping[str, float]],
    references: Mapping[str, Mapping[str, float]],
    phases: Sequence[tuple[int, str]] = (),
) -> View:
    """Forget, retain and test accuracy over the steps of a run, each beside its reference lines.

    Args:
        rows: one per measured step, with `step` and the three accuracies in [0, 1].
        references: the three accuracies of the original and the retrained model, by role.
        phases: (first step, name) of each phase of the run.
    """
    figure = make_subplots(
        1, 3, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=[f"{m} accuracy" for m in MEASURES]
    )
    for where, each in (("rows", rows), ("references", references.values())):
        for one in each:
            if missing := [m for m in MEASURES if m not in one]:
                raise ValueError(f"`{where}` must hold forget, retain and test accuracy; {missing} missing.")
    end = max([row["step"] for row in rows] + [1])
    for column, measure in enumerate(MEASURES, 1):
        for number, (start, name) in enumerate(phases if 1 < len(phases) <= MAX_PHASES else ()):
            figure.add_scatter(
                x=[start, start],
                y=[1.2 + 0.13 * (number % 2), 0],  # neighbors must not overlap
                text=[name, ""],
                mode="lines+text",
                textposition="bottom right",
                line={"color": "#767676", "dash": "dot", "width": 1},
                showlegend=False,
                hoverinfo="skip",
                row=1,
                col=column,
            )
        for role, scores in references.items():
            look = ROLES[role]
            figure.add_scatter(
                x=[0, end],
                y=[scores[measure]] * 2,
                name=role,
                mode="lines+markers",
                line={"color": look.color, "dash": look.dash, "width": 2},
                marker={"symbol": look.symbol, "size": 8},
                legendgroup=role,
                showlegend=column == 1,
                row=1,
                col=column,
            )
        look = ROLES["unlearned"]
        figure.add_scatter(
            x=[row["step"] for row in rows],
            y=[row[measure] for row in rows],
            name="unlearned",
            mode="lines+markers",
            line={"color": look.color, "dash": look.dash, "width": 2},
            marker={"symbol": look.symbol, "size": 6, "maxdisplayed": 25},
            legendgroup="unlearned",
            showlegend=column == 1,
            row=1,
            col=column,
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(range=[-0.05, 1.35], tickformat=".0%", tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1])
    last = rows[-1] if rows else {}
    words = ", ".join(f"{m} {last[m]:.0%}" for m in MEASURES if m in last)
    steps = amount(round(last.get("step", 0)), "step")
    alt = f"Forget, retain and test accuracy over {steps}, at the end {words}."
    return View(styled(figure, 300), alt)


@check.arguments
def class_chart(
    accuracies: Mapping[str, Sequence[float]], classes: Sequence[str], forget: Iterable[int] = ()
) -> View:
    """Test accuracy of every class under each model, by role; the names of forgotten classes are marked."""
    gone = set(forget)
    names = [f"<b>{literal(n)}</b> (forget)" if k in gone else literal(n) for k, n in enumerate(classes)]
    figure = _bars(accuracies, names)
    figure.update_layout(yaxis_title="test accuracy", xaxis_title="class", xaxis_type="category")
    words = "; ".join(
        f"{role} lowest on {classes[int(np.argmin(values))]} ({min(values):.0%})"
        for role, values in accuracies.items()
    )
    return View(styled(figure, 300), f"Test accuracy by class: {words}.")


@check.arguments
def probability_chart(probabilities: Mapping[str, Sequence[float]], classes: Sequence[str]) -> View:
    """How sure each model is of every class, for one sample."""
    figure = _bars(probabilities, [literal(name) for name in classes])
    figure.update_layout(yaxis_title="probability", xaxis_title="class", xaxis_type="category")
    words = "; ".join(
        f"the {role} model says {classes[int(np.argmax(p))]} with {max(p):.0%}"
        for role, p in probabilities.items()
    )
    return View(styled(figure, 280), f"Predicted probabilities of one sample: {words}.")


@check.arguments
def matrix_chart(
    counts: Mapping[str, np.ndarray], classes: Sequence[str], samples: str = "test samples"
) -> View:
    """How often each class (row) is predicted as each class (column), as a share of the row."""
    if not counts:
        raise ValueError("`counts` must hold the table of one model at least; got none.")
    figure = make_subplots(
        1,
        len(counts),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[f"{role} model" for role in counts],
    )
    for column, (role, table) in enumerate(counts.items(), 1):
        if table.shape != (len(classes), len(classes)):
            size = f"{len(classes)} x {len(classes)}, as there are classes"
            raise ValueError(f"`counts[{role!r}]` must be {size}; got {list(table.shape)}.")
        share = table / np.maximum(table.sum(1, keepdims=True), 1)
        figure.add_heatmap(
            z=share.tolist(),
            x=[literal(name) for name in classes],
            y=[literal(name) for name in classes],
            text=np.where(table > 0, table.astype(int).astype(str), "").tolist(),
            texttemplate="%{text}" if len(classes) <= 12 else None,
            colorscale=[[0, "#ffffff"], [1, "#0072B2"]],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate="true %{y}, predicted %{x}: %{text}<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_xaxes(title="predicted class", type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_yaxes(title="true class", col=1)
    words = "; ".join(
        f"{role} right on {np.trace(table) / max(table.sum(), 1):.0%}" for role, table in counts.items()
    )
    return View(styled(figure, 360), f"Predictions for the {samples}: {words}.")


@check.arguments
def seconds_chart(seconds: Mapping[str, float]) -> View:
    """What each model cost, in seconds of computing on this machine."""
    figure = go.Figure()
    for role, value in seconds.items():
        figure.add_bar(
            x=[value],
            y=[role],
            name=role,
            orientation="h",
            text=[f"{value:.2f} s"],
            textposition="outside",
            marker={"color": ROLES[role].color, "pattern": {"shape": HATCHES.get(role, "x")}},
            showlegend=False,
        )
    figure.update_xaxes(title="seconds", range=[0, 1.15 * max(seconds.values(), default=1.0)])
    words = ", ".join(f"{role} {value:.2f} s" for role, value in seconds.items())
    return View(styled(figure, 200), f"Seconds of computing: {words}.")


def _bars(values: Mapping[str, Sequence[float]], names: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    for role, heights in values.items():
        if len(heights) != len(names):
            raise ValueError(
                f"{role!r} must have a value for each of {len(names)} classes; got {len(heights)}."
            )
        figure.add_bar(
            x=list(names),
            y=[float(h) for h in heights],
            name=role,
            marker={"color": ROLES[role].color, "pattern": {"shape": HATCHES.get(role, "x"), "size": 5}},
        )
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%")
    return figure.update_layout(barmode="group")


def styled(figure: go.Figure, height: int) -> go.Figure:
    """Opaque and compact: legible in the dark theme, no title bar."""
    legend = {"orientation": "h", "x": 0, "y": 1.12, "yanchor": "bottom"}
    return figure.update_layout(
        template="plotly_white",
        height=height,
        legend=legend,
        margin={"l": 60, "r": 15, "t": 60, "b": 45},
        font={"color": "#1a1a1a"},
    )


def still(figure: go.Figure) -> Figure:
    """The same chart drawn by matplotlib, for a page without a front end.

    Knows scatter, bar and heatmap traces, subplots in rows and columns, dashes, markers, hatches and texts:
    what the charts of this package use.

    Raises:
        ValueError: a trace of another type.
    """
    from matplotlib.figure import Figure

    for trace in check.instance("figure", figure, go.Figure).data:
        if trace.type not in _DRAW:
            raise ValueError(f"`still` draws {', '.join(_DRAW)}; got a trace of type {trace.type!r}.")
    layout = figure.layout
    spots = {(t.xaxis or "x", t.yaxis or "y"): None for t in figure.data} or {("x", "y"): None}
    lefts, bottoms = ([_axis(layout, spot[i]).domain or (0, 1) for spot in spots] for i in range(2))
    columns, rows = sorted(set(lefts)), sorted(set(bottoms), reverse=True)
    drawn = Figure(figsize=((layout.width or 900) / 100, (layout.height or 320) / 100), layout="constrained")
    shared = any(_axis(layout, y).matches for _, y in spots)
    grid = drawn.subplots(len(rows), len(columns), squeeze=False, sharey="row" if shared else "none")
    axes = {
        spot: grid[rows.index(bottom)][columns.index(left)]
        for spot, left, bottom in zip(spots, lefts, bottoms, strict=True)
    }
    titles = [a.text for a in layout.annotations or ()]
    for number, (spot, ax) in enumerate(axes.items()):
        traces = [t for t in figure.data if (t.xaxis or "x", t.yaxis or "y") == spot]
        for index, trace in enumerate(traces):
            _DRAW[trace.type](ax, trace, index, sum(t.type == "bar" for t in traces))
        _frame(ax, layout, spot, titles[number] if number < len(titles) else "")
    legend = {
        label: handle
        for ax in axes.values()
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    if legend:
        drawn.legend(
            legend.values(), legend, loc="outside upper left", ncols=min(len(legend), 4), frameon=False
        )
    return drawn


def _axis(layout: Any, name: str) -> Any:
    """The axis that a trace calls "x2"."""
    return layout[f"{name[0]}axis{name[1:]}"]


def _frame(ax: Any, layout: Any, spot: tuple[str, str], title: str) -> None:
    from matplotlib.ticker import NullLocator

    for letter, key in zip("xy", spot, strict=True):
        axis = _axis(layout, key)
        ax.set(**{f"{letter}label": _drawn(axis.title.text)})
        if axis.type == "log":
            ax.set(**{f"{letter}scale": "log"})
        if axis.range and axis.type != "log":
            ax.set(**{f"{letter}lim": axis.range})
        if axis.tickvals:
            getattr(ax, f"set_{letter}ticks")(
                axis.tickvals, axis.ticktext or [f"{v:g}" for v in axis.tickvals]
            )
            getattr(ax, f"{letter}axis").set_minor_locator(NullLocator())
        if axis.showticklabels is False:  # not the ticks themselves: a shared axis would lose them everywhere
            side = {"x": "bottom", "y": "left"}[letter]
            ax.tick_params(axis=letter, **{side: False, f"label{side}": False})
        if axis.tickformat and axis.tickformat.endswith("%"):
            getattr(ax, f"{letter}axis").set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_title(_drawn(title), fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)


def literal(name: object) -> str:
    """A literal name for plotly's texts, which interpret tags, entities, formulas and template fields."""
    found = html.escape(str(name), quote=False)
    for sign in "${}":
        found = found.replace(sign, f"&#{ord(sign)};")
    return found


def plain(text: str | None) -> str:
    """One of plotly's texts in plain characters."""
    return html.unescape((text or "").replace("<b>", "").replace("</b>", "").replace("<br>", "\n"))


@check.arguments
def dollars(text: str) -> str:
    """For matplotlib: a dollar is a dollar and does not start a formula."""
    return text.replace("$", r"\$")


def _drawn(text: str | None) -> str:
    """One of plotly's texts, for matplotlib."""
    return dollars(plain(text))


def _label(trace: Any) -> dict[str, Any]:
    if trace.showlegend is False or not trace.name:
        return {}
    text = _drawn(trace.name)
    return {"label": f" {text}" if text.startswith("_") else text}  # with "_" it would not be in the legend


def _scatter(ax: Any, trace: Any, index: int, bars: int) -> None:
    mode = trace.mode or "lines"
    color = trace.line.color or trace.marker.color or f"C{index}"
    size = trace.marker.size if isinstance(trace.marker.size, int | float) else 6
    ax.plot(
        list(range(len(trace.y))) if trace.x is None else list(trace.x),
        list(trace.y),
        color=color,
        linestyle=DASHES.get(trace.line.dash or "solid", "-") if "lines" in mode else "none",
        linewidth=trace.line.width or 2,
        marker=MARKERS.get(trace.marker.symbol or "circle", "o") if "markers" in mode else None,
        markersize=size * 0.7,
        markevery=max(1, len(trace.y) // (trace.marker.maxdisplayed or len(trace.y) or 1)),
        **_label(trace),
    )
    if "text" in mode:
        for x, y, text in zip(trace.x, trace.y, trace.text, strict=True):
            ax.text(x, y, f" {_drawn(text)}", fontsize=8, color="#1a1a1a", va="top")


def _bar(ax: Any, trace: Any, index: int, bars: int) -> None:
    look = {"color": trace.marker.color or f"C{index}", "hatch": (trace.marker.pattern.shape or "") * 2}
    look["edgecolor"] = "white"
    if trace.orientation == "h":
        left = 0 if trace.base is None else list(trace.base)
        drawn = ax.barh([_drawn(str(y)) for y in trace.y], list(trace.x), left=left, **look, **_label(trace))
        if trace.text is not None:
            ax.bar_label(drawn, [_drawn(text) for text in trace.text], padding=3)
        return
    places, width = np.arange(len(trace.x)), 0.8 / bars
    places_of_these = places + (index - (bars - 1) / 2) * width
    drawn = ax.bar(places_of_these, list(trace.y), width, **look, **_label(trace))
    if trace.text is not None:
        ax.bar_label(drawn, [_drawn(text) for text in trace.text], padding=2, fontsize=8)
    ax.set_xticks(places, [_drawn(str(x)).replace(" (", "\n(") for x in trace.x])


def _heatmap(ax: Any, trace: Any, index: int, bars: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    scale = [color for _, color in trace.colorscale] if trace.colorscale else ["#ffffff", "#0072B2"]
    z = np.asarray(trace.z, float)
    look = {"cmap": LinearSegmentedColormap.from_list("plain", scale), "vmin": trace.zmin, "vmax": trace.zmax}
    if trace.x is not None and not isinstance(trace.x[0], str):  # places in the plane, not names
        ax.pcolormesh(list(trace.x), list(trace.y), z, **look)
        return
    ax.imshow(z, **look, aspect="auto")
    for ticks, names in ((ax.set_xticks, trace.x), (ax.set_yticks, trace.y)):
        if names is not None:
            ticks(range(len(names)), [_drawn(str(name)) for name in names], fontsize=8)
    inches = ax.figure.get_figwidth() / ax.get_gridspec().ncols / z.shape[1]
    if (
        trace.x is not None and max(len(plain(str(name))) for name in trace.x) * 0.08 > inches
    ):  # a letter's width
        ax.tick_params(axis="x", rotation=90)
    if trace.texttemplate and trace.text is not None:
        top = np.nanmax(z) if trace.zmax is None else trace.zmax
        for (i, j), text in np.ndenumerate(np.asarray(trace.text)):
            ax.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if z[i, j] > top / 2 else "black",
            )


_DRAW = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}
STILL_TYPES = frozenset(_DRAW)
