"""What the lessons say of a run: numbers of one kind bring one sentence, those of another kind another."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from unlearn_lib.classroom import words
from unlearn_lib.data import Examples
from unlearn_lib.lessons.deepobliviate import findings as deepobliviate
from unlearn_lib.lessons.partial import findings as partial
from unlearn_lib.lessons.partial.figures import Point
from unlearn_lib.lessons.pgu import findings as pgu
from unlearn_lib.lessons.side_by_side import findings as side_by_side
from unlearn_lib.lessons.start import findings as start
from unlearn_lib.lessons.unsir import findings as unsir
from unlearn_lib.lessons.unsir.figures import Scores
from unlearn_lib.methods.unsir.noise import Noise
from unlearn_lib.metrics.membership import loss_mia
from unlearn_lib.metrics.relearn import RelearnTime

KNOWN, GONE, HARMED = Point(1.0, 0.98), Point(0.02, 0.95), Point(0.02, 0.4)
STUBBORN = Point(0.58, 0.94)


def ways(**changes: tuple[float, Point]) -> list[dict[str, tuple[float, Point]]]:
    """One seed at equal forgetting."""
    found = {
        "original": (0.0, KNOWN),
        "partial, the largest": (0.3, Point(0.03, 0.96)),
        "random entries": (0.7, Point(0.01, 0.96)),
        "one budget": (0.3, Point(0.02, 0.958)),
        "every entry, times s": (0.7, Point(0.01, 0.961)),
        "amnesiac": (1.0, Point(0.0, 0.94)),
    }
    renamed = {"largest": "partial, the largest", "random": "random entries", "times": "every entry, times s"}
    return [found | {renamed.get(name, name): value for name, value in changes.items()}]


def times(batches: int, censored: bool = False) -> RelearnTime:
    return RelearnTime(batches, censored)


def noise(norm: tuple[float, ...], ce: tuple[float, ...]) -> Noise:
    return Noise(Examples.of(torch.zeros(1, 1, 2, 2), torch.zeros(1)), ce, norm, {})


def attack(original: float, unlearned: float, retrained: float) -> dict:
    """Loss attacks on models whose losses on the forget set are about so large; unseen ones are at 1."""
    unseen = torch.linspace(0.5, 1.5, 40)
    sizes = {"original": original, "partial": unlearned, "retrained": retrained}
    return {name: loss_mia(size * unseen, unseen) for name, size in sizes.items()}


CONTROLS = {
    "PGU": {"forget": 0.04, "retain": 0.99},
    "no projection, small steps": {"forget": 0.02, "retain": 0.99},
    "random directions": {"forget": 0.0, "retain": 0.7},
    "ascent, projected": {"forget": 1.0, "retain": 1.0},
    "ascent, no projection": {},
}
WORSE = {**CONTROLS, "no projection, small steps": {"forget": 0.02, "retain": 0.8}}
REACHED = {
    f"{role}.{part}": 1.0 for role in ("original", "retrained", "unlearned") for part in ("forget", "retain")
}
AUCS = {
    "original": 0.83,
    "retrained": 0.62,
    "unlearned, losses match": 0.49,
    "unlearned, published rule": 0.6,
}
AUCS |= {"no projection": 0.44, "no projection, small steps": 0.53}
KEPT = dict.fromkeys(AUCS, 1.0) | {"no projection": 0.2, "no projection, small steps": 0.3}
GRID = {"learned, λ = 1": {0.002: Scores(0.0, 0.99), 0.02: Scores(0.0, 0.98)}}
REPLAYS = {"only A": {"class 0": 0.8, "class 2": 0.9}, "only B": {"class 0": 0.0, "class 2": 0.0}}
REPLAYS |= {"repaired": {"class 0": 0.0, "class 2": 0.03}}
HIGH = {"as published,<br>high rates": {"class 0": 0.0}, "no noise,<br>high rates": {"class 0": 0.0}}


def spread(error: float, **changes: float) -> dict[str, tuple[float, float]]:
    return {name: (value, error) for name, value in (AUCS | changes).items()}


Case = tuple[Callable[[], str], str]
CASES: dict[str, Case] = {
    # lesson 00
    "both as expected": (lambda: start.requests({"ordinary": 1.0, "mislabeled": 0.0}), "known by heart"),
    "ordinary unknown": (lambda: start.requests({"ordinary": 0.2, "mislabeled": 0.0}), "trained too little"),
    "mislabeled right": (lambda: start.requests({"ordinary": 1.0, "mislabeled": 0.9}), "taught the wrong"),
    "ascent harms": (lambda: start.over_forgetting(0.0, 0.5, 0.9), "40.0 points below"),
    "ascent is mild": (lambda: start.over_forgetting(0.0, 0.9, 0.9), "harms the test points little"),
    "ascent fails": (lambda: start.over_forgetting(0.4, 0.9, 0.9), "does not get there"),
    "remembers": (
        lambda: start.members({"original": 0.7, "retrained": 0.5, "unlearned": 0.68}, 0.03),
        "still rem",
    ),
    "has forgotten": (
        lambda: start.members({"original": 0.7, "retrained": 0.5, "unlearned": 0.5}, 0.03),
        "has for",
    ),
    "over-forgotten": (
        lambda: start.members({"original": 0.7, "retrained": 0.5, "unlearned": 0.3}, 0.03),
        "over-",
    ),
    "blind": (
        lambda: start.members({"original": 0.52, "retrained": 0.5, "unlearned": 0.5}, 0.03),
        "cannot judge",
    ),
    "canary lives": (
        lambda: start.canary(
            {"original": 1.0, "unlearned": 0.9, "retrained": 0.0}, {"unlearned": 0.9, "retrained": 0.9}
        ),
        "still works on 90.0%",
    ),
    "canary fades": (
        lambda: start.canary(
            {"original": 1.0, "unlearned": 0.0, "retrained": 0.0}, {"unlearned": 0.5, "retrained": 0.9}
        ),
        "fades all the same",
    ),
    "no canary": (
        lambda: start.canary({"original": 0.1, "unlearned": 0.0, "retrained": 0.0}, {}),
        "no canary",
    ),
    "far": (lambda: start.scorecard(0.25, 0.01), "25.0 points away"),
    "near": (lambda: start.scorecard(0.01, 0.01), "about as near"),
    "fine, and left": (
        lambda: start.summary({"a": 0.0, "b": 0.1}, {"original": 1.0, "unlearned": 0.9, "retrained": 0.0}),
        "looked fine on the moons, and left the canary alive",
    ),
    "not fine, and silenced": (
        lambda: start.summary({"a": 0.9, "b": 0.9}, {"original": 1.0, "unlearned": 0.0, "retrained": 0.0}),
        "did not even look fine on the moons, and silenced",
    ),
    # lesson 01
    "Δ fades": (lambda: deepobliviate.fading([9, 1], [9, 8], 5), "agree up to a small floor"),
    "Δ stays": (lambda: deepobliviate.fading([9, 8], [9, 8], None), "stay different.*never stops"),
    "flat, not small": (lambda: deepobliviate.fading([9, 8], [9, 8], 5), "flat does not mean small"),
    "G fades too": (lambda: deepobliviate.fading([9, 1], [9, 1], 5), "even come close"),
    "no feeling": (lambda: deepobliviate.epsilon([0.9, 0.905]), "hardly feels"),
    "feeling": (lambda: deepobliviate.epsilon([0.9, 0.95]), "does feel the stop.*5.0 points"),
    "shuffle shows": (lambda: deepobliviate.order(1.0, 9.0), "9.0 times as large"),
    "shuffle adds little": (lambda: deepobliviate.order(8.0, 9.0), "adds little"),
    "farther": (lambda: deepobliviate.distance(0.4, 0.0, 0.3), "the original is even closer"),
    "closer": (lambda: deepobliviate.distance(0.2, 0.0, 0.3), "closer than the original"),
    "there": (lambda: deepobliviate.distance(0.0, 0.0, 0.3), "In this run it is"),
    "forgot by itself": (
        lambda: deepobliviate.backdoor({"original": 0.1, "retrained": 0.0}, {0: 0.0}),
        "proves nothing",
    ),
    "gone at once": (
        lambda: deepobliviate.backdoor({"original": 1.0, "retrained": 0.0}, {0: 0.0}),
        "as soon as",
    ),
    "gone later": (
        lambda: deepobliviate.backdoor({"original": 1.0, "retrained": 0.0}, {0: 0.5, 1: 0.0}),
        r"\$t = 1\$ on",
    ),
    "back again": (
        lambda: deepobliviate.backdoor({"original": 1.0, "retrained": 0.0}, {0: 0.5, 1: 0.0, 2: 0.5}),
        "not for good",
    ),
    "stays": (lambda: deepobliviate.backdoor({"original": 1.0, "retrained": 0.0}, {0: 0.5}), "50.0% is left"),
    # lesson 02
    "two phases": (lambda: unsir.noises({"λ = 1": noise((8, 2, 9), (1, 2, 9))}), "is true of λ = 1"),
    "one phase": (lambda: unsir.noises({"λ = 1": noise((8, 5, 2), (1, 2, 9))}), "not what.*at the same time"),
    "no attack": (lambda: unsir.noises({"λ = 1": noise((8, 5, 2), (9, 9, 9))}), "hardly an attack"),
    "growth": (lambda: unsir.noises({"λ = 1": noise((8, 8, 20), (1, 2, 9))}), "too light"),
    "no movement": (lambda: unsir.noises({"λ = 1": noise((8, 8, 8), (1, 2, 9))}), "hardly moves"),
    "up first": (
        lambda: unsir.stages(Scores(0.9, 0.9), Scores(0, 0.6), Scores(0, 0.9), 1.0),
        "not straight",
    ),
    "costs, and back": (
        lambda: unsir.stages(Scores(1, 0.9), Scores(0, 0.6), Scores(0, 0.9), 1.0),
        "brings 30.0 points",
    ),
    "costs nothing": (
        lambda: unsir.stages(Scores(1, 0.9), Scores(0, 0.9), Scores(0, 0.9), 1.0),
        "hardly any.*little",
    ),
    "the rate forgets": (
        lambda: unsir.grid(GRID | {"no noise": {0.002: Scores(0, 1)}}),
        "at 0.002: there the rate",
    ),
    "the noise forgets": (
        lambda: unsir.grid(GRID | {"no noise": dict.fromkeys((0.002, 0.02), Scores(1, 1))}),
        "its window",
    ),
    "no window": (
        lambda: unsir.grid(GRID | {"no noise": dict.fromkeys((0.002, 0.02), Scores(0, 1))}),
        "no window of its own",
    ),
    "neither gone": (
        lambda: unsir.published({"class 0": 0.8, "class 2": 0.9, "others": 1.0}),
        "neither class",
    ),
    "one gone": (
        lambda: unsir.published({"class 0": 0.0, "class 2": 0.9, "others": 1.0}),
        "class 2 is not gone",
    ),
    "both gone": (
        lambda: unsir.published({"class 0": 0.0, "class 2": 0.0, "others": 1.0}),
        "both classes are gone",
    ),
    "A harms": (lambda: unsir.defects(REPLAYS | HIGH), "only A keeps a class alive; only B does not.*blame"),
    "none harms": (lambda: unsir.defects(REPLAYS | HIGH | {"only A": {"class 0": 0.0}}), "No defect alone"),
    "high rates hide": (lambda: unsir.defects(REPLAYS | HIGH), "But so does no noise"),
    "high rates do not": (
        lambda: unsir.defects(REPLAYS | HIGH | {"as published,<br>high rates": {"class 2": 0.9}}),
        "class 2 is not gone",
    ),
    "comes back": (
        lambda: unsir.rebound({"a": (0.0, 0.0), "b": (0.0, 0.7)}),
        "b from 0.0% to 70.0%.*With a it does not",
    ),
    "stays away": (lambda: unsir.rebound({"a": (0.0, 0.0)}), "does not come back"),
    "in the statistics": (lambda: unsir.recalibration(0.0, 0.7), "0.0% to 70.0%"),
    "in the weights": (lambda: unsir.recalibration(0.0, 0.0), "in the weights"),
    "noise matters": (
        lambda: unsir.summary(Scores(0, 1), Scores(0.8, 1), Scores(0.3, 1), (0, 0), (0, 0.7), (0, 0.7)),
        "learned noise matters.*bring the class back",
    ),
    "rates alone": (
        lambda: unsir.summary(Scores(0, 1), Scores(0, 1), Scores(0, 1), (0, 0), (0, 0), (0, 0)),
        "rates alone.*neither fresh",
    ),
    "Gaussian does": (
        lambda: unsir.summary(Scores(0, 1), Scores(0.8, 1), Scores(0, 1), (0, 0.7), (0, 0), (0, 0)),
        "does as well as learned.*Without it further repair",
    ),
    "not enough": (
        lambda: unsir.summary(Scores(0.4, 1), Scores(0.8, 1), Scores(0, 1), (0, 0), (0, 0), (0, 0)),
        "not always enough",
    ),
    "sooner": (lambda: words.relearned(times(3), times(9)), "sooner"),
    "later": (lambda: words.relearned(times(80, True), times(9)), "later"),
    "as late": (lambda: words.relearned(times(9), times(9)), "about as late"),
    "undefined": (lambda: words.relearned(times(9), times(80, True)), "within 80 batches"),
    # lesson 03
    "learned": (lambda: partial.learned(0.93), "has learned"),
    "not learned": (lambda: partial.learned(0.2), "hardly knows this class.*20.0%"),
    "class gone": (lambda: partial.subtracted(KNOWN, GONE, 0.05), "is gone.*paid with 3.0 points"),
    "class not gone": (lambda: partial.subtracted(KNOWN, STUBBORN, 0.05), "does not forget.*58.0%"),
    "others spared": (lambda: partial.subtracted(KNOWN, Point(0, 0.98), 0.05), "hardly paid"),
    "a share": (lambda: partial.chosen(0.25), r"p = 0\.25"),
    "no share": (lambda: partial.chosen(None), "No share forgets"),
    "sparse, but not the sum": (
        lambda: partial.moved(0.25, 150, 0.7, 2410, 2410),
        "all 2,410.*not their sum",
    ),
    "hardly sparse": (lambda: partial.moved(0.7, 150, 0.98, 2410, 2410), "all 2,410.*not their sum"),
    "sparse, and so is the sum": (lambda: partial.moved(0.25, 2, 0.7, 700, 2410), "agree on which"),
    "everything moves": (lambda: partial.moved(1.0, 150, 1.0, 2410, 2410), "nothing is left out"),
    "partial wins": (
        lambda: partial.at_equal_forgetting(ways(), 0.05),
        "Partial undoing beats.*what helps.*storage",
    ),
    "partial ties": (
        lambda: partial.at_equal_forgetting(ways(amnesiac=(1.0, Point(0, 0.96))), 0.05),
        "about as much as .amnesiac.*The controls do no worse",
    ),
    "partial loses": (
        lambda: partial.at_equal_forgetting(ways(amnesiac=(1.0, Point(0, 0.98))), 0.05),
        "Partial undoing loses",
    ),
    "entries matter": (
        lambda: partial.at_equal_forgetting(
            ways(random=(0.7, Point(0, 0.9)), times=(0.7, Point(0, 0.9))), 0.05
        ),
        "does matter",
    ),
    "one control does": (
        lambda: partial.at_equal_forgetting(ways(random=(0.7, Point(0, 0.9))), 0.05),
        r"a control, \*every entry",
    ),
    "no storage": (
        lambda: partial.at_equal_forgetting(ways(times=(0.2, Point(0, 0.96))), 0.05),
        "save no storage",
    ),
    "budgets differ": (
        lambda: partial.at_equal_forgetting([ways()[0] | {"one budget": (0.8, Point(0, 0.9))}], 0.05),
        "One budget for all",
    ),
    "nothing forgets": (
        lambda: partial.at_equal_forgetting([dict.fromkeys(ways()[0], (1.0, STUBBORN))], 0.05),
        "not even undoing everything.*is amnesiac",
    ),
    "class first": (
        lambda: partial.first_to_fall({"a": ([1, 5], [Point(0.9, 0.97), GONE])}, {"a": KNOWN}, 0.05),
        "class falls first",
    ),
    "rest first": (
        lambda: partial.first_to_fall({"a": ([1, 5], [Point(0.9, 0.7), GONE])}, {"a": KNOWN}, 0.05),
        "rest falls first",
    ),
    "both at once": (
        lambda: partial.first_to_fall({"a": ([1], [HARMED])}, {"a": KNOWN}, 0.05),
        "both fall at once",
    ),
    "neither falls": (
        lambda: partial.first_to_fall({"a": ([1], [STUBBORN])}, {"a": KNOWN}, 0.05),
        "neither falls",
    ),
    "SGD ruins": (
        lambda: partial.optimizer("SGD", KNOWN, {"largest": [HARMED], "random": [GONE]}, 0.05),
        "ruins the network.*not always best",
    ),
    "Adam does not": (
        lambda: partial.optimizer("Adam", KNOWN, {"largest": [GONE], "random": [GONE]}, 0.05),
        "unlearning takes accuracy.*about as good",
    ),
    "magnitude is better": (
        lambda: partial.optimizer("Adam", KNOWN, {"largest": [GONE], "random": [HARMED]}, 0.05),
        "better rule",
    ),
    "one rule forgets": (
        lambda: partial.optimizer("Adam", KNOWN, {"largest": [STUBBORN], "random": [GONE]}, 0.05),
        "Only random",
    ),
    "no rule forgets": (
        lambda: partial.optimizer("Adam", KNOWN, {"largest": [STUBBORN], "random": [STUBBORN]}, 0.05),
        "Neither rule",
    ),
    "stop in time": (lambda: partial.past_the_mark([[GONE, HARMED]], [1]), "1 of the 1 run.*55.0 points"),
    "a late stop is cheap": (lambda: partial.past_the_mark([[GONE, GONE]], [1]), "costs little"),
    "no stop": (lambda: partial.past_the_mark([[KNOWN]], [None]), "None of these"),
    "gentler": (
        lambda: partial.steps(
            "ascent", {"full step": [HARMED], "partial, largest 5%": [GONE], "full step, rate × √p": [GONE]}
        ),
        "Ascent: with .largest 5%.*gentler.*as good as the best mask",
    ),
    "rougher": (
        lambda: partial.steps(
            "ascent", {"full step": [GONE], "partial, largest 5%": [HARMED], "full step, rate × √p": [HARMED]}
        ),
        "no share is as gentle.*less than full steps do.*as good as the best mask",
    ),
    "the mask is better": (
        lambda: partial.steps(
            "ascent", {"full step": [HARMED], "partial, largest 5%": [GONE], "full step, rate × √p": [HARMED]}
        ),
        "no help here",
    ),
    "no full step": (
        lambda: partial.steps("ascent", {"full step": [None], "partial, largest 5%": [GONE]}),
        "never forgot",
    ),
    "some way never": (
        lambda: partial.steps(
            "ascent", {"full step": [GONE], "partial, largest 5%": [GONE], "partial, random 5%": [None]}
        ),
        "partial, random 5%. never forgot",
    ),
    "less sure": (lambda: partial.losses(attack(0.1, 5, 15)), "attack works.*less sure of its errors"),
    "surer": (lambda: partial.losses(attack(0.1, 50, 15)), "pushed too far"),
    "alike": (lambda: partial.losses(attack(0.1, 15, 15)), "are alike"),
    "attack is blind": (lambda: partial.losses(attack(15, 15, 15)), "already fails on the .original"),
    "the claim holds": (
        lambda: partial.summary(GONE, HARMED, 0.05, 0.3, HARMED, KNOWN),
        "holds here.*ruins the",
    ),
    "it cannot be tested": (
        lambda: partial.summary(STUBBORN, STUBBORN, 0.05, 1.0, GONE, KNOWN),
        "cannot test.*less harm",
    ),
    "only everything": (lambda: partial.summary(GONE, GONE, 0.05, 1.0, GONE, KNOWN), "nothing to offer"),
    "it fails": (lambda: partial.summary(HARMED, GONE, 0.05, 0.3, GONE, KNOWN), "keeps less of the rest"),
    # lesson 04
    "PGU forgets": (
        lambda: pgu.outcome(REACHED | {"unlearned.forget": 0.04}),
        "PGU forgets.*hardly anything",
    ),
    "PGU pays": (
        lambda: pgu.outcome(REACHED | {"unlearned.forget": 0.04, "unlearned.retain": 0.9}),
        "10.0 points",
    ),
    "PGU does not": (lambda: pgu.outcome(REACHED), "does not get there.*100.0%"),
    "weak reference": (lambda: pgu.outcome(REACHED | {"retrained.retain": 0.9}), "under-trained"),
    "unknown class": (lambda: pgu.outcome(REACHED | {"original.forget": 0.2}), "hardly knows"),
    "recovers": (
        lambda: pgu.recovery([1.0, 0.7, 0.98]),
        "lowest after epoch 1, at 70.0%, and comes back to 98.0%",
    ),
    "does not recover": (lambda: pgu.recovery([1.0, 0.7, 0.7]), "falls to 70.0% and ends at 70.0%"),
    "harmless": (lambda: pgu.recovery([1.0, 1.0, 1.0]), "where it was"),
    "controls do as well": (
        lambda: pgu.controls(CONTROLS),
        "no projection, small steps. forgets it about.*Projected",
    ),
    "controls do worse": (lambda: pgu.controls(WORSE), "the projection pays"),
    "controls fail": (
        lambda: pgu.controls(
            {n: {"forget": 1.0, "retain": 1.0} for n in CONTROLS} | {"PGU": CONTROLS["PGU"]}
        ),
        "none of the controls",
    ),
    "PGU fails": (
        lambda: pgu.controls(CONTROLS | {"PGU": {"forget": 0.9, "retain": 1.0}}),
        "cannot be compared",
    ),
    "all break it": (
        lambda: pgu.drifts({"nothing": {"protected": 1e-14}, "statistics": {"protected": 4.0}}),
        r"loose, statistics move them at least \$10\^\{15\}\$ times",
    ),
    "one is not there": (
        lambda: pgu.drifts(
            {
                "nothing": {"protected": 1e-14},
                "statistics": {"protected": 1e-14},
                "biases": {"protected": 1.0},
            }
        ),
        "to let loose: statistics",
    ),
    "too far": (lambda: pgu.entropies({"original": -3.0, "retrained": -0.1, "unlearned": 0.5}), "too far"),
    "too little": (
        lambda: pgu.entropies({"original": -3.0, "retrained": -0.1, "unlearned": -2.0}),
        "too little",
    ),
    "as unsure": (
        lambda: pgu.entropies({"original": -3.0, "retrained": -0.1, "unlearned": -0.1}),
        "about as unsure",
    ),
    "projection earns": (
        lambda: pgu.single(spread(0.05), KEPT),
        "attack works.*published rule comes nearer.*earns its keep",
    ),
    "nothing memorized": (
        lambda: pgu.single(spread(0.05, original=0.6), KEPT),
        "finds nothing in the original",
    ),
    "no difference": (lambda: pgu.single(spread(0.1), KEPT), "no difference"),
    "small steps do": (
        lambda: pgu.single(spread(0.05), KEPT | {"no projection, small steps": 1.0}),
        "does not show what the projection",
    ),
    "PGU loses": (
        lambda: pgu.single(spread(0.05), KEPT | {"no projection": 0.8, "unlearned, losses match": 0.8}),
        "Mind the price",
    ),
    "nothing moved": (
        lambda: pgu.single(spread(0.05) | {"unlearned, losses match": (0.83, 0.05)}, KEPT),
        "finds as much after PGU",
    ),
    "nothing bought": (
        lambda: pgu.summary(
            CONTROLS | {"PGU": {"forget": 1.0, "retain": 1.0}},
            spread(0.05) | {"unlearned, losses match": (0.83, 0.05)},
            KEPT,
        ),
        "PGU does not forget the class; single samples show nothing",
    ),
    "bought samples": (lambda: pgu.summary(CONTROLS, spread(0.05), KEPT), "single samples need it"),
    "bought nothing": (
        lambda: pgu.summary(CONTROLS, spread(0.05), dict.fromkeys(KEPT, 1.0)),
        "forget a class about as cleanly.*keep as much",
    ),
    "bought both": (
        lambda: pgu.summary(WORSE, spread(0.05), KEPT),
        "not forget a class as cleanly; single samples need it",
    ),
    "bought the class": (
        lambda: pgu.summary(WORSE, spread(0.05), dict.fromkeys(KEPT, 1.0)),
        "not forget a class as cleanly; for single.*as much",
    ),
    # lesson 09
    "SGD's is gone": (
        lambda: side_by_side.undone(((1.0, 0.7), (0.0, 0.6)), ((1.0, 0.7), (1.0, 0.7)), "adam"),
        "adam's is not.*10.0 points of test accuracy with SGD.*stayed .adam",
    ),
    "both gone, 09": (
        lambda: side_by_side.undone(((1.0, 0.7), (0.0, 0.7)), ((1.0, 0.7), (0.0, 0.7)), "adam"),
        "Both backdoors are gone",
    ),
    "adam's is gone": (
        lambda: side_by_side.undone(((1.0, 0.7), (1.0, 0.7)), ((1.0, 0.7), (0.0, 0.7)), "adam"),
        "SGD's is not",
    ),
    "neither gone, 09": (
        lambda: side_by_side.undone(((1.0, 0.7), (1.0, 0.7)), ((1.0, 0.7), (1.0, 0.7)), "adam"),
        "Neither backdoor",
    ),
    "partitions cost": (
        lambda: side_by_side.duel({"retrain": 0.8, "SISA": 0.7, "DeepObliviate": 0.7}),
        "SISA's.*10.0 points.*Deep.*10.0",
    ),
    "partitions are free": (
        lambda: side_by_side.duel({"retrain": 0.8, "SISA": 0.8, "DeepObliviate": 0.8}),
        "about as good as",
    ),
    "one caught": (lambda: side_by_side.passed({"a": True, "b": False}), "a passes.*is caught"),
    "none caught": (lambda: side_by_side.passed({"a": False}), "passes this one too"),
    "none passes": (lambda: side_by_side.passed({}), "no method passes"),
    "all shine": (
        lambda: side_by_side.impostors(
            {"do nothing": 0.8, "retrain": 0.8},
            {"masked logit": 0.0},
            {"uniform output": 0.99, "retrain": 0.6},
        ),
        "Do nothing.*masked logit has no.*highest ZRF",
    ),
    "none shines": (
        lambda: side_by_side.impostors(
            {"do nothing": 0.5, "retrain": 0.8},
            {"masked logit": 0.1},
            {"uniform output": 0.5, "retrain": 0.6},
        ),
        "^No audit stands alone",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_choose_the_sentence(name: str) -> None:
    says, words = CASES[name]
    assert re.search(words, said := says(), re.S), said
    assert "nan" not in said
    assert "  " not in said
    assert said.endswith((".", "?", "!", ".)", "?)", "*")), said


MODULES = (start, deepobliviate, unsir, partial, pgu, side_by_side)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.split(".")[-2])
def test_every_finding_was_fed_numbers_of_several_kinds(module: ModuleType) -> None:
    short = module.__name__.split(".")[-2]
    for name in module.__all__:
        fed = [case for case, (says, _) in CASES.items() if f"{short}.{name}(" in inspect.getsource(says)]
        assert len(fed) >= 2, f"{short}.{name}"
        assert len({CASES[case][0]() for case in fed}) >= 2, (
            f"{short}.{name} says one thing whatever the numbers"
        )


def test_words_for_numbers() -> None:
    assert (words.percent(0.577), words.points(-0.031)) == ("57.7%", "3.1 points")
    assert [words.many(n, "run") for n in (0, 1, 2)] == ["no run", "1 run", "2 runs"]
    assert [words.listed(found) for found in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "none",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert words.listed(["a, b", "c"], "*") == "*a, b* and *c*"
