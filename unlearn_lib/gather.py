"""Anyone's data set, whatever its samples look like, as a tensor of inputs and one of labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from unlearn_lib import check, pictures
from unlearn_lib.check import Ids

__all__ = ["gathered", "numbered"]

# Names for an input and its label in data sets whose samples are mappings.
PAIRS = (("x", "y"), ("image", "label"), ("img", "label"), ("pixel_values", "labels"), ("input", "target"))

GRAY = ("1", "L")  # PIL's modes of one channel that is no number of a color


def gathered(source: Any) -> tuple[Tensor, Tensor]:
    """The inputs [n, ...] and labels [n] of a data set, read once, in its order.

    Args:
        source: anything with a length and numbered samples, such as a torch `Dataset`, or that can be
            iterated, of pairs or of mappings; a `DataLoader`; or a pair (x, y).

    Raises:
        TypeError: `source` is not a data set, its samples are not pairs, or an input is several tensors.
        ValueError: there is no sample, or inputs differ in shape.
    """
    if isinstance(source, DataLoader):
        source = source.dataset
    if isinstance(source, TensorDataset) and len(source.tensors) == 2:
        source = source.tensors
    if isinstance(source, tuple | list) and len(source) == 2 and not isinstance(source[0], tuple):
        x, y = check.as_tensor("x", source[0]), check.labels(check.as_tensor("y", source[1]))
        _not_empty(y)
        return x, y
    readable = isinstance(source, Dataset | Iterable) or _has_numbers(source)
    if not readable or isinstance(source, str | bytes | Mapping | Tensor):
        raise TypeError(
            f"`source` must be a torch Dataset, a DataLoader or a pair (x, y); got {check.brief(source)}. "
            "Whatever has `__len__` and `__getitem__`, or can be iterated, will do as a data set."
        )
    pairs = [_pair(place, sample) for place, sample in enumerate(_samples(source))]
    _not_empty(pairs)
    inputs, labels = zip(*pairs, strict=True)
    for place, one in enumerate(inputs):
        if one.shape != inputs[0].shape or one.dtype != inputs[0].dtype:
            raise ValueError(
                f"`source` must give inputs of one shape and dtype; sample 0 is {check.brief(inputs[0])}, "
                f"sample {place} is {check.brief(one)}. Resize or pad them in the data set's transform."
            )
    _warn_if_random(source, inputs[:8])
    return torch.stack(inputs), check.labels(torch.stack(labels))


def numbered(source: Any, ids: Ids | None = None) -> Dataset[tuple[Tensor, Tensor, int]]:
    """Your own data set with the number of every sample: (input, label, id), as a loop of your own needs it.

    Its transforms run anew each time, random augmentation included. The numbers are those that
    `Examples.of_dataset` gives.

    Args:
        source: a data set with a length, of pairs or mappings as `Examples.of_dataset` takes them.
        ids: only these samples, such as ``log.data.ids``; by default all.

    Raises:
        TypeError: `source` has no length, or `ids` are no ids.
        ValueError: there is no sample of that number.

    Example:
        >>> mine = torch.utils.data.TensorDataset(torch.zeros(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))
        >>> [id for x, y, id in ul.numbered(mine, [1, 3])]
        [1, 3]
    """
    if not _has_numbers(source) or isinstance(source, str):
        raise TypeError(f"`source` must be a data set with a length; got {check.brief(source)}.")
    places = range(len(source)) if ids is None else check.ids(ids).tolist()
    for place in places if ids is not None else ():
        check.whole("ids", place, 0, len(source) - 1)
    return _Numbered(source, places)


class _Sample(NamedTuple):
    """Its third part has a name, so that nobody takes it for a label."""

    x: Tensor
    y: Tensor
    ids: int


class _Numbered(Dataset[tuple[Tensor, Tensor, int]]):
    def __init__(self, source: Any, places: Sequence[int]) -> None:
        self.source, self.places = source, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        place = self.places[row]
        return _Sample(*_pair(place, self.source[place]), place)


def _not_empty(samples: Sized) -> None:
    if not len(samples):
        raise ValueError("`source` must hold at least one sample; got none.")


def _has_numbers(source: Any) -> bool:
    """Whether samples can be asked for by number; every torch `Dataset` has a `__getitem__`, a stream too."""
    return (
        isinstance(source, Sized)
        and hasattr(source, "__getitem__")
        and not isinstance(source, IterableDataset)
    )


def _samples(source: Any) -> Iterator[Any]:
    """Every sample, by number if the data set has a length, because not all data sets end when iterated."""
    if _has_numbers(source):
        return (source[place] for place in range(len(source)))
    return iter(source)


def _pair(place: int, sample: Any) -> tuple[Tensor, Tensor]:
    if isinstance(sample, Mapping):
        names = next((pair for pair in PAIRS if set(pair) <= sample.keys()), None)
        if names is None:
            raise TypeError(
                f"`source` must give an input and a label; sample {place} has {', '.join(map(str, sample))}. "
                "Wrap it: Examples.of(x, y) takes the two columns."
            )
        sample = tuple(sample[name] for name in names)
    if not isinstance(sample, tuple | list):
        raise TypeError(f"`source` must give pairs (input, label); sample {place} is {check.brief(sample)}.")
    if len(sample) != 2 and getattr(sample, "_fields", None) != _Sample._fields:
        parts = "1 part" if len(sample) == 1 else f"{len(sample)} parts"
        raise TypeError(
            f"`source` must give pairs (input, label); sample {place} has {parts}. Wrap the data set so that "
            "it gives these two, or pass the two columns: Examples.of(x, y)."
        )
    label = check.as_tensor("label", sample[1])
    if label.numel() != 1:
        raise ValueError(
            f"`source` must give one label per sample, a class; sample {place} has {check.brief(label)}."
        )
    return _input(place, sample[0]), label.reshape(())


def _input(place: int, value: Any) -> Tensor:
    """An input as a tensor; a picture as uint8 [channels, height, width]."""
    if _is_several(value):
        raise TypeError(
            f"`source` must give one tensor per sample as its input; sample {place} has several: "
            f"{check.brief(value)}. Join them into one (`torch.cat`), or choose one."
        )
    if hasattr(value, "getbands"):  # a PIL image
        gray = value.mode in GRAY or value.mode.startswith("I;16")
        pixels = torch.from_numpy(np.array(pictures.rgb(value))).permute(2, 0, 1)
        return pixels[:1] if gray else pixels
    return check.as_tensor("x", value)


def _is_several(value: Any) -> bool:
    """Whether an input has tensors, arrays or pictures inside; nested lists of numbers are one input."""
    if isinstance(value, tuple | list):
        return any(getattr(one, "ndim", 0) or hasattr(one, "getbands") or _is_several(one) for one in value)
    return isinstance(value, Mapping)


def _warn_if_random(source: Any, first: Sequence[Tensor]) -> None:
    """A random transform shows when the first samples are read again; of a coin flip eight show most."""
    if _has_numbers(source):
        again = [_pair(place, source[place])[0] for place in range(len(first))]
        if not all(map(_same, first, again)):
            check.warn(
                "`source` gives a different input each time it is read, as random augmentation does. Its "
                "transforms are applied once: what was read now is kept for all epochs. Pass the data set "
                "without augmentation."
            )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)
