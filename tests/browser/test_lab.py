"""The demo notebook in JupyterLab. Assertions on the DOM and on kernel state, never on pixels.

Locators are scoped to the output of one cell: a bare get_by_text also matches the source of a cell. The
numbered scenarios have twins without a browser in tests/panels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

LIVE_CHART = ".jp-RenderedPlotly.js-plotly-plot"  # drawn through Output.outputs, no FigureWidget
LONG = "panel.epochs.value = 1_000"  # seconds of training
SLOW_CHART = """
from unlearn_lib.classroom.panels import pickers
Chart, wait = pickers.Chart, "await new Promise(go => setTimeout(go, 3_000));"
pickers.Chart = type("Slow", (Chart,), {"_esm": wait + str(Chart._esm)})
"""
AXE_CANARY = "<p style='color: #bbb; background: #fff'>pale</p><img src='data:,' width='9' height='9'>"


@pytest.fixture
def out(demo: Any) -> Any:
    """The output of the main panel's cell."""
    return demo.output("panel")


def status(out: Any, text: str) -> Any:
    return out.locator(".unlearn-status").filter(has_text=text)


def button(out: Any, name: str) -> Any:
    return out.get_by_role("button", name=name, exact=True)


def curve(out: Any) -> int:
    """Points of the unlearned model's forget accuracy in the live chart."""
    return int(
        out.locator(LIVE_CHART).first.evaluate("e => e.data.find(t => t.name === 'unlearned')?.x.length ?? 0")
    )


def test_1_the_notebook_runs_clean_and_offline(demo: Any, out: Any) -> None:
    assert demo.error_outputs() == []
    expect(button(out, "Unlearn")).to_be_visible()
    expect(out.locator(LIVE_CHART)).to_have_count(2)  # charts, not pictures of them
    expect(demo.page.locator(".jp-OutputArea img[alt='Image']")).to_have_count(0)


def test_the_server_answers_nobody_without_its_token(lab: Any) -> None:
    contents = f"{lab.base}/api/contents"
    with pytest.raises(HTTPError, match="403"):
        urlopen(contents)
    assert lab.ask("/api/contents")["type"] == "directory"
    with urlopen(f"{lab.base}/lab?token={lab.token}") as page:  # as the browser: from here on by cookie
        cookies = "; ".join(one.split(";")[0] for one in page.headers.get_all("Set-Cookie"))
    with urlopen(Request(contents, headers={"Cookie": cookies})) as reply:
        assert reply.status == 200
    with pytest.raises(HTTPError, match="403"):  # a page of another site has the cookies, but not this header
        urlopen(Request(contents, b"{}", {"Cookie": cookies, "Referer": "http://127.0.0.1:1/"}))


def test_3_choosing_by_picture_and_by_chart_changes_what_is_shown(demo: Any, out: Any) -> None:
    digit = out.get_by_role("button", name="class 5", exact=True)
    digit.click()
    expect(digit).to_have_attribute("aria-pressed", "true")
    demo.until("print(panel.values.forget)", "[3, 5]")
    button(out, "Predictions").click()
    expect(out.get_by_text("Predictions for the test samples")).to_be_visible()
    assert out.locator(LIVE_CHART).last.evaluate("e => e.data[0].type") == "heatmap"


def test_3_two_models_side_by_side_answer_for_the_sample_that_is_clicked(demo: Any) -> None:
    beside = demo.page.locator(".unlearn-panel").filter(
        has=demo.page.locator("select[multiple=false], select")
    )
    beside = demo.output("ComparePanel.following")
    samples = beside.get_by_role("group", name="Choose a sample").get_by_role("button")
    name = samples.nth(4).get_attribute("title")
    samples.nth(4).click()
    expect(beside.locator("img[width='112']")).to_have_attribute("alt", name)
    assert beside.locator(LIVE_CHART).evaluate("e => e.data.map(t => t.name)") == ["original", "unlearned"]
    beside.get_by_label("beside").select_option("retrained")
    expect(beside.get_by_text("retrained says")).to_be_visible()


def test_3_the_explorer_answers_without_training(demo: Any) -> None:
    explorer = demo.output("Explorer(")
    explorer.get_by_label("Exponent h").fill("2")
    explorer.get_by_label("Exponent h").press("Enter")
    demo.until("print(explorer.values.h)", "2.0")
    expect(explorer.get_by_text(demo.python("print(explorer.shown.alt)"))).to_be_visible()
    assert float(demo.python("print(explorer.seconds)")) < 2  # 0.2 s is the aim; a busy machine is slower


def test_4_a_run_shows_progress_and_ends_with_its_last_step(demo: Any, out: Any) -> None:
    demo.python("panel.epochs.value = 20")
    button(out, "Unlearn").click()
    expect(status(out, "running")).to_be_visible()
    expect(out.get_by_text("s elapsed")).to_be_visible()
    expect(status(out, "finished after")).to_be_visible(timeout=30_000)
    demo.until("print(panel.bar.value == panel.runs.progress.steps == panel.bar.max)", "True")
    found = demo.python("print(f\"{panel.scores['unlearned']['retain']:.1%}\")")
    expect(out.locator("tr").filter(has_text="unlearned").locator("td").nth(1)).to_have_text(found)
    assert curve(out) == int(demo.python("print(len(panel.runs.progress.rows))"))


def test_5_stop_ends_the_run_at_once_and_another_can_begin(demo: Any, out: Any) -> None:
    demo.python(LONG)
    button(out, "Unlearn").click()
    expect(status(out, "running")).to_be_visible()
    demo.page.wait_for_timeout(300)
    button(out, "Stop").click()
    expect(status(out, "stopped after")).to_be_visible(timeout=10_000)  # 0.1 s where nothing else runs
    expect(out.get_by_label("Steps of it")).to_be_enabled()
    button(out, "Unlearn").click()
    expect(status(out, "running")).to_be_visible()
    button(out, "Reset").click()
    expect(status(out, "ready")).to_be_visible(timeout=5_000)
    demo.until("print(panel.values.epochs)", "1")


def test_6_a_double_click_starts_one_run(demo: Any, out: Any) -> None:
    demo.python(LONG + "; before = panel.runs.worker.starts")
    button(out, "Unlearn").dblclick()
    expect(status(out, "running")).to_be_visible()
    assert demo.python("print(panel.runs.worker.starts - before)") == "1"


def test_7_box_selection_and_typing_reach_python(demo: Any) -> None:
    box = demo.output("EmbeddingPicker(digits")
    ids = box.get_by_role("textbox", name="Samples to forget")
    area = box.locator(".js-plotly-plot .nsewdrag").last
    area.scroll_into_view_if_needed()
    place, mouse = area.bounding_box(), demo.page.mouse
    mouse.move(place["x"] + 5, place["y"] + 5)
    mouse.down()
    mouse.move(place["x"] + place["width"] - 5, place["y"] + place["height"] - 5, steps=8)
    mouse.up()
    demo.until("print(len(picker.value) == len(digits.train))", "True")
    expect(box.get_by_text("1,437 samples chosen")).to_be_visible()
    ids.fill("3, 17, 20-22")
    ids.press("Enter")
    demo.until("print(picker.value)", "(3, 17, 20, 21, 22)")
    expect(box.get_by_text("5 samples chosen")).to_be_visible()


def test_7_a_chart_that_loads_slowly_follows_python_all_the_same(demo: Any) -> None:
    demo.python(SLOW_CHART)
    demo.run_cell("EmbeddingPicker(digits")
    demo.python("picker.value = (3, 17); pickers.Chart = Chart")
    chart = demo.output("EmbeddingPicker(digits").locator(".js-plotly-plot")
    chosen = "e => e.data.flatMap(t => [...t.selectedpoints].map(i => t.customdata[i])).sort((a, b) => a - b)"
    expect(chart).to_be_visible(timeout=30_000)
    assert chart.evaluate(chosen) == [3, 17]  # said while plotly loaded
    demo.python("picker.value = (20,)")
    demo.settled(lambda: chart.evaluate(chosen), [20])


def test_7_thumbnails_reach_python(demo: Any) -> None:
    shelf = demo.output("by_sample = UnlearnPanel")
    shelf.get_by_role("group", name="Samples to forget").get_by_role("button").first.click()
    demo.until("print(len(by_sample.samples.value))", "3")
    expect(shelf.get_by_text("Samples to forget: 3 chosen")).to_be_visible()


def test_8_a_guess_is_kept_and_compared(demo: Any) -> None:
    demo.output("checks.predict(").get_by_label("never", exact=True).check()
    demo.until("print(guess.value)", "never")
    demo.run_cell("checks.compare(guess")
    expect(demo.output("checks.compare(guess").get_by_text("✓ As you guessed.")).to_be_visible()


def test_8_a_quiz_explains_the_answer(demo: Any) -> None:
    asked = demo.output("checks.quiz(")
    asked.get_by_label("0 %", exact=True).check()
    expect(asked.get_by_text("✗ Not quite.")).to_be_visible()
    asked.get_by_label("that of the retrained model", exact=True).check()
    expect(asked.get_by_text("✓ Right. It never saw them")).to_be_visible()


def test_9_an_exercise_says_what_differs(demo: Any) -> None:
    says = demo.output("checks.exercise(").get_by_text
    expect(says("Exercise forget accuracy: not attempted yet")).to_be_visible()
    for body, answer in (
        ("return 0.5", "✗ Exercise forget accuracy: on the small case 2/3 is right; got 0.5"),
        ("return float((predicted[y == target] == target).mean())", "✓ Exercise forget accuracy: pass"),
    ):
        demo.replace_cell("def forget_accuracy", f"def forget_accuracy(predicted, y, target):\n    {body}")
        demo.run_cell("checks.exercise(")
        expect(says(answer)).to_be_visible()


def test_10_running_the_panel_cell_again_ends_the_old_worker(demo: Any, out: Any) -> None:
    demo.python(LONG + "; old = panel")
    button(out, "Unlearn").click()
    expect(status(out, "running")).to_be_visible()
    demo.run_cell('UnlearnPanel(\n    "ascent"')
    assert demo.python("print(old is panel, old.runs.worker.thread.is_alive())") == "False False"
    demo.run_cell("panel")  # the cell that shows it
    demo.run_cell("ComparePanel.following")
    assert demo.error_outputs() == []


def test_11_the_kernel_stays_free_while_a_panel_trains(demo: Any, out: Any) -> None:
    demo.python(LONG)
    button(out, "Unlearn").click()
    assert demo.python("print(panel.runs.worker.thread.is_alive())") == "True"


def test_12_axe_is_not_blind(demo: Any, axe: Callable[..., list[str]]) -> None:
    """Canary: a check that finds nothing must be able to find something."""
    said = demo.page.locator(".widget-html-content").first
    before = said.evaluate("e => e.innerHTML")
    said.evaluate("(e, bad) => { e.innerHTML += bad }", AXE_CANARY)
    try:
        assert {line.split()[0] for line in axe()} == {"color-contrast", "image-alt"}
    finally:
        said.evaluate("(e, old) => { e.innerHTML = old }", before)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("width", [1300, 1024])
def test_12_accessible(demo: Any, axe: Callable[..., list[str]], theme: str, width: int) -> None:
    demo.page.set_viewport_size({"width": width, "height": 768})
    demo.theme(theme)
    assert axe() == []


def test_12_every_image_has_an_alternative_text(demo: Any) -> None:
    images = demo.page.locator(".jp-OutputArea img:visible")
    alts = [images.nth(i).get_attribute("alt") or "" for i in range(images.count())]
    assert alts
    assert [alt for alt in alts if not (len(alt) > 15 or "class " in alt)] == []


def test_13_choices_that_cannot_be_run_say_so_and_disable_the_button(demo: Any, out: Any) -> None:
    out.get_by_role("button", name="class 3", exact=True).click()  # now nothing is to be forgotten
    expect(out.get_by_text("`forget` must hold at least one sample")).to_be_visible()
    expect(button(out, "Unlearn")).to_be_disabled()
    out.get_by_role("button", name="class 3", exact=True).click()
    expect(button(out, "Unlearn")).to_be_enabled()


def test_13_an_error_in_the_worker_is_shown_and_the_controls_recover(demo: Any, out: Any) -> None:
    demo.python("right = panel.runs.method; panel.runs.method = lambda values, split: 1 / 0")
    try:
        button(out, "Unlearn").click()
        expect(status(out, "failed: ZeroDivisionError: division by zero")).to_be_visible()
        assert demo.python("print(panel.runs.worker.busy.locked(), panel.steps.disabled)") == "False False"
    finally:
        demo.python("panel.runs.method = right")


def test_14_a_panel_and_a_question_work_by_keyboard_alone(demo: Any, out: Any) -> None:
    """JupyterLab's command keys must not act while a widget has the focus (b would add a cell)."""
    cells, press = demo.page.locator(".jp-Cell").count(), demo.page.keyboard.press
    demo.python(LONG)
    digit = out.get_by_role("button", name="class 9", exact=True)
    digit.focus()
    for key in ("b", "Space"):
        press(key)
    demo.until("print(panel.values.forget)", "[3, 9]")
    press("Tab")
    expect(button(out, "Unlearn")).to_be_focused()
    press("Enter")
    expect(status(out, "running")).to_be_visible()
    expect(button(out, "Unlearn")).to_be_focused()
    press("Tab")
    press("Enter")
    expect(status(out, "stopped after")).to_be_visible()
    radios = demo.output("checks.predict(").locator(".widget-radio input")
    radios.first.focus()
    press("Space")
    expect(radios.first).to_be_checked()
    press("ArrowDown")
    demo.until("print(guess.value)", "about half of the time")
    assert demo.page.locator(".jp-Cell").count() == cells
