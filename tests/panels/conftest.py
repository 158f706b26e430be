"""The demo notebook of the browser tests, and the lessons, run here as scripts: panels without a browser."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.small import at_quick, shrink
from unlearn_lib.classroom import session

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tests" / "browser" / "demo.py"


def show_to(patch: pytest.MonkeyPatch, display: Callable[[Any], object]) -> None:
    """Hand everything that a notebook shows to `display`."""
    for module in ("session", "checks"):
        patch.setattr(f"unlearn_lib.classroom.{module}.display", lambda found, **_: display(found))


@pytest.fixture(scope="session")
def shown() -> list[Any]:
    """What the demo displayed, in order."""
    return []


@pytest.fixture(scope="session")
def notebook(shown: list[Any]) -> SimpleNamespace:
    """The names of the demo after its last cell, run once, without a front end as under the runner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "HEADLESS", True)
        show_to(patch, shown.append)
        return SimpleNamespace(**runpy.run_path(str(DEMO), {"preset": "quick"}))


@pytest.fixture
def demo(notebook: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The demo as every test finds it. Its charts are plotly's: matplotlib draws ten times as long."""
    yield notebook
    for panel in (notebook.panel, notebook.by_sample):
        panel.stop(wait=10)
        if panel.runs.progress is not panel.runs.first or vars(panel.values) != panel.initial:
            panel.reset()


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under the runner: pictures instead of charts."""
    monkeypatch.setattr(session, "HEADLESS", True)


@pytest.fixture(scope="module")
def lesson(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[SimpleNamespace]:
    """The names of the lesson that `test_NN_NAME.py` is about: solved, small, and without its last cell."""
    stem = Path(request.module.__file__).stem.removeprefix("test_")
    master = ROOT / "notebooks" / "src" / f"{stem}.py"
    path = tmp_path_factory.mktemp("lesson") / master.name
    path.write_text(at_quick(master), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch.setitem)
        patch.setattr(session, "show", lambda view: None)  # every figure has a test of its own
        show_to(patch, lambda found: None)
        yield SimpleNamespace(**runpy.run_path(str(path)))
