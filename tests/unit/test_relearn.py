"""Laws of metrics/relearn.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.metrics.accuracy import accuracy, loss
from unlearn_lib.metrics.baselines import mask_logits
from unlearn_lib.metrics.relearn import (
    RELEARN,
    AnamnesisIndex,
    RelearnCurve,
    RelearnTime,
    anamnesis_index,
    relearn,
    relearn_curves,
)
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, run, train

DATA, TEST = blobs(), blobs(n=60)
SPLIT = Split.by_class(DATA, 2)
PROBE = TEST.where(TEST.y == 2)
RECIPE = Recipe("adam", lr=1e-2, batch_size=16, epochs=5)


def trained(data) -> nn.Module:
    net = tiny_net()
    run(train(net, data, Recipe(epochs=8, lr=0.1, batch_size=16)))
    return net


ORIGINAL, RETRAINED = trained(DATA), trained(SPLIT.retain)
REACHED = accuracy(ORIGINAL, PROBE)


def test_relearning_is_deterministic_and_leaves_the_model_alone() -> None:
    before, stream = state(RETRAINED), torch.get_rng_state()
    a, b = (run(relearn(RETRAINED, DATA, PROBE, RECIPE)) for _ in range(2))
    assert a == b
    assert len(a.accuracy) == 5 * 8  # ceil(120 / 16) batches an epoch
    assert all(torch.equal(state(RETRAINED)[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), stream)


def test_all_models_see_the_same_batches() -> None:
    seen = []
    for net in (ORIGINAL, RETRAINED):
        batches: list[list[int]] = []
        run(relearn(net, DATA, PROBE, RECIPE), [lambda step, b=batches: b.append(step.batch.ids.tolist())])
        seen.append(batches)
    assert seen[0] == seen[1]


def test_the_original_needs_one_batch_and_the_retrained_model_more() -> None:
    assert run(relearn(ORIGINAL, DATA, PROBE, RECIPE)).time(REACHED) == RelearnTime(1)
    assert accuracy(RETRAINED, PROBE) == 0
    assert run(relearn(RETRAINED, DATA, PROBE, RECIPE)).time(REACHED).batches > 1


def test_never_reaching_the_target_is_censored_and_no_number() -> None:
    slow = RECIPE.but(lr=1e-8)
    found = run(relearn(RETRAINED, DATA, PROBE, slow, cap=7)).time(REACHED)
    assert found == RelearnTime(7, censored=True)
    assert str(found) == "≥ 7"


def test_the_first_crossing_counts_from_one_and_alpha_is_free_afterwards() -> None:
    curve = RelearnCurve((0.1, 0.5, 0.96, 0.9, 1.0), (3.0, 2.0, 0.2, 0.005, 0.001))
    assert curve.time(1.0, alpha=0.05) == RelearnTime(3)
    assert curve.time(1.0, alpha=0.0) == RelearnTime(5)
    assert curve.time(1.0, alpha=0.95) == RelearnTime(1)
    assert curve.time_to_loss(0.01) == RelearnTime(4)
    assert curve.time_to_loss(1e-4) == RelearnTime(5, censored=True)
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, 1\); got 1"):
        curve.time(1.0, alpha=1.0)


def test_a_run_may_stop_early() -> None:
    whole = run(relearn(RETRAINED, DATA, PROBE, RECIPE))
    early = run(relearn(RETRAINED, DATA, PROBE, RECIPE, until=lambda a: a >= 0.95 * REACHED))
    assert early.accuracy == whole.accuracy[: len(early.accuracy)]
    assert len(early.accuracy) == whole.time(REACHED).batches


def test_ain_is_one_for_the_retrained_model_and_censoring_is_carried_over() -> None:
    assert anamnesis_index(RelearnTime(36), RelearnTime(36)) == AnamnesisIndex(1.0, "exact")
    assert str(anamnesis_index(RelearnTime(5), RelearnTime(36))) == "0.14"
    bound = anamnesis_index(RelearnTime(60, censored=True), RelearnTime(30))
    assert (bound.kind, str(bound)) == ("at least", "≥ 2.00")
    undefined = anamnesis_index(RelearnTime(5), RelearnTime(60, censored=True))
    assert (undefined.value, undefined.kind, str(undefined)) == (None, "undefined", "undefined")


def test_doing_nothing_has_ain_one_over_the_retrained_time() -> None:
    models = {"nothing": clone(ORIGINAL), "retrained": RETRAINED}
    curves = relearn_curves(models, DATA, PROBE, RECIPE, seeds=(0, 1, 2))
    for nothing, retrained in zip(*curves.values(), strict=True):
        times = nothing.time(REACHED), retrained.time(REACHED)
        assert anamnesis_index(*times).value == 1 / times[1].batches < 1
        assert anamnesis_index(times[1], times[1]).value == 1
    assert len({c.accuracy for c in curves["retrained"]}) == 3, "three orders, three curves"


def test_a_hard_mask_fools_relearning_and_a_soft_one_shows_its_memory() -> None:
    hard, soft, retrained = (
        run(relearn(net, DATA, PROBE, RECIPE)).time(REACHED)
        for net in (mask_logits(ORIGINAL, 2), mask_logits(ORIGINAL, 2, value=-5.0), RETRAINED)
    )
    assert anamnesis_index(hard, retrained).kind == "at least", "no step of Adam's moves a bias by 10,000"
    assert soft.batches < retrained.batches


def test_the_recipe_is_the_authors_unless_another_is_given() -> None:
    assert Recipe("adam", lr=0.001, momentum=0.0, batch_size=256, epochs=10) == RELEARN
    assert run(relearn(RETRAINED, DATA, PROBE)) == run(relearn(RETRAINED, DATA, PROBE, RELEARN))


def test_alpha_is_a_twentieth_unless_it_is_given() -> None:
    curve = RelearnCurve((0.94, 0.955, 1.0), (1.0, 1.0, 1.0))
    assert curve.time(1.0) == RelearnTime(2)
    with pytest.raises(ValueError, match="`alpha` must be"):
        curve.time(1.0, alpha=-0.01)


def test_a_target_that_is_just_met_is_reached_and_nothing_seen_is_censored() -> None:
    curve = RelearnCurve((0.25, 0.5), (2.0, 1.0))
    assert curve.time(0.5, alpha=0.0) == RelearnTime(2)
    assert curve.time(0.5, alpha=0.5) == RelearnTime(1)
    assert curve.time_to_loss(1.0) == RelearnTime(2)
    assert RelearnCurve((), ()).time(0.5) == RelearnTime(0, censored=True)
    assert str(RelearnTime(3)) == "3"


def test_entry_i_is_the_probe_after_batch_i_plus_one() -> None:
    curve = run(relearn(RETRAINED, DATA, PROBE, RECIPE, cap=2))
    twin = clone(RETRAINED)
    for number, step in enumerate(train(twin, DATA, RECIPE)):
        assert curve.accuracy[number] == accuracy(step.model, PROBE)
        assert curve.loss[number] == loss(step.model, PROBE)
        if number == 1:
            break
    assert len(curve.accuracy) == len(curve.loss) == 2


def test_curves_are_taken_for_three_seeds_unless_others_are_named() -> None:
    found = relearn_curves({"one": RETRAINED}, DATA, PROBE, RECIPE, cap=2)["one"]
    assert found == tuple(run(relearn(RETRAINED, DATA, PROBE, RECIPE.but(seed=s), cap=2)) for s in (0, 1, 2))
