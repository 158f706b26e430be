"""Where the lessons lie: in a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The folder of the checkout that the package is imported from, or None where it is installed."""
    root = PACKAGE.parent
    return root if (root / "notebooks/src").is_dir() and (root / "pyproject.toml").is_file() else None


def notebooks() -> Path:
    """The folder of the learner's notebooks; its folder `solutions` has the solved ones.

    In a checkout `notebooks`; in an installed package the same files, as its data.
    """
    root = checkout()
    return root / "notebooks" if root else PACKAGE / "notebooks"


def build() -> Path:
    """The folder for what is made: `build` in the checkout, or in the current folder."""
    return (checkout() or Path()) / "build"
