"""The right answer to the exercise of lesson 05: stop reading if you want to find it yourself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from unlearn_lib.classroom.checks import Case, Exercise

__all__ = ["wrong_label"]


def _label(own: int, classes: Sequence[int], number: int) -> int:
    others = [label for label in classes if label != own]
    return others[number % len(others)]


def _cases(draw: np.random.Generator) -> Iterator[Case]:
    for number in range(4):
        yield Case((1, [0, 1, 2], number), f"class 1 of 0, 1 and 2, and the number {number}")
    for number in range(4):
        yield Case((1, [0, 2, 3], number), f"class 1, which is to go as a whole, and the number {number}")
    yield Case((5, [2, 5], 7), "two classes")
    for _ in range(30):
        classes = sorted(draw.choice(20, size=int(draw.integers(2, 8)), replace=False).tolist())
        yield Case((int(draw.integers(20)), classes, int(draw.integers(10**12))))


def _judge(got: object, case: Case, right: int) -> str | None:
    own, classes, _ = case.arguments
    others = [label for label in classes if label != own]
    if isinstance(got, bool) or not isinstance(got, int | np.integer):
        return f"one class is asked for, as a whole number; got {type(got).__name__}"
    if got == own:
        return f"the label must not be the sample's own class; for {case} it is"
    if got not in others:
        return f"the label must be one of the classes that stay; for {case} it is {got}"
    return None if got == right else f"for {case} the answer is {right}, not {got}"


wrong_label = Exercise(
    _label,
    _cases,
    judge=_judge,
    mistakes={
        "each of the others as often: the class after its own one must not get two shares": lambda o, c, n: (
            c[n % len(c)] if c[n % len(c)] != o else c[(n + 1) % len(c)]
        ),
        "the classes need not be 0, 1, 2, ...: choose from the list": lambda o, c, n: (
            (n % (len(c) - 1)) + ((n % (len(c) - 1)) >= o)
        ),
    },
)
