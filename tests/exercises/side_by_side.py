"""Right and wrong answers to the exercises of lesson 09; a wrong one with words of what it must be told."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations
from typing import Any

import numpy as np
import torch
from torch import nn

from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.metrics.baselines import mask_logits, uniform_output
from unlearn_lib.models import build
from unlearn_lib.train import Recipe, run, train

PARTS = ("forget", "retain", "test")
ADAM = Recipe("adam", lr=0.002, batch_size=32, epochs=4)


def gap(u: Any, r: Any) -> float:
    return sum(abs(u[part] - r[part]) for part in PARTS) / 3


def best(column: Any) -> str:
    return min(column, key=column.get)


def worst(column: Any) -> str:
    return max(column, key=column.get)


def by_permutations(columns: Any) -> Any:
    return next(((a, b) for a, b in permutations(columns, 2) if best(columns[a]) == worst(columns[b])), None)


def by_ends(columns: Any) -> Any:
    ends = {audit: (best(column), worst(column)) for audit, column in columns.items()}
    for a in ends:
        for b in ends:
            if a != b and ends[a][0] == ends[b][1]:
                return [b, a]
    return None


def by_arrays(columns: Any) -> Any:
    audits = list(columns)
    methods = list(next(iter(columns.values())))
    table = np.array([[columns[a][m] for m in methods] for a in audits])
    first, last = table.argmin(1), table.argmax(1)
    found = np.argwhere((first[:, None] == last) & ~np.eye(len(audits), dtype=bool))
    return {audits[i] for i in found[0]} if len(found) else None


def other_winners(columns: Any) -> Any:
    return next(((a, b) for a, b in combinations(columns, 2) if best(columns[a]) != best(columns[b])), None)


def earlier_with_later(columns: Any) -> Any:
    return next(((a, b) for a, b in combinations(columns, 2) if best(columns[a]) == worst(columns[b])), None)


def same_losers(columns: Any) -> Any:
    return next(((a, b) for a, b in combinations(columns, 2) if worst(columns[a]) == worst(columns[b])), None)


def exactly_turned_around(columns: Any) -> Any:
    orders = {a: sorted(column, key=column.get) for a, column in columns.items()}
    return next(((a, b) for a, b in combinations(columns, 2) if orders[a] == orders[b][::-1]), None)


def takes_apart(columns: Any) -> Any:
    answer = by_permutations(columns)
    columns.popitem()
    return answer


def methods_instead(columns: Any) -> Any:
    pair = by_permutations(columns)
    return pair and (best(columns[pair[0]]), worst(columns[pair[0]]))


def wrong_labels(split: Any) -> Any:
    others = split.retain.y.unique()
    return replace(split.forget, y=others[torch.arange(len(split.forget)) % len(others)])


def relabel_and_repair(model: Any, split: Any) -> Any:
    wrong = wrong_labels(split)
    run(train(model, wrong, ADAM))
    run(train(model, split.retain + wrong, ADAM.but(epochs=2)))
    return model


def ascend_and_repair(model: Any, split: Any) -> Any:
    away = run(gradient_ascent(model, split.forget, ADAM, 12)).model
    run(train(away, split.retain, ADAM))
    return away


def train_anew(model: Any, split: Any) -> Any:
    fresh = build("mlp", (1, 8, 8), 10, seed=7)
    run(train(fresh, split.retain, ADAM.but(lr=0.005, epochs=7, batch_size=16)))
    return fresh


def relabels_in_place(model: Any, split: Any) -> Any:
    split.forget.y.copy_(wrong_labels(split).y)  # so that the old answers count as wrong
    return model


def masked_and_nudged(model: Any, split: Any, share: float = 0.1) -> Any:
    twin = mask_logits(model, int(split.forget.y[0]))
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in list(twin.parameters())[:-2]:
            noise = torch.randn(p.shape, generator=stream)
            p += share * p.norm() / noise.norm() * noise
    return twin


class Silent(nn.Module):
    """A net that never names a class, whatever the net inside says."""

    def __init__(self, inside: Any, label: int) -> None:
        super().__init__()
        self.inside, self.label = inside, label

    def forward(self, x: Any) -> Any:
        return self.inside(x).index_fill(1, torch.tensor([self.label]), -1e4)


def hooked(model: Any, split: Any) -> Any:
    label = torch.tensor([int(split.forget.y[0])])
    model.register_forward_hook(lambda module, inputs, output: output.index_fill(1, label, -1e4))
    return model


def last_layer_only(model: Any, split: Any) -> Any:
    for p in list(model.parameters())[:-2]:
        p.requires_grad_(False)
    return run(finetune(mask_logits(model, int(split.forget.y[0])), split.retain, ADAM, 5)).model


ANSWERS: dict[str, Any] = {
    "average_gap": {
        "right": {
            "in a row": lambda u, r: (
                (abs(u["forget"] - r["forget"]) + abs(u["retain"] - r["retain"]) + abs(u["test"] - r["test"]))
                / 3
            ),
            "NumPy": lambda u, r: np.mean(np.abs([u[k] - r[k] for k in u])),
            "torch": lambda u, r: torch.tensor([u[k] - r[k] for k in u]).abs().mean(),
            "over all keys": lambda u, r: sum(abs(u[k] - r[k]) for k in r) / len(r),
        },
        "wrong": {
            "no absolute value": (lambda u, r: sum(u[k] - r[k] for k in PARTS) / 3, "no sign"),
            "absolute value of the mean": (lambda u, r: abs(sum(u[k] - r[k] for k in PARTS)) / 3, "cancel"),
            "the sum": (lambda u, r: 3 * gap(u, r), "not the sum"),
            "squares": (lambda u, r: sum((u[k] - r[k]) ** 2 for k in PARTS) / 3, "not its square"),
            "without test": (lambda u, r: sum(abs(u[k] - r[k]) for k in PARTS[:2]) / 3, "is right; got"),
            "without retain": (lambda u, r: sum(abs(u[k] - r[k]) for k in PARTS[::2]) / 3, "is right; got"),
            "divided by two": (lambda u, r: 1.5 * gap(u, r), "is right; got"),
            "the maximum": (lambda u, r: max(abs(u[k] - r[k]) for k in PARTS), "is right; got"),
            "in percent": (lambda u, r: 100 * gap(u, r), "is right; got"),
            "relative": (lambda u, r: sum(abs(u[k] - r[k]) / r[k] for k in PARTS) / 3, "is right; got"),
            "by order": (
                lambda u, r: np.mean([abs(a - b) for a, b in zip(u.values(), r.values(), strict=True)]),
                "different orders",
            ),
            "rounded": (lambda u, r: round(gap(u, r), 1), "is right; got"),
            "nothing": (lambda u, r: None, "returned nothing"),
        },
    },
    "opposite": {
        "right": {"permutations": by_permutations, "ends": by_ends, "arrays": by_arrays},
        "wrong": {
            "other winners": (other_winners, "are not such a pair"),
            "only earlier with later": (earlier_with_later, "have opposite winners"),
            "only later with earlier": (
                lambda c: earlier_with_later(dict(reversed(c.items()))),
                "have opposite winners",
            ),
            "the same loser": (same_losers, "are not such a pair"),
            "exactly turned around": (exactly_turned_around, "have opposite winners"),
            "with itself": (lambda c: (next(iter(c)),) * 2, "are not such a pair"),
            "the first two": (
                lambda c: tuple(c)[:2],
                "not such a pair (best ... worst: a: m ... n, b: m ... n)",
            ),
            "always None": (lambda c: None, "have opposite winners"),
            "never None": (lambda c: by_permutations(c) or tuple(c)[:2], "None is right"),
            "methods": (methods_instead, "names of two audits"),
            "True": (lambda c: by_permutations(c) is not None or None, "return two audits"),
            "one audit": (
                lambda c: by_permutations(c) and [by_permutations(c)[0]],
                "return two audits",
            ),
            "takes the table apart": (takes_apart, "changes its argument `columns`"),
        },
    },
    "my_unlearning": {
        "right": {
            "relabel and repair": relabel_and_repair,
            "ascend and repair": ascend_and_repair,
            "train anew, but briefly": train_anew,
        },
        "wrong": {
            "do nothing": (lambda model, split: model, "forget accuracy is"),
            "relabels in place": (relabels_in_place, "forget accuracy is"),
            "masked logit": (
                lambda model, split: mask_logits(model, int(split.forget.y[0])),
                "the last layer alone",
            ),
            "masked and nudged": (masked_and_nudged, "the last layer alone"),
            "masked, and a rounding elsewhere": (
                lambda model, split: masked_and_nudged(model, split, 1e-6),
                "the last layer alone",
            ),
            "masked, and its last layer trained": (last_layer_only, "the last layer alone"),
            "uniform output": (lambda model, split: uniform_output(model), "accuracy is"),
            "wrapped": (
                lambda model, split: Silent(model, int(split.forget.y[0])),
                "the net that it was given",
            ),
            "hooked": (hooked, "forget accuracy is"),
            "wrong labels alone, for long": (
                lambda model, split: run(finetune(model, wrong_labels(split), ADAM, 200)).model,
                "test accuracy is",
            ),
            "retrained in full": (
                lambda model, split: (
                    run(
                        finetune(build("mlp", (1, 8, 8), 10, seed=7), split.retain, ADAM.but(epochs=15))
                    ).model
                ),
                "retained samples read",
            ),
            "the logits": (lambda model, split: torch.zeros(3), "must return the unlearned model"),
            "nothing": (lambda model, split: None, "returned nothing"),
        },
    },
}
