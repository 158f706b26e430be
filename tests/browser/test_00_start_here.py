"""Lesson 00 in JupyterLab: the widget check, points chosen by mouse, a moving boundary, a dragged limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_lessons import LIVE_CHART, ran_clean

pytestmark = pytest.mark.slow
PICKER = ".js-plotly-plot:not(.jp-RenderedPlotly)"
PATIENCE = 30_000  # milliseconds: a busy machine answers late

# Every point of the picker: id, and where in the page it is.
POINTS = """plot => { const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
    const number = list => Array.from(list, Number);
    return plot.data.flatMap(t => { const x = number(t.x), y = number(t.y);
        return number(t.customdata).map((id, i) => [id, box.x + xaxis._offset + xaxis.d2p(x[i]),
            box.y + yaxis._offset + yaxis.d2p(y[i])]); }); }"""
SHADES = "plot => JSON.stringify(plot.data.filter(t => t.type === 'heatmap').map(t => t.z))"
LIMIT = "plot => plot.data.find(t => t.name === 'threshold').x[0]"


@pytest.fixture(scope="module")
def demo(opened: Callable[..., Any], lesson_path: Callable[[str], Path]) -> Iterator[Any]:
    """The lesson, run to its end."""
    with opened(lesson_path("00_start_here"), patience=PATIENCE) as notebook:
        yield notebook
        assert notebook.problems == []


@pytest.fixture
def picker(demo: Any) -> Any:
    """The chart of the points, as wide as its panel, in sight and at rest."""
    chart = demo.output("panel = UnlearnPanel(").locator(PICKER)
    demo.settled(lambda: chart.evaluate("e => e._fullLayout.width - e.clientWidth"), 0)

    def moved() -> bool:
        chart.scroll_into_view_if_needed()
        before = chart.evaluate(POINTS)
        demo.page.wait_for_timeout(500)
        return bool(chart.evaluate(POINTS) != before)

    demo.settled(moved, False)
    return chart


def test_2_the_lesson_runs_clean_offline_and_accessibly(demo: Any, axe: Callable[..., list[str]]) -> None:
    size = demo.page.viewport_size
    ran_clean(demo, axe)
    demo.page.set_viewport_size(size)


def test_the_button_of_the_widget_check_answers(demo: Any) -> None:
    out = demo.output("WidgetCheck()")
    expect(out.get_by_text("[ ? ]")).to_be_visible()
    out.get_by_role("button", name="Press me", exact=True).click()
    expect(out.get_by_text("[OK]   A widget answers (pressed: 1).")).to_be_visible()
    demo.until("print(widget.ok)", "True")


def test_a_click_chooses_the_point_under_the_mouse(demo: Any, picker: Any) -> None:
    chosen, x, y = max(picker.evaluate(POINTS), key=lambda point: point[1])  # the tip has no close neighbor
    demo.page.mouse.move(x - 30, y)
    demo.page.mouse.move(x, y, steps=5)
    expect(picker.locator(".hovertext")).to_have_count(1)  # the chart has seen the mouse
    demo.page.wait_for_timeout(100)  # plotly looks where the mouse is twenty times a second
    demo.page.mouse.down()
    demo.page.mouse.up()
    demo.until("print(panel.values.ids)", f"({chosen},)", PATIENCE / 1000)
    expect(demo.output("panel = UnlearnPanel(").get_by_text("1 sample chosen")).to_be_visible()


def test_a_lasso_chooses_what_it_surrounds_and_a_run_moves_the_boundary(demo: Any, picker: Any) -> None:
    out, mouse = demo.output("panel = UnlearnPanel("), demo.page.mouse
    picker.locator("[data-title='Lasso Select']").click()
    place = picker.locator(".nsewdrag").bounding_box()
    across = sorted(x for _, x, _ in picker.evaluate(POINTS))[10:30]
    _, right = max((b - a, (a + b) / 2) for a, b in pairwise(across))  # far from any point
    left = place["x"] + 2
    top, bottom = place["y"] + 2, place["y"] + place["height"] - 2
    mouse.move(left, top)
    mouse.down()
    for corner in ((left, bottom), (right, bottom), (right, top), (left, top)):
        mouse.move(*corner, steps=8)
    mouse.up()
    inside = sorted(int(i) for i, x, _ in picker.evaluate(POINTS) if x < right)
    assert 10 < len(inside) < 30
    demo.until("print(list(panel.values.ids))", str(inside), PATIENCE / 1000)

    chart = out.locator(LIVE_CHART).first
    before = chart.evaluate(SHADES)
    out.get_by_role("button", name="Unlearn", exact=True).click()
    expect(out.locator(".unlearn-status").filter(has_text="finished after")).to_be_visible()
    demo.settled(lambda: chart.evaluate(SHADES) != before, True)
    assert demo.python("print(panel.outcome.values.ids == panel.values.ids)") == "True"


def test_the_threshold_follows_the_mouse_and_the_text_beside_it(demo: Any) -> None:
    out = demo.output("membership = Explorer(")
    slider = out.get_by_role("slider", name="Threshold on the loss")
    slider.scroll_into_view_if_needed()
    place, before = slider.bounding_box(), slider.input_value()
    height = place["y"] + place["height"] / 2
    demo.page.mouse.move(place["x"] + 0.6 * place["width"], height)
    demo.page.mouse.down()
    demo.page.mouse.move(place["x"] + 0.9 * place["width"], height, steps=10)
    demo.page.mouse.up()
    stop = slider.input_value()  # where the drag has ended: Python hears of the places before it too
    assert int(stop) > int(before) + 5
    demo.until("print(membership.threshold.stops.index(membership.values.threshold))", stop, PATIENCE / 1000)
    demo.settled(
        lambda: out.locator(LIVE_CHART).evaluate(LIMIT),
        float(demo.python("print(membership.values.threshold)")),
    )
    expect(out.get_by_text(demo.python("print(membership.shown.alt)"))).to_be_visible()


def test_everything_is_accessible_in_the_dark_theme_too(demo: Any, axe: Callable[..., list[str]]) -> None:
    demo.theme("JupyterLab Dark")
    assert axe() == []
