"""What a method brings to the contest: its settings, how it prepares and runs, and where it does not apply.

    kit = method.kit(task)                  # before the request: a log, a chain, an ensemble, moments
    steps = method.begin(task, kit)         # the method's generator, as in its own lesson
    method.unlearn(task)                    # both, to the end

`contest/entries/` holds one file for each method's shelf, and the list of all of them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_type_hints

from torch import nn

from unlearn_lib import check
from unlearn_lib.contest.task import Kind, Task
from unlearn_lib.data import Split
from unlearn_lib.params import clone
from unlearn_lib.train import Step, Unlearned, run

__all__ = [
    "Count",
    "Failure",
    "Kit",
    "Method",
    "Portrait",
    "Rate",
    "Run",
    "Settings",
    "Share",
    "learner",
    "plain",
]

T = TypeVar("T")
Run = Generator[Step, None, Unlearned[Any]]
Count = Annotated[int, partial(check.whole, least=1)]
Rate = Annotated[float, partial(check.number, interval="[0, inf)")]
Share = Annotated[float, partial(check.number, interval="[0, 1]")]


@dataclass(frozen=True)
class Settings:
    """The settings of a method that has none; the base of all others.

    Fields are annotated `Count`, `Rate`, `Share` or with a plain type, and checked accordingly.

    Raises:
        ValueError: a number is out of range.
        TypeError: a value is of the wrong kind.
    """

    def __post_init__(self) -> None:
        check.fields(self)
        hints = get_type_hints(type(self), include_extras=True)
        for one in fields(self):
            for rule in getattr(hints[one.name], "__metadata__", ()):
                rule(one.name, getattr(self, one.name))


S = TypeVar("S", bound=Settings)


class Kit(NamedTuple):
    """What a method has before the request comes: the model in service, and its price.

    `seconds` come on top of training the plain original; `tools` are the log, chain, ensemble or moments.
    """

    original: nn.Module
    stored: int = 0
    seconds: float = 0.0
    tools: Any = None


class Failure(NamedTuple):
    """One way for a method to fail: what is changed, why that can go wrong, and what comes out.

    `measure` gets a `contest.failures.Trial` of the method and tells in a few words what came out.
    """

    changed: str
    why: str
    measure: Callable[[Any], str]


class Portrait(NamedTuple):
    """A row of lesson 00's map: what a method forgets, stores in advance, reads at the request, costs."""

    name: str
    forgets: str
    stores: str
    reads: str
    costs: str


def plain(task: Task, settings: Settings = Settings()) -> Kit:
    """Nothing is prepared."""
    return Kit(check.instance("task", task, Task).original)


@dataclass(frozen=True)
class Method(Generic[S]):
    """A row of the contest.

    Args:
        name: of the method, as tables show it.
        sentence: what it does.
        lesson: the one that teaches it, such as "02_unsir".
        settings: how it is run by default.
        start: its generator.
        failure: one way for it to fail.
        grid: field of its settings -> values for `ci/tune_contest.py` to choose from.
        prepare: what must be done before the request.
        refuses: kind of request -> why it does not apply there.

    Raises:
        ValueError: `grid` names a setting that does not exist.
        TypeError: a field is of the wrong kind.
    """

    name: str
    sentence: str
    lesson: str
    settings: S
    start: Callable[[Task, Kit, S], Run]
    failure: Failure
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    prepare: Callable[[Task, S], Kit] = plain
    refuses: Mapping[Kind, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.text("name", self.name), check.text("sentence", self.sentence)
        check.text("lesson", self.lesson), check.instance("settings", self.settings, Settings)
        check.function("start", self.start), check.function("prepare", self.prepare)
        check.instance("failure", self.failure, Failure), check.instance("refuses", self.refuses, Mapping)
        for setting in check.instance("grid", self.grid, Mapping):
            check.choice("grid", setting, [one.name for one in fields(self.settings)])

    def __determined_by__(self) -> Any:
        return self.name, self.settings, self.start, self.prepare

    def but(self, **changes: Any) -> Method[S]:
        """The same method with some of its settings changed."""
        return replace(self, settings=check.changed(self.settings, changes))

    def kit(self, task: Task) -> Kit:
        """What it has before the request comes.

        Raises:
            ValueError: the method does not apply to this kind of request.
        """
        return self.prepare(self._fit(task), self.settings)

    def begin(self, task: Task, kit: Kit) -> Run:
        """Its generator for this request.

        Raises:
            ValueError: the method does not apply to this kind of request.
        """
        return self.start(self._fit(task), check.instance("kit", kit, Kit), self.settings)

    def unlearn(self, task: Task) -> Unlearned[Any]:
        """Prepared and run to its end."""
        return run(self.begin(task, self.kit(task)))

    def _fit(self, task: Task) -> Task:
        if check.instance("task", task, Task).kind in self.refuses:
            raise ValueError(f"`kind` must not be {task.kind!r} for {self.name}: {self.refuses[task.kind]}")
        return task


def beyond(task: Task, begun: float) -> float:
    """Seconds since `begun`, less those that training the original takes anyway."""
    return max(0.0, time.perf_counter() - begun - task.seconds)


def quietly(steps: Generator[Step, None, T]) -> T:
    """`run` without warnings that a block or shard is small or lacks a class: the table shows the price."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(lack.* a class|smaller than one mini-batch)")
        return run(steps)


def learner(function: Callable[[nn.Module, Split], nn.Module], name: str = "your own") -> Method[Settings]:
    """A row for your own function: from a trained model and a request to the unlearned model.

    It gets copies, and only the weights of the model that it returns count: whatever else it did to samples,
    labels or the way the net answers is left behind.
    """
    check.function("function", function)

    def start(task: Task, kit: Kit, settings: Settings) -> Run:
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

    return Method(
        name=name,
        sentence="what you wrote",
        lesson="09_side_by_side",
        settings=Settings(),
        start=start,
        failure=Failure("nothing", "you know best", lambda trial: "not measured"),
    )
