"""The examples run as a reader would run them: alone, offline and without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
OFFLINE = """
import runpy, socket, sys
socket.socket.connect = None
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_keeps_its_promise(example: Path, tmp_path: Path) -> None:
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-W", "error", "-c", OFFLINE, str(example)]
    done = subprocess.run(call, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert done.stdout
    assert not done.stderr
    assert not list(tmp_path.iterdir()), "it leaves something behind"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_a_page_of_the_same_title(example: Path) -> None:
    page = example.with_suffix(".md").read_text(encoding="utf-8")
    title, *_ = example.read_text(encoding="utf-8").split("\n")
    assert page == f"{title.rstrip('.')}\n\n```{{example}} {example.name}\n```\n"
    assert example.stem in (example.parent / "index.md").read_text(encoding="utf-8").split()
