"""`evaluate`: every audit of one model, beside the original and the retrained model.

A number by itself says nothing: 0 % accuracy on the forget set may be success, a masked output or damage. So
every row has the original's value, the retrained model's mean and range over its seeds, and the noise floor:
how much two retrained models differ when only their seeds do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Literal

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples
from unlearn_lib.metrics.accuracy import forgotten_classes, wilson
from unlearn_lib.metrics.audits import AUDITS, Audit, Evidence, gap
from unlearn_lib.metrics.backdoor import Trigger
from unlearn_lib.metrics.card import Row, Scorecard
from unlearn_lib.metrics.parts import Outputs

__all__ = ["NoEvidenceError", "Outputs", "Row", "Scorecard", "evaluate"]


class NoEvidenceError(ValueError, RuntimeError):
    """An evaluation that could not fail: of a model against itself, or on samples that it was trained on.

    It is a `ValueError` because an argument is wrong, and a `RuntimeError` because only its contents tell.
    """


def evaluate(
    model: nn.Module | Outputs,
    split: Split,
    *,
    original: nn.Module | Outputs,
    retrained: nn.Module | Outputs,
    test: Examples,
    retrained_seeds: Sequence[nn.Module | Outputs] = (),
    backdoor: tuple[Trigger, int] | None = None,
    name: str = "unlearned",
) -> Scorecard:
    """Audit `model` beside the original and the retrained model. Changes none of them.

    If whole classes are forgotten (no sample of them is retained), this is the class setting, with the test
    data divided into T_f and T_r. Otherwise it is the sample setting, with one test set.

    Args:
        model: the unlearned model. For any model, passing `Outputs` made earlier saves running it again.
        split: the request.
        original: trained on everything.
        retrained: trained from scratch on `split.retain`: the reference, without which nothing is proved.
        test: samples that no model has seen.
        retrained_seeds: more retrained models with other seeds, for the range and the noise floor.
        backdoor: trigger and target class, if the forget set carries one.
        name: of the unlearned model, for the table.

    Raises:
        ValueError: `test` lacks a side, or `Outputs` come from other data.
        NoEvidenceError: a reference is the model itself, or most of `test` is training data.
        FloatingPointError: a model's outputs are not finite.

    Example:
        >>> result = ul.run(ul.relabel(model, split, ul.Recipe(lr=0.05)))
        >>> retrained = ul.run(ul.retrain(initial, split, recipe)).model
        >>> card = ul.evaluate(result.model, split, test=test, original=model, retrained=retrained)
        >>> card["accuracy", "forget"].retrained
        0.0
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
    models = _Models(original=o, unlearned=u, retrained=s)
    evidence = Evidence(split=split, test=test, retrained=s[0], backdoor=backdoor)
    setting: Literal["class", "sample"] = "class" if forgotten_classes(split) else "sample"
    return Scorecard(name=name, setting=setting, seeds=len(s), rows=tuple(_rows(models, evidence)))


def _net(model: nn.Module | Outputs) -> nn.Module:
    return model.model if isinstance(model, Outputs) else model


def _require_references(
    model: nn.Module | Outputs, original: nn.Module | Outputs, references: Sequence[nn.Module | Outputs]
) -> None:
    nets = [_net(one) for one in references]
    if len({id(net) for net in nets}) < len(nets):
        raise NoEvidenceError(
            "`retrained_seeds` must not repeat a model: its distance to itself is not a noise floor."
        )
    for name, one in (("original", original), ("model", model)):
        if any(net is _net(one) for net in nets) and (name == "original" or len(nets) == 1):
            raise NoEvidenceError(
                f"`retrained` must be another model than `{name}`: no model differs from itself. "
                "`methods.retrain.retrain` makes one that has not seen the forgotten samples."
            )


def _require_unseen(test: Examples, split: Split) -> None:
    """Refuse a test set if more than half of it are training samples, bit for bit.

    Allow it if the training samples repeat one another as often: then there are few different samples at all.
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
    """A number for each sample, computed from its values alone."""
    x = examples.to("cpu", torch.float32).x if examples.scale is None else examples.x.cpu()
    return [hash(row.tobytes()) for row in x.contiguous().numpy()]


@dataclass(frozen=True)
class _Models:
    """The models of a scorecard, and what a row makes of an audit."""

    original: Outputs
    unlearned: Outputs
    retrained: list[Outputs]

    def __iter__(self) -> Iterator[Outputs]:
        yield from (self.original, self.unlearned, *self.retrained)

    def row(self, audit: Audit, part: str, evidence: Evidence) -> Row:
        """The audit of every model; distances are to all *other* retrained models.

        The noise floor is the mean difference, or distance, between two retrained models.
        """
        o, u, *s = (audit.value(m, self._others(m), part, evidence) for m in self)
        floor = None
        if len(s) > 1:
            floor = fmean(s if audit.of_two else (abs(a - b) for a, b in combinations(s, 2)))
        row = Row(
            metric=audit.name,
            data=part,
            original=o,
            unlearned=u,
            retrained=fmean(s),
            low=min(s),
            high=max(s),
            floor=floor,
            closer=audit.closer,
            percent=audit.how == "%",
        )
        return replace(row, note=NOTES[audit.name](self, row)) if audit.name in NOTES else row

    def _others(self, m: Outputs) -> list[Outputs]:
        alone = len(self.retrained) == 1
        return [other for other in self.retrained if alone or other.model is not m.model]


def _rows(models: _Models, evidence: Evidence) -> Iterator[Row]:
    """The audits, from the plainest to the most indirect."""
    for audit in AUDITS:
        parts = audit.parts(models.unlearned)
        if parts and all(audit.applies(m, evidence) for m in models):
            yield from (models.row(audit, part, evidence) for part in parts)


def _interval(models: _Models, row: Row) -> str:
    if not row.data.startswith("forget"):
        return ""
    n = len(models.unlearned.data[row.data])
    low, high = wilson(round(row.unlearned * n), n)
    return f"95 %: {100 * low:.1f} to {100 * high:.1f}"


def _gaps(models: _Models, row: Row) -> str:
    """UA = 1 - A_f, RA = A_r and TA, the test accuracy on what is retained."""
    u = models.unlearned
    named = {"UA": "forget", "RA": "retain", "TA": u.kept}
    others = models._others(u)
    gaps = {name: fmean(gap(u, other, part) for other in others) for name, part in named.items()}
    return ", ".join(f"{name} {100 * value:.1f}" for name, value in gaps.items())


def _reading(models: _Models, row: Row) -> str:
    blind = models.original.attack.auc.reading(row.retrained) == "like unseen data"
    return "no test: fails on the original" if blind else models.unlearned.attack.auc.reading(row.retrained)


NOTES: Mapping[str, Callable[[_Models, Row], str]] = {
    "accuracy": _interval,
    "average gap": _gaps,
    "weight distance": lambda models, row: "proves little either way",
    "loss MIA, AUC": _reading,
}
