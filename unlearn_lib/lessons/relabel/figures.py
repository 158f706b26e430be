"""Pictures of lesson 05: the wrong labels, scores beside the references, and the telltale losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, literal, styled
from unlearn_lib.classroom.look import ROLES

__all__ = ["labels_chart", "losses_chart", "passes_chart", "scores_chart"]

LOOKS = {"do nothing": ("original", ""), "relabeled": ("unlearned", "/"), "UNSIR": ("control", "x")}
LOOKS |= {"one pass": ("control", ""), "all passes": ("unlearned", "")}
LOOKS |= {"retrained": ("retrained", "."), "images never seen": ("neutral", "")}
DASHES = {
    "do nothing": "solid",
    "one pass": "dashdot",
    "all passes": "solid",
    "retrained": "dash",
    "images never seen": "dot",
}


@check.arguments
def labels_chart(counts: Sequence[int], classes: Sequence[str]) -> View:
    """How many samples to forget were given each class as their wrong label.

    Args:
        counts: by class.
        classes: their names.
    """
    names = [literal(name) for name in classes]
    look = ROLES["forget"]
    figure = go.Figure(
        go.Bar(x=names, y=list(counts), marker={"color": look.color, "pattern": {"shape": "/"}})
    )
    figure.update_xaxes(title="wrong label", type="category")
    figure.update_yaxes(title="samples to forget")
    never = [name for name, n in zip(names, counts, strict=True) if not n]
    words = f"{sum(counts)} wrong labels over {len(counts)} classes, {min(counts)} to {max(counts)} each"
    return View(styled(figure, 260), f"{words}; never given: {', '.join(never) or 'none'}.")


@check.arguments
def scores_chart(scores: Mapping[str, Mapping[str, float]]) -> View:
    """Accuracies of every model, beside each other.

    Args:
        scores: model -> part of the data -> accuracy in [0, 1].
    """
    figure = go.Figure()
    for model, found in scores.items():
        role, shape = LOOKS[model]
        figure.add_bar(
            x=list(found),
            y=list(found.values()),
            name=model,
            marker={"color": ROLES[role].color, "pattern": {"shape": shape}},
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02])
    words = "; ".join(
        f"{model}: {', '.join(f'{part} {value:.0%}' for part, value in found.items())}"
        for model, found in scores.items()
    )
    return View(styled(figure, 320), f"Accuracies. {words}.")


@check.arguments
def passes_chart(forgotten: Sequence[float], unseen: Sequence[float], level: float) -> View:
    """Accuracy on the forgotten samples and on unseen images, pass by pass, beside the retrained model's.

    Args:
        forgotten: before the first pass, and after each.
        unseen: the same on unseen images.
        level: of the retrained model, on the forgotten samples.
    """
    figure, passes = go.Figure(), list(range(len(forgotten)))
    for name, values, role in (
        ("forgotten samples", forgotten, "forget"),
        ("unseen images", unseen, "retain"),
    ):
        look = ROLES[role]
        figure.add_scatter(
            x=passes,
            y=list(values),
            mode="lines+markers",
            name=name,
            line={"color": look.color, "dash": look.dash, "width": 2},
            marker={"color": look.color, "symbol": look.symbol, "size": 9},
        )
    line = {"color": ROLES["retrained"].color, "dash": "dash", "width": 2}
    name = "forgotten samples, retrained"
    figure.add_scatter(x=[0, passes[-1]], y=[level] * 2, mode="lines", name=name, line=line)
    figure.update_xaxes(title="passes")
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02])
    words = f"On the forgotten samples {', '.join(f'{value:.0%}' for value in forgotten)}"
    return View(styled(figure, 320), f"{words}; the retrained model has {level:.0%}.")


@check.arguments
def losses_chart(losses: Mapping[str, Tensor]) -> View:
    """The share of samples with at most a given loss, for every model.

    Args:
        losses: model, or "images never seen" -> losses in nats.
    """
    figure = go.Figure()
    for model, values in losses.items():
        x = np.sort(values.double().cpu().numpy()).clip(1e-6)
        role, _ = LOOKS[model]
        figure.add_scatter(
            x=x.tolist(),
            y=((np.arange(len(x)) + 1) / len(x)).tolist(),
            mode="lines",
            name=model,
            line={"color": ROLES[role].color, "dash": DASHES[model], "width": 2},
        )
    figure.update_xaxes(title="loss, in nats (log scale)", type="log")
    figure.update_yaxes(title="share of samples", tickformat=".0%", range=[0, 1.02])
    words = ", ".join(f"{model} {float(values.median()):.2g}" for model, values in losses.items())
    return View(styled(figure, 320), f"Losses of single samples, sorted. Medians: {words}.")
