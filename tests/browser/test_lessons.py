"""Scenario 2: every lesson in JupyterLab at preset quick, as a learner opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LIVE_CHART = ".unlearn-chart .jp-RenderedPlotly.js-plotly-plot"


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def demo(
    request: pytest.FixtureRequest,
    notebook_class: Any,
    browser: Any,
    browser_context_args: dict[str, Any],
    lab: tuple[str, Path],
    tmp_path: Path,
) -> Iterator[Any]:
    """The lesson at preset quick, run to its end."""
    nb = nbformat.read(request.param, as_version=4)
    (parameters,) = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = parameters.source.replace('preset: str = "lesson"', 'preset: str = "quick"')
    path = tmp_path / request.param.name
    nbformat.write(nb, path)
    context = browser.new_context(**browser_context_args)
    context.set_default_timeout(15_000)
    notebook = notebook_class(context.new_page(), *lab).open(path).run_all(timeout=300_000)
    yield notebook
    notebook.close()
    context.close()


@pytest.mark.slow
def test_2_a_lesson_runs_clean_offline_and_accessibly(demo: Any, axe: Callable[..., list[str]]) -> None:
    assert demo.error_outputs() == []
    if "UnlearnPanel(" in demo.page.evaluate("() => window.jupyterapp.shell.currentWidget.model.toString()"):
        expect(demo.page.locator(".unlearn-panel").first).to_be_attached()
        assert axe() == []  # also brings every cell into the page
        assert demo.page.locator(LIVE_CHART).count() > 0
    alts = demo.page.locator(".jp-OutputArea img:visible").evaluate_all("all => all.map(i => i.alt)")
    assert [alt for alt in alts if not (len(alt) > 15 or "class " in alt)] == []
    assert demo.problems == []
