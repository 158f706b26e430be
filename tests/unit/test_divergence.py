"""Laws of metrics/divergence.py."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.utils.prune
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.oracles import js_slow, reversed_kl_over_k, sorted_w1
from tests.toys import blobs, tiny_net
from unlearn_lib.metrics.divergence import (
    activation_distance,
    agreement,
    entropy,
    js,
    js_each,
    log_entropy,
    log_entropy_w1,
    predicted_class_tv,
    probabilities,
    untrained_twin,
    weight_distance,
    zrf,
)
from unlearn_lib.models import build
from unlearn_lib.params import add, assign, scale, snapshot
from unlearn_lib.train import Recipe, run, train


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


P, Q = rows([0.7, 0.2, 0.1]), rows([0.1, 0.6, 0.3])
UNIFORM = torch.full((1, 10), 0.1, dtype=torch.float64)
ONE_HOT = torch.eye(10, dtype=torch.float64)


def random_outputs(seed: int, n: int = 40, k: int = 5) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return probabilities(3 * torch.randn(n, k, generator=stream))


def test_activation_distance_of_the_known_pair_is_7483() -> None:
    assert activation_distance(P, Q) == pytest.approx(0.7483, abs=5e-5)


def test_activation_distance_is_symmetric_and_at_most_root_two() -> None:
    a, b = random_outputs(0), random_outputs(1)
    assert activation_distance(a, b) == activation_distance(b, a) > 0
    assert activation_distance(a, a) == 0
    assert activation_distance(ONE_HOT, ONE_HOT.roll(1, 0)) == pytest.approx(math.sqrt(2))


def test_js_of_the_known_pairs() -> None:
    assert js(P, Q) == pytest.approx(0.2050, abs=5e-5)
    assert js(rows([0.9, 0.1]), rows([0.1, 0.9])) == pytest.approx(0.3681, abs=5e-5)


def test_js_is_symmetric_finite_with_zeros_and_ln_2_for_disjoint_one_hots() -> None:
    a, b = random_outputs(0), random_outputs(1)
    assert js(a, b) == pytest.approx(js(b, a), rel=1e-14)
    assert js(a, a) == 0
    assert js(ONE_HOT, ONE_HOT.roll(1, 0)) == pytest.approx(math.log(2), rel=1e-15)
    assert 0 < js(rows([1.0, 0.0, 0.0]), P) < math.log(2)


@settings(max_examples=50)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_js_equals_the_loop_oracle(k: int, seed: int) -> None:
    a, b = random_outputs(seed, 4, k), random_outputs(seed + 1, 4, k)
    a[0], b[1] = 0.0, 0.0
    a[0, 0] = b[1, 1] = 1.0  # with zeros
    slow = [js_slow(p.tolist(), q.tolist()) for p, q in zip(a, b, strict=True)]
    assert js_each(a, b).tolist() == pytest.approx(slow, abs=1e-13)
    assert js(a, b) == pytest.approx(sum(slow) / 4, abs=1e-13)


def test_the_circulated_js_is_the_reversed_one_over_k_and_no_default() -> None:
    pairs = [(P, Q, 0.0839), (rows([0.9, 0.1]), rows([0.1, 0.9]), 0.2554)]
    for p, q, value in pairs:
        assert js(p, q, legacy=True) == pytest.approx(value, abs=5e-5)
        assert js(p, q, legacy=True) == pytest.approx(reversed_kl_over_k(p[0].tolist(), q[0].tolist()))
        assert js(p, q) != js(p, q, legacy=True)


def test_the_circulated_js_is_what_the_published_call_computes() -> None:
    # F.kl_div(log p, m): PyTorch takes the *second* argument as the reference distribution: KL(m||p)
    a, b = random_outputs(0, 200, 10), random_outputs(1, 200, 10)
    m = (a + b) / 2
    kl = nn.functional.kl_div
    published = 0.5 * kl(a.log(), m, reduction="none").mean() + 0.5 * kl(b.log(), m, reduction="none").mean()
    assert js(a, b, legacy=True) == pytest.approx(float(published))


def test_zrf_is_one_for_the_teacher_and_known_for_one_hot_and_uniform() -> None:
    assert zrf(UNIFORM, [UNIFORM]) == 1
    assert zrf(ONE_HOT, [UNIFORM.expand(10, 10)]) == pytest.approx(0.4744, abs=5e-5)


def test_zrf_is_bounded_and_the_mean_over_teachers() -> None:
    outputs, teachers = random_outputs(0), [random_outputs(s) for s in (1, 2, 3)]
    each = [zrf(outputs, [teacher]) for teacher in teachers]
    assert all(1 - math.log(2) <= value <= 1 for value in each)
    assert zrf(outputs, teachers) == pytest.approx(sum(each) / 3)
    assert zrf(ONE_HOT, [ONE_HOT.roll(1, 0)]) == pytest.approx(1 - math.log(2))


def test_a_flat_output_wins_zrf_against_flat_teachers() -> None:
    logits = 3 * torch.randn(40, 10, generator=torch.Generator().manual_seed(0))
    teachers = [probabilities(logits.roll(1, 0), temperature=20.0)]
    scores = [zrf(probabilities(logits, t), teachers) for t in (1.0, 4.0, 16.0)]
    assert scores == sorted(scores)


def test_an_untrained_twin_has_fresh_weights_and_leaves_the_rest_alone() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    run(train(net, blobs(), Recipe(epochs=2)))
    before, stream = snapshot(net), torch.get_rng_state()
    a, b, again = (untrained_twin(net, seed) for seed in (0, 1, 0))
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(p, before[n]) for n, p in snapshot(net).items())
    assert torch.equal(a[0].weight, again[0].weight)
    assert not torch.equal(a[0].weight, b[0].weight)
    assert torch.equal(a[1].running_mean, torch.zeros(4).double())
    assert not any(m.training for m in a.modules())
    assert a[0].weight.dtype == torch.float64

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match=r"`Scaled` has no `reset_parameters`"):
        untrained_twin(Scaled())


class Adapter(nn.Linear):
    """A linear layer with a low-rank adapter, which its reset does not know."""

    def __init__(self) -> None:
        super().__init__(5, 3)
        self.A = nn.Parameter(torch.ones(2, 5))


class Half(nn.Linear):
    """A layer whose reset forgets half of its weight."""

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight[:1] = 0.0
            self.bias.zero_()


class Running(nn.Module):
    """A norm of the user's own, without a reset."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(3))

    def forward(self, x):
        return x - self.center


class Failing(nn.Linear):
    def reset_parameters(self) -> None:
        if hasattr(self, "bias"):
            raise RuntimeError("no reset here")
        super().reset_parameters()


def pruned() -> nn.Module:
    layer = nn.Linear(5, 3)
    nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5)
    return layer


def weight_normed() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(5, 3))


KEPT = {
    "0.A": Adapter,
    "0.weight": lambda: Half(5, 3),
    "0.center": Running,
    "0.weight_orig": pruned,
    "0.weight_g": weight_normed,
    "0.parametrizations.weight.original0": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)),
    "0.parametrizations.weight.original": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 3)),
}


@pytest.mark.parametrize(("name", "make"), KEPT.items())
def test_an_untrained_twin_that_would_keep_something_trained_is_refused(name, make) -> None:
    with pytest.raises(ValueError, match=f"`{name}` would keep its trained value|has no `reset_parameters`"):
        untrained_twin(nn.Sequential(make(), nn.Linear(3, 3)))


def test_a_reset_that_fails_is_named() -> None:
    layer = nn.Linear(5, 3)
    layer.__class__ = Failing
    with pytest.raises(ValueError, match=r"`reset_parameters` of `Failing` fails \(no reset here\)"):
        untrained_twin(layer)


@pytest.mark.parametrize("name", ["mlp", "small_cnn_bn", "lenet5_dropout", "resnet18"])
def test_an_untrained_twin_of_a_known_net_keeps_no_trained_entry(name) -> None:
    net = build(name, (1, 16, 16), 4)
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            value.fill_(7)
    twin = untrained_twin(net)
    assert not any((value == 7).any() for value in (*twin.parameters(), *twin.buffers()))


def test_agreement_is_one_and_tv_zero_for_equal_outputs() -> None:
    a, b = random_outputs(0), random_outputs(1)
    assert agreement(a, a) == 1
    assert predicted_class_tv(a, a) == 0
    assert 0 < agreement(a, b) < 1
    assert agreement(a.log(), b.log()) == agreement(a, b), "logits do as well"


def test_histogram_tv_of_the_known_pair_is_6() -> None:
    # predicted classes in the shares (.7, .2, .1) and (.1, .6, .3)
    u, s = (
        nn.functional.one_hot(torch.tensor(y)).double()
        for y in ([0] * 7 + [1] * 2 + [2], [0] + [1] * 6 + [2] * 3)
    )
    assert predicted_class_tv(u, s) == pytest.approx(0.6)


def test_tv_sees_only_marginals() -> None:
    assert predicted_class_tv(ONE_HOT, ONE_HOT.roll(1, 0)) == 0
    assert agreement(ONE_HOT, ONE_HOT.roll(1, 0)) == 0


def test_log_entropy_of_a_uniform_output_is_8340_and_of_a_one_hot_is_finite() -> None:
    assert log_entropy(UNIFORM).item() == pytest.approx(0.8340, abs=5e-5)
    assert log_entropy(ONE_HOT).tolist() == pytest.approx([math.log(1e-12)] * 10)
    assert entropy(ONE_HOT).tolist() == [0] * 10


def test_equals_the_sorted_sample_oracle_and_is_zero_for_permuted_samples() -> None:
    a, b = random_outputs(0), random_outputs(1)
    slow = sorted_w1(log_entropy(a).tolist(), log_entropy(b).tolist())
    assert log_entropy_w1(a, b) == pytest.approx(slow) == log_entropy_w1(b, a)
    assert slow > 0
    assert log_entropy_w1(a, a[torch.randperm(40, generator=torch.Generator().manual_seed(0))]) == 0


def test_weight_distance_is_zero_for_a_copy_and_grows_linearly() -> None:
    net, moved, far = tiny_net(), tiny_net(), tiny_net()
    delta = scale(snapshot(tiny_net(seed=1)), 0.01)
    assign(moved, add(snapshot(net), delta))
    assign(far, add(snapshot(net), scale(delta, 3.0)))
    assert weight_distance(net, tiny_net()).total == 0
    near = weight_distance(moved, net)
    assert weight_distance(far, net).total == pytest.approx(3 * near.total)
    assert list(near.layers) == ["1", "3"]
    for layer, value in weight_distance(far, net).layers.items():
        assert value == pytest.approx(3 * near.layers[layer])


def test_weight_distance_is_the_formula_and_counts_no_buffer() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).double()
    other = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).double()
    other.load_state_dict(net.state_dict())
    other[1].running_mean += 7
    assert weight_distance(other, net).total == 0
    with torch.no_grad():
        other[1].bias += 2.0
    moved = math.sqrt(4 * 2.0**2)
    assert weight_distance(other, net).layers == {"0": 0, "1": pytest.approx(moved / 2)}  # ‖(1, 1, 1, 1)‖ = 2
    size = math.sqrt(sum(float(p.square().sum()) for p in snapshot(net).values()))
    assert weight_distance(other, net).total == pytest.approx(moved / size)


def test_two_retrained_seeds_are_apart() -> None:
    assert weight_distance(tiny_net(seed=0), tiny_net(seed=1)).total > 0.5


def test_temperature_flattens_and_one_is_softmax() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(probabilities(logits), logits.double().softmax(1))
    assert entropy(probabilities(logits, 10.0)).min() > entropy(probabilities(logits)).max()


def test_errors_name_the_thing_the_rule_and_the_value() -> None:
    with pytest.raises(ValueError, match=r"`temperature` must be positive and finite; got 0"):
        probabilities(torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match=r"`teachers` must hold at least one"):
        zrf(P, [])
    with pytest.raises(ValueError, match=r"parameters of the same names and shapes"):
        weight_distance(tiny_net(), tiny_net(features=4))


def test_rounding_never_leaves_the_interval_of_js() -> None:
    a = random_outputs(0, 300, 10)
    assert js_each(a, a * (1 + 1e-16)).min() >= 0
    assert js_each(ONE_HOT, ONE_HOT.roll(1, 0)).max() <= math.log(2)


def test_of_unequal_numbers_of_samples_the_shares_are_compared() -> None:
    p, q = ONE_HOT[:, :4][[0, 1, 1, 2]], ONE_HOT[:, :4][[1, 1]]
    assert predicted_class_tv(p, q) == pytest.approx((1 / 4 + 1 / 2 + 1 / 4) / 2)


def test_an_entropy_counts_as_one_in_a_million_million_at_least() -> None:
    almost = rows([1 - 1e-15, 1e-15])
    assert log_entropy(almost).item() == pytest.approx(math.log(1e-12))
    assert log_entropy(rows([0.5, 0.5])).item() == pytest.approx(math.log(math.log(2)))


def test_a_layer_that_was_zero_is_infinitely_far_once_it_moves() -> None:
    still, moved = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        for p in (*still.parameters(), *moved.parameters()):
            p.zero_()
        assert weight_distance(moved, still).total == 0
        moved.weight[0, 0] = 1
    assert weight_distance(moved, still).total == math.inf


def test_a_parameter_of_the_net_itself_is_a_layer_of_its_own_name() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor, self.net = nn.Parameter(torch.full((2,), factor)), nn.Linear(1, 1)
            nn.init.ones_(self.net.weight)
            nn.init.ones_(self.net.bias)

    found = weight_distance(Scaled(3.0), Scaled(2.0))
    assert found.layers == {"factor": pytest.approx(1 / 2), "net": 0}
    assert found.total == pytest.approx(math.sqrt(2 / (8 + 2)))


def test_outputs_over_other_samples_or_without_a_row_each_are_refused() -> None:
    for wrong in (rows([0.5, 0.5]), rows([0.7, 0.2, 0.1], [0.7, 0.2, 0.1])):
        for measure in (js, activation_distance, agreement):
            with pytest.raises((ValueError, TypeError)):  # run-time type checks may come first
                measure(P, wrong)


def test_a_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    assert probabilities(logits, 4.0)[0, 0] == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert probabilities(logits)[0, 0] == pytest.approx(1 / (1 + math.exp(-2)))


def test_the_first_twin_is_that_of_seed_zero() -> None:
    net = tiny_net()
    assert torch.equal(untrained_twin(net)[1].weight, untrained_twin(net, 0)[1].weight)
