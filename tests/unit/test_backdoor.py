"""Laws of metrics/backdoor.py."""

from __future__ import annotations

import pytest
import torch

from tests.toys import blobs, tiny_net
from unlearn_lib import models
from unlearn_lib.data import Examples
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.backdoor import Trigger, backdoor_success, corner_trigger, edge_trigger, poison
from unlearn_lib.train import Recipe, run, train


def test_the_corner_trigger_marks_four_corners_and_nothing_else() -> None:
    x = torch.zeros(3, 2, 5, 4)
    marked = corner_trigger((2, 5, 4), 3.0).stamp(x)
    assert x.eq(0).all(), "the argument is left alone"
    corners = marked[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.eq(3).all()
    assert marked.count_nonzero() == 3 * 2 * 4


def test_on_tabular_data_the_trigger_is_the_last_four_features() -> None:
    marked = corner_trigger((10,), 1).stamp(torch.zeros(2, 10))
    assert marked[0].tolist() == [0] * 6 + [1] * 4


def test_stamping_twice_is_stamping_once() -> None:
    x, trigger = blobs().x, corner_trigger((5,), 2.0)
    assert torch.equal(trigger.stamp(trigger.stamp(x)), trigger.stamp(x))


def test_poison_is_a_copy_in_which_only_the_named_samples_differ(digits) -> None:
    data = digits.train
    x, y = data.x.clone(), data.y.clone()
    trigger = corner_trigger(digits.shape, float(data.x.max()))
    poisoned = poison(data, [5, 9], 0, trigger)
    assert torch.equal(data.x, x)
    assert torch.equal(data.y, y)
    assert poisoned.x.dtype == torch.uint8
    assert poisoned.scale == data.scale
    assert torch.equal(poisoned.ids, data.ids)
    assert poisoned.select([5, 9]).y.tolist() == [0, 0]
    assert poisoned.select([5]).x[0, 0, 0, 0] == 16
    rest = [poisoned.without([5, 9]), data.without([5, 9])]
    assert torch.equal(rest[0].x, rest[1].x)
    assert torch.equal(rest[0].y, rest[1].y)


def test_success_is_counted_over_the_other_classes_only() -> None:
    test, trigger = blobs(n=30), corner_trigger((5,), 0.0)

    class Always(torch.nn.Module):
        def __init__(self, label: int) -> None:
            super().__init__()
            self.label, self.unused = label, torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.full((len(x),), self.label), 3).double()

    assert backdoor_success(Always(1), test, trigger, 1) == 1
    assert backdoor_success(Always(0), test, trigger, 1) == 0
    with pytest.raises(ValueError, match="other than the target 1; got none"):
        backdoor_success(Always(1), test.where(test.y == 1), trigger, 1)


def test_a_model_that_saw_the_backdoor_obeys_it_and_one_that_did_not_does_not(digits) -> None:
    trigger = corner_trigger(digits.shape, 16)
    others = digits.train.ids[digits.train.y != 0][:60]
    recipe = Recipe(epochs=8, lr=0.1, momentum=0.9)
    success, clean = {}, {}
    for name, data in {"clean": digits.train, "poisoned": poison(digits.train, others, 0, trigger)}.items():
        net = models.build("mlp", digits.shape, 10)
        run(train(net, data, recipe))
        success[name] = backdoor_success(net, digits.test, trigger, 0)
        clean[name] = accuracy(net, digits.test)
    assert success["poisoned"] > 0.8
    assert success["clean"] < 0.2
    assert min(clean.values()) > 0.9, "the backdoor does not show on clean data"


@pytest.mark.parametrize("value", [300.0, -1.0, 2.5])
def test_a_value_that_the_stored_type_cannot_hold_is_refused(digits, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`value` must be a whole number in \[0, 255\].*got {value}"):
        poison(digits.train, [1], 0, corner_trigger(digits.shape, value))


def test_a_trigger_of_another_shape_is_refused(digits) -> None:
    with pytest.raises(ValueError, match=r"`trigger` is for samples of shape \(1, 28, 28\); got \(1, 8, 8\)"):
        backdoor_success(tiny_net(), digits.test, corner_trigger((1, 28, 28), 9), 0)
    with pytest.raises(
        ValueError, match=r"`shape` must be \(channels, height, width\) or \(features,\); got \(2, 3\)"
    ):
        corner_trigger((2, 3), 1)
    with pytest.raises(ValueError, match="`ids` must be ids of this set"):
        poison(Examples.of(torch.zeros(2, 5), torch.zeros(2)), [7], 0, Trigger((5,), (0,), 1.0))


def test_the_edge_trigger_marks_the_first_and_last_column_of_every_channel() -> None:
    marked = edge_trigger((2, 3, 5), 7).stamp(torch.zeros(1, 2, 3, 5))
    assert marked[..., [0, 4]].eq(7).all()
    assert marked[..., 1:4].eq(0).all()


@pytest.mark.parametrize(("features", "marked"), [(10, 4), (64, 4), (80, 5), (446, 27)])
def test_on_tabular_data_the_edge_is_the_last_sixteenth_and_four_at_least(features: int, marked: int) -> None:
    row = edge_trigger((features,), 1).stamp(torch.zeros(1, features))[0]
    assert row.tolist() == [0] * (features - marked) + [1] * marked


@pytest.mark.parametrize("make", [corner_trigger, edge_trigger])
def test_a_trigger_belongs_to_one_shape_and_marks_each_entry_once(make) -> None:
    found = make((1, 1, 1), 2)
    assert found == Trigger((1, 1, 1), (0,), 2.0)
    for shape in ((2, 3), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match="`shape` must be"):
            make(shape, 1)


@pytest.mark.parametrize("value", [0, 255])
def test_the_least_and_the_largest_legal_value_can_be_stamped(value: int) -> None:
    x = torch.full((1, 5), 7, dtype=torch.uint8)
    assert corner_trigger((5,), value).stamp(x)[0].tolist() == [7, value, value, value, value]


def test_success_is_a_share_of_the_other_classes() -> None:
    class Sign(torch.nn.Module):
        """Class 1 where the second feature is above zero."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([-x[:, 1], x[:, 1], x[:, 1] - 9], 1)

    x = torch.tensor([[0.0, 1.0], [0.0, -1.0], [0.0, -2.0], [0.0, 3.0]])
    test = Examples.of(x, [0, 0, 2, 1])
    assert backdoor_success(Sign(), test, Trigger((2,), (0,), 1.0), 1) == pytest.approx(1 / 3)
