"""Slow and obvious twins of the fast code, to compare with."""

from __future__ import annotations

import math

from torch import Tensor, nn

# --- metrics ---------------------------------------------------------------------------------------------


def js_slow(p: list[float], q: list[float]) -> float:
    """Jensen-Shannon divergence of two distributions, term by term."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        if a > 0:
            total += a * math.log(a / m) / 2
        if b > 0:
            total += b * math.log(b / m) / 2
    return total


def reversed_kl_over_k(p: list[float], q: list[float]) -> float:
    """The circulated JS of one sample: arguments of both divergences swapped, divided by K once too often."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += (m * math.log(m / a) + m * math.log(m / b)) / 2
    return total / len(p)


def pair_counting_auc(members: list[float], others: list[float]) -> float:
    """Share of pairs in which the member scores higher; a tie counts half."""
    wins = sum((m > o) + (m == o) / 2 for m in members for o in others)
    return wins / (len(members) * len(others))


def sorted_w1(a: list[float], b: list[float]) -> float:
    """Wasserstein-1 distance of two samples of one size: mean distance of the sorted values."""
    return sum(abs(x - y) for x, y in zip(sorted(a), sorted(b), strict=True)) / len(a)


def accuracy_slow(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """One sample at a time."""
    model.eval()
    right = 0
    for i in range(len(x)):
        scores = model(x[i : i + 1])[0].tolist()
        right += scores.index(max(scores)) == int(y[i])
    return right / len(x)
