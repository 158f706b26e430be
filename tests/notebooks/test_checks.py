"""How answers are checked: on copies, fairly, and whatever they raise."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from unlearn_lib.classroom import checks
from unlearn_lib.classroom.checks import Answer, Case, Exercise, differs, numbers

CASE = Case((), "this case")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "display", lambda *_, **__: None)


def status(function: Any, checker: Any) -> str:
    return checks.exercise("one", function, checker)


def doubled() -> Exercise:
    def cases(draw: np.random.Generator) -> Iterator[Case]:
        yield Case((np.array([1.0, 2.0]),))
        yield Case((draw.normal(size=(3, 4)),))

    return Exercise(lambda x: 2 * x, cases, mistakes={"twice, not four times": lambda x: 4 * x})


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="`function` must be a function; got None"):
        status(None, doubled())
    with pytest.raises(TypeError, match="`checker` must be a function"):
        status(len, "pass")


def test_a_checker_that_asks_nothing_passes_nobody() -> None:
    with pytest.raises(ValueError, match="must call the function at least once"):
        status(len, lambda function: None)


@pytest.mark.parametrize("said", [True, False, "", 3])
def test_a_checker_says_what_is_wrong_in_a_sentence(said: Any) -> None:
    def checker(function: Any) -> Any:
        function("")
        return said

    with pytest.raises(TypeError, match="`checker` must return None or a sentence"):
        status(len, checker)


def test_an_answer_cannot_change_what_it_is_compared_with() -> None:
    given = np.ones(3), [1, [2]], {"a": torch.ones(2)}, {1}

    def spoil(array: Any, row: Any, table: Any, some: Any) -> int:
        array[:] = 0
        row[1].append(3)
        table["a"].zero_()
        some.clear()
        return 1

    def checker(function: Any) -> None:
        function(*given)

    assert status(spoil, checker) == (
        "your function changes its argument `array`, which the caller still needs: work on a copy of it"
    )
    assert (given[0] == 1).all()
    assert given[1:2] == ([1, [2]],)
    assert given[2]["a"].tolist() == [1, 1]
    assert given[3] == {1}


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x["list"].append(1),
        lambda x: x["array"].fill(1.0 + 1e-12),
        lambda x: x["zero"].mul_(-1),  # a zero with another sign
        lambda x: x["tensor"].resize_(1),
        lambda x: x["set"].add(2),
        lambda x: x.pop("set"),
        lambda x: x.update(new=1),
    ],
)
def test_every_change_of_an_argument_is_noticed(change: Any) -> None:
    value = {"list": [], "array": np.ones(2), "zero": torch.zeros(1), "tensor": torch.ones(3), "set": {1}}

    def answer(x: Any) -> int:
        change(x)
        return 1

    with pytest.raises(AssertionError, match="changes its argument `x`"):
        Answer(answer)(value)
    assert Answer(answer, in_place=[0])(value) == 1


def test_an_answer_that_raises_pass_does_not_pass() -> None:
    def answer(x: Any) -> Any:
        raise AssertionError("pass")

    assert status(answer, doubled()).startswith("your code raised AssertionError: pass, for (1, 2)")


def test_an_answer_that_exits_does_not_end_the_notebook() -> None:
    def answer(x: Any) -> Any:
        raise SystemExit(0)

    assert status(answer, doubled()).startswith("your code raised SystemExit: 0")


def test_what_a_checker_cannot_digest_is_not_said_to_be_raised() -> None:
    found = status(lambda: "a", lambda function: function() + 1)
    assert found.startswith("the answer cannot be checked (TypeError: ")
    assert "is it of the right kind?" in found


def test_arrays_and_tensors_do_alike() -> None:
    assert status(lambda x: x.copy() * 2, doubled()) == "pass"  # no tensor has `copy`
    assert status(lambda x: x.clone() * 2, doubled()) == "pass"  # no array has `clone`
    assert status(lambda x: torch.as_tensor(x, dtype=torch.float32) * 2, doubled()) == "pass"
    assert "is right; got (3, 6)" in status(lambda x: x.clone() * 3, doubled()), "and mistakes are told"
    assert "AttributeError" in status(lambda x: x.double_me(), doubled())


def test_a_mistake_is_named_where_the_answer_makes_it_everywhere() -> None:
    assert status(lambda x: 4 * x, doubled()) == "twice, not four times"
    assert (
        status(lambda x: 4 * x if x.ndim == 1 else 5 * x, doubled())
        == "for (1, 2) (2, 4) is right; got (4, 8)"
    )


def test_who_remembers_the_questions_fails() -> None:
    seen: list[bytes] = []

    def answer(x: Any) -> Any:
        seen.append(x.tobytes())
        return 2 * x + (seen.count(seen[-1]) > 1)

    assert "is right; got" in status(answer, doubled())


def test_right_on_the_example_only_is_wrong() -> None:
    assert "entries are wrong" in status(lambda x: 2 * x if x.ndim == 1 else x, doubled())


@pytest.mark.parametrize(
    "one",
    [
        2,
        2.0,
        np.float32(2),
        np.int64(2),
        np.array(2.0),
        torch.tensor(2),
        Fraction(2),
        torch.tensor(2.0).bfloat16(),
    ],
)
def test_a_number_is_a_number_in_every_form(one: Any) -> None:
    assert numbers(one).tolist() == 2.0
    assert differs(one, 2.0, CASE) is None


@pytest.mark.parametrize("one", ["2", True, None, 2j, len, [1, [2, 3]], {"a": 1}, (i for i in "ab")])
def test_what_is_no_number_is_told(one: Any) -> None:
    with pytest.raises(AssertionError, match="the answer must be made of numbers"):
        numbers(one)


def test_shapes_are_not_broadcast() -> None:
    assert differs(1.0, [1.0, 1.0], CASE) == "for this case an array of shape (2,) is right; got one number"
    assert differs([1.0], 1.0, CASE) == "for this case one number is right; got an array of shape (1,)"


def test_an_answer_that_says_it_equals_everything_does_not() -> None:
    class Yes:
        def __eq__(self, other: object) -> bool:
            return True

        def __array__(self, *_: Any, **__: Any) -> Any:
            return np.array([2.0, 4.0])

    assert "must be made of numbers; got a Yes" in status(lambda x: Yes(), doubled())
    assert "is right; got (nan, nan)" in status(lambda x: x * np.nan, doubled())
