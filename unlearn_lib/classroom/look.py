"""Pure figure functions, and the one palette of the package: Okabe and Ito's, safe for the color-blind.

One color per role in every lesson, and never color alone: marker and line style differ too. Figures are
opaque white, so that they are legible in JupyterLab's dark theme as well.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROLES", "Role"]


class Role(NamedTuple):
    """How a role looks: color, marker (matplotlib and plotly), line style (likewise)."""

    color: str
    marker: str
    symbol: str
    line: str
    dash: str


class Roles(dict[str, Role]):
    """Roles by name; one that nobody knows is refused with those that there are."""

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
