"""Pictures of lesson 04: the toy, runs and their controls, what is left; `pgu_layers` has the geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, styled
from unlearn_lib.classroom.look import ROLES, style
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.lessons.pgu.layers import (
    a_few,
    angles_chart,
    cumulative_chart,
    layer_chart,
    spectra_chart,
    survival_chart,
)

__all__ = [
    "a_few",
    "angles_chart",
    "controls_chart",
    "cumulative_chart",
    "curves_chart",
    "drift_chart",
    "entropy_chart",
    "layer_chart",
    "loss_chart",
    "membership_chart",
    "progress_view",
    "relearn_chart",
    "spectra_chart",
    "survival_chart",
    "toy_chart",
]

# The toy ------------------------------------------------------------------------------------------------


@check.arguments
def toy_chart(
    retained: np.ndarray,
    forget: np.ndarray,
    G: np.ndarray,
    kept: np.ndarray,
    outputs: Mapping[str, np.ndarray],
) -> View:
    """One linear layer with two inputs: the arrows G, GP and G - GP, and how the step moves the outputs.

    Args:
        retained: inputs [n, 2].
        forget: inputs [m, 2].
        G: the gradient of one row of the weight, [2].
        kept: what the projection leaves of G, [2].
        outputs: logits [., 2] under "retained before", "retained after", "forget before", "forget after".
    """
    titles = ["inputs, and the gradient of the row of class 1", "outputs, before and after"]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    for name, points, role in (("retained", retained, "retain"), ("to forget", forget, "forget")):
        figure.add_scatter(**_points(points), name=name, **style(role, "markers"), row=1, col=1)
    size = 1.8 / max(float(np.linalg.norm(G)), 1e-12)
    dropped = G - kept
    arrows = [
        ("G: what the loss asks for", "neutral", 0 * G, G),
        ("G P: dropped, retained points would notice", "control", 0 * G, dropped),
        ("G − G P: kept", "unlearned", dropped, G),
    ]
    for name, role, start, tip in arrows:
        look = style(role, "lines", dash="solid")
        look["line"] = {"color": ROLES[role].color, "width": 4 if role == "control" else 3}
        figure.add_scatter(**_arrow(size * start, size * tip), name=name, **look, row=1, col=1)
    for part, first, role in (("retained", 1, "retain"), ("forget", len(retained) + 1, "forget")):
        for when, look_as, wide in (("before", "original", 11), ("after", role, 7)):
            z = outputs[f"{part} {when}"]
            look = style(look_as, "markers")
            look["marker"] = {"color": ROLES[look_as].color, "symbol": ROLES[look_as].symbol, "size": wide}
            figure.add_scatter(
                x=list(range(first, first + len(z))),
                y=(z[:, 1] - z[:, 0]).tolist(),
                name="before",
                showlegend=when == "before" and part == "retained",
                **look,
                row=1,
                col=2,
            )
    figure.update_xaxes(title="input 1", range=[-3.3, 3.3], row=1, col=1)
    figure.update_yaxes(title="input 2", range=[-2.5, 2.5], row=1, col=1, scaleanchor="x")
    figure.update_xaxes(title="number of the point (the last ones are to forget)", row=1, col=2)
    figure.update_yaxes(title="logit of class 1 − logit of class 0", row=1, col=2)
    moved = {
        part: float(np.linalg.norm(outputs[f"{part} after"] - outputs[f"{part} before"], axis=1).max())
        for part in ("retained", "forget")
    }
    share = float(np.linalg.norm(kept)) / max(float(np.linalg.norm(G)), 1e-12)
    alt = (
        f"Retained inputs lie along a line, those to forget beside it. The projection keeps {share:.0%} of "
        f"the gradient's length. Retained outputs move by at most {moved['retained']:.2g}, forgotten ones "
        f"by up to {moved['forget']:.2g}."
    )
    numbers = {
        "share of G that survives, ρ": share,
        "largest move of a retained output": moved["retained"],
        "largest move of a forgotten output": moved["forget"],
    }
    return View(styled(figure, 450).update_layout(margin_t=95, legend_y=1.15), alt, numbers)


def _points(points: np.ndarray) -> dict[str, list[float]]:
    return {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()}


def _arrow(start: np.ndarray, tip: np.ndarray) -> dict[str, list[float]]:
    """A line with a head, as one polyline, which both ways of drawing can show."""
    along = start - tip
    length = float(np.linalg.norm(along))
    unit = along / max(length, 1e-12)
    side = np.array([-unit[1], unit[0]])
    head = min(0.2, 0.5 * length)
    return _points(
        np.stack([start, tip, tip + head * (unit + 0.5 * side), tip, tip + head * (unit - 0.5 * side)])
    )


# Runs ---------------------------------------------------------------------------------------------------


@check.arguments
def curves_chart(rows: Mapping[str, Sequence[Mapping[str, float]]], stops: Mapping[str, int | None]) -> View:
    """Forget accuracy, retain accuracy and the drift of retained outputs over the epochs.

    Args:
        rows: by name ("with projection", "without projection"), a row per epoch from 0 on: "forget" and
            "retain" in [0, 1], and "drift" >= 0.
        stops: by name, the first epoch that meets the stop rule, or None.
    """
    titles = {
        "forget": "forget accuracy",
        "retain": "retain accuracy",
        "drift": "mean drift of retained logits",
    }
    figure = make_subplots(1, 3, subplot_titles=list(titles.values()), horizontal_spacing=0.07)
    for (name, history), role in zip(rows.items(), ("unlearned", "control"), strict=True):
        for column, measure in enumerate(titles, 1):
            y = [row[measure] for row in history]
            look = style(role, "lines+markers")
            figure.add_scatter(
                y=y,
                x=list(range(len(y))),
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                **look,
                row=1,
                col=column,
            )
            if (stop := stops[name]) is not None:
                mark = {"x": [stop], "y": [y[stop]], "name": "forgotten: stop here", "legendgroup": "stop"}
                look = {**style("neutral", "markers"), "showlegend": column == 1 and role == "unlearned"}
                look["marker"] = {"color": ROLES["neutral"].color, "symbol": "x", "size": 12}
                figure.add_scatter(**mark, **look, row=1, col=column)
    figure.update_xaxes(title="epoch")
    for column in (1, 2):
        figure.update_yaxes(range=[-0.03, 1.05], tickformat=".0%", row=1, col=column)
    words = []
    for name, history in rows.items():
        stop = stops[name]
        at = history[-1 if stop is None else stop]
        when = "never forgotten" if stop is None else f"forgotten after {stop} epochs"
        words.append(f"{name}: {when}, retain accuracy then {at['retain']:.1%}, drift {at['drift']:.2g}")
    return View(styled(figure, 340), "Over the epochs, " + "; ".join(words) + ".")


@check.arguments
def controls_chart(results: Mapping[str, Mapping[str, float]]) -> View:
    """Forget and retain accuracy of the method, its controls and the references when each stopped.

    Args:
        results: by name, "forget" and "retain" in [0, 1]; empty where the weights exploded.
    """
    figure = _bars(["forget accuracy", "retain accuracy"])
    for column, part in enumerate(("forget", "retain"), 1):
        look = {"color": ROLES[part].color, "pattern": {"shape": "/" if part == "forget" else ""}}
        for name, found in list(results.items())[::-1]:
            text = f"{found[part]:.1%}" if found else "exploded"
            _bar(figure, name, found.get(part, 0.0), text, look, column)
        _percent(figure, column)
    words = "; ".join(
        f"{n}: forget {r['forget']:.1%}, retain {r['retain']:.1%}" if r else f"{n}: exploded"
        for n, r in results.items()
    )
    return View(styled(figure, 120 + 32 * len(results)), f"Accuracy when each run stopped, {words}.")


@check.arguments
def drift_chart(drifts: Mapping[str, Mapping[str, float]]) -> View:
    """Largest change of an output, for protected and forgotten samples, for every way to break the rules.

    Args:
        drifts: for each thing let loose, "protected" and "forget": > 0.
    """
    figure = go.Figure()
    for part, role, name in (
        ("protected", "retain", "30 protected samples"),
        ("forget", "forget", "samples to forget"),
    ):
        y = [max(row[part], 1e-16) for row in drifts.values()]
        look = style(role, "markers")
        look["marker"] = {**look["marker"], "size": 13}  # type: ignore[dict-item]
        figure.add_scatter(x=list(drifts), y=y, name=name, **look)
    figure.update_yaxes(title="largest change of a logit", type="log", exponentformat="power", dtick=3)
    figure.update_xaxes(title="what is let loose")
    words = "; ".join(
        f"{n}: protected {r['protected']:.2g}, forgotten {r['forget']:.2g}" for n, r in drifts.items()
    )
    return View(styled(figure, 360), f"Largest change of a logit, {words}.")


@check.arguments
def progress_view(progress: Progress) -> View:
    """For a panel: the share of every update so far that survives."""
    known = [info["survival"] for _, info in progress.infos if "survival" in info]
    if not known:
        figure = go.Figure(go.Scatter(x=[0], y=[0], showlegend=False, **style("unlearned", "markers")))
        return View(
            styled(figure, 290), "No step has been taken yet, so there is no update to project.", {"steps": 0}
        )
    shown = a_few(list(known[0]))
    view = survival_chart({name: [row[name] for row in known] for name in shown}, unit="step")
    if progress.result is None:
        return view
    trace = progress.result.trace
    more: dict[str, object] = {"stopped": trace.stopped, "epoch of the result": trace.epoch}
    more |= {f"rank, {name}": f"{cost.rank} of {cost.size}" for name, cost in trace.layers.items()}
    return view._replace(numbers={**view.numbers, **more})


# What is left -------------------------------------------------------------------------------------------


@check.arguments
def loss_chart(offset: float) -> View:
    """The forgetting loss, gradient ascent, and the unbounded -log(1 - p): values, and slopes in the logit.

    d L / d z_y:  bounded p (1 - p) / (1 + o - p),  ascent 1 - p,  unbounded p.

    The horizontal axis is the log-odds of p, and the slopes have a log axis: both losses stop pushing a
    memorized sample, and only a log axis shows that one stops much sooner.
    """
    odds = np.linspace(-7, 7, 281)
    p = 1 / (1 + np.exp(-odds))
    curves = {
        f"−log(1 − (p − {offset:g})), PGU": (
            -np.log1p(offset - p),
            p * (1 - p) / (1 + offset - p),
            "unlearned",
        ),
        "log p, gradient ascent": (np.log(p), 1 - p, "control"),
        "−log(1 − p), unbounded": (-np.log1p(-p), p, "neutral"),
    }
    titles = ["loss", "push on the label's logit (log axis)"]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    for name, (value, slope, role) in curves.items():
        for column, y in enumerate((value, slope), 1):
            figure.add_scatter(
                x=odds.tolist(),
                y=y.tolist(),
                name=name,
                showlegend=column == 1,
                **style(role, "lines"),
                row=1,
                col=column,
            )
    ticks = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999]
    places = [math.log(t / (1 - t)) for t in ticks]
    figure.update_xaxes(
        title="probability p of the label", tickvals=places, ticktext=[f"{t:g}" for t in ticks]
    )
    figure.update_yaxes(title="nats", range=[-7, 7], row=1, col=1)
    decades = [1e-3, 1e-2, 0.1, 1]
    figure.update_yaxes(type="log", range=[-3.3, 0.3], tickvals=decades, exponentformat="none", row=1, col=2)
    sure = 0.999
    ours, theirs = sure * (1 - sure) / (1 + offset - sure), 1 - sure
    alt = (
        "Losses against the probability of the label. Near zero, where samples are forgotten, gradient "
        "ascent pushes most and the bounded loss stops. Near one, where they are memorized, both stop, but "
        f"at p = {sure:g} the bounded loss still pushes {ours / theirs:.0f} times as hard as ascent."
    )
    return View(styled(figure, 330), alt)


@check.arguments
def entropy_chart(log_entropies: Mapping[str, np.ndarray], classes: int) -> View:
    """How unsure each model is of the forgotten samples: histograms of the logarithm of the entropy."""
    figure = go.Figure()
    low, high = -8.0, math.log(math.log(classes))
    edges = np.linspace(low, high, 25)
    top = 0.0
    for role, values in log_entropies.items():
        counts, _ = np.histogram(np.clip(values, low, high), edges)
        share = counts / len(values)
        top = max(top, float(share.max()))
        x, y = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(share, 2), [0.0]])
        figure.add_scatter(x=x.tolist(), y=y.tolist(), name=role, **style(role, "lines"))
    line = {"x": [high, high], "y": [0, top], "name": "uniform output"}
    figure.add_scatter(**line, **style("neutral", "lines", dash="dot"))
    figure.update_xaxes(title="log entropy of the output (below −8 counts as −8)", range=[low, high + 0.1])
    figure.update_yaxes(title="share of forgotten samples", tickformat=".0%")
    medians = {role: float(np.median(values)) for role, values in log_entropies.items()}
    words = ", ".join(f"{role} {v:.2f}" for role, v in medians.items())
    alt = f"Histograms of log entropy on the forget set; medians: {words}; a uniform output has {high:.2f}."
    return View(styled(figure, 320), alt, {f"median, {role}": v for role, v in medians.items()})


@check.arguments
def membership_chart(scores: Mapping[str, tuple[float, float]], retain: Mapping[str, float]) -> View:
    """AUC of the loss attack on the forgotten samples, and what each model kept.

    Args:
        scores: by model, AUC and its standard error under chance.
        retain: by model, retain accuracy.
    """
    figure = _bars(["loss attack, AUC (½: finds nothing)", "retain accuracy"])
    for name, (auc, _) in list(scores.items())[::-1]:
        look = {"color": ROLES[_role(name)].color}
        _bar(figure, name, auc, f"{auc:.2f}", look, 1, base=0.5)
        _bar(figure, name, retain[name], f"{retain[name]:.1%}", look, 2)
    chance = {"x": [0.5] * len(scores), "y": list(scores), "showlegend": False}
    figure.add_scatter(**chance, **style("neutral", "lines", dash="dot"), row=1, col=1)
    figure.update_xaxes(range=[-0.15, 1.15], tickvals=[0, 0.5, 1], row=1, col=1)
    _percent(figure, 2)
    words = "; ".join(f"{n}: AUC {a:.2f} ± {e:.2f}, retain {retain[n]:.1%}" for n, (a, e) in scores.items())
    return View(styled(figure, 120 + 34 * len(scores)), f"Loss attack on the forgotten samples, {words}.")


def _bars(titles: Sequence[str]) -> go.Figure:
    """An empty figure for horizontal bars, from the bottom up, in columns that share their names."""
    figure = make_subplots(1, len(titles), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04)
    figure.update_yaxes(automargin=True)
    return figure.update_layout(barmode="overlay")


def _bar(
    figure: go.Figure, name: str, value: float, text: str, look: object, column: int, base: float = 0.0
) -> None:
    """A bar from `base` to the value, with its text at the end."""
    bar = {"x": [value - base], "base": [base], "y": [name], "text": [text], "marker": look}
    more = {"orientation": "h", "textposition": "outside", "showlegend": False}
    figure.add_bar(**bar, **more, row=1, col=column)


def _percent(figure: go.Figure, column: int) -> None:
    figure.update_xaxes(range=[0, 1.15], tickformat=".0%", tickvals=[0, 0.5, 1], row=1, col=column)


def _role(name: str) -> str:
    """A model's role: its own name, "unlearned" or "control"."""
    return name if name in ROLES else "unlearned" if name.startswith("unlearned") else "control"


@check.arguments
def relearn_chart(curves: Mapping[str, Sequence[float]], target: float) -> View:
    """Accuracy on the forgotten class's test images as each model is trained again, batch by batch."""
    figure = go.Figure()
    for role, values in curves.items():
        look = style(role, "lines+markers")
        look["marker"] = {"color": ROLES[role].color, "symbol": ROLES[role].symbol, "maxdisplayed": 25}
        figure.add_scatter(x=list(range(1, len(values) + 1)), y=list(values), name=role, **look)
    end = max(len(values) for values in curves.values())
    goal = {"x": [1, end], "y": [target] * 2, "name": "target"}
    figure.add_scatter(**goal, **style("neutral", "lines", dash="dot"))
    figure.update_xaxes(title="batches of ordinary training on all data")
    figure.update_yaxes(title="accuracy, forgotten class", range=[-0.03, 1.05], tickformat=".0%")
    first = {r: next((i for i, v in enumerate(c, 1) if v >= target), None) for r, c in curves.items()}
    words = ", ".join(f"{r} after {n} batches" if n else f"{r} not within {end}" for r, n in first.items())
    return View(
        styled(figure, 310),
        f"The class is back at the target: {words}.",
        {r: n or "not reached" for r, n in first.items()},
    )
