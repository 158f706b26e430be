"""Laws of metrics/audits.py: one declaration an audit, for scorecard, contest and cards."""

from __future__ import annotations

import pytest
import torch

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.audits import AUDITS, CARDS, TO_RETRAINED, Evidence
from unlearn_lib.metrics.divergence import probabilities, untrained_twin, zrf
from unlearn_lib.metrics.parts import Outputs
from unlearn_lib.metrics.scorecard import evaluate

DATA = blobs(n=90)
TRAIN, TEST = (Examples.of(DATA.x[part], DATA.y[part]) for part in (slice(60), slice(60, None)))
SPLIT = Split.by_class(TRAIN, 1)
NETS = [tiny_net(seed=seed) for seed in range(4)]
A, B, C, D = (Outputs.of(net, SPLIT, TEST) for net in NETS)
EVIDENCE = Evidence(
    split=SPLIT,
    test=TEST,
    retrained=B,
    original=D,
    other=C,
    teachers=[probabilities(Outputs.of(untrained_twin(NETS[0]), SPLIT, TEST).logits["forget"])],
    relearned=lambda model: 6.0 if model is A.model else 3.0,
)
BY_NAME = {audit.name: audit for audit in AUDITS}


def test_every_audit_has_a_name_of_its_own_and_a_card_without_gaps() -> None:
    assert len(BY_NAME) == len(AUDITS)
    assert len(CARDS) == sum(len(audit.cards) for audit in AUDITS)
    for audit in AUDITS:
        assert audit.cards
        for card in audit.cards:
            assert card.how == audit.how
            assert all(card.lines().values())


def test_the_direction_on_a_card_is_that_of_its_audit_unless_it_says_otherwise() -> None:
    assert CARDS["entropy MIA"].direction == TO_RETRAINED
    assert CARDS["JS to retrained"].direction == "down"
    assert CARDS["agreement"].direction == "up"
    assert CARDS["weight distance"].direction == "none"


def test_a_scorecard_shows_the_audits_of_the_table_in_their_order() -> None:
    card = evaluate(A, original=D, retrained=B, retrained_seeds=[C], split=SPLIT, test=TEST)
    shown = list(dict.fromkeys(row.metric for row in card))
    assert shown == [name for name, audit in BY_NAME.items() if audit.parts(A) and name != "backdoor success"]


def test_a_value_is_of_one_model_and_a_distance_the_mean_of_those_to_the_others() -> None:
    assert BY_NAME["accuracy"].value(A, [B, C], "forget", EVIDENCE) == A.accuracy("forget")
    agreement = BY_NAME["agreement"]
    each = [agreement.value(A, [other], "forget", EVIDENCE) for other in (B, C)]
    assert agreement.value(A, [B, C], "forget", EVIDENCE) == pytest.approx(sum(each) / 2)
    with pytest.raises(ValueError, match="mini U-LiRA cannot be taken from one model's outputs"):
        BY_NAME["mini U-LiRA"].value(A, [B], "all", EVIDENCE)


def test_what_a_contest_adds_is_measured_on_its_evidence() -> None:
    def value(name: str, part: str = "all") -> float:
        return BY_NAME[name].value(A, [B], part, EVIDENCE)

    assert value("own original", "retain test") == D.accuracy("retain test")
    assert value("ZRF", "forget") == zrf(A.p("forget"), EVIDENCE.teachers)
    assert value("relearn batches") == 6
    assert value("anamnesis index") == 2
    assert 0 <= value("linear probe") <= 1
    assert 0 <= value("CKA") <= 1
    assert 0 <= value("entropy MIA") <= 1


def test_an_audit_that_lacks_its_evidence_does_not_apply() -> None:
    bare = Evidence(split=SPLIT, test=TEST, retrained=B, relearned=lambda model: float("inf"))
    for name in ("ZRF", "anamnesis index", "backdoor success"):
        assert not BY_NAME[name].applies(A, bare), name
    other = Outputs.of(torch.nn.Sequential(NETS[0]), SPLIT, TEST)
    for name in ("weight distance", "CKA"):
        assert BY_NAME[name].applies(A, bare)
        assert not BY_NAME[name].applies(other, bare), name
