"""Partial label flipping and partial ascent: unlearn by training, but let each step move few entries.

There are two old ways to forget D_f: train on wrong labels ("label flipping"), or raise the loss
("optimization-based"),

    flip:    CE(D_f batch, wrong labels) + lambda_r CE(D_r batch)
    ascent:  lambda_r CE(D_r batch) - lambda_f CE(D_f batch) .

Both also harm what should stay. *Partial*: after each optimizer step, only k_l = ceil(p n_l) entries of each
layer l take their new value; the others go back to the old one, bit for bit:

    theta_l <- new where m_l, old elsewhere .

The naive forms are the same functions with p = 1. A partial step is also a *smaller* step. So compare at
equal forgetting (`first_reaching`), with the control "all entries, learning rate eta p or eta sqrt(p)". In
lesson 03 the choice of entries helps label flipping; for ascent, smaller steps do as well.

Differs from the paper:
    The abstract tells us for certain: there are layer-wise partial updates inside label flipping and
    optimization-based unlearning, to limit the harm to the model. Their code is not public. *Our reading* is
    everything else, above all which entries are updated (hence four rules) and both losses. Label flipping
    after Graves et al. trains on the whole relabeled set; lambda_r = 1 comes nearest to that, and lambda_r =
    0 is its contrast. *Our decisions*: the cap; a mask on the update, because with momentum, Adam or weight
    decay a masked gradient would let the other entries move; and the masked change is added to the old value,
    which may differ from the new value in the last bit.

References:
    V. C. Gogineni, E. S. Nadimi, Efficient Knowledge Deletion from Trained Models Through Layer-wise Partial
    Machine Unlearning, 2024, arXiv:2403.07611; Journal of Machine Learning Research, 2025.
    L. Graves, V. Nagisetty, V. Ganesh, Amnesiac Machine Learning, AAAI 2021, arXiv:2010.10981.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples, Split, keyed_order, mix
from unlearn_lib.methods.layers import Group, Keep, Layers, random_scores
from unlearn_lib.outputs import accuracy, answer, device_of, dtype_of, evaluating
from unlearn_lib.params import Params, clone, gradients, snapshot
from unlearn_lib.train import Recipe, Step, Unlearned, as_run, cross_entropy, train

__all__ = ["MaskTrace", "Select", "ascent", "first_reaching", "label_flip", "selected", "wrong_labels"]

Select = Literal["magnitude", "stochastic", "sequential", "fixed"]
Rank = Literal["gradient", "update"]
Partial = Generator[Step, None, Unlearned["MaskTrace"]]
_RETAIN, _FLIP = 1, 2  # what a seed is used for


@dataclass(frozen=True)
class MaskTrace:
    """What a run did: its steps, learning rate eta, share p, rule, and how many entries of each layer moved.

    `reached` says whether the run ended because the forget accuracy of a batch was at most `target`.
    """

    steps: int
    lr: float
    keep: Keep
    select: Select
    changed: dict[str, int]
    reached: bool


@as_run
def label_flip(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    keep: Keep,
    select: Select = "magnitude",
    rank: Rank = "gradient",
    group: Group = "tensor",
    lambda_r: float = 0.0,
    relabel: Literal["once", "each_step"] = "once",
    steps: int | None = None,
    target: float | None = None,
) -> Partial:
    """Train a copy on D_f with wrong labels, each step moving k_l entries of every layer.

    Wrong labels are uniform over the classes other than the true one; if D_f holds whole classes, over the
    classes that remain. Retained labels are never touched.

    Args:
        model: left unchanged.
        split: D_r is read only if `lambda_r` > 0.
        recipe: its `lr` is eta; `epochs` are passes over D_f.
        keep: share p in [0, 1] of each layer that moves in a step; a number, or by layer, where a layer not
            named stays as it is. 1 is the naive method, and at 0 nothing moves.
        select: which entries: "magnitude" (largest abs of `rank`), "stochastic" (drawn anew each step),
            "sequential" (a window that wanders through the layer), "fixed" (drawn once).
        rank: what "magnitude" ranks: the "gradient", or the "update" that the optimizer made of it.
        group: a layer is one parameter "tensor", or all of one "module".
        lambda_r: weight >= 0 of the loss on D_r, one batch a step.
        relabel: draw a wrong label per sample "once", or anew at "each_step".
        steps: stop after so many steps; default: at the end of the recipe's epochs.
        target: stop as soon as the accuracy on the step's own batch of D_f, after the step, is at most this.

    Yields:
        One `Step` per mini-batch; `info["mask"]` says which entries it moved, as bool tensors by name.

    Returns:
        The unlearned model, the seconds, and a `MaskTrace`.

    Raises:
        ValueError: a setting is outside its range, or `keep` names an unknown layer.

    Example:
        >>> result = ul.run(ul.label_flip(model, split, recipe, keep=0.2, target=0.1))
        >>> result.trace.reached
        True
    """
    _check(model, split, recipe, steps, target, lambda_r=lambda_r)
    check.choice("relabel", relabel, ("once", "each_step"))
    choices = _labels_left(split)
    forget = split.forget.to(device_of(model))
    order, numbers = forget.ids.argsort(), count(1)
    once = wrong_labels(forget.y, choices, recipe.seed, _FLIP)[order]
    retain = _batches(split.retain, recipe, model)

    def loss_fn(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        if relabel == "once":
            wrong = once[torch.searchsorted(forget.ids[order], batch.ids)]
        else:
            wrong = wrong_labels(batch.y, choices, recipe.seed, _FLIP, next(numbers))
        loss = cross_entropy(model, batch._replace(y=wrong))
        return loss + lambda_r * cross_entropy(model, next(retain)) if lambda_r else loss

    mask = _Mask(clone(model), group, keep, select, rank, recipe.seed)
    return _partial("label flip", model, split, recipe, loss_fn, mask, steps, target)


@as_run
def ascent(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    keep: Keep,
    select: Select = "magnitude",
    rank: Rank = "gradient",
    group: Group = "tensor",
    lambda_f: float = 1.0,
    lambda_r: float = 0.0,
    cap: float | Literal["log_c"] = 8.0,
    steps: int | None = None,
    target: float | None = None,
) -> Partial:
    """Raise a copy's loss on D_f, each step moving k_l entries of every layer.

    Args:
        lambda_f: weight >= 0 of the loss on D_f; 0 is plain fine-tuning on D_r.
        lambda_r: weight >= 0 of the loss on D_r, one batch a step; 0 is pure ascent.
        cap: the forget term has no gradient where the batch's loss (nats) exceeds this: without a limit,
            ascent diverges. "log_c" is log C, the loss of a uniform guess.
        model, split, recipe, keep, select, rank, group, steps, target: see `label_flip`.

    Yields:
        One `Step` per mini-batch; `info["mask"]` says which entries it moved.

    Returns:
        The unlearned model, the seconds, and a `MaskTrace`.

    Raises:
        ValueError: a setting is outside its range, or `keep` names an unknown layer.

    Example:
        >>> result = ul.run(ul.ascent(model, split, recipe, keep=0.2, lambda_r=1.0))
        >>> ul.accuracy(result.model, split.forget) < ul.accuracy(model, split.forget)
        True
    """
    _check(model, split, recipe, steps, target, lambda_f=lambda_f, lambda_r=lambda_r)
    classes = len(torch.cat([split.forget.y, split.retain.y]).unique())
    limit = math.log(classes) if cap == "log_c" else cap
    if isinstance(limit, str) or not check.number("cap", limit, "[-inf, inf]") > 0:
        raise ValueError(f'`cap` must be positive (nats) or "log_c"; got {cap!r}.')
    if not lambda_f and not lambda_r:
        raise ValueError("`lambda_f` and `lambda_r` must not both be 0: nothing would be trained.")
    retain = _batches(split.retain, recipe, model)

    def loss_fn(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        loss = -lambda_f * cross_entropy(model, batch).clamp(max=limit)
        return lambda_r * cross_entropy(model, next(retain)) + loss if lambda_r else loss

    mask = _Mask(clone(model), group, keep, select, rank, recipe.seed)
    return _partial("ascent", model, split, recipe, loss_fn, mask, steps, target)


def _partial(
    phase: str,
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    loss_fn: Callable[[nn.Module, Batch], Tensor],
    mask: _Mask,
    steps: int | None,
    target: float | None,
) -> Partial:
    begun = time.perf_counter()
    _warn_if_not_learned(model, split)
    unlearned, done, reached = mask.model, 0, False
    loop = train(unlearned, split.forget, recipe, loss_fn=loss_fn, on_update=mask, phase=phase)
    for done, step in enumerate(islice(loop, steps), 1):  # noqa: B007 - `done` is read after the loop
        yield step._replace(info={"mask": mask.last})
        if target is not None and _accuracy(unlearned, step.batch) <= target:
            reached = True
            break
    before, after = (mask.layers.flatten(snapshot(m)) for m in (model, unlearned))
    moved = (before != after).cpu()
    changed = {name: int(moved[span].sum()) for name, span in mask.layers.spans.items()}
    trace = MaskTrace(
        steps=done,
        lr=recipe.lr,
        keep=mask.keep,
        select=mask.select,
        changed=changed,
        reached=reached,
    )
    return Unlearned(unlearned.eval(), time.perf_counter() - begun, trace)


class _Mask:
    """PARTIAL_STEP: for `train(on_update=...)`. Sees the full optimizer step, lets k_l entries through."""

    def __init__(
        self, model: nn.Module, group: Group, keep: Keep, select: Select, rank: Rank, seed: int
    ) -> None:
        check.choice("select", select, get_args(Select))
        check.choice("rank", rank, get_args(Rank))
        self.model, self.layers, self.keep = model, Layers.of(model, group), keep
        self.select, self.rank, self.seed = select, rank, seed
        self.full = all(p == 1 for p in self.layers.shares(keep).values())
        self.number = 0
        self.last: Params = {}

    def __call__(self, batch: Batch, delta: Params) -> Params | None:
        self.number += 1
        ranked = delta if self.rank == "update" else gradients(self.model)
        scores = self.layers.flatten(ranked).abs()
        m = selected(self.layers, self.keep, self.select, scores, self.seed, self.number)
        self.last = self.layers.unflatten(m)
        if self.full:  # p = 1 is the naive method, bit for bit
            return None
        # x + (-0.0) is x for every x, 0.0 and -0.0 included: unselected entries stay bit for bit
        return {name: torch.where(self.last[name], change, -0.0) for name, change in delta.items()}


def selected(
    layers: Layers, keep: Keep, select: Select, scores: Float[Tensor, " n"], seed: int, step: int
) -> Bool[Tensor, " n"]:
    """SELECT: the mask m of one step, k_l entries of each layer.

    Args:
        layers: how the vector is cut.
        keep: share p in [0, 1], a number or by layer.
        select: see `label_flip`. "sequential": the last window of a cycle is cut short, so that a cycle
            covers every entry once in ceil(n_l / k_l) steps.
        scores: abs of what "magnitude" ranks, ties by lower index; otherwise only the device is read.
        seed: of "stochastic" (seed, step, layer) and "fixed" (seed, layer).
        step: counts from 1.

    Raises:
        ValueError: unknown `select`, or not one score for each entry.
    """
    check.choice("select", select, get_args(Select))
    check.whole("seed", seed), check.whole("step", step, 1)
    if len(check.tensor("scores", scores, "n")) != check.instance("layers", layers, Layers).n:
        raise ValueError(f"`scores` must have one for each of {layers.n} entries; got {len(scores)}.")
    if select == "sequential":
        m = torch.zeros_like(scores, dtype=torch.bool)
        for name, k in layers.budgets(keep).items():
            span = layers.spans[name]
            if k:
                n = span.stop - span.start
                start = span.start + (step - 1) % math.ceil(n / k) * k
                m[start : min(start + k, span.stop)] = True
        return m
    if select == "stochastic":
        scores = random_scores(layers, seed, step).to(scores.device)
    elif select == "fixed":
        scores = random_scores(layers, seed).to(scores.device)
    return layers.top(scores[None], keep)[0]


def wrong_labels(y: Int[Tensor, " b"], choices: Int[Tensor, " c"], *key: int) -> Int[Tensor, " b"]:
    """For each label, one of `choices` (sorted) other than itself, uniformly; drawn from the key.

    Raises:
        ValueError: there is no such label.
    """
    y, choices = check.labels(y), check.labels(choices, "choices")
    if not len(choices) or (len(choices) == 1 and bool((y == choices).any())):
        raise ValueError(f"`choices` must hold a label other than the true one; got {choices.tolist()}.")
    stream = torch.Generator().manual_seed(mix(*key))
    draw = torch.rand(len(y), generator=stream, dtype=torch.float64).to(y.device)
    choices = choices.to(y.device)
    own, rank = torch.isin(y, choices), torch.searchsorted(choices, y)
    pick = (draw * (len(choices) - own.long())).long()
    return choices[pick + (own & (pick >= rank)).long()]


def first_reaching(forget_accuracy: Sequence[float], target: float) -> int | None:
    """The first step, counted from 1, at which forget accuracy is at most `target`; None: not reached.

    Comparing methods after equally many steps flatters partial updates, because a partial step is a smaller
    step. Compare each at the first step where it reaches the target.
    """
    check.number("target", target, "[0, 1]")
    check.fit("forget_accuracy", forget_accuracy, Sequence[float])
    shares = [check.number("forget_accuracy", one, "[0, 1]") for one in forget_accuracy]
    return next((number for number, value in enumerate(shares, 1) if value <= target), None)


def _batches(data: Examples, recipe: Recipe, model: nn.Module) -> Iterator[Batch]:
    """Full batches of D_r without end, each epoch in its own keyed order; moved when first asked for."""
    data, size = data.to(device_of(model), dtype_of(model)), recipe.batch_size
    for epoch in count(1):
        rows = keyed_order(data.ids, recipe.seed, _RETAIN, epoch)
        for part in rows[: max(len(rows) // size, 1) * size].split(size):
            yield data.batch(part)


def _labels_left(split: Split) -> Int[Tensor, " c"]:
    """The classes that wrong labels come from: of D_r, if D_f holds whole classes; else all."""
    everything, retained = torch.cat([split.forget.y, split.retain.y]).unique(), split.retain.y.unique()
    whole = not torch.isin(split.forget.y, retained).all()
    choices: Tensor = retained if whole else everything
    if len(choices) - int(torch.isin(split.forget.y, choices).any()) < 1:
        raise ValueError(f"`split` must have a wrong label to give; its only class is {choices.tolist()}.")
    return choices


def _accuracy(model: nn.Module, batch: Batch) -> float:
    with evaluating(model):
        return float((answer(model, batch.x).argmax(1) == batch.y).double().mean())


def _warn_if_not_learned(model: nn.Module, split: Split) -> None:
    chance = 1 / len(torch.cat([split.forget.y, split.retain.y]).unique())
    learned = accuracy(model, split.forget)
    if learned <= chance:
        check.warn(
            f"the model has not learned what it is to forget: accuracy {learned:.2f} on `split.forget`, "
            f"chance {chance:.2f}. Whatever follows shows nothing."
        )


def _check(
    model: nn.Module, split: Split, recipe: Recipe, steps: int | None, target: float | None, **weights: float
) -> None:
    check.instance("split", split, Split)
    check.instance("recipe", recipe, Recipe)
    check.instance("model", model, nn.Module)
    if steps is not None:
        check.whole("steps", steps, 1)
    if target is not None:
        check.number("target", target, "[0, 1]")
    for name, value in weights.items():
        check.number(name, value, "[0, inf)")
