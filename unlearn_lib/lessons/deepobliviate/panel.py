"""The controls of lesson 01's panels: the stop rule, and which samples of the chain are forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import choice, number, whole
from unlearn_lib.data import Dataset, Examples, Split
from unlearn_lib.methods.deepobliviate.decay import TrendRule

__all__ = ["layout_controls", "request_of", "rule_controls", "rule_of", "unused_in_layout"]

BLOCK, SPREAD, CLASS, MAP = (
    "samples of one block",
    "samples spread over all blocks",
    "a whole class",
    "samples on the map",
)
UNUSED = {
    BLOCK: ("label", "picked"),
    SPREAD: ("label", "picked"),
    CLASS: ("block", "count", "picked"),
    MAP: ("block", "count", "label"),
}


@check.arguments
def rule_controls(epsilon: float, estimator: str, n_min: int) -> dict[str, Any]:
    """Those of the stop rule, at these parameters; `n_min` 0 leaves it to the estimator."""
    return {
        "epsilon": number("Epsilon", epsilon, 0.0, 1.0),
        "estimator": choice("Estimator of h", ["fit", "dfa", "fixed"], estimator),
        "n_min": whole("Least residuals (0: default)", n_min, 0, 40),
    }


@check.arguments
def rule_of(v: SimpleNamespace) -> TrendRule:
    """The stop rule that the controls describe."""
    return TrendRule(v.epsilon, v.estimator, n_min=max(v.n_min, 2) if v.n_min else None)


@check.arguments
def layout_controls(
    data: Dataset, members: Sequence[Tensor], block: int, ids: Tensor, rule: dict[str, Any]
) -> dict[str, Any]:
    """What to forget, and the stop rule.

    Args:
        data: all of it.
        members: ids of the samples of each block.
        block: the one that is chosen at first, counted from 1.
        ids: of its samples those that are chosen at first.
        rule: the controls of the stop rule.
    """
    from unlearn_lib.classroom.panels.pickers import EmbeddingPicker

    return {
        "layout": choice("Forget", UNUSED),
        "block": whole("Block (the first, if spread)", block, 1, len(members)),
        "count": whole("Samples", len(ids), 1, min(map(len, members)) - 1),
        "label": choice("Class", [(name, k) for k, name in enumerate(data.classes)]),
        **rule,
        "picked": EmbeddingPicker(data.train, "Samples on the map", data.classes, value=ids),
    }


@check.arguments
def unused_in_layout(v: SimpleNamespace) -> tuple[str, ...]:
    """The controls that this layout ignores."""
    return UNUSED[v.layout]


@check.arguments
def request_of(v: SimpleNamespace, train: Examples, members: Sequence[Tensor]) -> Split:
    """The split that the controls describe; `members` holds the ids of the samples of each block."""
    if v.layout == CLASS:
        return Split.by_class(train, v.label)
    if v.layout == SPREAD:
        B = len(members)
        blocks = np.linspace(v.block - 1, B - 1, min(v.count, B)).astype(int)
        return Split.by_ids(train, [int(members[k][0]) for k in blocks])
    return Split.by_ids(train, v.picked if v.layout == MAP else members[v.block - 1][: v.count])
