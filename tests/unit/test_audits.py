"""Laws of metrics/audits.py and baselines.py (evaluation, M20, M21, M22, M26)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.accuracy import accuracy, logits, parts_of_test
from unlearn_lib.metrics.audits import (
    bn_recalibration,
    cka,
    linear_cka,
    linear_probe,
    probe_scores,
    recalibrated,
    retained_drift,
    seen_by_layers,
)
from unlearn_lib.metrics.baselines import mask_logits, uniform_output
from unlearn_lib.metrics.divergence import js, probabilities, untrained_twin, zrf
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, run, train

DIGIT = 3
RECIPE = Recipe(epochs=6, lr=0.1, momentum=0.9)


def net(batch_norm: bool, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first = [nn.Linear(64, 32), *([nn.BatchNorm1d(32)] if batch_norm else []), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *first, nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 10))


def trained(data: Examples, batch_norm: bool = False, seed: int = 0) -> nn.Module:
    model = net(batch_norm, seed)
    run(train(model, data, RECIPE.but(seed=seed)))
    return model.eval()


@pytest.fixture(scope="module")
def small(digits) -> tuple[Split, Examples]:
    return Split.by_class(digits.train.head(500), DIGIT), digits.test.head(250)


@pytest.fixture(scope="module")
def original(small) -> nn.Module:
    return trained(small[0].forget + small[0].retain)


@pytest.fixture(scope="module")
def retrained(small) -> nn.Module:
    return trained(small[0].retain)


@pytest.fixture(scope="module")
def normed(small) -> nn.Module:
    return trained(small[0].forget + small[0].retain, batch_norm=True)


def test_m20_parameters_are_bit_identical_and_only_batch_norm_buffers_change(small, normed) -> None:
    before = state(normed)
    twin = recalibrated(normed, small[0].retain)
    assert all(torch.equal(value, before[name]) for name, value in state(normed).items())
    changed = {name for name, value in state(twin).items() if not torch.equal(value, before[name])}
    assert changed == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    assert twin[2].momentum == normed[2].momentum
    assert not any(m.training for m in twin.modules())


def test_m20_the_new_statistics_are_those_of_the_retained_data(small, normed) -> None:
    twin, retain = recalibrated(normed, small[0].retain), small[0].retain
    with torch.no_grad():
        inputs = twin[:2](retain.to("cpu").x)
    torch.testing.assert_close(twin[2].running_mean, inputs.mean(0))
    torch.testing.assert_close(twin[2].running_var, inputs.var(0))


def test_m20_one_full_batch_does_not_depend_on_the_order_of_samples(small, normed) -> None:
    retain = small[0].retain
    rows = torch.randperm(len(retain), generator=torch.Generator().manual_seed(0))
    shuffled = replace(retain, x=retain.x[rows], y=retain.y[rows], ids=retain.ids[rows])
    a, b = (state(recalibrated(normed, data)) for data in (retain, shuffled))
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-6, atol=1e-6)


def test_m20_small_batches_of_any_raggedness_are_equal_in_size_up_to_one(small, normed) -> None:
    one_more = small[0].retain.where(
        torch.arange(len(small[0].retain)) < 33
    )  # a last batch of one would fail
    twin = recalibrated(normed, one_more, batch_size=16)
    assert twin[2].num_batches_tracked == 3


def test_m20_identity_on_a_net_without_batch_norm(small, original) -> None:
    found = bn_recalibration(original, *small)
    assert found.before == found.after
    assert all(torch.equal(value, state(original)[name]) for name, value in state(found.model).items())


def test_m20_forgetting_by_statistics_is_undone(small, normed) -> None:
    faked = clone(normed)
    faked[2].running_mean += 3 * faked[2].running_var.sqrt()  # statistics alone ruin the model
    found = bn_recalibration(faked, *small)
    assert list(found.before) == ["forget", "retain", "forget test", "retain test"]
    assert found.before["forget test"] < 0.5 < 0.8 < found.after["forget test"]
    honest = bn_recalibration(normed, *small)
    assert abs(honest.after["retain test"] - honest.before["retain test"]) < 0.1


def test_m21_a_probe_is_balanced_logistic_regression_on_standardized_features(small, original) -> None:
    test, both = small[1], small[0].forget + small[0].retain
    found = probe_scores(original, *small)
    fit, judge = seen_by_layers(original, both), seen_by_layers(original, test)
    for layer in fit:
        mean, std = fit[layer].double().mean(0), fit[layer].double().std(0).clamp(min=1e-12)
        x, asked = ((one[layer].double() - mean) / torch.where(std > 1e-12, std, 1.0) for one in (fit, judge))
        probe = LogisticRegression(class_weight="balanced", max_iter=2000).fit(x, both.y == DIGIT)
        called = probe.predict(asked)
        truth = (test.y == DIGIT).numpy()
        shares = [np.mean(called[truth == label] == label) for label in (False, True)]
        assert found[layer] == pytest.approx(np.mean(shares), abs=0.02)
    with pytest.raises(ValueError, match="`split` must forget whole classes"):
        probe_scores(original, Split.by_ids(both, both.ids[:5]), test)


def test_m22_the_alignment_of_single_features_is_their_squared_correlation() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64)
    y = torch.tensor([[3.0], [1.0], [4.0], [9.0]], dtype=torch.float64)
    r = float(torch.corrcoef(torch.cat([x, y], 1).T)[0, 1])
    assert linear_cka(x, y) == pytest.approx(r**2)
    wide = torch.cat([y, y * 2, y * 0], 1)
    assert linear_cka(x, wide) == pytest.approx(r**2), "the same direction three times"
    two = torch.cat([x, y], 1)
    gram = [part - part.mean(0) for part in (two, y)]
    kernels = [part @ part.T for part in gram]
    hsic = [
        float((a * b).sum())
        for a, b in ((kernels[0], kernels[1]), (kernels[0], kernels[0]), (kernels[1], kernels[1]))
    ]
    assert linear_cka(two, y) == pytest.approx(hsic[0] / (hsic[1] * hsic[2]) ** 0.5)


def test_retained_drift_is_the_largest_and_the_mean_change_of_a_logit(small, original) -> None:
    shifted = clone(original)
    with torch.no_grad():
        shifted[-1].bias[2] += 0.5
    found = retained_drift(shifted, original, small[0].retain)
    assert (found.max, found.mean) == (pytest.approx(0.5, rel=1e-5), pytest.approx(0.05, rel=1e-4))
    assert retained_drift(clone(original), original, small[0].retain) == (0, 0)


def test_m20_accuracy_is_that_of_each_part_before_and_after(small, normed) -> None:
    split, test = small
    found = bn_recalibration(normed, split, test)
    parts = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
    assert found.before == {name: accuracy(normed, part) for name, part in parts.items()}
    twin = recalibrated(normed, split.retain)
    assert found.after == {name: accuracy(twin, part) for name, part in parts.items()}


def test_a_masked_output_is_the_value_and_no_other_output_moves(small, original) -> None:
    masked, plain = logits(mask_logits(original, 2, 5), small[1]), logits(original, small[1])
    others = [c for c in range(10) if c not in (2, 5)]
    assert torch.equal(masked[:, others], plain[:, others])
    assert masked[:, [2, 5]].max() < -9000
    soft = logits(mask_logits(original, 2, value=-50.0), small[1])
    change = soft[:, 2] - plain[:, 2] + original[-1].bias[2].item()
    torch.testing.assert_close(change, torch.full((250,), -50.0), atol=1e-3, rtol=0)
    flat = logits(uniform_output(original), small[1])
    assert flat.eq(0).all()


def test_layers_are_seen_by_their_inputs(small, original) -> None:
    seen = seen_by_layers(original, small[1], batch_size=64)
    assert {name: tuple(x.shape) for name, x in seen.items()} == {
        "1": (250, 64),
        "3": (250, 32),
        "5": (250, 24),
    }
    with torch.no_grad():
        last = original[:5](small[1].to("cpu").x)
    torch.testing.assert_close(seen["5"], last.double())
    assert not any(m._forward_pre_hooks for m in original.modules()), "no hook stays behind"


def test_feature_maps_are_averaged_to_two_by_two() -> None:
    conv = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 4)
    ).double()
    data = Examples.of(
        torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double(), torch.zeros(5)
    )
    assert {n: x.shape[1] for n, x in seen_by_layers(conv, data).items()} == {"0": 4, "1": 12, "3": 72}


def test_m21_a_masked_logit_probes_exactly_as_the_original_and_the_retrained_model_is_in_the_output(
    small, original, retrained
) -> None:
    split, test = small
    masked = mask_logits(original, DIGIT)
    found = linear_probe(masked, original=original, retrained=retrained, split=split, test=test)
    assert found.unlearned == found.original
    assert list(found.retrained) == ["1", "3", "5"]
    assert found.retrained["1"] == found.original["1"], "the first layer sees the image itself"
    assert found.retrained["5"] > 0.75, "high without ever having seen the class"


def test_m21_the_fit_never_sees_test_data(small, original, retrained) -> None:
    split, test = small
    models = {"original": original, "retrained": retrained}
    half = test.where(torch.arange(len(test)) % 2 == 0)
    flipped = replace(half, y=torch.where(half.y == DIGIT, 0, DIGIT))  # every verdict is now wrong
    right, wrong = (linear_probe(original, **models, split=split, test=t) for t in (half, flipped))
    for layer, value in right.original.items():
        assert wrong.original[layer] == pytest.approx(1 - value)
    with pytest.raises(ValueError, match="`split` must forget whole classes"):
        linear_probe(original, **models, split=Split.by_ids(split.retain, split.retain.ids[:5]), test=test)


def test_m22_retained_drift_is_zero_for_a_copy_and_its_maximum_no_less_than_its_mean(
    small, original, retrained
) -> None:
    retain = small[0].retain
    assert retained_drift(clone(original), original, retain) == (0, 0)
    moved = retained_drift(retrained, original, retain)
    assert moved.max > moved.mean > 0
    delta = (logits(retrained, retain) - logits(original, retain)).abs()
    assert moved.max == pytest.approx(float(delta.max()))


def test_cka_is_one_for_rotations_and_scalings_and_small_for_unrelated_features() -> None:
    stream = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 6, generator=stream, dtype=torch.float64) for _ in range(2))
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=stream, dtype=torch.float64))
    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert linear_cka(x, y) < 0.1


def test_cka_of_layers_compares_what_each_layer_computes(small, original, retrained) -> None:
    found = cka(retrained, original, small[1])
    assert list(found) == list(seen_by_layers(original, small[1]))
    assert all(0.2 < value < 0.999 for value in found.values()), "no layer is the input itself"
    assert all(value == pytest.approx(1) for value in cka(original, clone(original), small[1]).values())
    last = linear_cka(logits(retrained, small[1]).double(), logits(original, small[1]).double())
    assert list(found.values())[-1] == pytest.approx(last)


def test_m26_a_masked_logit_has_no_forget_accuracy_and_bit_identical_features(small, original) -> None:
    masked, (split, test) = mask_logits(original, DIGIT), small
    assert accuracy(masked, split.forget) == 0
    assert accuracy(masked, split.retain) >= accuracy(original, split.retain)
    assert accuracy(original, split.forget) > 0.7
    a, b = seen_by_layers(masked, test), seen_by_layers(original, test)
    assert all(torch.equal(a[layer], b[layer]) for layer in a)


def test_m26_a_uniform_output_beats_the_retrained_model_in_zrf_and_is_far_from_it_in_js(
    small, original, retrained
) -> None:
    split, test = small
    forget = parts_of_test(split, test)["forget test"]
    uniform, other = uniform_output(original), trained(split.retain, seed=1)
    p = {
        name: probabilities(logits(m, forget))
        for name, m in {"uniform": uniform, "retrained": retrained, "other": other}.items()
    }
    assert torch.allclose(p["uniform"], torch.full_like(p["uniform"], 0.1))
    teachers = [probabilities(logits(untrained_twin(original, seed), forget)) for seed in range(3)]
    assert zrf(p["uniform"], teachers) > zrf(p["retrained"], teachers)
    assert js(p["uniform"], p["retrained"]) > js(p["other"], p["retrained"])


def test_baselines_say_what_they_need() -> None:
    with pytest.raises(ValueError, match="must have a bias"):
        mask_logits(nn.Sequential(nn.Linear(3, 2, bias=False)), 0)
    with pytest.raises(ValueError, match="must have a linear layer"):
        uniform_output(nn.Sequential(nn.Conv2d(1, 1, 1)))
