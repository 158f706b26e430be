"""Laws of partial updates; bad input."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import time
import warnings
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from tests.oracles import naive_unlearning
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split, keyed_order
from unlearn_lib.methods.layers import Layers
from unlearn_lib.methods.partial import ascent, first_reaching, label_flip, selected, wrong_labels
from unlearn_lib.params import clone, snapshot
from unlearn_lib.train import Recipe, cross_entropy, evaluating, run, train

RECIPE = Recipe(lr=0.05, batch_size=10, epochs=2)
RULES = ("magnitude", "stochastic", "sequential", "fixed")
METHODS = (label_flip, ascent)
OPTIMIZERS = {
    "plain": RECIPE,
    "momentum": RECIPE.but(momentum=0.9, weight_decay=0.01),
    "adam": RECIPE.but(optimizer="adam", lr=0.01, weight_decay=0.01),
}
LAYERS = Layers({"w": (4, 6), "b": (5,)})
SCORES = torch.arange(29.0)


@pytest.fixture(scope="module")
def net():
    """A net that has learned its blobs."""
    model = tiny_net()
    run(train(model, blobs(), Recipe(lr=0.1, batch_size=10, epochs=5)))
    return model


@pytest.fixture(scope="module")
def by_class() -> Split:
    return Split.by_class(blobs(), 1)


@pytest.fixture(scope="module")
def by_ids() -> Split:
    return Split.by_ids(blobs(), range(30))


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def states_of(steps):
    states = []
    result = run(steps, [lambda step: states.append(snapshot(step.model))])
    return states, result


def loss_on(model, examples) -> float:
    with evaluating(model):
        return float(cross_entropy(model, examples.batch(slice(None))))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_its_model_unchanged_and_twice_gives_the_same_bits(net, by_class, method):
    before = snapshot(net)
    first, second = (run(method(net, by_class, RECIPE, keep=0.2, lambda_r=1)) for _ in range(2))
    assert same(snapshot(net), before)
    assert same(snapshot(first.model), snapshot(second.model))
    assert not same(snapshot(first.model), before)


def test_a_wrong_label_is_never_the_true_one_and_uniform_over_the_others():
    y = torch.arange(5).repeat(2000)
    wrong = wrong_labels(y, torch.arange(5), 0)
    assert (wrong != y).all()
    for label in range(5):
        counts = Counter(wrong[y == label].tolist())
        assert chisquare([counts[other] for other in range(5) if other != label]).pvalue > 1e-3


def test_where_classes_are_deleted_none_of_them_is_a_wrong_label():
    y = torch.tensor([1, 3]).repeat(3000)
    wrong = wrong_labels(y, torch.tensor([0, 2, 4]), 0)
    for label in (1, 3):
        assert chisquare(list(Counter(wrong[y == label].tolist()).values())).pvalue > 1e-3
    assert set(wrong.tolist()) == {0, 2, 4}


@pytest.mark.parametrize("relabel", ["once", "each_step"])
@pytest.mark.parametrize("request_of", ["by_class", "by_ids"])
def test_the_labels_trained_on_are_wrong_ones_and_retained_labels_are_true(
    net, request, request_of, relabel, monkeypatch
):
    split, seen = request.getfixturevalue(request_of), []
    true = {int(i): int(y) for i, y in zip(blobs().ids, blobs().y, strict=True)}

    def spy(model, batch):
        seen.extend(zip(batch.ids.tolist(), batch.y.tolist(), strict=True))
        return cross_entropy(model, batch)

    monkeypatch.setattr("unlearn_lib.methods.partial.cross_entropy", spy)
    run(label_flip(net, split, RECIPE, keep=0.2, lambda_r=1, relabel=relabel))
    forget = set(split.forget.ids.tolist())
    flipped = {(i, y) for i, y in seen if i in forget}
    assert all(y != true[i] for i, y in flipped)
    assert all(y == true[i] for i, y in seen if i not in forget)
    assert any(i not in forget for i, _ in seen)
    assert (len(flipped) == len(forget)) == (relabel == "once")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_all_entries_is_the_naive_method_step_by_step(net, by_class, method, optimizer):
    recipe, seed = OPTIMIZERS[optimizer], RECIPE.seed
    states, _ = states_of(method(net, by_class, recipe, keep=1, lambda_r=0.5))

    D_f, D_r = by_class.forget, by_class.retain
    y_f = D_f.y
    if method is label_flip:
        y_f = wrong_labels(D_f.y, torch.tensor([0, 2]), seed, 2)
    forget = [(D_f.x[rows], y_f[rows]) for e in (1, 2) for rows in keyed_order(D_f.ids, seed, 0, e).split(10)]
    retain = [(D_r.x[rows], D_r.y[rows]) for rows in keyed_order(D_r.ids, seed, 1, 1).split(10)]
    if method is label_flip:

        def loss_of(CE_f, CE_r):
            return CE_f + 0.5 * CE_r

    else:

        def loss_of(CE_f, CE_r):
            return 0.5 * CE_r - torch.minimum(CE_f, torch.tensor(8.0, dtype=CE_f.dtype))

    twin = clone(net)
    expected = naive_unlearning(twin, recipe.fresh_optimizer(twin), forget, retain[:8], loss_of)
    assert len(states) == len(expected) == 8
    assert all(same(a, b) for a, b in zip(states, expected, strict=True))


@pytest.mark.parametrize("select", RULES)
@pytest.mark.parametrize("method", METHODS)
def test_no_entries_leaves_the_model_as_it_is(net, by_class, method, select):
    result = run(method(net, by_class, OPTIMIZERS["adam"], keep=0, select=select))
    assert same(snapshot(result.model), snapshot(net))
    assert set(result.trace.changed.values()) == {0}


def test_ascent_without_its_forget_term_is_fine_tuning_on_the_retained_data(net, by_class):
    result = run(ascent(net, by_class, RECIPE, keep=1, lambda_f=0, lambda_r=1))
    twin, D_r = clone(net).train(), by_class.retain
    optimizer = RECIPE.fresh_optimizer(twin)
    for rows in keyed_order(D_r.ids, RECIPE.seed, 1, 1).split(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(D_r.x[rows]), D_r.y[rows]).backward()
        optimizer.step()
    assert same(snapshot(result.model), snapshot(twin))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("select", RULES)
@pytest.mark.parametrize("group", ["tensor", "module"])
def test_a_step_moves_at_most_k_entries_of_a_layer_and_no_bit_of_the_rest(
    net, by_class, optimizer, select, group
):
    layers, masks, states = Layers.of(net, group), [], [snapshot(net)]

    def watch(step):
        states.append(snapshot(step.model))
        masks.append(layers.flatten(step.info["mask"]))

    run(ascent(net, by_class, OPTIMIZERS[optimizer], keep=0.15, select=select, group=group), [watch])
    budgets = layers.budgets(0.15)
    for before, after, mask in zip(states, states[1:], masks, strict=False):
        bits = [layers.flatten(p).view(torch.int64) for p in (before, after)]
        moved = bits[0] != bits[1]
        assert not (moved & ~mask).any()
        assert moved.any()
        for name, span in layers.spans.items():
            assert moved[span].sum() <= mask[span].sum() <= budgets[name]


def test_even_the_sign_of_zero_survives_outside_the_mask(net, by_class):
    signed = clone(net)
    with torch.no_grad():
        signed.get_parameter("1.bias").copy_(torch.tensor([0.0, -0.0]).repeat(16))
    states, _ = states_of(ascent(signed, by_class, OPTIMIZERS["adam"], keep={"3.weight": 0.5}))
    bits = [s["1.bias"].view(torch.int64) for s in (snapshot(signed), states[-1])]
    assert torch.equal(*bits)


def test_layers_that_are_off_stay_as_they_are(net, by_class):
    result = run(label_flip(net, by_class, RECIPE, keep={"3.weight": 0.5, "3.bias": 1}))
    changed = result.trace.changed
    assert changed["1.weight"] == changed["1.bias"] == 0
    assert 0 < changed["3.weight"] <= 96
    assert changed["3.bias"] == 3


@pytest.mark.parametrize("share", [0.07, 0.3, 0.5, 1])
def test_sequential_windows_cover_a_layer_once_a_cycle(share):
    for name, k in LAYERS.budgets(share).items():
        span = LAYERS.spans[name]
        cycle = math.ceil((span.stop - span.start) / k)
        assert cycle <= math.ceil(1 / share)
        masks = torch.stack(
            [selected(LAYERS, share, "sequential", SCORES, 0, t)[span] for t in range(1, 2 * cycle + 1)]
        )
        assert (masks[:cycle].sum(0) == 1).all()
        assert torch.equal(masks[:cycle], masks[cycle:])


def test_stochastic_masks_follow_from_the_seed_and_differ_by_step():
    first, again, other = (
        [selected(LAYERS, 0.3, "stochastic", SCORES, seed, t).tolist() for t in range(1, 20)]
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len({tuple(m) for m in first}) > 15


def test_a_fixed_mask_is_the_same_at_every_step():
    masks = {tuple(selected(LAYERS, 0.3, "fixed", SCORES, 0, t).tolist()) for t in range(1, 20)}
    assert len(masks) == 1
    assert masks != {tuple(selected(LAYERS, 0.3, "fixed", SCORES, 1, 1).tolist())}


def test_magnitude_takes_the_largest_of_each_layer():
    mask = selected(LAYERS, 0.25, "magnitude", SCORES, 0, 1)
    assert mask.nonzero().flatten().tolist() == [18, 19, 20, 21, 22, 23, 27, 28]


def test_magnitude_can_rank_the_update_instead_of_the_gradient(net, by_class):
    results = [
        run(ascent(net, by_class, recipe, keep=0.1, rank=rank))
        for recipe in (OPTIMIZERS["plain"], OPTIMIZERS["momentum"])
        for rank in ("gradient", "update")
    ]
    a, b, c, d = (snapshot(result.model) for result in results)
    assert same(a, b)  # plain SGD: the update is the gradient, scaled
    assert not same(c, d)


@pytest.mark.parametrize("keep", [0.1, 1])
def test_ascent_raises_the_loss_on_the_forget_set(net, by_class, keep):
    result = run(ascent(net, by_class, RECIPE, keep=keep))
    assert loss_on(result.model, by_class.forget) > loss_on(net, by_class.forget)


def test_with_the_cap_everything_stays_finite_for_a_thousand_steps(net, by_class):
    losses = []
    steps = ascent(net, by_class, RECIPE.but(epochs=250), keep=1, cap="log_c")
    result = run(steps, [lambda step: losses.append(step.loss)])
    assert len(losses) == result.trace.steps == 1000
    assert all(-math.log(3) <= loss <= 0 for loss in losses)
    assert all(value.isfinite().all() for value in snapshot(result.model).values())


def test_above_the_cap_nothing_moves(net, by_class):
    low = run(ascent(net, by_class, RECIPE, keep=1, cap=1e-9))
    assert same(snapshot(low.model), snapshot(net))


FINGERPRINT = """
import torch
from unlearn_lib.methods.layers import Layers
from unlearn_lib.methods.partial import selected, wrong_labels
from unlearn_lib.methods.amnesiac.updates import Updates
L = Layers({"w": (40, 6), "b": (50,)})
s = torch.zeros(290)
found = [selected(L, 0.3, rule, s, 7, t).tolist() for rule in ("stochastic", "fixed") for t in (1, 2)]
found.append(Updates(L, ((1, 1), (1, 2)), torch.zeros(2, 290), 7).kept(0.3, "random").tolist())
found.append(wrong_labels(torch.arange(5).repeat(20), torch.arange(5), 7).tolist())
"""


def test_masks_and_wrong_labels_are_the_same_in_every_process():
    here: dict = {}
    exec(FINGERPRINT, here)
    code = FINGERPRINT + "\nimport hashlib\nprint(hashlib.sha256(repr(found).encode()).hexdigest())"
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    ).stdout.strip()
    assert there == hashlib.sha256(repr(here["found"]).encode()).hexdigest()


def test_variants_are_compared_where_each_first_reaches_the_target(net, by_class):
    assert first_reaching([0.9, 0.5, 0.05, 0.2, 0.0], 0.05) == 3
    assert first_reaching([0.9, 0.5], 0.05) is None
    curves = {}
    for label, keep, lr in (("naive", 1, 0.05), ("partial", 0.1, 0.05), ("small steps", 1, 0.005)):
        curve = curves[label] = []

        def watch(step, curve=curve):
            with evaluating(step.model):
                right = step.model(by_class.forget.x).argmax(1) == by_class.forget.y
            curve.append(float(right.double().mean()))

        run(label_flip(net, by_class, RECIPE.but(epochs=10, lr=lr), keep=keep), [watch])
    reached = {label: first_reaching(curve, 0.05) for label, curve in curves.items()}
    assert reached["naive"] < reached["small steps"]
    assert reached["naive"] <= reached["partial"]


def test_a_run_stops_at_its_number_of_steps_or_at_its_target(net, by_class):
    assert run(label_flip(net, by_class, RECIPE, keep=1, steps=3)).trace.steps == 3
    recipe = RECIPE.but(epochs=50, lr=0.2)
    stopped = run(label_flip(net, by_class, recipe, keep=1, target=0.0))
    assert stopped.trace.reached
    assert stopped.trace.steps < 200
    assert not run(label_flip(net, by_class, RECIPE, keep=0, target=0.0)).trace.reached


def test_a_model_that_has_not_learned_the_forget_set_is_warned_about(by_class):
    blank = tiny_net()
    with torch.no_grad():
        for p in blank.parameters():
            p.zero_()  # predicts class 0
    with pytest.warns(UserWarning, match=r"not learned what it is to forget: accuracy 0\.00"):
        run(ascent(blank, by_class, RECIPE, keep=1, steps=1))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (label_flip, {"keep": 1.5}, r"`keep` must be in \[0, 1\]; got 1\.5\."),
        (ascent, {"keep": {"fc": 0.5}}, r"names 'fc'; the layers are 1\.weight, 1\.bias, 3\.weight, 3\.bias"),
        (ascent, {"keep": {"1.bias": -1.0}}, r'`keep\["1\.bias"\]` must be in \[0, 1\]; got -1\.0'),
        (label_flip, {"lambda_r": -1.0}, r"`lambda_r` must be zero or more, and finite; got -1\.0"),
        (ascent, {"lambda_f": math.inf}, r"`lambda_f` must be zero or more, and finite; got inf"),
        (ascent, {"lambda_f": 0.0}, r"must not both be 0"),
        (ascent, {"cap": 0.0}, r'`cap` must be positive \(nats\) or "log_c"; got 0\.0'),
        (label_flip, {"steps": 0}, r"`steps` must be at least 1; got 0"),
    ],
)
def test_a_bad_setting_is_named_with_its_rule_and_value(net, by_class, method, options, message):
    with pytest.raises(ValueError, match=message):
        run(method(net, by_class, RECIPE, **{"keep": 0.5, **options}))


@pytest.mark.parametrize("method", METHODS)
def test_the_trace_says_what_the_run_did(net, by_class, method):
    begun = time.perf_counter()
    result = run(method(net, by_class, RECIPE, keep={"3.bias": 0.5}, select="fixed", steps=2))
    assert 0 < result.seconds <= time.perf_counter() - begun
    trace = result.trace
    assert (trace.steps, trace.lr, trace.keep, trace.select) == (2, 0.05, {"3.bias": 0.5}, "fixed")
    assert trace.changed == {"1.weight": 0, "1.bias": 0, "3.weight": 0, "3.bias": 2}
    assert not trace.reached
    assert not result.model.training


@pytest.mark.parametrize("method", METHODS)
def test_the_default_mask_is_by_magnitude_of_the_forget_gradient(net, by_class, method):
    spelt = {"select": "magnitude", "rank": "gradient", "group": "tensor", "lambda_r": 0.0, "steps": None}
    spelt |= {"relabel": "once"} if method is label_flip else {"lambda_f": 1.0, "cap": 8.0}
    plain, told = (run(method(net, by_class, RECIPE, keep=0.2, **options)) for options in ({}, spelt))
    assert same(snapshot(plain.model), snapshot(told.model))
    assert plain.trace.steps == 8
    seen = []
    run(method(net, by_class, RECIPE, keep=0.2), [lambda step: seen.extend(step.batch.y.tolist())])
    assert set(seen) == {1}


def test_ascent_weighs_its_terms(net, by_class):
    losses = {}
    for lambda_f, lambda_r in ((1, 0), (2, 0), (0, 1), (2, 3)):
        step = next(ascent(net, by_class, RECIPE, keep=1, lambda_f=lambda_f, lambda_r=lambda_r))
        losses[lambda_f, lambda_r] = step.loss
    assert losses[2, 0] == pytest.approx(2 * losses[1, 0])
    assert losses[2, 3] == pytest.approx(2 * losses[1, 0] + 3 * losses[0, 1])
    assert losses[1, 0] < 0 < losses[0, 1]


def test_the_cap_is_eight_nats_or_the_logarithm_of_the_number_of_classes(net, by_class):
    destroyed = clone(net)
    with torch.no_grad():
        destroyed.get_parameter("3.bias").copy_(torch.tensor([0.0, -100.0, 0.0]))
    with pytest.warns(UserWarning, match="not learned"):
        capped = [
            next(ascent(destroyed, by_class, RECIPE, keep=1, **c)).loss
            for c in ({}, {"cap": "log_c"}, {"cap": 3})
        ]
    assert capped == [-8, pytest.approx(-math.log(3)), -3]


def test_retained_batches_are_full_and_each_pass_has_its_own_order(net, by_ids, monkeypatch):
    seen = []

    def spy(model, batch):
        seen.append(batch.ids.tolist())
        return cross_entropy(model, batch)

    monkeypatch.setattr("unlearn_lib.methods.partial.cross_entropy", spy)
    recipe = RECIPE.but(batch_size=16, epochs=9)
    run(ascent(net, by_ids, recipe, keep=1, lambda_r=1))
    retained = [ids for ids in seen if not set(ids) & set(range(30))]
    assert {len(ids) for ids in retained} == {16}, "90 samples: five batches a pass, ten left out"
    passes = [[i for ids in retained[k : k + 5] for i in ids] for k in range(0, len(retained), 5)]
    assert all(len(set(one)) == len(one) for one in passes)
    assert passes[0] != passes[1]
    few = Split.by_ids(blobs(12), range(5))
    seen.clear()
    with warnings.catch_warnings(action="ignore"):
        run(ascent(net, few, recipe.but(epochs=1), keep=1, lambda_r=1))
    assert [len(ids) for ids in seen if not set(ids) & set(range(5))] == [7], (
        "fewer than a batch: all of them"
    )


def test_where_only_whole_classes_go_the_wrong_labels_are_those_that_stay(net, by_ids, monkeypatch):
    def labels_of(split):
        seen = set()

        def spy(model, batch):
            seen.update(batch.y.tolist())
            return cross_entropy(model, batch)

        monkeypatch.setattr("unlearn_lib.methods.partial.cross_entropy", spy)
        run(label_flip(net, split, RECIPE, keep=1))
        return seen

    assert labels_of(Split.by_class(blobs(), 0)) == {1, 2}
    assert labels_of(by_ids) == {0, 1, 2}
    partly = Split.by_ids(blobs(), [i for i in range(120) if i % 3 == 1 or i == 0])
    assert labels_of(partly) == {0, 2}, "class 1 is gone as a whole"
    one_class = Split.by_ids(blobs().where(blobs().y == 1), [1, 4])
    with pytest.raises(ValueError, match="`split` must have a wrong label to give"):
        run(label_flip(net, one_class, RECIPE, keep=1))


def test_a_target_is_reached_by_a_batch_whose_accuracy_just_equals_it(net, by_class):
    first = run(label_flip(net, by_class, RECIPE, keep=0, target=1.0)).trace
    assert (first.steps, first.reached) == (1, True)


def test_chance_itself_is_not_learned_and_more_is_no_warning(net, by_class):
    constant = clone(net)
    with torch.no_grad():
        constant.get_parameter("3.weight").zero_()
        constant.get_parameter("3.bias").copy_(torch.tensor([0.0, 1.0, 0.0]))
    third = Split.by_ids(blobs(), range(30))  # ten of each class: a constant answer is right by chance
    with pytest.warns(UserWarning, match=r"accuracy 0\.33 on `split.forget`, chance 0\.33"):
        run(ascent(constant, third, RECIPE, keep=1, steps=1))
    run(ascent(constant, by_class, RECIPE, keep=1, steps=1))


def test_wrong_labels_are_spread_over_the_classes_that_are_left():
    wrong = wrong_labels(torch.tensor([0, 1, 2, 3, 4, 9]).repeat(500), torch.tensor([1, 3, 4]), 5)
    for position, others in enumerate([{1, 3, 4}, {3, 4}, {1, 3, 4}, {1, 4}, {1, 3}, {1, 3, 4}]):
        assert set(wrong[position::6].tolist()) == others


def test_windows_have_the_budget_of_their_layer_and_start_at_its_first_entry():
    layers = Layers({"a": (5,), "b": (7,)})
    windows = [selected(layers, {"b": 0.4}, "sequential", torch.zeros(12), 0, t) for t in (1, 2, 3, 4)]
    assert [w.nonzero().flatten().tolist() for w in windows] == [[5, 6, 7], [8, 9, 10], [11], [5, 6, 7]]


@pytest.mark.parametrize(("field", "value"), [("select", "best"), ("rank", "loss"), ("group", "net")])
def test_a_choice_that_there_is_not_is_refused(net, by_class, field, value):
    with pytest.raises((ValueError, TypeError), match=field):
        run(ascent(net, by_class, RECIPE, keep=0.5, **{field: value}))


def test_frozen_parameters_take_no_part_and_one_without_gradient_may_be_ranked(net, by_class):
    part = clone(net)
    part.get_parameter("1.weight").requires_grad_(False)
    part.register_parameter("unused", torch.nn.Parameter(torch.ones(3, dtype=torch.float64)))
    result = run(ascent(part, by_class, RECIPE, keep=0.3))
    assert set(result.trace.changed) == {"unused", "1.bias", "3.weight", "3.bias"}
    assert result.trace.changed["unused"] == 0
    assert torch.equal(result.model.get_parameter("1.weight"), net.get_parameter("1.weight"))


def test_at_each_step_the_wrong_labels_are_drawn_by_its_number(net, by_ids, monkeypatch):
    seen = []

    def spy(model, batch):
        seen.append((batch.ids, batch.y))
        return cross_entropy(model, batch)

    monkeypatch.setattr("unlearn_lib.methods.partial.cross_entropy", spy)
    run(label_flip(net, by_ids, RECIPE, keep=1, relabel="each_step"))
    true = blobs().y
    for number, (ids, wrong) in enumerate(seen, 1):
        assert torch.equal(wrong, wrong_labels(true[ids], torch.arange(3), RECIPE.seed, 2, number))
    seen.clear()
    run(label_flip(net, by_ids, RECIPE, keep=1))
    once = dict(enumerate(wrong_labels(true[:30], torch.arange(3), RECIPE.seed, 2).tolist()))
    assert all(once[i] == y for ids, wrong in seen for i, y in zip(ids.tolist(), wrong.tolist(), strict=True))
