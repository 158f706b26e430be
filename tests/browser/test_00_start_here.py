"""Lesson 00 in JupyterLab: the widget check, points chosen by mouse, a moving boundary, a dragged limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
LESSON = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
LIVE_CHART = ".unlearn-chart .jp-RenderedPlotly.js-plotly-plot"


@pytest.fixture(scope="module")
def demo(
    notebook_class: Any,
    browser: Any,
    browser_context_args: dict[str, Any],
    lab: tuple[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """The lesson at preset quick, run to its end."""
    nb = nbformat.read(LESSON, as_version=4)
    (parameters,) = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = parameters.source.replace('preset: str = "lesson"', 'preset: str = "quick"')
    path = tmp_path_factory.mktemp("lesson") / LESSON.name
    nbformat.write(nb, path)
    context = browser.new_context(**browser_context_args)
    context.set_default_timeout(15_000)
    notebook = notebook_class(context.new_page(), *lab).open(path).run_all(timeout=300_000)
    assert notebook.error_outputs() == []
    yield notebook
    assert notebook.problems == []
    notebook.close()
    context.close()


def test_the_button_of_the_widget_check_answers(demo: Any) -> None:
    out = demo.output("WidgetCheck()")
    out.get_by_role("button", name="Press me", exact=True).click()
    expect(out.get_by_text("[OK]   A widget answers (pressed: 1).")).to_be_visible()
    demo.until("print(widget.ok)", "True")


def test_a_click_and_a_lasso_choose_points_and_the_boundary_moves(demo: Any) -> None:
    out = demo.output("panel = UnlearnPanel(")
    area = out.locator(".js-plotly-plot .nsewdrag").first
    area.scroll_into_view_if_needed()
    mouse = demo.page.mouse
    spot = """e => { const plot = e.closest('.js-plotly-plot'), layout = plot._fullLayout;
        const trace = plot.data.find(t => t.customdata), box = plot.getBoundingClientRect();
        return [box.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[20]),
                box.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[20]), trace.customdata[20]]; }"""
    x, y, chosen = area.evaluate(spot)
    mouse.move(x - 3, y)
    mouse.move(x, y, steps=4)  # a chart selects what the mouse is seen over
    demo.page.wait_for_timeout(300)
    mouse.click(x, y)
    demo.until("print(panel.values.ids)", f"({int(chosen)},)")

    out.locator("[data-title='Lasso Select']").first.click()
    place = area.bounding_box()
    corners = [(0.02, 0.02), (0.02, 0.98), (0.25, 0.98), (0.25, 0.02), (0.02, 0.02)]
    path = [(place["x"] + a * place["width"], place["y"] + b * place["height"]) for a, b in corners]
    mouse.move(*path[0])
    mouse.down()
    for corner in path[1:]:
        mouse.move(*corner, steps=8)
    mouse.up()
    demo.page.wait_for_timeout(1500)
    demo.page.screenshot(path="/tmp/l00/lasso.png")
    print("GOT", demo.python("print(panel.values.ids)"), place, area.bounding_box())
    demo.until(
        "print(len(panel.values.ids) > 5, 0 in panel.values.ids, 159 in panel.values.ids)", "True True False"
    )

    chart = out.locator(LIVE_CHART).first
    shades = "e => JSON.stringify(e.data.filter(t => t.type === 'heatmap').map(t => t.z))"
    before = chart.evaluate(shades)
    out.get_by_role("button", name="Unlearn", exact=True).click()
    expect(out.locator(".unlearn-status").filter(has_text="finished after")).to_be_visible(timeout=30_000)
    assert chart.evaluate(shades) != before


def test_the_threshold_follows_mouse_and_keyboard(demo: Any) -> None:
    out = demo.output("membership = Explorer(")
    slider = out.get_by_role("slider", name="Threshold on the loss")
    slider.focus()
    slider.press("ArrowRight")
    demo.until("print(membership.values.threshold > 0.1)", "True")
    expect(out.get_by_text(demo.python("print(membership.shown.alt)"))).to_be_visible()
    place = slider.bounding_box()
    demo.page.mouse.move(place["x"] + 0.6 * place["width"], place["y"] + place["height"] / 2)
    demo.page.mouse.down()
    demo.page.mouse.move(place["x"] + 0.95 * place["width"], place["y"] + place["height"] / 2, steps=10)
    demo.page.mouse.up()
    demo.until("print(membership.values.threshold > 3)", "True")
    expect(out.get_by_text(demo.python("print(membership.shown.alt)"))).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_everything_is_accessible_in_both_themes(
    demo: Any, axe: Callable[..., list[str]], theme: str
) -> None:
    demo.theme(theme)
    assert axe() == []
