"""Slow and obvious twins of the fast code, to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor, nn

from unlearn_lib.data import Examples, Split, keyed_order
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, run, train

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


def jackknife_slow(scores: list[list[float]], inside: list[list[bool]]) -> float:
    """Error of the AUC of scores[target][example]: every AUC without one row, or one column, counted anew."""
    variance = 0.0
    for rows, truth in ((scores, inside), (list(zip(*scores, strict=True)), list(zip(*inside, strict=True)))):
        left = []
        for k in range(len(rows)):
            sides: tuple[list[float], list[float]] = ([], [])
            for i, (row, seen) in enumerate(zip(rows, truth, strict=True)):
                for score, member in zip(row, seen, strict=True):
                    if i != k:
                        sides[not member].append(score)
            if all(sides):
                left.append(pair_counting_auc(*sides))
        if len(left) > 1:
            mean = sum(left) / len(left)
            variance += (len(left) - 1) / len(left) * sum((value - mean) ** 2 for value in left)
    return math.sqrt(variance)


# --- amnesiac and partial unlearning -----------------------------------------------------------------------


def keep_slow(values: list[float], k: int) -> set[int]:
    """Indices of the k largest absolute values; of equals, the one that comes first."""
    return set(sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:k])


def amnesiac_slow(
    net: nn.Module, batches: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer, bad: set[int]
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Train on the batches, remember every update, subtract those numbered in `bad`; plain loops."""
    updates = []
    net.train()
    for x, y in batches:
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        updates.append({name: p.detach() - before[name] for name, p in net.named_parameters()})
    unlearned = {name: p.detach().clone() for name, p in net.named_parameters()}
    for number in sorted(bad):
        for name, change in updates[number].items():
            unlearned[name] = unlearned[name] - change
    return updates, unlearned


def naive_unlearning(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    forget: list[tuple[Tensor, Tensor]],
    retain: list[tuple[Tensor, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> list[dict[str, Tensor]]:
    """Parameters after each step of ``loss_of(CE of the forget batch, CE of the retain batch)``."""
    states = []
    net.train()
    for (x_f, y_f), (x_r, y_r) in zip(forget, retain, strict=True):
        CE_f, CE_r = (nn.functional.cross_entropy(net(x), y) for x, y in ((x_f, y_f), (x_r, y_r)))
        optimizer.zero_grad()
        loss_of(CE_f, CE_r).backward()
        optimizer.step()
        states.append({name: p.detach().clone() for name, p in net.named_parameters()})
    return states


def modified_entropy_slow(p: list[float], y: int) -> float:
    """MH of one sample, term by term; a term with weight 0 is 0."""
    total = 0.0
    for c, share in enumerate(p):
        weight, log_of = (1 - share, share) if c == y else (share, 1 - share)
        total -= weight * math.log(log_of) if weight else 0.0
    return total


# --- relabeling ------------------------------------------------------------------------------------------


def relabel_slow(net: nn.Module, split: Split, labels: list[int], recipe: Recipe) -> dict[str, Tensor]:
    """The state after one pass of Adam over D_f alone, with these labels; plain loops."""
    net, forget = clone(net).train(), split.forget
    adam = torch.optim.Adam(net.parameters(), lr=recipe.lr)
    rows = keyed_order(forget.ids, recipe.seed, 0, 1).tolist()
    for start in range(0, len(rows), recipe.batch_size):
        batch = rows[start : start + recipe.batch_size]
        loss = sum(-net(forget.x[i : i + 1]).log_softmax(1)[0, labels[i]] for i in batch) / len(batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return state(net)


# --- projected gradients ---------------------------------------------------------------------------------


def patch_moment_slow(x: Tensor, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Sum of p p^T over square patches, each cut out by hand."""
    reach = dilation * (kernel - 1) + 1
    M: Tensor | float = 0.0
    for image in nn.functional.pad(x, (padding,) * 4):
        for i in range(0, image.shape[1] - reach + 1, stride):
            for j in range(0, image.shape[2] - reach + 1, stride):
                p = image[:, i : i + reach : dilation, j : j + reach : dilation].flatten()
                M = M + torch.outer(p, p)
    assert isinstance(M, Tensor)
    return M


def forget_loss_slow(z: list[list[float]], y: list[int], offset: float, w1: float, w2: float) -> float:
    """w1 mean(-log(1 - (p_y - o))) + w2 mean(sum_c p_c log p_c), sample by sample."""
    total = 0.0
    for logits, label in zip(z, y, strict=True):
        norm = sum(math.exp(v) for v in logits)
        p = [math.exp(v) / norm for v in logits]
        total += w1 * -math.log(1 - (p[label] - offset)) + w2 * sum(v * math.log(v) for v in p)
    return total / len(y)


# --- sisa ------------------------------------------------------------------------------------------------


def shard_slow(
    net: nn.Module, data: Examples, slices: list[list[int]], recipe: Recipe, s: int = 1
) -> list[dict[str, Tensor]]:
    """States M_{s,0} ... M_{s,R}: slice joins slice, in one uninterrupted run of nothing but `train`."""
    model, R, states, seen = clone(net), len(slices), [state(net)], list[int]()
    for r, ids in enumerate(slices, 1):
        seen += ids
        epochs = math.floor(Fraction(2 * recipe.epochs * r, R + 1))
        epochs -= math.floor(Fraction(2 * recipe.epochs * (r - 1), R + 1))
        if seen:
            run(train(model, data.select(seen), recipe.but(epochs=epochs), block=(s - 1) * R + r - 1))
        states.append(state(model))
    return states


def vote_slow(p: list[list[float]], weights: list[float]) -> int:
    """The class that a hard vote elects; p[s][c] are the softmax outputs of shard s for one sample."""
    classes = range(len(p[0]))
    votes, soft = [0.0 for _ in classes], [0.0 for _ in classes]
    for weight, row in zip(weights, p, strict=True):
        votes[row.index(max(row))] += weight
        for c in classes:
            soft[c] += weight * row[c]
    return min(classes, key=lambda c: (-votes[c], -soft[c], c))


def batch_visits_slow(n: int, S: int, R: int, budget: int, K: int) -> float:
    """The expected work of a batch as the specification writes it: a mean over the hits m of a shard."""
    work = [
        sum((1 - ((R - r) / R) ** m) * 2 * r / (R * (R + 1)) for r in range(1, R + 1)) for m in range(K + 1)
    ]
    chance = [math.comb(K, m) / S**m * (1 - 1 / S) ** (K - m) for m in range(K + 1)]
    return budget * n * sum(c * w for c, w in zip(chance, work, strict=True))
