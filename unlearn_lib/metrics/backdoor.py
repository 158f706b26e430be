"""A backdoor as a probe of forgetting: samples with a trigger are labeled as a target class.

A model that learned from them calls *anything* with the trigger the target. If they are forgotten, the
trigger does nothing. This works where accuracy on the forgotten samples says little: on single samples of a
class that stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.metrics.accuracy import logits

__all__ = ["Trigger", "backdoor_success", "corner_trigger", "edge_trigger", "poison"]


@dataclass(frozen=True)
class Trigger:
    """A mark: these entries of every sample are set to one value.

    Args:
        shape: of one sample.
        entries: positions in the flattened sample.
        value: in the units in which the examples are stored: a legal pixel value if they are uint8 (digits 0
            to 16, images 0 to 255), a network input if they are floating point.

    Raises:
        ValueError: there is no position or one that such samples do not have, or the value is not finite.
    """

    shape: tuple[int, ...]
    entries: tuple[int, ...]
    value: float

    def __post_init__(self) -> None:
        size = math.prod(_shape(self.shape))
        for entry in check.column("entries", self.entries).tolist() or [-1]:
            check.whole("entries", entry, 0, size - 1)
        check.number("value", self.value)

    def stamp(self, x: Tensor) -> Tensor:
        """A copy of the stored samples `x` [n, ...] that carries the mark.

        Raises:
            ValueError: the shape differs, or the stored type cannot hold the value.
        """
        if tuple(check.tensor("x", x).shape[1:]) != tuple(self.shape):
            raise ValueError(f"`trigger` is for samples of shape {self.shape}; got {tuple(x.shape[1:])}.")
        if not x.is_floating_point():
            kind = torch.iinfo(x.dtype)
            if self.value != int(self.value) or not kind.min <= self.value <= kind.max:
                raise ValueError(
                    f"`value` must be a whole number in [{kind.min}, {kind.max}] for {x.dtype} samples; "
                    f"got {self.value}."
                )
        flat = x.flatten(1).clone()
        flat[:, list(self.entries)] = self.value
        return flat.view_as(x)


def corner_trigger(shape: tuple[int, ...], value: float) -> Trigger:
    """The four corner pixels of an image, in every channel; the last four features of tabular data.

    Args:
        shape: of one sample: (c, h, w), or (features,).
        value: in stored units, see `Trigger`; ``data.x.max()`` is always legal.
    """
    positions = torch.arange(math.prod(_shape(shape))).reshape(shape)
    if len(shape) == 1:
        entries = positions[-4:]
    elif len(shape) == 3:
        entries = positions[:, [0, 0, -1, -1], [0, -1, 0, -1]].flatten().unique()
    else:
        raise ValueError(f"`shape` must be (channels, height, width) or (features,); got {shape}.")
    return Trigger(tuple(shape), tuple(entries.tolist()), check.number("value", value))


def edge_trigger(shape: tuple[int, ...], value: float) -> Trigger:
    """The first and the last column of an image, in every channel; the last sixteenth of tabular features.

    A larger mark than the corners: on tiny images a chain that keeps learning does not forget it by itself.

    Args:
        shape: of one sample: (c, h, w), or (features,).
        value: in stored units, see `Trigger`.
    """
    positions = torch.arange(math.prod(_shape(shape))).reshape(shape)
    if len(shape) == 1:
        entries = positions[-max(4, len(positions) // 16) :]
    elif len(shape) == 3:
        entries = positions[..., [0, -1]].flatten().unique()
    else:
        raise ValueError(f"`shape` must be (channels, height, width) or (features,); got {shape}.")
    return Trigger(tuple(shape), tuple(entries.tolist()), check.number("value", value))


def poison(data: Examples, ids: Ids, target: int, trigger: Trigger) -> Examples:
    """A copy of the data in which the samples `ids` carry the trigger and the label `target`.

    Raises:
        ValueError: an id is not in `data`, `target` is beyond its classes, or the trigger does not fit the
            stored samples.
    """
    check.whole("target", target, 0, int(check_examples("data", data).y.max()))
    check.instance("trigger", trigger, Trigger)
    rows = data.rows(ids)
    x, y = data.x.clone(), data.y.clone()
    x[rows], y[rows] = trigger.stamp(data.x[rows]), target
    return replace(data, x=x, y=y)


def backdoor_success(model: nn.Module, test: Examples, trigger: Trigger, target: int) -> float:
    """Share of test samples of *other* classes that are predicted as `target` when they carry the trigger.

    In [0, 1]. A model that calls everything `target` scores 1 without any backdoor, so read this beside the
    accuracy and the retrained model's value.

    Raises:
        ValueError: `test` holds no sample of another class, or the model has no output for `target`.
    """
    check.whole("target", target, 0)
    check.instance("trigger", trigger, Trigger)
    others = check_examples("test", test).where(test.y != target)
    if not len(others):
        raise ValueError(f"`test` must hold samples of classes other than the target {target}; got none.")
    stamped = replace(others, x=trigger.stamp(others.x))
    outputs = logits(model, stamped)
    check.whole("target", target, 0, outputs.shape[1] - 1)
    return float((outputs.argmax(1) == target).double().mean())


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = check.column("shape", shape).tolist()
    if not sizes:
        raise ValueError("`shape` must be (channels, height, width) or (features,); got ().")
    return tuple(check.whole("shape", size, 1) for size in sizes)
