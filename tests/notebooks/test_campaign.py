"""The campaign of the lessons: which cases it runs, and what it says of those that fail."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from ci.campaigns import lessons
from unlearn_lib.command.places import notebooks
from unlearn_lib.command.runner import choose


def cases(names: list[str], classes: list[int], seeds: list[int], **options: Any) -> list[lessons.Case]:
    sources = choose(names, notebooks())
    return list(lessons.cases(sources, classes, seeds, options.pop("more", {}), **options))


def test_a_lesson_runs_for_every_seed_and_every_class_it_can_forget() -> None:
    assert [c.name for c in cases(["01"], [0, 1], [0, 2])] == [
        "01_deepobliviate seed=0",
        "01_deepobliviate seed=2",
    ]
    for name in ("02", "03", "04", "09"):
        assert len({c.name for c in cases([name], list(range(10)), [0, 1, 2])}) == 30
    assert cases(["02"], [7], [1])[0].given == {"classes": "7", "seed": "1", "preset": "quick"}


def test_on_the_diagonal_every_class_comes_once_and_every_seed_is_tried() -> None:
    given = [c.given for c in cases(["03"], list(range(10)), [0, 1, 2], diagonal=True)]
    assert sorted(int(g["forget_class"]) for g in given) == list(range(10))
    assert all(int(g["seed"]) == int(g["forget_class"]) % 3 for g in given)


def test_a_parameter_reaches_the_lessons_that_have_it() -> None:
    found = cases(["03", "09"], [1], [0], more={"workers": "0", "dataset": "mnist"})
    assert [("workers" in c.given, c.given["dataset"]) for c in found] == [(False, "mnist"), (True, "mnist")]


def test_numbers_are_ranges_and_lists() -> None:
    assert lessons.numbers("0,2,5-7") == [0, 2, 5, 6, 7]
    for wrong in ("", "a", "1-", "-1", "1-b"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be like 0-2"):
            lessons.numbers(wrong)


class InThisProcess:
    """A pool of none: the cases run one after the other, here."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: Any) -> None: ...

    map = staticmethod(map)


def test_it_counts_what_held_and_says_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders: list[Path] = []

    def run(source: Path, values: dict[str, Any], *, out: Path, **_: Any) -> dict[str, Any]:
        folders.append(out)
        bad = values["forget_class"] == 3
        return {
            "status": "failed" if bad else "ok",
            "error": "cell [9] raised\nAssertionError" if bad else None,
        } | {"seconds": 1.0}

    monkeypatch.setattr(lessons, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(lessons, "run", run)
    options = ["--lessons", "03", "--classes", "2-3", "--seeds", "0", "--out", str(tmp_path)]
    assert lessons.main(options) == 1
    said = capsys.readouterr().out
    assert "03_partial forget_class=2 seed=0: held" in said
    assert "03_partial forget_class=3 seed=0: failed: cell [9] raised AssertionError" in said
    assert "tried   2, held   1, failed   1" in said
    assert len(set(folders)) == 2
    assert lessons.main([*options[:3], "2", *options[4:]]) == 0
    with pytest.raises(SystemExit, match="2"):
        lessons.main(["--lessons", "99"])
