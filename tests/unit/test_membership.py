"""Laws of metrics/membership.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from tests.oracles import pair_counting_auc
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.metrics.accuracy import losses
from unlearn_lib.metrics.membership import (
    Auc,
    attack_accuracy,
    auc,
    loss_attack,
    loss_mia,
    non_members,
    roc,
    tpr_at_fpr,
)


def normal(n: int, mean: float = 0.0, seed: int = 0) -> Tensor:
    return mean + torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_auc_is_half_for_identical_sets_and_one_or_zero_when_separable() -> None:
    scores = normal(30)
    assert auc(scores, scores).value == pytest.approx(0.5)
    assert auc(scores + 100, scores).value == 1
    assert auc(scores - 100, scores).value == 0


def test_ties_count_half() -> None:
    assert auc(torch.ones(5), torch.ones(7)).value == 0.5
    assert auc(torch.tensor([1.0, 2.0]), torch.tensor([1.0])).value == 0.75


def test_auc_is_invariant_under_increasing_maps() -> None:
    members, others = normal(25, 0.3), normal(40, seed=1)
    value = auc(members, others).value
    assert auc(members.exp(), others.exp()).value == value
    assert auc(members**3 + members, others**3 + others).value == value
    assert auc(others, members).value == pytest.approx(1 - value)


@settings(max_examples=60)
@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
)
def test_auc_equals_pair_counting_and_the_area_under_the_curve(a: list[int], b: list[int]) -> None:
    members, others = torch.tensor(a).double(), torch.tensor(b).double()
    slow = pair_counting_auc(a, b)
    assert auc(members, others).value == pytest.approx(slow, abs=1e-12)
    curve = roc(members, others)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(slow, abs=1e-12)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


def test_the_loss_attack_scores_by_minus_the_loss() -> None:
    small, large = normal(30).abs(), normal(40, seed=1).abs() + 10
    assert loss_mia(small, large).auc.value == 1
    assert loss_mia(large, small).auc.value == 0


def test_the_reading_is_two_sided_and_can_be_relative_to_the_retrained_model() -> None:
    found = Auc(0.70, 0.05)
    assert found.reading() == "looks like training data"
    assert Auc(0.30, 0.05).reading() == "over-forgotten"
    assert Auc(0.45, 0.05).reading() == "like unseen data"
    assert found.reading(ideal=0.65) == "like unseen data"


def test_class_setting_only_forget_class_test_images_are_the_negatives() -> None:
    train, test, net = blobs(), blobs(n=60, seed=5), tiny_net()
    split = Split.by_class(train, 1)
    assert set(non_members(split, test).y.tolist()) == {1}
    assert len(loss_attack(net, split, test).others) == 20
    spoiled = test.x.clone()
    spoiled[test.y != 1] = 1e3  # other classes' test images must not matter
    found, same = (loss_attack(net, split, t) for t in (test, type(test).of(spoiled, test.y)))
    assert torch.equal(found.others, same.others)
    assert found.auc == same.auc
    samples = Split.by_ids(train, range(20))
    assert len(non_members(samples, test)) == 60
    assert torch.equal(loss_attack(net, samples, test).members, losses(net, samples.forget))


def test_tpr_below_the_smallest_measurable_fpr_is_refused_with_the_reason() -> None:
    members, others = normal(20, 1.0), normal(50, seed=1)
    with pytest.raises(
        ValueError, match=r"`fpr` must be in \[1/50, 1\]: 50 non-members cannot show.*0\.02; got 0\.01"
    ):
        tpr_at_fpr(members, others, 0.01)
    highest, second = others.topk(2).values
    assert tpr_at_fpr(members, others, 0.02) == pytest.approx(float((members > second).double().mean()))
    assert highest > second
    assert tpr_at_fpr(members, others, 1.0) == 1


def test_tpr_is_monotone_in_fpr() -> None:
    members, others = normal(20, 1.0), normal(50, seed=1)
    found = [tpr_at_fpr(members, others, rate) for rate in np.arange(1, 51) / 50]
    assert found == sorted(found)


def test_the_standard_error_of_the_auc_for_40_and_497_is_048() -> None:
    assert auc(normal(40), normal(497, seed=1)).error == pytest.approx(0.048, abs=1e-3)


def test_the_standard_error_is_the_spread_of_the_auc_of_alike_sets() -> None:
    found = [auc(normal(12, seed=s), normal(30, seed=10_000 + s)) for s in range(1000)]
    spread = float(np.std([f.value for f in found]))
    assert spread == pytest.approx(found[0].error, rel=0.08)  # 1000 draws: relative error about 2 %


def test_attack_accuracy_is_chance_for_alike_sets_and_one_when_separable() -> None:
    assert attack_accuracy(normal(150), normal(400, seed=1)) == pytest.approx(0.5, abs=0.06)
    assert attack_accuracy(normal(30), normal(200, 30.0, seed=1)) == 1


def test_attack_accuracy_weighs_both_groups_alike() -> None:
    # unbalanced, an attack that calls everybody a non-member would score 10/11
    assert attack_accuracy(torch.ones(20), torch.ones(200)) == pytest.approx(0.5)


def test_attack_accuracy_uses_fewer_splits_when_samples_are_few() -> None:
    assert attack_accuracy(torch.tensor([0.0, 0.1]), torch.tensor([9.0, 9.1, 9.2])) == 1
    with pytest.raises(ValueError, match="at least 2 samples each"):
        attack_accuracy(torch.zeros(1), torch.ones(5))
    assert math.isnan(loss_mia(torch.zeros(1), torch.ones(5)).accuracy)
    with pytest.raises(ValueError, match="at least one sample each"):
        auc(torch.zeros(0), torch.ones(5))


def test_attacks_are_deterministic_and_leave_the_random_streams_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the global stream
    a, b = (loss_mia(normal(30).abs(), normal(50, seed=1).abs()) for _ in range(2))
    assert (a.auc, a.accuracy) == (b.auc, b.accuracy)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_the_reading_turns_at_1_96_standard_errors_on_either_side_of_one_half() -> None:
    assert Auc(0.597, 0.05).reading() == "like unseen data"
    assert Auc(0.599, 0.05).reading() == "looks like training data"
    assert Auc(0.403, 0.05).reading() == "like unseen data"
    assert Auc(0.401, 0.05).reading() == "over-forgotten"
    assert Auc(0.5, 0.0).reading() == "like unseen data"


def test_the_curve_of_an_attack_is_that_of_minus_the_loss() -> None:
    found = loss_mia(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]))
    assert found.roc.threshold.tolist() == [np.inf, -1, -2, -3, -4]
    assert found.roc.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert found.roc.fpr.tolist() == [0, 0, 0.5, 0.5, 1]


@pytest.mark.parametrize(("n", "m", "splits"), [(60, 90, None), (60, 90, 3), (7, 90, 7), (90, 8, 8)])
def test_attack_accuracy_is_the_mean_over_disjoint_shuffled_stratified_splits(
    n: int, m: int, splits: int | None
) -> None:
    members, others = (
        normal(n, 0.5).sort().values,
        normal(m, seed=1).sort().values,
    )  # sorted: shuffling matters
    folds = StratifiedKFold(splits or 10, shuffle=True, random_state=4)
    x, y = torch.cat([members, others])[:, None].numpy(), np.array([1] * n + [0] * m)
    model, scores = LogisticRegression(class_weight="balanced"), []
    for fit, judge in folds.split(x, y):
        called = model.fit(x[fit], y[fit]).predict(x[judge])
        scores.append(np.mean([np.mean(called[y[judge] == label] == label) for label in (0, 1)]))
    given = {} if splits in (None, n, m) else {"splits": splits}
    assert attack_accuracy(members, others, seed=4, **given) == pytest.approx(np.mean(scores))
    assert loss_mia(members, others, seed=4).accuracy == attack_accuracy(members, others, seed=4)


def test_scores_of_several_numbers_a_sample_are_features() -> None:
    members, others = torch.zeros(20, 2), torch.ones(30, 2)
    members[:, 1] = others[:, 1] = 5
    assert attack_accuracy(members, others) == 1


def test_two_members_are_enough_for_an_accuracy_and_one_is_not() -> None:
    assert loss_mia(torch.zeros(2), torch.ones(5)).accuracy == 1
    assert math.isnan(loss_mia(torch.zeros(5), torch.ones(1)).accuracy)


def test_without_a_non_member_no_rate_can_be_shown() -> None:
    with pytest.raises(ValueError, match=r"`fpr`|`others`|at least one sample each"):
        tpr_at_fpr(normal(3), normal(0), 0.5)


def test_the_standard_error_is_the_formula_for_few_samples_too() -> None:
    assert auc(normal(3), normal(2)).error == pytest.approx(math.sqrt((3 + 2 + 1) / (12 * 3 * 2)))
