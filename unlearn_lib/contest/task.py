"""The table of all methods: what each prepares before a request, how it runs, and where it does not apply.

    METHODS["amnesiac"] = Method(sentence, start, prepare, refuses)

A `Task` is one request and all that a method may be given. `begin` refuses what a method cannot do, in a
sentence; otherwise it gives the generator of the method, as in its own lesson. Nothing here trains: every row
calls the functions of `unlearn_lib.methods` with settings for small nets on small images.

The three requests:
    class       every sample of one class;
    samples     single samples, from all classes;
    backdoor    samples that carry a trigger and a wrong label (`metrics.backdoor`).

Where a method stores something by batch, block or shard, the samples to forget **stand together**, as if one
data holder had sent them: the layout in which these methods can work. A class cannot be kept together in a
chain or in shards, for then most of them would never learn it.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples, keyed_order
from unlearn_lib.methods.amnesiac.method import amnesiac, packed, record
from unlearn_lib.methods.deepobliviate.chain import train_chain
from unlearn_lib.methods.deepobliviate.decay import StopRule
from unlearn_lib.methods.deepobliviate.method import deepobliviate
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.methods.partial import ascent, label_flip
from unlearn_lib.methods.pgu.method import CLASS, SAMPLES, forgotten, overtaken, pgu
from unlearn_lib.methods.pgu.method import StopRule as Stop
from unlearn_lib.methods.pgu.moments import moments
from unlearn_lib.methods.pgu.projection import spectra
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.sisa.method import partition, sisa, train_sisa
from unlearn_lib.methods.unsir.method import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics.accuracy import accuracy, forgotten_classes
from unlearn_lib.metrics.backdoor import Trigger, edge_trigger, poison
from unlearn_lib.metrics.cost import Counted
from unlearn_lib.params import clone
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step, Unlearned, run, train

__all__ = [
    "KINDS",
    "METHODS",
    "Kind",
    "Kit",
    "Knobs",
    "Method",
    "Request",
    "Task",
    "learner",
    "noisy",
    "plain",
    "three_requests",
]

T = TypeVar("T")
Kind = Literal["class", "samples", "backdoor"]
Run = Generator[Step, None, Unlearned[Any]]
SHARES = ("target", "keep", "flip_share", "ascent_share", "class_energy", "samples_energy")
KINDS: tuple[Kind, ...] = ("class", "samples", "backdoor")


class Request(NamedTuple):
    """What is to go: the training set (poisoned where there is a backdoor), ids, and the backdoor."""

    data: Examples
    ids: Tensor
    backdoor: tuple[Trigger, int] | None = None


def noisy(examples: Examples, noise: float, stream: torch.Generator) -> Examples:
    """The network inputs with normal noise of this deviation: details that belong to one image alone."""
    check.number("noise", noise, "[0, inf)"), check.instance("stream", stream, torch.Generator)
    x = check_examples("examples", examples).batch(slice(None)).x
    return replace(examples, x=x + noise * torch.randn(x.shape, generator=stream), scale=None)


def three_requests(
    base: Examples, forget_class: int, forget: int, poisoned: int, *, target: int = 0, seed: int = 0
) -> dict[Kind, Request]:
    """The three requests on one training set.

    Args:
        base: images as network inputs.
        forget_class: the class to forget.
        forget: number of single samples to forget.
        poisoned: number of samples that get bright edges and the label `target`, and are to be forgotten.
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


@dataclass(frozen=True)
class Knobs:
    """The settings of the rows. `ci/tune_contest.py` chose these for digits, without its test samples.

    Args:
        batches: of every epoch that hold the samples to forget.
        target: forget accuracy at which class and backdoor requests count as met.
        tune_epochs: of fine-tuning.
        climb_lr: step size of gradient ascent.
        climb_steps: its steps.
        shards: of SISA.
        slices: of each shard.
        blocks: of DeepObliviate's chain.
        block_epochs: passes over each block.
        epsilon: slope of the residual's trend at which DeepObliviate stops.
        images: of UNSIR's noise.
        penalty: on the size of the noise.
        impair_lr: step size of UNSIR's impair phase.
        keep: share of every update that partial amnesiac unlearning stores.
        sensitive: record only the batches that hold samples to forget, where all would not fit on the disk.
        flip_lr: step size of partial label flipping.
        flip_share: share of every layer that its step moves.
        ascent_lr: step size of partial optimization.
        ascent_share: share of every layer that its step moves.
        class_lr: step size of PGU for a class.
        class_energy: share of the retained data's energy that it protects.
        samples_lr: step size of PGU for samples.
        samples_energy: share of the retained data's energy that it protects.

    Raises:
        ValueError: a count below 1, or a share, size or rate below 0.
        TypeError: a fraction where a whole number belongs.
    """

    batches: int = 6
    target: float = 0.05
    tune_epochs: int = 5
    climb_lr: float = 0.02
    climb_steps: int = 12
    shards: int = 4
    slices: int = 3
    blocks: int = 12
    block_epochs: int = 15
    epsilon: float = 0.02
    images: int = 256
    penalty: float = 0.1
    impair_lr: float = 5e-3
    keep: float = 0.5
    sensitive: bool = False
    flip_lr: float = 0.001
    flip_share: float = 0.2
    ascent_lr: float = 0.02
    ascent_share: float = 0.05
    class_lr: float = 0.03
    class_energy: float = 0.5
    samples_lr: float = 0.3
    samples_energy: float = 0.9

    def __post_init__(self) -> None:
        check.fields(self)
        for name, value in vars(self).items():
            kind = type(getattr(Knobs, name))
            if kind is int:
                check.whole(name, value, 1)
            elif kind is float:
                check.number(name, value, "[0, 1]" if name in SHARES else "[0, inf)")


@dataclass(frozen=True)
class Task:
    """One request, and all that a method may be given.

    Args:
        kind: of the request.
        data: the training set, poisoned where there is a backdoor. Its reads and those of `validation` are
            counted.
        ids: of the samples to forget.
        validation: unseen samples that may decide when to stop; never those that judge.
        recipe: of the original and the retrained model.
        initial: the untrained model.
        folder: an own, empty one, for what methods store.
        knobs: settings of the methods.
        backdoor: trigger and target class, of a backdoor request.

    Raises:
        ValueError: unknown kind, an id that is not in `data`, or no class whole where `kind` is "class".
        TypeError: a field is of the wrong kind.
    """

    kind: Kind
    data: Examples = field(repr=False)
    ids: Tensor = field(repr=False)
    validation: Examples = field(repr=False)
    recipe: Recipe
    initial: nn.Module = field(repr=False)
    folder: Path
    knobs: Knobs = Knobs()
    backdoor: tuple[Trigger, int] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        check.instance("recipe", self.recipe, Recipe), check.instance("initial", self.initial, nn.Module)
        check.instance("knobs", self.knobs, Knobs)
        object.__setattr__(self, "folder", check.path("folder", self.folder))
        if self.backdoor is not None:
            check.fit("backdoor", self.backdoor, tuple[Trigger, int])
        data = check_examples("data", self.data)
        check_examples("validation", self.validation)
        if not data.rows(self.ids).any():
            raise ValueError("`ids` must hold at least one sample to forget; got none.")
        object.__setattr__(self, "ids", check.column("ids", self.ids).to(data.ids.device))
        if not isinstance(self.data, Counted):
            reads = Counter[int]()
            object.__setattr__(self, "data", Counted.by(reads, self.data))
            object.__setattr__(self, "validation", Counted.by(reads, self.validation))
        if self.kind == "class" and not forgotten_classes(self.split):
            raise ValueError('`ids` must be every sample of a class where `kind` is "class".')

    @property
    def split(self) -> Split:
        """The request, both sides counted."""
        return Split.by_ids(self.data, self.ids)

    @property
    def goal(self) -> float:
        """Forget accuracy to come down to: for samples that of samples never seen."""
        if self.kind == "samples":
            return accuracy(self.original()[0], self.validation)
        return self.knobs.target

    def original(self) -> tuple[nn.Module, float]:
        """The model trained on everything, and the seconds that took; trained at the first call only."""
        found: tuple[nn.Module, float] | None = self.__dict__.get("_original")
        if found is None:
            begun, model = time.perf_counter(), clone(self.initial)
            run(train(model, self.data, self.recipe, order=self.order))
            found = (model.eval(), time.perf_counter() - begun)
            self.__dict__["_original"] = found
        return found

    def again(self, folder: Path, **knobs: Any) -> Task:
        """The same request in another folder, with other knobs.

        Its original is not trained again, unless `batches` puts the samples to forget elsewhere.
        """
        other = replace(self, folder=folder, knobs=check.changed(self.knobs, knobs))
        if other.knobs.batches == self.knobs.batches and "_original" in self.__dict__:
            other.__dict__["_original"] = self.__dict__["_original"]
        return other

    @property
    def order(self) -> Callable[[Tensor, int], Tensor]:
        """Of training: the samples to forget in few batches of every epoch."""
        least = -(-len(self.ids) // self.recipe.batch_size)
        return packed(self.ids, max(least, self.knobs.batches), self.recipe)


class Kit(NamedTuple):
    """What a method has before the request comes: the model in service, and its price.

    `seconds` go beyond the training of the plain original; `tools` are the log, chain, ensemble or moments.
    """

    original: nn.Module
    stored: int = 0
    seconds: float = 0.0
    tools: Any = None


def plain(task: Task) -> Kit:
    """Nothing is prepared."""
    return Kit(check.instance("task", task, Task).original()[0])


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        sentence: what it does.
        start: its generator.
        prepare: what must have been done before the request.
        refuses: kind of request -> why it does not apply there.

    Raises:
        TypeError: a field is of the wrong kind.
    """

    sentence: str
    start: Callable[[Task, Kit], Run]
    prepare: Callable[[Task], Kit] = plain
    refuses: Mapping[Kind, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.text("sentence", self.sentence), check.instance("refuses", self.refuses, Mapping)
        check.function("start", self.start), check.function("prepare", self.prepare)

    def begin(self, task: Task, kit: Kit) -> Run:
        """Its generator for this request.

        Raises:
            ValueError: the method does not apply to this kind of request.
        """
        if check.instance("task", task, Task).kind in self.refuses:
            raise ValueError(f"`kind` must not be {task.kind!r} for this method: {self.refuses[task.kind]}")
        return self.start(task, kit)


# Preparation --------------------------------------------------------------------------------------------


def _recorded(share: Callable[[Knobs], float], name: str) -> Callable[[Task], Kit]:
    """Training again with a log of updates: the same original, to the last bit."""

    def prepare(task: Task) -> Kit:
        begun, model = time.perf_counter(), clone(task.initial)
        keep, watched = share(task.knobs), task.ids if task.knobs.sensitive else None
        steps = record(
            *(model, task.data, task.recipe, task.folder / name),
            keep=keep,
            sensitive=watched,
            order=task.order,
        )
        log = run(steps)
        return Kit(model.eval(), log.nbytes, _beyond(task, begun), log)

    return prepare


def _chained(task: Task) -> Kit:
    begun, recipe = time.perf_counter(), task.recipe.but(epochs=task.knobs.block_epochs)
    steps = train_chain(task.initial, task.data, recipe, _blocks(task), Folder(task.folder / "chain"))
    chain = _quietly(steps)
    return Kit(chain.model(), chain.nbytes, _beyond(task, begun), chain)


def _sharded(task: Task) -> Kit:
    begun, S, R = time.perf_counter(), task.knobs.shards, task.knobs.slices
    together = None if task.kind == "class" else torch.isin(task.data.ids, task.ids).float()
    mode: Literal["strat", "prior"] = "strat" if together is None else "prior"
    cells = partition(task.data, S, R, mode, seed=task.recipe.seed, likely=together)
    steps = train_sisa(task.initial, task.data, task.recipe, cells, Folder(task.folder / "sisa"))
    ensemble = _quietly(steps)
    return Kit(ensemble.vote(), ensemble.nbytes, _beyond(task, begun), ensemble)


def _quietly(steps: Generator[Step, None, T]) -> T:
    """`run`; that a block or shard is small or lacks a class is known, and its price is in the table."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(lack.* a class|smaller than one mini-batch)")
        return run(steps)


def _measured(task: Task) -> Kit:
    original = task.original()[0]
    begun = time.perf_counter()
    stored = moments(original, task.data)
    return Kit(original, sum(stored.nbytes.values()), time.perf_counter() - begun, stored)


def _beyond(task: Task, begun: float) -> float:
    """Seconds since then, less those that training the original takes anyway."""
    return max(0.0, time.perf_counter() - begun - task.original()[1])


def _blocks(task: Task) -> tuple[Tensor, ...]:
    """Blocks of equal size in keyed order; single samples to forget stand together, past the middle."""
    ids = task.data.ids[keyed_order(task.data.ids, task.recipe.seed)]
    count = task.knobs.blocks
    if task.kind != "class":
        inside = torch.isin(ids, task.ids)
        others, ours = ids[~inside], ids[inside]
        parts = list(others.tensor_split(count))
        share = max(1, len(others) // count)  # at most half of a block is to be forgotten
        for k, group in enumerate(ours.split(share)):
            where = min(2 * count // 3 + k, count - 1)
            parts[where] = torch.cat([parts[where], group])
        return tuple(parts)
    return tuple(ids.tensor_split(count))


# Runs ---------------------------------------------------------------------------------------------------


def _finetuned(task: Task, kit: Kit) -> Run:
    return finetune(kit.original, task.split.retain, task.recipe.but(epochs=task.knobs.tune_epochs))


def _climbed(task: Task, kit: Kit) -> Run:
    recipe = Recipe("sgd", task.knobs.climb_lr, batch_size=64, seed=task.recipe.seed)
    return gradient_ascent(kit.original, task.split.forget, recipe, steps=task.knobs.climb_steps)


def _restored(task: Task, kit: Kit) -> Run:
    return deepobliviate(kit.tools, task.ids, StopRule(task.knobs.epsilon, "fixed", n_min=3))


def _unsir(task: Task, kit: Kit) -> Run:
    knobs, seed = task.knobs, task.recipe.seed
    classes, retain = forgotten_classes(task.split), task.split.retain
    least = min(int((retain.y == c).sum()) for c in retain.y.unique())
    settings = UnsirRecipe(
        images=knobs.images, penalty=knobs.penalty, impair_lr=knobs.impair_lr, batch_size=16, seed=seed
    )
    return unsir(kit.original, classes, retain_subset(retain, classes, least, seed), settings)


def _undone(task: Task, kit: Kit) -> Run:
    return amnesiac(kit.original, task.ids, kit.tools, purge=False)


def _flipped(task: Task, kit: Kit) -> Run:
    return _masked(label_flip, task, kit, task.knobs.flip_lr, task.knobs.flip_share)


def _ascended(task: Task, kit: Kit) -> Run:
    return _masked(ascent, task, kit, task.knobs.ascent_lr, task.knobs.ascent_share)


def _masked(method: Callable[..., Run], task: Task, kit: Kit, lr: float, share: float) -> Run:
    recipe = Recipe("sgd", lr, batch_size=64, epochs=100, seed=task.recipe.seed)
    return (yield from method(kit.original, task.split, recipe, keep=share, steps=200, target=task.goal))


def _pgu_class(task: Task, kit: Kit) -> Run:
    knobs = task.knobs
    return _pgu(task, kit, CLASS.but(lr=knobs.class_lr), knobs.class_energy, forgotten(knobs.target))


def _pgu_samples(task: Task, kit: Kit) -> Run:
    knobs = task.knobs
    return _pgu(task, kit, SAMPLES.but(lr=knobs.samples_lr), knobs.samples_energy, overtaken(task.validation))


def _pgu(task: Task, kit: Kit, recipe: Recipe, energy: float, stop: Stop) -> Run:
    forget = task.split.forget
    retained = spectra(kit.tools.without(kit.original, forget))
    recipe = recipe.but(seed=task.recipe.seed)
    return (yield from pgu(kit.original, retained, forget, recipe, stop=stop, energy=energy))


METHODS: dict[str, Method] = {
    "retrain": Method(
        "trains from scratch on the retain set: the reference, and a contestant that is exact and slow",
        lambda task, kit: retrain(task.initial, task.split, task.recipe),
    ),
    "fine-tune": Method("goes on training on the retain set and hopes", _finetuned),
    "gradient ascent": Method("raises the loss on the forget set for a few steps", _climbed),
    "SISA": Method(
        "isolated models of shards vote; redoes the shards that held a sample",
        lambda task, kit: sisa(kit.tools, task.ids),
        _sharded,
    ),
    "DeepObliviate": Method(
        "retrains a few blocks of a stored chain of models and stitches the rest",
        _restored,
        _chained,
    ),
    "UNSIR": Method(
        "learns noise that the class would hate, impairs with it, repairs with some retained images",
        _unsir,
        refuses={
            "samples": "its noise stands for a whole class; single samples have no noise of their own.",
            "backdoor": "its noise stands for a whole class; poisoned samples share theirs with clean ones.",
        },
    ),
    "amnesiac": Method(
        "subtracts the recorded updates of every batch that held a sample",
        _undone,
        _recorded(lambda knobs: 1.0, "log"),
    ),
    "partial amnesiac": Method(
        "records and subtracts only the largest entries of each layer of these updates",
        _undone,
        _recorded(lambda knobs: knobs.keep, "pruned log"),
    ),
    "partial label-flip": Method(
        "trains on wrong labels; a step moves the entries with the largest gradient only",
        _flipped,
    ),
    "partial optimization": Method(
        "raises the loss on the forget set; a step moves the entries with the largest gradient only",
        _ascended,
    ),
    "PGU class": Method(
        "pushes where the retained data do not look, until forget accuracy is low",
        _pgu_class,
        _measured,
        refuses={
            "samples": "its stop rule asks for a low forget accuracy; the retrained model has a high one."
        },
    ),
    "PGU samples": Method(
        "pushes where the retained data do not look, until unseen samples do better",
        _pgu_samples,
        _measured,
        refuses={
            "class": "that unseen samples of all classes do better says nothing about one class.",
            "backdoor": "unseen samples do better before a wrong label is gone; PGU class has the rule.",
        },
    ),
}


def learner(function: Callable[[nn.Module, Split], nn.Module]) -> Method:
    """A row of one's own: from a trained model and a request to the unlearned model.

    It gets copies, and of the model that it returns only the weights count: what else it may have done to
    samples, labels or the way the net answers is left behind.
    """
    check.function("function", function)

    def start(task: Task, kit: Kit) -> Run:
        forget, retain = (
            replace(side, x=side.x.clone(), y=side.y.clone(), ids=side.ids.clone())
            for side in (task.split.forget, task.split.retain)
        )
        begun = time.perf_counter()
        found = function(clone(kit.original), Split(forget, retain))
        seconds = time.perf_counter() - begun
        if not isinstance(found, nn.Module):
            raise TypeError(f"the function must return the unlearned model; got {type(found).__name__}.")
        model = clone(kit.original)
        try:
            model.load_state_dict(found.state_dict())
        except RuntimeError as error:
            raise TypeError(
                "the function must return the net that it was given, with other weights."
            ) from error
        yield from ()
        return Unlearned(model.eval(), seconds, None)

    return Method("your own", start)
