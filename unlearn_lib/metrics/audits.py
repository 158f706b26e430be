"""The table of all audits: what each measures, which way is better, how it is written, and its card.

A scorecard (`metrics.scorecard.evaluate`) and the contest (`contest.arena`) show rows of this one table. A
card says what to know before reading a number: the formula, the direction, what the retrained model scores,
and how the number can fool you.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics import divergence as div
from unlearn_lib.metrics.backdoor import Trigger, backdoor_success
from unlearn_lib.metrics.card import Closer
from unlearn_lib.metrics.fitted_attacks import Judged, entropy_mia
from unlearn_lib.metrics.inside import (
    bn_recalibration,
    cka,
    feature_cka,
    linear_probe,
    probe_scores,
    recalibrated,
    seen_by_layers,
)
from unlearn_lib.metrics.membership import auc
from unlearn_lib.metrics.parts import Outputs

__all__ = [
    "AUDITS",
    "CARDS",
    "Audit",
    "Card",
    "Evidence",
    "bn_recalibration",
    "cka",
    "feature_cka",
    "linear_probe",
    "probe_scores",
    "recalibrated",
    "seen_by_layers",
]  # from `bn_recalibration` on: their home until 0.1 was here

TO_RETRAINED = "to the retrained model's value, from either side"
DIRECTIONS: dict[Closer, str] = {"range": TO_RETRAINED, "less": "down", "more": "up"}
KEPT = "kept"  # the part of the test data that should stay known, see `Outputs.kept`


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What an audit may use besides a model's outputs; a scorecard gives the first four.

    Args:
        split: the request.
        test: samples that no model has seen.
        retrained: a model trained from scratch on the retain set.
        backdoor: trigger and target class, if the forget set carries one.
        original: the model that was in service before the request.
        other: a retrained model of another seed.
        teachers: outputs of untrained networks on the forget set [n, k], for ZRF.
        relearned: how many batches a model needs to learn the forgotten part again; infinite beyond a cap.
    """

    split: Split
    test: Examples
    retrained: Outputs
    backdoor: tuple[Trigger, int] | None = None
    original: Outputs | None = None
    other: Outputs | None = None
    teachers: Sequence[div.Probabilities] = ()
    relearned: Callable[[nn.Module], float] | None = None

    def __post_init__(self) -> None:
        check.fields(self)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What to know before reading a number.

    Args:
        name: of the number, in a contest.
        part: the part of the data that the contest measures it on; see `Outputs`.
        formula: in one line.
        retrained: what the retrained model scores.
        fools: how it can fool you.
        direction: which way is better; empty for the audit's own.
        how: its format: "%", "s", "bytes", "x" or a Python format such as ".2f".
    """

    name: str
    part: str = "all"
    formula: str
    retrained: str
    fools: str
    direction: str = ""
    how: str = ".2f"

    def __post_init__(self) -> None:
        check.fields(self)

    def lines(self) -> dict[str, str]:
        """For a table, or beside a chart."""
        return {
            "formula": self.formula,
            "direction": self.direction,
            "the retrained model scores": self.retrained,
            "how it can fool you": self.fools,
        }


def everywhere(m: Outputs) -> tuple[str, ...]:
    """All parts of the data."""
    return tuple(m.data)


def on(*parts: str) -> Callable[[Outputs], tuple[str, ...]]:
    """These parts of the data, whatever the request."""
    return lambda m: parts


@dataclass(frozen=True, kw_only=True)
class Audit:
    """One audit.

    Args:
        name: in a scorecard, beside a part of the data.
        of_one: ``of_one(m, part, evidence)``, the value of one model.
        of_two: ``of_two(a, b, part)``, a distance between a model and a retrained one. If both are None, the
            audit needs more than one model's outputs; its card says what.
        closer: "range" for a value that should be in the retrained models' range; "less" or "more" for a
            distance to them or an agreement with them.
        how: format of the number; see `Card`.
        parts: on which parts of the data a scorecard shows it; none if that costs too much.
        applies: whether this model can be audited in this way.
        contest: whether a contest takes it, once for every card.
        cards: one for each name that it has in a contest.
    """

    name: str
    of_one: Callable[[Outputs, str, Evidence], float] | None = None
    of_two: Callable[[Outputs, Outputs, str], float] | None = None
    closer: Closer = "range"
    how: str = ".2f"
    parts: Callable[[Outputs], tuple[str, ...]] = lambda m: ()
    applies: Callable[[Outputs, Evidence], bool] = lambda m, evidence: True
    contest: bool = True
    cards: tuple[Card, ...]

    def __post_init__(self) -> None:
        check.fields(self)
        cards = [
            replace(card, direction=card.direction or DIRECTIONS[self.closer], how=self.how)
            for card in self.cards
        ]
        object.__setattr__(self, "cards", tuple(cards))

    @property
    def in_contest(self) -> bool:
        """Whether a contest takes it from an outcome's outputs."""
        return self.contest and (self.of_one or self.of_two) is not None

    def value(self, m: Outputs, others: Sequence[Outputs], part: str, evidence: Evidence) -> float:
        """For this model; a distance is averaged over `others`."""
        if self.of_one is not None:
            return self.of_one(m, part, evidence)
        if self.of_two is None:
            raise ValueError(f"{self.name} cannot be taken from one model's outputs; read its card.")
        return fmean(self.of_two(m, other, part) for other in others)


def gap(a: Outputs, b: Outputs, part: str) -> float:
    """|accuracy of a - accuracy of b| on a part."""
    return abs(a.accuracy(part) - b.accuracy(part))


def average_gap(a: Outputs, b: Outputs, _: str) -> float:
    """Mean difference in forget accuracy, retain accuracy and test accuracy on what is retained."""
    return fmean(gap(a, b, part) for part in ("forget", "retain", a.kept))


def _backdoor_success(m: Outputs, _: str, evidence: Evidence) -> float:
    assert evidence.backdoor is not None
    return backdoor_success(m.model, evidence.test, *evidence.backdoor)


def _called_member(m: Outputs, _: str, evidence: Evidence) -> float:
    retain, kept, forget = (Judged(m.p(part), m.data[part].y) for part in ("retain", m.kept, "forget"))
    return entropy_mia(retain, kept, forget).called_member


def _features(m: Outputs, _: str, evidence: Evidence) -> float:
    assert evidence.other is not None
    return feature_cka(m.model, evidence.other.model, evidence.test)


def _last_layer(m: Outputs, _: str, evidence: Evidence) -> float:
    return list(probe_scores(m.model, evidence.split, evidence.test).values())[-1]


def _own_original(m: Outputs, part: str, evidence: Evidence) -> float:
    assert evidence.original is not None
    return evidence.original.accuracy(part)


def _relearned(m: Outputs, _: str, evidence: Evidence) -> float:
    assert evidence.relearned is not None
    return evidence.relearned(m.model)


def _anamnesis(m: Outputs, part: str, evidence: Evidence) -> float:
    return _relearned(m, part, evidence) / _relearned(evidence.retrained, part, evidence)


def _defined(m: Outputs, evidence: Evidence) -> bool:
    return math.isfinite(_relearned(evidence.retrained, "all", evidence))


def _alike(m: Outputs, evidence: Evidence) -> bool:
    return m.shapes == evidence.retrained.shapes


AUDITS: tuple[Audit, ...] = (
    Audit(
        name="accuracy",
        of_one=lambda m, part, _: m.accuracy(part),
        how="%",
        parts=everywhere,
        cards=(
            Card(
                name="forget accuracy, train",
                part="forget",
                formula="share of the forget set answered by its label",
                retrained="0 for a class and for wrong labels; about test accuracy for samples, because it "
                "still generalizes",
                fools="one very negative output bias gives 0 while every feature stays; for samples 0 is "
                "over-forgetting",
            ),
            Card(
                name="forget accuracy, test",
                part="forget test",
                formula="the same on test images of the forgotten class",
                retrained="0 by construction",
                fools="as for the forget set; batch norm's statistics alone can also bring it to 0",
            ),
            Card(
                name="retain accuracy, train",
                part="retain",
                formula="share of the retain set answered correctly",
                retrained="its own value, nearly 1",
                fools="an average hides one ruined class",
            ),
            Card(
                name="retain accuracy, test",
                part=KEPT,
                formula="the same on test images (of the classes that stay)",
                retrained="its own value",
                fools="an average hides one ruined class; a better original flatters a method that trains "
                "differently",
            ),
        ),
    ),
    Audit(
        name="own original",
        of_one=_own_original,
        closer="more",
        how="%",
        cards=(
            Card(
                name="own original, test",
                part=KEPT,
                formula="retain accuracy, test, of the model that was in service before the request",
                retrained="the plain original's",
                fools="SISA and DeepObliviate train in their own way: what they lack here they lost "
                "before any request",
            ),
        ),
    ),
    Audit(
        name="average gap",
        of_two=average_gap,
        closer="less",
        how="%",
        parts=on("all"),
        cards=(
            Card(
                name="average gap",
                formula="mean of |x(unlearned) - x(retrained)| for 1 - forget accuracy, retain accuracy and "
                "test accuracy",
                retrained="the gap of two retrained models: the floor",
                fools="only three accuracies; a gap in one part is diluted by the others",
            ),
        ),
    ),
    Audit(
        name="loss",
        of_one=lambda m, part, _: m.loss(part),
        how=".3f",
        parts=everywhere,
        contest=False,
        cards=(
            Card(
                name="loss",
                part="forget",
                formula="mean of -log p(label), in nats",
                retrained="its own value, low on what it was trained on",
                fools="a few confident errors outweigh all other samples",
            ),
        ),
    ),
    Audit(
        name="JS to retrained",
        of_two=lambda a, b, part: div.js(a.p(part), b.p(part)),
        closer="less",
        how=".3f",
        parts=everywhere,
        cards=(
            Card(
                name="JS to retrained",
                part="forget",
                formula="mean of ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, on the forget set; nats, in [0, ln 2]",
                retrained="the divergence of two retrained models: the floor",
                fools="a formula in circulation swaps the arguments and divides by the number of classes; "
                "blind outside the forget set",
            ),
        ),
    ),
    Audit(
        name="agreement",
        of_two=lambda a, b, part: div.agreement(a.p(part), b.p(part)),
        closer="more",
        how="%",
        parts=everywhere,
        cards=(
            Card(
                name="agreement",
                part="forget",
                formula="share of the forget set with the same predicted class as the retrained model",
                retrained="that of two retrained models, less than 1",
                fools="ignores how sure the models are",
            ),
        ),
    ),
    Audit(
        name="activation distance",
        of_two=lambda a, b, part: div.activation_distance(a.p(part), b.p(part)),
        closer="less",
        parts=on("forget"),
        cards=(
            Card(
                name="activation distance",
                part="forget",
                formula="mean ‖p(x) - q(x)‖₂ of softmax outputs on the forget set, in [0, √2]",
                retrained="that of two retrained models",
                fools="softmax outputs saturate; despite its name it looks at no activation",
            ),
        ),
    ),
    Audit(
        name="predicted-class TV",
        of_two=lambda a, b, part: div.predicted_class_tv(a.p(part), b.p(part)),
        closer="less",
        how=".3f",
        parts=lambda m: ("forget", "forget test") if "forget test" in m.data else (),
        contest=False,
        cards=(
            Card(
                name="predicted-class TV",
                part="forget",
                formula="½ Σ |share(c; unlearned) - share(c; retrained)| over predicted classes c, in [0, 1]",
                retrained="that of two retrained models",
                fools="compares only shares: two models may disagree on every image and score 0",
            ),
        ),
    ),
    Audit(
        name="log-entropy W1",
        of_two=lambda a, b, part: div.log_entropy_w1(a.p(part), b.p(part)),
        closer="less",
        how=".3f",
        parts=on("forget"),
        contest=False,
        cards=(
            Card(
                name="log-entropy W1",
                part="forget",
                formula="Wasserstein-1 distance of the distributions of log H(p) under both models, in "
                "log-nats",
                retrained="that of two retrained models",
                fools="looks at how sure a model is, not at what it says",
            ),
        ),
    ),
    Audit(
        name="weight distance",
        of_two=lambda a, b, _: div.weight_distance(a.model, b.model).total,
        closer="less",
        parts=on("all"),
        applies=_alike,
        cards=(
            Card(
                name="weight distance",
                formula="√(Σ‖θ - θ'‖² / Σ‖θ'‖²) to the retrained models",
                direction="none",
                retrained="large: minima differ by seed; a contestant shares its first weights with one "
                "retrained model",
                fools="minima differ by seed, so neither near nor far proves anything",
            ),
        ),
    ),
    Audit(
        name="loss MIA, AUC",
        of_one=lambda m, part, _: auc(-m.losses("forget"), -m.losses(m.unseen)).value,
        parts=lambda m: (f"forget, {m.unseen}",),
        cards=(
            Card(
                name="loss MIA, AUC",
                formula="chance that a forgotten sample has a lower loss than an unseen one, ties ½",
                direction=TO_RETRAINED + ": .3 gives samples away just as .7 does",
                retrained="about ½ for samples; whatever it measures for a class",
                fools="a ruined model is at ½ too; an average hides a few samples; no test if the original "
                "passes",
            ),
        ),
    ),
    Audit(
        name="loss MIA, accuracy",
        of_one=lambda m, part, _: m.attack.accuracy,
        how="%",
        parts=lambda m: (f"forget, {m.unseen}",),
        contest=False,
        cards=(
            Card(
                name="loss MIA, accuracy",
                formula="balanced, cross-validated accuracy of a threshold on the loss, forget set "
                "against unseen",
                retrained="about ½ for samples; whatever it measures for a class",
                fools="whatever fools its AUC; a fitted threshold also blurs it",
            ),
        ),
    ),
    Audit(
        name="entropy MIA",
        of_one=_called_member,
        how="%",
        cards=(
            Card(
                name="entropy MIA",
                formula="share of the forget set called member by a fit on H(p), retain against test",
                retrained="measured, not ½",
                fools="two literatures report it with opposite signs; the flatter the output, the better it "
                "looks",
            ),
        ),
    ),
    Audit(
        name="mini U-LiRA",
        cards=(
            Card(
                name="mini U-LiRA",
                formula="AUC of log N(φ; in) - log N(φ; out), φ = log p_y/(1 - p_y), Gaussians per "
                "sample from shadow models",
                direction="to ½",
                retrained="½, within the noise",
                fools="few shadow models blur it; constant margins game it; it knows the method and its "
                "settings",
            ),
        ),
    ),
    Audit(
        name="ZRF",
        of_one=lambda m, part, evidence: div.zrf(m.p(part), list(evidence.teachers)),
        applies=lambda m, evidence: len(evidence.teachers) > 0,
        cards=(
            Card(
                name="ZRF",
                part="forget",
                formula="1 - mean JS between the model and untrained twins on the forget set, in [1 - "
                "ln 2, 1]",
                retrained="between ½ and 1, not 1",
                fools="flat outputs win: a useless model has the best ZRF",
            ),
        ),
    ),
    Audit(
        name="CKA",
        of_one=_features,
        closer="more",
        applies=_alike,
        cards=(
            Card(
                name="CKA",
                formula="‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centered features before the last layer, to a "
                "retrained model",
                retrained="that of two retrained models",
                fools="features may agree while the last layer gives everything away",
            ),
        ),
    ),
    Audit(
        name="linear probe",
        of_one=_last_layer,
        how="%",
        applies=lambda m, _: "forget test" in m.data,
        cards=(
            Card(
                name="linear probe",
                formula="balanced accuracy of a linear classifier 'forgotten class or not' on the last "
                "features",
                retrained="high: shared features tell apart even a class that was never seen",
                fools="high is normal; only the difference from the retrained model counts",
            ),
        ),
    ),
    Audit(
        name="relearn batches",
        of_one=_relearned,
        how=".0f",
        cards=(
            Card(
                name="relearn batches",
                formula="ordinary training batches until 95 % of the original's accuracy on the "
                "forgotten part is back",
                retrained="measured; if it does not get there within the cap, there is no index",
                fools="depends on rate, batch size, order, cap and threshold, so compare only within one "
                "setting of `metrics.relearn`; 1 where nothing was lost",
            ),
        ),
    ),
    Audit(
        name="anamnesis index",
        of_one=_anamnesis,
        applies=_defined,
        cards=(
            Card(
                name="anamnesis index",
                formula="relearn batches of the unlearned model / those of the retrained one",
                direction="to 1; above 1 is no better",
                retrained="1",
                fools="undefined if the retrained model hits the cap; whatever fools relearn batches",
            ),
        ),
    ),
    Audit(
        name="backdoor success",
        of_one=_backdoor_success,
        how="%",
        parts=on("test"),
        applies=lambda m, evidence: evidence.backdoor is not None,
        cards=(
            Card(
                name="backdoor success",
                formula="share of test images of other classes called the target when they carry the trigger",
                direction="down",
                retrained="nearly 0",
                fools="a model that calls everything the target scores 1; a chain or a vote may lose it by "
                "itself",
            ),
        ),
    ),
    Audit(
        name="batch-norm recalibration",
        how="%",
        cards=(
            Card(
                name="batch-norm recalibration",
                formula="forget accuracy after batch norm's statistics are measured again on retained data; "
                "weights unchanged",
                retrained="what it scored before",
                fools="says nothing about nets without batch norm; statistics can also be ruined so that "
                "they come back",
            ),
        ),
    ),
)

CARDS: dict[str, Card] = {card.name: card for audit in AUDITS for card in audit.cards}
