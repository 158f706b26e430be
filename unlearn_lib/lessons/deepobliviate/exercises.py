"""The right answers to the exercises of lesson 01: stop reading if you want to find them yourself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from unlearn_lib.classroom.checks import Case, Exercise, differs, numbers

__all__ = ["expected_blocks", "residual_memory", "stitch"]

Stream = np.random.Generator
Array = np.ndarray


def _residual(before: Array, after: Array, before_new: Array, after_new: Array) -> float:
    return float(np.abs((after - before) - (after_new - before_new)).sum())


def _residual_cases(draw: Stream) -> Iterator[Case]:
    one, two, other = np.array([[1.0, 2.0, 3.0], [1.5, 2.0, 1.0], [2.0, -1.0, 4.0]])
    yield Case(
        (one, one + 1, two, two + 1), "two chains that learn the same from a block, however far apart,"
    )
    yield Case((one, one + 1, two, two + other), "the increments (1, 1, 1) and (2, -1, 4)")
    for n in (1, 5, 40):
        yield Case(tuple(draw.normal(size=(4, n))))


residual_memory = Exercise(
    _residual,
    _residual_cases,
    mistakes={
        "sum absolute values: increments of opposite sign must not cancel": lambda a, b, c, d: abs(
            ((b - a) - (d - c)).sum()
        ),
        "sum the absolute values, not the squares, and take no root": lambda a, b, c, d: np.linalg.norm(
            (b - a) - (d - c)
        ),
        "sum over the parameters, do not average": lambda a, b, c, d: np.abs((b - a) - (d - c)).mean(),
        "this compares the models after the block: that is the gap": lambda a, b, c, d: np.abs(b - d).sum(),
    },
)


def _stitch(final: torch.Tensor, stored: torch.Tensor, retrained: torch.Tensor) -> torch.Tensor:
    return final + (retrained - stored)


def _stitch_cases(draw: Stream) -> Iterator[Case]:
    def tensor(*shape: int, size: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(size * draw.normal(size=shape)).float()

    final, stored = tensor(1000), tensor(1000)
    yield Case((final, stored, stored.clone()), "M'_T = M_T")
    yield Case((final, stored, stored + 1), "M'_T = M_T + 1")
    yield Case((torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0]), torch.tensor([5.5, 3.0])))
    for shape in ((3,), (4, 5), (2, 3, 2, 2)):
        yield Case((tensor(*shape), tensor(*shape), tensor(*shape)))
    for size in (1e-4, 30.0):
        stored = tensor(500, size=size)
        yield Case((tensor(500), stored, stored.clone()), "M'_T = M_T")


def _judge_stitch(got: Any, case: Case, right: torch.Tensor) -> str | None:
    if said := differs(got, right, case):
        return said
    final, stored, retrained = case.arguments
    changed = int((numbers(got) != numbers(final)).sum()) if torch.equal(stored, retrained) else 0
    return (
        f"with nothing deleted, {changed} of {len(final)} values changed in the last bits"
        if changed
        else None
    )


stitch = Exercise(
    _stitch,
    _stitch_cases,
    _judge_stitch,
    mistakes={"the sign: what retraining *added* must be added": lambda f, s, r: f - (r - s)},
    in_place=(0, 2),
    tensors=True,
)


def _expected(B: int, k: int, t: int) -> float:
    """Exact: P(max <= m) = (m / B)^k, and P(min >= m) = ((B - m + 1) / B)^k."""
    m = np.arange(1, B + 1)
    greatest = (m / B) ** k - ((m - 1) / B) ** k
    return float((greatest * np.minimum(m + t, B)).sum() - (((B - m + 1) / B) ** k).sum() + 1)


def _expected_cases(draw: Stream) -> Iterator[Case]:
    for B, k, t in (
        (10, 1, 0),
        (10, 1, 20),
        (60, 2, 0),
        (10, 1, 3),
        (20, 2, 5),
        (5, 8, 1),
        (3, 2, 1),
        (1, 4, 2),
    ):
        yield Case((B, k, t), f"B, k, t = {(B, k, t)}")


def _judge_expected(got: Any, case: Case, right: float) -> str | None:
    found = numbers(got)
    if found.ndim == 0 and not abs(float(found) - right) <= 0.02 * right:
        return f"for {case} about {right:.2f} is right; got {float(found):.4g}"
    return differs(got, right, case) if found.ndim else None


expected_blocks = Exercise(_expected, _expected_cases, _judge_expected)
