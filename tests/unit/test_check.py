"""The checks at the door, by their laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pytest
import torch

from tests.toys import blobs
from unlearn_lib import check
from unlearn_lib.data import Dataset, Examples, Scale, Split

MASKS = {
    "tensor": torch.tensor([True, False, True]),
    "array": np.array([False, True, True]),
    "list": [True, False, False],
    "list of NumPy's": [np.bool_(True), np.bool_(False)],
    "zeros and ones": torch.tensor([1, 0, 0]),
    "bytes": torch.tensor([1, 0, 1], dtype=torch.uint8),
}
NO_IDS = ["12", ["1"], 3, None, True, torch.tensor(3), [1.5], torch.tensor([1.5]), [2**70], [[1, 2]], b"1"]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_is_never_read_as_the_ids_zero_and_one(mask):
    with pytest.raises(TypeError, match=r"`data.ids\[mask\]`.*or `data.where\(mask\)`"):
        check.ids(mask)


@pytest.mark.parametrize("value", NO_IDS, ids=repr)
def test_what_are_no_ids_is_refused_by_name(value):
    with pytest.raises((TypeError, ValueError), match="`ids"):
        check.ids(value)


@pytest.mark.parametrize(
    "value", [[7, 3], {3, 7}, (3, 7, 7), np.array([7, 3]), torch.tensor([3, 7]).int(), iter([3, 7])], ids=repr
)
def test_ids_come_in_any_container_and_leave_sorted_and_once(value):
    assert check.ids(value).tolist() == [3, 7]


def test_zero_and_one_are_ids_as_well():
    assert check.ids([1, 0]).tolist() == [0, 1]
    assert check.ids([]).tolist() == []


@pytest.mark.parametrize(
    "y",
    [[0, -100], [0, 0.5], [0, math.nan], [0, 1e30], [[0], [1]], [[1, 0], [0, 1]], ["a", "b"], 3],
    ids=repr,
)
def test_what_is_no_label_is_refused_by_name(y):
    with pytest.raises((TypeError, ValueError), match="`y` must"):
        Examples.of(torch.zeros(2, 1), y)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float32, torch.bool])
def test_whole_labels_of_any_dtype_are_kept_as_int64(dtype):
    found = Examples(torch.zeros(3, 2), torch.tensor([0, 1, 1]).to(dtype), torch.arange(3).int())
    assert (found.y.tolist(), found.y.dtype, found.ids.dtype) == ([0, 1, 1], torch.int64, torch.int64)


def test_where_takes_a_mask_and_select_takes_ids_and_each_names_the_other():
    data = blobs(6)
    assert data.where([True] + 5 * [False]).ids.tolist() == [0]
    with pytest.raises(TypeError, match=r"data\.select"):
        data.where(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"`mask` must have shape \[6\]"):
        data.where(torch.ones(5, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"data\.where"):
        Split.by_ids(data, data.y == 1)


def test_inputs_follow_the_dtype_asked_for():
    data = Examples.of(torch.full((2, 1), 3, dtype=torch.uint8), [0, 1], Scale((1.0,), (2.0,)))
    assert data.to("cpu").x.dtype == torch.float32
    double = data.to("cpu", torch.float64)
    assert (double.x.dtype, double.x.tolist()) == (torch.float64, [[1.0], [1.0]])
    assert blobs(4).to("cpu", torch.float32).x.dtype == torch.float32


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [("[0, 1]", [0, 1], [-0.1, 1.1, math.nan]), ("(0, 1)", [0.5], [0, 1]), ("[0, inf)", [0, 9], [math.inf])],
)
def test_a_number_lies_in_its_interval_or_is_named(interval, inside, outside):
    assert [check.number("p", value, interval) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError, match="`p` must be"):
            check.number("p", value, interval)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, torch.tensor(1.0), math.nan], ids=repr)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match="`n` must be a whole number"):
        check.whole("n", value)


def test_probabilities_are_rows_that_sum_to_one():
    rows = torch.rand(4, 3).softmax(1)
    assert check.probabilities("p", rows) is rows
    for wrong in (rows * 2, rows - 1, torch.full((2, 2), math.nan)):
        with pytest.raises(ValueError, match="`p` must"):
            check.probabilities("p", wrong)


@check.arguments
def drawn(
    lines: Mapping[str, Sequence[float]],
    title: str = "",
    size: int | None = None,
    look: Callable[[int], int] | None = None,
    pairs: Sequence[tuple[int, str]] = (),
    kind: Literal["a", "b"] = "a",
    data: Examples | torch.nn.Module | None = None,
) -> int:
    """A function that takes what charts take."""
    return len(lines)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lines": 3}, "`lines` must be of class Mapping; got 3"),
        ({"lines": {"x": 3}}, r"`lines\['x'\]` must be Sequence\[float\]; got 3"),
        ({"lines": {"x": [1, "2"]}}, r"`lines\['x'\]\[1\]` must be a number; got '2'"),
        ({"lines": {"x": [True]}}, r"`lines\['x'\]\[0\]` must be a number"),
        ({"lines": {}, "title": 3}, "`title` must be a string; got 3"),
        ({"lines": {}, "size": 1.5}, "`size` must be a whole number; got 1.5"),
        ({"lines": {}, "look": 3}, "`look` must be a function; got 3"),
        ({"lines": {}, "pairs": "ab"}, "`pairs` must be Sequence"),
        ({"lines": {}, "pairs": [(1,)]}, r"`pairs\[0\]` must have 2 entries"),
        ({"lines": {}, "pairs": [(1, 2)]}, r"`pairs\[0\]\[1\]` must be a string"),
        ({"lines": {}, "kind": "c"}, '`kind` must be "a" or "b"; got \'c\''),
        ({"lines": {}, "data": 3}, "`data` must be"),
    ],
)
def test_arguments_are_checked_against_their_annotations(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        drawn(**wrong)


def test_a_list_an_array_and_whole_numbers_do_where_numbers_are_asked_for():
    lines = {"a": [1, 2.5, math.nan, np.float32(1), torch.tensor(1.0)], "b": np.ones(3), "c": (1,)}
    assert drawn(lines, pairs=[[1, "x"]], data=torch.nn.Identity(), look=abs, size=np.int64(3)) == 3


def test_an_iterator_is_not_used_up_by_being_checked():
    given = iter([1, 2])
    assert list(check.fit("rows", given, Iterable[int])) == [1, 2]


def test_only_fields_that_there_are_can_be_changed():
    assert check.changed(Scale((0,), (1,)), {"std": (2,)}).std == (2.0,)
    with pytest.raises(ValueError, match=r'`changes` must be "mean" or "std"; got \'sd\''):
        check.changed(Scale((0,), (1,)), {"sd": (2,)})


def test_a_data_set_has_samples_of_one_shape_and_a_name_for_every_label():
    made = {"name": "toy", "train": blobs(9), "test": blobs(6), "classes": ("a", "b", "c"), "source": "here"}
    assert Dataset(**made).classes == ("a", "b", "c")
    bad = [{"classes": ("a", "b")}, {"test": blobs(6, features=4)}, {"train": blobs(9).select([])}]
    for wrong in bad:
        with pytest.raises(ValueError, match=r"`(classes|train|test)`"):
            Dataset(**{**made, **wrong})
