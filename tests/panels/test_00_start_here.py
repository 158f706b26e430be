"""Lesson 00 without a browser: every figure draws, live and still, and every control changes something."""

from __future__ import annotations

import json
from types import SimpleNamespace

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import nn

from unlearn_lib.classroom import charts
from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.classroom.panels.pickers import EmbeddingPicker
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.classroom.panels.slider import Slider
from unlearn_lib.data import Split, load
from unlearn_lib.lessons.start import figures
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.membership import loss_mia
from unlearn_lib.synthetic import two_moons

TOY = two_moons(40, 4)
TIP = range(4)


def half_plane(height: float = 0.25) -> nn.Module:
    """Calls everything below this height the lower moon."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        layer.bias.copy_(torch.tensor([-height, height]))
    return layer


MODELS = {"original": half_plane(), "retrained": half_plane(0.5)}
ATTACKS = {
    role: loss_mia(torch.linspace(0.001, top, 30), torch.linspace(0.01, 3, 40))
    for role, top in (("original", 0.1), ("retrained", 3.0))
}
RATES = {role: {"mislabeled": 0.1, "ordinary": 0.9} for role in ("original", "unlearned", "control")}
VIEWS = {
    "points": lambda: figures.points_chart(
        TOY.train, {"forget left": TIP, "forget right": [39]}, TOY.classes
    ),
    "boundary": lambda: figures.boundary_chart(MODELS, TOY.train, TIP, TOY.classes, MODELS["retrained"]),
    "boundary alone": lambda: figures.boundary_chart({"original": half_plane(9)}, TOY.train, [], TOY.classes),
    "request": lambda: figures.request_chart(RATES, RATES),
    "threshold": lambda: figures.threshold_chart(ATTACKS, "original", 0.1),
    "canary": lambda: figures.canary_chart({"original": 1.0, "retrained": 0.0}, dict.fromkeys(MODELS, 0.9)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_draws_live_and_still_and_says_what_there_is_to_see(name: str) -> None:
    view = VIEWS[name]()
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30
    assert "nan" not in view.alt


def test_the_boundary_is_where_the_two_answers_are_equal() -> None:
    plane = figures.Plane.of(half_plane(0.25), TOY.train)
    xs, ys = plane.boundary()
    assert [y for y in ys if y is not None] == pytest.approx([0.25] * (len(ys) - 1), abs=0.02)
    assert xs.count(None) == 1, "one piece"
    assert min(x for x in xs if x is not None) == pytest.approx(plane.x[0], abs=0.01)


def test_a_model_without_boundary_has_no_line() -> None:
    assert figures.Plane.of(half_plane(99.0), TOY.train).boundary() == ([], [])


def test_a_heatmap_over_numbers_stands_where_the_numbers_say() -> None:
    drawn = charts.still(VIEWS["boundary"]().figure)
    left, right = drawn.axes[0].get_xlim()
    assert left < float(TOY.train.x[:, 0].min()) < float(TOY.train.x[:, 0].max()) < right


def test_the_threshold_counts_who_is_below_it() -> None:
    numbers = figures.threshold_chart(ATTACKS, "retrained", 1.5).numbers
    members, others = ATTACKS["retrained"].members, ATTACKS["retrained"].others
    assert numbers["forget set, called members"] == f"{float((members <= 1.5).double().mean()):.0%}"
    assert numbers["never seen, but called members"] == f"{float((others <= 1.5).double().mean()):.0%}"


def test_before_a_run_the_panel_shows_the_original_alone() -> None:
    progress = Progress(SimpleNamespace(), Split.by_ids(TOY.train, TIP), TOY, half_plane())
    assert figures.progress_view(progress).alt.startswith("Decision boundaries of the models original.")


def test_a_slider_takes_the_nearest_of_its_stops() -> None:
    slider = Slider("Threshold", [0.1, 1.0, 10.0], 0.9)
    assert slider.value == 1.0
    slider.value = 7.0
    assert slider.value == 10.0
    for wrong in ([1.0], [2.0, 1.0], [1.0, 1.0]):
        with pytest.raises(ValueError, match="increasing numbers"):
            Slider("Threshold", wrong, 1.0)


def test_points_of_the_plane_are_picked_where_they_are() -> None:
    picker = EmbeddingPicker(TOY.train, "Forget", TOY.classes, value=TIP, colors=("#111111", "#222222"))
    np.testing.assert_allclose(picker.points, TOY.train.x.numpy())
    assert [t.marker.color for t in picker.figure.data] == ["#111111", "#222222"]
    assert picker.figure.layout.xaxis.title.text == "first feature"
    digits = load("digits").test.head(20)
    other = EmbeddingPicker(digits, "Forget", list("0123456789"))
    assert other.points.shape == (20, 2)
    assert other.figure.layout.xaxis.title.text == "first principal component"


def test_the_chart_of_a_picker_reaches_the_page_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    def note(widget: w.Widget) -> None:
        if isinstance(widget, go.FigureWidget):
            sent.append([trace["name"] for trace in widget.get_state()["_widget_data"]])

    monkeypatch.setattr(w.Widget, "open", note)
    picker = EmbeddingPicker(TOY.train, "Forget", TOY.classes, value=TIP)
    assert sent == [list(TOY.classes)]
    assert [t.selectedpoints for t in picker.figure.data] == [(), tuple(TIP)]


def test_every_control_of_the_explorer_changes_the_answer(lesson: SimpleNamespace) -> None:
    explorer = lesson.membership
    for name, value in {"role": "retrained", "threshold": 1.0}.items():
        before, kept = explorer.shown.figure.to_json(), explorer.controls[name].value
        explorer.controls[name].value = value
        assert explorer.status.value == ""
        assert explorer.shown.figure.to_json() != before
        explorer.controls[name].value = kept


def weights(lesson: SimpleNamespace, **changes: object) -> torch.Tensor:
    values = SimpleNamespace(**{**vars(lesson.panel.values), **changes})
    model = lesson.run(lesson.panel.runs.method(values, lesson.panel.runs.split(values))).model
    return torch.cat([p.detach().flatten() for p in model.parameters()])


CHANGES = {"ids": (20, 21), "method": "ascend on the forget set", "epochs": 3, "lr": 0.001}


@pytest.mark.parametrize("control", CHANGES)
def test_every_control_of_the_panel_changes_the_run(lesson: SimpleNamespace, control: str) -> None:
    assert not torch.equal(weights(lesson), weights(lesson, **{control: CHANGES[control]}))


def test_the_method_that_retrains_gives_the_reference(lesson: SimpleNamespace) -> None:
    same = weights(lesson, method="retrain from scratch", epochs=lesson.recipe.epochs)
    reference = lesson.retrained["mislabeled"].model
    assert torch.equal(same, torch.cat([p.detach().flatten() for p in reference.parameters()]))


def test_the_panel_gives_the_same_model_as_the_plain_cell(lesson: SimpleNamespace) -> None:
    pairs = zip(lesson.panel.result.model.parameters(), lesson.tuned["mislabeled"].parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_picture_shows_all_three_models_and_stands_above_the_curves(lesson: SimpleNamespace) -> None:
    assert "original, unlearned, retrained" in figures.progress_view(lesson.panel.outcome).alt
    order = list(lesson.panel.box.children)
    assert order.index(lesson.panel.picture) < order.index(lesson.panel.curves)


def test_a_request_of_no_point_is_told_in_the_panel(lesson: SimpleNamespace) -> None:
    panel = lesson.panel
    panel.ids.value = ()
    panel.run.click()
    panel.runs.worker.stop(wait=10)
    assert panel.status.value.startswith("failed: ValueError: `forget` must hold at least one sample")
    panel.reset()
    assert panel.ids.value == tuple(lesson.requests["mislabeled"].tolist())


def test_the_ascent_stops_where_no_forget_point_is_right(lesson: SimpleNamespace) -> None:
    for name, model in lesson.ascended.items():
        assert accuracy(model, lesson.splits[name].forget) == 0


def test_the_exercises_are_solved_by_their_solutions(lesson: SimpleNamespace) -> None:
    assert (lesson.exercise_1, lesson.exercise_2) == ("pass", "pass")
