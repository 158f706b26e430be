"""Pictures of lesson 04, layer by layer: spectra and their cut, angles, what survives of an update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unlearn_lib import check
from unlearn_lib.classroom.charts import View, styled
from unlearn_lib.classroom.look import log_ticks, style

__all__ = ["a_few", "angles_chart", "cumulative_chart", "layer_chart", "spectra_chart", "survival_chart"]

COLUMNS = 4  # more layers than these are not legible side by side
SPECTRA = {  # name, role and dash
    "full": ("all data", "original", "dash"),
    "retained": ("retained", "retain", "solid"),
    "forget": ("to forget", "forget", "dashdot"),
}
ROOM = (("forget", "dashdot"), ("unlearned", "solid"), ("retain", "dash"))


@check.arguments
def a_few(names: Sequence[str]) -> list[str]:
    """At most four of these layers, from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(COLUMNS, len(names)))
    return [names[round(float(i))] for i in places]


def _by_layer(titles: Sequence[str], *, shared: bool = True) -> go.Figure:
    return make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.05, shared_yaxes=shared)


def _whole(n: int) -> list[int]:
    """A few whole numbers up to n, as ticks of an axis that counts."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if n <= 4 * s or s == 5000)
    return list(range(step, n + 1, step))


@check.arguments
def spectra_chart(sigmas: Mapping[str, Mapping[str, np.ndarray]], ranks: Mapping[str, int]) -> View:
    """Singular values of every layer's inputs: for all data, the retained part and the forgotten part.

    Args:
        sigmas: by layer, then by "full", "retained" and "forget": descending, >= 0.
        ranks: by layer, the number of directions that are protected.
    """
    figure = _by_layer(list(sigmas), shared=False)
    for column, (layer, parts) in enumerate(sigmas.items(), 1):
        _spectrum(figure, parts, ranks[layer], column, legend=column == 1)
    figure.update_xaxes(title="direction")
    figure.update_yaxes(title="singular value σ", col=1)
    words = "; ".join(f"{name}: {ranks[name]} of {len(parts['full'])}" for name, parts in sigmas.items())
    alt = f"Singular values of the inputs in descending order. Protected directions: {words}."
    return View(styled(figure, 330), alt, {f"protected, {n}": ranks[n] for n in sigmas})


def _spectrum(
    figure: go.Figure, parts: Mapping[str, np.ndarray], rank: int, column: int, *, legend: bool
) -> None:
    top = max(float(values[0]) for values in parts.values())
    low = min(float(values[values > 1e-3 * top].min()) for values in parts.values())
    for part, (name, role, dash) in SPECTRA.items():
        y = parts[part][parts[part] >= low].tolist()
        look = {"name": name, "legendgroup": part, "showlegend": legend, **style(role, "lines", dash=dash)}
        figure.add_scatter(x=list(range(1, len(y) + 1)), y=y, **look, row=1, col=column)
    line = {"x": [rank, rank], "y": [low, top], "name": "cut k", "showlegend": legend, "legendgroup": "cut"}
    figure.add_scatter(**line, **style("neutral", "lines", dash="dot"), row=1, col=column)
    figure.update_xaxes(tickvals=_whole(len(parts["full"])), row=1, col=column)
    figure.update_yaxes(type="log", tickvals=log_ticks([low, top]), exponentformat="power", row=1, col=column)


@check.arguments
def cumulative_chart(
    shares: Mapping[str, Mapping[str, np.ndarray]], ranks: Mapping[str, Mapping[str, int]], energy: float
) -> View:
    """Cumulative fractions of sigma and sigma squared for every layer, and the rank that each rule gives.

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
    alt = f"Directions that each rule protects at level {energy:g}: {words}."
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


@check.arguments
def angles_chart(angles: Mapping[str, np.ndarray]) -> View:
    """Principal angles between the protected and the forgotten directions, in degrees, by layer."""
    figure = _by_layer(list(angles))
    for column, values in enumerate(angles.values(), 1):
        _angles(figure, values, column)
    figure.update_yaxes(title="principal angle, degrees", col=1)
    largest = {n: float(v.max()) if len(v) else 0.0 for n, v in angles.items()}
    words = ", ".join(f"{n} {v:.0f}°" for n, v in largest.items())
    alt = f"Principal angles between forgotten and retained directions; the largest are {words}."
    return View(styled(figure, 300), alt, {f"largest angle, {n}": v for n, v in largest.items()})


def _angles(figure: go.Figure, degrees: np.ndarray, column: int) -> None:
    _counted(figure, degrees.tolist(), "forget", column)
    figure.update_xaxes(title="number of the angle", row=1, col=column)
    figure.update_yaxes(range=[-3, 93], tickvals=[0, 30, 60, 90], row=1, col=column)


@check.arguments
def survival_chart(survival: Mapping[str, Sequence[float]], unit: str = "epoch") -> View:
    """rho, the share of each update's length that survives the projection, by layer, over the run."""
    figure = _by_layer(list(survival))
    for column, values in enumerate(survival.values(), 1):
        _counted(figure, values, "unlearned", column)
    figure.update_xaxes(title=unit)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    figure.update_yaxes(title="share that survives, ρ", col=1)
    means = {n: float(np.mean(v)) if len(v) else 0.0 for n, v in survival.items()}
    words = ", ".join(f"{n} {v:.0%}" for n, v in means.items())
    alt = f"Share of each update that survives the projection, averaged over the run: {words}."
    return View(styled(figure, 290), alt, {f"survives, {n}": f"{v:.0%}" for n, v in means.items()})


def _counted(figure: go.Figure, values: Sequence[float], role: str, column: int) -> None:
    """Values over 1, 2, 3, ..."""
    x, look = list(range(1, len(values) + 1)), style(role, "lines+markers")
    figure.add_scatter(x=x, y=list(values), showlegend=False, **look, row=1, col=column)
    figure.update_xaxes(tickvals=_whole(len(x)), row=1, col=column)


@check.arguments
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
    x = (np.arange(D + 1) / D).tolist()
    for (name, values), (role, dash) in zip(room.items(), ROOM, strict=True):
        figure.add_scatter(x=x, y=values.tolist(), name=name, **style(role, "lines", dash=dash), row=1, col=3)
    cut = {"x": [k / D] * 2, "y": [0, 1], "showlegend": False}
    figure.add_scatter(**cut, **style("neutral", "lines", dash="dot"), row=1, col=3)
    _angles(figure, angles, 4)
    figure.update_xaxes(title="direction", row=1, col=1)
    for column in (2, 3):
        figure.update_xaxes(title="k / D", range=[0, 1.03], row=1, col=column)
        figure.update_yaxes(range=[0, 1.05], tickformat=".0%", row=1, col=column)
    figure.update_yaxes(title="degrees", row=1, col=4)
    numbers: dict[str, object] = {"protected directions k": f"{k} of {D}"}
    numbers |= {name: f"{values[k]:.1%}" for name, values in room.items()}
    numbers |= {"largest angle, degrees": float(angles.max()) if len(angles) else "no angle"}
    alt = (
        f"{k} of {D} directions are protected; " + ", ".join(f"{n} {v[k]:.1%}" for n, v in room.items()) + "."
    )
    return View(styled(figure, 400).update_layout(margin_t=120, legend_y=1.16), alt, numbers)
