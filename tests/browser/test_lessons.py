"""Scenario 2: every lesson in JupyterLab, as a learner opens it. Lesson 00 has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

LESSONS = sorted(path.stem for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LIVE_CHART = ".unlearn-chart .jp-RenderedPlotly.js-plotly-plot"


@pytest.fixture(params=[name for name in LESSONS if not name.startswith("00")])
def demo(
    request: pytest.FixtureRequest, opened: Callable[..., Any], lesson_path: Callable[[str], Path]
) -> Iterator[Any]:
    """The lesson, run to its end."""
    with opened(lesson_path(request.param)) as notebook:
        yield notebook


@pytest.mark.slow
def test_2_a_lesson_runs_clean_offline_and_accessibly(demo: Any, axe: Callable[..., list[str]]) -> None:
    ran_clean(demo, axe)


def ran_clean(demo: Any, axe: Callable[..., list[str]]) -> None:
    """Assert that nothing went wrong in the notebook or in the page, and that nothing is inaccessible."""
    assert demo.error_outputs() == []
    if "UnlearnPanel(" in demo.page.evaluate("() => window.jupyterapp.shell.currentWidget.model.toString()"):
        expect(demo.page.locator(".unlearn-panel").first).to_be_attached()
        assert axe() == []  # also brings every cell into the page
        assert demo.page.locator(LIVE_CHART).count() > 0
    alts = demo.page.locator(".jp-OutputArea img:visible").evaluate_all("all => all.map(i => i.alt)")
    assert [alt for alt in alts if not (len(alt) > 15 or "class " in alt)] == []
    assert demo.problems == []
