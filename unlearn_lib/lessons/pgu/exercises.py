"""The right answers to the exercises of lesson 04: stop reading if you want to find them yourself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from unlearn_lib.classroom.checks import Case, Exercise, differs, numbers

__all__ = ["project", "protected_rank", "safe_step"]

Stream = np.random.Generator
Array = np.ndarray


def _orthonormal(draw: Stream, n: int, k: int) -> Array:
    return np.linalg.qr(draw.normal(size=(n, n)))[0][:, :k]


def _project(G: Array, U: Array, k: int) -> Array:
    return np.asarray(G - G @ U[:, :k] @ U[:, :k].T)


def _project_cases(draw: Stream) -> Iterator[Case]:
    for m, n, ks in ((3, 5, (0, 2, 5)), (4, 4, (1, 3)), (6, 2, (1,)), (1, 7, (4,))):
        G, U = draw.normal(size=(m, n)), _orthonormal(draw, n, n)
        for k in ks:
            yield Case((G, U, k), f"G of shape {(m, n)} and k = {k}")


def _judge_project(got: Any, case: Case, right: Array) -> str | None:
    G, U, k = case.arguments
    found = numbers(got)
    if found.shape != G.shape:
        return f"the result must have the shape {G.shape} of G; got {found.shape}"
    if not np.allclose(found @ U[:, :k], 0, atol=1e-5):
        return f"with k = {k} a protected input still notices the step"
    if not np.allclose(found @ U[:, k:], G @ U[:, k:], atol=1e-5):
        return f"with k = {k} the other {len(U) - k} directions must stay as they are"
    return None


project = Exercise(_project, _project_cases, _judge_project, in_place=(0,))


def _rank(sigmas: Array, gamma: float, rule: str) -> int:
    v = np.asarray(sigmas, float) ** (2 if rule == "sigma2" else 1)
    return int((np.cumsum(v) / v.sum() < gamma - 1e-12).sum()) + 1


def _rank_cases(draw: Stream) -> Iterator[Case]:
    two, four = np.array([3.0, 1.0]), np.array([4.0, 2.0, 1.0, 1.0])
    for sigmas, gamma, rule in (
        (two, 0.75, "sigma"),
        (two, 0.76, "sigma"),
        (two, 0.9, "sigma2"),
        (two, 0.91, "sigma2"),
        (four, 0.5, "sigma"),
        (four, 0.75, "sigma"),
        (four, 0.8, "sigma2"),
        (np.array([2.0]), 0.3, "sigma"),
        (np.array([3.0, 1.0, 0.0, 0.0]), 1.0, "sigma"),
    ):
        yield Case((sigmas, gamma, rule), f"σ = {_row(sigmas)}, γ = {gamma} and {rule}")
    for n, gamma in ((6, 0.3), (30, 0.7), (30, 0.95)):
        sigmas = np.sort(draw.exponential(size=n))[::-1].copy()
        for rule in ("sigma", "sigma2"):
            yield Case((sigmas, gamma, rule), f"{n} random σ, γ = {gamma} and {rule}")


def _row(sigmas: Array) -> str:
    return f"({', '.join(f'{one:g}' for one in sigmas)})"


protected_rank = Exercise(
    _rank,
    _rank_cases,
    lambda got, case, right: (
        None if differs(got, right, case) is None else f"for {case} the rank is {right}; got {got!r:.60}"
    ),
)


def _safe_step(W: Array, G: Array, U: Array, lr: float, decay: float) -> Array:
    delta = -lr * (G + decay * W)
    return np.asarray(W + delta - delta @ U @ U.T)


def _safe_cases(draw: Stream) -> Iterator[Case]:
    for m, n, k, lr, decay in (
        (3, 6, 2, 0.1, 0.5),
        (3, 6, 2, 0.1, 0.0),
        (4, 4, 1, 1.0, 0.2),
        (2, 5, 5, 0.3, 0.1),
        (2, 3, 0, 0.5, 0.4),
        (1, 8, 3, 0.05, 2.0),
    ):
        W, G = draw.normal(size=(2, m, n))
        words = f"W of shape {(m, n)}, {k} protected directions, lr = {lr} and decay = {decay}"
        yield Case((W, G, _orthonormal(draw, n, k), lr, decay), words)


def _judge_safe(got: Any, case: Case, right: Array) -> str | None:
    W, _, U, _, _ = case.arguments
    found = numbers(got)
    if found.shape != W.shape:
        return f"the result must have the shape {W.shape} of W; got {found.shape}"
    seen = np.abs((found - W) @ U).max(initial=0)
    if not seen <= 1e-5:
        return f"the output of a retained input moves by up to {seen:.3g} (for {case})"
    if differs(got, right, case):
        return (
            "outside the protected directions the step must be that of the gradient *and* the decay, times "
            f"-lr (for {case})"
        )
    return None


safe_step = Exercise(_safe_step, _safe_cases, _judge_safe, in_place=(0, 1))
