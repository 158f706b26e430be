"""Where the lessons lie: in a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
MANIFEST = ".unlearn-lessons.json"  # in a learner's copy of the lessons


def checkout() -> Path | None:
    """The folder of the checkout that the package is imported from, or None where it is installed."""
    root = PACKAGE.parent
    return root if (root / "notebooks/src").is_dir() and (root / "pyproject.toml").is_file() else None


def source() -> Path:
    """The folder of the notebooks as they are published: `notebooks` of the checkout, or data of the package.

    It holds those of the learner; its folder `solutions` holds the solved ones.
    """
    root = checkout()
    return root / "notebooks" if root else PACKAGE / "notebooks"


def notebooks() -> Path:
    """The folder of the notebooks to run: the current one if it is a learner's copy, else `source()`."""
    return Path.cwd() if in_a_copy() else source()


def build() -> Path:
    """The folder for what is made: `build` in the checkout, or in the current folder."""
    root = checkout()
    return (Path() if in_a_copy() or not root else root) / "build"


def in_a_copy() -> bool:
    """Whether the current folder is a learner's copy."""
    return Path(MANIFEST).is_file()
