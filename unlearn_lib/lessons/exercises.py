"""What is right in the exercises of the lessons: a checker for each, to hand to `checks.exercise`.

    checks.exercise("project", project, exercises.project)

Here stand the answers, so do not read on if you want to find them yourself. Cases begin with those that are
easily followed and go on with random ones; among them are those on which common mistakes differ from what is
right: a share of entries that is no whole number, ties, zeros, values at a threshold, several sizes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.classroom.checks import Case, Exercise, differs, numbers
from unlearn_lib.data import Examples
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.divergence import weight_distance
from unlearn_lib.params import clone

__all__ = [
    "attack",
    "average_gap",
    "expected_blocks",
    "gap_of_scores",
    "hidden_by_the_last_layer",
    "kept",
    "norm_matched",
    "objective",
    "opposite",
    "partial_step",
    "project",
    "protected_rank",
    "residual_memory",
    "safe_step",
    "samples",
    "stitch",
    "to_subtract",
]

Stream = np.random.Generator
Array = np.ndarray


# Start here -------------------------------------------------------------------------------------------------


def _gap(unlearned: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    return sum(abs(unlearned[part] - retrained[part]) for part in retrained) / len(retrained)


def _gap_cases(parts: Sequence[Sequence[str]]) -> Callable[[Stream], Iterator[Case]]:
    """Models near and far; in the last cases the keys of the two stand in different orders."""

    def cases(draw: Stream) -> Iterator[Case]:
        reference = {"forget": 0.9, "retain": 1.0, "test": 0.8}
        yield Case((reference, reference), "the reference itself")
        yield Case(({"forget": 0.0, "retain": 1.0, "test": 0.8}, reference), "a model that over-forgets")
        yield Case(
            ({"forget": 1.0, "retain": 0.9, "test": 0.8}, reference), "a model with errors of opposite sign"
        )
        for names in parts:
            scores = [dict(zip(names, draw.random(len(names)).tolist(), strict=True)) for _ in range(2)]
            yield Case((dict(reversed(scores[0].items())), scores[1]))

    return cases


_GAP_MISTAKES = {
    "a distance has no sign: take the absolute value of each difference": lambda u, r: (
        sum(u[part] - r[part] for part in r) / len(r)
    ),
    "errors must not cancel: take the absolute value before the mean": lambda u, r: abs(
        sum(u[part] - r[part] for part in r) / len(r)
    ),
    "the mean over the scores is asked for, not the sum": lambda u, r: sum(
        abs(u[part] - r[part]) for part in r
    ),
    "the two may list their scores in different orders: go by the keys": lambda u, r: (
        sum(abs(a - b) for a, b in zip(u.values(), r.values(), strict=True)) / len(r)
    ),
    "the absolute distance is asked for, not its square": lambda u, r: (
        sum((u[part] - r[part]) ** 2 for part in r) / len(r)
    ),
}

average_gap = Exercise(
    _gap,
    _gap_cases([["forget", "test"], ["a", "b", "c", "d", "e"], ["test", "forget", "retain"]]),
    mistakes=_GAP_MISTAKES,
)
gap_of_scores = Exercise(_gap, _gap_cases([["forget", "retain", "test"]] * 4), mistakes=_GAP_MISTAKES)


def _attack(member_losses: Array, other_losses: Array, threshold: float) -> tuple[float, float]:
    return float((member_losses <= threshold).mean()), float((other_losses <= threshold).mean())


def _attack_cases(draw: Stream) -> Iterator[Case]:
    members, others = np.array([0.1, 0.2, 0.3, 2.0]), np.array([0.3, 1.0])
    for threshold in (0.3, 0.0, 5.0, 1.0):
        yield Case((members, others, threshold), f"the threshold {threshold}")
    for n, m in ((7, 30), (40, 3)):
        losses, other = draw.exponential(size=n), draw.exponential(size=m)
        for threshold in (float(losses[0]), float(other[0]), 0.5):
            yield Case((losses, other, threshold))


attack = Exercise(
    _attack,
    _attack_cases,
    mistakes={
        "*at most* the threshold: a loss that equals it counts": lambda a, b, t: (
            (a < t).mean(),
            (b < t).mean(),
        ),
        "below the threshold they are called members, not above it": lambda a, b, t: (
            (a >= t).mean(),
            (b >= t).mean(),
        ),
        "first the members' rate, then the others'": lambda a, b, t: _attack(b, a, t),
        "the share is asked for, not the number": lambda a, b, t: ((a <= t).sum(), (b <= t).sum()),
    },
)


# DeepObliviate ----------------------------------------------------------------------------------------------


def _residual(before: Array, after: Array, before_new: Array, after_new: Array) -> float:
    return float(np.abs((after - before) - (after_new - before_new)).sum())


def _residual_cases(draw: Stream) -> Iterator[Case]:
    one, two, other = np.array([[1.0, 2.0, 3.0], [1.5, 2.0, 1.0], [2.0, -1.0, 4.0]])
    yield Case(
        (one, one + 1, two, two + 1), "two chains that learn the same from a block, however far apart,"
    )
    yield Case((one, one + 1, two, two + other), "the increments (1, 1, 1) and (2, -1, 4)")
    for n in (1, 5, 40):
        yield Case(tuple(draw.normal(size=(4, n))))


residual_memory = Exercise(
    _residual,
    _residual_cases,
    mistakes={
        "sum absolute values: increments of opposite sign must not cancel": lambda a, b, c, d: abs(
            ((b - a) - (d - c)).sum()
        ),
        "sum the absolute values; not the squares, and no root": lambda a, b, c, d: np.linalg.norm(
            (b - a) - (d - c)
        ),
        "sum over the parameters, do not average": lambda a, b, c, d: np.abs((b - a) - (d - c)).mean(),
        "this compares the models after the block: that is the gap": lambda a, b, c, d: np.abs(b - d).sum(),
    },
)


def _stitch(final: torch.Tensor, stored: torch.Tensor, retrained: torch.Tensor) -> torch.Tensor:
    return final + (retrained - stored)


def _stitch_cases(draw: Stream) -> Iterator[Case]:
    def tensor(*shape: int, size: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(size * draw.normal(size=shape)).float()

    final, stored = tensor(1000), tensor(1000)
    yield Case((final, stored, stored.clone()), "M'_T = M_T")
    yield Case((final, stored, stored + 1), "M'_T = M_T + 1")
    yield Case((torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0]), torch.tensor([5.5, 3.0])))
    for shape in ((3,), (4, 5), (2, 3, 2, 2)):
        yield Case((tensor(*shape), tensor(*shape), tensor(*shape)))
    for size in (1e-4, 30.0):
        stored = tensor(500, size=size)
        yield Case((tensor(500), stored, stored.clone()), "M'_T = M_T")


def _judge_stitch(got: Any, case: Case, right: torch.Tensor) -> str | None:
    if said := differs(got, right, case):
        return said
    final, stored, retrained = case.arguments
    changed = int((numbers(got) != numbers(final)).sum()) if torch.equal(stored, retrained) else 0
    return (
        f"with nothing deleted {changed} of {len(final)} values changed in the last bits" if changed else None
    )


stitch = Exercise(
    _stitch,
    _stitch_cases,
    _judge_stitch,
    mistakes={"the sign: what retraining *added* must be added": lambda f, s, r: f - (r - s)},
    in_place=(0, 2),
    tensors=True,
)


def _expected(B: int, k: int, t: int) -> float:
    """Exact: P(max <= m) = (m / B)^k, and P(min >= m) = ((B - m + 1) / B)^k."""
    m = np.arange(1, B + 1)
    greatest = (m / B) ** k - ((m - 1) / B) ** k
    return float((greatest * np.minimum(m + t, B)).sum() - (((B - m + 1) / B) ** k).sum() + 1)


def _expected_cases(draw: Stream) -> Iterator[Case]:
    for B, k, t in (
        (10, 1, 0),
        (10, 1, 20),
        (60, 2, 0),
        (10, 1, 3),
        (20, 2, 5),
        (5, 8, 1),
        (3, 2, 1),
        (1, 4, 2),
    ):
        yield Case((B, k, t), f"B, k, t = {(B, k, t)}")


def _judge_expected(got: Any, case: Case, right: float) -> str | None:
    found = numbers(got)
    if found.ndim == 0 and not abs(float(found) - right) <= 0.02 * right:
        return f"for {case} about {right:.2f} is right; got {float(found):.4g}"
    return differs(got, right, case) if found.ndim else None


expected_blocks = Exercise(_expected, _expected_cases, _judge_expected)


# UNSIR ------------------------------------------------------------------------------------------------------


def _log_p(logits: Array, c: int) -> float:
    return float((logits[:, c] - np.log(np.exp(logits).sum(1))).mean())


def _norms(images: Array) -> Array:
    return np.asarray(np.linalg.norm(images.reshape(len(images), -1), axis=1))


def _objective(logits: Array, images: Array, c: int, penalty: float) -> float:
    return _log_p(logits, c) + penalty * float((_norms(images) ** 2).mean())


def _objective_cases(draw: Stream) -> Iterator[Case]:
    for n, k, c, penalty, shape in (
        (5, 4, 2, 0.1, (1, 3, 3)),
        (5, 4, 2, 0.0, (1, 3, 3)),
        (1, 3, 0, 1.0, (3, 2, 4)),
        (7, 10, 9, 0.5, (2, 4, 3)),
    ):
        size = f"{n} images of shape {shape} and {k} classes, c = {c} and λ = {penalty}"
        yield Case((draw.normal(size=(n, k)), draw.normal(size=(n, *shape)), c, penalty), size)


objective = Exercise(
    _objective,
    _objective_cases,
    mistakes={
        "the cross-entropy has the wrong sign": lambda z, x, c, p: p * (_norms(x) ** 2).mean() - _log_p(z, c),
        "the penalty has the wrong sign": lambda z, x, c, p: _log_p(z, c) - p * (_norms(x) ** 2).mean(),
        "the penalty is the squared norm, not the norm": lambda z, x, c, p: (
            _log_p(z, c) + p * _norms(x).mean()
        ),
        "sum over the pixels, do not average": lambda z, x, c, p: _log_p(z, c) + p * (x**2).mean(),
        "average over the images, do not sum": lambda z, x, c, p: _log_p(z, c) + p * (x**2).sum(),
        "the cross-entropy: average over the images, too": lambda z, x, c, p: (
            len(z) * _log_p(z, c) + p * (_norms(x) ** 2).mean()
        ),
        "take the logarithm of the softmax, not the logit": lambda z, x, c, p: (
            z[:, c].mean() + p * (_norms(x) ** 2).mean()
        ),
    },
)


def _matched(images: Array, learned: Array) -> Array:
    return np.asarray(images * (_norms(learned) / _norms(images)).reshape(-1, 1, 1, 1))


def _matched_cases(draw: Stream) -> Iterator[Case]:
    for n, shape in ((6, (3, 4, 4)), (1, (1, 2, 5)), (4, (4, 1, 3))):
        images, learned = draw.normal(size=(n, *shape)), draw.normal(size=(n, *shape)) + 0.5
        yield Case((images, learned * 5 * draw.random((n, 1, 1, 1))), f"{n} images of shape {shape}")
    learned = draw.normal(size=(3, 1, 2, 2))
    learned[1] = 0
    yield Case((draw.normal(size=learned.shape), learned), "three learned images, one of them black")


def _judge_matched(got: Any, case: Case, right: Array) -> str | None:
    said = differs(got, right, case)
    found = numbers(got)
    if said is None or found.shape != right.shape:
        return said
    if np.allclose(_norms(found), _norms(right), rtol=1e-4):
        return "the norms match, but only the size of each image may change"
    if np.isclose(np.linalg.norm(found), np.linalg.norm(right)):
        return "all images together match, each by itself does not"
    wanted, given = (np.round(_norms(one), 2).tolist() for one in (right, found))
    return f"for {case} the norms {wanted} are right; got {given}"


norm_matched = Exercise(
    _matched,
    _matched_cases,
    _judge_matched,
    mistakes={
        "the images to scale are the first argument": lambda x, n: (
            n * (_norms(x) / (_norms(n) + 1e-99)).reshape(-1, 1, 1, 1)
        )
    },
    in_place=(0,),
)


def _samples(noise: Mapping[int, Array], copies: int = 1) -> list[tuple[Array, int]]:
    return [(image, c) for c, images in noise.items() for image in images for _ in range(copies)]


def _samples_cases(draw: Stream) -> Iterator[Case]:
    for sizes, copies in (({0: 4, 2: 4, 7: 4}, (2,)), ({3: 1, 1: 5}, (3,)), ({5: 2, 6: 3}, ())):
        noise = {c: draw.normal(size=(n, 3, 2, 2)) for c, n in sizes.items()}
        yield Case((noise, *copies))


def _judge_samples(got: Any, case: Case, right: list[tuple[Array, int]]) -> str | None:
    noise, copies = (*case.arguments, 1)[:2]
    found = list(got)
    sizes = " and ".join(str(len(images)) for images in noise.values())
    if len(found) != len(right):
        asked = f"classes with {sizes} images, copies = {copies}"
        return f"{asked}: {len(right)} samples are right; got {len(found)}"
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in found):
        return "each sample must be a pair: the image, then its label"
    if any(np.ndim(label) for _, label in found):
        return "each sample must be a pair: the image, then its label; the other way round?"
    if silent := set(noise) - {int(label) for _, label in found}:
        return f"no sample is labeled {sorted(silent)}: whose noise is it?"
    images = [(image, c) for c, all_of_it in noise.items() for image in all_of_it]
    counts, strange, wrong = Counter[int](), 0, 0
    for image, label in found:
        place = next((i for i, (one, _) in enumerate(images) if differs(image, one, case) is None), None)
        if place is None:
            strange += 1
            continue
        counts[place] += 1
        wrong += images[place][1] != label
    if strange:
        return f"{strange} samples hold images that are not among the noise"
    if wrong:
        return f"{wrong} samples carry the label of another class"
    even = all(counts[place] == copies for place in range(len(images)))
    return None if even else f"every image must occur {_times(copies)}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


samples = Exercise(_samples, _samples_cases, _judge_samples)


# Partial unlearning -----------------------------------------------------------------------------------------


def _count(p: float, n: int) -> int:
    return math.ceil(round(p * n, 9))


def _kept(update: Array, p: float) -> Array:
    mask = np.zeros(len(update), bool)
    mask[np.argsort(-np.abs(update), kind="stable")[: _count(p, len(update))]] = True
    return mask


def _kept_cases(draw: Stream) -> Iterator[Case]:
    yield Case((np.array([1.0, -5.0, 3.0, 2.0]), 0.5))
    yield Case((np.array([4.0, 1.0, -3.0, 2.0, 5.0]), 0.5))
    yield Case((np.array([4.0, 1.0, -3.0, 2.0, 5.0]), 0.45))
    yield Case((np.ones(4), 0.5))
    yield Case((np.array([2.0, -2.0, 2.0, 0.0, -2.0]), 0.4))
    yield Case((np.arange(100.0), 0.07), "the numbers from 0 to 99 and p = 0.07")
    yield Case((draw.normal(size=9), 1.0))
    yield Case((np.zeros(7), 0.25))
    for n, p in ((501, 0.3), (1000, 0.5)):
        yield Case(
            (draw.integers(-3, 4, n).astype(float), p),
            f"{n} entries from -3 to 3, many of them equal, and p = {p}",
        )
    for n, p in ((3, 0.1), (33, 0.77), (64, 0.01)):
        yield Case((draw.normal(size=n), p), f"{n} random entries and p = {p}")


def _judge_kept(got: Any, case: Case, right: Array) -> str | None:
    found = numbers(got, booleans=True)
    if found.shape != right.shape or not np.isin(found, (0, 1)).all():
        return f"a mask is asked for: for each of the {len(right)} entries True or False; got {got!r:.60}"
    mine, wanted = np.flatnonzero(found).tolist(), np.flatnonzero(right).tolist()
    if mine == wanted:
        return None
    if len(mine) != len(wanted):
        k = f"⌈p n⌉ = ⌈{case.arguments[1]} · {len(right)}⌉"
        return f"for {case}: {k} is {len(wanted)}; the mask is true at {len(mine)} places"
    if len(wanted) <= 8:
        return f"for {case} the places {wanted} are right; got {mine}"
    update = np.abs(case.arguments[0])
    if sorted(update[mine]) == sorted(update[wanted]):
        return f"for {case}: of two that are equal the *earlier* one is kept"
    return f"for {case}: other entries are kept than those with the largest absolute value"


kept = Exercise(_kept, _kept_cases, _judge_kept)


def _to_subtract(batches: Sequence[Sequence[int]], requests: Sequence[set[int]]) -> list[list[int]]:
    done: set[int] = set()
    answer = []
    for request in requests:
        now = [n for n, batch in enumerate(batches) if n not in done and set(batch) & request]
        done |= set(now)
        answer.append(now)
    return answer


def _subtract_cases(draw: Stream) -> Iterator[Case]:
    batches = [[1, 2], [3, 4], [1, 3], [5, 6]]
    for requests in ([{1}], [{1}, {3}], [{1}, {2}], [{1, 3}], [{3}, {9}, set(), {1}, {3}], []):
        yield Case((batches, requests))
    yield Case(([[1, 2], [3], [1, 2], [3]], [{2}, {3}]))  # the same batch in two epochs
    for n in (6, 20):
        drawn = [draw.choice(n, 4, replace=False).tolist() for _ in range(n)]
        yield Case((drawn, [{int(one)} for one in draw.choice(n, 4)]))


def _judge_subtract(got: Any, case: Case, right: list[list[int]]) -> str | None:
    batches, requests = case.arguments
    asked = f"for the batches {batches} and the requests {requests}"
    if isinstance(got, str | bytes | Mapping) or not isinstance(got, Iterable):
        return f"a list is asked for, with a list of batch numbers for each request; got {got!r:.60}"
    answers = list(got)
    if len(answers) != len(requests):
        return f"{asked} {len(right)} lists are right; got {got!r:.60}"
    if any(isinstance(one, str | Mapping) or not isinstance(one, Iterable) for one in answers):
        return f"a list of batch numbers is asked for *for each* request; got {got!r:.60}"
    found = [sorted(int(n) for n in one) for one in answers]
    if found == right:
        return None
    if sum(map(len, found)) > len({n for one in found for n in one}):
        return f"{asked} a batch is subtracted twice: {found}"
    return f"{asked} {right} is right; got {found}"


to_subtract = Exercise(_to_subtract, _subtract_cases, _judge_subtract)


def _partial_step(old: torch.Tensor, new: torch.Tensor, gradient: torch.Tensor, p: float) -> torch.Tensor:
    mask = torch.zeros(old.numel(), dtype=torch.bool)
    mask[gradient.abs().flatten().argsort(descending=True, stable=True)[: _count(p, old.numel())]] = True
    return torch.where(mask.view_as(old), new, old)


def _step_cases(draw: Stream) -> Iterator[Case]:
    def tensors(*shape: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(draw.normal(size=shape)).float() for _ in range(3))

    yield Case((*tensors(20, 50), 0.1), "1000 entries and p = 0.1")
    yield Case((torch.tensor([-0.0, 1.0]), torch.tensor([math.inf, 2.0]), torch.tensor([0.0, 1.0]), 0.5))
    for shape, p in (
        ((5,), 0.5),
        ((3, 3), 0.45),
        ((7,), 0.25),
        ((2, 3, 2, 2), 0.3),
        ((6,), 1.0),
        ((4, 5), 0.0),
    ):
        yield Case((*tensors(*shape), p), f"{math.prod(shape)} entries in the shape {shape} and p = {p}")
    old, new, _ = tensors(40)
    ties = torch.from_numpy(draw.integers(-2, 3, 40)).float()
    yield Case((old, new, ties, 0.55), "40 entries, many of whose gradients are equal, and p = 0.55")


def _judge_step(got: Any, case: Case, right: torch.Tensor) -> str | None:
    old, new, gradient = (numbers(one) for one in case.arguments[:3])
    found, p = numbers(got), case.arguments[3]
    if found.shape != old.shape:
        return f"the result must have the shape {old.shape} of `old`; got {found.shape}"
    moved, size, k = found != old, np.abs(gradient), _count(p, old.size)
    if int(moved.sum()) != k:
        return f"of {old.size} entries p = {p} moves {k}; {int(moved.sum())} moved (for {case})"
    if moved.any() and not moved.all() and size[moved].min() < size[~moved].max():
        return f"for {case}: other entries moved than those with the largest gradient in absolute value"
    if (found[moved] != new[moved]).any():
        return "an entry that moves must take its new value, bit for bit"
    if (np.signbit(found) != np.signbit(old))[~moved].any():
        return "an entry that stays must keep its bits, even those of -0.0"
    return None


partial_step = Exercise(_partial_step, _step_cases, _judge_step, in_place=(0, 1), tensors=True)


# PGU --------------------------------------------------------------------------------------------------------


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


# Side by side -----------------------------------------------------------------------------------------------

Columns = Mapping[str, Mapping[str, float]]


def _opposites(columns: Columns) -> set[frozenset[str]]:
    """All pairs of audits of which the best method of one is the worst of the other."""
    return {
        frozenset((one, other))
        for one, best in columns.items()
        for other, worst in columns.items()
        if one != other and min(best, key=best.__getitem__) == max(worst, key=worst.__getitem__)
    }


def _opposite_cases(draw: Stream) -> Iterator[Case]:
    agreed = {"a": {"m": 0.0, "n": 1.0}, "b": {"m": 0.1, "n": 0.3}}
    yield Case((agreed,))
    yield Case(({**agreed, "c": {"m": 1.0, "n": 0.0}},))
    yield Case(({"a": {"m": 0.0, "n": 0.5, "o": 1.0}, "b": {"m": 0.5, "n": 0.0, "o": 1.0}},))  # m, n; both o
    one_way = {"a": {"m": 0.0, "n": 0.5, "o": 1.0}, "b": {"m": 0.5, "n": 1.0, "o": 0.0}}
    yield Case((one_way,))  # the best of b is the worst of a, but not the other way round
    yield Case((dict(reversed(one_way.items())),))
    yield Case(({"a": {"m": 0.0, "n": 1.0}},))
    for audits, methods in ((2, 4), (3, 5), (4, 3), (3, 8), (5, 6), (2, 6)):
        values = draw.permutation(audits * methods).reshape(audits, methods) / 10
        yield Case(
            (
                {
                    f"audit {i}": {f"method {j}": float(v) for j, v in enumerate(row)}
                    for i, row in enumerate(values)
                },
            )
        )


def _judge_opposite(got: Any, case: Case, right: set[frozenset[str]]) -> str | None:
    (columns,) = case.arguments
    ends = ", ".join(f"{audit}: {_ends(column)}" for audit, column in columns.items())
    known = f"(best ... worst: {ends})"
    if got is None:
        return (
            f"{' and '.join(sorted(min(right, key=sorted)))} have opposite winners {known}" if right else None
        )
    if isinstance(got, str) or not isinstance(got, Iterable) or len(pair := list(got)) != 2:
        return f"two audits are asked for, or None; got {got!r:.60}"
    if not all(isinstance(one, str) and one in columns for one in pair):
        return f"the names of two audits are asked for, of {', '.join(columns)}; got {got!r:.60}"
    if frozenset(pair) in right:
        return None
    return f"{' and '.join(pair)} are no such pair {known}" + ("" if right else "; None is right")


def _ends(column: Mapping[str, float]) -> str:
    return f"{min(column, key=column.__getitem__)} ... {max(column, key=column.__getitem__)}"


opposite = Exercise(_opposites, _opposite_cases, _judge_opposite)


CHANGED = 0.01  # relative distance of a layer's weights: less is no learning
SOME = 0.05  # of the samples: fewer do not count


@check.arguments
def hidden_by_the_last_layer(model: nn.Module, original: nn.Module, forget: Examples) -> bool:
    """Whether a model has not forgotten a class, but only keeps its last layer from naming it.

    So it is if no other layer has moved to speak of; or if the last layer, put on the original, hides the
    class as well as the model does, and the original's last layer, put on the model, brings it back.

    Args:
        model: the unlearned one.
        original: with the same layers.
        forget: samples of the class.
    """
    moved = weight_distance(model, original).layers
    *before, last = moved
    if max((moved[name] for name in before), default=0.0) < CHANGED:
        return True
    hiding, shown = (_with_layer(*pair, last) for pair in ((original, model), (model, original)))
    hides = accuracy(hiding, forget) <= min(accuracy(model, forget), SOME)
    return hides and accuracy(shown, forget) >= (1 - SOME) * accuracy(original, forget)


def _with_layer(model: nn.Module, donor: nn.Module, layer: str) -> nn.Module:
    """A copy of a model with a layer of another."""
    theirs = {name: value for name, value in donor.state_dict().items() if name.rpartition(".")[0] == layer}
    twin = clone(model).eval()
    twin.load_state_dict({**twin.state_dict(), **theirs})
    return twin
