"""Membership inference on a population: can the forgotten samples be told from samples never seen?

"MIA" names at least five attacks with opposite directions, so every result here says which one it is.
All are averages, in which a few fully exposed samples go unnoticed. And an attack that fails on the original
model cannot test the unlearned one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.accuracy import losses, parts_of_test

__all__ = [
    "Auc",
    "LossAttack",
    "Roc",
    "attack_accuracy",
    "auc",
    "loss_attack",
    "loss_mia",
    "non_members",
    "roc",
    "tpr_at_fpr",
]

Z = 1.959964  # two-sided 95 %


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve of an attack.

    Args:
        value: chance that a random member scores above a random non-member, ties ½; in [0, 1].
        error: standard error if members and non-members are alike, √((n₁+n₂+1) / (12 n₁ n₂)).
    """

    value: float
    error: float

    def reading(self, ideal: float = 0.5) -> str:
        """The attack in words, two-sided: .3 is as bad as .7.

        Args:
            ideal: the retrained model's value, which is ½ give or take noise.
        """
        check.number("ideal", ideal, "[0, 1]")
        if abs(self.value - ideal) <= Z * self.error:
            return "like unseen data"
        return "looks like training data" if self.value > ideal else "over-forgotten"


@dataclass(frozen=True)
class Roc:
    """Points of the ROC curve, from (0, 0) to (1, 1); `threshold` is the lowest score called a member."""

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class LossAttack:
    """The loss attack on one model.

    Args:
        auc: area under the curve of the score -loss: the primary result.
        accuracy: balanced, cross-validated accuracy of logistic regression on the loss; .5 is chance.
        members: losses of the forget set, in nats.
        others: losses of samples never seen.
    """

    auc: Auc
    accuracy: float
    members: Float[Tensor, " n"] = field(repr=False)
    others: Float[Tensor, " m"] = field(repr=False)

    @property
    def roc(self) -> Roc:
        """The curve behind `auc`."""
        return roc(-self.members, -self.others)


def auc(members: Float[Tensor, " n"], others: Float[Tensor, " m"]) -> Auc:
    """AUC of a score that should be larger for members, as a rank statistic (Mann and Whitney), ties ½.

    AUC = (R - n₁(n₁+1)/2) / (n₁ n₂),   R = sum of the members' ranks among all

    Raises:
        ValueError: the scores are not [n], there are none, or one is NaN. Infinite scores have a rank.
    """
    from scipy.stats import rankdata

    n1, n2 = _scores(members, others)
    ranks = rankdata(torch.cat([members, others]).double().numpy())  # a tie takes the mean rank
    value = (ranks[:n1].sum() - n1 * (n1 + 1) / 2) / (n1 * n2)
    return Auc(value=float(value), error=math.sqrt((n1 + n2 + 1) / (12 * n1 * n2)))


def roc(members: Float[Tensor, " n"], others: Float[Tensor, " m"]) -> Roc:
    """The ROC curve of a score that should be larger for members, one point per distinct score."""
    _scores(members, others)
    inside, outside = (np.sort(part.double().numpy()) for part in (members, others))
    steps = np.unique(np.concatenate([inside, outside]))[::-1]
    tpr, fpr = ((len(part) - np.searchsorted(part, steps)) / len(part) for part in (inside, outside))
    return Roc(
        fpr=np.concatenate([[0.0], fpr]),
        tpr=np.concatenate([[0.0], tpr]),
        threshold=np.concatenate([[np.inf], steps]),
    )


def tpr_at_fpr(members: Float[Tensor, " n"], others: Float[Tensor, " m"], fpr: float) -> float:
    """Largest share of members found while at most the share `fpr` of non-members is accused.

    Raises:
        ValueError: `fpr` is below 1 / n₂, the smallest non-zero rate that n₂ non-members can show.
    """
    _, n2 = _scores(members, others)
    if not 1 / n2 <= check.number("fpr", fpr) <= 1:
        raise ValueError(
            f"`fpr` must be in [1/{n2}, 1]: {n2} non-members cannot show a smaller rate than "
            f"{1 / n2:.4g}; got {fpr}."
        )
    curve = roc(members, others)
    return float(curve.tpr[curve.fpr <= fpr + 1e-12].max())


def attack_accuracy(
    members: Float[Tensor, "n ..."], others: Float[Tensor, "m ..."], *, splits: int = 10, seed: int = 0
) -> float:
    """Balanced, cross-validated accuracy of logistic regression that tells members from others.

    In [0, 1], .5 is chance. Both groups weigh the same, however large. Splits are stratified, shuffled by
    `seed`, and no more than the smaller group has samples.

    Raises:
        ValueError: a group has fewer than 2 samples, or a feature is not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    for name, part in (("members", members), ("others", others)):
        if check.finite(name, part).ndim < 1 or len(part) < 2:
            raise ValueError("`members` and `others` must hold at least 2 samples each to cross-validate.")
    if members.shape[1:] != others.shape[1:]:
        raise ValueError(
            "`members` and `others` must have the same features; "
            f"got {list(members.shape[1:])} and {list(others.shape[1:])}."
        )
    least = min(len(members), len(others), check.whole("splits", splits, 2))
    features = torch.cat([members, others]).double().reshape(len(members) + len(others), -1).numpy()
    labels = np.repeat([1, 0], [len(members), len(others)])
    folds = StratifiedKFold(least, shuffle=True, random_state=check.whole("seed", seed, 0, 2**32 - 1))
    model = LogisticRegression(class_weight="balanced")
    return float(cross_val_score(model, features, labels, cv=folds, scoring="balanced_accuracy").mean())


def loss_mia(members: Float[Tensor, " n"], others: Float[Tensor, " m"], *, seed: int = 0) -> LossAttack:
    """The loss attack, from per-sample losses (`accuracy.losses`) of the forget set and of unseen samples.

    AUC above ½: the forget set still looks like training data. Below ½: over-forgotten, which gives the
    samples away as well. A ruined model is near ½ too, so never read this without its accuracy.

    Differs from the paper:
        The NeurIPS 2023 unlearning kit and SCRUB report only the accuracy, on groups cut to equal size and
        shuffled splits. We weight instead of cutting, use disjoint folds, and put the AUC first, because it
        has no threshold to fit.

    References:
        Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023, arXiv:2302.09880.
    """
    for name, part in (("members", members), ("others", others)):
        check.finite(name, part, "n")
    accuracy = attack_accuracy(members, others, seed=seed) if min(_scores(members, others)) > 1 else math.nan
    return LossAttack(auc=auc(-members, -others), accuracy=accuracy, members=members, others=others)


def loss_attack(model: nn.Module, split: Split, test: Examples) -> LossAttack:
    """The loss attack on a model: the forget set against `non_members`."""
    unseen = non_members(split, test)
    return loss_mia(losses(model, split.forget), losses(model, unseen))


def non_members(split: Split, test: Examples) -> Examples:
    """The unseen samples that an attack may compare the forget set with.

    In the class setting only test images of the forgotten classes, or the attack would merely see the class.
    """
    parts = parts_of_test(split, test)
    return parts.get("forget test", test)


def _scores(members: Any, others: Any) -> tuple[int, int]:
    """How many there are of each, after checking that they can be ranked."""
    for name, group in (("members", members), ("others", others)):
        if not len(check.tensor(name, group, "n")):
            raise ValueError("`members` and `others` must hold at least one sample each.")
    return len(members), len(others)
