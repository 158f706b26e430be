"""Right and wrong answers to the exercises of lesson 00; a wrong one with words of what it must be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

REMEMBERED: list[float] = []


def in_a_loop(unlearned: Any, retrained: Any) -> float:
    total = 0.0
    for part in unlearned:
        total += abs(unlearned[part] - retrained[part])
    return total / len(unlearned)


def pops(unlearned: Any, retrained: Any) -> float:
    n = len(retrained)
    return sum(abs(unlearned.pop(part) - value) for part, value in retrained.items()) / n


def remembers(unlearned: Any, retrained: Any) -> float:
    REMEMBERED.append(in_a_loop(unlearned, retrained))
    return max(REMEMBERED)


def attack_in_a_loop(members: Any, others: Any, threshold: float) -> list[float]:
    return [sum(1 for x in losses if x <= threshold) / len(losses) for losses in (members, others)]


def attack_in_torch(members: Any, others: Any, threshold: float) -> Any:
    return torch.stack([(torch.as_tensor(x) <= threshold).double().mean() for x in (members, others)])


def attack_for_tensors(members: Any, others: Any, threshold: float) -> Any:
    return members.le(threshold).float().mean(), others.le(threshold).float().mean()


def sorts(members: Any, others: Any, threshold: float) -> Any:
    members.sort()
    return np.searchsorted(members, threshold, "right") / len(members), (others <= threshold).mean()


def attack_by_sorting(members: Any, others: Any, threshold: float) -> Any:
    return [np.searchsorted(np.sort(x), threshold, "right") / len(x) for x in (members, others)]


ANSWERS: dict[str, Any] = {
    "average_gap": {
        "right": {
            "in a loop": in_a_loop,
            "NumPy": lambda u, r: np.mean([abs(u[k] - r[k]) for k in r]),
            "float32": lambda u, r: np.abs(np.float32([u[k] - r[k] for k in r])).mean(),
            "torch": lambda u, r: torch.tensor([u[k] - r[k] for k in u]).abs().mean(),
            "an array of no dimension": lambda u, r: np.array(in_a_loop(u, r)),
        },
        "wrong": {
            "no absolute value": (lambda u, r: sum(u[k] - r[k] for k in r) / len(r), "no sign"),
            "the sum": (lambda u, r: sum(abs(u[k] - r[k]) for k in r), "not the sum"),
            "squares": (lambda u, r: sum((u[k] - r[k]) ** 2 for k in r) / len(r), "not its square"),
            "root of squares": (lambda u, r: np.sqrt(np.mean([(u[k] - r[k]) ** 2 for k in r])), "is right"),
            "the maximum": (lambda u, r: max(abs(u[k] - r[k]) for k in r), "is right; got"),
            "always three": (lambda u, r: sum(abs(u[k] - r[k]) for k in r) / 3, "is right; got"),
            "by order": (
                lambda u, r: np.mean([abs(a - b) for a, b in zip(u.values(), r.values(), strict=True)]),
                "different orders",
            ),
            "one score": (lambda u, r: abs(u["forget"] - r["forget"]) / len(r), "is right; got"),
            "too high only": (lambda u, r: np.mean([max(u[k] - r[k], 0) for k in r]), "over-forgets"),
            "a constant more": (lambda u, r: in_a_loop(u, r) + 1e-3, "the reference itself"),
            "zero": (lambda u, r: 0.0, "over-forgets"),
            "nothing": (lambda u, r: None, "returned nothing"),
            "each by itself": (lambda u, r: [abs(u[k] - r[k]) for k in r], "one number is right"),
            "words": (lambda u, r: "small", "made of numbers; got 'small'"),
            "NaN": (lambda u, r: float("nan"), "the reference itself"),
            "takes it apart": (pops, "changes its argument `unlearned`"),
            "remembers": (remembers, "is right; got"),
        },
    },
    "attack": {
        "right": {
            "in a loop": attack_in_a_loop,
            "torch": attack_in_torch,
            "for tensors only": attack_for_tensors,
            "np.mean": lambda m, o, t: (np.mean(m <= t), np.mean(o <= t)),
            "an array": lambda m, o, t: np.array([(m <= t).mean(), (o <= t).mean()], np.float32),
            "not above": lambda m, o, t: (1 - (m > t).mean(), 1 - (o > t).mean()),
            "a sorted copy": attack_by_sorting,
        },
        "wrong": {
            "below": (lambda m, o, t: ((m < t).mean(), (o < t).mean()), "at most"),
            "below, for others": (lambda m, o, t: ((m <= t).mean(), (o < t).mean()), "is right; got"),
            "above": (lambda m, o, t: ((m >= t).mean(), (o >= t).mean()), "not above it"),
            "counts": (lambda m, o, t: ((m <= t).sum(), (o <= t).sum()), "not the number"),
            "exchanged": (lambda m, o, t: ((o <= t).mean(), (m <= t).mean()), "first the members'"),
            "the threshold ignored": (
                lambda m, o, t: ((m <= 0.3).mean(), (o <= 0.3).mean()),
                "threshold 0.0",
            ),
            "one rate": (lambda m, o, t: (m <= t).mean(), "an array of shape (2,) is right; got one number"),
            "the difference": (lambda m, o, t: (m <= t).mean() - (o <= t).mean(), "got one number"),
            "all together": (lambda m, o, t: ((m <= t).mean(), (o <= t).sum() / len(m)), "is right; got"),
            "sorts what it was given": (sorts, "changes its argument `members`"),
            "masks": (lambda m, o, t: (m <= t, o <= t), "made of numbers"),
            "nothing": (lambda m, o, t: None, "returned nothing"),
        },
    },
}
