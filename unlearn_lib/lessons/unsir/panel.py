"""The controls of lesson 02's panels: runs of the grid, and UNSIR with its noise, rates, net and defects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import choice, number, whole
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.data import Dataset
from unlearn_lib.lessons.unsir.sizes import Sizes
from unlearn_lib.methods.unsir import UnsirRecipe
from unlearn_lib.methods.unsir.controls import SOURCES

__all__ = ["NORMS", "net_of", "noise_controls", "replay_controls", "with_choices", "with_defects"]

NORMS = ["off", "on, noise in eval mode", "on, noise in train mode"]  # batch norm


@check.arguments
def replay_controls(
    penalties: Sequence[float], rates: Sequence[float], moments: Collection[str], recipe: UnsirRecipe
) -> dict[str, Any]:
    """One run of the grid, at first that of this recipe, and the moment that the bars show."""
    return {
        "source": choice("Noise", list(SOURCES)),
        "penalty": choice("λ", penalties, recipe.penalty),
        "rate": choice("Learning rate of impair", rates, recipe.impair_lr),
        "moment": choice("Bars", moments),
    }


@check.arguments
def noise_controls(
    data: Dataset, classes: Sequence[int], recipe: UnsirRecipe, per_class: int
) -> dict[str, Any]:
    """UNSIR, from what to forget to the defects of the published notebook.

    Args:
        data: images, and names of classes.
        classes: those to forget at first.
        recipe: of UNSIR.
        per_class: retain images of each class, at most.
    """
    return {
        "classes": Thumbnails.of_classes(data.train, "Forget the classes", data.classes, classes),
        "source": choice("Noise", list(SOURCES)),
        "images": whole("Noise images a class", recipe.images, 1, 1024),
        "copies": whole("Copies of each", recipe.copies, 1, 40),
        "penalty": number("λ", recipe.penalty, 0.0, 100.0),
        "impair_lr": number("Learning rate of impair", recipe.impair_lr, 1e-6, 1.0),
        "repair_lr": number("Learning rate of repair", recipe.repair_lr, 1e-6, 1.0),
        "per_class": whole("Retain images a class", per_class, 1, per_class),
        "norm": choice("Batch norm", NORMS),
        "mode": choice("Recipe", ["corrected", "reference"]),
    }


@check.arguments
def net_of(norm: str, sizes: Sizes) -> str:
    """The net without batch norm, or the one with it: one of `NORMS`."""
    return sizes.model if check.choice("norm", norm, NORMS) == NORMS[0] else sizes.normed


@check.arguments
def with_choices(recipe: UnsirRecipe, v: SimpleNamespace) -> UnsirRecipe:
    """The recipe with what the controls say."""
    return recipe.but(
        images=v.images,
        copies=v.copies,
        penalty=v.penalty,
        impair_lr=v.impair_lr,
        repair_lr=v.repair_lr,
    )


@check.arguments
def with_defects(v: SimpleNamespace) -> str:
    """The defects of the published notebook that the controls put back."""
    if v.mode == "reference":
        return "ABC"
    return "C" if v.norm == NORMS[2] else ""
