"""Twins of the browser scenarios without a browser, with real widgets, so that a failure is understood."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from unlearn_lib.classroom import checks, session
from unlearn_lib.classroom.charts import matrix_chart, still
from unlearn_lib.classroom.panels import Explorer, Panel, UnlearnPanel, View
from unlearn_lib.classroom.panels.controls import choice, whole
from unlearn_lib.classroom.panels.pickers import ids_text, parse_ids
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.classroom.panels.worker import Worker
from unlearn_lib.data import Split
from unlearn_lib.params import state
from unlearn_lib.train import run

LONG = 100_000  # epochs


def done(panel: UnlearnPanel) -> None:
    assert panel.runs.worker.thread is not None
    panel.runs.worker.thread.join(30)
    assert not panel.runs.worker.busy.locked()


def until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# 2: the first state


def test_2_the_first_state_says_something_at_once(demo: SimpleNamespace) -> None:
    panel = demo.panel
    assert panel.result is not None
    assert set(panel.scores) == {"original", "retrained", "unlearned"}
    assert panel.status.value.startswith("ready")
    assert "retrained" in panel.numbers.value


def test_2_headless_the_charts_are_pictures(demo: SimpleNamespace, headless: None) -> None:
    for out, draw in ((demo.panel.curves, demo.panel._draw), (demo.explorer.chart, demo.explorer.answer)):
        draw()
        assert '<img alt="' in out.outputs[0]["data"]["text/html"]


@pytest.mark.parametrize(
    "name", ["panel", "side_by_side", "explorer", "picker", "by_sample", "guess", "question"]
)
def test_2_every_panel_carries_its_static_form(demo: SimpleNamespace, name: str, monkeypatch: Any) -> None:
    view = "application/vnd.jupyter.widget-view+json"
    live = getattr(demo, name)._repr_mimebundle_()
    assert view in live
    monkeypatch.setattr(session, "HEADLESS", True)
    static = getattr(demo, name)._repr_mimebundle_()
    assert view not in static
    assert live["text/html"] == static["text/html"]


def test_2_a_live_chart_is_plotly_without_a_picture(demo: SimpleNamespace) -> None:
    demo.explorer.answer()
    assert set(demo.explorer.chart.outputs[0]["data"]) == {session.PLOTLY_MIME, "text/plain"}


# 3: choosing


def test_3_choosing_a_chart_draws_it_without_training(demo: SimpleNamespace) -> None:
    panel, starts = demo.panel, demo.panel.runs.worker.starts
    for name in panel.charts:
        panel.detail.value = name
        assert "failed" not in panel.caption.value
    assert "retraining, as a multiple of unlearning" in panel.caption.value
    assert panel.runs.worker.starts == starts


def test_3_the_explorer_redraws_when_a_control_changes(demo: SimpleNamespace) -> None:
    before = demo.explorer.numbers.value
    demo.explorer.epsilon.value = 0.2
    assert demo.explorer.numbers.value != before
    demo.explorer.epsilon.value = 0.05
    assert demo.explorer.numbers.value == before


def test_3_two_models_are_compared_on_the_sample_that_is_chosen(demo: SimpleNamespace) -> None:
    side = demo.side_by_side
    side.grid.value = [side.grid.ids[2]]
    numbers = side.view().numbers
    assert numbers["sample"] == side.grid.ids[2]
    assert {"original says", "unlearned says"} < set(numbers)
    side.right.value = "retrained"
    assert "retrained says" in side.numbers.value


def test_3_only_samples_where_the_two_models_disagree(demo: SimpleNamespace) -> None:
    side = demo.side_by_side
    side.right.value, side.which.value, side.differ.value = "retrained", "test", True
    models = demo.panel.outcome.models
    chosen = demo.digits.test.select(side.grid.ids).batch(slice(None)).x
    with torch.no_grad():
        left, right = (models[role](chosen).argmax(1) for role in ("original", "retrained"))
    assert len(side.grid.ids)
    assert (left != right).all()
    assert side.status.value.startswith("The two disagree on ")
    assert side.status.value.endswith(" of 360 samples.")
    side.differ.value = False
    assert side.status.value == "360 samples; the first 60 are shown."


def test_where_two_models_never_disagree_a_sentence_says_so(
    demo: SimpleNamespace,
) -> None:
    side = demo.side_by_side
    side.right.value, side.which.value, side.differ.value = "original", "test", True
    assert side.status.value == "A model never disagrees with itself: choose two."
    assert {part.layout.display for part in (side.grid, side.answer)} == {"none"}
    assert side.views() == []
    assert side._repr_mimebundle_()["text/plain"]  # a page without a front end has a word of it too
    models = demo.panel.outcome.models
    side.renew(dict.fromkeys(models, models["original"]), side.samples)
    side.right.value = "retrained"
    assert side.status.value == "The two agree on all of the 360 samples: there is nothing to show."
    side.differ.value = False
    assert {part.layout.display for part in (side.grid, side.answer)} == {None}
    side.renew(models, side.samples)
    assert len(side.views()) == 2


def test_3_the_panel_says_how_many_samples_the_present_choices_forget(demo: SimpleNamespace) -> None:
    panel = demo.by_sample
    panel.samples.value = panel.samples.ids[:1]
    assert panel.asked.value == "these choices forget 1 sample"
    panel.samples.value = []
    assert panel.asked.value.startswith("`forget` must hold at least one sample")
    assert panel.run.disabled, "there is nothing to run"
    panel.reset()
    assert panel.asked.value == "these choices forget 4 samples"
    assert not panel.run.disabled


def test_3_controls_that_the_choices_ignore_are_disabled_or_hidden(demo: SimpleNamespace) -> None:
    panel = UnlearnPanel(
        "unused",
        demo.digits,
        demo.original,
        controls={
            "how": choice("How", ["class", "samples"]),
            "label": whole("Class", 3, 0, 9),
            "samples": Thumbnails(
                demo.shelf, "Samples", demo.digits.classes, value=demo.shelf.ids[:2].tolist()
            ),
        },
        split=lambda v: (
            Split.by_class(demo.digits.train, v.label)
            if v.how == "class"
            else Split.by_ids(demo.digits.train, v.samples)
        ),
        start=lambda v, split: demo.ascend_and_repair(demo.original, split, 0.02, 1, 1),
        unused=lambda v: ["samples"] if v.how == "class" else ["label"],
        first=False,
    )

    def unused() -> tuple[bool, bool, str | None]:
        return panel.label.disabled, panel.samples.disabled, panel.samples.layout.display

    assert unused() == (False, True, "none")
    panel.how.value = "samples"
    assert unused() == (True, False, None)
    panel.run.click()
    done(panel)
    assert panel.status.value.startswith("finished")
    assert unused() == (True, False, None)
    assert "Accuracy after forgetting 2 samples" in panel.numbers.value


# 4: a run


def test_4_a_run_gives_the_bits_of_the_plain_cell(demo: SimpleNamespace) -> None:
    panel = demo.panel
    panel.forget.value, panel.steps.value = [5, 7], 4
    panel.run.click()
    done(panel)
    assert panel.status.value.startswith("finished after")
    split = Split.by_class(demo.digits.train, 5, 7)
    plain = run(demo.ascend_and_repair(demo.original, split, 0.02, 4, 1))
    shown = state(panel.result.model)
    assert all(torch.equal(value, shown[name]) for name, value in state(plain.model).items())


def test_4_the_numbers_are_those_of_the_last_step(demo: SimpleNamespace) -> None:
    panel = demo.panel
    panel.run.click()
    done(panel)
    last, scores = panel.runs.progress.rows[-1], panel.scores["unlearned"]
    assert last["step"] == panel.runs.progress.steps == panel.bar.value == panel.bar.max
    assert {k: last[k] for k in ("forget", "retain", "test")} == {
        k: v for k, v in scores.items() if k != "seconds"
    }
    assert f"{scores['retain']:.1%}" in panel.numbers.value


def test_4_a_request_seen_for_the_first_time_gets_its_reference_once(demo: SimpleNamespace) -> None:
    panel, known = demo.panel, len(demo.panel.runs.references)
    panel.forget.value = [8]
    for _ in range(2):
        panel.run.click()
        done(panel)
        assert panel.scores["retrained"]["forget"] < 0.1
        assert len(panel.runs.references) == known + 1


def test_4_a_comparison_follows_the_run(demo: SimpleNamespace) -> None:
    demo.panel.forget.value = [1]
    demo.panel.run.click()
    done(demo.panel)
    assert set(demo.side_by_side.samples["forget"].y.tolist()) == {1}


def test_4_elapsed_and_remaining_time_are_shown(demo: SimpleNamespace) -> None:
    demo.panel.epochs.value = LONG
    demo.panel.run.click()
    until(lambda: "s elapsed, about" in demo.panel.clock.value)
    assert "remaining" in demo.panel.clock.value


def test_4_a_long_run_keeps_few_rows(demo: SimpleNamespace) -> None:
    demo.panel.epochs.value = LONG
    demo.panel.run.click()
    until(lambda: demo.panel.runs.progress.steps > 1_500)
    demo.panel.stop(wait=10)
    rows = demo.panel.runs.progress.rows
    assert len(rows) <= 301
    assert rows[0]["step"] == 0
    assert sorted(row["step"] for row in rows) == [row["step"] for row in rows]


# 5: Stop and Reset


def test_5_stop_keeps_the_result_before_and_a_run_can_begin_again(demo: SimpleNamespace) -> None:
    panel, before = demo.panel, demo.panel.result
    panel.epochs.value = LONG
    panel.run.click()
    assert panel.status.value == "running"
    assert panel.steps.disabled
    until(lambda: panel.runs.progress.steps > 3)
    panel.halt.click()
    done(panel)
    assert panel.status.value.startswith("stopped after")
    assert panel.result is before
    assert not panel.steps.disabled
    drawn = json.loads(json.dumps(panel.curves.outputs[0]["data"][session.PLOTLY_MIME]))["data"]
    assert next(t for t in drawn if t["name"] == "unlearned")["x"][-1] == panel.runs.progress.rows[-1]["step"]
    assert panel.runs.progress.result is None
    panel.epochs.value = 1
    panel.run.click()
    done(panel)
    assert panel.status.value.startswith("finished")


def test_5_reset_during_a_run_restores_the_first_state(demo: SimpleNamespace) -> None:
    panel, first = demo.panel, demo.panel.runs.first
    panel.epochs.value, panel.forget.value = LONG, [1, 2]
    panel.run.click()
    panel.back.click()
    done(panel)
    assert panel.status.value.startswith("ready")
    assert panel.outcome is first
    assert (panel.values.epochs, panel.values.forget) == (1, [3])


def test_5_a_run_stopped_before_any_has_finished_says_so(demo: SimpleNamespace) -> None:
    panel = demo.by_sample
    assert panel.result is None
    assert "Accuracy before forgetting 4 samples; 1,433 retained" in panel.numbers.value
    panel.steps.value = 100
    panel.runs.on_state.append(at_once := lambda state: panel.halt.click() if state == "running" else None)
    panel.run.click()
    done(panel)
    panel.runs.on_state.remove(at_once)
    assert panel.status.value == "stopped after 0 steps; no run has finished yet"


def test_5_stop_without_a_run_says_nothing(demo: SimpleNamespace) -> None:
    demo.panel.halt.click()
    assert demo.panel.status.value.startswith("ready")


# 6: single flight


def test_6_a_second_click_is_ignored(demo: SimpleNamespace) -> None:
    panel, starts = demo.panel, demo.panel.runs.worker.starts
    panel.epochs.value = LONG
    panel.run.click()
    panel.run.click()
    assert panel.runs.worker.starts == starts + 1
    assert panel.status.value == "running"


# 7: pickers


def test_7_a_selection_of_all_traces_becomes_the_value(demo: SimpleNamespace) -> None:
    picker = demo.picker
    for k in range(10):  # plotly reports every trace in turn
        picker.pick(k, [0, 1] if k in (2, 6) else [])
    wanted = [picker.drawn.ids[picker.traces[k][i]].item() for k in (2, 6) for i in (0, 1)]
    assert picker.value == tuple(sorted(wanted))
    assert picker.count.value == "4 samples chosen: 2 of class 2, 2 of class 6"
    assert len(picker.figure.data[2].selectedpoints) == 2
    picker.value = ()
    assert picker.figure.data[2].selectedpoints is None


def test_7_ids_can_be_typed(demo: SimpleNamespace) -> None:
    picker = demo.picker
    picker.field.value = "20-22, 3 17"
    assert picker.value == (3, 17, 20, 21, 22)
    assert picker.field.value == "3, 17, 20-22"
    picker.field.value = "seven"
    assert picker.count.value == "`ids` must be numbers and ranges such as 3, 17, 20-24; got 'seven'."
    picker.field.value = "99999"
    assert picker.count.value.startswith("`ids` must be ids of this set")
    assert picker.value == (3, 17, 20, 21, 22)
    picker.value = ()


@pytest.mark.parametrize("ids", [(), (3,), (3, 4), (1, 2, 3, 9), (5, 7, 8, 9, 11)])
def test_7_ids_survive_writing_and_reading(demo: SimpleNamespace, ids: tuple[int, ...]) -> None:
    assert parse_ids(ids_text(ids), demo.digits.train) == ids


def test_7_chosen_thumbnails_are_the_request(demo: SimpleNamespace) -> None:
    panel = demo.by_sample
    panel.samples.value = panel.samples.ids[10:13]
    panel.run.click()
    done(panel)
    assert panel.outcome.split.forget.ids.tolist() == sorted(panel.samples.ids[10:13])
    assert panel.scores["unlearned"]["retain"] > 0.8


def test_7_thumbnails_have_names_and_keep_a_choice_that_is_still_there(demo: SimpleNamespace) -> None:
    grid = demo.by_sample.samples
    assert grid.names[0] == f"sample {grid.ids[0]}, class {grid.labels[0]}"
    kept, dropped = grid.ids[5], grid.ids[50]
    grid.value = [kept, dropped]
    grid.show(demo.shelf.select(grid.ids[:20]))
    assert grid.value == [kept]
    grid.show(demo.shelf)


# 8: predict and compare, quiz


def test_8_a_guess_is_kept_and_compared(demo: SimpleNamespace, shown: list[Any], monkeypatch: Any) -> None:
    found: list[Any] = []
    for module in (checks, session):
        monkeypatch.setattr(module, "display", lambda item, **_: found.append(item))
    guess = checks.predict("share", "How many?", ["all", "none"])
    assert found == [guess]
    guess.radio.value = "all"
    checks.compare(guess, "none")
    assert "✗ You guessed: all." in found[1]["text/plain"]
    assert found[1][session.RESULT_MIME] == {
        "name": "prediction.share",
        "values": {"guess": "all", "outcome": "none"},
    }
    assert len(found) == 2, "the question, and one answer that the runner collects too"
    guess.radio.index = None
    checks.compare(guess, "none")
    assert "You made no guess: choose above, then run this cell again." in found[2]["text/html"]
    with pytest.raises(ValueError, match="`outcome` must be one of"):
        checks.compare(guess, "some")


def test_8_headless_no_answer_is_recorded(demo: SimpleNamespace, shown: list[Any]) -> None:
    (result,) = [
        item[session.RESULT_MIME]["values"]
        for item in shown
        if isinstance(item, dict) and item.get(session.RESULT_MIME, {}).get("name") == "prediction.forget"
    ]
    assert result == {"guess": "no answer", "outcome": "never"}


def test_8_a_quiz_explains_every_answer(demo: SimpleNamespace) -> None:
    question = demo.question
    question.radio.value = "0 %"
    assert question.said.value.startswith("✗ Not quite. A model that never saw them")
    question.radio.value = question.correct
    assert question.said.value.startswith("✓ Right. It never saw them")
    assert "<details><summary>Answer</summary>" in question.static()["text/html"]


# 9: exercises


@pytest.mark.parametrize(
    ("function", "status"),
    [
        (lambda: 2, "pass"),
        (lambda: 3, "expected 2, got 3"),
        (lambda: 4, "4 is even, but wrong"),
        (lambda: 1 / 0, "your code raised ZeroDivisionError: division by zero"),
        (lambda: None, checks.NOTHING),
    ],
)
def test_9_an_exercise_says_what_differs(function: Any, status: str, monkeypatch: Any) -> None:
    found: list[Any] = []
    for module in (checks, session):
        monkeypatch.setattr(module, "display", lambda item, **_: found.append(item))

    def checker(learners: Any) -> str | None:
        got = learners()
        assert got != 4, "4 is even, but wrong"
        return None if got == 2 else f"expected 2, got {got}"

    assert checks.exercise("two", function, checker) == status
    (bundle,) = found  # shown once, and collected
    assert bundle[session.RESULT_MIME] == {"name": "exercise.two", "values": {"status": status}}
    assert status in html.unescape(bundle["text/html"])
    assert status in bundle["text/plain"]


def test_9_none_can_be_a_right_answer(monkeypatch: Any) -> None:
    monkeypatch.setattr(checks, "display", lambda *_, **__: None)

    def checker(learners: Any) -> str | None:
        if learners([]) is not None:
            return "of no numbers None is right"
        return None if learners([1, 2]) == 2 else "of 1 and 2 the largest is 2"

    assert checks.exercise("largest", lambda numbers: max(numbers, default=None), checker) == "pass"
    assert checks.exercise("largest", lambda numbers: None, checker) == "of 1 and 2 the largest is 2"
    assert checks.exercise("largest", lambda numbers: 0, checker) == "of no numbers None is right"
    assert "IndexError" in checks.exercise("largest", lambda n: n[9] if n else None, checker)


def test_9_a_stub_is_not_attempted_yet(monkeypatch: Any) -> None:
    monkeypatch.setattr(checks, "display", lambda *_, **__: None)
    monkeypatch.setattr(session, "display", lambda *_, **__: None)

    def stub() -> None:
        raise NotImplementedError("your turn")

    assert checks.exercise("two", stub, lambda function: function()) == "not attempted yet"


# 10: no thread is left


def test_10_a_panel_made_again_ends_the_old_worker(demo: SimpleNamespace) -> None:
    def panel() -> UnlearnPanel:
        return UnlearnPanel(
            "twice",
            demo.digits,
            demo.original,
            controls={"epochs": whole("Epochs", LONG, 1, LONG)},
            split=lambda v: Split.by_class(demo.digits.train, 3),
            start=lambda v, split: demo.ascend_and_repair(demo.original, split, 0.02, 1, v.epochs),
            first=False,
        )

    old = panel()
    old.run.click()
    until(lambda: old.runs.progress.steps > 0)
    new = panel()
    assert old.runs.worker.thread is not None
    assert not old.runs.worker.thread.is_alive()
    assert Worker.live["twice"] is new.runs.worker


def test_10_stopping_closes_the_generator(demo: SimpleNamespace) -> None:
    closed = threading.Event()
    plain = demo.panel.runs.method

    def method(values: SimpleNamespace, split: Split) -> Generator[Any, None, Any]:
        try:
            return (yield from plain(values, split))
        finally:
            closed.set()

    demo.panel.runs.method, demo.panel.epochs.value = method, LONG
    try:
        demo.panel.run.click()
        until(lambda: demo.panel.runs.progress.steps > 0)
        demo.panel.stop(wait=10)
        assert closed.is_set()
    finally:
        demo.panel.runs.method = plain


@pytest.mark.slow
def test_10_python_ends_while_a_panel_trains() -> None:
    code = (
        "from unlearn_lib.classroom.panels.worker import Worker\n"
        "import itertools\n"
        "def forever():\n    for i in itertools.count(): yield i\n"
        "worker = Worker('endless')\n"
        "worker.start(lambda: worker.drive(forever(), []))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


# 11: the kernel stays free


def test_11_a_click_returns_while_the_run_goes_on(demo: SimpleNamespace) -> None:
    demo.panel.epochs.value = LONG
    demo.panel.run.click()
    assert demo.panel.runs.worker.thread.is_alive()
    assert demo.panel.runs.worker.thread.daemon


# 13: errors


def test_13_an_error_in_the_worker_is_shown_and_the_controls_recover(demo: SimpleNamespace) -> None:
    panel, before = demo.panel, demo.panel.result
    panel.forget.value = []
    panel.run.click()
    done(panel)
    assert panel.status.value.startswith("failed: ValueError: `forget` must hold at least one sample")
    assert not panel.steps.disabled
    assert panel.result is before


def test_13_a_diverging_run_says_so(demo: SimpleNamespace) -> None:
    demo.panel.lr.value, demo.panel.steps.value = 1.0, 1_000
    demo.panel.run.click()
    done(demo.panel)
    assert demo.panel.status.value.startswith("failed: FloatingPointError")


def test_13_an_explorer_shows_an_error_and_keeps_the_last_drawing() -> None:
    def view(values: SimpleNamespace) -> View:
        if values.n == 2:
            raise ValueError("`n` must not be 2; got 2.")
        from matplotlib.figure import Figure

        return View(Figure(), f"An empty figure for n = {values.n}.", {"n": values.n})

    explorer = Explorer("errors", controls={"n": choice("n", [1, 2, 3])}, view=view)
    explorer.n.value = 2
    assert explorer.status.value == "failed: ValueError: `n` must not be 2; got 2."
    assert ">1<" in explorer.numbers.value
    explorer.n.value = 3
    assert explorer.status.value == ""
    assert ">3<" in explorer.numbers.value


def test_13_an_unknown_control_is_refused() -> None:
    panel = Panel("p", {"n": choice("n", [1])})
    with pytest.raises(ValueError, match=r"set `n\.value`"):
        panel.n = 2
    with pytest.raises(AttributeError, match="no attribute or control 'm'"):
        _ = panel.m


@pytest.mark.parametrize("name", ["values", "status", "controls", "view", "seconds"])
def test_13_a_control_cannot_take_the_name_of_something_else(name: str) -> None:
    with pytest.raises(ValueError, match=f"of the panel 'p' must not hold '{name}'"):
        Explorer("p", controls={name: choice("n", [1])}, view=lambda v: View(go.Figure(), "An empty figure."))


# The charts


def test_a_chart_has_a_static_twin_with_the_same_panels_and_data(demo: SimpleNamespace) -> None:
    for name, chart in demo.panel.charts.items():
        figure = chart(demo.panel.outcome).figure
        axes = still(figure).axes
        assert len(axes) == len({(trace.xaxis, trace.yaxis) for trace in figure.data}), name
        for line in (t for t in figure.data if t.type == "scatter"):
            assert any(list(drawn.get_ydata()) == list(line.y) for ax in axes for drawn in ax.lines)


def test_a_chart_that_has_no_static_twin_is_refused() -> None:
    with pytest.raises(ValueError, match="got a trace of type 'pie'"):
        still(go.Figure(go.Pie(values=[1, 2])))


def test_roles_differ_in_more_than_color(demo: SimpleNamespace) -> None:
    bars = demo.panel.charts["Classes"](demo.panel.outcome).figure.data
    assert len({bar.marker.pattern.shape for bar in bars}) == len(bars) == 3
    assert len({trace.marker.symbol for trace in demo.picker.figure.data[:10]}) == 10


def test_names_of_classes_do_not_overlap_in_a_picture() -> None:
    names = [f"automobile {k}" for k in range(10)]
    chart = matrix_chart(dict.fromkeys(("original", "unlearned", "retrained"), np.eye(10)), names)
    picture = still(chart.figure)
    picture.canvas.draw()
    for ax in picture.axes:
        places = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert len(places) == 10
        assert not any(a.overlaps(b) for a, b in pairwise(places))
