"""Right and wrong answers to the exercises of lesson 03; a wrong one with words of what it must be told."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch


def count(p: float, n: int) -> int:
    return math.ceil(round(p * n, 9))


def mask_of(places: Any, n: int) -> Any:
    mask = np.zeros(n, bool)
    mask[places] = True
    return mask


def stable(update: Any) -> Any:
    return np.argsort(-np.abs(update), kind="stable")


def keep_first(update: Any, k: int) -> Any:
    return mask_of(stable(update)[:k], len(update))


def in_a_loop(update: Any, p: float) -> list[bool]:
    k = math.ceil(Fraction(str(p)) * len(update))
    chosen = set(sorted(range(len(update)), key=lambda i: -abs(update[i]))[:k])
    return [i in chosen for i in range(len(update))]


def in_torch(update: Any, p: float) -> Any:
    u = torch.as_tensor(update)
    mask = torch.zeros(len(u), dtype=torch.bool)
    mask[u.abs().argsort(descending=True, stable=True)[: count(p, len(u))]] = True
    return mask


def of_tensors(update: Any, p: float) -> Any:
    order = update.abs().sort(descending=True, stable=True).indices
    return torch.zeros_like(update).index_fill_(0, order[: count(p, update.numel())], 1)


def with_ties_backwards(update: Any, p: float) -> Any:
    return mask_of(np.argsort(np.abs(update), kind="stable")[::-1][: count(p, len(update))], len(update))


def over_threshold(update: Any, p: float) -> Any:
    k = count(p, len(update))
    return np.abs(update) >= np.sort(np.abs(update))[::-1][k - 1] if k else np.zeros(len(update), bool)


def absolute_in_place(update: Any, p: float) -> Any:
    np.abs(update, out=update)
    return keep_first(update, count(p, len(update)))


def sorts_in_place(update: Any, p: float) -> Any:
    update.sort()
    return keep_first(update, count(p, len(update)))


def once(batches: Any, requests: Any) -> Any:
    left, answer = dict(enumerate(batches)), []
    for request in requests:
        now = {n for n, batch in left.items() if not request.isdisjoint(batch)}
        left = {n: batch for n, batch in left.items() if n not in now}
        answer.append(now)
    return answer


def as_arrays(batches: Any, requests: Any) -> Any:
    done = np.zeros(len(batches), bool)
    answer = []
    for request in requests:
        now = np.array([bool(request & set(batch)) for batch in batches]) & ~done
        done |= now
        answer.append(np.flatnonzero(now))
    return answer


def yields(batches: Any, requests: Any) -> Any:
    done: set[int] = set()
    for request in requests:
        now = [n for n in range(len(batches)) if n not in done and set(batches[n]) & request]
        done.update(now)
        yield tuple(now)


DONE: set[int] = set()


def forever(batches: Any, requests: Any) -> Any:
    answer = []
    for request in requests:
        now = [n for n, batch in enumerate(batches) if n not in DONE and set(batch) & request]
        DONE.update(now)
        answer.append(now)
    return answer


def touched(batches: Any, request: Any) -> list[int]:
    return [n for n, batch in enumerate(batches) if set(batch) & set(request)]


def cumulative(batches: Any, requests: Any) -> Any:
    return [touched(batches, set().union(*requests[: i + 1])) for i in range(len(requests))]


def by_content(batches: Any, requests: Any) -> Any:
    return [sorted({batches.index(batch) for batch in found}) for found in contents(batches, requests)]


def contents(batches: Any, requests: Any) -> Any:
    return [[batches[n] for n in numbers] for numbers in once(batches, requests)]


def clears(batches: Any, requests: Any) -> Any:
    answer = []
    for request in requests:
        now = touched(batches, request)
        for n in now:
            batches[n].clear()
        answer.append(now)
    return answer


def uses_up(batches: Any, requests: Any) -> Any:
    answer = once(batches, requests)
    requests.clear()
    return answer


def repeated(batches: Any, requests: Any) -> Any:
    return [
        [n for n in numbers for _ in set(batches[n]) & request]
        for numbers, request in zip(once(batches, requests), requests, strict=True)
    ]


def largest(gradient: Any, k: int) -> Any:
    mask = torch.zeros(gradient.numel(), dtype=torch.bool)
    mask[gradient.abs().flatten().argsort(descending=True, stable=True)[:k]] = True
    return mask.view_as(gradient)


def step(old: Any, new: Any, gradient: Any, p: float, *, k: Any = count) -> Any:
    return torch.where(largest(gradient, k(p, old.numel())), new, old)


def step_by_topk(old: Any, new: Any, gradient: Any, p: float) -> Any:
    out = old.clone()
    places = gradient.abs().flatten().topk(count(p, old.numel())).indices
    out.view(-1)[places] = new.reshape(-1)[places]
    return out


def step_in_place(old: Any, new: Any, gradient: Any, p: float) -> Any:
    mask = largest(gradient, count(p, old.numel()))
    old[mask] = new[mask]
    return old


def step_back_in_place(old: Any, new: Any, gradient: Any, p: float) -> Any:
    mask = largest(gradient, count(p, old.numel()))
    new[~mask] = old[~mask]
    return new


def step_of_arrays(old: Any, new: Any, gradient: Any, p: float) -> Any:
    order = np.argsort(-np.abs(gradient), axis=None, kind="stable")
    mask = mask_of(order[: count(p, old.size)], old.size).reshape(old.shape)
    return np.where(mask, new, old)


def step_in_numpy(old: Any, new: Any, gradient: Any, p: float) -> Any:
    return step_of_arrays(old.numpy(), new.numpy(), gradient.numpy(), p)


def step_in_a_loop(old: Any, new: Any, gradient: Any, p: float) -> Any:
    g = gradient.flatten().tolist()
    out, new = old.flatten().tolist(), new.flatten().tolist()
    for i in sorted(range(len(g)), key=lambda i: -abs(g[i]))[: count(p, len(g))]:
        out[i] = new[i]
    return torch.tensor(out).view(old.shape)


def step_by_arithmetic(old: Any, new: Any, gradient: Any, p: float) -> Any:
    return old + largest(gradient, count(p, old.numel())) * (new - old)


def step_by_product(old: Any, new: Any, gradient: Any, p: float) -> Any:
    mask = largest(gradient, count(p, old.numel())).float()
    return old * (1 - mask) + torch.nan_to_num(new * mask, nan=0.0)


def step_over_threshold(old: Any, new: Any, gradient: Any, p: float) -> Any:
    k = count(p, old.numel())
    if k == 0:
        return old
    least = gradient.abs().flatten().sort(descending=True).values[k - 1]
    return torch.where(gradient.abs() >= least, new, old)


def step_by_update(old: Any, new: Any, gradient: Any, p: float) -> Any:
    return torch.where(largest(new - old, count(p, old.numel())), new, old)


def step_by_value(old: Any, new: Any, gradient: Any, p: float) -> Any:
    mask = torch.zeros(gradient.numel(), dtype=torch.bool)
    mask[gradient.flatten().argsort(descending=True)[: count(p, old.numel())]] = True
    return torch.where(mask.view_as(old), new, old)


def step_by_row(old: Any, new: Any, gradient: Any, p: float) -> Any:
    mask = torch.stack([largest(row, count(p, row.numel())) for row in gradient])
    return torch.where(mask, new, old)


def step_spoils_the_gradient(old: Any, new: Any, gradient: Any, p: float) -> Any:
    return step(old, new, gradient.abs_(), p)


ANSWERS: dict[str, Any] = {
    "kept": {
        "right": {
            "in a loop": in_a_loop,
            "torch": in_torch,
            "tensors only": of_tensors,
            "zeros and ones": lambda u, p: keep_first(u, count(p, len(u))).astype(int),
            "lexsort": lambda u, p: mask_of(
                np.lexsort((np.arange(len(u)), -np.abs(u)))[: count(p, len(u))], len(u)
            ),
            "float32": lambda u, p: keep_first(np.float32(u), count(p, len(u))),
        },
        "wrong": {
            "floor": (lambda u, p: keep_first(u, math.floor(p * len(u))), "⌈p n⌉ = ⌈0.5 · 5⌉ is 3"),
            "round": (lambda u, p: keep_first(u, round(p * len(u))), "⌈p n⌉"),
            "half up": (lambda u, p: keep_first(u, math.floor(p * len(u) + 0.5)), "⌈p n⌉"),
            "ceil without rounding": (lambda u, p: keep_first(u, math.ceil(p * len(u))), "⌈0.07 · 100⌉ is 7"),
            "one more": (lambda u, p: keep_first(u, count(p, len(u)) + 1), "the mask is true at 3"),
            "unstable sort": (
                lambda u, p: mask_of(np.argsort(-np.abs(u))[: count(p, len(u))], len(u)),
                "earlier",
            ),
            "argpartition": (
                lambda u, p: mask_of(
                    np.argpartition(-np.abs(u), min(count(p, len(u)), len(u) - 1))[: count(p, len(u))], len(u)
                ),
                "earlier",
            ),
            "ties backwards": (with_ties_backwards, "places [0, 1] are right; got [2, 3]"),
            "all that reach the least": (over_threshold, "⌈p n⌉"),
            "by value": (
                lambda u, p: mask_of(np.argsort(-u, kind="stable")[: count(p, len(u))], len(u)),
                "places [1, 2] are right; got [2, 3]",
            ),
            "the smallest": (
                lambda u, p: mask_of(np.argsort(np.abs(u), kind="stable")[: count(p, len(u))], len(u)),
                "places [1, 2] are right",
            ),
            "the first": (lambda u, p: mask_of(slice(count(p, len(u))), len(u)), "places [1, 2]"),
            "half, whatever is asked": (lambda u, p: keep_first(u, count(0.5, len(u))), "⌈p n⌉"),
            "places": (lambda u, p: stable(u)[: count(p, len(u))], "return a mask"),
            "values": (lambda u, p: u * keep_first(u, count(p, len(u))), "return a mask"),
            "the rest": (lambda u, p: ~keep_first(u, count(p, len(u))), "places [1, 2] are right"),
            "absolute values in place": (absolute_in_place, "changes its argument `update`"),
            "sorts in place": (sorts_in_place, "changes its argument `update`"),
            "nothing": (lambda u, p: None, "returned nothing"),
        },
    },
    "to_subtract": {
        "right": {"sets": once, "arrays": as_arrays, "yield": yields},
        "wrong": {
            "each by itself": (lambda b, r: [touched(b, one) for one in r], "subtracted twice"),
            "together so far": (cumulative, "subtracted twice"),
            "all at once": (lambda b, r: [touched(b, set().union(*r))] * bool(r), "2 lists are right"),
            "only the first": (
                lambda b, r: [touched(b, one) if i == 0 else [] for i, one in enumerate(r)],
                "is right",
            ),
            "whole batches": (
                lambda b, r: [[n for n, x in enumerate(b) if set(x) <= one] for one in r],
                "is right",
            ),
            "remembers for ever": (forever, "is right; got"),
            "once for each sample": (repeated, "subtracted twice"),
            "by content": (by_content, "is right; got"),
            "the batches": (contents, "right kind|is right"),
            "numbers from one": (
                lambda b, r: [[n + 1 for n in one] for one in once(b, r)],
                "is right; got [[1, 3]]",
            ),
            "flat": (lambda b, r: [n for one in once(b, r) for n in one], "lists are right|for each"),
            "clears what it has seen": (clears, "changes its argument `batches`"),
            "uses the requests up": (uses_up, "changes its argument `requests`"),
            "the first id of each batch": (
                lambda b, r: once([batch[:1] for batch in b], r),
                "is right; got",
            ),
            "nothing": (lambda b, r: None, "returned nothing"),
        },
    },
    "partial_step": {
        "right": {
            "topk": step_by_topk,
            "in place": step_in_place,
            "back in place": step_back_in_place,
            "NumPy": step_in_numpy,
            "arrays only": step_of_arrays,
            "in a loop": step_in_a_loop,
            "float64": lambda o, n, g, p: step(o.double(), n.double(), g.double(), p),
            "masked_fill and scatter": lambda o, n, g, p: o.masked_scatter(
                m := largest(g, count(p, o.numel())), n[m]
            ),
        },
        "wrong": {
            "floor": (
                lambda o, n, g, p: step(o, n, g, p, k=lambda p, n: math.floor(p * n)),
                "0.5 moves 3; 2",
            ),
            "round": (lambda o, n, g, p: step(o, n, g, p, k=lambda p, n: round(p * n)), "moves 3; 2 moved"),
            "one more": (
                lambda o, n, g, p: step(o, n, g, p, k=lambda p, n: count(p, n) + 1),
                "moves 100; 101",
            ),
            "arithmetic": (step_by_arithmetic, "bit for bit|must keep its bits|moved"),
            "product": (step_by_product, "must keep its bits"),
            "all that reach the least": (step_over_threshold, "gradients are equal"),
            "by the update": (step_by_update, "that moved are not those"),
            "by value": (step_by_value, "that moved are not those"),
            "row by row": (step_by_row, "that moved are not those"),
            "smallest": (
                lambda o, n, g, p: torch.where(largest(1 / g.abs(), count(p, o.numel())), n, o),
                "that moved are not those",
            ),
            "exchanged": (lambda o, n, g, p: step(n, o, g, p), "moves 100; 900 moved"),
            "the full step": (lambda o, n, g, p: n, "moves 100; 1000 moved"),
            "no step": (lambda o, n, g, p: o, "moves 100; 0 moved"),
            "half a step": (lambda o, n, g, p: step(o, (o + n) / 2, g, p), "its new value"),
            "flat": (lambda o, n, g, p: step(o, n, g, p).flatten(), "shape"),
            "spoils the gradient": (step_spoils_the_gradient, "changes its argument `gradient`"),
            "nothing": (lambda o, n, g, p: None, "returned nothing"),
        },
    },
}
