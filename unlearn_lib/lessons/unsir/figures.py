"""Pictures of lesson 02: the noise, what each mini-batch does, where predictions go, what comes back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, literal, plain, styled
from unlearn_lib.classroom.look import ROLES, style
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.thumbnails import image_array
from unlearn_lib.data import Scale
from unlearn_lib.methods.unsir.noise import Noise
from unlearn_lib.metrics.relearn import RelearnCurve

__all__ = [
    "Scores",
    "Snapshot",
    "bug_chart",
    "destination_chart",
    "distance_chart",
    "grid_chart",
    "noise_chart",
    "noise_gallery",
    "progress_view",
    "rebound_chart",
    "recalibration_chart",
    "relearn_chart",
    "replay_chart",
    "scores",
    "seeds_chart",
    "short_names",
    "stages_chart",
    "steps_chart",
]

# role, dash and hatch of whatever a label names
LOOKS = {
    "original": ("original", "solid", ""),
    "unlearned": ("unlearned", "solid", "/"),
    "retrained": ("retrained", "dash", "."),
    "retrained, other seed": ("retrained", "dot", "x"),
    "no noise": ("neutral", "dash", "\\"),
    "Gaussian noise": ("control", "dot", "x"),
    "fine-tuned": ("retain", "dashdot", "+"),
    "ascent, reads the class": ("forget", "dashdot", "-"),
    "images of the class to forget": ("forget", "dashdot", "x"),
    "noise": ("unlearned", "solid", "/"),
    "images of other classes": ("retain", "solid", ""),
    "as it is": ("unlearned", "solid", ""),
    "recalibrated": ("control", "dot", "x"),
}
ACCURACIES = ("forget accuracy (test)", "retain accuracy (test)")
STAGES = "epoch (impair: 0 to 1, repair: from 1 on)"


class Snapshot(NamedTuple):
    """The test predictions after one mini-batch.

    Args:
        epoch: epochs of weight updates so far: up to 1 in the impair stage, above in the repair stage.
        table: how often class i (row) is predicted as class j (column); see `metrics.accuracy.confusion`.
    """

    epoch: float
    table: np.ndarray


class Scores(NamedTuple):
    """Accuracy on the classes to forget and on all others, in [0, 1]."""

    forget: float
    retain: float


@check.arguments
def scores(table: np.ndarray, classes: Collection[int]) -> Scores:
    """Forget and retain accuracy, from a table of predictions."""
    table = np.asarray(table, float)
    gone = np.isin(np.arange(len(table)), list(classes))
    parts = (float(table.diagonal()[rows].sum() / max(table[rows].sum(), 1)) for rows in (gone, ~gone))
    return Scores(*parts)


@check.arguments
def short_names(names: Sequence[str]) -> list[str]:
    """Class names for narrow axes: "0" for "0 - zero", "airp" for "airplane"; numbers where two are alike."""
    short = [name.strip()[:4].split()[0] if name.strip() else "" for name in names]
    return short if len(set(short)) == len(short) else [str(k) for k in range(len(short))]


def destinations(table: np.ndarray, classes: Collection[int], names: Sequence[str]) -> dict[str, float]:
    """Share of the forgotten classes' images that is predicted as each class, by name."""
    counts = np.asarray(table, float)[list(classes)].sum(0)
    return dict(zip(names, (counts / max(counts.sum(), 1)).tolist(), strict=True))


@check.arguments
def stages_chart(read: Mapping[str, Mapping[str, int]]) -> View:
    """How many images each stage reads, by kind: "forget", "noise" and "retain"."""
    figure, stages = go.Figure(), list(read)[::-1]  # drawn from the bottom up
    kinds = {"forget": "images of the class to forget", "noise": "noise", "retain": "images of other classes"}
    ends = [0] * len(stages)
    for kind, name in kinds.items():
        counts = [read[stage].get(kind, 0) for stage in stages]
        bar = {"y": stages, "x": counts, "base": ends, "name": name, "marker": _marker(name)}
        figure.add_bar(**bar, orientation="h")
        ends = [end + count for end, count in zip(ends, counts, strict=True)]
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="different images", rangemode="tozero")
    words = "; ".join(
        f"{stage}: " + ", ".join(f"{n} {kind}" for kind, n in row.items()) for stage, row in read.items()
    )
    return View(styled(figure, 230), f"Images that each stage reads. {words}.")


@check.arguments
def noise_gallery(noise: Noise, scale: Scale, top: float, name: str) -> View:
    """The first images of the noise at several steps, as the eye would see them, with loss and norm.

    Args:
        noise: of one class.
        scale: takes network inputs back to stored units; then values are clipped to [0, top], for display.
        top: full intensity in stored units.
        name: of the class.
    """
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 2.35), layout="constrained")
    for ax, (step, images) in zip(
        drawn.subplots(1, len(noise.shown), squeeze=False)[0], sorted(noise.shown.items()), strict=True
    ):
        pixels = [image_array(x, top) for x in scale.undo(images.cpu()[:9])]
        frame = [np.pad(p, [(1, 1), (1, 1)] + [(0, 0)] * (p.ndim - 2), constant_values=128) for p in pixels]
        side = min(3, int(len(frame) ** 0.5))
        rows = [np.concatenate(frame[i * side : (i + 1) * side], 1) for i in range(side)]
        ax.imshow(np.concatenate(rows, 0), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.axis("off")
        title = f"step {step}\nCE {noise.ce[step]:.1f}, ‖N‖ {noise.norm[step]:.1f}"
        ax.set_title(title, fontsize=9, color="#1a1a1a")
    shown = sorted(noise.shown)
    alt = (
        f"Nine noise images of class {name} at steps {', '.join(map(str, shown))}; "
        f"cross-entropy goes from {noise.ce[0]:.1f} to {noise.ce[-1]:.1f}, the norm from {noise.norm[0]:.1f} "
        f"to {noise.norm[-1]:.1f}."
    )
    return View(drawn, alt)


@check.arguments
def noise_chart(noises: Mapping[str, Noise], chosen: str | None = None) -> View:
    """Cross-entropy and norm over the steps of the noise stage, a line a noise.

    Args:
        noises: by the words that tell them apart, at most four besides the chosen one.
        chosen: the one that the lesson goes on with.
    """
    figure = _columns("cross-entropy CE(f(N), c)", "mean norm ‖N‖")
    others = iter((("control", "dot"), ("neutral", "dash"), ("original", "solid"), ("forget", "dashdot")))
    for label, noise in noises.items():
        role, dash = ("unlearned", "solid") if label == chosen else next(others)
        for column, values in enumerate((noise.ce, noise.norm), 1):
            figure.add_scatter(
                y=values,
                x=list(range(len(values))),
                name=literal(label),
                legendgroup=label,
                showlegend=column == 1,
                **style(role, "lines", dash=dash),
                row=1,
                col=column,
            )
    figure.update_xaxes(title="step of the noise")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="nats", col=1)
    words = "; ".join(
        f"{label}: cross-entropy {n.ce[0]:.1f} to {n.ce[-1]:.1f}, norm {n.norm[0]:.1f} to {n.norm[-1]:.1f} "
        f"(lowest {min(n.norm):.1f} at step {int(np.argmin(n.norm))})"
        for label, n in noises.items()
    )
    return View(styled(figure, 320), f"The noise being learned. {words}.")


@check.arguments
def steps_chart(
    curves: Mapping[str, Sequence[Snapshot]],
    references: Mapping[str, np.ndarray],
    classes: Collection[int],
) -> View:
    """Forget and retain accuracy after every mini-batch, for a method and its controls.

    Args:
        curves: label -> the test predictions after each mini-batch.
        references: label -> test predictions of a model that does not change, drawn as a line.
        classes: to forget.
    """
    figure = _columns(*ACCURACIES)
    _add_steps(figure, curves, references, classes)
    figure.update_xaxes(title=STAGES)
    ends = {label: scores(points[-1].table, classes) for label, points in curves.items()}
    words = "; ".join(f"{label} ends at {f:.0%} forget, {r:.0%} retain" for label, (f, r) in ends.items())
    return View(styled(figure, 340), f"Accuracy after every mini-batch of impair and repair: {words}.")


@check.arguments
def replay_chart(
    curve: Sequence[Snapshot],
    at: float,
    references: Mapping[str, np.ndarray],
    classes: Collection[int],
    names: Sequence[str],
) -> View:
    """One run mini-batch by mini-batch, and where the forgotten images go at one moment of it.

    Args:
        curve: of the run.
        at: the moment, in epochs of weight updates.
        references: "original" and "retrained".
        classes: to forget.
        names: of all classes.
    """
    figure = _columns("forget accuracy", "retain accuracy", "predicted for the forgotten")
    _add_steps(figure, {"unlearned": curve}, references, classes)
    now = max((p for p in curve if p.epoch <= at + 1e-9), key=lambda p: p.epoch, default=curve[0])
    for column in (1, 2):
        mark = {"x": [now.epoch] * 2, "y": [0, 1], "name": "bars on the right", "showlegend": column == 1}
        figure.add_scatter(**mark, **style("neutral", "lines", dash="dot"), row=1, col=column)
    short = [literal(name) for name in short_names(names)]
    shown = {"unlearned": now.table, "retrained": references["retrained"]}
    _add_bars(figure, {k: destinations(v, classes, short) for k, v in shown.items()}, col=3)
    figure.update_traces(showlegend=False, col=3)
    figure.update_xaxes(title="epoch")
    figure.update_xaxes(title="class", type="category", col=3)
    forget, retain = scores(now.table, classes)
    end = scores(curve[-1].table, classes)
    alt = (
        f"After {now.epoch:.2f} epochs forget accuracy is {forget:.0%} and retain accuracy {retain:.0%}; "
        f"at the end {end.forget:.0%} and {end.retain:.0%}."
    )
    numbers = {"forget accuracy": f"{forget:.1%}", "retain accuracy": f"{retain:.1%}"}
    return View(styled(figure, 330), alt, numbers)


@check.arguments
def destination_chart(
    tables: Mapping[str, np.ndarray], classes: Collection[int], names: Sequence[str]
) -> View:
    """Which classes the images of the forgotten class are taken for, under each model."""
    values = {label: destinations(table, classes, names) for label, table in tables.items()}
    bars = {label: {literal(name): share for name, share in row.items()} for label, row in values.items()}
    figure = _add_bars(go.Figure(), bars)
    figure.update_xaxes(title="predicted class", type="category")
    figure.update_yaxes(title="share of forget images")
    words = "; ".join(
        f"{label} mostly says {max(row, key=row.__getitem__)} ({max(row.values()):.0%})"
        for label, row in values.items()
    )
    if "retrained" in values:
        like = values["retrained"]
        off = {k: sum(abs(row[c] - like[c]) for c in row) / 2 for k, row in values.items() if row is not like}
        words += ". Share of images that go elsewhere than under retrained: " + ", ".join(
            f"{label} {share:.0%}" for label, share in off.items()
        )
    return View(styled(figure, 320), f"Test images of the forgotten class: {words}.")


@check.arguments
def distance_chart(distances: Mapping[str, Mapping[str, float]]) -> View:
    """How far each layer's weights moved, relative to their norm; label -> layer -> distance."""
    figure = _add_bars(go.Figure(), distances, percent=False)
    figure.update_xaxes(title="layer", type="category")
    figure.update_yaxes(title="‖Δθ‖ / ‖θ‖", rangemode="tozero")
    words = "; ".join(
        f"{label} most in {max(row, key=row.__getitem__)} ({max(row.values()):.2f})"
        for label, row in distances.items()
    )
    return View(styled(figure, 330), f"Relative weight distance by layer: {words}.")


@check.arguments
def grid_chart(cells: Mapping[str, Mapping[float, Scores]]) -> View:
    """Forget and retain accuracy at the end, for every noise (row) and impair learning rate (column)."""
    rows, rates = list(cells), sorted({rate for row in cells.values() for rate in row})
    figure = _columns("forget accuracy: low is wanted", "retain accuracy: high is wanted", shared=True)
    for column, (part, color) in enumerate((("forget", "#D55E00"), ("retain", "#0072B2")), 1):
        z = [[getattr(cells[row][rate], part) for rate in rates] for row in rows]
        figure.add_heatmap(
            z=z,
            x=[f"{rate:g}" for rate in rates],
            y=rows,
            text=[[f"{100 * v:.0f}" for v in line] for line in z],
            texttemplate="%{text}",
            colorscale=[[0, "#ffffff"], [1, color]],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{y}, rate %{x}: %{text} %<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_xaxes(title="learning rate of impair (repair: half of it)", type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    good = [
        f"{row} at {rate:g}"
        for row in rows
        for rate, s in cells[row].items()
        if s.forget <= 0.1 and s.retain >= 0.9
    ]
    alt = (
        f"Of {len(rows) * len(rates)} runs {len(good)} end with at most 10 % forget and at least 90 % retain "
        f"accuracy: {', '.join(good) or 'none'}."
    )
    return View(styled(figure, 120 + 42 * len(rows)), alt)


@check.arguments
def seeds_chart(found: Mapping[str, Mapping[str, Sequence[Scores]]]) -> View:
    """Forget and retain accuracy over several seeds: mean, and in brackets the range.

    Args:
        found: net -> label -> one score a seed.
    """
    seeds = len(next(iter(next(iter(found.values())).values())))
    titles = [f"{part} accuracy{', mean (range)' * (seeds > 1)}" for part in Scores._fields]
    figure = _columns(*titles, shared=True)
    labels = list(next(iter(found.values())))[::-1]  # drawn from the bottom up
    nets = list(found)[::-1]

    def name(label: str, net: str) -> str:
        return f"{label}, {net}" if len(nets) > 1 else label

    for label in labels:
        for column, part in enumerate(Scores._fields, 1):
            values = [[getattr(s, part) for s in found[net][label]] for net in nets]
            ranges = [f" ({min(v):.0%} to {max(v):.0%})" if seeds > 1 else "" for v in values]
            figure.add_bar(
                y=[name(label, net) for net in nets],
                x=[fmean(v) for v in values],
                text=[f"{fmean(v):.0%}{r}" for v, r in zip(values, ranges, strict=True)],
                textposition="outside",
                cliponaxis=False,
                orientation="h",
                name=label,
                showlegend=False,
                marker=_marker(label),
                row=1,
                col=column,
            )
    figure.update_xaxes(range=[0, 1.6 if seeds > 1 else 1.2], tickvals=[0, 0.5, 1], tickformat=".0%")
    names = [name(label, net) for label in labels for net in nets]
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    figure.update_layout(barmode="overlay")
    words = "; ".join(
        f"{net}: " + ", ".join(f"{label} {fmean(s.forget for s in v):.0%}" for label, v in row.items())
        for net, row in found.items()
    )
    alt = f"Mean forget accuracy over {seeds} seed{'s' * (seeds > 1)}. {words}."
    return View(styled(figure, 110 + 30 * len(names)), alt)


@check.arguments
def rebound_chart(curves: Mapping[str, Sequence[Snapshot]], classes: Collection[int]) -> View:
    """Forget and retain accuracy while repair goes on and on, for several nets."""
    figure = _columns(*ACCURACIES)
    looks = dict(zip(curves, (LOOKS["unlearned"], LOOKS["Gaussian noise"]), strict=False))
    _add_steps(figure, curves, {}, classes, looks)
    figure.update_xaxes(title=STAGES)
    words = "; ".join(
        f"{net} from {scores(next(p.table for p in points if p.epoch >= 1), classes).forget:.0%} to "
        f"{scores(points[-1].table, classes).forget:.0%}"
        for net, points in curves.items()
    )
    return View(styled(figure, 340), f"Forget accuracy from the end of impair on: {words}.")


@check.arguments
def recalibration_chart(before: Mapping[str, Scores], after: Mapping[str, Scores]) -> View:
    """Forget and retain accuracy of several models, before and after batch norm is recalibrated."""
    figure = _columns(*ACCURACIES)
    for column, part in enumerate(Scores._fields, 1):
        values = {
            name: {model: getattr(s, part) for model, s in found.items()}
            for name, found in (("as it is", before), ("recalibrated", after))
        }
        _add_bars(figure, values, col=column)
    figure.update_traces(showlegend=False, col=2)
    words = "; ".join(f"{_flat(k)}: {before[k].forget:.0%} to {after[k].forget:.0%}" for k in before)
    return View(styled(figure, 320), f"Forget accuracy, as it is and recalibrated. {words}.")


@check.arguments
def relearn_chart(curves: Mapping[str, Sequence[RelearnCurve]], target: float) -> View:
    """Accuracy on the forgotten class while each model is trained again on everything: a line a seed."""
    figure, end = go.Figure(), max(len(c.accuracy) for row in curves.values() for c in row)
    for label, row in curves.items():
        role, dash, _ = LOOKS[label]
        for number, curve in enumerate(row):
            figure.add_scatter(
                x=list(range(1, len(curve.accuracy) + 1)),
                y=curve.accuracy,
                name=label,
                legendgroup=label,
                showlegend=number == 0,
                **style(role, "lines", dash=dash),
            )
    line = {"x": [1, end], "y": [target] * 2, "name": "95 % of the original"}
    figure.add_scatter(**line, **style("neutral", "lines", dash="dot"))
    figure.update_xaxes(title="mini-batches of ordinary training, on all classes")
    figure.update_yaxes(title="forget accuracy (test)", range=[-0.05, 1.05], tickformat=".0%")
    first = {
        label: [next((i for i, a in enumerate(c.accuracy, 1) if a >= target), None) for c in row]
        for label, row in curves.items()
    }
    words = "; ".join(
        f"{label} after {' and '.join(f'more than {end}' if t is None else str(t) for t in times)} batches"
        for label, times in first.items()
    )
    return View(styled(figure, 330), f"The forgotten class is known again: {words}.")


@check.arguments
def bug_chart(found: Mapping[str, Mapping[str, float]]) -> View:
    """Test accuracy on each class to forget, and on the others, by variant of the recipe."""
    parts = list(next(iter(found.values())))
    kinds = ("images of the class to forget", "noise")  # the looks of the first two classes
    looks = {part: LOOKS[kind] for part, kind in zip(parts, kinds, strict=False)}
    looks[parts[-1]] = LOOKS["images of other classes"]
    values = {part: {label: row[part] for label, row in found.items()} for part in parts}
    figure = _add_bars(go.Figure(), values, looks)
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="test accuracy")
    words = "; ".join(
        f"{_flat(label)}: " + ", ".join(f"{part} {value:.0%}" for part, value in row.items())
        for label, row in found.items()
    )
    return View(styled(figure, 330), f"Test accuracy by variant. {words}.")


@check.arguments
def progress_view(progress: Progress) -> View:
    """For a panel: cross-entropy and norm of the noise so far, a line a class."""
    by_class: dict[int, list[tuple[float, float]]] = {}
    for _, info in progress.infos:
        by_class.setdefault(info["class"], []).append((info["ce"], info["norm"]))
    names = progress.data.classes
    noises = {}
    for c, found in list(by_class.items())[:5]:
        ce, norm = zip(*found, strict=True)
        noises[f"class {names[c]}"] = Noise(progress.split.forget, ce, norm, {})
    if noises:
        return noise_chart(noises, next(iter(noises)))
    figure = go.Figure(go.Scatter(y=progress.losses, name="loss", **style("unlearned", "lines")))
    figure.update_xaxes(title="mini-batch").update_yaxes(title="loss of the batch", rangemode="tozero")
    return View(styled(figure, 320), f"No noise is learned; loss of {len(progress.losses)} mini-batches.")


def _add_steps(
    figure: go.Figure,
    curves: Mapping[str, Sequence[Snapshot]],
    references: Mapping[str, np.ndarray],
    classes: Collection[int],
    looks: Mapping[str, tuple[str, str, str]] = LOOKS,
) -> None:
    """Forget accuracy into the first column, retain accuracy into the second; a line where repair begins."""
    end = max(points[-1].epoch for points in curves.values())
    for column, part in enumerate(Scores._fields, 1):
        first = {"showlegend": column == 1, "row": 1, "col": column}
        for label, table in references.items():
            role, dash, _ = LOOKS[label]
            line = {"x": [0, end], "y": [getattr(scores(table, classes), part)] * 2, "name": label}
            figure.add_scatter(**line, legendgroup=label, **style(role, "lines", dash=dash), **first)
        for label, points in curves.items():
            role, dash, _ = looks[label]
            line = {
                "x": [p.epoch for p in points],
                "y": [getattr(scores(p.table, classes), part) for p in points],
            }
            look = style(role, "lines+markers", dash=dash)
            look["marker"] = {**look["marker"], "size": 5}  # type: ignore[dict-item]
            figure.add_scatter(**line, name=label, legendgroup=label, **look, **first)
        figure.add_scatter(
            x=[1, 1],
            y=[1.2, 0],
            text=["repair begins", ""],
            mode="lines+text",
            textposition="bottom right",
            line={"color": "#767676", "dash": "dot", "width": 1},
            hoverinfo="skip",
            showlegend=False,
            row=1,
            col=column,
        )
        figure.update_yaxes(
            range=[-0.05, 1.22], tickformat=".0%", tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1], row=1, col=column
        )


def _columns(*titles: str, shared: bool = False) -> go.Figure:
    """Charts side by side; with one vertical axis for all if `shared`."""
    spacing = 0.05 if shared else 0.08
    figure: go.Figure = make_subplots(
        1, len(titles), subplot_titles=titles, shared_yaxes=shared, horizontal_spacing=spacing
    )
    return figure


def _marker(label: str, looks: Mapping[str, tuple[str, str, str]] = LOOKS) -> dict[str, object]:
    """Color and hatch of a label's bars."""
    role, _, hatch = looks[label]
    return {"color": ROLES[role].color, "pattern": {"shape": hatch, "size": 5, "fgcolor": "white"}}


def _add_bars(
    figure: go.Figure,
    values: Mapping[str, Mapping[str, float]],
    looks: Mapping[str, tuple[str, str, str]] = LOOKS,
    *,
    percent: bool = True,
    col: int | None = None,
) -> go.Figure:
    """Bars side by side: label -> name on the axis -> height."""
    where = {"row": 1, "col": col} if col else {}
    for label, row in values.items():
        bar = {"x": list(row), "y": list(row.values()), "name": label, "marker": _marker(label, looks)}
        figure.add_bar(**bar, **where)
    if percent:
        figure.update_yaxes(range=[0, 1.05], tickformat=".0%", **where)
    return figure.update_layout(barmode="group")


def _flat(text: str) -> str:
    """A label of several lines in one."""
    return plain(text).replace("\n", " ")
