"""Pictures of lesson 00: where a model draws its boundary, and what a threshold on the loss gives away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.classroom.charts import View, literal, styled
from unlearn_lib.classroom.look import ROLES, style
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.data import Examples
from unlearn_lib.metrics.accuracy import accuracy, logits
from unlearn_lib.metrics.membership import LossAttack

__all__ = [
    "COLORS",
    "boundary_chart",
    "canary_chart",
    "points_chart",
    "progress_view",
    "request_chart",
    "threshold_chart",
]

COLORS = ("#4D4D4D", "#CC79A7")  # of the two classes
SYMBOLS = ("circle", "square")
SHADES = [[0, "#C9C9C9"], [0.5, "#FFFFFF"], [1, "#F0D3E2"]]  # sure of one class, undecided, sure of the other
PATTERNS = {"unlearned": "/", "retrained": ".", "control": "x"}  # color alone is not enough
MARK = "#B34700"  # of what the reader moves
GROUPS = ("forget set", "never seen")
ACTIONS = {"unlearned": "unlearned: fine-tuned", "control": "ascended to 0 %"}
FINE = 70  # points of the grid a side


class Plane(NamedTuple):
    """A model's probability of the second class [n, n] over a grid of the plane."""

    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    @classmethod
    def of(cls, model: nn.Module, points: Examples) -> Plane:
        """Over the box around the points."""
        low, high = (points.x.amin(0) - 0.3).tolist(), (points.x.amax(0) + 0.3).tolist()
        x, y = (np.linspace(a, b, FINE) for a, b in zip(low, high, strict=True))
        grid = torch.tensor(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2), dtype=points.x.dtype)
        p = logits(model, Examples.of(grid, torch.zeros(len(grid)))).softmax(1)[:, 1]
        return cls(x, y, p.reshape(FINE, FINE).numpy())

    def boundary(self) -> tuple[list[float | None], list[float | None]]:
        """The curve p = 1/2, its pieces parted by None."""
        from matplotlib.figure import Figure

        found = Figure().subplots().contour(self.x, self.y, self.p, [0.5])
        xs: list[float | None] = []
        ys: list[float | None] = []
        for piece in map(np.asarray, found.get_paths()[0].to_polygons(closed_only=False)):
            xs += [*piece[:, 0].round(3).tolist(), None]
            ys += [*piece[:, 1].round(3).tolist(), None]
        return xs, ys


@check.arguments
def points_chart(points: Examples, forget: Mapping[str, Ids], classes: tuple[str, ...]) -> View:
    """The training points; each request by name, ringed in one color and labeled."""
    figure = go.Figure()
    for k, (name, ids) in enumerate(forget.items()):
        _halo(figure, points, ids, name, symbol=("circle", "diamond")[k % 2])
    _points(figure, points, classes)
    figure.update_xaxes(title="first feature")
    figure.update_yaxes(title="second feature")
    sizes = "; ".join(f"{name}: {len(check.ids(ids))}" for name, ids in forget.items())
    alt = f"{len(points)} training points of two classes, on two interleaved half circles. To {sizes} points."
    return View(styled(figure, 380), alt)


@check.arguments
def boundary_chart(
    models: Mapping[str, nn.Module],
    points: Examples,
    forget: Ids,
    classes: tuple[str, ...],
    reference: nn.Module | None = None,
) -> View:
    """What each model says of every place in the plane; the reference's boundary is drawn over all of them.

    Args:
        models: by name.
        points: the training set, drawn on top, the request ringed.
        forget: ids of the request.
        classes: two names.
        reference: the retrained model.
    """
    ids = check.ids(forget)
    titles = list(models)
    figure = make_subplots(1, len(models), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=titles)
    line = Plane.of(reference, points).boundary() if reference is not None else None
    for column, model in enumerate(models.values(), 1):
        spot: dict[str, Any] = {"row": 1, "col": column}
        plane = Plane.of(model, points)
        figure.add_heatmap(
            x=plane.x.round(3).tolist(),
            y=plane.y.round(3).tolist(),
            z=plane.p.round(2).tolist(),
            colorscale=SHADES,
            zmin=0,
            zmax=1,
            showscale=False,
            hovertemplate=f"probability of {literal(classes[1])}: %{{z:.0%}}<extra></extra>",
            **spot,
        )
        _halo(figure, points, ids, "to forget", showlegend=column == 1, **spot)
        _points(figure, points, classes, showlegend=column == 1, size=6, **spot)
        x, y = plane.boundary()
        own = {"mode": "lines", "line": {"color": "#000000", "width": 2}, "hoverinfo": "skip"}
        figure.add_scatter(x=x, y=y, name="boundary", showlegend=column == 1, **own, **spot)
        if line is not None:
            look = style("retrained", "lines") | {"hoverinfo": "skip"}
            name = "boundary of the retrained model"
            figure.add_scatter(x=line[0], y=line[1], name=name, showlegend=column == 1, **look, **spot)
    wanted = points.select(ids)
    words = "; ".join(f"{name} {accuracy(m, wanted):.0%}" for name, m in models.items()) if len(ids) else ""
    alt = (
        f"Decision boundaries of the models {', '.join(models)}. Right on the {len(ids)} points to forget: "
        f"{words}."
    )
    return View(styled(figure, 340), alt)


@check.arguments
def progress_view(progress: Progress) -> View:
    """For a panel: the boundary now, between those of the original and of the retrained model."""
    now = progress.result.model if progress.result else progress.last.model if progress.last else None
    reference = progress.models.get("retrained")
    models = {"original": progress.original}
    models |= {"unlearned" if progress.result else "unlearned, now": now} if now is not None else {}
    models |= {"retrained": reference} if reference is not None else {}
    split, two = progress.split, (progress.data.classes[0], progress.data.classes[1])
    return boundary_chart(models, split.forget + split.retain, split.forget.ids, two, reference)


@check.arguments
def request_chart(forget: Mapping[str, Mapping[str, float]], test: Mapping[str, Mapping[str, float]]) -> View:
    """Accuracy on the forget set and on the test set, for several requests and models.

    Args:
        forget: accuracy in [0, 1] by role, and within it by request.
        test: likewise.
    """
    titles = ["right on the points to forget", "right on the test set"]
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=titles)
    for column, scores in enumerate((forget, test), 1):
        for role, by_request in scores.items():
            figure.add_bar(
                x=list(by_request),
                y=list(by_request.values()),
                name=ACTIONS.get(role, role),
                text=[f"{v:.0%}" for v in by_request.values()],
                textposition="outside",
                showlegend=column == 1,
                marker={"color": ROLES[role].color, "pattern": {"shape": PATTERNS.get(role, "")}},
                row=1,
                col=column,
            )
    figure.update_layout(barmode="group")
    figure.update_xaxes(title="points to forget")
    figure.update_yaxes(range=[0, 1.15], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    words = "; ".join(
        f"{ACTIONS.get(role, role)}: " + ", ".join(f"{request} {v:.0%}" for request, v in by_request.items())
        for role, by_request in forget.items()
    )
    return View(styled(figure, 330), f"Accuracy on the points to forget. {words}.")


@check.arguments
def threshold_chart(attacks: Mapping[str, LossAttack], role: str, threshold: float) -> View:
    """Call whoever has a loss below the threshold a member: losses of both groups, and the ROC curve.

    Args:
        attacks: the loss attack on each model, by role: the forget set against unseen samples.
        role: whose losses are drawn.
        threshold: in nats.
    """
    attack = attacks[role]
    titles = [f"losses of the {role} model", "every threshold at once (ROC curve)"]
    figure = make_subplots(1, 2, horizontal_spacing=0.12, subplot_titles=titles)
    edges = np.geomspace(1e-4, 20, 25)
    shares = [_shares(losses, edges) for losses in (attack.members, attack.others)]
    top = 1.1 * max(map(max, shares))
    for name, share, look in zip(GROUPS, shares, ("forget", "neutral"), strict=True):
        x, y = np.repeat(edges, 2), np.concatenate([[0], np.repeat(share, 2), [0]])
        figure.add_scatter(x=x, y=y, name=name, **style(look, "lines"), row=1, col=1)
    line = {"mode": "lines", "line": {"color": MARK, "width": 3, "dash": "dash"}}
    figure.add_scatter(x=[threshold] * 2, y=[0, top], name="threshold", **line, row=1, col=1)
    for name, other in attacks.items():
        curve, label = other.roc, f"{name}, AUC {other.auc.value:.2f}"
        figure.add_scatter(x=curve.fpr, y=curve.tpr, name=label, **style(name, "lines"), row=1, col=2)
    guess = {"mode": "lines", "line": {"color": "#767676", "dash": "dot", "width": 1}}
    figure.add_scatter(x=[0, 1], y=[0, 1], name="a coin, AUC 0.50", **guess, row=1, col=2)
    caught, accused = (float((x <= threshold).double().mean()) for x in (attack.members, attack.others))
    here = {"mode": "markers", "marker": {"color": MARK, "symbol": "circle", "size": 14}}
    figure.add_scatter(x=[accused], y=[caught], name="this threshold", **here, row=1, col=2)
    ticks = [1e-4, 1e-3, 0.01, 0.1, 1, 10]
    figure.update_xaxes(
        title="loss of a sample, nats", type="log", tickvals=ticks, exponentformat="none", col=1
    )
    figure.update_yaxes(title="share of the group", tickformat=".0%", range=[0, top], col=1)
    figure.update_xaxes(title="never seen, but called members", tickformat=".0%", range=[-0.02, 1.02], col=2)
    figure.update_yaxes(title="forget set, called members", tickformat=".0%", range=[-0.02, 1.04], col=2)
    numbers = {
        "forget set, called members": f"{caught:.0%}",
        "never seen, but called members": f"{accused:.0%}",
        "right calls, both groups weighed the same": f"{(caught + 1 - accused) / 2:.0%}",
        "AUC, over all thresholds": f"{attack.auc.value:.2f}: {attack.auc.reading()}",
    }
    alt = (
        f"With the threshold at {threshold:.2g} nats the attack on the {role} model calls {caught:.0%} of "
        f"the forget set and {accused:.0%} of the unseen samples members; AUC {attack.auc.value:.2f}."
    )
    return View(styled(figure, 360), alt, numbers)


def _shares(losses: Float[Tensor, " n"], edges: np.ndarray) -> np.ndarray:
    """Share of the losses between every two edges; the outermost hold what lies beyond."""
    count, _ = np.histogram(np.clip(losses.numpy(), edges[0], edges[-1]), edges)
    return count / len(losses)


@check.arguments
def canary_chart(success: Mapping[str, float], accuracy: Mapping[str, float]) -> View:
    """How often the mark works, beside the ordinary test accuracy, for each model by role."""
    figure = make_subplots(1, 2, horizontal_spacing=0.12, subplot_titles=["the mark works", "test accuracy"])
    for column, values in enumerate((success, accuracy), 1):
        for role, value in list(values.items())[::-1]:  # drawn from the bottom up
            figure.add_bar(
                x=[value],
                y=[role],
                orientation="h",
                text=[f"{value:.0%}"],
                textposition="outside",
                showlegend=False,
                marker={"color": ROLES[role].color, "pattern": {"shape": PATTERNS.get(role, "")}},
                row=1,
                col=column,
            )
    figure.update_xaxes(range=[0, 1.2], tickformat=".0%", tickvals=[0, 0.5, 1])
    words = "; ".join(f"{r} {success[r]:.0%} (test accuracy {accuracy[r]:.0%})" for r in success)
    return View(styled(figure, 210), f"How often the mark turns the answer: {words}.")


def _points(
    figure: go.Figure,
    points: Examples,
    classes: tuple[str, ...],
    *,
    showlegend: bool = True,
    size: int = 8,
    **spot: Any,
) -> None:
    for k, name in enumerate(classes):
        mine = points.where(points.y == k)
        figure.add_scatter(
            x=mine.x[:, 0].numpy(),
            y=mine.x[:, 1].numpy(),
            customdata=mine.ids.numpy(),
            mode="markers",
            name=f"label “{literal(name)}”",
            marker={"color": COLORS[k], "symbol": SYMBOLS[k], "size": size},
            hovertemplate=f"point %{{customdata}}, label {literal(name)}<extra></extra>",
            showlegend=showlegend,
            **spot,
        )


def _halo(
    figure: go.Figure,
    points: Examples,
    ids: Ids,
    name: str,
    *,
    symbol: str = "circle",
    showlegend: bool = True,
    **spot: Any,
) -> None:
    """A disk of the role's color behind the points."""
    mine = points.select(ids)
    figure.add_scatter(
        x=mine.x[:, 0].numpy(),
        y=mine.x[:, 1].numpy(),
        mode="markers",
        name=name,
        marker={"color": ROLES["forget"].color, "symbol": symbol, "size": 15},
        hoverinfo="skip",
        showlegend=showlegend,
        **spot,
    )
