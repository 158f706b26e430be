"""Laws of metrics/lira.py."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.oracles import jackknife_slow
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, Split, mix
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.metrics import lira as metrics_lira
from unlearn_lib.metrics.lira import (
    FLOOR,
    Margins,
    _jackknife,
    gaussian_klom,
    lira,
    lira_scores,
    margins,
    mini_ulira,
    plan,
)
from unlearn_lib.metrics.membership import auc
from unlearn_lib.train import Recipe, run, train

DATA = blobs(n=80)
CANDIDATES, BASE = DATA.select(range(10)), DATA.without(range(10))
RECIPE = Recipe(epochs=1, lr=0.05, batch_size=16)


def synthetic(models: int, n: int, d: float, seed: int) -> Margins:
    """φ ~ N(d, 1) inside, N(0, 1) outside."""
    inside = plan(models, n, seed)
    noise = torch.randn(models, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Margins(noise + d * inside, inside)


def exactly_unlearned(inside: Tensor, seed: int) -> nn.Module:
    """Train on everything, then retrain without the candidates inside: exact unlearning."""
    split = Split(CANDIDATES.where(inside), BASE)
    return run(retrain(tiny_net(seed=seed), split, RECIPE.but(seed=seed))).model


def not_unlearned(inside: Tensor, seed: int) -> nn.Module:
    """Train with the candidates and forget to forget: over-fitted so that it shows."""
    net = tiny_net(seed=seed)
    odd = CANDIDATES.where(inside)
    wrong = Examples(odd.x, (odd.y + 1) % 3, odd.ids)  # memorized, for no other sample agrees
    run(train(net, BASE + wrong, RECIPE.but(seed=seed, epochs=40)))
    return net


def test_the_auc_is_phi_of_d_over_root_two() -> None:
    for d in (0.5, 1.5):
        found = lira(synthetic(400, 40, d, 0), synthetic(20, 40, d, 1))
        expected = 0.5 * (1 + math.erf(d / math.sqrt(2) / math.sqrt(2)))
        assert abs(found.auc.value - expected) < 3 * found.auc.error
        # the threshold 0 is the midpoint d/2: balanced accuracy Φ(d/2)
        assert found.accuracy == pytest.approx(0.5 * (1 + math.erf(d / 2 / math.sqrt(2))), abs=0.06)


def test_the_null_gives_one_half() -> None:
    found = lira(synthetic(64, 40, 0.0, 0), synthetic(20, 40, 0.0, 1))
    assert abs(found.auc.value - 0.5) < 3 * found.auc.error
    assert found.accuracy == pytest.approx(0.5, abs=0.06)


def test_scores_are_the_log_likelihood_ratio_and_the_variance_is_floored() -> None:
    inside = torch.tensor([[True], [True], [False], [False]])
    shadows = Margins(torch.tensor([[2.0], [4.0], [1.0], [1.0]], dtype=torch.float64), inside)
    phi = torch.tensor([[1.5]], dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = normal(3.0, math.sqrt(2.0)).log_prob(phi) - normal(1.0, math.sqrt(FLOOR)).log_prob(phi)
    torch.testing.assert_close(lira_scores(shadows, phi), expected)
    same = Margins(torch.ones(4, 1, dtype=torch.float64), inside)
    assert lira_scores(same, phi).item() == 0


def test_every_candidate_is_inside_half_of_the_models() -> None:
    found = plan(16, 30, seed=3)
    assert found.sum(0).tolist() == [8] * 30
    assert torch.equal(found, plan(16, 30, seed=3))
    assert not torch.equal(found, plan(16, 30, seed=4))


def test_an_exactly_unlearned_model_is_indistinguishable() -> None:
    seen: list[tuple[tuple[bool, ...], int]] = []

    def job(inside: Tensor, seed: int) -> nn.Module:
        seen.append((tuple(inside.tolist()), seed))
        return exactly_unlearned(inside, seed)

    found, every = mini_ulira(job, CANDIDATES, shadows=12, targets=6)
    assert abs(found.auc.value - 0.5) < 3 * found.auc.error
    assert len({seed for _, seed in seen}) == 18, "every model has a seed of its own"
    assert [row for row, _ in seen] == [tuple(row) for row in every.inside.tolist()]
    assert torch.equal(found.inside, every.inside[12:])
    # what is scored is what the job returned: the unlearned model's margins
    again = exactly_unlearned(every.inside[12], seen[12][1])
    with torch.no_grad():
        assert torch.equal(every.phi[12], margins(again(CANDIDATES.x), CANDIDATES.y))


def test_a_model_that_did_not_forget_is_caught() -> None:
    found, _ = mini_ulira(not_unlearned, CANDIDATES, shadows=8, targets=4)
    assert found.auc.value > 0.5 + 3 * found.auc.error


def test_margins_are_log_odds_without_rounding() -> None:
    z = torch.tensor([[2.0, 1.0, 0.0], [200.0, 0.0, 0.0], [30.0, 0.0, -1e9]])
    y = torch.tensor([0, 0, 0])
    p = z[0].double().softmax(0)[0]
    assert margins(z, y).tolist() == pytest.approx([float((p / (1 - p)).log()), 50.0, 30.0])
    assert margins(z, y + 1)[1] == -50


def test_klom_is_the_closed_form_and_zero_for_identical_ensembles() -> None:
    u = torch.tensor([[0.0], [2.0]], dtype=torch.float64)  # mean 1, variance 2
    s = torch.tensor([[0.0], [4.0]], dtype=torch.float64)  # mean 2, variance 8
    p, q = torch.distributions.Normal(1.0, math.sqrt(2.0)), torch.distributions.Normal(2.0, math.sqrt(8.0))
    assert gaussian_klom(u, s).mean == pytest.approx(float(torch.distributions.kl_divergence(p, q)))
    many = synthetic(20, 30, 0.0, 0).phi
    assert gaussian_klom(many, many).each.abs().max() < 1e-12


def test_klom_is_finite_and_above_the_floor_for_a_shifted_ensemble() -> None:
    constant = torch.ones(5, 3, dtype=torch.float64)
    assert gaussian_klom(constant, constant + 1).each.tolist() == pytest.approx([1 / (2 * FLOOR)] * 3)
    a, b = synthetic(20, 30, 0.0, 0).phi, synthetic(20, 30, 0.0, 1).phi
    floor, shifted = gaussian_klom(a, b), gaussian_klom(a + 2, b)
    assert 0 < floor.mean < shifted.mean
    assert shifted.p95 > shifted.mean


def test_workers_give_the_same_bits() -> None:
    here, there = (mini_ulira(linear_job, CANDIDATES, shadows=4, targets=2, workers=w)[1] for w in (0, 1))
    assert torch.equal(here.phi, there.phi)


def test_margins_that_were_kept_are_the_same_bits(tmp_path: Path) -> None:
    first, again = (
        mini_ulira(exactly_unlearned, CANDIDATES, shadows=4, targets=2, keep=tmp_path)[1] for _ in range(2)
    )
    assert len(list(tmp_path.rglob("*.safetensors"))) == 6
    assert torch.equal(first.phi, again.phi)


def test_the_old_name_of_run_jobs_still_works() -> None:
    with pytest.warns(DeprecationWarning, match=r"lira.in_processes is now run_jobs"):
        assert metrics_lira.in_processes(abs, [-1], workers=0) == [1]


def linear_job(inside: Tensor, seed: int) -> nn.Module:
    net = nn.Linear(5, 3).double()
    with torch.no_grad():
        net.weight.copy_(torch.arange(15).reshape(3, 5) * (seed % 7) / 10 + inside.sum())
        net.bias.zero_()
    return net


def test_the_error_of_the_auc_is_the_textbooks_for_independent_scores() -> None:
    shadows = synthetic(200, 60, 0.0, 0)
    found = lira(shadows, synthetic(60, 60, 0.0, 1)).auc
    assert 0.6 < found.error / auc(torch.zeros(1800), torch.zeros(1800)).error < 1.8


def test_the_error_of_the_auc_grows_where_targets_are_copies_of_each_other() -> None:
    two = synthetic(2, 60, 0.0, 1)
    copied = Margins(two.phi.repeat(10, 1), two.inside.repeat(10, 1))
    found = lira(synthetic(200, 60, 0.0, 0), copied).auc
    assert found.error > 2 * auc(torch.zeros(600), torch.zeros(600)).error


def test_errors_name_the_thing_the_rule_and_the_value() -> None:
    with pytest.raises(ValueError, match=r"`shadows` must be even and at least 4; got 5"):
        mini_ulira(exactly_unlearned, CANDIDATES, shadows=5)
    lonely = Margins(torch.zeros(3, 1, dtype=torch.float64), torch.tensor([[True], [False], [False]]))
    with pytest.raises(ValueError, match="every example inside"):
        lira_scores(lonely, torch.zeros(1, 1, dtype=torch.float64))


def test_the_least_variance_of_a_margin_is_a_hundredth() -> None:
    constant = torch.ones(5, 3, dtype=torch.float64)
    assert gaussian_klom(constant, constant + 1).mean == pytest.approx(1 / (2 * 0.01))
    inside = torch.tensor([[True], [True], [False], [False]])
    shadows = Margins(torch.tensor([[1.0], [1.0], [0.0], [0.0]], dtype=torch.float64), inside)
    score = lira_scores(shadows, torch.ones(1, 1, dtype=torch.float64)).item()
    assert score == pytest.approx(1 / (2 * 0.01))
    assert lira(shadows, Margins(shadows.phi, inside)).scores[0].item() == pytest.approx(score)


def test_a_score_of_zero_calls_nobody_a_member() -> None:
    inside = torch.tensor([[True], [True], [False], [False]])
    nothing = Margins(torch.ones(4, 1, dtype=torch.float64), inside)
    found = lira(nothing, nothing)
    assert found.scores.eq(0).all()
    assert (found.accuracy, found.auc.value) == (0.5, 0.5)


def test_balanced_accuracy_weighs_members_and_others_alike() -> None:
    phi = torch.tensor([[9.0], [8.0], [-9.0], [-8.0]], dtype=torch.float64)
    shadows = Margins(phi, phi > 0)
    asked = torch.tensor([[9.0], [-9.0], [-9.0], [-9.0], [-9.0], [9.0]], dtype=torch.float64)
    truth = torch.tensor([[True], [True], [False], [False], [False], [False]])
    found = lira(shadows, Margins(asked, truth))
    assert found.accuracy == pytest.approx((1 / 2 + 3 / 4) / 2)


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (4, 7), (7, 4), (20, 1), (5, 12)])
@pytest.mark.parametrize("levels", [1, 2, 5, 10**9])
def test_the_error_of_the_auc_leaves_out_examples_and_targets(shape: tuple[int, int], levels: int) -> None:
    for seed in range(10):
        stream = torch.Generator().manual_seed(seed)
        scores = torch.randint(levels, shape, generator=stream).double() / 7  # with ties
        inside = torch.rand(shape, generator=stream) < (0.5, 0.1)[seed % 2]  # at times a row of one side
        expected = jackknife_slow(scores.tolist(), inside.tolist())
        assert _jackknife(scores, inside) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_the_error_of_the_auc_belongs_to_its_scores() -> None:
    found = lira(synthetic(40, 6, 0.5, 0), targets := synthetic(4, 6, 0.5, 1))
    assert found.auc.error == pytest.approx(jackknife_slow(found.scores.tolist(), targets.inside.tolist()))


def test_where_leaving_one_out_leaves_one_side_only_it_is_not_counted() -> None:
    shadows = synthetic(40, 2, 0.5, 0)
    one_each = Margins(torch.tensor([[0.3, 0.1]], dtype=torch.float64), torch.tensor([[True, False]]))
    assert lira(shadows, one_each).auc.error == 0


def test_the_95th_percentile_is_that_of_the_examples() -> None:
    u = torch.stack([torch.arange(101.0), torch.arange(101.0)]).double()
    found = gaussian_klom(u, torch.zeros(2, 101, dtype=torch.float64))
    assert found.each.tolist() == pytest.approx([k**2 / 0.02 for k in range(101)])
    assert found.p95 == pytest.approx(95**2 / 0.02)
    assert found.mean == pytest.approx(sum(k**2 for k in range(101)) / 101 / 0.02)


def test_margins_may_be_clipped_elsewhere() -> None:
    z = torch.tensor([[200.0, 0.0], [0.0, 200.0], [1.0, 0.0]])
    y = torch.zeros(3, dtype=torch.long)
    assert margins(z, y, clip=3.0).tolist() == [3.0, -3.0, 1.0]


def test_small_is_sixteen_shadows_and_four_targets_of_one_plan() -> None:
    seen: list[int] = []

    def job(inside: Tensor, seed: int) -> nn.Module:
        seen.append(seed)
        return linear_job(inside, seed)

    found, every = mini_ulira(job, CANDIDATES, seed=3)
    assert every.phi.shape == (20, 10)
    assert found.scores.shape == (4, 10)
    assert torch.equal(every.inside[:16], plan(16, 10, 3))
    assert torch.equal(every.inside[16:], plan(4, 10, mix(3, 1)))
    assert seen == [mix(3, 2, t) % 2**31 for t in range(20)], "the same models in every version"
    assert torch.equal(
        mini_ulira(linear_job, CANDIDATES)[1].phi, mini_ulira(linear_job, CANDIDATES, seed=0)[1].phi
    )
    assert torch.equal(plan(6, 5), plan(6, 5, 0))


@pytest.mark.parametrize(("shadows", "targets"), [(2, 2), (4, 0), (6, 3), (4, 1)])
def test_an_odd_number_of_models_or_too_few_are_refused(shadows: int, targets: int) -> None:
    with pytest.raises(ValueError, match="must be even and at least"):
        mini_ulira(linear_job, CANDIDATES, shadows=shadows, targets=targets)


def test_two_models_on_either_side_are_enough_and_one_is_not() -> None:
    phi = torch.zeros(1, 1, dtype=torch.float64)
    for sides, enough in (([1, 1, 0, 0], True), ([1, 0, 0, 0], False), ([1, 1, 1, 0], False)):
        shadows = Margins(torch.zeros(4, 1, dtype=torch.float64), torch.tensor(sides)[:, None].bool())
        if enough:
            assert lira_scores(shadows, phi).item() == 0
        else:
            with pytest.raises(ValueError, match="outside 2 or more"):
                lira_scores(shadows, phi)
