"""Two moons with a mislabeled tip, and noise that gives samples their own details."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from unlearn_lib.data import load
from unlearn_lib.synthetic import noisy, two_moons


def test_the_moons_are_the_same_bits_every_time() -> None:
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


def test_noise_has_the_amount_asked_for_and_changes_nothing_else() -> None:
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


def test_points_stand_at_equal_angles_on_their_half_circles() -> None:
    toy = two_moons(points=16, mislabeled=0, noise=0.0)
    angles = torch.pi * (torch.arange(8) + 0.5) / 8
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    for label, wanted in enumerate((circle, torch.tensor([1.0, 0.5]) - circle)):
        mine = toy.train.x[toy.train.y == label].double()
        assert torch.allclose(mine[mine[:, 0].argsort()], wanted[wanted[:, 0].argsort()].double(), atol=1e-6)


def test_the_noise_has_its_standard_deviation_and_the_test_set_twice_the_points() -> None:
    for noise, given in ((0.2, {}), (0.05, {"noise": 0.05})):
        noisy_one, clean = two_moons(points=4000, **given), two_moons(points=4000, noise=0.0)
        assert len(noisy_one.test) == 8000
        for part, exact in ((noisy_one.train, clean.train), (noisy_one.test, clean.test)):
            spread = float(part.x[:, 1].double().var() - exact.x[:, 1].double().var()) ** 0.5
            assert spread == pytest.approx(noise, rel=0.25)


def test_the_defaults_are_160_points_ten_of_them_mislabeled() -> None:
    toy, same = two_moons(), two_moons(160, 10, 0.2, 0)
    assert torch.equal(toy.train.x, same.train.x)
    assert torch.equal(toy.train.y, same.train.y)
    assert len(toy.train) == 160
    assert toy.classes == ("upper", "lower")


def test_an_eighth_of_the_points_may_be_mislabeled_and_eight_points_are_enough() -> None:
    assert two_moons(8, 1).train.y[0] == 1
    assert (two_moons(160, 20).train.y[:20] == 1).all()
    with pytest.raises(ValueError, match="`noise` must be"):
        two_moons(noise=float("inf"))
    with pytest.raises(ValueError, match="got 16 and 3"):
        two_moons(16, 3)


def test_noise_of_no_finite_amount_is_refused() -> None:
    with pytest.raises(ValueError, match="`amount` must be zero or more, and finite; got inf"):
        noisy(load("digits").test, float("inf"))
    assert torch.equal(noisy(load("digits").test, 0.5).x, noisy(load("digits").test, 0.5, seed=0).x)
