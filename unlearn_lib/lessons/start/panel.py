"""The controls of lesson 00's panels: which points, method and epochs; whose losses, and the threshold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.classroom.panels.controls import choice, either, number, whole
from unlearn_lib.classroom.panels.slider import Slider
from unlearn_lib.data import Dataset
from unlearn_lib.lessons.start.figures import COLORS

__all__ = ["moons_controls", "threshold_controls"]


@check.arguments
def moons_controls(toy: Dataset, ids: Ids, methods: Collection[str], lr: float) -> dict[str, Any]:
    """Points of the plane, a method, its epochs and its learning rate.

    Args:
        toy: the points.
        ids: those that are chosen at first.
        methods: their names; the first is chosen.
        lr: learning rate.
    """
    from unlearn_lib.classroom.panels.pickers import EmbeddingPicker

    return {
        "ids": EmbeddingPicker(toy.train, "Forget", toy.classes, value=ids, colors=COLORS),
        "method": choice("Method", methods),
        "epochs": whole("Epochs", 10, 1, 200),
        "lr": number("Learning rate", lr, 0.0001, 1.0),
    }


@check.arguments
def threshold_controls(models: Collection[str]) -> dict[str, Any]:
    """One of these models, and a threshold on the loss, in nats."""
    return {
        "role": either("Model", list(models)),
        "threshold": Slider("Threshold on the loss", np.geomspace(1e-4, 10, 51).tolist(), 0.1),
    }
