"""Updates as rows of numbers: which entries are kept, and what they take to store."""

from __future__ import annotations

import pytest
import torch

from unlearn_lib.methods.amnesiac import Updates
from unlearn_lib.methods.amnesiac.updates import check_rule, kept_entries, update_nbytes
from unlearn_lib.methods.layers import Layers, random_scores

LAYERS = Layers({"w": (2, 5), "b": (6,)})
ROWS = torch.tensor(
    [[9, 1, -8, 2, 0, 3, 0, 0, 0, 0, 4, 0, -5, 0, 0, 1], list(range(16))], dtype=torch.float64
)
UPDATES = Updates(LAYERS, ((1, 1), (1, 2)), ROWS, 7)


def entries(mask):
    return [row.nonzero().flatten().tolist() for row in mask]


def test_magnitude_ranks_within_layers_and_global_over_all():
    assert entries(UPDATES.kept(0.2)) == [[0, 2, 10, 12], [8, 9, 14, 15]]
    assert entries(UPDATES.kept(0.2, "global")) == [[0, 2, 10, 12], [12, 13, 14, 15]]
    assert torch.equal(UPDATES.kept(0.2, "magnitude"), UPDATES.kept(0.2))
    assert entries(UPDATES.kept({"b": 0.5})) == [[10, 12, 15], [13, 14, 15]]


def test_random_masks_follow_from_seed_epoch_step_and_layer():
    kept = UPDATES.kept(0.4, "random")
    assert kept[:, :10].sum(1).tolist() == [4, 4]
    assert kept[:, 10:].sum(1).tolist() == [3, 3]
    for row, key in zip(kept, UPDATES.keys, strict=True):
        assert torch.equal(row[None], LAYERS.top(random_scores(LAYERS, 7, *key)[None], 0.4))
    assert not torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("rule", ["magnitude", "random", "global"])
def test_no_updates_keep_nothing(rule):
    none = UPDATES[2:]
    assert len(none) == 0
    assert none.kept(0.5, rule).shape == (0, 16)


def test_a_part_of_the_updates_is_those_steps_of_the_same_run():
    part = UPDATES[1:]
    assert (len(part), part.keys, part.seed, part.layers) == (1, ((1, 2),), 7, LAYERS)
    assert torch.equal(part.kept(0.4, "random")[0], UPDATES.kept(0.4, "random")[1])


def test_the_number_kept_is_counted_by_layer_or_once_for_all():
    assert kept_entries(LAYERS, 0.25) == kept_entries(LAYERS, 0.25, "random") == 3 + 2
    assert kept_entries(LAYERS, 0.25, "global") == 4
    assert kept_entries(LAYERS, {"b": 1.0}) == 6


def test_an_update_is_stored_with_the_shorter_of_positions_and_bitmask():
    layers = Layers({"w": (1000,)})
    assert update_nbytes(layers, 0.01) == 10 * 4 + 10 * 4
    assert update_nbytes(layers, 0.5) == 500 * 4 + 125
    assert update_nbytes(layers, 0.5, itemsize=8) == 500 * 8 + 125
    assert update_nbytes(Layers({"w": (9,)}), 1) == 9 * 4 + 2
    assert update_nbytes(LAYERS, 0.25, "global") == 4 * 4 + 2
    assert update_nbytes(LAYERS, 0) == 0


def test_one_budget_for_all_layers_takes_one_number():
    check_rule("global", 0.5)
    check_rule("random", {"w": 0.5})
    with pytest.raises(ValueError, match="must be one number"):
        check_rule("global", {"w": 0.5})
