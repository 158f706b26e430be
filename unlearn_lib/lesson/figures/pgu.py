"""Pictures of lesson 04: the toy, spectra and their cut, angles, what survives, curves, what goes wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib.lesson.charts import View, styled
from unlearn_lib.lesson.figures.deepobliviate import style
from unlearn_lib.lesson.plots import ROLES
from unlearn_lib.lesson.progress import Progress

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

COLUMNS = 4  # more layers than these are not legible side by side


def a_few(names: Sequence[str]) -> list[str]:
    """At most four of these layers, from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(COLUMNS, len(names)))
    return [names[round(float(i))] for i in places]


# The toy ------------------------------------------------------------------------------------------------


def toy_chart(
    retained: np.ndarray,
    forget: np.ndarray,
    G: np.ndarray,
    kept: np.ndarray,
    outputs: Mapping[str, np.ndarray],
) -> View:
    """One linear layer with two inputs: the arrows G, GP and G - GP; and where the step moves the outputs.

    Args:
        retained: inputs [n, 2].
        forget: inputs [m, 2].
        G: the gradient of one row of the weight, [2].
        kept: what the projection leaves of it, [2].
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
        ("G P: retained points would notice, dropped", "control", 0 * G, dropped),
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
    figure.update_xaxes(title="number of the point; the last are to forget", row=1, col=2)
    figure.update_yaxes(title="logit of class 1 − logit of class 0", row=1, col=2)
    moved = {
        part: float(np.linalg.norm(outputs[f"{part} after"] - outputs[f"{part} before"], axis=1).max())
        for part in ("retained", "forget")
    }
    share = float(np.linalg.norm(kept)) / max(float(np.linalg.norm(G)), 1e-12)
    alt = (
        f"Retained inputs lie along a line, those to forget beside it. The projection keeps {share:.0%} of "
        f"the gradient's length. Retained outputs move by at most {moved['retained']:.2g}, forgotten ones by "
        f"up to {moved['forget']:.2g}."
    )
    numbers = {
        "share of G that survives, ρ": share,
        "largest move of a retained output": moved["retained"],
        "largest move of a forgotten output": moved["forget"],
    }
    return View(styled(figure, 430), alt, numbers)


def _points(points: np.ndarray) -> dict[str, list[float]]:
    return {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()}


def _arrow(start: np.ndarray, tip: np.ndarray) -> dict[str, list[float]]:
    """A line with a head, as one polyline: both ways of drawing know those."""
    along = start - tip
    length = float(np.linalg.norm(along))
    unit = along / max(length, 1e-12)
    side = np.array([-unit[1], unit[0]])
    head = min(0.2, 0.5 * length)
    return _points(
        np.stack([start, tip, tip + head * (unit + 0.5 * side), tip, tip + head * (unit - 0.5 * side)])
    )


# Geometry, layer by layer -------------------------------------------------------------------------------


def _by_layer(titles: Sequence[str], *, shared: bool = True) -> go.Figure:
    return make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.05, shared_yaxes=shared)


def _whole(n: int) -> list[int]:
    """A few whole numbers up to n, for an axis that counts."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if n <= 4 * s or s == 5000)
    return list(range(step, n + 1, step))


def spectra_chart(sigmas: Mapping[str, Mapping[str, np.ndarray]], ranks: Mapping[str, int]) -> View:
    """Singular values of the inputs of every layer: of all data, the retained and the forgotten ones.

    Args:
        sigmas: by layer, then by "full", "retained" and "forget": descending, >= 0.
        ranks: by layer, the number of directions that are protected.
    """
    figure = _by_layer(list(sigmas), shared=False)
    for column, (layer, parts) in enumerate(sigmas.items(), 1):
        _spectrum(figure, parts, ranks[layer], column, legend=column == 1)
        figure.update_xaxes(tickvals=_whole(len(parts["full"])), row=1, col=column)
    figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    figure.update_xaxes(title="direction")
    figure.update_yaxes(title="singular value σ", col=1)
    words = "; ".join(f"{name}: {ranks[name]} of {len(parts['full'])}" for name, parts in sigmas.items())
    alt = f"Singular values of the inputs, falling with the direction; protected directions are, {words}."
    return View(styled(figure, 330), alt, {f"protected, {n}": ranks[n] for n in sigmas})


def _spectrum(
    figure: go.Figure, parts: Mapping[str, np.ndarray], rank: int, column: int, *, legend: bool
) -> None:
    top = max(float(values[0]) for values in parts.values())
    low = min(float(values[values > 1e-3 * top].min()) for values in parts.values())
    looks = {
        "full": ("all data", "original"),
        "retained": ("retained", "retain"),
        "forget": ("to forget", "forget"),
    }
    for part, values in parts.items():
        name, role = looks[part]
        shown = values[values >= low]
        figure.add_scatter(
            x=list(range(1, len(shown) + 1)),
            y=shown.tolist(),
            name=name,
            showlegend=legend,
            legendgroup=part,
            **style(role, "lines"),
            row=1,
            col=column,
        )
    line = {"x": [rank, rank], "y": [low, top], "name": "cut k", "showlegend": legend, "legendgroup": "cut"}
    figure.add_scatter(**line, **style("neutral", "lines", dash="dot"), row=1, col=column)


def cumulative_chart(
    shares: Mapping[str, Mapping[str, np.ndarray]], ranks: Mapping[str, Mapping[str, int]], energy: float
) -> View:
    """Cumulative fraction of sigma and of sigma squared for every layer, and the rank that each rule gives.

    Args:
        shares: by layer, then by rule: fraction of the first k directions, k = 1 ... D.
        ranks: by layer, then by rule: k.
        energy: the level gamma in [0, 1].
    """
    titles = [
        f"{n}<br>k = {ranks[n]['sigma']} or {ranks[n]['sigma2']} of {len(shares[n]['sigma'])}" for n in shares
    ]
    figure = _by_layer(titles)
    for column, (layer, rules) in enumerate(shares.items(), 1):
        _fractions(figure, rules, ranks[layer], energy, column, legend=column == 1)
    figure.update_xaxes(title="share of directions, k / D", range=[0, 1.03])
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    figure.update_yaxes(title="cumulative fraction", col=1)
    words = "; ".join(f"{n}: {k['sigma']} by σ, {k['sigma2']} by σ²" for n, k in ranks.items() if n in shares)
    alt = f"At level {energy:g} the rules protect so many directions, {words}."
    numbers = {f"{n}, {rule}": k for n in shares for rule, k in ranks[n].items()}
    return View(styled(figure, 370).update_layout(margin_t=100, legend_y=1.24), alt, numbers)


def _fractions(
    figure: go.Figure,
    rules: Mapping[str, np.ndarray],
    ranks: Mapping[str, int],
    energy: float,
    column: int,
    *,
    legend: bool,
) -> None:
    for rule, role, sign in (("sigma", "unlearned", "σ (PGU)"), ("sigma2", "control", "σ² (GPM)")):
        share, k = rules[rule], ranks[rule]
        figure.add_scatter(
            x=(np.arange(1, len(share) + 1) / len(share)).tolist(),
            y=share.tolist(),
            name=f"fraction of {sign}",
            legendgroup=rule,
            showlegend=legend,
            **style(role, "lines"),
            row=1,
            col=column,
        )
        cut = {"x": [k / len(share)], "y": [float(share[k - 1]) if k else 0.0], "showlegend": False}
        figure.add_scatter(**cut, name=f"k by {sign}", **style(role, "markers"), row=1, col=column)
    level = {"x": [0, 1], "y": [energy] * 2, "name": "level γ", "legendgroup": "level", "showlegend": legend}
    figure.add_scatter(**level, **style("neutral", "lines", dash="dot"), row=1, col=column)


def angles_chart(angles: Mapping[str, np.ndarray]) -> View:
    """Principal angles between the protected and the forgotten inputs' directions, in degrees, by layer."""
    figure = _by_layer(list(angles))
    for column, values in enumerate(angles.values(), 1):
        x = list(range(1, len(values) + 1))
        figure.add_scatter(
            x=x, y=values.tolist(), showlegend=False, **style("forget", "lines+markers"), row=1, col=column
        )
        figure.update_xaxes(tickvals=_whole(len(x)), row=1, col=column)
    figure.update_xaxes(title="number of the angle")
    figure.update_yaxes(range=[-3, 93], tickvals=[0, 30, 60, 90])
    figure.update_yaxes(title="principal angle, degrees", col=1)
    largest = {n: float(v.max()) if len(v) else 0.0 for n, v in angles.items()}
    words = ", ".join(f"{n} {v:.0f}°" for n, v in largest.items())
    alt = f"Principal angles between forgotten and retained directions; the largest are {words}."
    return View(styled(figure, 300), alt, {f"largest angle, {n}": v for n, v in largest.items()})


def survival_chart(survival: Mapping[str, Sequence[float]], unit: str = "epoch") -> View:
    """rho, the share of the update's length that the projection leaves, by layer, over the run."""
    figure = _by_layer(list(survival))
    for column, values in enumerate(survival.values(), 1):
        x = list(range(1, len(values) + 1))
        figure.add_scatter(
            x=x, y=list(values), showlegend=False, **style("unlearned", "lines+markers"), row=1, col=column
        )
        figure.update_xaxes(tickvals=_whole(len(x)), row=1, col=column)
    figure.update_xaxes(title=unit)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    figure.update_yaxes(title="share that survives, ρ", col=1)
    means = {n: float(np.mean(v)) if len(v) else 0.0 for n, v in survival.items()}
    words = ", ".join(f"{n} {v:.0%}" for n, v in means.items())
    alt = f"Share of the update that survives the projection, mean over the run: {words}."
    return View(styled(figure, 290), alt, {f"survives, {n}": f"{v:.0%}" for n, v in means.items()})


def layer_chart(
    sigmas: Mapping[str, np.ndarray],
    shares: Mapping[str, np.ndarray],
    ranks: Mapping[str, int],
    rule: str,
    energy: float,
    room: Mapping[str, np.ndarray],
    angles: np.ndarray,
) -> View:
    """One layer: spectrum with its cut, the fractions, what the cut leaves to move, and the angles.

    Args:
        sigmas: as in `spectra_chart`, for one layer.
        shares: as in `cumulative_chart`.
        ranks: likewise.
        rule: the one that cuts.
        energy: gamma.
        room: for k = 0 ... D: "forget energy outside", "update that survives" and "retained energy outside",
            shares in [0, 1].
        angles: at the cut, in degrees.
    """
    k, D = ranks[rule], len(shares["sigma"])
    titles = ["singular values", "cumulative fraction", "outside the protected space", "principal angles"]
    figure = _by_layer(titles, shared=False)
    _spectrum(figure, sigmas, k, 1, legend=True)
    _fractions(figure, shares, ranks, energy, 2, legend=True)
    looks = zip(room.items(), ("forget", "unlearned", "retain"), strict=True)
    for (name, values), role in looks:
        x = (np.arange(D + 1) / D).tolist()
        figure.add_scatter(x=x, y=values.tolist(), name=name, **style(role, "lines"), row=1, col=3)
    cut = {"x": [k / D] * 2, "y": [0, 1], "showlegend": False}
    figure.add_scatter(**cut, **style("neutral", "lines", dash="dot"), row=1, col=3)
    x = list(range(1, len(angles) + 1))
    figure.add_scatter(
        x=x, y=angles.tolist(), showlegend=False, **style("forget", "lines+markers"), row=1, col=4
    )
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, row=1, col=1)
    figure.update_xaxes(title="direction", tickvals=_whole(D), row=1, col=1)
    for column in (2, 3):
        figure.update_xaxes(title="k / D", range=[0, 1.03], row=1, col=column)
        figure.update_yaxes(range=[0, 1.05], tickformat=".0%", row=1, col=column)
    figure.update_xaxes(title="number of the angle", tickvals=_whole(len(angles)), row=1, col=4)
    figure.update_yaxes(range=[-3, 93], tickvals=[0, 30, 60, 90], title="degrees", row=1, col=4)
    numbers: dict[str, object] = {"protected directions k": f"{k} of {D}"}
    numbers |= {name: f"{values[k]:.1%}" for name, values in room.items()}
    numbers |= {"largest angle, degrees": float(angles.max()) if len(angles) else "no angle"}
    alt = (
        f"{k} of {D} directions are protected; " + ", ".join(f"{n} {v[k]:.1%}" for n, v in room.items()) + "."
    )
    return View(styled(figure, 400).update_layout(margin_t=120, legend_y=1.16), alt, numbers)


# Runs ---------------------------------------------------------------------------------------------------


def curves_chart(rows: Mapping[str, Sequence[Mapping[str, float]]], stops: Mapping[str, int | None]) -> View:
    """Forget and retain accuracy and the drift of retained outputs over the epochs, by way of doing it.

    Args:
        rows: by name ("with projection", "without projection"), a row an epoch from 0 on: "forget",
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


def controls_chart(results: Mapping[str, Mapping[str, float]]) -> View:
    """Forget and retain accuracy of the method, its controls and the references, each when it stopped.

    Args:
        results: by name, "forget" and "retain" in [0, 1]; empty where the weights exploded.
    """
    names = list(results)[::-1]
    figure = make_subplots(
        1,
        2,
        shared_yaxes=True,
        subplot_titles=["forget accuracy", "retain accuracy"],
        horizontal_spacing=0.04,
    )
    for column, (measure, role) in enumerate((("forget", "forget"), ("retain", "retain")), 1):
        values = [results[n].get(measure) for n in names]
        figure.add_bar(
            x=[v or 0.0 for v in values],
            y=names,
            orientation="h",
            text=["exploded" if v is None else f"{v:.1%}" for v in values],
            textposition="outside",
            marker={"color": ROLES[role].color, "pattern": {"shape": "/" if column == 1 else ""}},
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_xaxes(range=[0, 1.15], tickformat=".0%", tickvals=[0, 0.5, 1])
    figure.update_yaxes(automargin=True)
    words = "; ".join(
        f"{n}: forget {r['forget']:.1%}, retain {r['retain']:.1%}" if r else f"{n}: exploded"
        for n, r in results.items()
    )
    return View(styled(figure, 120 + 32 * len(names)), f"Accuracy when each run stopped, {words}.")


def drift_chart(drifts: Mapping[str, Mapping[str, float]]) -> View:
    """Largest change of an output, of protected and of forgotten samples, for every way to break the rules.

    Args:
        drifts: by what was let loose, then by "protected" and "forget": > 0.
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
    figure.update_xaxes(title="what may move besides the projected weights")
    words = "; ".join(
        f"{n}: protected {r['protected']:.2g}, forgotten {r['forget']:.2g}" for n, r in drifts.items()
    )
    return View(styled(figure, 360), f"Largest change of a logit, {words}.")


def progress_view(progress: Progress) -> View:
    """For a panel: the share of every update that survives, as far as the run has come."""
    known = [info["survival"] for _, info in progress.infos if "survival" in info]
    if not known:
        figure = go.Figure(go.Scatter(x=[0], y=[0], showlegend=False, **style("unlearned", "markers")))
        return View(
            styled(figure, 290), "No step was made yet, so there is no update to project.", {"steps": 0}
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


def loss_chart(offset: float) -> View:
    """The forgetting loss, gradient ascent, and the unbounded -log(1 - p): values, and slopes in the logit.

    d L / d z_y:  bounded p (1 - p) / (1 + o - p),  ascent 1 - p,  unbounded p.
    """
    p = np.linspace(0.001, 0.999, 400)
    curves = {
        f"−log(1 − (p − {offset:g})), PGU": (
            -np.log1p(offset - p),
            p * (1 - p) / (1 + offset - p),
            "unlearned",
        ),
        "log p, gradient ascent": (np.log(p), 1 - p, "control"),
        "−log(1 − p), unbounded": (-np.log1p(-p), p, "neutral"),
    }
    figure = make_subplots(1, 2, subplot_titles=["loss", "push on the label's logit"], horizontal_spacing=0.1)
    for name, (value, slope, role) in curves.items():
        for column, y in enumerate((value, slope), 1):
            figure.add_scatter(
                x=p.tolist(),
                y=y.tolist(),
                name=name,
                showlegend=column == 1,
                **style(role, "lines"),
                row=1,
                col=column,
            )
    figure.update_xaxes(title="probability p of the label")
    figure.update_yaxes(title="nats", range=[-7, 7], row=1, col=1)
    figure.update_yaxes(range=[0, 1.05], row=1, col=2)
    alt = (
        "Losses over the probability of the label. Near one, where samples are memorized, gradient ascent "
        "pushes least; near zero, where they are forgotten, it pushes most. The bounded loss lets go at both "
        "ends, but much closer to one."
    )
    return View(styled(figure, 330), alt)


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
    figure.update_xaxes(title="log entropy of the output (below −8 counts as −8)")
    figure.update_yaxes(title="share of forgotten samples", tickformat=".0%")
    medians = {role: float(np.median(values)) for role, values in log_entropies.items()}
    words = ", ".join(f"{role} {v:.2f}" for role, v in medians.items())
    alt = f"Histograms of log entropy on the forget set; medians: {words}; a uniform output has {high:.2f}."
    return View(styled(figure, 320), alt, {f"median, {role}": v for role, v in medians.items()})


def membership_chart(scores: Mapping[str, tuple[float, float]], retain: Mapping[str, float]) -> View:
    """AUC of the loss attack on forgotten samples, and what each model kept.

    Args:
        scores: by model, AUC and its standard error under chance.
        retain: by model, retain accuracy.
    """
    names = list(scores)[::-1]
    figure = make_subplots(
        1, 2, shared_yaxes=True, horizontal_spacing=0.05,
        subplot_titles=["loss attack, AUC (½: nothing to see)", "retain accuracy"],
    )  # fmt: skip
    for column, values in enumerate(([scores[n][0] for n in names], [retain[n] for n in names]), 1):
        for name, value in zip(names, values, strict=True):
            figure.add_bar(
                x=[value],
                y=[name],
                text=[f"{value:.2f}" if column == 1 else f"{value:.1%}"],
                textposition="outside",
                orientation="h",
                marker={"color": ROLES[_role(name)].color},
                showlegend=False,
                row=1,
                col=column,
            )
    line = {"x": [0.5, 0.5], "y": [names[0], names[-1]], "name": "chance"}
    figure.add_scatter(**line, **style("neutral", "lines", dash="dot"), row=1, col=1)
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(categoryorder="array", categoryarray=names, automargin=True)
    figure.update_xaxes(range=[0, 1.15], tickvals=[0, 0.5, 1])
    figure.update_xaxes(tickformat=".0%", row=1, col=2)
    words = "; ".join(f"{n}: AUC {a:.2f} ± {e:.2f}, retain {retain[n]:.1%}" for n, (a, e) in scores.items())
    return View(styled(figure, 120 + 34 * len(names)), f"Loss attack on the forgotten samples, {words}.")


def _role(name: str) -> str:
    """A name's role: itself, or that of a control."""
    return name if name in ROLES else "unlearned" if name.startswith("unlearned") else "control"


def relearn_chart(curves: Mapping[str, Sequence[float]], target: float) -> View:
    """Accuracy on the forgotten class's test images while each model is trained again, batch by batch."""
    figure = go.Figure()
    for role, values in curves.items():
        look = style(role, "lines+markers")
        look["marker"] = {"color": ROLES[role].color, "symbol": ROLES[role].symbol, "maxdisplayed": 25}
        figure.add_scatter(x=list(range(1, len(values) + 1)), y=list(values), name=role, **look)
    end = max(len(values) for values in curves.values())
    goal = {"x": [1, end], "y": [target] * 2, "name": "target"}
    figure.add_scatter(**goal, **style("neutral", "lines", dash="dot"))
    figure.update_xaxes(title="batches of ordinary training on all data")
    figure.update_yaxes(title="accuracy, class forgotten", range=[-0.03, 1.05], tickformat=".0%")
    first = {r: next((i for i, v in enumerate(c, 1) if v >= target), None) for r, c in curves.items()}
    words = ", ".join(f"{r} after {n} batches" if n else f"{r} not within {end}" for r, n in first.items())
    return View(
        styled(figure, 310),
        f"The class is back at the target: {words}.",
        {r: n or "not reached" for r, n in first.items()},
    )
