"""The versions behind a result: what the environment check, a lesson's first cell and a report all name."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions", "versions_in_words"]

BRIEF = ("unlearn-lessons", "python", "torch", "numpy", "plotly", "ipywidgets", "jupyterlab")
PACKAGES = (
    *("unlearn-lessons", "torch", "torchvision", "numpy", "scikit-learn", "matplotlib", "plotly"),
    *("ipywidgets", "anywidget", "ipykernel", "jupyterlab", "papermill", "nbclient", "nbconvert"),
)


def versions() -> dict[str, str | None]:
    """Python, the system, and the packages that numbers and panels depend on; None if missing."""
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def versions_in_words() -> str:
    """The ones that matter most, in one line."""
    found = versions()
    return ", ".join(f"{name} {found[name] or 'missing'}" for name in BRIEF)
