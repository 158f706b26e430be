"""All numbers of a contest: flat, as a table with intervals, as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

from unlearn_lib import check
from unlearn_lib.metrics.table import Grid

__all__ = ["Estimate", "Measurement", "Table", "estimate", "estimate_ratio"]


class Estimate(NamedTuple):
    """A mean over seeds and its 95 % interval; with one seed both ends are the mean."""

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """mean ± t s / √n, with t for n - 1 degrees of freedom: wide for few seeds, as it should be.

    An infinite value (the relearn target was not reached) makes the mean infinite; NaNs are left out.
    """
    from scipy.stats import t as student

    check.fit("values", values, Sequence[float])
    found = [v for v in values if not math.isnan(v)]
    if not found:
        return Estimate(math.nan, math.nan, math.nan)
    mean = fmean(found)
    if len(found) == 1 or math.isinf(mean):
        return Estimate(mean, mean, mean)
    half = float(student.ppf(0.975, len(found) - 1)) * stdev(found) / math.sqrt(len(found))
    return Estimate(mean, mean - half, mean + half)


def estimate_ratio(values: Sequence[float]) -> Estimate:
    """The same for ratios of times: a geometric mean, and an interval of logarithms that never reaches 0."""
    check.fit("values", values, Sequence[float])
    if not values or not all(0 < v < math.inf for v in values):
        return estimate(values)
    return Estimate(*map(math.exp, estimate([math.log(v) for v in values])))


RATIOS = ("speed-up", "speed-up, request only", "prediction time", "anamnesis index")


class Measurement(NamedTuple):
    """One number: an audit of one method on one request with one seed."""

    request: str
    method: str
    seed: int
    audit: str
    value: float


@dataclass(frozen=True)
class Table:
    """All numbers of a contest, flat. ``table + table`` joins."""

    scores: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        check.fields(self)

    def __add__(self, other: Table) -> Table:
        return Table(self.scores + check.instance("other", other, Table).scores)

    @property
    def methods(self) -> list[str]:
        """In the order of entry."""
        return list(dict.fromkeys(s.method for s in self.scores))

    def values(self, request: str, method: str, audit: str) -> list[float]:
        """One value per seed; none if the method does not apply."""
        return [s.value for s in self.scores if s[:2] == (request, method) and s.audit == audit]

    def column(self, request: str, audit: str) -> dict[str, Estimate]:
        """The estimate of every method that has this audit."""
        found = {m: self.values(request, m, audit) for m in self.methods}
        how = estimate_ratio if audit in RATIOS else estimate
        return {m: how(values) for m, values in found.items() if values}

    def audits(self, request: str) -> list[str]:
        """Names of the audits of this request."""
        return list(dict.fromkeys(s.audit for s in self.scores if s.request == request))

    @check.arguments
    def grid(self, request: str, audits: Mapping[str, str], refused: Mapping[str, str]) -> Grid:
        """A table to look at: mean ± half of the interval.

        Args:
            request: its kind.
            audits: name of an audit -> format: "%", "s", "bytes", "x" or a Python format such as ".2f".
            refused: method -> why it is missing.
        """
        columns = {audit: self.column(request, audit) for audit in audits}
        rows = [
            [m, *(_cell(columns[a].get(m), how) for a, how in audits.items())]
            for m in self.methods
            if any(m in column for column in columns.values())
        ]
        rows += [[m, f"does not apply: {why}"] for m, why in refused.items()]
        seeds = len({s.seed for s in self.scores if s.request == request})
        words = f"Request: {request}. Mean of {seeds} seeds with its 95 % interval."
        return Grid(words, ["method", *audits], rows, numbers=range(1, len(audits) + 1))

    def to_json(self) -> str:
        """All numbers; those that are not finite become null."""
        rows = [s._asdict() | ({} if math.isfinite(s.value) else {"value": None}) for s in self.scores]
        return json.dumps(rows, indent=0)

    def to_csv(self) -> str:
        """All numbers, one per line, under a header."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(Measurement._fields)
        writer.writerows(self.scores)
        return out.getvalue()


def _cell(found: Estimate | None, how: str) -> str:
    if found is None or math.isnan(found.mean):
        return "-"
    if math.isinf(found.mean):
        return "not within the cap"
    mean, low, high = found
    if how == "bytes":
        return f"{mean / 1e6:.2f} MB" if mean >= 1e5 else f"{mean / 1e3:.0f} kB" if mean else "none"
    factor, unit = (100.0, " %") if how == "%" else (1.0, {"s": " s", "x": "×"}.get(how, ""))
    digits = {"%": ".0f", "s": ".2f", "x": ".1f"}.get(how, how)
    shown = f"{factor * mean:{digits}}"
    if low == high:
        return shown + unit
    if how == "%" and (low < 0 or high > 1):  # a share: the interval ends where shares do
        low, high = max(low, 0.0), min(high, 1.0)
    elif how != "x":
        return f"{shown} ± {factor * (high - mean):{digits}}{unit}"
    return f"{shown} ({factor * low:{digits}} to {factor * high:{digits}}){unit}"
