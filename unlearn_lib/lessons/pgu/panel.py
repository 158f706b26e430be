"""The controls of lesson 04's panels: the toy, one layer at every level, PGU with its stop rule and leaks."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import choice, number, several, whole
from unlearn_lib.data import Dataset

__all__ = ["layer_controls", "levels_of", "pgu_controls", "toy_controls", "unused_by_target"]

RULES = ["sigma", "sigma2"]


@check.arguments
def toy_controls(spread: float) -> dict[str, Any]:
    """The angle and the spread of the points in the plane, this one at first, and the level."""
    return {
        "angle": number("Angle to the line, degrees", 60, 0, 90, 10),
        "spread": number("Spread around the line", spread, 0.0, 1.0, 0.1),
        "gamma": number("Level γ", 0.8, 0.05, 1.0, 0.05),
    }


@check.arguments
def layer_controls(names: Sequence[str], energy: float, rule: str) -> dict[str, Any]:
    """One of these layers, at first the middle one; the level and the rule."""
    return {
        "layer": choice("Layer", names, names[len(names) // 2]),
        "gamma": number("Level γ", energy, 0.05, 1.0, 0.05),
        "rule": choice("Rule", RULES, rule),
    }


@check.arguments
def pgu_controls(
    data: Dataset,
    names: Sequence[str],
    *,
    classes: Sequence[int],
    samples: int,
    energy: float,
    rule: str,
    lr: float,
) -> dict[str, Any]:
    """PGU, from the request to what is let loose.

    Args:
        data: names of classes, and samples.
        names: of the layers.
        classes: those to forget at first.
        samples: how many to forget, if not classes.
        energy: the level of all layers.
        rule: of the ranks.
        lr: learning rate.
    """
    return {
        "target": choice("Forget", ["a class", "samples"]),
        "label": several("Classes", [(name, k) for k, name in enumerate(data.classes)], classes),
        "count": whole("Samples", samples, 1, len(data.train) // 2),
        "energy": number("Level γ", energy, 0.05, 1.0, 0.05),
        "layer": choice("A level of its own for", ["none", *names]),
        "own": number("its level", 1.0, 0.05, 1.0, 0.05),
        "rule": choice("Rule", RULES, rule),
        "offset": number("Offset o", 0.05, 0.0, 0.9, 0.05),
        "entropy": number("Entropy weight w₂", 0.2, 0.0, 5.0, 0.1),
        "lr": number("Learning rate", lr, 0.001, 1.0, 0.01),
        "directions": choice(
            "Projection", [("on", "retained"), ("off", "none"), ("random, same rank", "random")]
        ),
        "loose": several(
            "Let loose",
            [("batch norm statistics", "statistics"), ("batch norm affine", "affine"), ("biases", "bias")],
            [],
        ),
    }


@check.arguments
def unused_by_target(v: SimpleNamespace) -> set[str]:
    """Controls that do nothing with these choices."""
    idle = {"count"} if v.target == "a class" else {"label"}
    if v.directions == "none":
        return idle | {"energy", "layer", "own", "rule"}
    return idle | ({"own"} if v.layer == "none" else set())


@check.arguments
def levels_of(v: SimpleNamespace, names: Sequence[str]) -> dict[str, float]:
    """The level of each of these layers."""
    return dict.fromkeys(names, v.energy) | ({} if v.layer == "none" else {v.layer: v.own})
