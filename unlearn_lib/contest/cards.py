"""What the contest shows: the cards of its audits and costs, and which audits come first.

No score of a contest is shown without its card. `how` is the format of its numbers in a `Table.grid`.
"""

from __future__ import annotations

from collections.abc import Iterable

from unlearn_lib import check
from unlearn_lib.metrics.audits import CARDS, Card
from unlearn_lib.metrics.table import Grid

__all__ = ["CARDS", "CONTEST", "COSTS", "Card", "explained"]

COSTS: dict[str, Card] = {
    card.name: card
    for card in (
        Card(
            name="speed-up",
            formula="seconds of retraining / (seconds before + seconds at request)",
            direction="up",
            retrained="1",
            fools="seconds of tiny models measure overhead; one preparation can serve many requests",
            how="x",
        ),
        Card(
            name="speed-up, request only",
            formula="seconds of retraining / seconds at request",
            direction="up",
            retrained="1",
            fools="leaves out the preparation: half a bill",
            how="x",
        ),
        Card(
            name="seconds before",
            formula="preparing, less training the original",
            direction="down",
            retrained="0",
            fools="a busy machine: the noise of two clocks adds up",
            how="s",
        ),
        Card(
            name="seconds at request",
            formula="wall time",
            direction="down",
            retrained="1× retraining",
            fools="a busy machine",
            how="s",
        ),
        Card(
            name="bytes stored",
            formula="kept in advance: models, updates, moments",
            direction="down",
            retrained="0",
            fools="leaves out the data themselves",
            how="bytes",
        ),
        Card(
            name="prediction time",
            formula="seconds to answer the test images / those of the retrained model, in turns; median",
            direction="down",
            retrained="1",
            fools="small nets answer in no time, so it compares overhead",
            how="x",
        ),
        Card(
            name="forget samples read",
            formula="at request time",
            direction="none",
            retrained="0",
            fools="repeats count",
            how=".0f",
        ),
        Card(
            name="retain samples read",
            formula="at request time",
            direction="down",
            retrained="all, every epoch",
            fools="repeats count",
            how=".0f",
        ),
        Card(
            name="validation samples read",
            formula="for stop rules",
            direction="down",
            retrained="0",
            fools="others could train on these data",
            how=".0f",
        ),
    )
}

CONTEST = (
    "forget accuracy, train",
    "retain accuracy, test",
    "average gap",
    "loss MIA, AUC",
    "backdoor success",
)


def explained(names: Iterable[str]) -> Grid:
    """The cards of these audits or costs, as a table."""
    every = {**CARDS, **COSTS}
    check.fit("names", names, Iterable[str])
    cards = [every[check.choice("names", name, every)] for name in names]
    head = ["audit", *next(iter(every.values())).lines()]
    return Grid("How to read it", head, [[card.name, *card.lines().values()] for card in cards])
