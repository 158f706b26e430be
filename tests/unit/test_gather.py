"""Somebody else's data set becomes `Examples`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import unlearn_lib as ul
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Scale, check_examples

X = torch.arange(24, dtype=torch.float32).reshape(6, 4)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


class Mine(Dataset):
    """A data set that gives what it is told to."""

    def __init__(self, *samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int) -> Any:
        return self.samples[place]


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return zip(X, Y.tolist(), strict=True)


class LongStream(Stream):
    def __len__(self) -> int:
        return 6


class Foreign:
    """A data set that inherits from nothing and cannot be iterated by its kind."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"image": X[place], "label": int(Y[place])}


class Jittered(Mine):
    def __getitem__(self, place: int) -> Any:
        return torch.randn(4), place


PAIRS = [(x, int(y)) for x, y in zip(X, Y, strict=True)]
SOURCES = {
    "a data set of pairs": Mine(*PAIRS),
    "labels as tensors": Mine(*zip(X, Y, strict=True)),
    "lists of numbers": Mine(*[(x.tolist(), y) for x, y in PAIRS]),
    "arrays": Mine(*[(x.numpy(), np.int64(y)) for x, y in PAIRS]),
    "mappings": Mine(*[{"image": x, "label": y} for x, y in PAIRS]),
    "a mapping with more": Mine(*[{"image": x, "label": y, "file": "a.png"} for x, y in PAIRS]),
    "a tensor data set": TensorDataset(X, Y),
    "a shuffled loader": DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True),
    "a stream": Stream(),
    "a stream with a length": LongStream(),
    "a generator": lambda: (pair for pair in PAIRS),
    "a class of no kin": Foreign(),
    "samples of ours": Subset(ul.Examples.of(X, Y), range(6)),
    "samples that are numbered": ul.numbered(PAIRS),
    "two tensors": (X, Y),
    "two arrays": (X.numpy(), Y.numpy()),
    "two lists": [X.tolist(), Y.tolist()],
    "a list of pairs": PAIRS,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_any_data_set_becomes_the_same_examples(source: Any) -> None:
    found = ul.Examples.of_dataset(source() if callable(source) else source)
    assert torch.equal(found.x, X)
    assert torch.equal(found.y, Y)
    assert found.ids.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("mode", "shape"), [("L", [1, 2, 3]), ("RGB", [3, 2, 3]), ("RGBA", [3, 2, 3])])
def test_pictures_become_bytes_with_a_scale(mode: str, shape: list[int]) -> None:
    picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).convert(mode)
    found = ul.Examples.of_dataset(Mine((picture, 0), (picture, 1)))
    assert (found.x.dtype, list(found.x.shape[1:])) == (torch.uint8, shape)
    assert found.x[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.scale == Scale.of(found.x)


def test_a_picture_of_sixteen_bits_or_a_palette_keeps_its_grays_and_colors() -> None:
    deep = Image.fromarray(np.array([[0, 65_535], [32_768, 16_384]], dtype=np.uint16))
    assert ul.Examples.of_dataset(Mine((deep, 0), (deep, 1))).x[0].tolist() == [[[0, 255], [128, 64]]]
    red = Image.new("RGB", (2, 2), "red").convert("P")
    assert ul.Examples.of_dataset(Mine((red, 0), (red, 1))).x[0, :, 0, 0].tolist() == [255, 0, 0]
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert ul.Examples.of_dataset(Mine((clear, 0), (clear, 1))).x[0, :, 0, 0].tolist() == [255, 255, 255]


def test_a_scale_of_ones_own_is_kept() -> None:
    scale = Scale((128.0,), (64.0,))
    found = ul.Examples.of_dataset((torch.zeros(2, 1, 3, 3, dtype=torch.uint8), [0, 1]), scale)
    assert found.scale == scale


def test_random_augmentation_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="each time it is read.* transforms are applied once") as said:
        ul.Examples.of_dataset(Jittered(1, 2))
    assert said[0].filename == __file__


def test_augmentation_that_leaves_the_first_sample_alone_is_warned_of() -> None:
    class Rarely(Jittered):
        def __getitem__(self, place: int) -> Any:
            return (torch.zeros(4), 0) if place < 7 else super().__getitem__(place)

    with pytest.warns(UserWarning, match="transforms are applied once"):
        ul.Examples.of_dataset(Rarely(*range(9)))


REFUSED = {
    "nothing": (Mine(), ValueError, "must hold at least one sample; got none"),
    "a number": (3, TypeError, "must be a torch Dataset, a DataLoader or a pair"),
    "a word": ("mnist", TypeError, "must be a torch Dataset"),
    "one tensor": (X, TypeError, "must be a torch Dataset"),
    "inputs without labels": (Mine(*X), TypeError, r"pairs \(input, label\); sample 0 is Tensor"),
    "unequal shapes": (Mine((X[0], 0), (X[0, :2], 1)), ValueError, "sample 1 is .* Resize or pad them"),
    "a vector as label": (Mine((X[0], [0, 1])), ValueError, "one label per sample.*sample 0"),
    "names as labels": (Mine((X[0], "cat")), TypeError, "`label`|labels"),
    "fractions as labels": (Mine((X[0], 0.5)), ValueError, "whole"),
    "thirty-two bits": (Mine((Image.new("F", (2, 2)), 0)), ValueError, "32 bits and no range"),
    "two inputs": (Mine(((X[0], X[1]), 0)), TypeError, r"one tensor.*sample 0 has several: .*torch\.cat"),
    "arrays as inputs": (Mine(([X[0].numpy()] * 2, 0)), TypeError, "sample 0 has several"),
    "named inputs": (Mine({"x": {"ids": X[0]}, "y": 0}), TypeError, "sample 0 has several: .*ids"),
    "three parts": (Mine((X[0], 4, 1)), TypeError, r"sample 0 has 3 parts.*Examples\.of\(x, y\)"),
    "three tensors": (TensorDataset(X, Y, Y), TypeError, "sample 0 has 3 parts"),
    "one part": (TensorDataset(X), TypeError, "sample 0 has 1 part"),
    "two empty tensors": ((X[:0], Y[:0]), ValueError, "must hold at least one sample; got none"),
    "no way to read": (object(), TypeError, "`__len__` and `__getitem__`"),
    "strange keys": (Mine({"a": X[0], "b": 0}), TypeError, "sample 0 has a, b"),
}


@pytest.mark.parametrize(("source", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_data_set_is_refused_by_name(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ul.Examples.of_dataset(source)


@pytest.mark.parametrize("source", [Mine(*PAIRS), DataLoader(Mine(*PAIRS))], ids=["data set", "loader"])
def test_a_data_set_where_examples_belong_is_told_the_way(source: Any) -> None:
    with pytest.raises(TypeError, match=r"Examples\.of_dataset\(retain\)"):
        check_examples("retain", source)


def test_ten_lines_are_enough_for_a_net_and_data_of_ones_own() -> None:
    every = blobs(90)
    theirs = Mine(*zip(every.x.float(), every.y.tolist(), strict=True))
    data = ul.Examples.of_dataset(theirs)
    test, train = data.head(30), data.without(data.head(30).ids)
    model, twin = tiny_net().float(), tiny_net(seed=1).float()
    split = ul.Split.by_class(train, 1)
    retrained = ul.run(ul.retrain(twin, split, ul.Recipe(lr=0.1, epochs=3))).model
    result = ul.run(ul.unsir(model, [1], ul.retain_subset(train, [1], per_class=5)))
    card = ul.evaluate(result.model, split=split, test=test, original=model, retrained=retrained)
    assert card["accuracy", "forget"].unlearned <= 1


def test_nested_lists_of_numbers_are_one_input() -> None:
    found = ul.Examples.of_dataset(Mine(([[1, 2], [3, 4]], 0), (((5, 6), (7, 8)), 1)))
    assert found.x.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_ids_of_a_subset_are_told_to_count_anew() -> None:
    part = ul.Examples.of_dataset(Subset(Mine(*PAIRS), [4, 5]))
    with pytest.raises(ValueError, match=r"Its ids are 0 \.\.\. 1: `of_dataset` numbers a Subset anew"):
        ul.Split.by_ids(part, [4])
    with pytest.raises(ValueError, match=r"among them \[3\]\.$"):
        ul.Split.by_ids(ul.Examples.of(X, Y).select([4, 5]), [3])
