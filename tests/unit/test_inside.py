"""Laws of metrics/inside.py and baselines.py."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.accuracy import accuracy, logits, parts_of_test
from unlearn_lib.metrics.baselines import mask_logits, uniform_output
from unlearn_lib.metrics.divergence import js, probabilities, untrained_twin, zrf
from unlearn_lib.metrics.inside import (
    bn_recalibration,
    cka,
    feature_cka,
    linear_cka,
    linear_probe,
    probe_scores,
    recalibrated,
    seen_by_layers,
)
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


def test_parameters_are_bit_identical_and_only_batch_norm_buffers_change(small, normed) -> None:
    before = state(normed)
    twin = recalibrated(normed, small[0].retain)
    assert all(torch.equal(value, before[name]) for name, value in state(normed).items())
    changed = {name for name, value in state(twin).items() if not torch.equal(value, before[name])}
    assert changed == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    assert twin[2].momentum == normed[2].momentum
    assert not any(m.training for m in twin.modules())


def test_the_new_statistics_are_those_of_the_retained_data(small, normed) -> None:
    twin, retain = recalibrated(normed, small[0].retain), small[0].retain
    with torch.no_grad():
        inputs = twin[:2](retain.to("cpu").x)
    torch.testing.assert_close(twin[2].running_mean, inputs.mean(0))
    torch.testing.assert_close(twin[2].running_var, inputs.var(0))


def test_one_full_batch_does_not_depend_on_the_order_of_samples(small, normed) -> None:
    retain = small[0].retain
    rows = torch.randperm(len(retain), generator=torch.Generator().manual_seed(0))
    shuffled = replace(retain, x=retain.x[rows], y=retain.y[rows], ids=retain.ids[rows])
    a, b = (state(recalibrated(normed, data)) for data in (retain, shuffled))
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=1e-6, atol=1e-6)


def test_small_batches_of_any_raggedness_are_equal_in_size_up_to_one(small, normed) -> None:
    one_more = small[0].retain.where(
        torch.arange(len(small[0].retain)) < 33
    )  # a last batch of one would fail
    twin = recalibrated(normed, one_more, batch_size=16)
    assert twin[2].num_batches_tracked == 3


def test_identity_on_a_net_without_batch_norm(small, original) -> None:
    found = bn_recalibration(original, *small)
    assert found.before == found.after
    assert all(torch.equal(value, state(original)[name]) for name, value in state(found.model).items())


def test_forgetting_by_statistics_is_undone(small, normed) -> None:
    faked = clone(normed)
    faked[2].running_mean += 3 * faked[2].running_var.sqrt()  # statistics alone ruin the model
    found = bn_recalibration(faked, *small)
    assert list(found.before) == ["forget", "retain", "forget test", "retain test"]
    assert found.before["forget test"] < 0.5 < 0.8 < found.after["forget test"]
    honest = bn_recalibration(normed, *small)
    assert abs(honest.after["retain test"] - honest.before["retain test"]) < 0.1


def test_a_probe_is_balanced_logistic_regression_on_standardized_features(small, original) -> None:
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


def test_the_alignment_of_single_features_is_their_squared_correlation() -> None:
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


def test_accuracy_is_that_of_each_part_before_and_after(small, normed) -> None:
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


def test_a_masked_logit_probes_exactly_as_the_original(small, original, retrained) -> None:
    split, test = small
    masked = mask_logits(original, DIGIT)
    found = linear_probe(masked, original=original, retrained=retrained, split=split, test=test)
    assert found.unlearned == found.original
    assert list(found.retrained) == ["1", "3", "5"]
    assert found.retrained["1"] == found.original["1"], "the first layer sees the image itself"
    assert found.retrained["5"] > 0.75, "high without ever having seen the class"


def test_the_fit_never_sees_test_data(small, original, retrained) -> None:
    split, test = small
    models = {"original": original, "retrained": retrained}
    half = test.where(torch.arange(len(test)) % 2 == 0)
    flipped = replace(half, y=torch.where(half.y == DIGIT, 0, DIGIT))  # every verdict is now wrong
    right, wrong = (linear_probe(original, **models, split=split, test=t) for t in (half, flipped))
    for layer, value in right.original.items():
        assert wrong.original[layer] == pytest.approx(1 - value)
    with pytest.raises(ValueError, match="`split` must forget whole classes"):
        linear_probe(original, **models, split=Split.by_ids(split.retain, split.retain.ids[:5]), test=test)


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


def test_a_masked_logit_has_no_forget_accuracy_and_bit_identical_features(small, original) -> None:
    masked, (split, test) = mask_logits(original, DIGIT), small
    assert accuracy(masked, split.forget) == 0
    assert accuracy(masked, split.retain) >= accuracy(original, split.retain)
    assert accuracy(original, split.forget) > 0.7
    a, b = seen_by_layers(masked, test), seen_by_layers(original, test)
    assert all(torch.equal(a[layer], b[layer]) for layer in a)


def test_a_uniform_output_wins_in_zrf_and_loses_in_js(small, original, retrained) -> None:
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


class HeadFirst(nn.Module):
    """A net whose last layer was defined first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Linear(32, 4), nn.Linear(8, 32)

    def forward(self, x):
        return self.head(self.body(x).relu())


def tied_head() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[4].weight = model[2].weight
    return model


RANDOM = Examples.of(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4)
HEADS = {
    "the head defined first": HeadFirst,
    "no bias": lambda: nn.Sequential(nn.Linear(8, 4, bias=False)),
    "log-softmax at the end": lambda: nn.Sequential(nn.Linear(8, 4), nn.LogSoftmax(1)),
    "a convolution at the end": lambda: nn.Sequential(
        nn.Unflatten(1, (8, 1)), nn.Conv1d(8, 4, 1), nn.Flatten()
    ),
    "a tied head": tied_head,
    "compiled": lambda: torch.compile(nn.Sequential(nn.Linear(8, 4)), backend="eager"),
    "plain": lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Sequential(nn.Linear(16, 4))),
}


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_impostors_change_the_outputs_and_no_feature_whatever_makes_them(make) -> None:
    torch.manual_seed(0)
    model = make()
    masked, uniform = mask_logits(model, 3), uniform_output(model)
    before, after = logits(model, RANDOM), logits(clone(masked), RANDOM)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6), "the other outputs stay"
    assert float(after[:, 3].max()) < -9000
    for name, seen in seen_by_layers(model, RANDOM).items():
        assert torch.equal(seen, seen_by_layers(masked, RANDOM)[name])
    assert float(logits(clone(uniform), RANDOM).std(1).max()) == 0
    assert torch.equal(before, logits(model, RANDOM)), "the model itself stays as it is"


def test_a_class_that_the_model_has_no_output_for_cannot_be_masked() -> None:
    with pytest.raises(ValueError, match=r"`classes` must be in 0 ... 3, the model's outputs; got 9"):
        mask_logits(HEADS["plain"](), 9)
    with pytest.raises(RuntimeError, match=r"`classes` must be in 0 ... 3, the model's outputs; got 9"):
        logits(mask_logits(HeadFirst(), 9), RANDOM)
    with pytest.raises(ValueError, match="`classes` must name at least one class"):
        mask_logits(HeadFirst())


class Block(nn.Module):
    """A layer with a shortcut around it, called by keyword, and changed in place by what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.side, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.norm, self.act = nn.BatchNorm1d(8), nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.norm(self.inner(input=x))
        h += self.side(x)
        return self.out(self.act(h))


def test_a_layer_hands_on_its_own_output_not_what_a_shortcut_adds() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        model = Block().to(dtype).eval()
        other = clone(model)
        with torch.no_grad():
            other.inner.weight.copy_(torch.randn(8, 8))
        found = cka(model, other, RANDOM)
        assert found["inner"] < 0.99 > found["out"]
        assert found["side"] == pytest.approx(1)
        x = RANDOM.x.to(dtype)
        branch = [m.norm(m.inner(x)).detach().double() for m in (model, other)]
        assert found["inner"] == pytest.approx(linear_cka(*branch)), "with its norm, without the shortcut"
        assert torch.equal(seen_by_layers(model, RANDOM)["inner"], x.double()), "called by keyword"


def test_in_a_sequential_net_a_layer_hands_on_what_the_next_one_gets(original, retrained, small) -> None:
    found = cka(retrained, original, small[1])
    ours, theirs = (list(seen_by_layers(m, small[1]).values()) for m in (retrained, original))
    assert feature_cka(retrained, original, small[1]) == list(found.values())[-2]
    assert list(found.values())[:-1] == [linear_cka(a, b) for a, b in zip(ours[1:], theirs[1:], strict=True)]


class Recurrent(nn.Module):
    """One layer used twice in a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.f = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        first = self.a(x).relu()
        return self.f(self.b(self.b(first).relu()))


def test_of_a_layer_used_twice_all_uses_stand_in_one_row_a_sample() -> None:
    torch.manual_seed(0)
    model = Recurrent()
    seen = seen_by_layers(model, RANDOM, batch_size=25)
    first = model.a(RANDOM.x).relu().detach()
    second = model.b(first).relu().detach()
    torch.testing.assert_close(seen["b"], torch.cat([first, second], 1).double())
    models = {"original": model, "retrained": Recurrent(), "split": Split.by_class(RANDOM, 3)}
    assert set(linear_probe(model, **models, test=RANDOM).unlearned) == {"a", "b", "f"}
    handed = torch.cat([model.b(first), model.b(second)], 1).detach()
    assert cka(model, model, RANDOM)["b"] == pytest.approx(linear_cka(handed, handed))


class PerToken(nn.Module):
    """A layer that takes the four parts of every sample as rows of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.f = nn.Linear(2, 3), nn.Linear(12, 4)

    def forward(self, x):
        return self.f(self.token(x.reshape(-1, 2)).reshape(len(x), -1))


class NowAndThen(nn.Module):
    """A layer that only large batches see."""

    def __init__(self) -> None:
        super().__init__()
        self.often, self.rarely = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        if len(x) > 10:
            self.rarely(x)
        return self.often(x)


@pytest.mark.parametrize(("make", "layer"), [(PerToken, "token"), (NowAndThen, "rarely")])
def test_a_layer_that_does_not_take_one_row_a_sample_is_named(make, layer) -> None:
    with pytest.raises(ValueError, match=f"layer `{layer}` must take one row per sample"):
        cka(make(), make(), RANDOM)


def test_the_last_features_are_what_the_last_layer_gets() -> None:
    torch.manual_seed(0)
    model, other = Block().eval(), Block().eval()
    before_last = [seen_by_layers(m, RANDOM)["out"] for m in (model, other)]
    assert feature_cka(model, other, RANDOM) == linear_cka(*before_last) != cka(model, other, RANDOM)["side"]


def test_a_compiled_net_is_audited_as_the_net_that_it_is() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    compiled = torch.compile(plain, backend="eager")
    logits(compiled, RANDOM)  # compiled from here on
    seen, found = seen_by_layers(plain, RANDOM), seen_by_layers(compiled, RANDOM)
    assert [torch.equal(a, b) for a, b in zip(seen.values(), found.values(), strict=True)] == [True, True]


def test_audits_refuse_what_has_no_answer() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    with pytest.raises(ValueError, match="a row for each of the same samples; got 3, 4"):
        linear_cka(x, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="one of them is constant"):
        linear_cka(x, torch.full((3, 2), 0.1))
    with pytest.raises(ValueError, match="`y` must not hold NaN"):
        linear_cka(x, x.log() * torch.nan)
    with pytest.raises(ValueError, match="must have a linear or convolution layer that it calls"):
        seen_by_layers(nn.Sequential(nn.BatchNorm1d(8)), RANDOM)
    with pytest.raises(ValueError, match="must share a layer"):
        cka(HeadFirst(), nn.Sequential(nn.Linear(8, 4)), RANDOM)
    with pytest.raises(ValueError, match="`retain` and `batch_size` must be at least 2"):
        recalibrated(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)), RANDOM.select([0]))
    with pytest.raises(ValueError, match="the same answer each time"):
        cka(HeadFirst(), Noisy(), RANDOM)


class Noisy(HeadFirst):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x))


def test_a_layer_that_hands_on_a_constant_has_no_cka() -> None:
    uniform = uniform_output(HEADS["plain"]())
    found = list(cka(uniform, HEADS["plain"](), RANDOM).values())
    assert [math.isnan(value) for value in found] == [False, True]


def test_recalibration_takes_a_float64_net_on_stored_integers(digits) -> None:
    twin = recalibrated(net(batch_norm=True).double(), digits.train.head(50))
    assert twin[2].running_mean.dtype == torch.float64
