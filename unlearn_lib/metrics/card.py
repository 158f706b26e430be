"""The result of `evaluate`: rows with their references, printed as a table, kept as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from unlearn_lib.metrics.table import Grid

__all__ = ["Closer", "Row", "Scorecard"]

Closer = Literal["range", "less", "more"]


@dataclass(frozen=True)
class Row:
    """One metric on one part of the data.

    Args:
        metric: its full name.
        data: the part of the data: "forget", "retain", "test", "forget test" or "retain test".
        original: value of the original model.
        unlearned: value of the audited model.
        retrained: mean over the retrained models. For a distance to the retrained models, every model
            (retrained ones included) is compared with all *other* retrained models.
        low: smallest value of a retrained model.
        high: largest value of a retrained model.
        floor: the noise floor, the mean difference between two retrained models; None with only one.
        closer: "range" for a value that should be in the retrained models' range; "less" or "more" for a
            distance to them or an agreement with them.
        percent: whether the value is a share, printed in percent.
        note: a reading or a caution in words.
    """

    metric: str
    data: str
    original: float
    unlearned: float
    retrained: float
    low: float
    high: float
    floor: float | None
    closer: Closer = "range"
    percent: bool = False
    note: str = ""

    @property
    def inside(self) -> bool | None:
        """Whether the model is as close to the retrained models as they are to each other; None for one."""
        if self.floor is None:
            return None
        return (self.closer == "less" or self.low <= self.unlearned) and (
            self.closer == "more" or self.unlearned <= self.high
        )


@dataclass(frozen=True)
class Scorecard:
    """Every audit of one model, with its references. Prints as a table; JSON and CSV keep all digits.

    Args:
        name: of the model.
        setting: "class" when whole classes are forgotten, else "sample".
        seeds: number of retrained models.
        rows: the results; ``card["accuracy", "forget"]`` finds one.
    """

    name: str
    setting: Literal["class", "sample"]
    seeds: int
    rows: tuple[Row, ...]

    def __getitem__(self, key: tuple[str, str]) -> Row:
        for row in self.rows:
            if (row.metric, row.data) == key:
                return row
        raise KeyError(f"{key} is not among {[(row.metric, row.data) for row in self.rows]}.")

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def only(self, *metrics: str) -> Scorecard:
        """The card with only these metrics."""
        for metric in metrics:
            if metric not in {row.metric for row in self.rows}:
                known = ", ".join(dict.fromkeys(row.metric for row in self.rows))
                raise ValueError(f"`metrics` must be among {known}; got {metric!r}.")
        return replace(self, rows=tuple(row for row in self.rows if row.metric in metrics))

    @property
    def caption(self) -> str:
        """What the table shows, in one sentence."""
        models = "1 retrained model: no noise floor" if self.seeds == 1 else f"{self.seeds} retrained models"
        return f"Scorecard of {self.name}, {self.setting} setting, against {models}"

    @property
    def grid(self) -> Grid:
        """The table that a reader sees."""
        head = ["metric", "data", "original", "retrained", "range", self.name, "noise floor", "reading"]
        return Grid(self.caption, head, [_cells(row) for row in self.rows], numbers=range(2, 7))

    def __str__(self) -> str:
        return str(self.grid)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.grid._repr_html_()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.grid._repr_mimebundle_()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers that are not finite become None."""
        rows = [{**asdict(row), "inside": row.inside} for row in self.rows]
        for row in rows:
            row.update({k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)})
        return {"name": self.name, "setting": self.setting, "seeds": self.seeds, "rows": rows}

    def to_json(self) -> str:
        """All rows as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def to_csv(self) -> str:
        """All rows as comma-separated values with a header line."""
        found, out = self.to_dict(), io.StringIO()
        writer = csv.DictWriter(out, ["name", *found["rows"][0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"name": self.name, **row} for row in found["rows"])
        return out.getvalue()


def _cells(row: Row) -> list[str]:
    def show(value: float | None) -> str:
        if value is None or math.isnan(value):
            return "-"
        return f"{100 * value:.1f} %" if row.percent else f"{value:.3f}"

    spread = f"{show(row.low)} to {show(row.high)}" if row.floor is not None else "-"
    cells = [show(row.original), show(row.retrained), spread, show(row.unlearned), show(row.floor)]
    verdict = {None: "", True: "in range", False: "out of range"}[row.inside]
    return [row.metric, row.data, *cells, "; ".join(filter(None, (verdict, row.note)))]
