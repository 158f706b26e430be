"""The decay law, and the rule that stops DeepObliviate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unlearn_lib.methods.deepobliviate.decay import TrendRule, dfa, dfa_points, fit_trend

X = np.arange(1, 31)
LAW = (3 * X**-1.2 + 0.5).tolist()


def noisy_law(seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(scale=0.05, size=60)
    return (8 * np.arange(1, 61) ** -1.3 + 0.7 + noise).tolist()


def test_infinite_epsilon_stops_at_the_first_allowed_value():
    assert TrendRule(math.inf).first_stop(LAW) == 8
    assert TrendRule(math.inf, n_min=5).first_stop(LAW) == 5
    assert TrendRule(math.inf, "dfa").first_stop(LAW) == 15
    assert TrendRule(math.inf, "fixed").first_stop(LAW) == 6


def test_zero_epsilon_never_stops_by_trend():
    assert TrendRule(0).first_stop(LAW) is None


@pytest.mark.parametrize("estimator", ["fit", "dfa", "fixed"])
def test_the_stop_never_comes_later_for_a_larger_epsilon(estimator):
    residuals = noisy_law()
    stops = [TrendRule(e, estimator).first_stop(residuals) or 99 for e in np.geomspace(1e-5, 1, 40)]
    assert stops == sorted(stops, reverse=True)
    assert len(set(stops)) > 3


def test_fit_recovers_the_law_from_noise_free_values():
    trend = fit_trend(LAW)
    assert trend is not None
    assert (trend.a, trend.h, trend.b) == pytest.approx((3, 1.2, 0.5), abs=1e-3)
    assert trend.slope == pytest.approx(-3 * 1.2 * 30**-2.2, rel=1e-3)


def test_with_h_given_the_fit_is_linear_and_exact():
    trend = fit_trend(LAW, "fixed", h=1.2)
    assert trend is not None
    assert (trend.a, trend.b) == pytest.approx((3, 0.5), abs=1e-8)
    step = 1e-5
    assert trend.slope == pytest.approx((trend(30 + step) - trend(30 - step)) / (2 * step), rel=1e-6)


def test_dfa_gives_one_half_for_noise_and_three_halves_for_its_sum():
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
def test_the_normalized_rule_does_not_depend_on_the_unit(factor):
    residuals = noisy_law()
    larger = [factor * value for value in residuals]
    rule, raw = TrendRule(0.003), TrendRule(0.03, normalize=False)
    assert rule.first_stop(larger) == rule.first_stop(residuals) is not None
    assert raw.first_stop(larger) != raw.first_stop(residuals)


@pytest.mark.parametrize("estimator", ["fit", "dfa", "fixed"])
@pytest.mark.parametrize(
    "window",
    [[0.0] * 20, list(range(20)), [math.nan] * 20, [1.0] * 20, [], [0.0, *LAW]],
    ids=["zero", "increasing", "NaN", "constant", "empty", "first value zero"],
)
def test_degenerate_windows_never_converge(window, estimator):
    assert TrendRule(math.inf, estimator).converged(window) is False


def test_fewer_values_than_n_min_never_converge():
    assert TrendRule(math.inf).converged(LAW[:7]) is False


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_a_negative_or_nan_epsilon_is_refused(epsilon):
    with pytest.raises(ValueError, match=r"`epsilon` must be zero or more; got"):
        TrendRule(epsilon)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimator": "guess"}, "`estimator` must be"),
        ({"h": 0.0}, "`h` must be positive"),
        ({"h": math.inf}, "`h` must be positive"),
        ({"n_min": 1}, "`n_min` must be at least 2"),
    ],
)
def test_other_bad_arguments_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError)) as error:  # run-time type checks may come first
        TrendRule(**arguments)
    assert message in str(error.value) or "estimator" in arguments


def test_a_law_is_evaluated_where_it_was_fitted_and_its_slope_is_the_derivative():
    trend = fit_trend(LAW, "fixed", h=1.2)
    assert trend is not None
    assert (trend.n, trend.h) == (30, 1.2)
    assert trend(X) == pytest.approx(LAW)
    assert float(trend(4)) == pytest.approx(3 * 4**-1.2 + 0.5)


def test_each_estimator_has_the_exponent_that_it_is_named_for():
    window = noisy_law()
    fitted, given, fluctuating = (fit_trend(window, name, h=0.8) for name in ("fit", "fixed", "dfa"))
    assert given.h == 0.8
    assert fluctuating.h == dfa(window)
    assert len({fitted.h, given.h, fluctuating.h}) == 3
    assert fit_trend(window, "fixed").h == 1.0, "the exponent unless one is given"
    assert fit_trend(window) == fitted


def test_flatness_is_the_slope_by_the_first_residual_or_by_nothing():
    window = [0.1 * value for value in LAW]  # the first is below 1
    slope = abs(fit_trend(window).slope)
    assert TrendRule().flatness(window) == pytest.approx(slope / window[0], rel=1e-12)
    assert TrendRule(normalize=False).flatness(window) == slope
    assert math.isnan(TrendRule().flatness([0.0, *LAW]))


def test_the_trend_is_flat_when_its_slope_is_below_epsilon_and_not_when_equal():
    flatness = TrendRule().flatness(LAW)
    assert not TrendRule(flatness).converged(LAW)
    assert TrendRule(np.nextafter(flatness, 1)).converged(LAW)


def test_the_first_stop_may_be_the_last_value_and_lies_never_beyond():
    assert TrendRule(math.inf).first_stop(LAW[:8]) == 8
    assert TrendRule(math.inf, n_min=9).first_stop(LAW[:8]) is None
    assert TrendRule(math.inf, "fixed", n_min=2).first_stop(LAW) == 3, "a law needs three values"


def test_the_default_rule_is_the_fit_with_epsilon_003_of_the_first_residual():
    assert TrendRule() == TrendRule(0.003, "fit", h=1.0, n_min=None, normalize=True)


@pytest.mark.parametrize("estimator", ["fit", "dfa", "fixed"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_value_that_is_not_finite_leaves_no_law(estimator, bad):
    assert fit_trend([*LAW[:9], bad, *LAW[10:]], estimator) is None


def test_a_law_needs_three_values_a_positive_exponent_and_a_decay():
    assert fit_trend(LAW[:2], "fixed") is None
    assert fit_trend(LAW[:3], "fixed") is not None
    assert fit_trend(LAW, "fixed", h=0.0) is None
    assert fit_trend([1 - value for value in LAW]) is None, "it grows"
    small = fit_trend([1e-6 * value for value in LAW])
    assert small.a == pytest.approx(3e-6, rel=1e-3), "in any unit"


@pytest.mark.parametrize(("h", "found"), [(0.02, 0.05), (0.055, 0.055), (4.9, 4.9), (7.0, 5.0)])
def test_the_exponent_is_searched_between_a_twentieth_and_five(h, found):
    assert fit_trend((2 * X ** -float(h) + 1).tolist()).h == pytest.approx(found, rel=1e-3)


def test_dfa_windows_are_few_for_a_short_series_and_a_tenth_of_a_long_one():
    assert dfa_points(np.sin(np.arange(6)))[0].tolist() == [4, 5]
    for n in (20, 70):
        assert dfa_points(np.sin(np.arange(n)))[0].tolist() == [4, 5, 6, 7, 8, 9]
    for n in (71, 84, 200, 1000):
        sizes = sorted({int(4 * 1.2**k) for k in range(40) if 4 * 1.2**k <= n / 10})
        assert dfa_points(np.sin(np.arange(n)))[0].tolist() == sizes


def test_a_fluctuation_is_the_rms_around_a_line_in_half_overlapping_windows():
    series = np.random.default_rng(0).normal(size=40)
    profile = np.cumsum(series - series.mean())
    for s, found in zip(*dfa_points(series), strict=True):
        starts = range(0, 40 - s + 1, s // 2)
        lines = [np.polynomial.Polynomial.fit(np.arange(s), profile[k : k + s], 1) for k in starts]
        rest = [profile[k : k + s] - line(np.arange(s)) for k, line in zip(starts, lines, strict=True)]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(rest))))
