"""The controls of lesson 05's panel: which classes, how large a step, how many retained images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import number, whole
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.data import Dataset

__all__ = ["relabel_controls"]


@check.arguments
def relabel_controls(data: Dataset, classes: Sequence[int], *, lr: float, share: float) -> dict[str, Any]:
    """Classes, and the settings of relabeling.

    Args:
        data: images, and names of classes.
        classes: those to forget at first.
        lr: learning rate.
        share: of the retain set.
    """
    return {
        "classes": Thumbnails.of_classes(data.train, "Forget the classes", data.classes, classes),
        "lr": number("Learning rate", lr, 1e-6, 1.0),
        "share": number("Share of the retain set", share, 0.0, 1.0),
        "epochs": whole("Passes", 1, 1, 20),
    }
