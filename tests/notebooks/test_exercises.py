"""The exercises: known wrong answers fail and are told why, right ones pass, and no answer stands nearby.

The answers stand in tests/exercises, a file a lesson. The cell of the lesson's master checks them.
"""

from __future__ import annotations

import ast
import importlib
import re
from types import ModuleType
from typing import Any

import pytest

from ci.build_notebooks import BLOCK, ROOT, read
from tests.shelves import MASTERS, SHELVES
from unlearn_lib.classroom import checks

CHECKING = re.compile(r"^(exercise_\d) = checks\.exercise\(\s*\"(\w+)\"", re.M)


def checking_cells() -> dict[tuple[str, str], tuple[str, str]]:
    """By lesson and exercise: the name of its status, and the cell that checks it."""
    found = {}
    for master in MASTERS:
        for cell in read(master):
            for status, name in CHECKING.findall(cell.source) if cell.cell_type == "code" else ():
                found[SHELVES[master.stem], name] = status, cell.source
    return found


CELLS = checking_cells()
ANSWERS = {
    lesson: importlib.import_module(f"tests.exercises.{lesson}").ANSWERS
    for lesson in sorted({lesson for lesson, _ in CELLS})
}
QUICK = [key for key in CELLS if key[1] != "my_unlearning"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "display", lambda *_, **__: None)


@pytest.fixture(scope="module")
def arena() -> dict[str, Any]:
    """What lesson 09 has before its last exercise: its own cells, with a single seed and one request."""
    wanted = (
        'preset: str = "lesson"',
        "session = begin(",
        "three_requests(base",
        "arenas = {}",
        "def enter(",
    )
    cells = [c.source for c in read(ROOT / "src" / "09_side_by_side.py") if c.cell_type == "code"]
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn_lib.classroom.session.display", lambda *_, **__: None)
        for text in wanted:
            cell = next(c for c in cells if text in c)
            if text == "def enter(":
                cell = CHECKING.split(cell)[0]
            cell = cell.replace('"lesson"  #', '"quick"  #').replace("seed + sizes.seeds", "seed + 1")
            exec(
                cell.replace("in requests.items():\n    tasks", "in [*requests.items()][:1]:\n    tasks"),
                names,
            )
    retrained = names["arenas"]["class"].retrained[0]
    scores = {s.audit: s.value for s in names["arenas"]["class"].scores(retrained)}
    return names | {"mean": lambda kind, name, audit: scores[audit]}


def exercises_of(lesson: str) -> ModuleType:
    """What is right in this lesson."""
    return importlib.import_module(f"unlearn_lib.lessons.{lesson}.exercises")


def status_of(lesson: str, name: str, answer: Any, more: dict[str, Any] | None = None) -> str:
    """What the cell that checks this exercise says of an answer."""
    status, cell = CELLS[lesson, name]
    names = {"checks": checks, "exercises": exercises_of(lesson), **(more or {}), name: answer}
    exec(cell, names)
    found: str = names[status]
    return found


def answers(kind: str, *, quick: bool) -> list[Any]:
    listed = []
    for lesson, by_exercise in ANSWERS.items():
        for name, found in by_exercise.items():
            if quick == ((lesson, name) in QUICK):
                for label, answer in found[kind].items():
                    listed.append(pytest.param(lesson, name, answer, id=f"{lesson}-{name}-{label}"))
    return listed


@pytest.mark.parametrize(("lesson", "name", "answer"), answers("wrong", quick=True))
def test_a_wrong_answer_fails_and_is_told_why(lesson: str, name: str, answer: Any) -> None:
    function, words = answer
    status = status_of(lesson, name, function)
    assert status not in ("pass", checks.NOT_ATTEMPTED)
    assert any(one in status for one in words.split("|")), status
    assert len(status) < 400, status


@pytest.mark.parametrize(("lesson", "name", "answer"), answers("right", quick=True))
def test_a_right_answer_passes_whatever_it_is_written_in(lesson: str, name: str, answer: Any) -> None:
    assert status_of(lesson, name, answer) == "pass"  # a warning would be an error here


@pytest.mark.parametrize(("lesson", "name"), QUICK)
def test_the_solution_passes_and_the_stub_is_not_attempted(lesson: str, name: str) -> None:
    (master,) = (path for path in MASTERS if SHELVES[path.stem] == lesson)
    (cell,) = (c.source for c in read(master) if f"def {name}(" in c.source and BLOCK.search(c.source + "\n"))
    names: dict[str, Any] = {}
    exec("import math\nimport numpy as np\nimport torch\n" + cell, names)
    assert status_of(lesson, name, names[name]) == "pass"

    def stub(*_: Any) -> Any:
        raise NotImplementedError("your turn")

    assert status_of(lesson, name, stub) == checks.NOT_ATTEMPTED


@pytest.mark.parametrize(("lesson", "name", "answer"), answers("wrong", quick=False))
def test_an_impostor_does_not_enter_the_contest(
    lesson: str, name: str, answer: Any, arena: dict[str, Any]
) -> None:
    function, words = answer
    status = status_of(lesson, name, function, arena)
    assert words in status, status


@pytest.mark.parametrize(("lesson", "name", "answer"), answers("right", quick=False))
def test_who_forgets_enters_the_contest(lesson: str, name: str, answer: Any, arena: dict[str, Any]) -> None:
    assert status_of(lesson, name, answer, arena) == "pass"


def test_every_exercise_has_wrong_and_right_answers() -> None:
    assert {(lesson, name) for lesson, found in ANSWERS.items() for name in found} == set(CELLS)
    for found in ANSWERS.values():
        for name, kinds in found.items():
            assert len(kinds["wrong"]) >= 6, name
            assert len(kinds["right"]) >= 3, name


# ---- the answer stands nowhere near


def renamed(node: ast.AST) -> str:
    """The structure of an expression; its variables are only counted."""
    names: dict[str, str] = {}
    return re.sub(r"id='(\w+)'", lambda m: names.setdefault(m[1], f"x{len(names)}"), ast.dump(node))


def shapes(text: str) -> set[str]:
    """The structures of all expressions of some size."""
    kinds = ast.BinOp | ast.Call | ast.comprehension | ast.Compare
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return {renamed(node) for node in nodes if len(list(ast.walk(node))) > 12}


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
def test_no_solution_stands_elsewhere_in_its_lesson(master: Any) -> None:
    solutions: set[str] = set()
    rest: set[str] = set()
    for cell in read(master):
        fenced = re.findall(r"```python\n(.*?)```", cell.source, re.S)
        for text in [cell.source] if cell.cell_type == "code" else fenced:
            if BLOCK.search(text + "\n") and "my_unlearning" not in text:
                solutions |= shapes(text)
            elif "my_unlearning" not in text:
                rest |= shapes(text)
    assert solutions
    assert not solutions & rest


def test_a_checking_cell_holds_no_reference() -> None:
    for (lesson, name), (_, cell) in CELLS.items():
        if name != "my_unlearning":
            assert len(cell.splitlines()) == 1, (lesson, cell)
            assert "lambda" not in cell
