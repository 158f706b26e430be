"""Layers as slices of one flat vector, and the choice of a few entries in each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from unlearn_lib.methods.layers import Layers, random_scores, top
from unlearn_lib.params import snapshot

SHAPES = {"conv.weight": (4, 6), "conv.bias": (4,), "scale": (), "fc.weight": (3, 4), "fc.bias": (3,)}
TENSORS, MODULES = Layers(SHAPES), Layers(SHAPES, "module")


def test_every_tensor_is_a_span_and_all_spans_together_are_the_vector():
    assert TENSORS.n == MODULES.n == 24 + 4 + 1 + 12 + 3
    assert TENSORS.spans == {
        "conv.weight": slice(0, 24),
        "conv.bias": slice(24, 28),
        "scale": slice(28, 29),
        "fc.weight": slice(29, 41),
        "fc.bias": slice(41, 44),
    }


def test_a_module_spans_all_it_owns_and_a_lone_parameter_is_a_layer():
    assert MODULES.spans == {"conv": slice(0, 28), "scale": slice(28, 29), "fc": slice(29, 44)}


def test_layers_of_a_model_are_its_trainable_tensors_in_order():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    net[1].requires_grad_(False)
    assert list(Layers.of(net).spans) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(Layers.of(net, "module").spans) == ["0", "2"]
    assert Layers.of(net).n == 6 + 2 + 2 + 1


def test_a_vector_cut_into_tensors_and_joined_is_the_vector():
    vector = torch.arange(44.0)
    parts = TENSORS.unflatten(vector)
    assert {name: tuple(part.shape) for name, part in parts.items()} == SHAPES
    assert torch.equal(TENSORS.flatten(parts), vector)
    net = nn.Linear(3, 2)
    assert torch.equal(Layers.of(net).flatten(snapshot(net)), nn.utils.parameters_to_vector(net.parameters()))


def test_only_keeps_the_layers_named_and_their_grouping():
    assert TENSORS.only(["fc.bias", "scale"]).shapes == {"scale": (), "fc.bias": (3,)}
    assert MODULES.only(["fc"]) == Layers({"fc.weight": (3, 4), "fc.bias": (3,)}, "module")


def test_a_layer_that_is_not_named_is_off_and_a_number_is_for_all():
    assert TENSORS.shares({"scale": 1, "fc.bias": 0.5}) == dict.fromkeys(SHAPES, 0.0) | {
        "scale": 1,
        "fc.bias": 0.5,
    }
    assert set(MODULES.shares(0.25).values()) == {0.25}
    assert MODULES.budgets({"conv": 0.5, "fc": 0.5}) == {"conv": 14, "scale": 0, "fc": 8}
    assert TENSORS.budgets(0.01) == dict.fromkeys(SHAPES, 1), "one entry at least"


@pytest.mark.parametrize("keep", [-0.01, 1.01, math.nan, {"scale": -0.01}, {"scale": 2.0}, {"fc": 0.5}, {}])
def test_a_share_outside_its_range_or_of_no_layer_is_refused(keep):
    with pytest.raises((ValueError, TypeError), match="keep"):
        TENSORS.budgets(keep)


def test_the_top_of_every_layer_is_chosen_by_itself_row_by_row():
    scores = torch.stack([torch.arange(44.0), torch.arange(44.0).flip(0)])
    mask = MODULES.top(scores, {"conv": 2 / 28, "fc": 3 / 15})
    assert [row.nonzero().flatten().tolist() for row in mask] == [[26, 27, 41, 42, 43], [0, 1, 29, 30, 31]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_largest_are_found_in_every_floating_point_type(dtype):
    scores = torch.rand(5, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    for k in (0, 1, 13, 39, 40):
        mask = top(scores, k)
        assert mask.sum(1).tolist() == [k] * 5
        if 0 < k < 40:
            for row, kept in zip(scores, mask, strict=True):
                assert row[kept].min() >= row[~kept].max()


def test_random_scores_follow_from_key_and_name_and_from_nothing_else():
    scores = random_scores(TENSORS, 1, 2)
    assert scores.shape == (44,)
    assert torch.equal(scores, random_scores(TENSORS, 1, 2))
    assert not torch.equal(scores, random_scores(TENSORS, 2, 1))
    assert 0 <= scores.min() < 0.2 < 0.8 < scores.max() < 1
    alone = random_scores(Layers({"fc.weight": (3, 4)}), 1, 2)
    assert torch.equal(scores[29:41], alone), "wherever the layer lies"
    renamed = random_scores(Layers({"other.weight": (3, 4)}), 1, 2)
    assert not torch.equal(alone, renamed)


def test_a_budget_is_rounded_to_nine_decimals_before_it_is_raised():
    layer = Layers({"w": (100,)})
    assert [layer.budgets(p)["w"] for p in (0.07, 0.07 + 3e-12, 0.07 + 6e-12)] == [7, 7, 8]


def test_the_grouping_is_by_tensor_unless_it_is_by_module():
    assert Layers(SHAPES).group == "tensor"
    with pytest.raises((ValueError, TypeError), match="group"):
        Layers(SHAPES, "block")
