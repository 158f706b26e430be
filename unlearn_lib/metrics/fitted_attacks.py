"""Attacks that fit a classifier on retained samples against test samples, then judge the forget set.

Two literatures use them with opposite signs: one reports the share of the forget set called *member* (and
calls lower better), the other the share called *non-member* (and calls higher better). `Calls` names both, so
nobody has to guess. The ideal is neither 0 nor 1 but what the retrained model scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.metrics.divergence import entropy

__all__ = ["Calls", "Judged", "efficacy_mia", "entropy_mia", "modified_entropy"]

LEAST = 1e-30  # what the logarithm gets instead of 0


@dataclass(frozen=True)
class Judged:
    """What an attack sees of a set of samples: softmax outputs [n, k] and labels [n].

    Raises:
        ValueError: there is no sample, `p` does not hold probabilities, or it has no column for a label.
    """

    p: Float[Tensor, "n k"]
    y: Int[Tensor, " m"]

    def __post_init__(self) -> None:
        _require(self.p, self.y)

    def __getitem__(self, rows: Tensor) -> Judged:
        return Judged(self.p[rows], self.y[rows])


@dataclass(frozen=True)
class Calls:
    """The verdict on the forget set: the share called member, in [0, 1]."""

    called_member: float

    @property
    def called_non_member(self) -> float:
        """1 - called_member: the "efficacy" of l1-sparse and SalUn."""
        return 1 - self.called_member


def modified_entropy(
    p: Float[Tensor, "n k"], y: Int[Tensor, " m"], *, legacy: bool = False
) -> Float[Tensor, " n"]:
    """MH(p, y) = -(1 - p_y) log p_y - Σ_{c≠y} p_c log(1 - p_c), in nats: small only if sure *and* right.

    Args:
        p: softmax outputs.
        y: labels.
        legacy: the version in circulation, only for comparison: in every row it uses the columns of *all*
            labels in the batch, and log p where log(1 - p) belongs. So a row depends on other rows' labels.

    References:
        Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, USENIX Security
        2021, arXiv:2003.10595. The circulated version is in the authors' code of l1-sparse unlearning.
    """
    _require(p, y)
    log_p = p.clamp(min=LEAST).log()
    if check.flag("legacy", legacy):
        weight = p.clone()
        weight[:, y] = 1 - p[:, y]
        return -(weight * log_p).sum(1)
    own = torch.nn.functional.one_hot(y, p.shape[1]).bool()
    log_not_p = (1 - p).clamp(min=LEAST).log()
    return -torch.where(own, (1 - p) * log_p, p * log_not_p).sum(1)


def entropy_mia(retain: Judged, test: Judged, forget: Judged) -> Calls:
    """The entropy attack: on which samples is the model as sure as on training data? One feature, H(p).

    Differs from the paper:
        The authors' code fits an unbalanced support vector machine (or a logistic regression with an argument
        that no longer exists); here it is balanced logistic regression.

    References:
        Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023, arXiv:2205.08096.
    """
    from sklearn.linear_model import LogisticRegression

    h = [entropy(part.p).numpy()[:, None] for part in _judged(retain, test, forget)]
    attack = LogisticRegression(class_weight="balanced").fit(*_labelled(h[0], h[1]))
    return Calls(float(attack.predict(h[2]).mean()))


def efficacy_mia(retain: Judged, test: Judged, forget: Judged, *, limit: int = 1000) -> dict[str, Calls]:
    """The attacks behind "MIA efficacy": a support vector machine on each of five features.

    Args:
        retain: members; as many as `test` has are used, evenly spread.
        test: non-members.
        forget: the samples judged.
        limit: the most members and the most non-members to use; the cost grows with its square.

    Returns:
        The verdict by feature: "correctness", "confidence", "entropy", "modified entropy", "probabilities".

    Differs from the paper:
        Uses the correct modified entropy.

    References:
        Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, arXiv:2304.04934 (authors'
        code: SVC with C = 3, RBF kernel, gamma "auto").
    """
    from sklearn.svm import SVC

    _judged(retain, test, forget)
    n = min(len(retain.y), len(test.y), check.whole("limit", limit, 1))
    sides = [_features(part[_spread(len(part.y), n)]) for part in (retain, test)]
    verdicts = {}
    for name, judged in _features(forget).items():
        attack = SVC(C=3, kernel="rbf", gamma="auto").fit(*_labelled(sides[0][name], sides[1][name]))
        verdicts[name] = Calls(float(attack.predict(judged).mean()))
    return verdicts


def _features(part: Judged) -> dict[str, np.ndarray]:
    own = part.p.gather(1, part.y[:, None])
    columns = {
        "correctness": (part.p.argmax(1) == part.y)[:, None],
        "confidence": own,
        "entropy": entropy(part.p)[:, None],
        "modified entropy": modified_entropy(part.p, part.y)[:, None],
        "probabilities": part.p,
    }
    return {name: column.double().numpy() for name, column in columns.items()}


def _labelled(members: np.ndarray, others: np.ndarray) -> Sequence[np.ndarray]:
    return np.concatenate([members, others]), np.repeat([1, 0], [len(members), len(others)])


def _spread(n: int, m: int) -> Tensor:
    """m of n rows, evenly spread."""
    return torch.arange(m) * n // m


def _judged(*parts: Judged) -> tuple[Judged, ...]:
    for name, part in zip(("retain", "test", "forget"), parts, strict=True):
        check.instance(name, part, Judged)
    return parts


def _require(p: Tensor, y: Tensor) -> None:
    n, k = check.probabilities("p", p).shape
    if not len(check.labels(y)) == n > 0:
        raise ValueError(f"`p` and `y` must have a row for each of the same samples; got {n}, {len(y)}.")
    if int(check.labels(y).max()) >= k:
        raise ValueError(f"`y` must be in 0 ... {k - 1}, the columns of `p`; got {int(y.max())}.")
