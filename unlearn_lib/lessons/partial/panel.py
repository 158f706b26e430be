"""The controls of lesson 03's panels: what of the log is undone, and the three methods."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import choice, number, several, whole
from unlearn_lib.data import Dataset, Examples, Split

__all__ = [
    "AMNESIAC",
    "FLIP",
    "PACKED",
    "first_of_class",
    "partial_controls",
    "shares_of",
    "undo_controls",
    "unused_by_method",
]

AMNESIAC, FLIP, ASCENT = "partial amnesiac", "label flipping", "ascent"
PACKED, SHUFFLED = "packed", "shuffled"
RULES = [("largest", "magnitude"), ("random", "random"), ("one budget", "global")]
SELECT = [("largest", "magnitude"), ("random", "stochastic"), ("window", "sequential"), ("fixed", "fixed")]
OF_THE_LOG, OF_THE_STEPS = {"layout", "batches", "rule"}, {"select", "rate", "steps", "lambda_r"}


@check.arguments
def undo_controls(keep: float, layers: Sequence[str], batches: int) -> dict[str, Any]:
    """How much of each layer is undone, and of how many batches.

    Args:
        keep: the kept share.
        layers: their names.
        batches: how many can be undone.
    """
    return {
        "keep": number("Kept share", keep, 0.0, 1.0),
        "rule": choice("Rule", RULES),
        "layers": several("Layers that are on", layers, layers),
        "layer": choice("A share of its own for", ["no layer", *layers]),
        "own": number("its share", 1.0, 0.0, 1.0),
        "batches": whole("Batches undone", batches, 1, batches),
        "show": choice("Show", ["accuracy by class", "one update"]),
    }


@check.arguments
def shares_of(v: SimpleNamespace, layers: Sequence[str]) -> float | dict[str, float]:
    """What the controls say: one share for all layers, or one for each that is on."""
    chosen = {name: v.own if name == v.layer else v.keep for name in layers if name in v.layers}
    return v.keep if set(chosen.values()) == {v.keep} and len(chosen) == len(layers) else chosen


@check.arguments
def partial_controls(
    data: Dataset, forget_class: int, count: int, keep: float, *, batches: int, most_batches: int
) -> dict[str, Any]:
    """Amnesiac unlearning, label flipping and ascent; each leaves some controls unused.

    Args:
        data: names of classes.
        forget_class: the class that is chosen at first.
        count: of its samples, all.
        keep: the kept share.
        batches: in which the class is packed.
        most_batches: of an epoch.
    """
    return {
        "how": choice("Method", [AMNESIAC, FLIP, ASCENT]),
        "label": choice("Class", [(name, k) for k, name in enumerate(data.classes)], forget_class),
        "count": whole("Samples of it", count, 1, count),
        "keep": number("Kept share", keep, 0.0, 1.0),
        "optimizer": choice("Optimizer", [("Adam", "adam"), ("SGD", "sgd")]),
        "layout": choice("Layout (amnesiac)", [PACKED, SHUFFLED]),
        "batches": whole("packed in batches", batches, 1, most_batches),
        "rule": choice("Rule (amnesiac)", RULES),
        "select": choice("Rule (steps)", SELECT),
        "rate": number("Learning rate (steps)", 0.001, 1e-6, 1.0),
        "steps": whole("Steps", 40, 1, 500),
        "lambda_r": number("Weight of retained data", 0.0, 0.0, 10.0),
    }


@check.arguments
def unused_by_method(v: SimpleNamespace) -> set[str]:
    """Controls that do nothing with these choices."""
    if v.how != AMNESIAC:
        return OF_THE_LOG
    return OF_THE_STEPS | ({"batches"} if v.layout == SHUFFLED else set())


@check.arguments
def first_of_class(v: SimpleNamespace, train: Examples) -> Split:
    """The split chosen with the controls: a class, or its first samples."""
    whole_class = Split.by_class(train, v.label)
    mine = whole_class.forget.ids
    return whole_class if v.count >= len(mine) else Split.by_ids(train, mine[: v.count])
