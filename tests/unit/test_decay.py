"""The decay law and the stop rule: laws D3, D4, D10, D11, D12 and D19 of DeepObliviate's specification."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unlearn_lib.decay import StopRule, dfa, fit_trend

X = np.arange(1, 31)
LAW = (3 * X**-1.2 + 0.5).tolist()


def noisy_law(seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(scale=0.05, size=60)
    return (8 * np.arange(1, 61) ** -1.3 + 0.7 + noise).tolist()


def test_d3_infinite_epsilon_stops_at_the_first_allowed_value():
    assert StopRule(math.inf).first_stop(LAW) == 8
    assert StopRule(math.inf, n_min=5).first_stop(LAW) == 5
    assert StopRule(math.inf, "dfa").first_stop(LAW) == 15
    assert StopRule(math.inf, "fixed").first_stop(LAW) == 6


def test_d3_zero_epsilon_never_stops_by_trend():
    assert StopRule(0).first_stop(LAW) is None


@pytest.mark.parametrize("estimator", ["fit", "dfa", "fixed"])
def test_d4_the_stop_never_comes_later_for_a_larger_epsilon(estimator):
    residuals = noisy_law()
    stops = [StopRule(e, estimator).first_stop(residuals) or 99 for e in np.geomspace(1e-5, 1, 40)]
    assert stops == sorted(stops, reverse=True)
    assert len(set(stops)) > 3


def test_d10_fit_recovers_the_law_from_noise_free_values():
    trend = fit_trend(LAW)
    assert trend is not None
    assert (trend.a, trend.h, trend.b) == pytest.approx((3, 1.2, 0.5), abs=1e-3)
    assert trend.slope == pytest.approx(-3 * 1.2 * 30**-2.2, rel=1e-3)


def test_d10_with_h_given_the_fit_is_linear_and_exact():
    trend = fit_trend(LAW, "fixed", h=1.2)
    assert trend is not None
    assert (trend.a, trend.b) == pytest.approx((3, 0.5), abs=1e-8)
    step = 1e-5
    assert trend.slope == pytest.approx((trend(30 + step) - trend(30 - step)) / (2 * step), rel=1e-6)


def test_d11_dfa_gives_one_half_for_noise_and_three_halves_for_its_sum():
    noise = np.random.default_rng(0).normal(size=1000)
    assert dfa(noise) == pytest.approx(0.5, abs=0.1)
    assert dfa(noise.cumsum()) == pytest.approx(1.5, abs=0.15)


def test_dfa_is_not_the_exponent_of_a_decay():
    """It falls as h rises; the specification's measured values."""
    found = [dfa(3 * X**-h + 0.5) for h in (0.3, 0.5, 1.0, 1.5, 2.0)]
    assert found == pytest.approx([1.83, 1.75, 1.53, 1.35, 1.19], abs=0.01)


def test_dfa_of_six_values_uses_two_window_sizes_and_of_five_fails():
    assert math.isfinite(dfa(LAW[:6]))
    assert math.isnan(dfa(LAW[:5]))


@pytest.mark.parametrize("factor", [8, 10])
def test_d12_the_normalized_rule_does_not_depend_on_the_unit(factor):
    residuals = noisy_law()
    larger = [factor * value for value in residuals]
    rule, raw = StopRule(0.003), StopRule(0.03, normalize=False)
    assert rule.first_stop(larger) == rule.first_stop(residuals) is not None
    assert raw.first_stop(larger) != raw.first_stop(residuals)


@pytest.mark.parametrize("estimator", ["fit", "dfa", "fixed"])
@pytest.mark.parametrize(
    "window",
    [[0.0] * 20, list(range(20)), [math.nan] * 20, [1.0] * 20, [], [0.0, *LAW]],
    ids=["zero", "increasing", "NaN", "constant", "empty", "first value zero"],
)
def test_d19_degenerate_windows_never_converge(window, estimator):
    assert StopRule(math.inf, estimator).converged(window) is False


def test_d19_fewer_values_than_n_min_never_converge():
    assert StopRule(math.inf).converged(LAW[:7]) is False


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_a_negative_or_nan_epsilon_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"`epsilon` must be zero or more; got"):
        StopRule(epsilon)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimator": "guess"}, "`estimator` must be one of"),
        ({"h": 0.0}, "`h` must be positive"),
        ({"n_min": 1}, "`n_min` must be at least 2"),
    ],
)
def test_other_bad_arguments_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError)) as error:  # run-time type checks may come first
        StopRule(**arguments)
    assert message in str(error.value) or "estimator" in arguments
