"""The scripts and styles of the widgets, as text; they are files in ``static/``."""

from __future__ import annotations

from pathlib import Path

from unlearn_lib import check

__all__ = ["asset"]

STATIC = Path(__file__).with_name("static")


@check.arguments
def asset(name: str) -> str:
    """The text of a script or a style sheet.

    A widget takes the text rather than the path, which anywidget would watch for changes while Python runs.

    Raises:
        ValueError: there is no file of that name.
    """
    known = sorted(path.name for path in STATIC.iterdir())
    return (STATIC / check.choice("name", name, known)).read_text(encoding="utf-8")
