"""Pictures of lesson 09: requests, an audit of every method, speed-up against gap, layers, U-LiRA."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, styled
from unlearn_lib.classroom.look import ROLES
from unlearn_lib.contest.arena import NOTHING
from unlearn_lib.contest.table import Estimate
from unlearn_lib.contest.ulira import Exposure
from unlearn_lib.metrics.lira import FLOOR

__all__ = [
    "audit_chart",
    "bn_chart",
    "gaussians_chart",
    "layers_chart",
    "pareto_chart",
    "request_chart",
    "ulira_chart",
]

BASELINES = ("fine-tune", "gradient ascent", NOTHING)


def role_of(method: str) -> str:
    """The role whose look a method takes: reference, baseline or method."""
    return "retrained" if method == "retrain" else "control" if method in BASELINES else "unlearned"


@check.arguments
def request_chart(images: Mapping[str, np.ndarray]) -> View:
    """A few images of every request.

    Args:
        images: request -> samples [n, c, h, w], drawn in gray, or [n, h, w]; vectors [n, d] are folded into
            squares.
    """
    count = min(map(len, images.values()))
    figure = make_subplots(
        len(images), count, horizontal_spacing=0.01, vertical_spacing=0.12, row_titles=list(images)
    )
    figure.layout.annotations = ()
    for row, (name, stack) in enumerate(images.items(), 1):
        for column, image in enumerate(stack[:count], 1):
            figure.add_heatmap(
                z=_gray(image)[::-1].tolist(),
                colorscale=[[0, "#ffffff"], [1, "#1a1a1a"]],
                showscale=False,
                hoverinfo="skip",
                row=row,
                col=column,
            )
        figure.update_yaxes(title=name, row=row, col=1)
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    words = f"{count} images of each request: {', '.join(images)}. The backdoor marks both edges."
    return View(styled(figure, 110 * len(images)), words)


def _gray(sample: np.ndarray) -> np.ndarray:
    if sample.ndim == 1:
        side = math.ceil(math.sqrt(len(sample)))
        return np.pad(sample, (0, side * side - len(sample))).reshape(side, side)
    return sample.mean(0) if sample.ndim == 3 else sample


@check.arguments
def audit_chart(audit: str, column: Mapping[str, Estimate], band: tuple[float, float], how: str) -> View:
    """One audit of every method: mean and interval, beside the range of the retrained models.

    Args:
        audit: its name.
        column: method -> estimate; values that are not finite are not drawn.
        band: smallest and largest value of the retrained models.
        how: format of the numbers; "%" for shares.
    """
    shown = {m: e for m, e in reversed(list(column.items())) if math.isfinite(e.mean)}
    figure = go.Figure()
    names = list(shown)
    if math.isfinite(sum(band)) and names:
        for edge in sorted(set(band)):
            figure.add_scatter(
                x=[edge] * len(names),
                y=names,  # all of them: they also set the order of the rows
                mode="lines",
                name="range of the retrained models",
                legendgroup="band",
                showlegend=edge == min(band),
                line={"color": ROLES["retrained"].color, "dash": ROLES["retrained"].dash, "width": 2},
            )
    said = set()
    for method, found in shown.items():
        role = role_of(method)
        look = ROLES[role]
        name = {"retrained": "retrain", "control": "baseline", "unlearned": "method"}[role]
        figure.add_scatter(
            x=[found.low, found.high],
            y=[method, method],
            mode="lines",
            showlegend=False,
            hoverinfo="skip",
            line={"color": look.color, "width": 2},
        )
        figure.add_scatter(
            x=[found.mean],
            y=[method],
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=name not in said,
            marker={"color": look.color, "symbol": look.symbol, "size": 11},
        )
        said.add(name)
    means = [found.mean for found in shown.values()]
    edges = [*means, *(b for b in band if math.isfinite(b))] or [0.0, 1.0]
    room = 0.35 * (max(edges) - min(edges)) or 0.1
    figure.update_xaxes(
        title=audit,
        tickformat=".0%" if how == "%" else None,
        range=[min(edges) - room, max(edges) + room],  # wide intervals may run out of the picture
    )
    figure.update_yaxes(type="category")
    if not column:
        figure.add_annotation(text="not measured for this request", showarrow=False, x=0.5, y=0.5)
        return View(styled(figure, 210), f"{audit} is not measured for this request.")
    beyond = [m for m, e in column.items() if math.isinf(e.mean)]
    best = f"{audit} of {len(shown)} contestants, from {min(edges):.3g} to {max(edges):.3g}; "
    best += f"the retrained models range from {band[0]:.3g} to {band[1]:.3g}."
    best += f" Not within the cap: {', '.join(beyond)}." if beyond else ""
    return View(styled(figure, 90 + 30 * max(len(shown), 4)), best)


@check.arguments
def pareto_chart(points: Mapping[str, tuple[Estimate, Estimate]], across: str, up: str) -> View:
    """Cost against distance to retraining; the line joins the methods that no other beats on both axes.

    Args:
        points: method -> (speed-up, gap), with intervals; left out unless both are finite and the speed-up
            is positive.
        across: name of the horizontal axis, where more is better.
        up: name of the vertical axis, where less is better.
    """
    shown = {m: (x, y) for m, (x, y) in points.items() if math.isfinite(x.mean + y.mean) and x.mean > 0}
    means = {m: (x.mean, y.mean) for m, (x, y) in shown.items()}
    front = sorted(p for p in means.values() if not any(_beats(q, p) for q in means.values()))
    figure = go.Figure()
    line = {"color": ROLES["neutral"].color, "dash": "dot", "width": 1}
    x, y = ([p[i] for p in front] for i in (0, 1))
    figure.add_scatter(x=x, y=y, mode="lines", name="beaten by none on both axes", line=line)
    top = max([p[1] for p in means.values()] + [1e-3])
    spots = _apart({m: (math.log10(p[0]), p[1] / top) for m, p in means.items()})
    for method, (fast, gap) in shown.items():
        look = ROLES[role_of(method)]
        for xs, ys in (((fast.low, fast.high), [gap.mean] * 2), ([fast.mean] * 2, (gap.low, gap.high))):
            figure.add_scatter(
                x=list(xs),
                y=[max(v, 0.0) for v in ys],
                mode="lines",
                showlegend=False,
                hoverinfo="skip",
                opacity=0.45,
                line={"color": look.color, "width": 1},
            )
        figure.add_scatter(
            x=[fast.mean],
            y=[gap.mean],
            mode="markers",
            name=method,
            showlegend=False,
            marker={"color": look.color, "symbol": look.symbol, "size": 11},
        )
        label = fast.mean * 1.12, spots[method] * top
        if label[1] - gap.mean > 0.03 * top:  # the label had to move: a line leads back to its point
            lead = {"color": ROLES["neutral"].color, "width": 1}
            ends = {"x": [fast.mean, label[0]], "y": [gap.mean, label[1]]}
            figure.add_scatter(**ends, mode="lines", showlegend=False, hoverinfo="skip", line=lead)
        figure.add_scatter(
            x=[label[0]],
            y=[label[1]],
            mode="text",
            text=[method],
            textposition="middle right",
            textfont={"size": 12},
            showlegend=False,
            hoverinfo="skip",
        )
    wide = [math.log10(p[0]) for p in means.values()] or [0.0]
    figure.update_xaxes(title=f"{across} (log scale; right is better)", type="log")
    figure.update_xaxes(range=[min(wide) - 0.2, max(wide) + 0.75])
    figure.update_yaxes(title=f"{up} (down is better)", range=[-0.08 * top, 1.15 * top])
    best = [m for m, p in means.items() if p in front]
    return View(
        styled(figure, 420), f"{across} against {up}. Beaten by none on both axes: {', '.join(best)}."
    )


def _beats(q: tuple[float, float], p: tuple[float, float]) -> bool:
    return q[0] >= p[0] and q[1] <= p[1] and q != p


def _apart(spots: Mapping[str, tuple[float, float]], least: float = 0.055) -> dict[str, float]:
    """Heights of labels: near their points, but without overlap."""
    placed: dict[str, float] = {}
    for name, (x, y) in sorted(spots.items(), key=lambda item: item[1][1]):
        height = y
        for other in placed:
            if abs(spots[other][0] - x) < 0.55 and height - placed[other] < least:
                height = placed[other] + least
        placed[name] = height
    return placed


@check.arguments
def layers_chart(distance: Mapping[str, Mapping[str, float]], cka: Mapping[str, Mapping[str, float]]) -> View:
    """Weight distance and CKA, layer by layer, between every model and a retrained one."""
    figure = make_subplots(
        1,
        2,
        horizontal_spacing=0.04,
        shared_yaxes=True,
        subplot_titles=["weight distance (no good direction)", "CKA of the layer's output (1: alike)"],
    )
    for column, found in enumerate((distance, cka), 1):
        layers = list(next(iter(found.values())))
        z = np.array([[found[m].get(layer, math.nan) for layer in layers] for m in found])
        figure.add_heatmap(
            z=z.tolist(),
            x=[f"layer {layer}" for layer in layers],
            y=list(found),
            text=[[f"{v:.2f}" for v in row] for row in z],
            texttemplate="%{text}",
            colorscale=[[0, "#ffffff"], [1, "#0072B2"]],
            zmin=0,
            zmax=max(1.0, float(np.nanmax(z))),
            showscale=False,
            xgap=1,
            ygap=1,
            row=1,
            col=column,
        )
    figure.update_yaxes(type="category", autorange="reversed")
    far = max(distance, key=lambda m: sum(distance[m].values()))
    alt = f"Two tables by layer for {len(distance)} models; farthest from the retrained in weights: {far}."
    return View(styled(figure, 90 + 30 * len(distance)), alt)


@check.arguments
def ulira_chart(found: Mapping[str, Exposure]) -> View:
    """AUC of the attack that knows every sample, beside that of the average attack on the same models."""
    names = list(found)[::-1]
    figure = go.Figure()
    half = {"color": "#000000", "dash": "dot", "width": 1}
    figure.add_scatter(x=[0.5] * len(names), y=names, mode="lines", name="½: cannot tell", line=half)
    for name in names:
        attack = found[name].attack.auc
        figure.add_scatter(
            x=[attack.value - 1.96 * attack.error, attack.value + 1.96 * attack.error],
            y=[name, name],
            mode="lines",
            showlegend=False,
            hoverinfo="skip",
            line={"color": ROLES["unlearned"].color, "width": 2},
        )
    for name, role, values in (
        ("loss attack on a population", "neutral", [found[n].population.value for n in names]),
        ("mini U-LiRA, sample by sample", "unlearned", [found[n].attack.auc.value for n in names]),
    ):
        look = ROLES[role]
        marker = {"color": look.color, "symbol": look.symbol, "size": 11}
        figure.add_scatter(x=values, y=names, mode="markers", name=name, marker=marker)
    figure.update_xaxes(title="AUC", range=[0.1, 1.05])
    figure.update_yaxes(type="category")
    words = ", ".join(f"{n} {e.attack.auc.value:.2f}" for n, e in found.items())
    return View(styled(figure, 90 + 30 * len(names)), f"Mini U-LiRA's AUC by method: {words}.")


@check.arguments
def gaussians_chart(method: str, found: Exposure, example: int) -> View:
    """One sample: margins of shadow models that forgot it and of those that never saw it.

    Args:
        method: whose.
        found: what U-LiRA found about it.
        example: which sample, from 0.
    """
    attack, every = found.attack, found.margins
    shadows = len(every.phi) - len(attack.scores)
    phi, inside = every.phi[:, example].double().numpy(), every.inside[:, example].numpy()
    sides = {"forgot it": inside[:shadows], "never saw it": ~inside[:shadows]}
    figure = go.Figure()
    fits = {}
    low, high = float(phi.min()) - 1, float(phi.max()) + 1
    grid = np.linspace(low, high, 200)
    for (name, mask), role in zip(sides.items(), ("unlearned", "retrained"), strict=True):
        values = phi[:shadows][mask]
        mean, variance = float(values.mean()), max(float(values.var(ddof=1)), FLOOR)
        fits[name] = mean, variance
        look = ROLES[role]
        density = np.exp(-((grid - mean) ** 2) / 2 / variance) / math.sqrt(2 * math.pi * variance)
        figure.add_scatter(
            x=grid,
            y=density,
            mode="lines",
            name=f"shadow models that {name}",
            line={"color": look.color, "dash": look.dash, "width": 2},
        )
        figure.add_scatter(
            x=values,
            y=np.full(len(values), -0.03),
            mode="markers",
            showlegend=False,
            marker={"color": look.color, "symbol": look.symbol, "size": 7},
        )
    figure.add_scatter(
        x=phi[shadows:],
        y=np.full(len(phi) - shadows, -0.08),
        mode="markers",
        name="models under attack",
        marker={"color": "#000000", "symbol": "x", "size": 9},
    )
    figure.update_xaxes(title="margin φ of this sample", range=[low, high])
    figure.update_yaxes(title="density", rangemode="tozero")
    numbers: dict[str, object] = {f"mean φ, {name}": mean for name, (mean, _) in fits.items()}
    right = ((attack.scores[:, example] > 0) == attack.inside[:, example]).sum()
    numbers["models under attack called correctly"] = f"{int(right)} of {len(attack.scores)}"
    means = " and ".join(f"{mean:.1f}" for mean, _ in fits.values())
    alt = f"{method}, sample {example}: two Gaussians, with means {means}."
    return View(styled(figure, 320), alt, numbers)


@check.arguments
def bn_chart(before: Mapping[str, float], after: Mapping[str, float]) -> View:
    """Forget accuracy before and after batch norm's statistics are measured again on retained data."""
    figure = go.Figure()
    for name, values, color, shape in (
        ("as delivered", before, "#767676", ""),
        ("after recalibration", after, ROLES["unlearned"].color, "/"),
    ):
        figure.add_bar(
            x=list(values),
            y=list(values.values()),
            name=name,
            marker={"color": color, "pattern": {"shape": shape}},
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="accuracy on the forget set", tickformat=".0%", range=[0, 1.02])
    words = "; ".join(f"{m} {before[m]:.0%}, then {after[m]:.0%}" for m in before)
    return View(styled(figure, 300), f"Forget accuracy before and after recalibration: {words}.")
