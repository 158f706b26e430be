"""The decay law of residual memory, ``Y(x) = a x^(-h) + b``: three estimators of h, and the stop rule.

Pure functions of a sequence of residuals: no model, no training. So a control that changes epsilon or the
estimator answers at once, from the residuals of one run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch

from unlearn_lib import check

__all__ = ["Estimator", "Trend", "TrendRule", "dfa", "dfa_points", "fit_trend"]

Estimator = Literal["fit", "dfa", "fixed"]
Array = np.ndarray
_N_MIN: dict[str, int] = {"fit": 8, "dfa": 15, "fixed": 6}


@dataclass(frozen=True)
class Trend:
    """A fitted decay law of `n` residuals.

    Args:
        n: how many residuals it was fitted to.
        h: exponent, > 0.
        a: amplitude, in units of the residual, > 0.
        b: floor, in units of the residual.
    """

    n: int
    h: float
    a: float
    b: float

    @property
    def slope(self) -> float:
        """Y'(n), negative while the residual still falls."""
        return -self.a * self.h * math.pow(self.n, -self.h - 1)

    def __call__(self, x: Array | float) -> Array:
        """Y(x) = a x^(-h) + b."""
        return np.asarray(self.a * np.asarray(x, float) ** (-self.h) + self.b)


@dataclass(frozen=True)
class TrendRule:
    """When has the residual memory died out? When the slope of its trend is flat.

        |Y'(n)| / Delta_1 < epsilon      (strict)

    Args:
        epsilon: >= 0; 0 never stops by trend, infinity stops at the first test.
        estimator: how h is found. "fit": a, b and h together by least squares (our default); "dfa": the
            scaling exponent of detrended fluctuation analysis used as h (the paper's, as far as we know);
            "fixed": h is given.
        h: the exponent for "fixed", > 0.
        n_min: least number of residuals before the first test; default 8 for "fit", 15 for "dfa", 6 for
            "fixed".
        normalize: divide the slope by the first residual, so that epsilon travels between models.

    Raises:
        ValueError: an argument is outside its range.
        TypeError: an argument is no number, or `n_min` not whole.
    """

    epsilon: float = 0.003
    estimator: Estimator = "fit"
    h: float = 1.0
    n_min: int | None = None
    normalize: bool = True

    def __post_init__(self) -> None:
        check.number("epsilon", self.epsilon, "[0, inf]")
        check.choice("estimator", self.estimator, get_args(Estimator))
        check.number("h", self.h, "(0, inf)")
        if self.n_min is not None:
            check.whole("n_min", self.n_min, 2)
        check.flag("normalize", self.normalize)

    @property
    def least(self) -> int:
        """`n_min`, or the estimator's default."""
        return _N_MIN[self.estimator] if self.n_min is None else self.n_min

    def trend(self, window: Sequence[float]) -> Trend | None:
        """The law fitted to the residuals, or None where it cannot be fitted (that means: continue)."""
        return fit_trend(window, self.estimator, h=self.h)

    def flatness(self, window: Sequence[float]) -> float:
        """|Y'(n)| / Delta_1, the slope that is compared with epsilon; NaN where no law can be fitted."""
        found = self.trend(window)
        if found is None or not window[0] > 0:
            return math.nan
        return abs(found.slope) / (float(window[0]) if self.normalize else 1.0)

    def converged(self, window: Sequence[float]) -> bool:
        """True when the trend of these residuals is flat."""
        return bool(len(_row("window", window)) >= self.least and self.flatness(window) < self.epsilon)

    def first_stop(self, residuals: Sequence[float]) -> int | None:
        """The least n at which the first n residuals have converged, or None."""
        lengths = range(self.least, len(_row("residuals", residuals)) + 1)
        return next((n for n in lengths if self.converged(residuals[:n])), None)


def fit_trend(window: Sequence[float], estimator: Estimator = "fit", *, h: float = 1.0) -> Trend | None:
    """Fit Y(x) = a x^(-h) + b to residuals at x = 1 ... n.

    With h given, (a, b) is a linear least-squares problem. For "fit", h alone is searched in [0.05, 5]: a
    grid of 60 values, then golden section on the residual sum of squares.

    Returns:
        The law, or None: fewer than 3 values, a value that is not finite, h <= 0, or a <= 0 (no decay).

    Raises:
        ValueError: unknown `estimator`, or `h` is negative.
        TypeError: `window` is no row of numbers.
    """
    check.choice("estimator", estimator, get_args(Estimator))
    return _fit_trend(tuple(_row("window", window).tolist()), estimator, check.number("h", h, "[0, inf)"))


@lru_cache(maxsize=4096)  # a moving epsilon asks for the same fits again and again
def _fit_trend(window: tuple[float, ...], estimator: Estimator, h: float) -> Trend | None:
    y = np.asarray(window, float)
    if len(y) < 3 or not np.isfinite(y).all():
        return None
    if estimator == "dfa":
        exponent = dfa(y)
    elif estimator == "fixed":
        exponent = h
    else:
        grid = np.geomspace(0.05, 5, 60)
        best = int(np.argmin([_least_squares(y, value)[2] for value in grid]))
        exponent = _golden_section(y, grid[max(best - 1, 0)], grid[min(best + 1, 59)])
    if not exponent > 0:  # NaN: the estimate failed
        return None
    a, b, _ = _least_squares(y, exponent)
    return Trend(len(y), float(exponent), a, b) if a > 0 else None


def dfa(series: Sequence[float] | Array) -> float:
    """Scaling exponent of detrended fluctuation analysis: slope of log F(s) against log s.

    It describes how a sequence fluctuates: 0.5 for white noise, 1.5 for its cumulative sum. It is *not* the
    exponent of a decay: on exact x^(-h) it falls as h rises.

    Returns:
        The exponent, or NaN when fewer than two window sizes can be used or a fluctuation is zero.

    Raises:
        TypeError: `series` is no row of numbers.
        ValueError: a number is not finite.

    References:
        C.-K. Peng et al., Mosaic organization of DNA nucleotides, Phys. Rev. E 49, 1994.
    """
    sizes, fluctuation = dfa_points(series)
    if len(sizes) < 2 or not (fluctuation > 0).all():
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(fluctuation), 1)[0])


def dfa_points(series: Sequence[float] | Array) -> tuple[Array, Array]:
    """Window sizes s and fluctuations F(s): the RMS around a straight line in half-overlapping windows."""
    y = _row("series", series)
    check.finite("series", check.as_tensor("series", y))
    n = len(y)
    if n <= 70:
        sizes = np.arange(4, min(9, n - 1) + 1)
    else:
        growth = 4 * 1.2 ** np.arange(math.floor(math.log(n / 40) / math.log(1.2)) + 1)
        sizes = np.unique(growth.astype(int))
    profile = np.cumsum(y - y.mean()) if n else y
    fluctuation = []
    for s in sizes:
        segments = np.lib.stride_tricks.sliding_window_view(profile, int(s))[:: s // 2]
        line = np.stack([np.arange(s), np.ones(s)], 1)
        trend = line @ np.linalg.lstsq(line, segments.T, rcond=None)[0]
        fluctuation.append(np.sqrt(np.mean((segments.T - trend) ** 2)))
    return sizes, np.array(fluctuation)


def _row(name: str, values: Sequence[float] | Array) -> Array:
    """Numbers one after the other, in float64."""
    found = check.as_tensor(name, values)
    if found.ndim != 1 or found.is_complex() or found.dtype == torch.bool:
        raise TypeError(f"`{name}` must be numbers in one row; got {check.brief(values)}.")
    return np.asarray(found.detach().cpu(), float)


def _least_squares(y: Array, h: float) -> tuple[float, float, float]:
    """a, b and the residual sum of squares of a x^(-h) + b, for h given."""
    power = np.arange(1, len(y) + 1) ** (-h)
    centered = power - power.mean()
    a = float(centered @ (y - y.mean()) / (centered @ centered))
    b = float(y.mean() - a * power.mean())
    return a, b, float(((a * power + b - y) ** 2).sum())


def _golden_section(y: Array, low: float, high: float, rounds: int = 60) -> float:
    """The h between `low` and `high` with the least residual sum of squares."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = _least_squares(y, left)[2], _least_squares(y, right)[2]
    for _ in range(rounds):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = _least_squares(y, left)[2]
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = _least_squares(y, right)[2]
    return (low + high) / 2
