"""The lesson's look at the environment: a line a requirement, a remedy if it fails, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unlearn_lib.classroom import environment, session
from unlearn_lib.classroom.environment import Report, WidgetCheck, check
from unlearn_lib.classroom.versions import versions_in_words
from unlearn_lib.lessons.unsir import LESSON

NAMES = ("Python", "versions", "torch", "device", "threads", "repeatable", "disk", "data")


def test_every_requirement_is_met_where_the_tests_run(capsys: pytest.CaptureFixture[str]) -> None:
    report = check()
    said = capsys.readouterr().out.splitlines()
    assert report.ok, report.failed
    assert tuple(line.name for line in report.lines) == NAMES
    assert [line.startswith("[OK]   ") for line in said] == [True] * len(NAMES) + [False]
    assert said[-1] == "Ready."
    assert "digits, 1,437 training and 360 test samples" in said[-2]


def test_missing_data_are_a_line_that_says_where_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check("mnist", root=tmp_path)
    said = capsys.readouterr().out
    assert report.failed == ("data",)
    assert not report.ok
    assert "[FAIL] data: " in said
    assert str(tmp_path) in said
    assert "remedy: " in said
    assert "1 of 8 failed" in said


def test_an_unknown_data_set_is_a_line_too() -> None:
    assert check("imagenet").failed == ("data",)


def by(report: Report, name: str) -> environment.Line:
    return next(line for line in report.lines if line.name == name)


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    info = namedtuple("info", "major minor micro")(3, 10, 4)
    monkeypatch.setattr(environment.sys, "version_info", info)
    line = by(check(), "Python")
    assert not line.ok
    assert "must be 3.11, 3.12, 3.13 or 3.14" in line.found
    assert "3.11, 3.12, 3.13 or 3.14" in line.remedy


def test_a_package_that_is_old_or_too_new_or_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=99.1", "no-such-package>=1.0", "numpy>=1.0", 'pytest>=999 ; extra == "test"']
    asked += ['plotly<2,>=1 ; extra == "lab"']
    monkeypatch.setattr(environment, "requires", lambda _: asked)
    line = by(check(), "versions")
    assert not line.ok
    assert line.found.startswith("torch must be >=99.1, is ")
    assert "; no-such-package is missing; plotly must be <2,>=1, is " in line.found
    assert "numpy" not in line.found
    assert "pytest" not in line.found, "the extra test is for those who run the tests"
    assert "pip install" in line.remedy


def test_the_bounds_of_pyproject_are_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "version", lambda _: "0.0.1")
    found = by(check(), "versions").found
    assert all(f"{name} must be" in found for name in ("torch", "torchvision", "ipywidgets", "anywidget"))


@pytest.mark.parametrize(
    ("there", "bounds", "enough"),
    [
        ("2.15.0+cpu", ">=2.14", True),
        ("2.9", ">=2.14", False),
        ("4.6.0rc1", ">=4.6", True),
        ("1.2", ">=1.2.1", False),
        ("0.11.0", ">=0.9.16,<0.9.17", False),
    ],
)
def test_versions_are_compared_as_numbers(
    monkeypatch: pytest.MonkeyPatch, there: str, bounds: str, enough: bool
) -> None:
    monkeypatch.setattr(environment, "requires", lambda _: ["torch" + bounds])
    monkeypatch.setattr(environment, "version", lambda _: there)
    assert by(check(), "versions").ok is enough


def test_torch_without_its_match_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_pair(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(environment, "import_module", wrong_pair)
    line = by(check(), "torch")
    assert not line.ok
    assert "nms" in line.found
    assert "matching pair" in line.remedy


def test_more_threads_than_cores_are_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    line = by(check(), "threads")
    assert not line.ok
    assert "OMP_NUM_THREADS" in line.remedy


def test_a_run_that_does_not_repeat_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "equal", lambda *_: False)
    assert by(check(), "repeatable").found == "two equal runs gave different weights"


def test_a_full_disk_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert "0 MB free" in by(check(), "disk").found


def test_checking_changes_no_random_stream_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = torch.get_rng_state()
    assert check().ok
    assert torch.equal(before, torch.get_rng_state())
    assert not list(tmp_path.iterdir())


def test_without_torch_the_check_still_answers() -> None:
    """It is imported, and called, before anything that needs torch."""
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from unlearn_lib.classroom import environment; environment.check()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    assert "[FAIL] torch: " in done.stdout
    assert done.stdout.count("[FAIL]") >= 3


def test_a_widget_answers_every_press(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEADLESS", False)
    widget = WidgetCheck()
    assert not widget.ok
    for pressed in (1, 2):
        widget.press.click()
        assert widget.ok
        assert widget.status.value == f"[OK]   A widget answers (pressed: {pressed})."
    bundle = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "[FAIL]" in bundle["text/plain"], "what a page without widgets shows"


def test_headless_the_button_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEADLESS", True)
    assert set(WidgetCheck()._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_a_folder_of_photographs_passes_as_it_does_in_a_lesson(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = draw.integers(0, 256, (50, 40 + i, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    assert "data" not in check(str(tmp_path)).failed
    assert "image_folder, 4 training and 2 test samples" in capsys.readouterr().out


def test_a_lesson_and_the_check_name_the_same_versions(capsys: pytest.CaptureFixture[str]) -> None:
    check()
    session.begin(LESSON, preset="quick")
    said = [line for line in capsys.readouterr().out.splitlines() if "versions: " in line]
    named = {line.partition("versions: ")[2] for line in said}
    assert named == {versions_in_words()}
    assert len(said) == 2
