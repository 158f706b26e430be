"""The figure of a sweep: means over the seeds, with their intervals, of the numbers that vary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearn_lib.contest.table import estimate

MOST = 40  # numbers, unless some are chosen
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
OTHER = ("lesson", "status", "error", "seconds")


def draw(
    rows: Sequence[Mapping[str, Any]], grid: Sequence[str], chosen: Sequence[str], out: Path
) -> list[Path]:
    """A figure for each lesson, as PNG and SVG; none where nothing varies.

    Args:
        rows: of the table.
        grid: names of the parameters that were swept.
        chosen: numbers, or how their names begin; without any, the first that vary.
        out: the folder.
    """
    paths = []
    for lesson in dict.fromkeys(row["lesson"] for row in rows):
        own = [row for row in rows if row["lesson"] == lesson and row["status"] == "ok"]
        names, more = numbers(own, grid, chosen)
        if not names:
            continue
        figure = drawn(lesson, own, grid, names, more)
        for kind in ("png", "svg"):
            paths.append(out / f"{lesson}.{kind}")
            figure.savefig(paths[-1], dpi=150)
    return paths


def numbers(
    rows: Sequence[Mapping[str, Any]], grid: Sequence[str], chosen: Sequence[str]
) -> tuple[list[str], int]:
    """The recorded numbers to draw, and how many more vary."""
    names = dict.fromkeys(name for row in rows for name in row if name not in (*OTHER, *grid))
    varying = [n for n in names if len({row[n] for row in rows if _is_number(row.get(n))}) > 1]
    if chosen:
        return [n for n in varying if n.startswith(tuple(chosen))], 0
    return varying[:MOST], len(varying[MOST:])


def drawn(
    lesson: str, rows: Sequence[Mapping[str, Any]], grid: Sequence[str], names: Sequence[str], more: int
) -> Figure:
    """A panel for each record, a line in it for each number, a color for each setting but the seed."""
    swept = [name for name in grid if name != "seed"]
    settings: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        settings.setdefault(tuple(f"{name}={row[name]}" for name in swept), []).append(row)
    records: dict[str, list[str]] = {}
    for name in names:
        records.setdefault(name.partition(".")[0], []).append(name)
    lines = 0.22 + 0.14 * len(settings)  # inches
    heights = [0.5 + lines * len(own) for own in records.values()]
    figure = Figure(figsize=(9, 1 + 0.25 * len(settings) * bool(swept) + sum(heights)), layout="constrained")
    panels = figure.subplots(len(records), 1, squeeze=False, height_ratios=heights).flat
    for panel, (record, own) in zip(panels, records.items(), strict=True):
        for k, (setting, group) in enumerate(settings.items()):
            shift = 0.7 * ((k + 0.5) / len(settings) - 0.5)
            for line, name in enumerate(own):
                values = [float(row[name]) for row in group if _is_number(row.get(name))]
                _interval(
                    panel,
                    line + shift,
                    0.2 / len(settings),
                    values,
                    COLORS[k % len(COLORS)],
                    ", ".join(setting),
                )
        panel.set_yticks(range(len(own)), [name.removeprefix(f"{record}.") for name in own])
        panel.set_ylim(len(own) - 0.4, -0.6)
        panel.set_title(record, fontsize=10, loc="left", weight="bold")
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    if swept:
        handles, labels = panel.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        figure.legend(named.values(), named.keys(), loc="outside lower left", ncols=3, frameon=False)
    seeds = len({row.get("seed") for row in rows})
    words = f"{lesson}: mean of {seeds} seeds with its 95 % interval; small dots are single runs"
    if seeds == 1:
        words = f"{lesson}: one seed, so no interval"
    figure.suptitle(words + (f"; {more} more numbers vary" if more else ""), x=0.01, ha="left", fontsize=11)
    return figure


def _interval(panel: Axes, y: float, below: float, values: Sequence[float], color: str, label: str) -> None:
    """A mean with its interval, and the single runs below it."""
    if not values:
        return
    mean, low, high = estimate(values)
    panel.plot(values, [y + below] * len(values), ".", color=color, alpha=0.45, markeredgewidth=0)
    panel.errorbar(
        mean, y, xerr=[[mean - low], [high - mean]], fmt="o", ms=5, capsize=3, color=color, label=label
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
