"""When an unlearning run has gone far enough: stop rules, which look at the model between two epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from unlearn_lib import check, outputs
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.moved import renamed

__all__ = ["GoalRule", "Watched", "forgotten", "matched", "overtaken", "retain_dropped"]


class Watched(NamedTuple):
    """What a stop rule watches: `value` falls from epoch to epoch until it reaches `goal`."""

    value: float
    goal: float


@dataclass(frozen=True)
class GoalRule:
    """Stop at the first epoch whose value has come down to its goal.

    Args:
        measure: scores a model on the forget data; called once before the first epoch and after each.
        reason: the rule in words.
        strict: the value must pass the goal.
        closest: return the better of the last two epochs, by the distance to the goal.
    """

    measure: Callable[[nn.Module, Examples], Watched]
    reason: str
    strict: bool = False
    closest: bool = False

    def __post_init__(self) -> None:
        check.function("measure", self.measure)
        check.instance("reason", self.reason, str)
        check.flag("strict", self.strict)
        check.flag("closest", self.closest)

    def decide(self, scores: Sequence[Watched]) -> int | None:
        """The epoch whose model to return, given the scores of epochs 0, 1, 2, ...; None to go on."""
        if not check.fit("scores", scores, Sequence[Any]):
            raise ValueError("`scores` must hold at least one score, that of epoch 0; got none.")
        gaps = [check.number("value", value) - check.number("goal", goal) for value, goal in scores]
        last = len(gaps) - 1
        if gaps[last] > 0 or (self.strict and gaps[last] == 0):
            return None
        return last - int(self.closest and last > 0 and abs(gaps[last - 1]) < abs(gaps[last]))

    def why(self, scores: Sequence[Watched]) -> str:
        """Why a run with these scores ended."""
        if self.decide(scores) is None:
            return f"all {len(scores) - 1} epochs done; not reached: {self.reason}"
        return self.reason if len(scores) > 1 else f"already closed at epoch 0: {self.reason}"


def forgotten(accuracy: Any = 0.05) -> GoalRule:
    """Forget accuracy at most `accuracy`, in [0, 1]: for classes and swapped labels (our decision).

    Example:
        >>> ul.forgotten(0.1).measure(model, split.forget).value > 0.9  # not forgotten yet
        True
    """
    check.number("accuracy", accuracy, "[0, 1]")
    return GoalRule(
        lambda model, forget: Watched(outputs.accuracy(model, forget), accuracy),
        f"forget accuracy <= {accuracy}",
    )


def overtaken(validation: Examples) -> GoalRule:
    """Validation accuracy above forget accuracy: the published rule for samples.

    It assumes a clean forget set, drawn like the rest. Equal accuracies do not mean equal losses: on few,
    noisy samples the losses of the forgotten end up *higher* than those of unseen ones, which means that too
    much was forgotten. Report results on test data disjoint from `validation`.
    """
    check_examples("validation", validation)
    return GoalRule(
        lambda model, forget: Watched(outputs.accuracy(model, forget), outputs.accuracy(model, validation)),
        "validation accuracy > forget accuracy",
        strict=True,
        closest=True,
    )


def matched(validation: Examples, auc: Any = 0.5) -> GoalRule:
    """Losses of forget and validation samples can no longer be told apart (our decision).

    The value is the share of (forget, validation) pairs in which the forget sample has the lower loss, ties
    half: .5 where the two agree, as they do for a model that saw neither. Report membership on test data
    disjoint from `validation`; here it is the thing that is tuned.

    Args:
        validation: unseen samples from the distribution of the forget set (for a class, of that class).
        auc: the target in [0, 1], for example what a retrained model measures.
    """
    check_examples("validation", validation)
    check.number("auc", auc, "[0, 1]")

    def measure(model: nn.Module, forget: Examples) -> Watched:
        ours, theirs = outputs.losses(model, forget), outputs.losses(model, validation).sort().values
        below, up_to = (
            torch.searchsorted(theirs, ours, right=ties).double().mean() for ties in (False, True)
        )
        return Watched(1 - float(below + up_to) / (2 * len(theirs)), auc)

    return GoalRule(measure, f"share of lower forget losses <= {auc}", closest=True)


def retain_dropped(retain: Examples, accuracy: Any, points: Any = 0.05) -> GoalRule:
    """Retain accuracy more than `points` below `accuracy`, the original's: the published rule for classes.

    For study: it **reads the retained data**, and has no criterion on the forget side.

    Args:
        retain: the retained samples.
        accuracy: of the original on them, in [0, 1].
        points: how much of it may be lost, in [0, 1].
    """
    check_examples("retain", retain)
    check.number("accuracy", accuracy, "[0, 1]")
    check.number("points", points, "[0, 1]")
    return GoalRule(
        lambda model, forget: Watched(outputs.accuracy(model, retain), accuracy - points),
        f"retain accuracy < {accuracy:.4g} - {points:.4g}",
        strict=True,
    )


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"StopRule": GoalRule, "Score": Watched})
