"""The list of all methods in the contest: one file per shelf of `unlearn_lib.methods`, in the tables' order.

A new method adds its file to `ENTRIES`. Everything else follows: `METHODS`, lesson 09's tables, the grids of
`ci/tune_contest.py`, the gallery of failures, the map in lesson 00, and what the tests cover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, ModuleType
from typing import Any

from unlearn_lib import check
from unlearn_lib.contest.entries import (
    amnesiac,
    deepobliviate,
    finetune,
    partial,
    pgu,
    relabel,
    retrain,
    sisa,
    unsir,
)
from unlearn_lib.contest.method import Method, Settings

__all__ = ["ENTRIES", "METHODS", "chart_of_methods", "configured"]

ENTRIES: tuple[ModuleType, ...] = (
    retrain,
    finetune,
    sisa,
    deepobliviate,
    unsir,
    amnesiac,
    partial,
    pgu,
    relabel,
)
METHODS: Mapping[str, Method[Any]] = MappingProxyType(
    {method.name: method for entry in ENTRIES for method in entry.METHODS}
)


def configured(settings: Mapping[str, Settings]) -> dict[str, Method[Any]]:
    """All methods, some of them with settings that are not their defaults.

    Args:
        settings: name of a method -> its settings; a method that is not named keeps its defaults.

    Raises:
        ValueError: there is no such method.
        TypeError: settings of another method.
    """
    for name, given in check.instance("settings", settings, Mapping).items():
        check.choice("settings", name, METHODS)
        check.instance(f"settings[{name!r}]", given, type(METHODS[name].settings))
    return {
        name: replace(method, settings=settings.get(name, method.settings))
        for name, method in METHODS.items()
    }


def chart_of_methods() -> str:
    """The map of lesson 00 in Markdown: what each forgets, stores in advance, reads at the request, costs."""
    lines = ["| lesson | forgets | stores in advance | reads at the request | costs |", "|" + "---|" * 5]
    for entry in ENTRIES:
        number = entry.METHODS[0].lesson[:2]
        for name, *cells in entry.PORTRAITS:
            first = name if number == "00" else f"**{number}** {name}"
            lines.append(f"| {' | '.join([first, *cells])} |")
    return "\n".join(lines)
