"""The right answers to the exercises of lesson 00: stop reading if you want to find them yourself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from unlearn_lib.classroom.checks import Case, Exercise

__all__ = ["attack", "average_gap"]

Stream = np.random.Generator
Array = np.ndarray


def _gap(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    return sum(abs(unlearned[part] - retrained[part]) for part in retrained) / len(retrained)


def _gap_cases(parts: Sequence[Sequence[str]]) -> Callable[[Stream], Iterator[Case]]:
    """Models near and far; in the last cases the two list their keys in different orders."""

    def cases(draw: Stream) -> Iterator[Case]:
        reference = {"forget": 0.9, "retain": 1.0, "test": 0.8}
        yield Case((reference, reference), "the reference itself")
        yield Case(({"forget": 0.0, "retain": 1.0, "test": 0.8}, reference), "a model that over-forgets")
        yield Case(
            ({"forget": 1.0, "retain": 0.9, "test": 0.8}, reference), "a model with errors of opposite sign"
        )
        for names in parts:
            scores = [dict(zip(names, draw.random(len(names)).tolist(), strict=True)) for _ in range(2)]
            yield Case((dict(reversed(scores[0].items())), scores[1]))

    return cases


_GAP_MISTAKES = {
    "a distance has no sign: take the absolute value of each difference": lambda u, r: (
        sum(u[part] - r[part] for part in r) / len(r)
    ),
    "errors must not cancel: take the absolute value before the mean": lambda u, r: abs(
        sum(u[part] - r[part] for part in r) / len(r)
    ),
    "return the mean of the scores, not the sum": lambda u, r: sum(abs(u[part] - r[part]) for part in r),
    "the two may list their scores in different orders: go by the keys": lambda u, r: (
        sum(abs(a - b) for a, b in zip(u.values(), r.values(), strict=True)) / len(r)
    ),
    "take the absolute distance, not its square": lambda u, r: (
        sum((u[part] - r[part]) ** 2 for part in r) / len(r)
    ),
}


def gap_exercise(parts: Sequence[Sequence[str]]) -> Exercise:
    """The average gap, asked of scores with these names."""
    return Exercise(_gap, _gap_cases(parts), mistakes=_GAP_MISTAKES)


average_gap = gap_exercise([["forget", "test"], ["a", "b", "c", "d", "e"], ["test", "forget", "retain"]])


def _attack(member_losses: Array, other_losses: Array, threshold: float) -> tuple[float, float]:
    return float((member_losses <= threshold).mean()), float((other_losses <= threshold).mean())


def _attack_cases(draw: Stream) -> Iterator[Case]:
    members, others = np.array([0.1, 0.2, 0.3, 2.0]), np.array([0.3, 1.0])
    for threshold in (0.3, 0.0, 5.0, 1.0):
        yield Case((members, others, threshold), f"the threshold {threshold}")
    for n, m in ((7, 30), (40, 3)):
        losses, other = draw.exponential(size=n), draw.exponential(size=m)
        for threshold in (float(losses[0]), float(other[0]), 0.5):
            yield Case((losses, other, threshold))


attack = Exercise(
    _attack,
    _attack_cases,
    mistakes={
        "*at most* the threshold: a loss that equals it counts": lambda a, b, t: (
            (a < t).mean(),
            (b < t).mean(),
        ),
        "members are those below the threshold, not above it": lambda a, b, t: (
            (a >= t).mean(),
            (b >= t).mean(),
        ),
        "first the members' rate, then the others'": lambda a, b, t: _attack(b, a, t),
        "return the share, not the number": lambda a, b, t: ((a <= t).sum(), (b <= t).sum()),
    },
)
