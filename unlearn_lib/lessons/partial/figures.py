"""Pictures of lesson 03: batches touched, one update and what is kept of it, and what each share forgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, styled
from unlearn_lib.classroom.look import accuracy_range, style
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.methods.amnesiac.method import UndoTrace
from unlearn_lib.methods.layers import Layers
from unlearn_lib.methods.partial import MaskTrace
from unlearn_lib.metrics.membership import LossAttack

__all__ = [
    "Point",
    "batches_chart",
    "equal_chart",
    "membership_chart",
    "optimizer_chart",
    "plane_chart",
    "progress_view",
    "share_chart",
    "touched_chart",
    "update_chart",
]

GRAY_WHITE_RED = ["#4d4d4d", "#ffffff", "#D55E00"]  # pruned, nothing, kept
SEQUENCE = ("control", "neutral", "unlearned", "forget")  # roles of several ways in one chart


class Point(NamedTuple):
    """A model in the plane of this lesson: how much it still knows, both in [0, 1].

    `forget`: accuracy on the forget set. `others`: test accuracy on what is retained.
    """

    forget: float
    others: float


@check.arguments
def touched_chart(maps: Mapping[str, Bool[np.ndarray, "epochs batches"]]) -> View:
    """Which batches of which epoch hold a sample of the request: one map per request."""
    shares = {name: float(map_.mean()) for name, map_ in maps.items()}
    titles = [f"{name}: {share:.0%}" for name, share in shares.items()]
    figure = make_subplots(1, len(maps), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    for column, map_ in enumerate(maps.values(), 1):
        figure.add_heatmap(
            z=map_.astype(int).tolist(),
            y=list(range(1, len(map_) + 1)),
            colorscale=[[0, "#e8eef4"], [1, "#D55E00"]],
            zmin=0,
            zmax=1,
            showscale=False,
            hovertemplate="epoch %{y}, batch %{x}: %{z}<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_xaxes(title="batch")
    figure.update_yaxes(autorange="reversed")
    figure.update_yaxes(title="epoch", col=1)
    words = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return View(styled(figure, 260), f"Share of batches that hold a sample of the request: {words}.")


@check.arguments
def update_chart(layers: Layers, update: Float[Tensor, " n"], kept: Bool[Tensor, " n"]) -> View:
    """One stored update, a map per weight tensor: kept entries in color, pruned ones in gray.

    Strength is the square root of abs(U), relative to the tensor's largest entry. Tensors with one axis
    (biases) are counted beside the picture but not drawn.
    """
    values, mask = layers.unflatten(update.cpu()), layers.unflatten(kept.cpu())
    drawn = {name: shape for name, shape in layers.shapes.items() if len(shape) > 1}
    titles = [f"{name}: {int(mask[name].sum()):,} of {mask[name].numel():,}" for name in drawn]
    figure = make_subplots(1, len(drawn), horizontal_spacing=0.05, subplot_titles=titles)
    for column, name in enumerate(drawn, 1):
        u = values[name].abs().flatten(1)
        strength = (u / u.max().clamp(min=1e-30)).sqrt() * 0.75
        z = torch.where(mask[name].flatten(1), strength + 0.25, -strength)
        figure.add_heatmap(
            z=np.round(z.numpy(), 2).tolist(),
            colorscale=[[i / 2, color] for i, color in enumerate(GRAY_WHITE_RED)],
            zmin=-1,
            zmax=1,
            showscale=False,
            hovertemplate="unit %{y}, input %{x}<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_xaxes(title="input of the unit")
    figure.update_yaxes(autorange="reversed")
    figure.update_yaxes(title="unit", col=1)
    numbers = {}
    for name, span in layers.spans.items():
        squared = update[span].square()
        part = float(squared[kept[span]].sum() / squared.sum().clamp(min=1e-30))
        numbers[f"{name}, kept"] = f"{int(kept[span].sum()):,} of {len(squared):,} entries"
        numbers[f"{name}, squares"] = f"{part:.0%} of the sum of squares"
    share = float(kept.double().mean())
    total = float(update[kept].square().sum() / update.square().sum().clamp(min=1e-30))
    alt = (
        f"One update as a map per weight tensor, kept entries in color and the others in gray: {share:.0%} "
        f"of the entries hold {total:.0%} of the sum of squares."
    )
    return View(styled(figure, 340), alt, numbers)


@check.arguments
def share_chart(
    shares: Sequence[float],
    points: Sequence[Point],
    megabytes: Sequence[float],
    references: Mapping[str, Point],
    chosen: float,
) -> View:
    """Forget accuracy, accuracy on the others and megabytes stored, against the kept share.

    Args:
        shares: increasing, in (0, 1]; the last one is amnesiac unlearning.
        points: the model at each share.
        megabytes: stored at each share.
        references: the original and the retrained model, by role.
        chosen: the share to mark.
    """
    titles = ["still recognized in the forget set", "test accuracy, other classes", "megabytes stored"]
    figure = make_subplots(1, 3, horizontal_spacing=0.07, subplot_titles=titles)
    known = {**references, "control": points[-1]}
    names = {"control": "amnesiac (everything)"}
    columns = [[p.forget for p in points], [p.others for p in points], list(megabytes)]
    for column, values in enumerate(columns, 1):
        add = {"row": 1, "col": column, "showlegend": column == 1}
        lines = {role: p[column - 1] for role, p in known.items()} if column < 3 else {"control": values[-1]}
        for role, value in lines.items():
            figure.add_scatter(
                x=[0, 1], y=[value] * 2, name=names.get(role, role), **style(role, "lines+markers"), **add
            )
        figure.add_scatter(
            x=list(shares), y=values, name="partial", **style("unlearned", "lines+markers"), **add
        )
        low, high = accuracy_range([*values, *lines.values()]) if column == 2 else (0, 1.05 * max(values))
        figure.add_scatter(
            x=[chosen] * 2,
            y=[low, high],
            name="share used below",
            **style("neutral", "lines", dash="dot"),
            **add,
        )
        figure.update_yaxes(range=[low, high] if column > 1 else [-0.03, 1.03], row=1, col=column)
    figure.update_xaxes(title="kept share p", range=[-0.03, 1.03])
    for column in (1, 2):
        figure.update_yaxes(tickformat=".0%", row=1, col=column)
    at = list(shares).index(chosen)
    alt = (
        f"At a kept share of p = {chosen:g}, forget accuracy is down to {points[at].forget:.0%}. The other "
        f"classes have {points[at].others:.1%} there and {points[-1].others:.1%} when everything is undone. "
        f"The log takes {megabytes[at]:.1f} instead of {megabytes[-1]:.1f} megabytes."
    )
    return View(styled(figure, 330), alt)


@check.arguments
def equal_chart(
    groups: Mapping[str, Mapping[str, Sequence[float | None]]], title: str = "test accuracy, other classes"
) -> View:
    """Several ways, each where it first forgets: one mark per seed, and a gray disc at the mean.

    Args:
        groups: for each heading and way, the measure of every seed; None where it never forgot.
        title: of the horizontal axis.
    """
    figure = make_subplots(
        1, len(groups), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=list(groups)
    )
    numbers: dict[str, object] = {}
    every: list[float] = []
    named: set[str] = set()
    for column, (heading, ways) in enumerate(groups.items(), 1):
        for way, values in ways.items():
            reached = [v for v in values if v is not None]
            missing = f", {len(reached)} of {len(values)} seeds" if len(reached) < len(values) else ""
            said = f"{fmean(reached):.1%}{missing}" if reached else "never forgot"
            numbers[f"{heading}: {way}" if heading else way] = said
            every += reached
        for way, values in list(ways.items())[::-1]:  # from the bottom up
            reached = [v for v in values if v is not None] or [math.nan]
            kind, role = ("partial", "unlearned") if "partial" in way else ("other ways", "neutral")
            disc = {"mode": "markers", "marker": {"color": "#b5b5b5", "symbol": "circle", "size": 15}}
            for name, look, x in (
                ("mean", disc, [fmean(reached)]),
                (f"one seed, {kind}", style(role, "markers"), reached),
            ):
                figure.add_scatter(
                    x=x,
                    y=[way] * len(x),
                    name=name,
                    legendgroup=name,
                    showlegend=name not in named,
                    **look,
                    row=1,
                    col=column,
                )
                named.add(name)
    figure.update_xaxes(title=title, tickformat=".0%", range=accuracy_range(every or [1.0]))
    words = "; ".join(f"{name} {value}" for name, value in numbers.items())
    alt = f"Each way where it first forgets, one mark per seed, a disc at the mean: {words}."
    return View(styled(figure, 160 + 34 * max(map(len, groups.values()))), alt, numbers)


@check.arguments
def batches_chart(lines: Mapping[str, tuple[Sequence[int], Sequence[Point]]], total: int) -> View:
    """Accuracies as more and more batches are undone, in training order.

    Args:
        lines: by name, the numbers of batches undone, and the model there.
        total: batches of the whole training run.
    """
    titles = ["still recognized in the forget set", "test accuracy, other classes"]
    figure = make_subplots(1, 2, horizontal_spacing=0.09, subplot_titles=titles)
    for role, (name, (counts, points)) in zip(
        ("control", "unlearned", "forget"), lines.items(), strict=False
    ):
        for column in (1, 2):
            figure.add_scatter(
                x=[k / total for k in counts],
                y=[p[column - 1] for p in points],
                name=name,
                showlegend=column == 1,
                **style(role, "lines+markers"),
                row=1,
                col=column,
            )
    figure.update_xaxes(title="share of all batches undone", type="log", tickvals=[0.001, 0.01, 0.1, 1])
    others = [p.others for _, points in lines.values() for p in points]
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(range=accuracy_range(others), tickformat=".0%", row=1, col=2)
    ends = "; ".join(
        f"{name}: {counts[-1]} of {total} batches leave the others at {points[-1].others:.0%}"
        for name, (counts, points) in lines.items()
    )
    return View(styled(figure, 320), f"Accuracy against the number of batches undone. {ends}.")


@check.arguments
def optimizer_chart(shares: Sequence[float], found: Mapping[str, Mapping[str, Sequence[Point]]]) -> View:
    """Accuracies against the kept share: a column per optimizer, a color per rule."""
    figure = make_subplots(
        1, len(found), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=list(found)
    )
    words = []
    for column, (optimizer, rules) in enumerate(found.items(), 1):
        for role, (rule, points) in zip(("unlearned", "control"), rules.items(), strict=False):
            for part, dash in (("others", "solid"), ("forget", "dot")):
                figure.add_scatter(
                    x=list(shares),
                    y=[getattr(p, part) for p in points],
                    name=f"{rule}: {'others' if part == 'others' else 'forget set'}",
                    showlegend=column == 1,
                    **style(role, "lines+markers", dash=dash),
                    row=1,
                    col=column,
                )
            words.append(f"{optimizer}, {rule}: others {points[0].others:.0%} to {points[-1].others:.0%}")
    figure.update_xaxes(title="kept share p")
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    alt = f"Accuracy as the kept share grows from {shares[0]:g} to {shares[-1]:g}. {'; '.join(words)}."
    return View(styled(figure, 340), alt)


@check.arguments
def plane_chart(
    groups: Mapping[str, Mapping[str, Sequence[Point]]],
    references: Mapping[str, Point],
    target: float | None = None,
    title: str = "test accuracy, other classes",
) -> View:
    """Trajectories in the (forget, others) plane, one mark per step: left is forgotten, up is unharmed.

    Args:
        groups: for each heading and way, the model after every step.
        references: by role.
        target: the forget accuracy that counts as forgotten, drawn as a line.
        title: of the vertical axis.
    """
    figure = make_subplots(
        1, len(groups), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=list(groups)
    )
    points = [p for ways in groups.values() for path in ways.values() for p in path] + list(
        references.values()
    )
    low, high = accuracy_range([p.others for p in points])
    for column, ways in enumerate(groups.values(), 1):
        add = {"row": 1, "col": column, "showlegend": column == 1}
        if target is not None:
            line = {"x": [target] * 2, "y": [low, high]}
            figure.add_scatter(**line, name="forgotten", **style("neutral", "lines", dash="dot"), **add)
        roles = SEQUENCE if len(ways) > 1 else ("unlearned",)
        for role, (name, path) in zip(roles, ways.items(), strict=False):
            look = style(role, "lines+markers")
            look["marker"] = {**look["marker"], "size": 5}  # type: ignore[dict-item]
            x, y = zip(*path, strict=True) if path else ((), ())
            figure.add_scatter(x=list(x), y=list(y), name=name, **look, **add)
        for role, p in references.items():
            look = style(role, "markers")
            look["marker"] = {**look["marker"], "size": 13}  # type: ignore[dict-item]
            figure.add_scatter(x=[p.forget], y=[p.others], name=role, **look, **add)
    figure.update_xaxes(title="still recognized in the forget set", tickformat=".0%", range=[-0.04, 1.04])
    figure.update_yaxes(tickformat=".0%", range=[low, high])
    figure.update_yaxes(title=title, row=1, col=1)
    words = "; ".join(
        f"{heading} {name}, {len(path)} marks, to {path[-1].forget:.0%} and {path[-1].others:.1%}".strip()
        for heading, ways in groups.items()
        for name, path in ways.items()
        if path
    )
    return View(styled(figure, 430), f"Trajectories of (forget, others): {words or 'no steps yet'}.")


@check.arguments
def membership_chart(attacks: Mapping[str, LossAttack]) -> View:
    """Histograms of the loss on the forget set and on unseen samples of its class, a column per model."""
    losses = np.concatenate([part.numpy() for a in attacks.values() for part in (a.members, a.others)])
    exponents = np.log10(np.maximum(losses, 1e-6))
    edges = np.linspace(np.floor(exponents.min()), np.ceil(exponents.max() + 1e-9), 15)
    middle = [(10 ** ((a + b) / 2)) for a, b in pairwise(edges)]
    titles = [f"{name}: AUC {a.auc.value:.2f}" for name, a in attacks.items()]
    figure = make_subplots(1, len(attacks), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    for column, attack in enumerate(attacks.values(), 1):
        for name, role, part in (
            ("forget set", "forget", attack.members),
            ("unseen samples of the class", "neutral", attack.others),
        ):
            counts = np.histogram(np.log10(np.maximum(part.numpy(), 1e-6)), edges)[0]
            figure.add_scatter(
                x=middle,
                y=(counts / len(part)).tolist(),
                name=name,
                showlegend=column == 1,
                **style(role, "lines+markers"),
                row=1,
                col=column,
            )
    figure.update_xaxes(title="loss of a sample, nats", type="log", exponentformat="power")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(title="share of the samples", row=1, col=1)
    words = ", ".join(f"{name} {a.auc.value:.2f}" for name, a in attacks.items())
    numbers: dict[str, object] = {
        f"{name}, median loss": f"forget set {a.members.median():.3g}, unseen {a.others.median():.3g}"
        for name, a in attacks.items()
    }
    alt = f"Losses of the forget set and of unseen samples of its class; AUC of the attack: {words}."
    return View(styled(figure, 310), alt, numbers)


@check.arguments
def progress_view(progress: Progress) -> View:
    """For a panel: the path of the run in the (forget, retain) plane, one mark per measured step."""
    path = [Point(row["forget"], row["retain"]) for row in progress.rows]
    others = {role: row for role, row in progress.scores.items() if role != "unlearned"}
    marks = {role: Point(row["forget"], row["retain"]) for role, row in others.items()}
    name = progress.phases[-1][1] if progress.phases else "start"
    view = plane_chart({"": {name: path}}, marks, title="accuracy on the retain set")
    numbers: dict[str, object] = {"steps": progress.steps}
    trace = progress.result.trace if progress.result else None
    if isinstance(trace, UndoTrace):
        numbers["batches undone"] = f"{len(trace.undone)} of {trace.batches}"
        numbers["entries moved"] = trace.changed
        numbers["megabytes of updates"] = trace.nbytes_before / 1e6
    elif isinstance(trace, MaskTrace):
        numbers["entries moved"] = sum(trace.changed.values())
    return view._replace(numbers=numbers)
