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
