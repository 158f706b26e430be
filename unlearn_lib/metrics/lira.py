"""Tests per example with ensembles of models: a small U-LiRA ("mini"), and a Gaussian KLoM.

Population attacks average, so a few fully exposed samples go unnoticed. For every single sample, these tests
compare the margins of many models that saw it with those of many that did not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import pvariance
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples, mix
from unlearn_lib.jobs import run_jobs
from unlearn_lib.metrics.accuracy import logits
from unlearn_lib.metrics.membership import Auc, auc
from unlearn_lib.moved import renamed
from unlearn_lib.outputs import require_outputs

__all__ = [
    "Klom",
    "Lira",
    "Margins",
    "gaussian_klom",
    "lira",
    "lira_scores",
    "margins",
    "mini_ulira",
    "plan",
    "shadow_models",
]

T = TypeVar("T")
UnlearnedOn = Callable[[Tensor, int], nn.Module]

FLOOR = 1e-2  # smallest variance of a margin: a dozen models may agree by chance


@dataclass(frozen=True)
class Margins:
    """The matrix φ: the margin of every model (row) on every candidate (column), and which saw which.

    Args:
        phi: margins, dimensionless (log odds).
        inside: True where the model was trained on the candidate and then asked to forget it.

    Raises:
        ValueError: the shapes differ, or a margin is not finite.
    """

    phi: Float[Tensor, "models n"]
    inside: Bool[Tensor, "others m"]

    def __post_init__(self) -> None:
        check.finite("phi", self.phi, "models n")
        if self.inside.shape != self.phi.shape:
            raise ValueError(
                f"`phi` and `inside` must have one shape; got {list(self.phi.shape)} and "
                f"{list(self.inside.shape)}."
            )

    def __getitem__(self, rows: slice) -> Margins:
        return Margins(self.phi[rows], self.inside[rows])


@dataclass(frozen=True)
class Lira:
    """Result of the likelihood-ratio attack over held-out models and examples.

    Args:
        scores: log N(φ*; in) - log N(φ*; out) [targets, n]; positive means called a member.
        inside: the truth [targets, n].
        auc: of the scores. Its error is a jackknife: leave out each example, then each target, in turn, and
            add both variances, because scores of one example share its shadows, and those of one target its
            training.
        accuracy: balanced accuracy of "score > 0"; .5 means indistinguishable.
    """

    scores: Float[Tensor, "targets n"] = field(repr=False)
    inside: Bool[Tensor, "targets n"] = field(repr=False)
    auc: Auc
    accuracy: float


@dataclass(frozen=True)
class Klom:
    """KL divergence of margins, per example in nats, with its mean and 95th percentile."""

    each: Float[Tensor, " n"] = field(repr=False)
    mean: float
    p95: float


def margins(outputs: Float[Tensor, "n k"], y: Int[Tensor, " m"], clip: float = 50.0) -> Float[Tensor, " n"]:
    """φ = log(p_y / (1 - p_y)) = z_y - log Σ_{c≠y} exp z_c from logits z, clipped to [-clip, clip].

    Raises:
        ValueError: the number of labels differs, a label has no column, there is a NaN, or `clip` <= 0.
    """
    z = check.tensor("outputs", outputs, "n k").double()
    y = check.labels(y).to(z.device)
    clip = check.number("clip", clip, "(0, inf]")
    if len(y) != len(z):
        raise ValueError(f"`outputs` and `y` must be of the same samples; got {len(z)} and {len(y)}.")
    require_outputs(z, y)
    own = z.gather(1, y[:, None])
    rest = z.scatter(1, y[:, None], -math.inf).logsumexp(1)
    return (own[:, 0] - rest).clamp(-clip, clip)


def lira_scores(
    shadows: Margins, phi: Float[Tensor, "targets n"], floor: float = FLOOR
) -> Float[Tensor, "targets n"]:
    """log N(φ*; in) - log N(φ*; out), with one pair of Gaussians per example.

    Args:
        shadows: margins of the shadow models; every example inside at least 2 of them and outside at least 2.
        phi: margins φ* of models that are not among the shadows.
        floor: smallest variance, > 0.
    """
    check.number("floor", floor, "(0, inf)")
    if (
        check.finite("phi", phi, "targets n").shape[1]
        != check.instance("shadows", shadows, Margins).phi.shape[1]
    ):
        raise ValueError(
            f"`phi` must be of the {shadows.phi.shape[1]} examples of the shadows; got {phi.shape[1]}."
        )
    terms = []
    for mask in (shadows.inside, ~shadows.inside):
        if int(mask.sum(0).min()) < 2:
            raise ValueError(
                "`shadows` must hold every example inside 2 models or more, and outside 2 or more."
            )
        mean, variance = _moments(shadows.phi, mask, floor)
        terms.append(-((phi - mean) ** 2 / variance + variance.log()) / 2)
    return terms[0] - terms[1]


def lira(shadows: Margins, targets: Margins, floor: float = FLOOR) -> Lira:
    """The attack on target models that are in no shadow set.

    Raises:
        ValueError: the examples are not the shadows', or the targets saw all of them or none.
    """
    if not _both(check.instance("targets", targets, Margins).inside):
        raise ValueError("`targets` must hold examples inside a model and examples outside; all are alike.")
    scores = lira_scores(shadows, targets.phi, floor)
    members, others = scores[targets.inside], scores[~targets.inside]
    right = ((members > 0).double().mean() + (others <= 0).double().mean()) / 2
    found = Auc(auc(members, others).value, _jackknife(scores, targets.inside))
    return Lira(scores=scores, inside=targets.inside, auc=found, accuracy=float(right))


def _jackknife(scores: Float[Tensor, "targets n"], inside: Bool[Tensor, "targets n"]) -> float:
    """Standard error of the AUC, by leaving out examples and leaving out targets, with variances added.

    The AUC is the share of pairs that the member wins. Without a group it loses the pairs in which the group
    has a part, and every score's placement on the other side tells how many of them are won: N scores are
    sorted, O(N log N), and no rest is ranked again. All counts are exact.
    """
    level = scores.unique(return_inverse=True)[1]  # ties share one
    members, others = level[inside], level[~inside]
    won, lost = _placement(members, others), _placement(others, members)
    variance = 0.0
    for axis, groups in enumerate(scores.shape):
        group = torch.arange(groups).unsqueeze(1 - axis).expand_as(level)
        a, b = group[inside], group[~inside]
        n1, n2 = (g.bincount(minlength=groups) for g in (a, b))
        apart = level.max() + 1  # so that a group's levels follow on those of the group before
        within = _placement(a * apart + members, b * apart + others) - (n2.cumsum(0) - n2)[a]
        gone = a.bincount(won - within, groups) + b.bincount(len(members) - lost, groups)
        pairs = (len(members) - n1) * (len(others) - n2)
        left = ((won.sum() - gone) / pairs)[pairs > 0].tolist()
        if len(left) > 1:
            variance += (len(left) - 1) * pvariance(left)
    return math.sqrt(variance)


def _placement(levels: Int[Tensor, " n"], others: Int[Tensor, " m"]) -> Float[Tensor, " n"]:
    """How many of the others lie below each level; those on it count half."""
    others = others.sort().values
    below, up_to = (torch.searchsorted(others, levels, right=ties) for ties in (False, True))
    return (below + up_to).double() / 2


def _both(mask: Bool[Tensor, "m n"]) -> bool:
    return 0 < int(mask.sum()) < mask.numel()


def plan(models: int, n: int, seed: int = 0) -> Bool[Tensor, "models n"]:
    """Which model trains on what: each example is in exactly half of the models, drawn independently."""
    if check.whole("models", models, 1) % 2:
        raise ValueError(f"`models` must be even, because half of them train on a sample; got {models}.")
    check.whole("n", n, 1)
    stream = torch.Generator().manual_seed(mix(seed))
    return torch.rand(models, n, generator=stream).argsort(0) < models // 2


def mini_ulira(
    unlearned: UnlearnedOn,
    candidates: Examples,
    *,
    shadows: int = 16,
    targets: int = 4,
    seed: int = 0,
    workers: int = 0,
    executor: Any = None,
    keep: Path | str | None = None,
) -> tuple[Lira, Margins]:
    """A small U-LiRA: is a model that was asked to forget a sample like one that never saw it?

    For t = 1 ... shadows: train on the base data and the candidates in D_t, unlearn those candidates **with
    the same algorithm and hyper-parameters**, and note φ of every candidate. A candidate in D_t gives φ_in;
    any other gives φ_out, from a model that went through unlearning as well (the strict form). Target models
    are made the same way and are not among the shadows.

    Args:
        unlearned: ``unlearned(inside, seed)`` trains on base data plus ``candidates.where(inside)``, unlearns
            the latter, and returns the *unlearned* model. To run anywhere but here it must be importable (a
            function of a module, or a `functools.partial` of one).
        candidates: the samples in question.
        shadows: shadow models, even, 4 or more; at full scale there are hundreds, hence "mini".
        targets: target models, 2 or more, even.
        seed: of the plan and of the models.
        workers, executor, keep: where the models are trained, and a folder for what was found, as in
            `jobs.run_jobs`. They change no bit of the result.

    Returns:
        The attack on the targets, and the margins of all models (shadows first) for later exploration.

    Differs from the paper:
        Size; one algorithm and one set of hyper-parameters. The details of the strict form agree with two
        independent implementations but are not confirmed against the paper.

    References:
        Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024, arXiv:2403.01218.
    """
    check.function("unlearned", unlearned)
    check_examples("candidates", candidates)
    for name, count, least in (("shadows", shadows, 4), ("targets", targets, 2)):
        if check.whole(name, count) < least or count % 2:
            raise ValueError(f"`{name}` must be even and at least {least}; got {count}.")
    job = partial(_margins_of, unlearned, candidates)
    rows, inside = shadow_models(
        job, len(candidates), shadows, targets, seed=seed, workers=workers, executor=executor, keep=keep
    )
    every = Margins(torch.stack(rows), inside)
    return lira(every[:shadows], every[shadows:]), every


def shadow_models(
    job: Callable[[Tensor, int], T],
    n: int,
    shadows: int,
    targets: int,
    *,
    seed: int = 0,
    workers: int = 0,
    executor: Any = None,
    keep: Path | str | None = None,
    watch: Callable[[int, int], Any] = lambda done, total: None,
) -> tuple[list[T], Bool[Tensor, "models n"]]:
    """The loop of U-LiRA: ``job(inside, seed)`` for every shadow model, and then for every target.

    Args:
        job: trains a model on the candidates where `inside` [n] is true, unlearns these, and returns what it
            found.
        n: number of candidates.
        shadows: number of shadow models, even.
        targets: number of target models, even; they have their own plan.
        seed: of the plans and the models.
        workers, executor, keep: as in `jobs.run_jobs`.
        watch: told after every model how many are done, and of how many.

    Returns:
        What every job returned, and which candidate was inside which model, [shadows + targets, n].

    Raises:
        ValueError: there are no candidates, or a number of models is not even.
        JobsError: a model failed; the others are done.
    """
    inside = torch.cat([plan(shadows, n, seed), plan(targets, n, mix(seed, 1))])
    seeds = [mix(seed, 2, t) % 2**31 for t in range(len(inside))]
    rows = run_jobs(job, inside, seeds, workers=workers, executor=executor, keep=keep, watch=watch)
    return rows, inside


def gaussian_klom(
    unlearned: Float[Tensor, "models n"], retrained: Float[Tensor, "others n"], floor: float = FLOOR
) -> Klom:
    """KL(N(μ_u, σ_u²) ‖ N(μ_s, σ_s²)) of the margins, per example.

        log(σ_s / σ_u) + (σ_u² + (μ_u - μ_s)²) / (2 σ_s²) - ½

    The floor of this measure is its value between two retrained ensembles.

    Args:
        unlearned: margins of N unlearned models.
        retrained: margins of N retrained models.
        floor: smallest variance, > 0.

    Raises:
        ValueError: there are fewer than 2 models, the examples differ, or a margin is not finite.
    """
    check.number("floor", floor, "(0, inf)")
    for name, phi in (("unlearned", unlearned), ("retrained", retrained)):
        if len(check.finite(name, phi, "models n")) < 2 or not phi.shape[1]:
            raise ValueError(f"`{name}` must hold 2 models or more, and an example; got {list(phi.shape)}.")
    if unlearned.shape[1] != retrained.shape[1]:
        raise ValueError(
            "`unlearned` and `retrained` must be of the same examples; "
            f"got {unlearned.shape[1]} and {retrained.shape[1]}."
        )
    (mu, var), (mu_s, var_s) = (
        _moments(phi, torch.ones_like(phi, dtype=torch.bool), floor) for phi in (unlearned, retrained)
    )
    each = (var_s.log() - var.log()) / 2 + (var + (mu - mu_s) ** 2) / (2 * var_s) - 0.5
    return Klom(each=each, mean=float(each.mean()), p95=float(each.quantile(0.95)))


def _moments(phi: Tensor, mask: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each column over the models in `mask`; the variance is floored."""
    count = mask.sum(0)
    mean = (phi * mask).sum(0) / count
    variance = (((phi - mean) * mask) ** 2).sum(0) / (count - 1).clamp(min=1)
    return mean, variance.clamp(min=floor)


def _margins_of(unlearned: UnlearnedOn, candidates: Examples, inside: Tensor, seed: int) -> Tensor:
    return margins(logits(unlearned(inside, seed), candidates), candidates.y)


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"in_processes": run_jobs})
