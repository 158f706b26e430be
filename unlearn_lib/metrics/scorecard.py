"""`evaluate`: every audit of one model, beside the original and the retrained model.

A number by itself says nothing: 0 % accuracy on the forget set may be success, a masked output or damage. So
every row has the original's value, the retrained model's mean and range over its seeds, and the noise floor:
how much two retrained models differ that differ by nothing but the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples
from unlearn_lib.metrics import divergence as div
from unlearn_lib.metrics.accuracy import (
    accuracy,
    forgotten_classes,
    logits,
    loss,
    losses,
    parts_of_test,
    wilson,
)
from unlearn_lib.metrics.backdoor import Trigger, backdoor_success
from unlearn_lib.metrics.card import Closer, Row, Scorecard
from unlearn_lib.metrics.membership import LossAttack, loss_mia

__all__ = ["NoEvidenceError", "Outputs", "Row", "Scorecard", "evaluate"]


class NoEvidenceError(ValueError, RuntimeError):
    """An evaluation that could not fail: of a model against itself, or on samples that it was trained on.

    A `ValueError`, for an argument is wrong, and a `RuntimeError`, for only the contents tell.
    """


@dataclass(frozen=True)
class Outputs:
    """A model and its logits on every part of the data: all that the audits need, computed once.

    Args:
        model: not to be changed while this is in use.
        data: the parts: "forget", "retain", and "test" or "forget test" and "retain test".
        logits: the model's logits on each part.
    """

    model: nn.Module = field(repr=False)
    data: dict[str, Examples] = field(repr=False)
    logits: dict[str, Tensor] = field(repr=False)

    @classmethod
    def of(cls, model: nn.Module, split: Split, test: Examples) -> Outputs:
        """Run the model once over everything."""
        check.instance("split", split, Split)
        data = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
        return cls(model, data, {part: logits(model, examples) for part, examples in data.items()})

    def require(self, split: Split, test: Examples) -> Outputs:
        """These outputs, if they are of this request and this test data."""
        wanted = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
        for part in wanted | self.data:
            found, asked = self.data.get(part), wanted.get(part)
            if found is None or asked is None or not torch.equal(found.ids.cpu(), asked.ids.cpu()):
                raise ValueError(f"`Outputs` must be of `split` and `test`; the samples of `{part}` differ.")
        return self

    @property
    def unseen(self) -> str:
        """The part that an attack compares the forget set with: T_f in the class setting, else T."""
        return "forget test" if "forget test" in self.data else "test"

    @cached_property
    def attack(self) -> LossAttack:
        """The loss attack, the costliest audit: run once, however many models are set beside this one."""
        return loss_mia(*(losses(self.logits[part], self.data[part]) for part in ("forget", self.unseen)))

    def p(self, part: str) -> Tensor:
        """Softmax outputs on a part."""
        return div.probabilities(self.logits[part])


def evaluate(
    model: nn.Module | Outputs,
    *,
    original: nn.Module | Outputs,
    retrained: nn.Module | Outputs,
    split: Split,
    test: Examples,
    retrained_seeds: Sequence[nn.Module | Outputs] = (),
    backdoor: tuple[Trigger, int] | None = None,
    name: str = "unlearned",
) -> Scorecard:
    """Audit `model` beside the original and the retrained model. Changes none of them.

    Whole classes forgotten (no retained sample of any forgotten class): the class setting, with the test data
    divided into T_f and T_r. Otherwise the sample setting, with one test set.

    Args:
        model: the unlearned model; for each model, `Outputs` made earlier save running it again.
        original: trained on everything.
        retrained: trained from scratch on `split.retain`: the reference, without which nothing is shown.
        split: the request.
        test: samples that no model has seen.
        retrained_seeds: further retrained models that differ by the seed: their range and the noise floor.
        backdoor: trigger and target class, if the forget set carries one.
        name: of the unlearned model, for the table.

    Raises:
        ValueError: `test` lacks a side, or `Outputs` are of other data.
        NoEvidenceError: a reference is the model itself, or `test` is for the most part training data.
        FloatingPointError: a model gives outputs that are not finite.
    """
    check.instance("split", split, Split)
    check_examples("test", test)
    check.text("name", name)
    references = (retrained, *check.instance("retrained_seeds", retrained_seeds, (list, tuple)))
    check.instance("original", original, (nn.Module, Outputs))
    check.instance("model", model, (nn.Module, Outputs))
    for reference in references:
        check.instance("retrained", reference, (nn.Module, Outputs))
    _require_references(model, original, references)
    _require_unseen(test, split)
    if backdoor is not None:
        trigger, target = check.instance("backdoor", backdoor, tuple, remedy="Give (trigger, target).")
        check.instance("backdoor[0]", trigger, Trigger)
        check.whole("backdoor[1]", target, 0)
    o, u, *s = (
        m.require(split, test) if isinstance(m, Outputs) else Outputs.of(m, split, test)
        for m in (original, model, *references)
    )
    rows = list(_rows(_Models(o, u, s)))
    if backdoor is not None:
        rows.append(_Models(o, u, s).value("backdoor success", "test", _backdoor(test, *backdoor)))
    setting: Literal["class", "sample"] = "class" if forgotten_classes(split) else "sample"
    return Scorecard(name, setting, len(s), tuple(rows))


def _net(model: nn.Module | Outputs) -> nn.Module:
    return model.model if isinstance(model, Outputs) else model


def _require_references(
    model: nn.Module | Outputs, original: nn.Module | Outputs, references: Sequence[nn.Module | Outputs]
) -> None:
    nets = [_net(one) for one in references]
    if len({id(net) for net in nets}) < len(nets):
        raise NoEvidenceError(
            "`retrained_seeds` must not repeat a model: its distance to itself is no noise floor."
        )
    for name, one in (("original", original), ("model", model)):
        if any(net is _net(one) for net in nets) and (name == "original" or len(nets) == 1):
            raise NoEvidenceError(
                f"`retrained` must be another model than `{name}`: no model differs from itself. "
                "`methods.retrain.retrain` makes one that has not seen the forgotten samples."
            )


def _require_unseen(test: Examples, split: Split) -> None:
    """Refuse a test set of which more than half are training samples, bit for bit.

    Unless the training samples repeat one another as often: then there are few different samples at all.
    """
    trained = [row for side in (split.forget, split.retain) for row in _contents(side)]
    known = Counter(trained)
    seen = sum(row in known for row in _contents(test)) / len(test)
    repeated = sum(n for n in known.values() if n > 1) / len(trained)
    if seen > 0.5 > repeated:
        raise NoEvidenceError(
            f"`test` must hold samples that no model has seen; {100 * seen:.0f} % of them are training "
            "samples. Hold some back before training: `data.head(n)` picks them, `data.without(ids)` trains."
        )


def _contents(examples: Examples) -> list[int]:
    """A number for each sample that follows from its values alone."""
    x = examples.to("cpu", torch.float32).x if examples.scale is None else examples.x.cpu()
    return [hash(row.tobytes()) for row in x.contiguous().numpy()]


Value = Callable[[Outputs, str], float]
Distance = Callable[[Outputs, Outputs, str], float]

_SHARES = {"accuracy", "average gap", "agreement", "loss MIA, accuracy", "backdoor success"}


def _rows(models: _Models) -> Iterator[Row]:
    """The audits, from the plainest to the most indirect."""
    u = models.unlearned
    parts, unseen, test = list(u.data), u.unseen, "retain test" if u.unseen == "forget test" else "test"
    for part in parts:
        row = models.value("accuracy", part, _accuracy)
        yield replace(row, note=_interval(u, part)) if part.startswith("forget") else row
    # UA = 1 - A_f, RA = A_r and TA, the test accuracy on what is retained
    named = {"UA": "forget", "RA": "retain", "TA": test}
    gaps = {name: models.distance("gap", part, _gap).unlearned for name, part in named.items()}
    row = models.distance("average gap", "all", lambda a, b, _: fmean(_gap(a, b, p) for p in named.values()))
    yield replace(row, note=", ".join(f"{name} {100 * gap:.1f}" for name, gap in gaps.items()))
    for part in parts:
        yield models.value("loss", part, lambda m, part: loss(m.logits[part], m.data[part]))
    for part in parts:
        yield models.distance("JS to retrained", part, lambda a, b, part: div.js(a.p(part), b.p(part)))
    for part in parts:
        yield models.distance("agreement", part, lambda a, b, part: div.agreement(a.p(part), b.p(part)))
    yield models.distance(
        "activation distance", "forget", lambda a, b, part: div.activation_distance(a.p(part), b.p(part))
    )
    for part in ("forget", "forget test") if unseen == "forget test" else ():
        yield models.distance(
            "predicted-class TV", part, lambda a, b, part: div.predicted_class_tv(a.p(part), b.p(part))
        )
    yield models.distance(
        "log-entropy W1", "forget", lambda a, b, part: div.log_entropy_w1(a.p(part), b.p(part))
    )
    if len({_architecture(m) for m in models}) == 1:
        row = models.distance("weight distance", "all", lambda a, b, _: _moved(a, b))
        yield replace(row, note="proves little either way")
    yield from _loss_mia(models, unseen)


@dataclass(frozen=True)
class _Models:
    """The models of a scorecard, and what a row makes of a measure."""

    original: Outputs
    unlearned: Outputs
    retrained: list[Outputs]

    def __iter__(self) -> Iterator[Outputs]:
        yield from (self.original, self.unlearned, *self.retrained)

    def value(self, metric: str, part: str, measure: Value) -> Row:
        """Each model's own value. The noise floor is the mean difference of two retrained models."""
        o, u, *s = (measure(m, part) for m in self)
        floor = fmean(abs(a - b) for a, b in combinations(s, 2)) if len(s) > 1 else None
        return Row(metric, part, o, u, fmean(s), min(s), max(s), floor, "range", metric in _SHARES)

    def distance(self, metric: str, part: str, measure: Distance) -> Row:
        """Each model against all *other* retrained ones. The noise floor is what those have as a mean."""
        alone = len(self.retrained) == 1
        o, u, *s = (
            fmean(measure(m, other, part) for other in self.retrained if alone or other.model is not m.model)
            for m in self
        )
        closer: Closer = "more" if metric.startswith("agreement") else "less"
        floor = None if alone else fmean(s)
        return Row(metric, part, o, u, fmean(s), min(s), max(s), floor, closer, metric in _SHARES)


def _accuracy(m: Outputs, part: str) -> float:
    return accuracy(m.logits[part], m.data[part])


def _gap(a: Outputs, b: Outputs, part: str) -> float:
    return abs(_accuracy(a, part) - _accuracy(b, part))


def _interval(m: Outputs, part: str) -> str:
    n = len(m.data[part])
    low, high = wilson(round(_accuracy(m, part) * n), n)
    return f"95 %: {100 * low:.1f} to {100 * high:.1f}"


def _moved(a: Outputs, b: Outputs) -> float:
    return div.weight_distance(a.model, b.model).total


def _architecture(m: Outputs) -> tuple[tuple[str, torch.Size], ...]:
    return tuple((name, p.shape) for name, p in m.model.named_parameters())


def _loss_mia(models: _Models, unseen: str) -> Iterator[Row]:
    row = models.value("loss MIA, AUC", f"forget, {unseen}", lambda m, _: m.attack.auc.value)
    blind = models.original.attack.auc.reading(row.retrained) == "like unseen data"
    reading = models.unlearned.attack.auc.reading(row.retrained)
    yield replace(row, note="no test: fails on the original" if blind else reading)
    yield models.value("loss MIA, accuracy", f"forget, {unseen}", lambda m, _: m.attack.accuracy)


def _backdoor(test: Examples, trigger: Trigger, target: int) -> Value:
    return lambda m, _: backdoor_success(m.model, test, trigger, target)
