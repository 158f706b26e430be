"""A lesson has all its parts: what CONTRIBUTING.md asks for, shelf by shelf."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from tests.shelves import MASTERS, ROOT, SHELVES
from unlearn_lib.lessons.every import LESSONS

SHELF = {
    "__init__": "its face, which exports `LESSON`",
    "sizes": "its sizes, needs, defaults and limits: `LESSON`",
    "figures": "its pictures",
    "findings": "the sentences that the numbers of a run choose",
    "exercises": "what is right in its exercises",
    "panel": "the controls of its panels",
}


def missing(name: str) -> Iterator[str]:
    """The parts that a lesson lacks, each with its path."""
    wanted = {f"unlearn_lib/lessons/{name}/{part}.py": what for part, what in SHELF.items()}
    wanted[f"tests/exercises/{name}.py"] = "right and wrong answers, and what a wrong one is told"
    stems = [stem for stem, shelf in SHELVES.items() if shelf == name]
    if len(stems) != 1:
        yield f"notebooks/src/NN_{name}.py: one master with `from unlearn_lib.lessons.{name} import LESSON`"
    for stem in stems:
        wanted[f"notebooks/{stem}.ipynb"] = "made by ci/build_notebooks.py"
        wanted[f"notebooks/solutions/{stem}.ipynb"] = "made by ci/build_notebooks.py"
        wanted[f"tests/panels/test_{stem}.py"] = "every figure draws, and every control changes something"
        if f"(notebooks/{stem}.ipynb)" not in (ROOT / "README.md").read_text(encoding="utf-8"):
            yield f"README.md: a row for notebooks/{stem}.ipynb"
        if f"Lesson {stem[:2]}" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
            yield f"CHANGELOG.md: a line for lesson {stem[:2]}"
    yield from (f"{path}: {what}" for path, what in wanted.items() if not (ROOT / path).is_file())
    lesson, path = LESSONS[name], f"unlearn_lib/lessons/{name}/sizes.py"
    if lesson.name != name:
        yield f"{path}: the name of the shelf, {name!r}, not {lesson.name!r}"
    for sizes in (lesson.small, lesson.no_limits):
        yield from (f"{path}: what `{one}` means, under Args" for one in unexplained(sizes))
    if strange := lesson.limits.keys() - lesson.sizes.keys():
        yield f"{path}: sizes for {', '.join(sorted(strange))}, which has limits"


def unexplained(made: Any) -> list[str]:
    """Fields of a dataclass of which no docstring speaks, neither its own nor that of what it extends."""
    said = "\n".join(kind.__doc__ or "" for kind in type(made).__mro__)
    names = [one.name for one in fields(made)] if made is not None else []
    return [one for one in names if not re.search(rf"^ +{one}: \S", said, re.M)]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_all_its_parts(name: str) -> None:
    lacking = list(missing(name))
    assert not lacking, "\n".join(["this lesson lacks:", *lacking])


def test_every_master_teaches_a_lesson_of_the_library() -> None:
    assert [master.stem for master in MASTERS] == list(SHELVES)


def test_the_capstone_is_the_last_lesson() -> None:
    assert list(SHELVES.values())[-1] == "side_by_side"
