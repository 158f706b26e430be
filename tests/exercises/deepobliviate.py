"""Right and wrong answers to the exercises of lesson 01; a wrong one with words of what it must be told."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def loop(before: Any, after: Any, before_new: Any, after_new: Any) -> float:
    total = 0.0
    for a, b, c, d in zip(before, after, before_new, after_new, strict=True):
        total += abs((b - a) - (d - c))
    return total


def subtracts_in_place(before: Any, after: Any, before_new: Any, after_new: Any) -> Any:
    after -= before
    after_new -= before_new
    return np.abs(after - after_new).sum()


def stitch_in_place(final: Any, stored: Any, retrained: Any) -> Any:
    final += retrained - stored
    return final


def stitch_by_torch_in_place(final: Any, stored: Any, retrained: Any) -> Any:
    return final.add_(retrained.sub_(stored))


def destroys_stored(final: Any, stored: Any, retrained: Any) -> Any:
    return final + stored.neg_().add_(retrained)


def stitch_zeroes(final: Any, stored: Any, retrained: Any) -> Any:
    final.zero_()
    return final


def simulated(B: int, k: int, t: int) -> float:
    stream = random.Random(1)
    total = 0
    for _ in range(6_000):
        blocks = [stream.randint(1, B) for _ in range(k)]
        total += min(max(blocks) + t, B) - min(blocks) + 1
    return total / 6_000


def by_torch(B: int, k: int, t: int) -> Any:
    d = torch.randint(1, B + 1, (40_000, k), generator=torch.Generator().manual_seed(0))
    return ((d.max(1).values + t).clamp(max=B) - d.min(1).values + 1).double().mean()


def exact(B: int, k: int, t: int) -> float:
    greatest = [(m / B) ** k - ((m - 1) / B) ** k for m in range(1, B + 1)]
    top = sum(p * min(m + t, B) for m, p in enumerate(greatest, 1))
    return top - sum(p * (B + 1 - m) for m, p in enumerate(greatest, 1)) + 1


def blocks_of(B: int, k: int, low: int = 1) -> Any:
    return np.random.default_rng(0).integers(low, B + low, (20_000, k))


def distinct(B: int, k: int, t: int) -> float:
    stream = np.random.default_rng(0)
    d = np.array([stream.choice(B, min(k, B), replace=False) + 1 for _ in range(4_000)])
    return float((np.minimum(d.max(1) + t, B) - d.min(1) + 1).mean())


def from_zero(B: int, k: int, t: int) -> float:
    d = blocks_of(B, k, 0)
    return float((np.minimum(d.max(1) + t, B) - d.min(1) + 1).mean())


def spread(B: int, k: int, t: int, *, cap: bool = True, one: int = 1) -> float:
    d = blocks_of(B, k)
    top = np.minimum(d.max(1) + t, B) if cap else d.max(1) + t
    return float((top - d.min(1) + one).mean())


ANSWERS: dict[str, Any] = {
    "residual_memory": {
        "right": {
            "in a loop": loop,
            "torch": lambda a, b, c, d: (
                (torch.as_tensor(b) - torch.as_tensor(a) - torch.as_tensor(d) + torch.as_tensor(c))
                .abs()
                .sum()
            ),
            "tensors only": lambda a, b, c, d: b.sub(a).sub(d.sub(c)).abs().sum().item(),
            "float32": lambda a, b, c, d: np.abs(np.float32((b - a) - (d - c))).sum(),
            "norm of order one": lambda a, b, c, d: np.linalg.norm(d - c - b + a, 1),
        },
        "wrong": {
            "the gap": (lambda a, b, c, d: np.abs(b - d).sum(), "that is the gap"),
            "no absolute value": (lambda a, b, c, d: ((b - a) - (d - c)).sum(), "6 is right; got"),
            "absolute value of the sum": (
                lambda a, b, c, d: abs(((b - a) - (d - c)).sum()),
                "must not cancel",
            ),
            "Euclidean": (lambda a, b, c, d: np.linalg.norm((b - a) - (d - c)), "no root"),
            "squares": (lambda a, b, c, d: (((b - a) - (d - c)) ** 2).sum(), "6 is right"),
            "mean": (lambda a, b, c, d: np.abs((b - a) - (d - c)).mean(), "do not average"),
            "maximum": (lambda a, b, c, d: np.abs((b - a) - (d - c)).max(), "6 is right"),
            "increments added": (
                lambda a, b, c, d: np.abs((b - a) + (d - c)).sum(),
                "have residual 0|0 is right",
            ),
            "one increment": (lambda a, b, c, d: np.abs(b - a).sum(), "0 is right; got 3"),
            "a constant more": (lambda a, b, c, d: loop(a, b, c, d) + 1e-3, "0 is right"),
            "each by itself": (lambda a, b, c, d: np.abs((b - a) - (d - c)), "one number is right"),
            "in place": (subtracts_in_place, "changes its argument `after`"),
            "zero": (lambda a, b, c, d: 0.0, "6 is right; got 0"),
            "nothing": (lambda a, b, c, d: None, "returned nothing"),
        },
    },
    "stitch": {
        "right": {
            "in place": stitch_in_place,
            "torch, in place": stitch_by_torch_in_place,
            "NumPy": lambda f, s, r: np.asarray(f) + (np.asarray(r) - np.asarray(s)),
            "arrays only": lambda f, s, r: f.astype(np.float64) + (r - s).astype(np.float64),
            "float64": lambda f, s, r: f.double() + (r.double() - s.double()),
            "torch.add": lambda f, s, r: torch.add(f, torch.sub(r, s)),
        },
        "wrong": {
            "the other way to write it": (lambda f, s, r: r + (f - s), "changed in the last bits"),
            "from left to right": (lambda f, s, r: f + r - s, "changed in the last bits"),
            "a constant more": (lambda f, s, r: f + (r - s) + 1, "is right, got"),
            "a small constant more": (lambda f, s, r: f + (r - s) + 1e-4, "is right, got"),
            "the sign": (lambda f, s, r: f - (r - s), "the sign"),
            "half": (lambda f, s, r: f + 0.5 * (r - s), "is right"),
            "the retrained": (lambda f, s, r: r, "is right, got"),
            "the final": (lambda f, s, r: f, "M'_T = M_T + 1"),
            "the mean": (lambda f, s, r: (f + r) / 2, "is right, got"),
            "one shift for all": (lambda f, s, r: f + (r - s).mean(), "is right; got"),
            "destroys what is stored": (destroys_stored, "changes its argument `stored`"),
            "zeros, in place": (stitch_zeroes, "is right, got 0"),
            "flat": (lambda f, s, r: (f + (r - s)).flatten(), "shape"),
            "nothing": (lambda f, s, r: None, "returned nothing"),
        },
    },
    "expected_blocks": {
        "right": {"a loop of dice": simulated, "torch": by_torch, "exact": exact},
        "wrong": {
            "t ignored": (lambda B, k, t: spread(B, k, 0), "(10, 1, 20) about 5.50 is right"),
            "t only beyond the end": (lambda B, k, t: spread(B, k, t if t >= B else 0), "(10, 1, 3)"),
            "no cap": (lambda B, k, t: spread(B, k, t, cap=False), "(10, 1, 20)"),
            "off by one": (lambda B, k, t: spread(B, k, t, one=0), "(10, 1, 0) about 1.00 is right; got 0"),
            "blocks from zero": (from_zero, "is right; got"),
            "blocks that differ": (distinct, "is right; got"),
            "from the first block": (lambda B, k, t: min(B, exact(B, k, t) + t), "is right; got"),
            "k ignored": (lambda B, k, t: exact(B, 1, t), "(60, 2, 0)"),
            "always the first": (lambda B, k, t: B, "(10, 1, 0)"),
            "the examples": (
                lambda B, k, t: {(10, 1, 0): 1.0, (10, 1, 20): 5.5, (60, 2, 0): 20.99}.get((B, k, t), 1.0),
                "(10, 1, 3)",
            ),
            "all draws": (lambda B, k, t: blocks_of(B, k).max(1), "one number is right"),
            "nothing": (lambda B, k, t: None, "returned nothing"),
        },
    },
}
