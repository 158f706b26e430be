"""How every figure looks. One palette for the whole package: Okabe and Ito's, safe for the color-blind.

A role has one color in every lesson, and never color alone: marker and line style differ too. Figures are
opaque white, so that they stay legible in JupyterLab's dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearn_lib import check

__all__ = ["ROLES", "Role", "accuracy_range", "log_ticks", "style"]


class Role(NamedTuple):
    """How a role looks: color, marker (matplotlib and plotly), line style (likewise)."""

    color: str
    marker: str
    symbol: str
    line: str
    dash: str


class Roles(dict[str, Role]):
    """Roles by name; an unknown one is refused with a list of the known ones."""

    def __missing__(self, name: str) -> Role:
        raise ValueError(f"`role` must be one of {', '.join(self)}; got {name!r}.")


ROLES = Roles(
    {
        "original": Role("#0072B2", "o", "circle", "-", "solid"),  # blue
        "retrained": Role("#009E73", "s", "square", "--", "dash"),  # green: the reference
        "unlearned": Role("#D55E00", "D", "diamond", "-", "solid"),  # vermilion
        "control": Role("#CC79A7", "^", "triangle-up", ":", "dot"),  # purple: baselines and controls
        "forget": Role("#E69F00", "v", "triangle-down", "-.", "dashdot"),  # orange
        "retain": Role("#56B4E9", "P", "cross", "-", "solid"),  # sky blue
        "neutral": Role("#000000", "x", "x", "-", "solid"),
    }
)


@check.arguments
def style(role: str, mode: str, *, dash: str | None = None) -> dict[str, object]:
    """Color, marker and dash of a role, for a scatter trace."""
    look = ROLES[role]
    return {
        "mode": mode,
        "line": {"color": look.color, "dash": dash or look.dash, "width": 2},
        "marker": {"color": look.color, "symbol": look.symbol, "size": 7},
    }


@check.arguments
def log_ticks(values: Sequence[float]) -> list[float]:
    """Powers of ten among the values, or 1, 2, 5 and so on where that gives fewer than two."""
    found = [v for v in values if 0 < v < np.inf]  # nor NaN
    if not found:
        return []
    low, high = min(found), max(found)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ([1], [1, 2, 5]):
        ticks = [float(f"{m}e{k}") for k in decades for m in steps if low <= float(f"{m}e{k}") <= high]
        if len(ticks) >= 2:
            break
    return ticks or [low]


@check.arguments
def accuracy_range(values: Sequence[float]) -> list[float]:
    """The ends of an axis that shows differences of a point but never makes small ones look large."""
    if not values:
        raise ValueError("`values` must hold at least one accuracy; got none.")
    low, high = min(values), max(values)
    room = max(0.02, 0.4 * (high - low))
    return [max(0.0, low - room), min(1.02, high + room)]
