"""A laptop six times slower than this one: a widget that needs seconds to begin must follow Python.

From version 0.9.17 on anywidget gives up a widget that is not ready after two seconds (see
`AbortSignal.timeout(2000)` in its `widget.js`), and the chart of the picker carries plotly's five megabytes.
Hence the upper bound in pyproject.toml; it goes as soon as this test passes with the newest anywidget.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Notebook

pytest.importorskip("playwright")

SLOWER = 6
CHOSEN = "e => e.data.flatMap(t => [...t.selectedpoints].map(i => t.customdata[i])).sort((a, b) => a - b)"


@pytest.mark.slow
def test_lesson_00_in_a_slow_browser_follows_python(
    browser: Any, browser_context_args: dict[str, Any], lab: Any, lesson_path: Callable[[str], Path]
) -> None:
    context = browser.new_context(**browser_context_args)
    context.set_default_timeout(120_000)
    notebook = Notebook(context.new_page(), lab)
    try:
        notebook.open(lesson_path("00_start_here"))
        slow = context.new_cdp_session(notebook.page)
        slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        notebook.run_all(240_000)
        assert notebook.error_outputs() == []
        panel = notebook.output("panel = UnlearnPanel(")
        chart, ids = panel.locator(".js-plotly-plot:has(.nsewdrag)").first, panel.get_by_role("textbox").first
        chart.wait_for()
        ids.fill("3, 17")
        ids.press("Enter")
        notebook.until("print(panel.values.ids)", "(3, 17)", timeout=60)
        notebook.settled(lambda: chart.evaluate(CHOSEN), [3, 17], timeout=60)
        assert notebook.problems == []
    finally:
        notebook.close()
        context.close()
