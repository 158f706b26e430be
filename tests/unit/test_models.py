"""The networks."""

from __future__ import annotations

import pytest
import torch

from unlearn_lib import models


@pytest.mark.parametrize("name", list(models.MODELS))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_every_network_takes_images_and_gives_one_score_per_class(name, shape):
    net = models.build(name, shape, 7).eval()
    assert net(torch.zeros(2, *shape)).shape == (2, 7)


def test_the_weights_follow_from_the_seed_and_the_global_stream_is_untouched():
    state = torch.get_rng_state()
    a, b, c = (models.build("small_cnn", (1, 8, 8), 10, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_the_small_ones_have_the_stated_sizes():
    def size(net):
        return sum(p.numel() for p in net.parameters())

    assert size(models.build("mlp", (1, 8, 8), 10)) == 2410
    assert size(models.build("lenet5", (1, 28, 28), 10)) == 61_706


def test_only_the_named_networks_have_batch_norm():
    with_norm = {
        n
        for n in models.MODELS
        if any("Norm" in type(m).__name__ for m in models.build(n, (3, 32, 32), 10).modules())
    }
    assert with_norm == {"small_cnn_bn", "resnet18"}


def test_an_unknown_network_is_refused_with_the_right_names():
    with pytest.raises(ValueError, match=r"must be one of mlp, small_cnn, .*; got 'cnn'"):
        models.build("cnn", (1, 8, 8), 10)


def test_lenet5_refuses_images_too_small_for_it():
    with pytest.raises(ValueError, match="at least 12x12 for lenet5; got 8x8"):
        models.build("lenet5", (1, 8, 8), 10)
