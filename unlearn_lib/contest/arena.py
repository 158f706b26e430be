"""All methods on one request, in one table: run, priced, audited; with intervals, as JSON and CSV.

    arena = Arena.of(tasks, test)                                 # one task per seed: originals, references
    outcome = arena.enter(METHODS["amnesiac"], 0)                # prepared, run, priced
    table = Table(tuple(arena.scores(outcome)))                  # every audit of it
    table = compete([arena], METHODS, workers=8)                 # all at once: methods x seeds x requests

Costs include preparation. Every distance is to the retrained models of all *other* seeds, so the row of
retraining is the noise floor of its column, and no method gains by sharing first weights with a reference.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from unlearn_lib import check
from unlearn_lib.contest.method import Method
from unlearn_lib.contest.table import Measurement, Table
from unlearn_lib.contest.task import Kind, Task
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.jobs import run_jobs
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.metrics import divergence as div
from unlearn_lib.metrics.accuracy import logits
from unlearn_lib.metrics.audits import AUDITS, KEPT, Evidence, average_gap
from unlearn_lib.metrics.cost import Cost, prediction_ratio, priced
from unlearn_lib.metrics.inside import cka
from unlearn_lib.metrics.parts import Outputs
from unlearn_lib.metrics.relearn import BRISK, relearn
from unlearn_lib.params import Params, assign, clone, state
from unlearn_lib.train import run

__all__ = ["NOTHING", "Arena", "Outcome", "compete"]

NOTHING = "do nothing"  # the original as it is: an impostor that wins some columns
RELEARN_CAP = 400  # batches
ALPHA = 0.05


@dataclass(frozen=True)
class Outcome:
    """What a method made of one request with one seed (by its place among the tasks), and its price."""

    method: str
    place: int
    outputs: Outputs = field(repr=False)
    original: Outputs = field(repr=False)
    cost: Cost
    trace: Any = field(repr=False, default=None)

    @property
    def model(self) -> nn.Module:
        """The unlearned model."""
        return self.outputs.model


@dataclass(eq=False)
class Arena:
    """One request with several seeds: the tasks, their originals and their retrained models.

    Args:
        tasks: one per seed; they differ in initial weights and order, never in the samples to forget.
        test: samples that no model and no stop rule has seen.
        originals: of the tasks.
        retrained: outcomes of retraining, the references.
        teachers: untrained networks for ZRF.
    """

    tasks: tuple[Task, ...]
    test: Examples = field(repr=False)
    originals: tuple[Outputs, ...] = field(repr=False)
    retrained: tuple[Outcome, ...] = field(repr=False)
    teachers: tuple[nn.Module, ...] = field(repr=False)
    _relearned: WeakKeyDictionary[nn.Module, float] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    @classmethod
    def of(
        cls,
        tasks: Sequence[Task],
        test: Examples,
        *,
        workers: int = 0,
        executor: Any = None,
        keep: Path | str | None = None,
    ) -> Arena:
        """Train the originals, and retrain the references.

        Args:
            tasks: one per seed.
            test: samples that no model and no stop rule has seen.
            workers, executor, keep: where the models are trained, and a folder for them, as in
                `jobs.run_jobs`. They change no bit of the models, but times: compare only those of one place.

        Raises:
            ValueError: there is no task, or no test sample.
        """
        check.fit("tasks", tasks, Sequence[Task]), check_examples("test", test)
        if not tasks:
            raise ValueError("`tasks` must hold at least one; got none.")
        if not workers and executor is None and keep is None:
            pairs = [*map(_pair, tasks)]  # with as many threads as the methods that are timed here
        else:
            pairs = run_jobs(_pair, tasks, workers=workers, executor=executor, keep=keep)
        references = [pair.adopted(task) for pair, task in zip(pairs, tasks, strict=True)]
        return cls._of(tasks, test, references)

    @classmethod
    def _of(
        cls, tasks: Sequence[Task], test: Examples, references: Sequence[tuple[nn.Module, Cost]]
    ) -> Arena:
        """Of models that are trained already."""
        originals = tuple(Outputs.of(task.original, task.split, test) for task in tasks)
        retrained = tuple(
            Outcome(
                method="retrain",
                place=place,
                outputs=Outputs.of(model, tasks[place].split, test),
                original=originals[place],
                cost=cost,
            )
            for place, (model, cost) in enumerate(references)
        )
        teachers = tuple(div.untrained_twin(tasks[0].initial, seed) for seed in range(3))
        return cls(tasks=tuple(tasks), test=test, originals=originals, retrained=retrained, teachers=teachers)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes: the tasks and the models. What follows from them is computed again."""
        return Arena._of, (self.tasks, self.test, [(one.model, one.cost) for one in self.retrained])

    def __determined_by__(self) -> Any:
        return self.tasks, self.test

    def apart(self, folder: Path) -> Arena:
        """The same arena, whose tasks store what they store in a folder of their own."""
        return replace(self, tasks=tuple(t.again(folder / f"{i}") for i, t in enumerate(self.tasks)))

    @property
    def kind(self) -> Kind:
        """The kind of the request."""
        return self.tasks[0].kind

    def enter(self, method: Method[Any], place: int) -> Outcome:
        """Prepare, run and price a method; "retrain" is the reference itself.

        Raises:
            ValueError: it does not apply to this request, or there is no such place.
        """
        check.instance("method", method, Method), check.whole("place", place, 0, len(self.tasks) - 1)
        if method.name == "retrain":
            return self.retrained[place]
        task = self.tasks[place]
        kit = method.kit(task)
        result, cost = priced(
            method.begin(task, kit), task.split, stored=kit.stored, seconds_before=kit.seconds
        )
        own = kit.original is not task.original
        return Outcome(
            method=method.name,
            place=place,
            outputs=Outputs.of(result.model, task.split, self.test),
            original=Outputs.of(kit.original, task.split, self.test) if own else self.originals[place],
            cost=cost,
            trace=result.trace,
        )

    def nothing(self, place: int) -> Outcome:
        """The original, as if that were an answer."""
        check.whole("place", place, 0, len(self.tasks) - 1)
        original = self.originals[place]
        cost = Cost(
            seconds=0.0,
            steps=0,
            forget_reads=0,
            retain_reads=0,
            stored=0,
            seconds_before=0.0,
            hardware=self.retrained[place].cost.hardware,
        )
        return Outcome(method=NOTHING, place=place, outputs=original, original=original, cost=cost)

    def scores(self, outcome: Outcome) -> Iterator[Measurement]:
        """Every audit of an outcome, and its bill."""
        check.instance("outcome", outcome, Outcome)
        seed = self.tasks[outcome.place].recipe.seed
        for audit, value in {**self._audits(outcome), **self._bill(outcome)}.items():
            yield Measurement(request=self.kind, method=outcome.method, seed=seed, audit=audit, value=value)

    def layers(self, outcome: Outcome) -> tuple[dict[str, float], dict[str, float]]:
        """Weight distance and CKA by layer, against the retrained model of the *next* seed."""
        check.instance("outcome", outcome, Outcome)
        other = self._next(outcome).model
        return dict(div.weight_distance(outcome.model, other).layers), cka(outcome.model, other, self.test)

    def _next(self, outcome: Outcome) -> Outputs:
        return self.retrained[(outcome.place + 1) % len(self.retrained)].outputs

    def gap(self, outcome: Outcome) -> float:
        """Mean difference in forget, retain and test accuracy from the other retrained models."""
        out = check.instance("outcome", outcome, Outcome).outputs
        return fmean(average_gap(out, other, "all") for other in self._others(outcome))

    def _others(self, outcome: Outcome) -> list[Outputs]:
        """The retrained models of all other seeds, which share no first weights with it."""
        others = [r.outputs for r in self.retrained if r.place != outcome.place]
        return others or [self.retrained[outcome.place].outputs]

    def _audits(self, outcome: Outcome) -> dict[str, float]:
        """By the name on the audit's card."""
        out, evidence, found = outcome.outputs, self._evidence(outcome), {}
        for audit in AUDITS:
            if not audit.in_contest or not audit.applies(out, evidence):
                continue
            for card in audit.cards:
                part = out.kept if card.part == KEPT else card.part
                if part == "all" or part in out.data:
                    found[card.name] = audit.value(out, self._others(outcome), part, evidence)
        return found

    def _evidence(self, outcome: Outcome) -> Evidence:
        task = self.tasks[outcome.place]
        return Evidence(
            split=task.split,
            test=self.test,
            retrained=self.retrained[outcome.place].outputs,
            backdoor=task.backdoor,
            original=outcome.original,
            other=self._next(outcome),
            teachers=self._taught,
            relearned=partial(self._relearn, outcome.place),
        )

    @cached_property
    def _taught(self) -> list[div.Probabilities]:
        """What the teachers say of the samples to forget, which are the same with every seed."""
        forget = self.tasks[0].split.forget
        return [div.probabilities(logits(twin, forget)) for twin in self.teachers]

    def _prediction_time(self, outcome: Outcome) -> float:
        """For one model of the reference's shape it is 1, without measuring."""
        single = self.retrained[outcome.place].outputs
        if outcome.outputs.shapes == single.shapes:
            return 1.0
        return prediction_ratio(outcome.model, single.model, self.test)

    def _relearn(self, place: int, model: nn.Module) -> float:
        """r_t on the forget set's test images, or on the forget set; infinite if not within the cap."""
        if model not in self._relearned:
            task, original = self.tasks[place], self.originals[place]
            part = "forget test" if "forget test" in original.data else "forget"
            start = original.accuracy(part)

            def there(value: float) -> bool:
                return value >= (1 - ALPHA) * start

            epochs = min(8, max(1, RELEARN_CAP * BRISK.batch_size // len(task.data)))
            recipe = BRISK.but(epochs=epochs)
            curve = run(relearn(model, task.data, original.data[part], recipe, until=there))
            time = curve.time(start, ALPHA)
            self._relearned[model] = math.inf if time.censored else time.batches
        return self._relearned[model]

    def _bill(self, outcome: Outcome) -> dict[str, float]:
        cost, full = outcome.cost, self.retrained[outcome.place].cost.seconds
        whole = cost.seconds + cost.seconds_before
        return {
            "seconds before": cost.seconds_before,
            "seconds at request": cost.seconds,
            "speed-up": full / whole if whole else math.nan,
            "speed-up, request only": full / cost.seconds if whole else math.nan,
            "steps": cost.steps,
            "forget samples read": cost.forget_reads,
            "retain samples read": cost.retain_reads,
            "validation samples read": cost.other_reads,
            "bytes stored": cost.stored,
            "prediction time": self._prediction_time(outcome),
        }


class _Pair(NamedTuple):
    """The original and the retrained model of a task."""

    original: Params
    seconds: float
    retrained: Params
    cost: Cost

    def adopted(self, task: Task) -> tuple[nn.Module, Cost]:
        """Give the task its original; the retrained model and its price."""
        original, retrained = clone(task.initial).eval(), clone(task.initial).eval()
        assign(original, self.original)
        assign(retrained, self.retrained)
        task.adopt(original, self.seconds)
        return retrained, self.cost


def _pair(task: Task) -> _Pair:
    original, seconds = state(task.original), task.seconds
    result, cost = priced(retrain(task.initial, task.split, task.recipe), task.split)
    return _Pair(original, seconds, state(result.model), cost)


def compete(
    arenas: Sequence[Arena],
    methods: Mapping[str, Method[Any]],
    *,
    workers: int = 0,
    executor: Any = None,
    keep: Path | str | None = None,
    watch: Callable[[int, int], Any] = lambda done, total: None,
) -> Table:
    """Every method on every request that it applies to, with every seed; "do nothing" takes part.

    Args:
        arenas: one per request.
        methods: by name.
        workers, executor, keep: where they run, and a folder for what was found, as in `jobs.run_jobs`. They
            change no number but times: compare only those of one place.
        watch: told after every entry how many are done, and of how many.

    Raises:
        JobsError: an entry failed; the others are done.
    """
    check.fit("arenas", arenas, Sequence[Arena]), check.fit("methods", methods, Mapping[str, Method[Any]])
    entries = [
        (arena, method, place)
        for arena in arenas
        for place in range(len(arena.tasks))
        for method in (None, *methods.values())
        if method is None or arena.kind not in method.refuses
    ]
    found = run_jobs(
        _entry, *zip(*entries, strict=True), workers=workers, executor=executor, keep=keep, watch=watch
    )
    return Table(tuple(chain.from_iterable(found)))


def _entry(arena: Arena, method: Method[Any] | None, place: int) -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
        own = arena.apart(Path(folder))
        return list(own.scores(own.enter(method, place) if method else own.nothing(place)))
