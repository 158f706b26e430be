"""A request, and everything that a method may use to answer it.

The three kinds:
    class       every sample of one class;
    samples     single samples, from all classes;
    backdoor    samples that carry a trigger and a wrong label (`metrics.backdoor`).

If a method stores something for each batch, block or shard, the samples to forget **are kept together**, as
if one data holder had sent them: the layout in which these methods can work. A class cannot be kept together
in a chain or in shards, because then most of them would never learn it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples
from unlearn_lib.methods.amnesiac import packed
from unlearn_lib.metrics.accuracy import accuracy, forgotten_classes
from unlearn_lib.metrics.backdoor import Trigger, edge_trigger, poison
from unlearn_lib.metrics.cost import Counted
from unlearn_lib.params import clone
from unlearn_lib.train import Recipe, run, train

__all__ = ["KINDS", "Kind", "Request", "Task", "three_requests"]

Kind = Literal["class", "samples", "backdoor"]
KINDS: tuple[Kind, ...] = ("class", "samples", "backdoor")


class Request(NamedTuple):
    """What must go: the training set (poisoned if there is a backdoor), ids, and the backdoor."""

    data: Examples
    ids: Tensor
    backdoor: tuple[Trigger, int] | None = None


def three_requests(
    base: Examples, forget_class: int, forget: int, poisoned: int, *, target: int = 0, seed: int = 0
) -> dict[Kind, Request]:
    """The three requests on one training set.

    Args:
        base: images as network inputs.
        forget_class: the class to forget.
        forget: number of single samples to forget.
        poisoned: number of samples to forget that get bright edges and the label `target`.
        target: of the backdoor.
        seed: chooses the samples.

    Raises:
        ValueError: there is no such class, or fewer samples than asked for.
    """
    classes = check_examples("base", base).y.unique().tolist()
    for name, value in (("forget_class", forget_class), ("target", target)):
        check.choice(name, check.whole(name, value), classes)
    check.whole("seed", seed)
    check.whole("forget", forget, 1, len(base) - 1)
    check.whole("poisoned", poisoned, 1, int((base.y != target).sum()))
    trigger = edge_trigger(tuple(base.x.shape[1:]), float(base.x.max()))
    marked = base.where(base.y != target).head(poisoned, seed=seed + 2).ids
    return {
        "class": Request(base, base.ids[base.y == forget_class]),
        "samples": Request(base, base.head(forget, seed=seed + 1).ids),
        "backdoor": Request(poison(base, marked, target, trigger), marked, (trigger, target)),
    }


@dataclass(eq=False)
class Task:
    """One request, and everything that a method may use. It does not include the settings of methods.

    Args:
        kind: of the request.
        data: the training set, poisoned if there is a backdoor. Its reads and those of `validation` are
            counted.
        ids: of the samples to forget.
        validation: unseen samples that may decide when to stop; they never judge.
        recipe: of the original and the retrained model.
        initial: the untrained model.
        folder: an empty one of its own, for what methods store.
        backdoor: trigger and target class of a backdoor request.
        batches: how many batches of every epoch hold the samples to forget, if they fit.
        target: forget accuracy at which class and backdoor requests count as met.

    Raises:
        ValueError: the kind is unknown, an id is not in `data`, `kind` is "class" but the ids are not a whole
            class, or a number is out of range.
        TypeError: a field is of the wrong kind.
    """

    kind: Kind
    data: Examples = field(repr=False)
    ids: Tensor = field(repr=False)
    validation: Examples = field(repr=False)
    recipe: Recipe
    initial: nn.Module = field(repr=False)
    folder: Path
    backdoor: tuple[Trigger, int] | None = None
    batches: int = 6
    target: float = 0.05

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        check.instance("recipe", self.recipe, Recipe), check.instance("initial", self.initial, nn.Module)
        check.whole("batches", self.batches, 1), check.number("target", self.target, "[0, 1]")
        self.folder = check.path("folder", self.folder)
        if self.backdoor is not None:
            check.fit("backdoor", self.backdoor, tuple[Trigger, int])
        data = check_examples("data", self.data)
        check_examples("validation", self.validation)
        if not data.rows(self.ids).any():
            raise ValueError("`ids` must hold at least one sample to forget; got none.")
        self.ids = check.column("ids", self.ids).to(data.ids.device)
        if not isinstance(self.data, Counted):
            reads = Counter[int]()
            self.data = Counted.by(reads, self.data)
            self.validation = Counted.by(reads, self.validation)
        if self.kind == "class" and not forgotten_classes(self.split):
            raise ValueError('`ids` must be every sample of a class where `kind` is "class".')

    @property
    def split(self) -> Split:
        """The request, with reads of both sides counted."""
        return Split.by_ids(self.data, self.ids)

    @property
    def goal(self) -> float:
        """The forget accuracy to come down to: for samples, the accuracy on samples never seen."""
        return accuracy(self.original, self.validation) if self.kind == "samples" else self.target

    @property
    def order(self) -> Callable[[Tensor, int], Tensor]:
        """The order of training, with the samples to forget in a few batches of every epoch."""
        least = -(-len(self.ids) // self.recipe.batch_size)
        return packed(self.ids, max(least, self.batches), self.recipe)

    @property
    def original(self) -> nn.Module:
        """The model trained on everything, trained when first needed."""
        return self._trained[0]

    @property
    def seconds(self) -> float:
        """The time that training the original took."""
        return self._trained[1]

    @cached_property
    def _trained(self) -> tuple[nn.Module, float]:
        begun, model = time.perf_counter(), clone(self.initial)
        run(train(model, self.data, self.recipe, order=self.order))
        return model.eval(), time.perf_counter() - begun

    def adopt(self, original: nn.Module, seconds: float) -> None:
        """Take over an original that was trained elsewhere, in this time."""
        self._trained = (check.instance("original", original, nn.Module), check.number("seconds", seconds))

    def __determined_by__(self) -> Any:
        data = (self.data, self.ids, self.validation, self.backdoor)
        return self.kind, data, self.recipe, self.initial, self.batches, self.target

    def again(self, folder: Path, batches: int | None = None) -> Task:
        """The same request in another folder, with the same original.

        Args:
            folder: an empty one of its own.
            batches: how many batches of every epoch hold the samples to forget; if the number changes, the
                task trains an original of its own.
        """
        other = replace(self, folder=folder, batches=self.batches if batches is None else batches)
        if other.batches == self.batches:
            other._trained = self._trained
        return other
