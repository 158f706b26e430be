"""Bad parameters of a lesson are refused by its first cell, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import pytest

from unlearn_lib.classroom import session

MASTERS = sorted((Path(__file__).parents[2] / "notebooks" / "src").glob("*.py"))
NONE_OF_THEM: list[tuple[str, Any]] = [
    ("seed", -1),
    ("seed", 1.5),
    ("seed", "0"),
    ("preset", "fast"),
    ("dataset", 7),
]
CLASSES: list[Any] = [12, -1, 3.0, "3", None, True, [], [3, 12], list(range(10))]
WRONG: dict[str, list[tuple[str, Any]]] = {
    "00": [("lr", value) for value in (0, float("nan"), "0.1", 5)],
    "01": [("epsilon", value) for value in (-1, float("nan"), "x", 2.0)]
    + [("estimator", "best"), ("n_min", -1), ("n_min", 1), ("n_min", 2.5)],
    "03": [("target", value) for value in (1, -0.1, "x", float("nan"))],
    "04": [("energy", value) for value in (0, 1.1, "x")] + [("rule", value) for value in ("best", 2)],
    "09": [("workers", value) for value in (-1, 1.5)] + [("export", 3), ("export", __file__)],
}


def first_cells(master: Path) -> tuple[str, str]:
    """The parameters, and the cell that starts the lesson."""
    cells = jupytext.reads(master.read_text(encoding="utf-8"), fmt="py:percent").cells
    parameters = next(c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    return parameters, next(c.source for c in cells if "begin(LESSON" in c.source)


def cases() -> Iterator[Any]:
    for master in MASTERS:
        wrong = NONE_OF_THEM + WRONG.get(master.stem[:2], [])
        for name, kind in re.findall(r"^(forget_class|classes): (\S+) =", first_cells(master)[0], re.M):
            wrong = wrong + [(name, value) for value in (CLASSES if kind != "int" else [*CLASSES, [2, 5]])]
        for name, value in wrong:
            yield pytest.param(master, name, value, id=f"{master.stem[:2]} {name}={str(value)[-20:]}")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEADLESS", True)


@pytest.mark.parametrize("master", MASTERS, ids=lambda m: m.stem[:2])
def test_the_first_cell_takes_the_defaults(master: Path) -> None:
    names: dict[str, Any] = {}
    for source in first_cells(master):
        exec(source, names)
    assert names["session"].dataset.name == "digits"


@pytest.mark.parametrize(("master", "name", "value"), list(cases()))
def test_a_bad_parameter_is_refused_by_its_name(master: Path, name: str, value: Any) -> None:
    parameters, first = first_cells(master)
    names: dict[str, Any] = {}
    exec(parameters, names)
    assert name in names
    with pytest.raises((TypeError, ValueError), match=f"`{name}"):
        exec(first, {**names, name: value})
