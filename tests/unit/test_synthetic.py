"""Two moons with a mislabeled tip, and noise that gives samples their own details."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from unlearn_lib.data import load
from unlearn_lib.synthetic import noisy, two_moons


def test_the_moons_are_the_same_bits_every_time_and_leave_the_random_stream_alone() -> None:
    before = torch.get_rng_state()
    one, two, other = two_moons(seed=3), two_moons(seed=3), two_moons(seed=4)
    assert torch.equal(one.train.x, two.train.x)
    assert torch.equal(one.test.x, two.test.x)
    assert not torch.equal(one.train.x, other.train.x)
    assert torch.equal(before, torch.get_rng_state())


def test_ids_count_from_left_to_right_and_the_first_are_mislabeled() -> None:
    right, wrong = two_moons(mislabeled=0), two_moons(mislabeled=10)
    assert torch.equal(wrong.train.ids, torch.arange(160))
    assert (wrong.train.x[:, 0].diff() >= 0).all()
    assert torch.equal(right.train.x, wrong.train.x)
    assert (right.train.y[:10] == 0).all(), "the left tip belongs to the upper moon"
    assert (wrong.train.y[:10] == 1).all()
    assert torch.equal(right.train.y[10:], wrong.train.y[10:])
    assert (wrong.train.y[-10:] == 1).all(), "the right tip belongs to the lower moon"


def test_without_noise_the_points_lie_on_two_half_circles_half_of_them_on_each() -> None:
    toy = two_moons(points=40, mislabeled=0, noise=0.0)
    assert toy.train.y.bincount().tolist() == [20, 20]
    assert toy.test.y.bincount().tolist() == [40, 40]
    for part in (toy.train, toy.test):
        for label, center in enumerate(([0.0, 0.0], [1.0, 0.5])):
            mine = part.x[part.y == label] - torch.tensor(center)
            assert torch.allclose(mine.norm(dim=1), torch.ones(len(mine)), atol=1e-6)
            assert ((mine[:, 1] > 0) == (label == 0)).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"points": 4}, "`points` must be at least 8"),
        ({"mislabeled": 21}, "at most an eighth of them"),
        ({"mislabeled": -1}, "got 160 and -1."),
        ({"noise": -0.1}, "`noise` must be zero or more, and finite; got -0.1."),
        ({"noise": float("nan")}, "`noise` must be zero or more"),
    ],
)
def test_moons_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        two_moons(**wrong)


def test_noise_has_the_amount_asked_for_and_changes_neither_labels_nor_ids_nor_its_argument() -> None:
    digits = load("digits").test
    before, stream = digits.x.clone(), torch.get_rng_state()
    clean, made = noisy(digits, 0.0), noisy(digits, 0.5, seed=1)
    assert torch.equal(clean.x, digits.batch(slice(None)).x)
    assert float((made.x - clean.x).std()) == pytest.approx(0.5, rel=0.02)
    assert torch.equal(made.y, digits.y)
    assert torch.equal(made.ids, digits.ids)
    assert made.scale is None
    assert torch.equal(noisy(digits, 0.5, seed=1).x, made.x)
    assert not torch.equal(noisy(digits, 0.5, seed=2).x, made.x)
    assert torch.equal(before, digits.x)
    assert torch.equal(stream, torch.get_rng_state())
    with pytest.raises(ValueError, match="`amount` must be zero or more"):
        noisy(digits, -1.0)
