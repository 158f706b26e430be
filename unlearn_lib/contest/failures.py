"""How each method fails: the same functions as in the contest, with something changed, measured live.

failures(arenas, test, prices) -> rows: method, what was changed, what came out, why
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.contest.arena import Arena, Exposure
from unlearn_lib.contest.task import KINDS, METHODS, Kind, Task
from unlearn_lib.data import Examples
from unlearn_lib.methods.finetune import gradient_ascent
from unlearn_lib.methods.partial import ascent, label_flip
from unlearn_lib.methods.unsir.method import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics.accuracy import accuracy, forgotten_classes
from unlearn_lib.metrics.backdoor import backdoor_success
from unlearn_lib.train import Recipe, Step, Unlearned, run

__all__ = ["Row", "failures"]

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class _Requests:
    """The first seed of each request, and what its methods are run with again."""

    arenas: Mapping[Kind, Arena]
    test: Examples

    def task(self, kind: Kind) -> Task:
        return self.arenas[kind].tasks[0]

    def original(self, kind: Kind) -> nn.Module:
        return self.arenas[kind].originals[0].model

    def again(self, kind: Kind, name: str, **knobs: Any) -> Unlearned[Any]:
        """A row of the contest, prepared and run with other knobs."""
        task, method = self.task(kind), METHODS[name]
        with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
            task = task.again(Path(folder), **knobs)
            return run(method.begin(task, method.prepare(task)))

    def accuracies(self, kind: Kind, model: nn.Module) -> str:
        """On the forget set, and on test samples that should stay known; before and after."""
        split, kept = self.task(kind).split, self.test
        if kind == "class":
            kept = kept.where(~torch.isin(kept.y, split.forget.y))
        ends = [(accuracy(m, split.forget), accuracy(m, kept)) for m in (self.original(kind), model)]
        forget, test = zip(*ends, strict=True)
        return f"forget {forget[0]:.0%} → {forget[1]:.0%}, test {test[0]:.0%} → {test[1]:.0%}"

    def outcome(self, kind: Kind, steps: Generator[Step, None, Unlearned[Any]]) -> str:
        """The accuracies after a run that may end in ruins."""
        try:
            return self.accuracies(kind, run(steps).model)
        except FloatingPointError:
            return "the numbers overflow: no model is left"


def failures(
    arenas: Mapping[Kind, Arena], test: Examples, seconds: float, exposed: Mapping[str, Exposure]
) -> list[Row]:
    """One live failure a method.

    Args:
        arenas: the contest, by request; the first seed is used.
        test: its test samples.
        seconds: that retraining took for one request.
        exposed: what U-LiRA found.

    Raises:
        ValueError: the arena of a request, or what U-LiRA found of retraining and PGU, is not among them.
    """
    needed = {"arenas": (arenas, KINDS), "exposed": (exposed, ("retrain", "PGU samples"))}
    for what, (given, keys) in needed.items():
        if missing := [key for key in keys if key not in check.instance(what, given, Mapping)]:
            raise ValueError(f"`{what}` must hold {', '.join(keys)}; {', '.join(missing)} is missing.")
    requests = _Requests(arenas, test)
    gold, pgu = exposed["retrain"], exposed["PGU samples"]
    return [
        ("retrain", "nothing", f"{seconds:.2f} s for every request", "exact, at full price"),
        *((name, case.changed, case.measure(requests), case.why) for name, case in CASES.items()),
        (
            "PGU samples",
            "nothing",
            f"population attack {pgu.population.value:.2f} (retrained {gold.population.value:.2f}), "
            f"U-LiRA {pgu.attack.auc.value:.2f} ({gold.attack.auc.value:.2f})",
            "it stops when one average is right, whatever the others and the single samples say",
        ),
    ]


def _tuned(requests: _Requests) -> str:
    task = requests.task("backdoor")
    assert task.backdoor is not None
    model = requests.again("backdoor", "fine-tune", tune_epochs=task.recipe.epochs).model
    return f"backdoor success {backdoor_success(model, requests.test, *task.backdoor):.0%}"


def _climbed(requests: _Requests) -> str:
    task, knobs = requests.task("class"), requests.task("class").knobs
    recipe = Recipe("sgd", knobs.climb_lr, batch_size=64, seed=task.recipe.seed)
    steps = gradient_ascent(requests.original("class"), task.split.forget, recipe, 3 * knobs.climb_steps)
    return requests.outcome("class", steps)


def _sharded(requests: _Requests) -> str:
    trace = requests.again("class", "SISA").trace
    shards = requests.task("class").knobs.shards
    return f"{len(trace.shards)} of {shards} shards redone: {1 / trace.speedup:.0%} of all training"


def _spread(requests: _Requests) -> str:
    trace = requests.again("class", "DeepObliviate").trace
    return f"{trace.blocks_retrained} of {trace.blocks} blocks retrained"


def _starved(requests: _Requests) -> str:
    task, knobs = requests.task("class"), requests.task("class").knobs
    classes, seed = forgotten_classes(task.split), task.recipe.seed
    recipe = UnsirRecipe(
        images=knobs.images, penalty=knobs.penalty, impair_lr=knobs.impair_lr, batch_size=16, seed=seed
    )
    three = retain_subset(task.split.retain, classes, 3, seed)
    return requests.outcome("class", unsir(requests.original("class"), classes, three, recipe))


def _everywhere(requests: _Requests) -> str:
    task = requests.task("class")
    batches = 2 * (len(task.data) // task.recipe.batch_size) // 3
    return requests.accuracies("class", requests.again("class", "amnesiac", batches=batches).model)


def _pruned(requests: _Requests) -> str:
    return requests.accuracies("class", requests.again("class", "partial amnesiac", keep=0.02).model)


def _mistaken(requests: _Requests) -> str:
    task, knobs = requests.task("samples"), requests.task("samples").knobs
    recipe = Recipe("sgd", 20 * knobs.flip_lr, batch_size=64, epochs=100, seed=task.recipe.seed)
    steps = label_flip(
        requests.original("samples"), task.split, recipe, keep=knobs.flip_share, steps=200, target=0.0
    )
    return requests.outcome("samples", steps)


def _unbounded(requests: _Requests) -> str:
    task, knobs = requests.task("class"), requests.task("class").knobs
    recipe = Recipe("sgd", 5 * knobs.ascent_lr, batch_size=64, epochs=100, seed=task.recipe.seed)
    return requests.outcome(
        "class", ascent(requests.original("class"), task.split, recipe, keep=1.0, steps=60)
    )


def _hemmed(requests: _Requests) -> str:
    return requests.accuracies("class", requests.again("class", "PGU class", class_energy=0.999).model)


class Case(NamedTuple):
    """What is changed, why it fails, and how to measure it."""

    changed: str
    why: str
    measure: Callable[[_Requests], str]


CASES: Mapping[str, Case] = {
    "fine-tune": Case(
        "trains as long as the original did, on a backdoor",
        "what it never shows it cannot unteach",
        _tuned,
    ),
    "gradient ascent": Case(
        "three times the steps, on a class", "no lower bound, no sense of when to stop", _climbed
    ),
    "SISA": Case("a class, not samples kept together", "every shard holds some of it", _sharded),
    "DeepObliviate": Case("a class: samples in every block", "the first block touched is the first", _spread),
    "UNSIR": Case(
        "three retained images a class",
        "much noise of one label, few images of others: all may be called that",
        _starved,
    ),
    "amnesiac": Case(
        "the class in two thirds of all batches",
        "a batch is taken back with all that it taught",
        _everywhere,
    ),
    "partial amnesiac": Case(
        "a fiftieth of each update kept", "too little is undone, and the rest was never stored", _pruned
    ),
    "partial label-flip": Case(
        "asked for 0 % instead of the level of unseen samples, with twenty times the step size",
        "what it learns are mistakes, and these can generalize",
        _mistaken,
    ),
    "partial optimization": Case(
        "sixty steps of every entry, of five times the size, with no goal",
        "the loss has no lower bound: less is moved, less breaks",
        _unbounded,
    ),
    "PGU class": Case(
        "protects nearly all directions", "what is to go shares its directions with what stays", _hemmed
    ),
}
