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


def conv(inputs, outputs, kernel):
    return (inputs * kernel**2 + 1) * outputs


def linear(inputs, outputs):
    return (inputs + 1) * outputs


CNN = conv(3, 32, 3) + conv(32, 64, 3) + linear(64 * 8 * 6, 64) + linear(64, 7)
LENET = conv(3, 6, 5) + conv(6, 16, 5) + linear(16 * 2 * 1, 120) + linear(120, 84) + linear(84, 7)
SIZES = {
    "mlp": linear(3 * 16 * 12, 32) + linear(32, 7),
    "mlp_bn": linear(3 * 16 * 12, 32) + 2 * 32 + linear(32, 7),
    "small_cnn": CNN,
    "small_cnn_bn": CNN + 2 * (32 + 64 + 64),
    "lenet5": LENET,
    "lenet5_dropout": LENET,
    "resnet18": 11_689_512 - 3 * 64 * (7**2 - 3**2) - linear(512, 1000) + linear(512, 7),  # torchvision's
}


def size(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", list(models.MODELS))
def test_the_layers_have_the_stated_widths_on_oblong_images(name):
    assert size(models.build(name, (3, 16, 12), 7)) == SIZES[name]


def test_the_small_ones_have_the_stated_sizes():
    assert size(models.build("mlp", (1, 8, 8), 10)) == 2410
    assert size(models.build("lenet5", (1, 28, 28), 10)) == 61_706


@pytest.mark.parametrize("name", ["small_cnn", "small_cnn_bn", "resnet18"])
def test_odd_and_oblong_images_are_taken_as_well(name):
    assert models.build(name, (1, 9, 7), 7).eval()(torch.zeros(2, 1, 9, 7)).shape == (2, 7)


def test_lenet5_takes_images_of_12_by_12_and_no_smaller_side():
    assert models.build("lenet5", (1, 12, 12), 3)(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    for shape in ((1, 12, 11), (1, 11, 12)):
        with pytest.raises(ValueError, match="at least 12x12"):
            models.build("lenet5", shape, 3)


def test_only_one_lenet5_has_dropout_of_three_tenths():
    rates = {
        name: [m.p for m in models.build(name, (1, 28, 28), 10).modules() if isinstance(m, torch.nn.Dropout)]
        for name in models.MODELS
    }
    assert rates.pop("lenet5_dropout") == [0.3]
    assert set(map(tuple, rates.values())) == {()}


def test_the_second_convolution_and_the_pools_halve_the_image():
    net = models.build("small_cnn", (1, 8, 6), 10)
    assert net[:1](torch.zeros(1, 1, 8, 6)).shape == (1, 32, 8, 6)
    assert net[:3](torch.zeros(1, 1, 8, 6)).shape == (1, 64, 4, 3)
    stem = models.build("resnet18", (1, 8, 6), 10)
    assert stem.maxpool(stem.conv1(torch.zeros(1, 1, 8, 6))).shape == (1, 64, 8, 6)


def test_only_the_named_networks_have_batch_norm():
    with_norm = {
        n
        for n in models.MODELS
        if any("Norm" in type(m).__name__ for m in models.build(n, (3, 32, 32), 10).modules())
    }
    assert with_norm == {"mlp_bn", "small_cnn_bn", "resnet18"}


def test_an_unknown_network_is_refused_with_the_right_names():
    with pytest.raises(ValueError, match=r"must be one of mlp, small_cnn, .*; got 'cnn'"):
        models.build("cnn", (1, 8, 8), 10)


def test_lenet5_refuses_images_too_small_for_it():
    with pytest.raises(ValueError, match="at least 12x12 for lenet5; got 8x8"):
        models.build("lenet5", (1, 8, 8), 10)
