"""The demo notebook of the browser tests, run here as a script: its panels without a browser."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlearn_lib.lesson import session

DEMO = Path(__file__).parent.parent / "browser" / "demo.py"


@pytest.fixture(scope="session")
def shown() -> list[Any]:
    """What the demo displayed, in order."""
    return []


@pytest.fixture(scope="session")
def notebook(shown: list[Any]) -> SimpleNamespace:
    """The names of the demo after its last cell, run once, without a front end as under the runner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "HEADLESS", True)
        for module in ("session", "checks"):
            patch.setattr(f"unlearn_lib.lesson.{module}.display", lambda found, **_: shown.append(found))
        return SimpleNamespace(**runpy.run_path(str(DEMO), {"preset": "quick"}))


@pytest.fixture
def demo(notebook: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """The demo as every test finds it. Its charts are plotly's: matplotlib draws ten times as long."""
    yield notebook
    for panel in (notebook.panel, notebook.by_sample):
        panel.stop(wait=10)
        if panel.progress is not panel.first or vars(panel.values) != panel.initial:
            panel.reset()


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under the runner: pictures instead of charts."""
    monkeypatch.setattr(session, "HEADLESS", True)
