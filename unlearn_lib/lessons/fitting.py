"""Sizes of a lesson for data on which it was never measured: a folder of yours, or a set that is no preset.

Everything is derived from what is there: the number of samples, of all and of each class, and the shape of
one. The sizes are those of the data that are most alike, cut down to fit. They promise nothing: how well a
method forgets here nobody has measured, so the last cell asserts only what must hold.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from torch import Tensor

from unlearn_lib import check
from unlearn_lib.data import Dataset
from unlearn_lib.lessons.sizes import MEASURED, PRESETS, Sizes

__all__ = ["FOLDER_PIXELS", "MOST_PIXELS", "fitted", "measured"]

PUBLISHED = {"digits": 1_437, "mnist": 60_000, "cifar10": 50_000, "location30": 4_008}  # training samples
FOLDER_PIXELS = 32  # a side, of images of a folder that are larger
MOST_PIXELS = 64  # a side: the nets of the lessons are made for small images
MOST_FEATURES = 10_000
SMALL = 12  # pixels a side below which LeNet-5 has nothing to look at
# Training samples that a lesson needs in all and of each class, and how many of each class it asks for.
NEEDS = {
    "start": (40, 2, 20),
    "deepobliviate": (60, 2, 30),
    "unsir": (60, 4, 30),
    "partial": (60, 4, 30),
    "pgu": (60, 4, 30),
    "relabel": (60, 4, 30),
    "side_by_side": (150, 12, 12),
}


@check.arguments
def measured(lesson: str, dataset: Dataset) -> bool:
    """Whether the presets of this lesson were measured on these data, all of them."""
    return (
        dataset.name in MEASURED[check.choice("lesson", lesson, MEASURED)]
        and len(dataset.train) == PUBLISHED[dataset.name]
    )


@check.arguments
def fitted(lesson: str, preset: str, dataset: Dataset) -> Sizes:
    """The sizes of a lesson and preset, as they are where they were measured, else made to fit the data.

    Args:
        lesson: a key of `PRESETS`.
        preset: "quick", "lesson" or "full".
        dataset: all of it.

    Raises:
        ValueError: the data are too few or too large for this lesson; says what it needs.
    """
    check.choice("preset", preset, PRESETS[check.choice("lesson", lesson, PRESETS)]["digits"])
    if measured(lesson, dataset):
        return dict(PRESETS[lesson][dataset.name][preset])
    sizes = {k: v for k, v in PRESETS[lesson][_alike(lesson, dataset)][preset].items() if k != "cuda"}
    counts = _checked(lesson, dataset)
    wanted = max(sizes["train"] or 0, NEEDS[lesson][2] * len(counts)) if sizes["train"] else None
    n = min(wanted or sys.maxsize, len(dataset.train))
    left = dataset.train.head(n).y.bincount()
    sizes |= {"train": n, "test": min(sizes["test"] or sys.maxsize, len(dataset.test))}
    sizes |= {net: _net(sizes[net], dataset.shape) for net in ("model", "normed") if net in sizes}
    batch = sizes["recipe"].get("batch_size", 64)
    sizes["recipe"] = sizes["recipe"] | {"batch_size": max(2, min(batch, n // 12))}
    if len(dataset.shape) == 1 and "noise" in sizes:
        sizes["noise"] = 0.0  # such vectors have details enough of their own
    return sizes | _FIT[lesson](sizes, n, left[left > 0])


def _alike(lesson: str, dataset: Dataset) -> str:
    """The data set with presets that is most like this one."""
    if len(dataset.shape) == 1:
        return "location30"
    if min(dataset.shape[1:]) < SMALL:
        return "digits"
    if dataset.name in PRESETS[lesson] and dataset.name != "image_folder":
        return dataset.name
    return "mnist" if dataset.shape[0] == 1 else "cifar10"


def _net(name: str, shape: tuple[int, ...]) -> str:
    """The net of this name, or one that can take such samples."""
    normed = name.endswith("_bn") or name == "resnet18"
    if len(shape) == 1:
        return "mlp_bn" if normed else "mlp"
    if min(shape[1:]) < SMALL and name.startswith("lenet5"):
        return "small_cnn"
    return name


def _checked(lesson: str, dataset: Dataset) -> Tensor:
    """The number of training samples of each class there is, where they suffice for this lesson."""
    shape, needed, each = dataset.shape, *NEEDS[lesson][:2]
    if len(shape) not in (1, 3):
        raise ValueError(
            f"`dataset` must hold images or vectors; one sample of {dataset.name} has {list(shape)}."
        )
    if len(shape) == 1 and shape[0] > MOST_FEATURES:
        raise ValueError(
            f"`dataset` must hold vectors of at most {MOST_FEATURES:,} values in the lessons; "
            f"those of {dataset.name} have {shape[0]:,}."
        )
    if max(shape) > MOST_PIXELS and len(shape) == 3:
        raise ValueError(
            f"`dataset` must hold images of at most {MOST_PIXELS}x{MOST_PIXELS} pixels in the lessons, whose "
            f"nets are small; those of {dataset.name} have {shape[2]}x{shape[1]}."
        )
    counts = dataset.train.y.bincount(minlength=len(dataset.classes))
    tested = dataset.test.y.bincount(minlength=len(dataset.classes))
    classes = 2 if lesson in ("start", "deepobliviate") else 3
    if int((counts > 0).sum()) < classes:
        raise ValueError(
            f"`dataset` must have at least {classes} classes in this lesson"
            f"{', for one of them is to be forgotten' if classes == 3 else ''}; {dataset.name} has "
            f"{int((counts > 0).sum())}."
        )
    present = counts > 0
    if len(dataset.train) < needed or bool((present & ((counts < each) | (tested < 2))).any()):
        raise ValueError(
            f"`dataset` must have at least {needed} training samples in this lesson, {each} of each class, "
            f"and 2 test samples of each; {dataset.name} has {len(dataset.train)}, in its smallest class "
            f"{int(counts[present].min())}, and for testing {int(tested[present].min())} of some class."
        )
    return counts[counts > 0]


# One function a lesson: what else depends on the number of samples `n` and those of each class, `counts` ---


def _start(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    return {"forget": min(sizes["forget"], n // 4), "poisoned": min(sizes["poisoned"], n // 10)}


def _deepobliviate(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    B = min(sizes["blocks"], max(12, n // 16))
    size, where = n // B, B / sizes["blocks"]
    return {
        "blocks": B,
        "block": min(max(1, math.floor(where * sizes["block"])), B - 8),  # the rule needs some after it
        "forget": min(sizes["forget"], size // 2),
        "poisoned_block": max(1, math.floor(where * sizes["poisoned_block"])),
        "poisoned": min(sizes["poisoned"], 2 * size // 3),
        "saves": 0.0,
    }


def _unsir(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    nothing: Sizes = {"kept": (0.0, 0.0), "gaps": (-1.0, -1.0), "limits": ((1.0, 1.0), (1.0, 1.0))}
    share = max(5, 10 * sizes["per_class"] // max(10, len(counts)))  # with many classes no more images in all
    return {"per_class": min(share, int(counts.min())), **nothing}


def _partial(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    b, largest = sizes["recipe"]["batch_size"], int(counts.max())
    return {"batches": min(max(math.ceil(largest / b), min(sizes["batches"], n // b // 4)), n // b)}


def _pgu(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    return {"samples": min(sizes["samples"], n // 10), "kept": 0.0}


def _relabel(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    per_class = min(sizes["per_class"], int(counts.min()))
    return {"samples": min(sizes["samples"], n // 10), "per_class": per_class, "limits": (1.0, 1.0)}


def _side_by_side(sizes: Sizes, n: int, counts: Tensor) -> Sizes:
    validation = min(sizes["validation"], n // 3)
    rest = n - validation
    forget, candidates = min(sizes["forget"], rest // 8), min(sizes["candidates"], rest // 8)
    return {
        "validation": validation,
        "forget": forget,
        "poisoned": min(sizes["poisoned"], rest // 8),
        "candidates": candidates,
        "base": min(sizes["base"], rest - forget - candidates),
        "exposed": 0.0,
    }


_FIT: dict[str, Callable[[Sizes, int, Tensor], Sizes]] = {
    "start": _start,
    "deepobliviate": _deepobliviate,
    "unsir": _unsir,
    "partial": _partial,
    "pgu": _pgu,
    "relabel": _relabel,
    "side_by_side": _side_by_side,
}
