"""Who is in which slice of which shard, and what a request costs there: small numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from tests.toys import blobs
from unlearn_lib.data import keyed_order
from unlearn_lib.methods.sisa import Partition, partition
from unlearn_lib.methods.sisa.partition import expected_shards, expected_visits, stage_epochs

DATA = blobs(24)
CELLS = Partition.of([torch.tensor(ids) for ids in ([0, 1], [2], [3], [4, 5, 6], [7], [])], 3)


def test_cells_in_one_row_are_the_shards_one_after_another():
    assert (CELLS.shards, CELLS.slices) == (2, 3)
    assert CELLS.sizes == ((2, 1, 1), (3, 1, 0))
    assert [cell.tolist() for cell in CELLS.cells[1]] == [[4, 5, 6], [7], []]
    assert Partition.of(CELLS.flat, 3).sizes == CELLS.sizes


def test_a_restart_is_the_lowest_slice_of_each_shard_that_holds_an_id():
    assert CELLS.restarts([3]) == {1: 3}
    assert CELLS.restarts([2, 3, 7]) == {1: 2, 2: 2}
    assert CELLS.restarts([7, 4]) == {2: 1}
    assert CELLS.restarts([]) == {}
    with pytest.raises(ValueError, match=r"2 are not, among them \[8, 9\]"):
        CELLS.restarts([3, 8, 9])


def test_what_is_left_stays_where_it_was():
    assert [cell.tolist() for cell in CELLS.without([1, 3, 99]).flat] == [[0], [2], [], [4, 5, 6], [7], []]


def test_visits_are_samples_times_epochs_from_the_restart_on():
    epochs = [stage_epochs(r, 3, 8) for r in (1, 2, 3)]
    assert epochs == [4, 4, 4]
    assert CELLS.visits(8) == 4 * (2 + 3 + 4) + 4 * (3 + 4 + 4)
    assert CELLS.visits(8, [3]) == 4 * 3
    assert CELLS.visits(8, [2]) == 4 * (2 + 3)
    assert CELLS.visits(8, [0, 7]) == 4 * (1 + 2 + 3) + 4 * (3 + 3)
    assert CELLS.visits(8, []) == 0


@pytest.mark.parametrize(
    ("budget", "slices", "epochs"),
    [(5, 4, [2, 2, 2, 2]), (3, 4, [1, 1, 1, 1]), (1, 3, [0, 1, 0]), (2, 2, [1, 1])],
)
def test_the_epochs_of_a_stage_are_the_steps_of_a_rounded_line(budget, slices, epochs):
    assert [stage_epochs(r, slices, budget) for r in range(1, slices + 1)] == epochs
    assert stage_epochs(1, slices, 0) == 0


@pytest.mark.parametrize(("r", "budget"), [(0, 1), (4, 1), (1, -1)])
def test_a_stage_that_there_is_not_and_a_negative_budget_are_refused(r, budget):
    with pytest.raises(ValueError, match="must be"):
        stage_epochs(r, 3, budget)


def test_keyed_deals_the_keyed_order_in_turn_to_shards_and_then_to_slices():
    order = DATA.ids[keyed_order(DATA.ids, 5)].tolist()
    cells = partition(DATA, 3, 2, seed=5)
    assert [cell.tolist() for cell in cells.flat] == [order[s::3][r::2] for s in range(3) for r in range(2)]
    assert partition(DATA, 3, 2).sizes == ((4, 4),) * 3
    assert all(map(torch.equal, partition(DATA, 3, 2).flat, partition(DATA, 3, 2, "keyed", seed=0).flat))


def test_strat_deals_class_by_class_in_keyed_order():
    order = DATA.ids[keyed_order(DATA.ids, 5)].tolist()
    by_class = [i for label in range(3) for i in order if DATA.y[i] == label]
    cells = partition(DATA, 2, 3, "strat", seed=5)
    assert [cell.tolist() for cell in cells.flat] == [
        by_class[s::2][r::3] for s in range(2) for r in range(3)
    ]


def test_prior_puts_the_likely_into_the_last_slices_of_the_last_shards():
    likely = (DATA.ids >= 20).double() + (DATA.ids >= 22).double()
    cells = partition(DATA, 3, 2, "prior", likely=likely)
    assert cells.sizes == ((4, 4),) * 3
    assert sorted(cells.cells[2][1].tolist()) == [20, 21, 22, 23]
    assert cells.cells[2][1].tolist()[2:] in ([22, 23], [23, 22])
    order = DATA.ids[keyed_order(DATA.ids, 0)].tolist()
    assert torch.cat(cells.flat).tolist()[:20] == [i for i in order if i < 20], "equals keep the keyed order"


def test_as_many_cells_as_samples_are_the_most():
    assert partition(DATA, 24, 1).sizes == ((1,),) * 24
    assert partition(DATA, 1, 1).sizes == ((24,),)
    for shards, slices in ((5, 5), (25, 1), (0, 1), (1, 0)):
        with pytest.raises(ValueError, match="must be at"):
            partition(DATA, shards, slices)


def test_expected_work_of_one_sample_and_of_many():
    assert expected_visits(1200, 4, 3, 10) == pytest.approx(10 * 1200 / 4 * (2 / 3 + 1 / 9))
    assert expected_visits(1200, 1, 1, 10, requests=5) == pytest.approx(10 * 1200)
    by_hand = sum(2 * r / 12 * (1 - (1 - r / 12) ** 2) for r in (1, 2, 3))
    assert expected_visits(1200, 4, 3, 10, requests=2) == pytest.approx(12_000 * by_hand)
    assert expected_shards(4, 1) == pytest.approx(1)
    assert expected_shards(4, 3) == pytest.approx(4 * (1 - 0.75**3))
