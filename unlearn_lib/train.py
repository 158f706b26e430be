"""The training loop, once, as a generator: ``for step in train(model, data, recipe): ...``.

A notebook cell, a live panel, a recorder and CI all run the same code. Methods are generators too: calling
one gives a `Run`, which `run` takes to its end.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial, wraps
from inspect import GEN_CLOSED, getgeneratorstate, isgenerator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.augment import KINDS, augmented
from unlearn_lib.data import Batch, Examples, check_examples, keyed_order, mix
from unlearn_lib.outputs import device_of, dtype_of, evaluating, random_generator, reason
from unlearn_lib.params import Params, add, assign, batch_norms, copied, subtract, trainable
from unlearn_lib.schedule import Schedule, rate

__all__ = [
    "Order",
    "Recipe",
    "Run",
    "Step",
    "Unlearned",
    "as_run",
    "cross_entropy",
    "device_of",
    "evaluating",
    "pick_device",
    "run",
    "train",
]

P = ParamSpec("P")
T = TypeVar("T")
LossFn = Callable[[nn.Module, Batch], Float[Tensor, ""]]
OnUpdate = Callable[[Batch, Params], Params | None]
Order = Callable[[Tensor, int], Tensor]

_INTERVALS = {"lr": "(0, inf)", "momentum": "[0, 1)", "weight_decay": "[0, inf)", "label_smoothing": "[0, 1)"}
_LATER = ("schedule", "schedule_over", "augment", "label_smoothing", "autocast")  # stores may lack them


@dataclass(frozen=True)
class Recipe:
    """How to train. Original, retrained and block runs share one recipe; it is stored beside a model.

    Args:
        optimizer: "sgd" (plain unless `momentum` is set) or "adam".
        lr: learning rate, > 0.
        momentum: of SGD, in [0, 1).
        weight_decay: >= 0.
        batch_size: >= 1. A last batch of a single sample joins the one before it (batch norm needs two).
        epochs: passes over the data, >= 0.
        seed: of the order of samples, of dropout and of augmentation; any whole number.
        schedule: of the learning rate, whose highest value is `lr`: "constant", "cosine" to zero, or
            "one_cycle"; see `schedule.rate`. It follows the share of the run that is done: where an epoch has
            fewer steps because samples are gone, the rates of single steps move a little, and nothing else.
        schedule_over: one schedule for each "run", be it a block, or one over all blocks of a "chain" (over
            the stages of a shard, in SISA), each an equal part of it.
        augment: for pictures, in this order: "flip", "crop". What happens to a sample depends on seed, block,
            epoch and id; see `augment.augmented`.
        label_smoothing: of the default loss, in [0, 1).
        autocast: "bfloat16" runs the forward pass in it where torch thinks fit; parameters stay as they are.

    Raises:
        ValueError: a field is outside its range.
        TypeError: a fraction where a whole number belongs, or not a number at all.

    Example:
        >>> ul.Recipe("adam", lr=1e-3, epochs=5).but(seed=1).to_dict()["epochs"]
        5
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 64
    epochs: int = 1
    seed: int = 0
    schedule: Schedule = "constant"
    schedule_over: Literal["run", "chain"] = "run"
    augment: Sequence[str] = ()
    label_smoothing: float = 0.0
    autocast: Literal["bfloat16"] | None = None

    def __post_init__(self) -> None:
        check.choice("optimizer", self.optimizer, ("sgd", "adam"))
        check.choice("schedule", self.schedule, get_args(Schedule))
        check.choice("schedule_over", self.schedule_over, ("run", "chain"))
        check.choice("autocast", self.autocast, (None, "bfloat16"))
        kinds = tuple(check.instance("augment", self.augment, (tuple, list)))
        object.__setattr__(self, "augment", tuple(check.choice("augment", kind, KINDS) for kind in kinds))
        for name, interval in _INTERVALS.items():
            check.number(name, getattr(self, name), interval)
        for name, least in (("batch_size", 1), ("epochs", 0), ("seed", None)):
            check.whole(name, getattr(self, name), least)
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(f"`momentum` is a setting of SGD; got {self.momentum} with adam.")

    def fresh_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer without momentum from an earlier run, because momentum remembers too."""
        parameters = check.instance("model", model, nn.Module).parameters()
        trainable = [p for p in parameters if p.requires_grad]
        if not trainable:
            raise ValueError("`model` has no trainable parameter.")
        if self.optimizer == "adam":
            return torch.optim.Adam(trainable, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(trainable, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some fields changed."""
        return check.changed(self, changes)

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Fields that older stores lack are left out where they are not used; see `completed`."""
        plain = Recipe()
        found = {name: list(value) if name == "augment" else value for name, value in asdict(self).items()}
        return {k: v for k, v in found.items() if k not in _LATER or getattr(self, k) != getattr(plain, k)}


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a store says of a recipe, with the fields that it leaves out; of a loop of one's own, as it is."""
    check.instance("stored", stored, Mapping)
    return {**asdict(Recipe()), **stored} if "optimizer" in stored else dict(stored)


class Step(NamedTuple):
    """What one step of a run shows its watchers. Look at `model`, but do not change it.

    `number` counts from 1 to `steps` within the phase; `loss` is the mean over the batch, before the step;
    `info` holds what a method adds, such as the residual of a finished block.

    Example:
        >>> for step in ul.finetune(model, data, recipe, steps=1):
        ...     print(step.phase, step.epoch, step.number, step.steps)
        finetune 1 1 23
    """

    phase: str
    epoch: int
    number: int
    steps: int
    loss: float
    batch: Batch
    model: nn.Module
    info: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Unlearned(Generic[T]):
    """The result of a method: the model, the seconds it took, and the method's own typed record.

    Example:
        >>> result = ul.run(ul.retrain(initial, split, recipe))
        >>> result.model is initial, result.seconds > 0
        (False, True)
    """

    model: nn.Module
    seconds: float
    trace: T = field(repr=False)


class Run(Generator[Step, None, T]):
    """What a method returns: a generator of steps that has not begun. Loop over it, or give it to `run`.

    One that is dropped without a step has done nothing, and says so in a `RuntimeWarning`.
    """

    _begun = True  # until there is something that can begin

    def __init__(self, name: str, steps: Generator[Step, None, T]) -> None:
        self._name, self._steps = check.text("name", name), iter(check.instance("steps", steps, Generator))
        self._begun = False

    def __repr__(self) -> str:
        return f"<{self._name}(...), {'begun' if self._begun else f'not run yet: run({self._name}(...))'}>"

    def __iter__(self) -> Generator[Step, None, T]:
        self._begun = True
        return self._steps

    def __next__(self) -> Step:
        return next(iter(self))

    def send(self, value: None) -> Step:
        """As of any generator."""
        return iter(self).send(value)

    def throw(self, *error: Any) -> Step:
        """As of any generator."""
        return iter(self).throw(*error)

    def close(self) -> None:
        """As of any generator."""
        iter(self).close()

    def __del__(self) -> None:
        if not (self._begun or sys.is_finalizing()):
            check.warn(
                f"`{self._name}(...)` was called but never run, so it has done nothing: write "
                f"run({self._name}(...)).",
                RuntimeWarning,
            )

    if not TYPE_CHECKING:  # or every attribute would be a known one

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(
                f"`{self._name}(...)` is a run and has no `{name}`; its result may: run({self._name}(...))."
            )


def as_run(method: Callable[P, Generator[Step, None, T]]) -> Callable[P, Run[T]]:
    """A decorator of generator functions: calling one gives a `Run`."""
    check.function("method", method)

    @wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> Run[T]:
        return Run(method.__name__, method(*args, **kwargs))

    return called


def cross_entropy(model: nn.Module, batch: Batch, *, label_smoothing: float = 0.0) -> Float[Tensor, ""]:
    """Mean cross-entropy of the batch, in nats: the default loss."""
    check.function("model", model), check.instance("batch", batch, Batch)
    return F.cross_entropy(model(batch.x), batch.y, label_smoothing=label_smoothing)


@as_run
def train(
    model: nn.Module,
    data: Examples,
    recipe: Recipe,
    *,
    loss_fn: LossFn = cross_entropy,
    on_update: OnUpdate | None = None,
    order: Order | None = None,
    phase: str = "train",
    block: int = 0,
    part: tuple[int, int] = (1, 1),
) -> Generator[Step, None, None]:
    """Train `model` in place, one mini-batch per step of this generator.

    The order of samples is keyed by (seed, block, epoch, id), and dropout draws from the run's own stream.
    So neither depends on what else the process does, and deleting a sample does not reshuffle the others.

    Args:
        model: changed in place and left in train mode, but for batch norm whose own parameters are frozen
            (`requires_grad=False`): its statistics stay still too. It runs on the device it is on.
        data: moved to that device and scaled once, as a whole.
        recipe: optimizer and sizes; the optimizer is fresh.
        loss_fn: mean loss of a batch; `recipe.label_smoothing` acts on the default alone.
        on_update: called after every optimizer step with the batch and the change that the step made. What
            it returns replaces that change; None leaves the step as it is, bit for bit. Projections and masks
            act here, on the *update* and not on the gradient: for plain SGD the two agree, but with momentum
            or Adam only this works.
        order: ``order(ids, epoch)`` gives the rows in the order of that epoch, repeats allowed; the default
            is keyed order.
        phase: name of this run for watchers.
        block: number of the block in block-wise training; part of the key.
        part: (k, B): this run is the k-th of B parts of a schedule over a chain.

    Yields:
        One `Step` per mini-batch.

    Raises:
        ValueError: there is no data or no trainable parameter, the model has no output for a label or its
            outputs are not logits, batch norm gets a single sample, `order` does not give rows of `data`, or
            `on_update` does not return an update.
        RuntimeError: the model cannot take such samples.
        TypeError: an argument, or what a function among them returns, is of the wrong kind.
        FloatingPointError: the loss is not finite; the message names phase, epoch and step.
    """
    if not len(check_examples("data", data, least=0)):
        raise ValueError(f"`data` must hold at least one sample; phase {phase!r} got none.")
    optimizer = check.instance("recipe", recipe, Recipe).fresh_optimizer(model)
    for name, given in (("loss_fn", loss_fn), ("on_update", on_update), ("order", order)):
        if given is not None:
            check.function(name, given)
    check.text("phase", phase), check.whole("block", block)
    k, B = check.fit("part", part, tuple[int, int])
    check.whole("part", k, 1, check.whole("part", B, 1))
    data = data.to(device_of(model), dtype_of(model))
    if recipe.augment:
        augmented(data.x[:1], data.ids[:1], recipe.augment)  # refused now, not at the first step
    if recipe.label_smoothing and loss_fn is cross_entropy:
        loss_fn = partial(cross_entropy, label_smoothing=recipe.label_smoothing)
    forward = torch.autocast(device_of(model).type, torch.bfloat16) if recipe.autocast else nullcontext()
    stream = _RandomStream(device_of(model), recipe.seed, block)
    own = trainable(model) if on_update is not None else {}
    model.train()
    for norm in batch_norms(model):
        if norm.affine and not any(p.requires_grad for p in norm.parameters()):
            norm.eval()
    for epoch in range(1, recipe.epochs + 1):
        if order is None:
            rows = keyed_order(data.ids, recipe.seed, block, epoch)
        else:
            rows = _ordered(order(data.ids, epoch), data, epoch)
        sizes = _batch_sizes(len(rows), recipe.batch_size)
        repeats = len(rows) > len(data)  # then gather batch by batch, so that no copies are stored
        batches = map(data.batch, rows.split(sizes)) if repeats else data.batch(rows).split(sizes)
        if recipe.augment:
            batches = _augmented(batches, recipe, block, epoch)
        for number, batch in enumerate(batches, 1):
            if recipe.schedule != "constant":
                done = (epoch - 1) * len(sizes) + number - 1
                _set_rate(optimizer, recipe, done, recipe.epochs * len(sizes), (k, B))
            with torch.enable_grad():  # whatever stops a step, gradients are left on or off as before
                with stream:
                    try:
                        with forward:
                            loss = _to_lower(loss_fn(model, batch))
                        optimizer.zero_grad()
                        loss.backward()
                    except (ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
                        raise reason(model, batch.x, batch.y, error) or error from error
                value = loss.item()
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"the loss is {value} in phase {phase!r}, epoch {epoch}, step {number}: "
                        "lower `lr`, or look for extreme values in the data."
                    )
                if on_update is None:
                    optimizer.step()
                else:
                    before = copied(own)
                    optimizer.step()
                    edited = on_update(batch, subtract(copied(own), before))
                    if edited is not None:  # `before + (after - before)` is not `after` in float32
                        assign(model, add(before, _update(edited, before)))
            yield Step(phase, epoch, number, len(sizes), value, batch, model)


def run(steps: Generator[Step, None, T], watch: Iterable[Callable[[Step], Any]] = ()) -> T:
    """Take a run to its end, showing every step to the watchers, and return its result (None for `train`).

    Watching changes no bit of the result. However the run ends, it is closed: even an interrupted run gives
    its store back.

    Raises:
        TypeError: `steps` is not a run but, say, a model or a method that was not called.
        RuntimeError: it has run to its end already, or was stopped.

    Example:
        >>> phases = set()
        >>> result = ul.run(ul.retrain(initial, split, recipe), watch=[lambda step: phases.add(step.phase)])
        >>> phases
        {'retrain'}
    """
    check.instance("steps", steps, Generator, remedy="Pass what a method returns: run(train(model, ...)).")
    steps = iter(steps)
    if isgenerator(steps) and getgeneratorstate(steps) == GEN_CLOSED:
        raise RuntimeError("`steps` has been run already, or was stopped: call the method again.")
    watchers = tuple(check.function("watch", watcher) for watcher in check.instance("watch", watch, Iterable))
    grad = torch.is_grad_enabled()
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            for watcher in watchers:
                watcher(step)
    except KeyboardInterrupt:
        torch.set_grad_enabled(grad)  # the interrupt may have come inside a `no_grad`
        raise
    finally:
        steps.close()


def pick_device(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is: CUDA, then MPS, then CPU.

    Raises:
        ValueError: there is no such device here.
    """
    if device is not None:
        return check.device("device", device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _set_rate(
    optimizer: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int, part: tuple[int, int]
) -> None:
    """For this step, counted from 0, of a run that may be the k-th of B parts of its schedule."""
    k, B = part if recipe.schedule_over == "chain" else (1, 1)
    for group in optimizer.param_groups:
        group["lr"] = rate(recipe.schedule, recipe.lr, (k - 1) * steps + step, B * steps)


def _augmented(batches: Iterable[Batch], recipe: Recipe, block: int, epoch: int) -> Iterator[Batch]:
    for batch in batches:
        yield batch._replace(x=augmented(batch.x, batch.ids, recipe.augment, recipe.seed, block, epoch))


def _ordered(rows: Any, data: Examples, epoch: int) -> Tensor:
    """What `order` returned, if these are rows of the data."""
    found = check.column("order", rows)
    if not len(found):
        raise ValueError(f"`order` must give at least one row; it gives none in epoch {epoch}.")
    for end in (int(found.min()), int(found.max())):
        check.whole("order", end, 0, len(data) - 1)
    return found.to(data.ids.device)


def _to_lower(loss: Any) -> Tensor:
    """What `loss_fn` returned, if this is one number that depends on the model."""
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        kind = (
            "a number without gradient" if isinstance(loss, Tensor) and not loss.ndim else check.brief(loss)
        )
        raise TypeError(f"`loss_fn` must give one number in a tensor, computed by `model`; got {kind}.")
    return loss


def _update(edited: Any, like: Params) -> Params:
    """What `on_update` returned, if this is an update with the names and shapes of the one it was given."""
    if not isinstance(edited, Mapping) or edited.keys() != like.keys():
        got = sorted(edited) if isinstance(edited, Mapping) else check.brief(edited)
        raise TypeError(f"`on_update` must return an update with the names it was given, or None; got {got}.")
    for name, value in like.items():
        if not isinstance(edited[name], Tensor) or edited[name].shape != value.shape:
            raise ValueError(
                f"`on_update` must keep the shape {list(value.shape)} of {name!r}; "
                f"got {check.brief(edited[name])}."
            )
    return dict(edited)


def _batch_sizes(n: int, size: int) -> list[int]:
    """Sizes of the mini-batches; a last batch of one sample joins the batch before it."""
    sizes = [size] * (n // size) + [n % size] * (n % size > 0)
    if len(sizes) > 1 and size > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


class _RandomStream:
    """A private position in torch's random stream, for dropout: swapped in for a step, then swapped out."""

    def __init__(self, device: torch.device, *key: int) -> None:
        self.shared = random_generator(device)
        self.own = torch.Generator(device=device).manual_seed(mix(*key)).get_state()

    def __enter__(self) -> None:
        self.outside = self.shared.get_state()
        self.shared.set_state(self.own)

    def __exit__(self, *_: object) -> None:
        self.own = self.shared.get_state()
        self.shared.set_state(self.outside)
