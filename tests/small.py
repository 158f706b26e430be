"""The lessons at a size that takes seconds: all that they show is there, but nothing is forgotten well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn_lib.lessons.every import LESSONS


def at_quick(master: Path, *, verdict: bool = False) -> str:
    """A master's text at preset quick; without `verdict` it lacks its last cell, which asserts."""
    text = master.read_text(encoding="utf-8").replace('= "lesson"  #', '= "quick"  #')
    return text if verdict else text.split('# %% tags=["ci-assert"]')[0]


def shrink(put: Callable[[Any, str, Any], None] = dict.__setitem__) -> None:
    """From now on, in this process, preset quick on the digits is small in every lesson.

    Args:
        put: puts a value into a dictionary; that of pytest's monkeypatch takes it back later.
    """
    for lesson in LESSONS.values():
        put(lesson.sizes, "digits", replace(lesson.sizes["digits"], quick=lesson.small))
