"""The checks at the door, by their laws."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
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


def refused(kind, rule, function, *arguments, **options):
    """That the call is refused, by this kind of error, in these words."""
    with pytest.raises(kind) as found:
        function(*arguments, **options)
    assert re.search(rule, str(found.value)), found.value


def test_a_whole_number_lies_between_its_bounds_and_both_belong():
    for value in (3, np.int8(3), torch.tensor(3), 2, 4):
        assert check.whole("n", value, 2, 4) == int(value)
    assert check.whole("n", -(10**30)) == -(10**30)
    assert check.whole("n", 0, 0) == 0
    refused(ValueError, r"`n` must be in 2 \.\.\. 4; got 1", check.whole, "n", 1, 2, 4)
    refused(ValueError, r"`n` must be in 2 \.\.\. 4; got 5", check.whole, "n", 5, 2, 4)
    refused(ValueError, r"`n` must be zero or more; got -1", check.whole, "n", -1, 0)
    refused(ValueError, r"`n` must be at least 1; got 0", check.whole, "n", 0, 1)
    refused(ValueError, r"`n` must be in 0 \.\.\. 4; got 5", check.whole, "n", 5, 0, 4)
    refused(TypeError, "whole number; got True", check.whole, "n", np.bool_(True))
    refused(TypeError, "whole number", check.whole, "n", torch.tensor(True))
    refused(TypeError, "whole number", check.whole, "n", torch.tensor([1, 2]))


def test_a_number_is_a_float_of_any_kind_and_no_word_or_truth():
    for value in (1, 1.0, np.float32(1), torch.tensor(1.0), torch.tensor(1)):
        assert check.number("p", value) == 1.0
        assert type(check.number("p", value)) is float
    assert check.number("p", 0, "[0, 1)") == 0
    assert check.number("p", math.inf, "[0, inf]") == math.inf
    for value in (True, np.bool_(False), "1", b"1", torch.tensor([1.0]), None, [1]):
        refused(TypeError, "`p` must be a number; got", check.number, "p", value)
    for interval, value, rule in [
        *(("(0, inf)", 0, "be positive and finite"), ("(0, inf)", math.inf, "be positive and finite")),
        *(("[0, inf)", -1, "be zero or more, and finite"), ("[0, 1)", 1, r"be in \[0, 1\)")),
        *(("(-inf, inf)", math.nan, "be finite"), ("(-inf, inf)", 10**400, "be finite")),
        *(("(-inf, inf)", -math.inf, "be finite"), ("[0, 1]", 1.01, r"be in \[0, 1\]; got 1.01")),
    ]:
        refused(ValueError, rule, check.number, "p", value, interval)


def test_flags_texts_functions_and_paths_are_what_they_are():
    assert check.flag("f", True) is True
    assert check.flag("f", np.bool_(False)) is False
    assert check.text("t", "x") == "x"
    assert check.function("g", len) is len
    assert check.path("p", "a/b") == check.path("p", Path("a/b")) == Path("a/b")
    refused(TypeError, "True or False; got 1", check.flag, "f", 1)
    refused(TypeError, "a string; got 3", check.text, "t", 3)
    refused(ValueError, "not be empty", check.text, "t", "")
    refused(TypeError, "a function; got 3", check.function, "g", 3)
    for value in (3, "", None, b"a"):
        refused(TypeError, "must be a path", check.path, "p", value)


def test_a_choice_is_one_of_those_there_are_and_others_are_told_them():
    assert check.choice("c", "b", ("a", "b")) == "b"
    assert check.choice("c", 3, [3]) == 3
    refused(ValueError, '`c` must be "a", "b" or 3; got \'d\'\\.$', check.choice, "c", "d", ("a", "b", 3))
    refused(ValueError, '`c` must be "a"; got', check.choice, "c", {}, ("a",))
    refused(ValueError, r"got \[1\]\. Try a\.", check.choice, "c", [1], {"a"}, remedy="Try a.")
    assert check.instance("i", 3, (str, int)) == 3
    refused(
        TypeError,
        "`i` must be of class str or int; got None. So.",
        check.instance,
        "i",
        None,
        (str, int),
        remedy="So.",
    )
    refused(TypeError, r"of class int; got 'x'\.$", check.instance, "i", "x", int)


def test_a_value_is_shown_in_few_words():
    assert check.brief(torch.zeros(2, 3)) == "Tensor of torch.float32 [2, 3]"
    assert check.brief(np.zeros(4)) == "ndarray of float64 [4]"
    assert check.brief(torch.tensor(3)) == "3"
    assert check.brief(np.int8(5)) == "5"
    assert (check.brief(None), check.brief("a"), check.brief(len)) == ("None", "'a'", "len")
    assert check.brief(dict) == "dict"
    assert check.brief(object()) == "an object"
    assert len(check.brief("x" * 500)) <= 60
    assert len(check.brief(list(range(500)))) <= 60


def test_classes_are_kept_in_order_once_each():
    assert check.classes([3, 1, 3]) == (3, 1)
    assert check.classes({5, 2}) == check.classes(frozenset({2, 5})) == (2, 5)
    assert check.classes(torch.tensor([0])) == (0,)
    refused(ValueError, "at least one class; got none", check.classes, [])
    for mask in ([0, 1, 1], [1, 1], torch.tensor([0, 0, 1])):
        refused(TypeError, "mask", check.classes, mask)
    refused(ValueError, "`classes` must be zero or more; got -1", check.classes, [2, -1])
    refused(TypeError, r"several whole numbers; got 3: write \[3\]", check.classes, 3)


def test_whole_numbers_of_every_kind_and_size_that_int64_holds_are_taken():
    for value in (
        *([5, -7], (5, -7), np.array([5, -7]), np.array([5, -7], dtype=object), torch.tensor([5, -7])),
        *([np.int8(5), torch.tensor(-7)], iter([5, -7]), torch.tensor([5, -7], dtype=torch.int16)),
    ):
        found = check.column("c", value)
        assert (found.tolist(), found.dtype) == ([5, -7], torch.int64)
    ends = [-(2**63), 2**63 - 1]
    assert check.column("c", ends).tolist() == ends
    assert check.column("c", np.array([2**63 - 1], dtype=np.uint64)).tolist() == [2**63 - 1]
    for empty in ([], (), np.array([]), torch.tensor([])):
        assert check.column("c", empty).shape == (0,)
    for value in (
        [2**63],
        [-(2**63) - 1],
        np.array([2**63], dtype=np.uint64),
        torch.tensor([2**63], dtype=torch.uint64),
    ):
        refused(ValueError, "`c` must fit in int64; got -?9223372036854775", check.column, "c", value)
    refused(ValueError, r"`c` must have shape \[m\]; got \[1, 2\]", check.column, "c", torch.tensor([[1, 2]]))
    refused(TypeError, r"`c\[1\]` must be a whole number; got 'x'", check.column, "c", [1, "x"])
    refused(TypeError, r"the single 3: write \[3\]", check.column, "c", torch.tensor(3))
    refused(TypeError, r"got 9: write \[9\]", check.column, "c", 9)
    refused(TypeError, r"got True\.$", check.column, "c", True)
    refused(TypeError, "got torch.float32", check.column, "c", torch.tensor([1.0]))
    refused(TypeError, "got torch.complex64", check.column, "c", torch.tensor([1j]))
    refused(TypeError, "got ndarray of float64", check.column, "c", np.array([1.0]))
    for mask in (
        np.array([True]),
        torch.tensor([True]),
        [1, np.True_],
        [torch.tensor(True)],
        np.array([True, 3], dtype=object),
    ):
        refused(TypeError, "a mask of yes and no", check.column, "c", mask)


def test_labels_are_whole_numbers_and_what_they_are_instead_is_said():
    assert check.labels(torch.tensor([2.0, 0.0])).tolist() == [2, 0]
    assert check.labels(np.array([True, False])).tolist() == [1, 0]
    assert check.labels([]).shape == (0,)
    assert check.labels(torch.tensor([2.0**62], dtype=torch.float64)).tolist() == [2**62]
    assert check.labels(torch.tensor([0, 2**63 - 1], dtype=torch.uint64)).tolist() == [0, 2**63 - 1]
    one_hot, tall = torch.eye(3), torch.zeros(3, 1)
    refused(ValueError, r"got \[3, 3\]\. For one-hot rows use `y.argmax\(1\)`", check.labels, one_hot)
    refused(ValueError, r"got \[3, 1\]\. Flatten it: `y.flatten\(\)`", check.labels, tall)
    refused(ValueError, r"got \[2, 2, 2\]\.$", check.labels, torch.zeros(2, 2, 2))
    refused(ValueError, r"got \[\]\.$", check.labels, torch.tensor(1))
    refused(TypeError, "whole numbers; got torch.complex64", check.labels, torch.tensor([1j]))
    refused(ValueError, "fit in int64; got 0.5", check.labels, torch.tensor([1.0, 0.5]))
    refused(ValueError, "fit in int64; got", check.labels, torch.tensor([2.0**63], dtype=torch.float64))
    refused(
        ValueError,
        "must fit in int64; got 9223372036854775808",
        check.labels,
        torch.tensor([2**63], dtype=torch.uint64),
    )
    refused(ValueError, "2 labels are not, the smallest is -5", check.labels, [1, -1, -5])


def test_tensors_have_their_shape_and_no_nan_and_finite_ones_no_infinity():
    z = torch.tensor([[1.0, math.inf]])
    assert check.tensor("z", z) is check.tensor("z", z, "n k") is z
    assert check.finite("z", torch.ones(2, dtype=torch.int64)).tolist() == [1, 1]
    refused(TypeError, "`z` must be of class Tensor", check.tensor, "z", [1.0])
    refused(ValueError, r"`z` must have shape \[n\]; got \[1, 2\]", check.tensor, "z", z, "n")
    refused(
        ValueError, "must not hold NaN; 2 of its values are", check.tensor, "z", torch.full((2,), math.nan)
    )
    refused(ValueError, "must be finite; 1 of its values are not", check.finite, "z", z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_probabilities_may_be_off_by_rounding_and_by_no_more(dtype):
    p = torch.rand(50, 100, generator=torch.Generator().manual_seed(0)).softmax(1).to(dtype)
    assert check.probabilities("p", p) is p
    assert len(check.probabilities("p", p[:0])) == 0
    eps = torch.finfo(dtype).eps
    slack = max(64 * 10 * eps, 1e-6)
    row = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    if dtype == torch.float64:
        check.probabilities("p", row * (1 + 0.9 * slack))
        check.probabilities("p", row + torch.tensor([[-0.5 - 64 * eps, 0.5 + 64 * eps]], dtype=dtype))
        for wrong in (
            row * (1 + 1.1 * slack),
            row * (1 - 1.1 * slack),
            torch.tensor([[-1e-9, 1 + 1e-9]], dtype=dtype),
        ):
            refused(ValueError, "rows in \\[0, 1\\] that sum to 1", check.probabilities, "p", wrong)
    refused(
        TypeError,
        "must hold probabilities; got torch.int64",
        check.probabilities,
        "p",
        torch.ones(2, 1).long(),
    )
    refused(ValueError, "the worst sum 2", check.probabilities, "p", torch.tensor([[0.5, 0.5], [1.0, 1.0]]))


def test_what_is_no_column_of_numbers_is_no_tensor():
    assert check.as_tensor("a", [1.5]).tolist() == [1.5]
    assert check.as_tensor("a", tensor := torch.zeros(1)) is tensor
    refused(TypeError, "`a` must be a tensor, an array or a list of numbers", check.as_tensor, "a", ["x"])
    refused(TypeError, "`a` must be a tensor", check.as_tensor, "a", [[1], [1, 2]])


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


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (torch.tensor([True, False]), Sequence[float]),
        (torch.tensor([True, False]), Iterable[int]),
        (np.array([0.5]), Sequence[int]),
        (np.array([1, 2]), Sequence[str]),
        (torch.tensor(1.0), Sequence[float]),
        ({"a": 1}, Sequence[str]),
        ("abc", Iterable[str]),
    ],
)
def test_arrays_and_mappings_do_only_where_their_entries_would(value, hint):
    with pytest.raises(TypeError, match="`x` must be"):
        check.fit("x", value, hint)


def test_a_size_fits_in_int64_and_so_does_a_number_that_is_whole():
    assert check.whole("seed", 2**70) == 2**70
    with pytest.raises(ValueError, match="`n` must fit in int64"):
        check.whole("n", 2**63, 1)
    with pytest.raises(ValueError, match="`p` must be positive and finite"):
        check.number("p", 10**40, "(0, inf)")
    assert check.number("p", 1e40, "(0, inf)") == 1e40


@pytest.mark.parametrize("value", [True, np.True_, [1], torch.tensor([0, 1]), math.nan], ids=repr)
def test_a_choice_among_numbers_is_no_truth_value_and_one_value(value):
    with pytest.raises(ValueError, match="`c` must be 0, 1 or 2"):
        check.choice("c", value, [0, 1, 2])
