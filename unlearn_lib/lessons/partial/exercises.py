"""The right answers to the exercises of lesson 03: stop reading if you want to find them yourself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from unlearn_lib.classroom.checks import Case, Exercise, numbers

__all__ = ["kept", "partial_step", "to_subtract"]

Stream = np.random.Generator
Array = np.ndarray


def _count(p: float, n: int) -> int:
    return math.ceil(round(p * n, 9))


def _kept(update: Array, p: float) -> Array:
    mask = np.zeros(len(update), bool)
    mask[np.argsort(-np.abs(update), kind="stable")[: _count(p, len(update))]] = True
    return mask


def _kept_cases(draw: Stream) -> Iterator[Case]:
    yield Case((np.array([1.0, -5.0, 3.0, 2.0]), 0.5))
    yield Case((np.array([4.0, 1.0, -3.0, 2.0, 5.0]), 0.5))
    yield Case((np.array([4.0, 1.0, -3.0, 2.0, 5.0]), 0.45))
    yield Case((np.ones(4), 0.5))
    yield Case((np.array([2.0, -2.0, 2.0, 0.0, -2.0]), 0.4))
    yield Case((np.arange(100.0), 0.07), "the numbers from 0 to 99 and p = 0.07")
    yield Case((draw.normal(size=9), 1.0))
    yield Case((np.zeros(7), 0.25))
    for n, p in ((501, 0.3), (1000, 0.5)):
        yield Case(
            (draw.integers(-3, 4, n).astype(float), p),
            f"{n} entries from -3 to 3, many of them equal, and p = {p}",
        )
    for n, p in ((3, 0.1), (33, 0.77), (64, 0.01)):
        yield Case((draw.normal(size=n), p), f"{n} random entries and p = {p}")


def _judge_kept(got: Any, case: Case, right: Array) -> str | None:
    found = numbers(got, booleans=True)
    if found.shape != right.shape or not np.isin(found, (0, 1)).all():
        return f"return a mask: True or False for each of the {len(right)} entries; got {got!r:.60}"
    mine, wanted = np.flatnonzero(found).tolist(), np.flatnonzero(right).tolist()
    if mine == wanted:
        return None
    if len(mine) != len(wanted):
        k = f"⌈p n⌉ = ⌈{case.arguments[1]} · {len(right)}⌉"
        return f"for {case}: {k} is {len(wanted)}; the mask is true at {len(mine)} places"
    if len(wanted) <= 8:
        return f"for {case} the places {wanted} are right; got {mine}"
    update = np.abs(case.arguments[0])
    if sorted(update[mine]) == sorted(update[wanted]):
        return f"for {case}: in a tie, keep the *earlier* entry"
    return f"for {case}: the entries kept are not those with the largest absolute values"


kept = Exercise(_kept, _kept_cases, _judge_kept)


def _to_subtract(batches: Sequence[Sequence[int]], requests: Sequence[set[int]]) -> list[list[int]]:
    done: set[int] = set()
    answer = []
    for request in requests:
        now = [n for n, batch in enumerate(batches) if n not in done and set(batch) & request]
        done |= set(now)
        answer.append(now)
    return answer


def _subtract_cases(draw: Stream) -> Iterator[Case]:
    batches = [[1, 2], [3, 4], [1, 3], [5, 6]]
    for requests in ([{1}], [{1}, {3}], [{1}, {2}], [{1, 3}], [{3}, {9}, set(), {1}, {3}], []):
        yield Case((batches, requests))
    yield Case(([[1, 2], [3], [1, 2], [3]], [{2}, {3}]))  # the same batch in two epochs
    for n in (6, 20):
        drawn = [draw.choice(n, 4, replace=False).tolist() for _ in range(n)]
        yield Case((drawn, [{int(one)} for one in draw.choice(n, 4)]))


def _judge_subtract(got: Any, case: Case, right: list[list[int]]) -> str | None:
    batches, requests = case.arguments
    asked = f"for the batches {batches} and the requests {requests},"
    if isinstance(got, str | bytes | Mapping) or not isinstance(got, Iterable):
        return f"return a list, with a list of batch numbers for each request; got {got!r:.60}"
    answers = list(got)
    if len(answers) != len(requests):
        return f"{asked} {len(right)} lists are right; got {got!r:.60}"
    if any(isinstance(one, str | Mapping) or not isinstance(one, Iterable) for one in answers):
        return f"return a list of batch numbers *for each* request; got {got!r:.60}"
    found = [sorted(int(n) for n in one) for one in answers]
    if found == right:
        return None
    if sum(map(len, found)) > len({n for one in found for n in one}):
        return f"{asked} a batch is subtracted twice: {found}"
    return f"{asked} {right} is right; got {found}"


to_subtract = Exercise(_to_subtract, _subtract_cases, _judge_subtract)


def _partial_step(old: torch.Tensor, new: torch.Tensor, gradient: torch.Tensor, p: float) -> torch.Tensor:
    mask = torch.zeros(old.numel(), dtype=torch.bool)
    mask[gradient.abs().flatten().argsort(descending=True, stable=True)[: _count(p, old.numel())]] = True
    return torch.where(mask.view_as(old), new, old)


def _step_cases(draw: Stream) -> Iterator[Case]:
    def tensors(*shape: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(draw.normal(size=shape)).float() for _ in range(3))

    yield Case((*tensors(20, 50), 0.1), "1000 entries and p = 0.1")
    yield Case((torch.tensor([-0.0, 1.0]), torch.tensor([math.inf, 2.0]), torch.tensor([0.0, 1.0]), 0.5))
    for shape, p in (
        ((5,), 0.5),
        ((3, 3), 0.45),
        ((7,), 0.25),
        ((2, 3, 2, 2), 0.3),
        ((6,), 1.0),
        ((4, 5), 0.0),
    ):
        yield Case((*tensors(*shape), p), f"{math.prod(shape)} entries in the shape {shape} and p = {p}")
    old, new, _ = tensors(40)
    ties = torch.from_numpy(draw.integers(-2, 3, 40)).float()
    yield Case((old, new, ties, 0.55), "40 entries, many of whose gradients are equal, and p = 0.55")


def _judge_step(got: Any, case: Case, right: torch.Tensor) -> str | None:
    old, new, gradient = (numbers(one) for one in case.arguments[:3])
    found, p = numbers(got), case.arguments[3]
    if found.shape != old.shape:
        return f"the result must have the shape {old.shape} of `old`; got {found.shape}"
    moved, size, k = found != old, np.abs(gradient), _count(p, old.size)
    if int(moved.sum()) != k:
        return f"of {old.size} entries, p = {p} moves {k}; {int(moved.sum())} moved (for {case})"
    if moved.any() and not moved.all() and size[moved].min() < size[~moved].max():
        return f"for {case}: the entries that moved are not those with the largest absolute gradients"
    if (found[moved] != new[moved]).any():
        return "an entry that moves must take its new value, bit for bit"
    if (np.signbit(found) != np.signbit(old))[~moved].any():
        return "an entry that stays must keep its bits, even those of -0.0"
    return None


partial_step = Exercise(_partial_step, _step_cases, _judge_step, in_place=(0, 1), tensors=True)
