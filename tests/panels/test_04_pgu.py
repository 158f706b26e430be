"""Lesson 04 without a browser: every figure draws, live and still, and every control changes something."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unlearn_lib.classroom import session
from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.lessons.pgu import LESSON as LESSON_04
from unlearn_lib.lessons.pgu import figures
from unlearn_lib.lessons.pgu.panel import unused_by_target
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.train import run

SIGMA = np.array([9.0, 3.0, 1.0, 0.5])
PARTS = {"full": SIGMA, "retained": 0.9 * SIGMA, "forget": 0.3 * SIGMA[:2]}
SHARES = {"sigma": np.cumsum(SIGMA) / SIGMA.sum(), "sigma2": np.cumsum(SIGMA**2) / (SIGMA**2).sum()}
RANKS = {"sigma": 2, "sigma2": 1}
TAIL = np.linspace(1, 0, 5)
ROOM = {"forget energy outside": TAIL, "update that survives": TAIL**2, "retained energy outside": TAIL**3}
POINTS = np.array([[1.0, 0.5], [-1.0, -0.5]])
LOGITS = {f"{part} {when}": POINTS for part in ("retained", "forget") for when in ("before", "after")}
ROWS = [{"forget": 1.0, "retain": 1.0, "drift": 0.0}, {"forget": 0.0, "retain": 0.9, "drift": 0.4}]
VIEWS = {
    "toy": lambda: figures.toy_chart(POINTS, POINTS + 1, POINTS[0], POINTS[1], LOGITS),
    "toy without room": lambda: figures.toy_chart(POINTS, POINTS, 0 * POINTS[0], 0 * POINTS[0], LOGITS),
    "spectra": lambda: figures.spectra_chart({"a": PARTS, "b": PARTS}, {"a": 2, "b": 4}),
    "cumulative": lambda: figures.cumulative_chart({"a": SHARES}, {"a": RANKS}, 0.8),
    "angles": lambda: figures.angles_chart({"a": np.array([1.0, 60.0]), "b": np.array([])}),
    "survival": lambda: figures.survival_chart({"a": [0.1, 0.2], "b": []}),
    "layer": lambda: figures.layer_chart(PARTS, SHARES, RANKS, "sigma", 0.8, ROOM, np.array([20.0])),
    "curves": lambda: figures.curves_chart({"with": ROWS, "without": ROWS}, {"with": 1, "without": None}),
    "controls": lambda: figures.controls_chart({"PGU": ROWS[1], "ascent": {}}),
    "drift": lambda: figures.drift_chart({"nothing": {"protected": 0.0, "forget": 1.0}}),
    "loss": lambda: figures.loss_chart(0.05),
    "entropy": lambda: figures.entropy_chart({"original": np.array([-9.0, 0.5])}, 10),
    "membership": lambda: figures.membership_chart(
        {"original": (0.9, 0.1), "x": (0.5, 0.1)}, dict.fromkeys(["original", "x"], 0.5)
    ),
    "relearn": lambda: figures.relearn_chart({"original": [1.0], "retrained": [0.0, 0.2]}, 0.9),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_draws_live_and_still_and_says_what_there_is_to_see(name: str) -> None:
    view = VIEWS[name]()
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30
    assert "nan" not in view.alt


def test_at_most_four_layers_are_shown_the_first_and_the_last_among_them() -> None:
    assert figures.a_few(["a", "b"]) == ["a", "b"]
    assert figures.a_few([str(i) for i in range(21)]) == ["0", "7", "13", "20"]


@pytest.mark.parametrize(
    ("panel", "control", "value"),
    [("toy_explorer", *pair) for pair in (("angle", 20.0), ("spread", 0.5), ("gamma", 1.0))]
    + [("layer_explorer", *pair) for pair in (("layer", "1.weight"), ("gamma", 0.5), ("rule", "sigma2"))],
)
def test_every_control_of_an_explorer_changes_the_answer(lesson, panel, control, value) -> None:
    explorer = getattr(lesson, panel)
    before = explorer.shown.figure.to_json()
    kept = explorer.controls[control].value
    explorer.controls[control].value = value
    assert explorer.status.value == ""
    assert explorer.shown.figure.to_json() != before
    explorer.controls[control].value = kept
    assert explorer.shown.figure.to_json() == before


CHANGES = {"target": "samples", "label": (5,), "energy": 0.5, "rule": "sigma2", "offset": 0.3}
CHANGES |= {"entropy": 2.0, "lr": 0.2, "directions": "none", "loose": ("bias",)}


def weights(lesson: SimpleNamespace, **changes: object) -> torch.Tensor:
    values = SimpleNamespace(**{**vars(lesson.panel.values), **changes})
    model = run(lesson.unlearn(values, lesson.request(values))).model
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("control", CHANGES)
def test_every_control_of_the_panel_changes_the_run(lesson, control) -> None:
    assert not torch.equal(weights(lesson), weights(lesson, **{control: CHANGES[control]}))


def test_the_controls_that_need_another_one_change_the_run_too(lesson) -> None:
    one = weights(lesson, layer="3.weight", own=0.5)
    assert not torch.equal(one, weights(lesson))
    assert not torch.equal(one, weights(lesson, layer="3.weight", own=0.3))
    few = lesson.request(SimpleNamespace(target="samples", count=5))
    assert len(few.forget) == 5


OTHERS = {"label": (5,), "count": 5, "energy": 0.5, "layer": "3.weight", "own": 0.3, "rule": "sigma2"}


@pytest.mark.parametrize(
    "choices",
    [{}, {"layer": "3.weight"}, {"directions": "none"}],
    ids=["as it opens", "one layer otherwise", "no projection"],
)
def test_a_control_is_idle_exactly_where_it_changes_nothing(lesson, choices) -> None:
    plain = weights(lesson, **choices)
    changes_nothing = {
        name
        for name, value in OTHERS.items()
        if torch.equal(weights(lesson, **{**choices, name: value}), plain)
    }
    values = SimpleNamespace(**{**vars(lesson.panel.values), **choices})
    assert unused_by_target(values) == changes_nothing - choices.keys()
    values.target = "samples"
    assert unused_by_target(values) == changes_nothing - choices.keys() - {"count"} | {"label"}


def test_the_panel_gives_the_same_model_as_the_plain_cell(lesson) -> None:
    pairs = zip(lesson.panel.result.model.parameters(), lesson.unlearned.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert (
        accuracy(lesson.panel.result.model, lesson.split.forget) == lesson.panel.scores["unlearned"]["forget"]
    )


def test_the_panel_shows_what_survives_and_why_it_stopped(lesson) -> None:
    view = figures.progress_view(lesson.panel.outcome)
    assert view.numbers["stopped"] == lesson.trace.stopped
    assert "survives, 3.weight" in view.numbers
    fresh = Progress(lesson.panel.values, lesson.split, lesson.data, lesson.original)
    assert figures.progress_view(fresh).numbers == {"steps": 0}


def test_the_exercises_are_solved_in_the_master(lesson) -> None:
    assert (lesson.exercise_1, lesson.exercise_2, lesson.exercise_3) == ("pass",) * 3


@pytest.mark.parametrize(("device", "model"), [("cpu", "lenet5"), ("cuda", "resnet18")])
def test_a_gpu_gets_the_sizes_that_are_meant_for_it(monkeypatch, device, model) -> None:
    large = LESSON_04.sizes["cifar10"]
    few = {preset: replace(getattr(large, preset), train=50, test=40) for preset in ("full", "full_on_cuda")}
    monkeypatch.setitem(LESSON_04.sizes, "digits", replace(large, **few))
    monkeypatch.setattr(session, "pick_device", torch.device)  # as if there were one
    found = session.begin(LESSON_04, preset="full", device=device)
    assert (found.sizes.model, len(found.dataset.train)) == (model, 50)
