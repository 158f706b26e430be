"""What every panel shows of a run, in charts and a table: pure functions of a `Progress`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_lib import check
from unlearn_lib.classroom import charts
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.controls import table
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.words import amount
from unlearn_lib.metrics.accuracy import forgotten_classes

__all__ = ["classes", "curves", "predictions", "scoreboard", "scores", "seconds"]


@check.arguments
def curves(progress: Progress) -> View:
    """Forget, retain and test accuracy over the steps."""
    references = {role: row for role, row in progress.scores.items() if role != "unlearned"}
    return charts.accuracy_chart(progress.rows, references, progress.phases)


@check.arguments
def classes(progress: Progress) -> View:
    """Test accuracy by class."""
    found = {role: tables["test"] for role, tables in progress.tables.items()}
    shares = {role: (np.diag(t) / np.maximum(t.sum(1), 1)).tolist() for role, t in found.items()}
    return charts.class_chart(in_order(shares), progress.data.classes, forgotten_classes(progress.split))


@check.arguments
def predictions(progress: Progress, part: str) -> View:
    """What the model says, before and after; `part` is "test" or "forget"."""
    names = {"test": "test samples", "forget": "samples to forget"}
    check.choice("part", part, names)
    found = {role: tables[part] for role, tables in progress.tables.items() if role != "retrained"}
    return charts.matrix_chart(found, progress.data.classes, names[part])


@check.arguments
def seconds(progress: Progress) -> View:
    """What the method and its reference cost."""
    spent = {role: row["seconds"] for role, row in progress.scores.items() if "seconds" in row}
    view = charts.seconds_chart(in_order(spent))
    if "unlearned" in spent and "retrained" in spent:
        ratio = spent["retrained"] / max(spent["unlearned"], 1e-9)
        view = view._replace(numbers={"retraining, as a multiple of unlearning": f"{ratio:.1f}"})
    return view


@check.arguments
def scores(progress: Progress) -> dict[str, dict[str, str]]:
    """Accuracies and seconds by role, in a reader's units."""
    return {role: _words(row) for role, row in in_order(progress.scores).items()}


@check.arguments
def scoreboard(progress: Progress) -> str:
    """The scores as a table, captioned with their request; during a run, its current scores too."""
    rows, when = scores(progress), "after"
    if progress.result is None:
        when = "while" if progress.steps else "before"
        if progress.steps:
            now = {k: v for k, v in progress.rows[-1].items() if k != "step"}
            rows[f"unlearned, at step {progress.rows[-1]['step']:.0f}"] = _words(now)
    forgotten, retained = amount(len(progress.split.forget), "sample"), len(progress.split.retain)
    return table(rows, f"Accuracy {when} forgetting {forgotten}; {retained:,} retained")


def in_order(by_role: Mapping[str, Any]) -> dict[str, Any]:
    """Original, unlearned and retrained, as far as they exist."""
    return {role: by_role[role] for role in ("original", "unlearned", "retrained") if role in by_role}


def _words(row: Mapping[str, float]) -> dict[str, str]:
    return {k: f"{v:.2f} s" if k == "seconds" else f"{v:.1%}" for k, v in row.items()}
