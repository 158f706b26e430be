"""All methods on one request, in one table: run, priced, audited; with intervals, as JSON and CSV.

    arena = Arena.of(tasks, test)                                 # one task a seed: originals and references
    outcome = arena.enter(METHODS["amnesiac"], 0)                # prepared, run, priced
    table = Table(tuple(arena.scores(outcome)))                  # every audit of it

Costs count with preparation. Every distance is one to the retrained models of all *other* seeds: the row of
retraining is the noise floor of its column, and nobody gains by sharing first weights with a reference.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.contest.method import Method
from unlearn_lib.contest.task import Kind, Task
from unlearn_lib.data import Examples, check_examples, mix
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.metrics import divergence as div
from unlearn_lib.metrics.accuracy import accuracy, logits, losses
from unlearn_lib.metrics.audits import cka, feature_cka, probe_scores
from unlearn_lib.metrics.backdoor import backdoor_success
from unlearn_lib.metrics.cost import Cost, prediction_ratio, priced
from unlearn_lib.metrics.fitted_attacks import Judged, entropy_mia
from unlearn_lib.metrics.lira import Lira, Margins, in_processes, lira, margins, plan
from unlearn_lib.metrics.membership import Auc, auc
from unlearn_lib.metrics.relearn import relearn
from unlearn_lib.metrics.scorecard import Outputs
from unlearn_lib.metrics.table import escaped
from unlearn_lib.train import Recipe, run

__all__ = [
    "NOTHING",
    "Arena",
    "Estimate",
    "Exposure",
    "Grid",
    "Outcome",
    "Score",
    "Table",
    "estimate",
    "estimate_ratio",
    "ulira",
]

NOTHING = "do nothing"  # the original as it is: an impostor that wins some columns
RELEARN = Recipe("adam", lr=3e-3, batch_size=32)
RELEARN_CAP = 400  # batches
ALPHA = 0.05


class Estimate(NamedTuple):
    """A mean over seeds and its 95 % interval; both ends are the mean where there is one seed."""

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """mean ± t s / √n, with t of n - 1 degrees of freedom: wide for few seeds, as it should be.

    An infinite value (a relearn time not reached) makes the mean infinite; NaNs are left out.
    """
    from scipy.stats import t as student

    check.fit("values", values, Sequence[float])
    found = [v for v in values if not math.isnan(v)]
    if not found:
        return Estimate(math.nan, math.nan, math.nan)
    mean = fmean(found)
    if len(found) == 1 or math.isinf(mean):
        return Estimate(mean, mean, mean)
    half = float(student.ppf(0.975, len(found) - 1)) * stdev(found) / math.sqrt(len(found))
    return Estimate(mean, mean - half, mean + half)


def estimate_ratio(values: Sequence[float]) -> Estimate:
    """The same for ratios of times: geometric mean, and an interval of the logarithms; it never reaches 0."""
    check.fit("values", values, Sequence[float])
    if not values or not all(0 < v < math.inf for v in values):
        return estimate(values)
    return Estimate(*map(math.exp, estimate([math.log(v) for v in values])))


RATIOS = ("speed-up", "speed-up, request only", "prediction time", "anamnesis index")


class Score(NamedTuple):
    """One number: an audit of one method on one request with one seed."""

    request: str
    method: str
    seed: int
    audit: str
    value: float


@dataclass(frozen=True)
class Table:
    """All numbers of a contest, flat. ``table + table`` joins."""

    scores: tuple[Score, ...]

    def __post_init__(self) -> None:
        check.fields(self)

    def __add__(self, other: Table) -> Table:
        return Table(self.scores + check.instance("other", other, Table).scores)

    @property
    def methods(self) -> list[str]:
        """In the order of entry."""
        return list(dict.fromkeys(s.method for s in self.scores))

    def values(self, request: str, method: str, audit: str) -> list[float]:
        """By seed; none where the method does not apply."""
        return [s.value for s in self.scores if s[:2] == (request, method) and s.audit == audit]

    def column(self, request: str, audit: str) -> dict[str, Estimate]:
        """The estimate of every method that has this audit."""
        found = {m: self.values(request, m, audit) for m in self.methods}
        how = estimate_ratio if audit in RATIOS else estimate
        return {m: how(values) for m, values in found.items() if values}

    def audits(self, request: str) -> list[str]:
        """Names of the audits of this request."""
        return list(dict.fromkeys(s.audit for s in self.scores if s.request == request))

    @check.arguments
    def grid(self, request: str, audits: Mapping[str, str], refused: Mapping[str, str]) -> Grid:
        """A table to look at: mean ± half of the interval.

        Args:
            request: which.
            audits: name of an audit -> format: "%", "s", "bytes", "x" or a Python format such as ".2f".
            refused: method -> why it is not there.
        """
        columns = {audit: self.column(request, audit) for audit in audits}
        rows = [
            [m, *(_cell(columns[a].get(m), how) for a, how in audits.items())]
            for m in self.methods
            if any(m in column for column in columns.values())
        ]
        rows += [[m, f"does not apply: {why}"] for m, why in refused.items()]
        seeds = len({s.seed for s in self.scores if s.request == request})
        words = f"Request: {request}. Mean of {seeds} seeds, and its 95 % interval."
        return Grid(words, ["method", *audits], rows)

    def to_json(self) -> str:
        """All numbers; what is not finite becomes null."""
        rows = [s._asdict() | ({} if math.isfinite(s.value) else {"value": None}) for s in self.scores]
        return json.dumps(rows, indent=0)

    def to_csv(self) -> str:
        """All numbers, one a line, under a header."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(Score._fields)
        writer.writerows(self.scores)
        return out.getvalue()


@dataclass(frozen=True)
class Grid:
    """A table that shows in a notebook and in a page; a row shorter than the head spans the rest."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        check.fields(self)
        if wide := [row for row in self.rows if not 0 < len(row) <= len(self.head)]:
            raise ValueError(
                f"`rows` must have at most {len(self.head)} cells, as `head` has; got {wide[0]}."
            )

    def __str__(self) -> str:
        full = [row for row in (self.head, *self.rows) if len(row) == len(self.head)]
        widths = [max(len(row[i]) for row in full) for i in range(len(self.head))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)) for row in self.rows)
        top = "  ".join(c.ljust(w) for c, w in zip(self.head, widths, strict=True))
        return "\n".join([self.caption, top, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="text-align: left">{escaped(c)}</th>' for c in self.head)
        body = ""
        for first, *cells in self.rows:
            span = f' colspan="{len(self.head) - 1}"' if len(cells) == 1 < len(self.head) - 1 else ""
            row = "".join(f'<td{span} style="text-align: left">{escaped(c)}</td>' for c in cells)
            body += f'<tr><th scope="row" style="text-align: left">{escaped(first)}</th>{row}</tr>'
        caption = f"<caption>{escaped(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _cell(found: Estimate | None, how: str) -> str:
    if found is None or math.isnan(found.mean):
        return "-"
    if math.isinf(found.mean):
        return "not within the cap"
    mean, low, high = found
    if how == "bytes":
        return f"{mean / 1e6:.2f} MB" if mean >= 1e5 else f"{mean / 1e3:.0f} kB" if mean else "none"
    factor, unit = (100.0, " %") if how == "%" else (1.0, {"s": " s", "x": "×"}.get(how, ""))
    digits = {"%": ".0f", "s": ".2f", "x": ".1f"}.get(how, how)
    shown = f"{factor * mean:{digits}}"
    if low == high:
        return shown + unit
    if how == "%" and (low < 0 or high > 1):  # a share: the interval ends where shares do
        low, high = max(low, 0.0), min(high, 1.0)
    elif how != "x":
        return f"{shown} ± {factor * (high - mean):{digits}}{unit}"
    return f"{shown} ({factor * low:{digits}} to {factor * high:{digits}}){unit}"


@dataclass(frozen=True)
class Outcome:
    """What a method made of one request with one seed (its place in the list of tasks), and its price."""

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
    """One request with several seeds: the tasks, and their originals and retrained models.

    Args:
        tasks: one a seed; they differ by initial weights and order, never by the samples to forget.
        test: samples that no model and no stop rule has seen.
        originals: of the tasks.
        retrained: entries, the references.
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
    def of(cls, tasks: Sequence[Task], test: Examples) -> Arena:
        """Train the originals, and retrain the references.

        Raises:
            ValueError: no task, or no test sample.
        """
        check.fit("tasks", tasks, Sequence[Task]), check_examples("test", test)
        if not tasks:
            raise ValueError("`tasks` must hold at least one; got none.")
        originals = tuple(Outputs.of(task.original, task.split, test) for task in tasks)
        references = []
        for place, (task, original) in enumerate(zip(tasks, originals, strict=True)):
            result, cost = priced(retrain(task.initial, task.split, task.recipe), task.split)
            outputs = Outputs.of(result.model, task.split, test)
            references.append(Outcome("retrain", place, outputs, original, cost))
        teachers = tuple(div.untrained_twin(tasks[0].initial, seed) for seed in range(3))
        return cls(tuple(tasks), test, originals, tuple(references), teachers)

    @property
    def kind(self) -> Kind:
        """Of the request."""
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
        hardware = self.retrained[place].cost.hardware
        return Outcome(NOTHING, place, original, original, Cost(0.0, 0, 0, 0, 0, 0.0, hardware))

    def scores(self, outcome: Outcome) -> Iterator[Score]:
        """Every audit of an outcome, and its bill."""
        check.instance("outcome", outcome, Outcome)
        seed = self.tasks[outcome.place].recipe.seed
        for audit, value in {**self._audits(outcome), **self._bill(outcome)}.items():
            yield Score(self.kind, outcome.method, seed, audit, value)

    def layers(self, outcome: Outcome) -> tuple[dict[str, float], dict[str, float]]:
        """Weight distance and CKA by layer, against the retrained model of the *next* seed."""
        check.instance("outcome", outcome, Outcome)
        other = self._next(outcome)
        return dict(div.weight_distance(outcome.model, other).layers), cka(outcome.model, other, self.test)

    def _next(self, outcome: Outcome) -> nn.Module:
        return self.retrained[(outcome.place + 1) % len(self.retrained)].model

    def gap(self, outcome: Outcome) -> float:
        """Mean difference of forget, retain and test accuracy to the other retrained models."""
        kept = _kept(check.instance("outcome", outcome, Outcome).outputs)
        parts = ("forget", "retain", kept)
        return self._distance(
            outcome, lambda a, b: fmean(abs(_accuracy(a, p) - _accuracy(b, p)) for p in parts)
        )

    def _distance(self, outcome: Outcome, between: Callable[[Outputs, Outputs], float]) -> float:
        return fmean(between(outcome.outputs, other) for other in self._others(outcome))

    def _others(self, outcome: Outcome) -> list[Outputs]:
        """The retrained models of all other seeds: they share no first weights with it."""
        others = [r.outputs for r in self.retrained if r.place != outcome.place]
        return others or [self.retrained[outcome.place].outputs]

    def _audits(self, outcome: Outcome) -> dict[str, float]:
        task, out = self.tasks[outcome.place], outcome.outputs
        distance = partial(self._distance, outcome)
        kept = _kept(out)

        found = {
            "forget accuracy, train": _accuracy(out, "forget"),
            "retain accuracy, train": _accuracy(out, "retain"),
            "retain accuracy, test": _accuracy(out, kept),
            "own original, test": _accuracy(outcome.original, kept),
            "average gap": self.gap(outcome),
            "loss MIA": auc(-_losses(out, "forget"), -_losses(out, out.unseen)).value,
            "JS to retrained": distance(lambda a, b: div.js(a.p("forget"), b.p("forget"))),
            "agreement": distance(lambda a, b: div.agreement(a.p("forget"), b.p("forget"))),
            "activation distance": distance(
                lambda a, b: div.activation_distance(a.p("forget"), b.p("forget"))
            ),
        }
        judged = [Judged(out.p(part), out.data[part].y) for part in ("retain", kept, "forget")]
        found["entropy MIA"] = entropy_mia(*judged).called_member
        untrained = [div.probabilities(logits(twin, task.split.forget)) for twin in self.teachers]
        found["ZRF"] = div.zrf(out.p("forget"), untrained)
        if _alike(out.model, self.retrained[0].model):
            found["weight distance"] = distance(lambda a, b: div.weight_distance(a.model, b.model).total)
            found["CKA"] = feature_cka(out.model, self._next(outcome), self.test)
        if self.kind == "class":
            found["forget accuracy, test"] = _accuracy(out, "forget test")
            found["linear probe"] = list(probe_scores(out.model, task.split, self.test).values())[-1]
        if task.backdoor is not None:
            found["backdoor success"] = backdoor_success(out.model, self.test, *task.backdoor)
        found["relearn batches"] = batches = self._relearn(outcome)
        reference = self._relearn(self.retrained[outcome.place])
        if math.isfinite(reference):
            found["anamnesis index"] = batches / reference
        return found

    def _prediction_time(self, outcome: Outcome) -> float:
        """Against one model of its own shape it is 1, and not measured."""
        single = self.retrained[outcome.place].model
        return 1.0 if _alike(outcome.model, single) else prediction_ratio(outcome.model, single, self.test)

    def _relearn(self, outcome: Outcome) -> float:
        """r_t on the forget set's test images, or on the forget set; infinite where not within the cap."""
        if outcome.model not in self._relearned:
            task, unseen = self.tasks[outcome.place], outcome.outputs.unseen
            part = unseen if unseen == "forget test" else "forget"
            probe = outcome.outputs.data[part]
            start = accuracy(self.originals[outcome.place].logits[part], probe)

            def there(value: float) -> bool:
                return value >= (1 - ALPHA) * start

            epochs = min(8, max(1, RELEARN_CAP * RELEARN.batch_size // len(task.data)))
            curve = run(relearn(outcome.model, task.data, probe, RELEARN.but(epochs=epochs), until=there))
            time = curve.time(start, ALPHA)
            self._relearned[outcome.model] = math.inf if time.censored else time.batches
        return self._relearned[outcome.model]

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


def _alike(a: nn.Module, b: nn.Module) -> bool:
    return [p.shape for p in a.parameters()] == [p.shape for p in b.parameters()]


def _kept(m: Outputs) -> str:
    """The part of the test samples that should stay known."""
    return "retain test" if "retain test" in m.data else "test"


def _accuracy(m: Outputs, part: str) -> float:
    return accuracy(m.logits[part], m.data[part])


def _losses(m: Outputs, part: str) -> Tensor:
    return losses(m.logits[part], m.data[part])


# U-LiRA for all methods at once ---------------------------------------------------------------------------


class Exposure(NamedTuple):
    """What U-LiRA found of one method.

    Args:
        attack: sample by sample.
        margins: of all shadow models, then of the targets.
        population: the loss attack on the same targets: margins are losses on another scale.
        accuracy: mean accuracy of the targets on validation samples; a ruined model hides every sample.
    """

    attack: Lira
    margins: Margins
    population: Auc
    accuracy: float

    def cells(self) -> list[str]:
        """Population attack, attack sample by sample, accuracy: for a table."""
        found = self.attack.auc
        return [
            f"{self.population.value:.2f}",
            f"{found.value:.2f} ± {1.96 * found.error:.2f}",
            f"{self.accuracy:.0%}",
        ]


def ulira(
    methods: Mapping[str, Method[Any]],
    base: Examples,
    candidates: Examples,
    validation: Examples,
    build: Callable[..., nn.Module],
    recipe: Recipe,
    *,
    batches: int = 1,
    shadows: int = 32,
    targets: int = 4,
    seed: int = 0,
    workers: int = 0,
    watch: Callable[[int, int], Any] = lambda done, total: None,
) -> dict[str, Exposure]:
    """`mini_ulira` for many methods: every shadow model is trained once and unlearned by each of them.

    Args:
        methods: by name; they must apply to samples. "Do nothing" is always among them.
        base: what every model is trained on.
        candidates: every one is in half of the models, at random, and then forgotten.
        validation: for stop rules.
        build: ``build(seed=...)`` makes an untrained net; importable, for other processes.
        recipe: of training.
        batches: how many of every epoch hold the candidates.
        shadows: models, even; each candidate is inside half of them. 32 are 16 a side.
        targets: models that are attacked, even.
        seed: of the plan and the models.
        workers: processes; 0 runs here.
        watch: told after every model how many are done, and of how many.

    Raises:
        ValueError: a method does not apply to samples, no samples, or numbers of models that are not even.
    """
    for name, method in check.fit("methods", methods, Mapping[str, Method[Any]]).items():
        if "samples" in method.refuses:
            raise ValueError(f"`methods` must apply to samples; got {name!r}: {method.refuses['samples']}")
    for part, given in (("base", base), ("candidates", candidates), ("validation", validation)):
        check_examples(part, given)
    check.function("build", build), check.instance("recipe", recipe, Recipe)
    check.whole("batches", batches, 1)
    inside = torch.cat([plan(shadows, len(candidates), seed), plan(targets, len(candidates), mix(seed, 1))])
    seeds = [mix(seed, 2, t) % 2**31 for t in range(len(inside))]
    job = partial(shadow, dict(methods), base, candidates, validation, build, recipe, batches)
    models = in_processes(job, inside, seeds, workers=workers, watch=watch)
    found = {}
    for name in models[0]:
        every = Margins(torch.stack([model[name].phi for model in models]), inside)
        target = every[shadows:]
        found[name] = Exposure(
            lira(every[:shadows], target),
            every,
            auc(target.phi[target.inside], target.phi[~target.inside]),
            fmean(model[name].accuracy for model in models[shadows:]),
        )
    return found


class Shadow(NamedTuple):
    """One model: its margins on the candidates, and its accuracy on validation samples."""

    phi: Float[Tensor, " n"]
    accuracy: float


def shadow(
    methods: Mapping[str, Method[Any]],
    base: Examples,
    candidates: Examples,
    validation: Examples,
    build: Callable[..., nn.Module],
    recipe: Recipe,
    batches: int,
    inside: Tensor,
    seed: int,
) -> dict[str, Shadow]:
    """One shadow model: trained on the base and its candidates, which every method then forgets."""
    ours = candidates.where(inside)
    with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
        task = Task(
            kind="samples",
            data=base + ours,
            ids=ours.ids,
            validation=validation,
            recipe=recipe.but(seed=seed),
            initial=build(seed=seed),
            folder=Path(folder),
            batches=batches,
        )
        models = {NOTHING: task.original}
        models |= {name: method.unlearn(task).model for name, method in methods.items()}
    return {
        name: Shadow(margins(logits(model, candidates), candidates.y), accuracy(model, validation))
        for name, model in models.items()
    }
