"""Experiments with UNSIR: other noise, no repair, and the defects of the public notebook.

Each replaces a step of `unsir` and leaves the rest as it is. The authors' notebook has three defects:

A.  the loop that fills the impair set runs over the channels of one image, so it uses 3 of the B images;
B.  it labels every noise image class 0, whatever is to be forgotten;
C.  it learns the noise in train mode, which overwrites batch norm's running statistics.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.methods.unsir.method import Classes, NoiseStage, Unlearning, impair, make_noise, unsir
from unlearn_lib.methods.unsir.noise import Noise, gaussian, norm_matched
from unlearn_lib.methods.unsir.recipe import UnsirRecipe
from unlearn_lib.outputs import device_of, dtype_of
from unlearn_lib.params import Params, assign, batch_norms, state
from unlearn_lib.train import Step, as_run

__all__ = [
    "SOURCES",
    "gaussian_noise",
    "impair_only",
    "no_noise",
    "unsir_but",
]

Source = Literal["learned", "gaussian", "none"]
PUBLISHED_IMAGES, PUBLISHED_COPIES, PUBLISHED_LABEL = 3, 20, 0  # defects A and B


@as_run
def no_noise(
    model: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe | None = None
) -> Unlearning:
    """The same two epochs at the same learning rates on R alone. What forgets here is the learning rate."""
    return unsir(model, classes, retain, recipe, noise_stage=_make_none)


@as_run
def gaussian_noise(
    model: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe | None = None
) -> Unlearning:
    """Gaussian images with the norms of the learned ones, labeled c. Did the noise have to be *learned*?"""
    return unsir(model, classes, retain, recipe, noise_stage=_make_gaussian)


@as_run
def impair_only(
    model: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe | None = None
) -> Unlearning:
    """Noise and impair, but no repair."""
    recipe = UnsirRecipe.given(recipe, model)
    return unsir(model, classes, retain, recipe.but(repair_epochs=0))


def _make_none(
    frozen: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe
) -> Generator[Step, None, dict[int, Noise]]:
    """In place of stage 1: no noise at all."""
    yield from ()
    return {}


def _make_gaussian(
    frozen: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe
) -> Generator[Step, None, dict[int, Noise]]:
    """In place of stage 1: Gaussian images, each scaled to the norm of the learned image in its place."""
    like = check_examples("retain", retain).to(device_of(frozen), dtype_of(frozen)).x[0]
    learned = yield from make_noise(frozen, classes, retain, recipe)
    fresh = {c: gaussian(c, recipe.images, like, recipe.seed, 1) for c in learned}
    return {c: norm_matched(frozen, noise, fresh[c]) for c, noise in learned.items()}


SOURCES: dict[Source, NoiseStage] = {"learned": make_noise, "gaussian": _make_gaussian, "none": _make_none}


@as_run
def unsir_but(
    model: nn.Module,
    classes: Classes,
    retain: Examples,
    recipe: UnsirRecipe | None = None,
    *,
    source: Source = "learned",
    defects: str = "",
) -> Unlearning:
    """UNSIR, but with other noise, or with defects of the published notebook; by default it is `unsir`.

    Args:
        model, classes, retain, recipe: see `unsir`.
        source: the "learned" noise; "gaussian" noise of the same norms, image by image; "none".
        defects: any of the letters A, B and C; "ABC" is the notebook as published. With A the recipe's
            `images` only says how many are learned, and its `copies` are not used.

    Raises:
        ValueError: unknown `source` or defect; with C and batch norm, a single noise image.
    """
    check.choice("source", source, get_args(Source))
    for letter in check.instance("defects", defects, str):
        check.choice("defects", letter, ("A", "B", "C"))
    recipe = UnsirRecipe.given(recipe, model)
    classes = check.classes(classes)
    if "C" in defects and recipe.images < 2 and source != "none" and batch_norms(model):
        raise ValueError("`images` must be at least 2 to learn noise in train mode with batch norm; got 1.")
    if "B" in defects and PUBLISHED_LABEL not in classes:
        check.warn(
            f"defect B labels all noise class {PUBLISHED_LABEL}, which is to be retained: "
            "it will damage that class."
        )
    overwritten: Params = {}

    def noise_stage(
        frozen: nn.Module, classes: Classes, retain: Examples, recipe: UnsirRecipe
    ) -> Generator[Step, None, Mapping[int, Noise]]:
        frozen.train("C" in defects)
        noise = yield from SOURCES[source](frozen, classes, retain, recipe)
        overwritten.update(state(frozen))
        return noise

    def impair_stage(
        model: nn.Module, noise: Mapping[int, Noise], retain: Examples, recipe: UnsirRecipe
    ) -> Generator[Step, None, None]:
        assign(model, overwritten)  # no weight has changed, but with C the running statistics have
        if "A" in defects:
            recipe = recipe.but(images=PUBLISHED_IMAGES, copies=PUBLISHED_COPIES)
        if "B" in defects:
            noise = {c: _labeled(PUBLISHED_LABEL, one) for c, one in noise.items()}
        yield from impair(model, noise, retain, recipe)

    return unsir(model, classes, retain, recipe, noise_stage=noise_stage, impair_stage=impair_stage)


def _labeled(label: int, noise: Noise) -> Noise:
    """The same images with another label."""
    examples = replace(noise.examples, y=torch.full_like(noise.examples.y, label))
    return replace(noise, examples=examples)
