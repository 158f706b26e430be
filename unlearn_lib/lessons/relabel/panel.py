"""The panel of lesson 05: which classes, how large a step, and how many retained images beside them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom.panels import UnlearnPanel
from unlearn_lib.classroom.panels.controls import number, whole
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.data import Dataset, Split
from unlearn_lib.methods.relabel import relabel
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.train import Recipe

__all__ = ["relabel_panel"]


@check.arguments
def relabel_panel(
    data: Dataset,
    original: nn.Module,
    build: Callable[[], nn.Module],
    recipe: Recipe,
    *,
    lr: float,
    share: float,
    forget_class: int,
) -> UnlearnPanel:
    """Relabeling with these controls; its first state is the run of the cells above.

    Args:
        data: images, and names of classes.
        original: the trained model.
        build: makes the untrained one.
        recipe: of both.
        lr: step size of relabeling.
        share: of the retain set.
        forget_class: the class to forget.
    """
    return UnlearnPanel(
        "relabel",
        data,
        original,
        controls={
            "classes": Thumbnails.of_classes(data.train, "Forget the classes", data.classes, [forget_class]),
            "lr": number("Learning rate", lr, 1e-6, 1.0),
            "share": number("Share of the retain set", share, 0.0, 1.0),
            "epochs": whole("Passes", 1, 1, 20),
        },
        split=lambda v: Split.by_class(data.train, *v.classes),
        start=lambda v, split: relabel(original, split, recipe.but(lr=v.lr, epochs=v.epochs), share=v.share),
        retrain=lambda split: retrain(build(), split, recipe),
    )
