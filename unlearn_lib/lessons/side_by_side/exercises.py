"""The right answers to the exercises of lesson 09: stop reading if you want to find them yourself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom.checks import Case, Exercise
from unlearn_lib.data import Examples
from unlearn_lib.lessons.start.exercises import gap_exercise
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.divergence import weight_distance
from unlearn_lib.params import clone

__all__ = ["gap_of_scores", "hidden_by_the_last_layer", "opposite"]

Stream = np.random.Generator


gap_of_scores = gap_exercise([["forget", "retain", "test"]] * 4)

Columns = Mapping[str, Mapping[str, float]]


def _opposites(columns: Columns) -> set[frozenset[str]]:
    """All pairs of audits where the best method of one is the worst of the other."""
    return {
        frozenset((one, other))
        for one, best in columns.items()
        for other, worst in columns.items()
        if one != other and min(best, key=best.__getitem__) == max(worst, key=worst.__getitem__)
    }


def _opposite_cases(draw: Stream) -> Iterator[Case]:
    agreed = {"a": {"m": 0.0, "n": 1.0}, "b": {"m": 0.1, "n": 0.3}}
    yield Case((agreed,))
    yield Case(({**agreed, "c": {"m": 1.0, "n": 0.0}},))
    yield Case(({"a": {"m": 0.0, "n": 0.5, "o": 1.0}, "b": {"m": 0.5, "n": 0.0, "o": 1.0}},))  # m, n; both o
    one_way = {"a": {"m": 0.0, "n": 0.5, "o": 1.0}, "b": {"m": 0.5, "n": 1.0, "o": 0.0}}
    yield Case((one_way,))  # the best of b is the worst of a, but not the other way round
    yield Case((dict(reversed(one_way.items())),))
    yield Case(({"a": {"m": 0.0, "n": 1.0}},))
    for audits, methods in ((2, 4), (3, 5), (4, 3), (3, 8), (5, 6), (2, 6)):
        values = draw.permutation(audits * methods).reshape(audits, methods) / 10
        yield Case(
            (
                {
                    f"audit {i}": {f"method {j}": float(v) for j, v in enumerate(row)}
                    for i, row in enumerate(values)
                },
            )
        )


def _judge_opposite(got: Any, case: Case, right: set[frozenset[str]]) -> str | None:
    (columns,) = case.arguments
    ends = ", ".join(f"{audit}: {_ends(column)}" for audit, column in columns.items())
    known = f"(best ... worst: {ends})"
    if got is None:
        return (
            f"{' and '.join(sorted(min(right, key=sorted)))} have opposite winners {known}" if right else None
        )
    if isinstance(got, str) or not isinstance(got, Iterable) or len(pair := list(got)) != 2:
        return f"return two audits, or None; got {got!r:.60}"
    if not all(isinstance(one, str) and one in columns for one in pair):
        return f"return the names of two audits among {', '.join(columns)}; got {got!r:.60}"
    if frozenset(pair) in right:
        return None
    return f"{' and '.join(pair)} are not such a pair {known}" + ("" if right else "; None is right")


def _ends(column: Mapping[str, float]) -> str:
    return f"{min(column, key=column.__getitem__)} ... {max(column, key=column.__getitem__)}"


opposite = Exercise(_opposites, _opposite_cases, _judge_opposite)


CHANGED = 0.01  # relative distance of a layer's weights; less is not learning
SOME = 0.05  # share of the samples; fewer do not count


@check.arguments
def hidden_by_the_last_layer(model: nn.Module, original: nn.Module, forget: Examples) -> bool:
    """Whether a model has not forgotten a class but only keeps its last layer from naming it.

    This is so if no other layer has moved noticeably; or if the last layer, put on the original, hides the
    class as well as the model does, and the original's last layer, put on the model, brings it back.

    Args:
        model: the unlearned model.
        original: the model before, with the same layers.
        forget: samples of the class.
    """
    moved = weight_distance(model, original).layers
    *before, last = moved
    if max((moved[name] for name in before), default=0.0) < CHANGED:
        return True
    hiding, shown = (_with_layer(*pair, last) for pair in ((original, model), (model, original)))
    hides = accuracy(hiding, forget) <= min(accuracy(model, forget), SOME)
    return hides and accuracy(shown, forget) >= (1 - SOME) * accuracy(original, forget)


def _with_layer(model: nn.Module, donor: nn.Module, layer: str) -> nn.Module:
    """A copy of a model with one layer of another."""
    theirs = {name: value for name, value in donor.state_dict().items() if name.rpartition(".")[0] == layer}
    twin = clone(model).eval()
    twin.load_state_dict({**twin.state_dict(), **theirs})
    return twin
