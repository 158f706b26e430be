"""A card for every audit: formula, direction, what the retrained model scores, and how it can fool you.

No score of a contest is shown without its card. `how` is the format of its numbers in a `Table.grid`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from unlearn_lib import check
from unlearn_lib.contest.arena import Grid

__all__ = ["CARDS", "CONTEST", "COSTS", "Card", "grid"]


class Card(NamedTuple):
    """What to know before reading a number."""

    formula: str
    direction: str
    retrained: str
    fools: str
    how: str = ".2f"

    def lines(self) -> dict[str, str]:
        """For beside a chart."""
        return {
            "formula": self.formula,
            "direction": self.direction,
            "the retrained model scores": self.retrained,
            "how it can fool you": self.fools,
        }


TO_RETRAINED = "to the retrained model's value, from either side"

CARDS: dict[str, Card] = {
    "forget accuracy, train": Card(
        "share of the forget set answered by its label",
        TO_RETRAINED,
        "0 for a class and for wrong labels; about test accuracy for samples, since generalizing goes on",
        "one very negative output bias gives 0 while every feature stays; for samples 0 is over-forgetting",
        "%",
    ),
    "forget accuracy, test": Card(
        "the same on test images of the forgotten class",
        TO_RETRAINED,
        "0 by construction",
        "as for the forget set; and batch norm's statistics alone can bring it to 0",
        "%",
    ),
    "retain accuracy, train": Card(
        "share of the retain set answered rightly",
        TO_RETRAINED,
        "its own value, nearly 1",
        "an average hides one ruined class",
        "%",
    ),
    "retain accuracy, test": Card(
        "the same on test images (of the classes that stay)",
        TO_RETRAINED,
        "its own value",
        "an average hides one ruined class; a better original flatters a method that trains another way",
        "%",
    ),
    "own original, test": Card(
        "retain accuracy, test, of the model that was in service before the request",
        "up",
        "that of the plain original",
        "SISA and DeepObliviate train in their own way: what they lack here they lost before any request",
        "%",
    ),
    "average gap": Card(
        "mean of |x(unlearned) - x(retrained)| for 1 - forget accuracy, retain accuracy and test accuracy",
        "down",
        "the gap of two retrained models: the floor",
        "three accuracies only; a gap in one part is thinned by the others",
        "%",
    ),
    "loss MIA": Card(
        "AUC: chance that a forgotten sample has a lower loss than an unseen one, ties ½",
        TO_RETRAINED + ": .3 gives samples away as .7 does",
        "about ½ for samples; whatever it measures for a class",
        "a ruined model is at ½ as well; an average hides a few samples; no test if the original passes",
    ),
    "entropy MIA": Card(
        "share of the forget set that is called member by a fit on H(p), retain against test",
        TO_RETRAINED,
        "measured, not ½",
        "two literatures report it with opposite signs; the flatter the output, the better it looks",
        "%",
    ),
    "mini U-LiRA": Card(
        "AUC of log N(φ; in) - log N(φ; out), φ = log p_y/(1 - p_y), Gaussians per sample from shadow models",
        "to ½",
        "½, within the noise",
        "few shadow models blur it; constant margins game it; it knows the method and its settings",
    ),
    "JS to retrained": Card(
        "mean of ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2, on the forget set; nats, in [0, ln 2]",
        "down",
        "the divergence of two retrained models: the floor",
        "a formula in circulation swaps the arguments and divides by the number of classes; blind elsewhere",
        ".3f",
    ),
    "agreement": Card(
        "share of the forget set with the same predicted class as the retrained model",
        "up",
        "that of two retrained models, less than 1",
        "ignores how sure the models are",
        "%",
    ),
    "activation distance": Card(
        "mean ‖p(x) - q(x)‖₂ of softmax outputs on the forget set, in [0, √2]",
        "down",
        "that of two retrained models",
        "softmax outputs saturate; despite its name no activation is looked at",
    ),
    "ZRF": Card(
        "1 - mean JS between the model and untrained twins on the forget set, in [1 - ln 2, 1]",
        TO_RETRAINED,
        "between ½ and 1, not 1",
        "flat outputs win: a useless model has the best ZRF",
    ),
    "weight distance": Card(
        "√(Σ‖θ - θ'‖² / Σ‖θ'‖²) to the retrained models",
        "none",
        "large: minima differ by seed; a contestant shares its first weights with one of the retrained",
        "minima differ by seed, so neither near nor far proves anything",
    ),
    "CKA": Card(
        "‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) of centered features before the last layer, to a retrained model",
        "up",
        "that of two retrained models",
        "features may agree while the last layer tells all",
    ),
    "linear probe": Card(
        "balanced accuracy of a linear classifier 'forgotten class or not' on the last features",
        TO_RETRAINED,
        "high: shared features tell a class apart that was never seen",
        "high is normal; only the difference to the retrained model speaks",
        "%",
    ),
    "relearn batches": Card(
        "ordinary training batches until 95 % of the original's accuracy on the forgotten part is back",
        TO_RETRAINED,
        "measured; where it does not get there within the cap no index exists",
        "depends on rate, order, cap and threshold; 1 where nothing had been lost",
        ".0f",
    ),
    "anamnesis index": Card(
        "relearn batches of the unlearned model / those of the retrained one",
        "to 1; above 1 is no better",
        "1",
        "undefined where the retrained model hits the cap; all that fools relearn batches",
    ),
    "backdoor success": Card(
        "share of test images of other classes called the target when they carry the trigger",
        "down",
        "nearly 0",
        "a model that calls everything the target has it at 1; a chain or a vote may lose it by itself",
        "%",
    ),
    "batch-norm recalibration": Card(
        "forget accuracy after batch norm's statistics were taken anew from retained data; weights unchanged",
        TO_RETRAINED,
        "what it scored before",
        "says nothing of nets without batch norm; statistics can also be ruined so that they come back",
        "%",
    ),
}

COSTS: dict[str, Card] = {
    "speed-up": Card(
        "seconds of retraining / (seconds before + seconds at request)",
        "up",
        "1",
        "seconds of tiny models measure overhead; one preparation can serve many requests",
        "x",
    ),
    "speed-up, request only": Card(
        "seconds of retraining / seconds at request",
        "up",
        "1",
        "leaves the preparation out: half a bill",
        "x",
    ),
    "seconds before": Card(
        "preparing, less training the original",
        "down",
        "0",
        "a busy machine: noise of two clocks adds up",
        "s",
    ),
    "seconds at request": Card("wall time", "down", "1× retraining", "clocks on a busy machine", "s"),
    "bytes stored": Card(
        "kept in advance: models, updates, moments", "down", "0", "not the data kept", "bytes"
    ),
    "prediction time": Card(
        "seconds to answer the test images / those of the retrained model, in turns; median",
        "down",
        "1",
        "small nets answer in no time: then overhead is compared",
        "x",
    ),
    "forget samples read": Card("at request time", "none", "0", "repeats count", ".0f"),
    "retain samples read": Card("at request time", "down", "all, every epoch", "repeats count", ".0f"),
    "validation samples read": Card("for stop rules", "down", "0", "data that others may train on", ".0f"),
}

CONTEST = ("forget accuracy, train", "retain accuracy, test", "average gap", "loss MIA", "backdoor success")


def grid(names: Iterable[str]) -> Grid:
    """The cards of these audits or costs, as a table."""
    every = {**CARDS, **COSTS}
    check.fit("names", names, Iterable[str])
    names = [check.choice("names", name, every) for name in names]
    head = ["audit", "formula", "direction", "the retrained model scores", "how it can fool you"]
    return Grid("How to read it", head, [[name, *every[name][:4]] for name in names])
