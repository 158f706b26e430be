"""A method of the contest has all its parts: what CONTRIBUTING.md asks for, entry by entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from unlearn_lib.contest.entries import ENTRIES, METHODS

ROOT = Path(__file__).parents[2]
BASELINES = ("00_start_here", "09_side_by_side")  # lessons that teach a method among other things
UNTUNED = {"retrain": "has no settings", "sisa": "shards and slices are its price, not its quality"}
NO_TWIN = {
    "retrain": "is `train`, whose own tests hold it",
    "finetune": "is `train`, whose own tests hold it",
    "deepobliviate": "going on to the end is retraining, bit for bit",
    "unsir": "its stages are `train`, and its noise has laws of its own",
}
TESTED_WITH = {"retrain": "finetune"}


def shelf(entry: ModuleType) -> str:
    return entry.__name__.rpartition(".")[2]


def missing(entry: ModuleType) -> Iterator[str]:
    """The parts that an entry lacks, each with its path."""
    name = shelf(entry)
    tests = f"tests/unit/test_{TESTED_WITH.get(name, name)}.py"
    wanted = {tests: "its laws, as tests named as sentences"}
    if not (ROOT / f"unlearn_lib/methods/{name}/method.py").is_file():
        wanted[f"unlearn_lib/methods/{name}.py"] = "the method"
    lessons = {method.lesson for method in entry.METHODS}
    for lesson in lessons:
        wanted[f"notebooks/src/{lesson}.py"] = "its lesson, whose parts `test_shelves.py` demands"
    yield from (f"{path}: {what}" for path, what in wanted.items() if not (ROOT / path).is_file())
    test = ROOT / tests
    if (
        test.is_file()
        and name not in NO_TWIN
        and "tests.oracles import" not in test.read_text(encoding="utf-8")
    ):
        yield f"tests/oracles.py: a slow, obvious twin, and {tests} that compares with it"
    path = f"unlearn_lib/contest/entries/{name}.py"
    if lessons - set(BASELINES) and not entry.PORTRAITS:
        yield f"{path}: PORTRAITS, its row in lesson 00's map"
    if name not in UNTUNED and not any(method.grid for method in entry.METHODS):
        yield f"{path}: a `grid` for ci/tune_contest.py"
    for method in entry.METHODS:
        for one in fields(method.settings):
            if not re.search(rf"^ +{one.name}: \S", type(method.settings).__doc__ or "", re.M):
                yield f"{path}: what the setting `{one.name}` means, under Args"
        if not all((method.failure.changed, method.failure.why)):
            yield f"{path}: the failure of {method.name!r} in words"


@pytest.mark.parametrize("entry", ENTRIES, ids=shelf)
def test_a_method_has_all_its_parts(entry: ModuleType) -> None:
    lacking = list(missing(entry))
    assert not lacking, "\n".join(["this method lacks:", *lacking])


def test_every_method_of_the_library_enters_the_contest() -> None:
    found = {path.stem for path in (ROOT / "unlearn_lib/methods").glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / "unlearn_lib/methods").glob("*/method.py")}
    shared = {"layers", "stages"}
    assert found - shared == {shelf(entry) for entry in ENTRIES}


def test_no_two_methods_have_one_name() -> None:
    assert len(METHODS) == sum(len(entry.METHODS) for entry in ENTRIES)
