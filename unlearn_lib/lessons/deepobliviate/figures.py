"""Pictures of lesson 01: the chain, the residual memory and its trend, what epsilon buys, the backdoor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, styled
from unlearn_lib.classroom.look import ROLES, accuracy_range, log_ticks, style
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.words import amount
from unlearn_lib.methods.deepobliviate.decay import TrendRule, dfa, dfa_points

__all__ = [
    "backdoor_chart",
    "dfa_chart",
    "distance_chart",
    "progress_view",
    "reshuffle_chart",
    "residual_chart",
    "timeline_chart",
    "tradeoff_chart",
]

AREAS = {
    "unseen, kept": ("retain", ""),
    "deleted from, retrained": ("forget", "x"),
    "affected, retrained": ("unlearned", "/"),
    "unaffected, stitched": ("original", "."),
}


@check.arguments
def timeline_chart(blocks: int, d_min: int, d_max: int, T: int) -> View:
    """The chain of blocks in its four areas: unseen, deleted from, affected, unaffected."""
    k = np.arange(1, blocks + 1)
    inside = [k < d_min, (k >= d_min) & (k <= d_max), (k > d_max) & (k <= T), k > T]
    figure = go.Figure()
    for (name, (role, pattern)), mask in zip(AREAS.items(), inside, strict=True):
        if mask.any():
            figure.add_bar(
                x=[int(mask.sum())],
                base=[int(k[mask][0]) - 1],
                y=["chain"],
                orientation="h",
                name=f"{name} ({mask.sum()})",
                marker={"color": ROLES[role].color, "pattern": {"shape": pattern, "fgcolor": "white"}},
                hovertemplate=f"blocks {k[mask][0]} to {k[mask][-1]}<extra>{name}</extra>",
            )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="block", range=[0, blocks])
    figure.update_yaxes(showticklabels=False)
    retrained = T - d_min + 1
    alt = (
        f"Timeline of {blocks} blocks. Kept at the beginning: {d_min - 1}; retrained: {retrained} "
        f"(blocks {d_min} to {T}); stitched at the end: {blocks - T}."
    )
    numbers = {"blocks retrained": retrained, "speed-up in blocks": round(blocks / retrained, 1)}
    return View(styled(figure, 190), alt, numbers)


@check.arguments
def residual_chart(window: Sequence[float], gap: Sequence[float], rule: TrendRule) -> View:
    """Residual memory with its fitted trend and stop mark; the slope against epsilon; the gap beside them.

    Args:
        window: Delta_k from the last deletion on, at least one.
        gap: G_k of the same blocks.
        rule: whose trend, epsilon and stop are drawn.
    """
    x = np.arange(1, len(window) + 1)
    n_stop = rule.first_stop(window)
    trend = rule.trend(window[: n_stop or len(window)])
    titles = [
        "residual memory Δ (what the rule watches)",
        "slope of its trend",
        "model gap G (does not die out)",
    ]
    figure = make_subplots(1, 3, horizontal_spacing=0.09, subplot_titles=titles)
    figure.add_scatter(x=x, y=window, name="residual Δ", **style("unlearned", "markers"), row=1, col=1)
    if trend is not None:
        fine = np.linspace(1, len(window), 200)
        figure.add_scatter(
            x=fine,
            y=trend(fine),
            name="trend a·x⁻ʰ + b, fitted up to the stop",
            **style("original", "lines"),
            row=1,
            col=1,
        )
    else:
        enough = len(window) > 2 and (rule.estimator != "dfa" or len(dfa_points(window)[0]) > 1)
        lacks = "no falling trend to fit" if enough else "too few residuals to fit"
        spot = {"x": [1], "y": [max(window) / 2 or 0.5], "text": [lacks], "mode": "text"}
        figure.add_scatter(
            **spot, textposition="middle right", showlegend=False, hoverinfo="skip", row=1, col=1
        )
    if n_stop is not None:
        mark = {"x": [n_stop, n_stop], "y": [0, max(window)]}
        figure.add_scatter(**mark, name="stop", **style("neutral", "lines", dash="dot"), row=1, col=1)

    n = list(range(rule.least, len(window) + 1))
    slopes = [rule.flatness(window[:m]) for m in n]
    figure.add_scatter(
        x=n, y=slopes, name="|slope|", showlegend=False, **style("original", "lines+markers"), row=1, col=2
    )
    if 0 < rule.epsilon < np.inf:
        line = {"x": [1, max(len(window), 2)], "y": [rule.epsilon] * 2}
        figure.add_scatter(**line, name="epsilon", **style("neutral", "lines", dash="dash"), row=1, col=2)
    figure.add_scatter(
        x=x, y=gap, name="gap G", showlegend=False, **style("control", "lines+markers"), row=1, col=3
    )
    figure.update_xaxes(title="blocks since the last deletion, n")
    figure.update_yaxes(
        type="log", tickvals=log_ticks([*slopes, rule.epsilon]), exponentformat="none", row=1, col=2
    )
    figure.update_yaxes(range=[0, 1.08 * (max(window) or 1)], row=1, col=1)
    figure.update_yaxes(range=[0, 1.08 * (max(gap) or 1)], row=1, col=3)
    numbers: dict[str, object] = {
        "first Δ": window[0],
        "last Δ": window[-1],
        "first G": gap[0],
        "last G": gap[-1],
    }
    if trend is not None:
        numbers |= {"exponent h": trend.h, "floor b": trend.b}
    stopped = f"the rule stops after {n_stop} residuals" if n_stop else "the rule does not stop"
    if len(window) == 1:
        alt = f"One residual, {window[0]:.3g}: too few for a trend; {stopped}. The gap is {gap[0]:.3g}."
    else:
        alt = (
            f"Residual memory goes from {window[0]:.3g} to {window[-1]:.3g} in {len(window)} blocks; "
            f"{stopped}; the gap between the models goes from {gap[0]:.3g} to {gap[-1]:.3g}."
        )
    return View(styled(figure, 330), alt, numbers | {"stop at n": n_stop or "never"})


@check.arguments
def progress_view(progress: Progress, rule: TrendRule) -> View:
    """For a panel: the residuals as far as they are known, and before that the chain."""
    known = [info for _, info in progress.infos if "residual" in info]
    if not known or not known[-1]["window"]:
        done = len(known)
        alt = f"No residual to test yet; {amount(done, 'block')} retrained."
        return View(_bare(done), alt, {"blocks retrained": done})
    window, B = known[-1]["window"], known[-1]["blocks"]
    gaps = [info["gap"] for info in known][-len(window) :]
    view = residual_chart(window, gaps, rule)
    numbers = {"blocks retrained": len(known), "speed-up in blocks": B / len(known)}
    return view._replace(numbers={**numbers, **view.numbers})


@check.arguments
def tradeoff_chart(
    epsilons: Sequence[float],
    speedups: Sequence[float],
    accuracies: Sequence[float],
    references: Mapping[str, float],
    chosen: float | None = None,
) -> View:
    """Speed-up in blocks, and test accuracy of the stitched model, against epsilon.

    Args:
        epsilons: increasing, > 0.
        speedups: of the stop that each epsilon gives.
        accuracies: test accuracy of the model stitched there, in [0, 1].
        references: test accuracy by role, drawn as lines.
        chosen: an epsilon to mark.
    """
    figure = make_subplots(1, 2, subplot_titles=["speed-up, in blocks", "test accuracy"])
    figure.add_scatter(
        x=epsilons,
        y=speedups,
        name="stitched",
        showlegend=False,
        **style("unlearned", "lines+markers"),
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=epsilons, y=accuracies, name="stitched", **style("unlearned", "lines+markers"), row=1, col=2
    )
    for role, value in references.items():
        line = {"x": [epsilons[0], epsilons[-1]], "y": [value] * 2}
        figure.add_scatter(**line, name=role, **style(role, "lines+markers"), row=1, col=2)
    if chosen is not None:
        for column, top in (
            (1, [0, max(speedups)]),
            (2, accuracy_range([*accuracies, *references.values()])),
        ):
            figure.add_scatter(
                x=[chosen] * 2,
                y=top,
                name="epsilon",
                showlegend=column == 1,
                **style("neutral", "lines", dash="dot"),
                row=1,
                col=column,
            )
    figure.update_xaxes(title="epsilon", type="log", tickvals=log_ticks(epsilons), exponentformat="none")
    figure.update_yaxes(
        tickformat=".1%", range=accuracy_range([*accuracies, *references.values()]), row=1, col=2
    )
    alt = (
        f"Over epsilon from {epsilons[0]:.2g} to {epsilons[-1]:.2g} the speed-up goes from "
        f"{speedups[0]:.1f} to {speedups[-1]:.1f} and test accuracy from {accuracies[0]:.1%} to "
        f"{accuracies[-1]:.1%}."
    )
    return View(styled(figure, 320), alt)


@check.arguments
def reshuffle_chart(same: Sequence[float], shuffled: Sequence[float]) -> View:
    """Residual memory when untouched blocks repeat their order, and when they are shuffled anew."""
    figure = go.Figure()
    x = np.arange(1, len(same) + 1)
    figure.add_scatter(x=x, y=same, name="same order", **style("unlearned", "lines+markers"))
    figure.add_scatter(x=x, y=shuffled, name="shuffled anew", **style("control", "lines+markers"))
    figure.update_xaxes(title="blocks since the deletion, n")
    figure.update_yaxes(title="residual memory Δ", range=[0, 1.08 * max([*same, *shuffled])])
    late = [float(np.mean(values[-5:])) for values in (same, shuffled)]
    alt = (
        f"With the same order the residual goes from {same[0]:.3g} to about {late[0]:.3g}; "
        f"shuffled anew it ends at about {late[1]:.3g}."
    )
    return View(styled(figure, 310), alt, {"late Δ, same order": late[0], "late Δ, shuffled": late[1]})


@check.arguments
def distance_chart(t: Sequence[int], distances: Sequence[float], untouched: float) -> View:
    """L2 distance of the stitched model to the retrained one, with the untouched model as the reference."""
    figure = go.Figure()
    figure.add_scatter(
        x=t, y=distances, name="stitched after t more blocks", **style("unlearned", "lines+markers")
    )
    line = {"x": [t[0], t[-1]], "y": [untouched] * 2}
    figure.add_scatter(**line, name="original, nothing done", **style("original", "lines+markers"))
    figure.update_xaxes(title="affected blocks retrained, t")
    figure.update_yaxes(title="distance to retrained, L2", range=[0, 1.08 * max([*distances, untouched])])
    alt = (
        f"The distance to the retrained model goes from {distances[0]:.3g} with no further block retrained "
        f"to {distances[-1]:.3g} at the end of the chain; the original is at {untouched:.3g}."
    )
    return View(styled(figure, 310), alt, {"t = 0": distances[0], "original": untouched})


@check.arguments
def backdoor_chart(t: Sequence[int], success: Sequence[float], references: Mapping[str, float]) -> View:
    """Backdoor success of the stitched model for every stop, beside that of other models.

    Args:
        t: affected blocks retrained.
        success: of the model stitched there, in [0, 1].
        references: success by name; a name that is a role takes its color.
    """
    names = [*references, *(f"stitched, t = {i}" for i in t)]
    values = [*references.values(), *success]
    figure = go.Figure()
    roles = {name: name for name in references if name in ROLES}
    for role in ("unlearned", "retrained", "original", "forget"):  # drawn from the bottom up
        mine = [n for n in names if roles.get(n, "forget" if n in references else "unlearned") == role][::-1]
        figure.add_bar(
            y=mine,
            x=[values[names.index(n)] for n in mine],
            text=[f"{values[names.index(n)]:.0%}" for n in mine],
            textposition="outside",  # or plotly hides the text of an empty bar
            orientation="h",
            name={"forget": "inside the chain"}.get(role, role),
            marker={"color": ROLES[role].color},
        )
    figure.update_xaxes(title="backdoor success on test images", range=[0, 1.1], tickformat=".0%")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    figure.update_layout(barmode="overlay", legend_traceorder="reversed")
    alt = "Backdoor success: " + ", ".join(f"{n} {v:.0%}" for n, v in zip(names, values, strict=True)) + "."
    return View(styled(figure, 130 + 26 * len(names)), alt)


@check.arguments
def dfa_chart(window: Sequence[float]) -> View:
    """Detrended fluctuation analysis of the residuals: log F(s) against log s; the line's slope is h."""
    sizes, fluctuation = dfa_points(window)
    figure = go.Figure()
    figure.add_scatter(x=sizes, y=fluctuation, name="F(s)", **style("unlearned", "markers"))
    h = dfa(window)
    if np.isfinite(h):
        shift = np.exp(np.mean(np.log(fluctuation) - h * np.log(sizes)))
        figure.add_scatter(
            x=sizes, y=shift * sizes**h, name=f"slope h = {h:.2f}", **style("original", "lines")
        )
    figure.update_xaxes(title="window size s", type="log", tickvals=sizes.tolist())
    figure.update_yaxes(title="fluctuation F(s)", type="log", exponentformat="power")
    seen = amount(len(window), "residual")
    alt = f"Fluctuation against window size for {seen}; the slope gives h = {h:.2f}."
    return View(styled(figure, 310), alt, {"residuals": len(window), "h by DFA": h})


def _bare(done: int) -> go.Figure:
    """An empty residual chart, for a run that has not reached the last block touched."""
    figure = go.Figure(
        go.Scatter(x=[0, max(done, 1)], y=[0, 0], showlegend=False, **style("unlearned", "lines"))
    )
    figure.update_xaxes(title="blocks retrained")
    figure.update_yaxes(title="residual memory Δ", range=[0, 1])
    return styled(figure, 330)
