"""Arithmetic of parameters."""

from __future__ import annotations

import pytest
import torch

from tests.toys import tiny_net
from unlearn_lib import models, params


def test_a_snapshot_does_not_follow_the_model():
    net = tiny_net()
    before = params.snapshot(net)
    with torch.no_grad():
        next(net.parameters()).add_(1)
    assert params.l1(params.subtract(params.snapshot(net), before)) > 0


def test_only_trainable_parameters_take_part():
    net = models.build("small_cnn_bn", (1, 8, 8), 10)
    net[0].requires_grad_(False)
    assert set(params.snapshot(net)) == {n for n, p in net.named_parameters() if p.requires_grad}
    assert set(params.state(net)) == set(net.state_dict())


def test_adding_what_was_subtracted_gives_the_model_back():
    a, b = (params.snapshot(tiny_net(seed=s)) for s in (0, 1))
    back = params.add(b, params.subtract(a, b))
    assert all(torch.allclose(a[name], back[name], atol=1e-15) for name in a)
    assert params.l2(params.scale(a, 2.0)) == pytest.approx(2 * params.l2(a))


def test_norms_equal_those_of_the_flat_vector():
    a = params.snapshot(tiny_net())
    flat = torch.cat([value.flatten() for value in a.values()])
    assert params.l1(a) == pytest.approx(float(flat.abs().sum()), rel=1e-12)
    assert params.l2(a) == pytest.approx(float(flat.norm()), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("1.weigth", torch.zeros(32, 5), "which the model does not have"),
        ("1.bias", torch.zeros(3), r"\[32\]; got"),
    ],
)
def test_a_wrong_name_or_shape_is_refused_and_nothing_is_written(name, value, message):
    net, before = tiny_net(), params.state(tiny_net())
    with pytest.raises(ValueError, match=message):
        params.assign(net, {"1.weight": torch.zeros(32, 5).double(), name: value})
    assert all(torch.equal(before[key], found) for key, found in params.state(net).items())


def test_a_clone_shares_nothing_with_its_model():
    net = tiny_net()
    net(torch.zeros(2, 5).double()).sum().backward()
    twin = params.clone(net)
    assert all(p.grad is None for p in twin.parameters())
    assert next(net.parameters()).grad is not None
    assert not {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in twin.parameters()}


def test_arithmetic_is_tensor_by_tensor():
    a, b = (
        {"x": torch.tensor([1.0, -2.0]), "y": torch.tensor([[3.0]])},
        {"x": torch.ones(2), "y": torch.ones(1, 1)},
    )
    assert {n: v.tolist() for n, v in params.add(a, b).items()} == {"x": [2, -1], "y": [[4]]}
    assert {n: v.tolist() for n, v in params.subtract(a, b).items()} == {"x": [0, -3], "y": [[2]]}
    assert {n: v.tolist() for n, v in params.scale(a, 3.0).items()} == {"x": [3, -6], "y": [[9]]}
    assert params.l1(a) == 6
    assert params.l2(a) == pytest.approx(14**0.5)
    assert params.l1({}) == params.l2({}) == 0


def test_a_frozen_copy_answers_in_eval_mode_and_learns_nothing():
    net = models.build("small_cnn_bn", (1, 8, 8), 10).train()
    twin = params.frozen_copy(net)
    assert not any(module.training for module in twin.modules())
    assert not any(p.requires_grad for p in twin.parameters())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())


def test_a_state_holds_buffers_and_does_not_follow_the_model():
    net = models.build("small_cnn_bn", (1, 8, 8), 10)
    before = params.state(net)
    net.train()(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert int(before["1.num_batches_tracked"]) == 0
    assert not torch.equal(before["1.running_mean"], params.state(net)["1.running_mean"])
    params.assign(net, before)
    assert all(torch.equal(before[name], value) for name, value in params.state(net).items())


def test_a_digest_knows_every_bit_and_the_order_of_its_parts() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([1.0, -0.0])
    assert params.digest("w", a) == params.digest("w", a.clone().requires_grad_())
    others = (("v", a), ("w", b), ("w", b.abs()), (a, "w"), ("w", a, b), ("w", a.double()))
    every = {params.digest(*parts) for parts in (("w", a), *others)}
    assert len(every) == 7
    assert {len(params.digest(a)), len(params.digest(a, algorithm="sha256"))} == {32, 64}
