"""When an unlearning run has gone far enough: the stop rules, by scores worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.oracles import pair_counting_auc
from tests.toys import blobs, tiny_net
from unlearn_lib.methods.pgu import GoalRule, Watched, forgotten, matched, overtaken, retain_dropped
from unlearn_lib.outputs import accuracy, losses


def rule(**settings: bool) -> GoalRule:
    return GoalRule(lambda model, forget: Watched(0.0, 0.0), "it is done", **settings)


def scores(*values: float, goal: float = 0.5) -> list[Watched]:
    return [Watched(value, goal) for value in values]


def test_a_run_stops_at_the_first_epoch_that_has_come_down_to_its_goal() -> None:
    assert rule().decide(scores(0.9)) is None
    assert rule().decide(scores(0.9, 0.6)) is None
    assert rule().decide(scores(0.9, 0.5)) == 1
    assert rule().decide(scores(0.4)) == 0
    assert rule().decide([Watched(0.4, 0.1), Watched(0.3, 0.35)]) == 1, "the goal may move"


def test_a_strict_rule_wants_the_goal_passed() -> None:
    assert rule(strict=True).decide(scores(0.9, 0.5)) is None
    assert rule(strict=True).decide(scores(0.9, 0.5, 0.49)) == 2


def test_the_closest_of_the_last_two_epochs_is_returned_when_asked_for() -> None:
    assert rule(closest=True).decide(scores(0.9, 0.55, 0.2)) == 1
    assert rule(closest=True).decide(scores(0.9, 0.8, 0.4)) == 2
    assert rule(closest=True).decide(scores(0.75, 0.25)) == 1, "of equals the later"
    assert rule(closest=True).decide(scores(0.3)) == 0
    assert rule().decide(scores(0.9, 0.55, 0.2)) == 2


def test_a_rule_says_why_a_run_ended() -> None:
    assert rule().why(scores(0.9, 0.4)) == "it is done"
    assert rule().why(scores(0.4)) == "already closed at epoch 0: it is done"
    assert rule().why(scores(0.9, 0.8, 0.7)) == "all 2 epochs done; not reached: it is done"


def test_each_rule_measures_what_it_is_called() -> None:
    net, data = tiny_net(), blobs(40)
    forget, other = data.select(range(15)), data.select(range(15, 40))
    assert forgotten().measure(net, forget) == (accuracy(net, forget), 0.05)
    assert forgotten(0.2).measure(net, forget).goal == 0.2
    assert overtaken(other).measure(net, forget) == (accuracy(net, forget), accuracy(net, other))
    dropped = retain_dropped(other, 0.9)
    assert dropped.measure(net, forget) == (accuracy(net, other), pytest.approx(0.85))
    assert retain_dropped(other, 0.9, 0.3).measure(net, forget).goal == pytest.approx(0.6)
    assert [(r.strict, r.closest) for r in (forgotten(), overtaken(other), matched(other), dropped)] == [
        *((False, False), (True, True), (False, True), (True, False))
    ]


def test_matched_counts_pairs_whose_forgotten_sample_has_the_lower_loss() -> None:
    net, data = tiny_net(), blobs(40)
    forget, other = data.select(range(15)), data.select(range(15, 40))
    found = matched(other).measure(net, forget)
    slow = pair_counting_auc((-losses(net, forget)).tolist(), (-losses(net, other)).tolist())
    assert found == (pytest.approx(slow), 0.5)
    assert matched(other, 0.6).measure(net, forget).goal == 0.6
    constant = nn.Linear(5, 3).double()
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias.zero_()
    assert matched(other).measure(constant, forget).value == 0.5, "ties count half"
