"""Lesson 03 without a browser: every figure draws, live and still, and every control changes something."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.lessons.partial import LESSON as LESSON_03
from unlearn_lib.lessons.partial import figures
from unlearn_lib.lessons.partial.figures import Point
from unlearn_lib.lessons.partial.panel import unused_by_method
from unlearn_lib.methods.layers import Layers
from unlearn_lib.metrics.membership import loss_mia
from unlearn_lib.train import run

LAYERS = Layers({"0.weight": (4, 2, 3, 3), "0.bias": (4,), "1.weight": (5, 4)})
UPDATE = torch.linspace(-1, 1, LAYERS.n)
PATH = [Point(0.9, 0.95), Point(0.3, 0.93), Point(0.0, 0.9)]
MARKS = {"original": Point(1.0, 0.98), "retrained": Point(0.0, 0.97)}
LOSSES = torch.tensor([0.01, 0.5, 0.0, 4.0])
VIEWS = {
    "touched": lambda: figures.touched_chart({"one": np.eye(3, dtype=bool), "all": np.ones((3, 3), bool)}),
    "update": lambda: figures.update_chart(LAYERS, UPDATE, LAYERS.top(UPDATE.abs()[None], 0.2)[0]),
    "update of nothing": lambda: figures.update_chart(LAYERS, 0 * UPDATE, UPDATE > 2),
    "share": lambda: figures.share_chart([0.1, 0.5, 1.0], PATH, [1.0, 2.0, 3.0], MARKS, 0.5),
    "equal": lambda: figures.equal_chart({"": {"partial": [0.9, None], "amnesiac": [0.8, 0.7]}}),
    "equal, never": lambda: figures.equal_chart({"a": {"x": [None]}, "b": {"x": [0.5]}}),
    "batches": lambda: figures.batches_chart({"full": ([1, 5, 9], PATH)}, 100),
    "optimizer": lambda: figures.optimizer_chart([0.1, 0.5, 1], {"Adam": {"largest": PATH, "random": PATH}}),
    "plane": lambda: figures.plane_chart({"flip": {"a": PATH, "b": PATH[:1]}}, MARKS, 0.05),
    "plane of nothing": lambda: figures.plane_chart({"": {"start": []}}, MARKS),
    "membership": lambda: figures.membership_chart({"original": loss_mia(LOSSES, LOSSES + 1)}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_draws_live_and_still_and_says_what_there_is_to_see(name: str) -> None:
    view = VIEWS[name]()
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30
    assert "nan" not in view.alt


def test_the_map_of_an_update_lights_what_is_kept() -> None:
    kept = LAYERS.top(UPDATE.abs()[None], 0.2)[0]
    view = figures.update_chart(LAYERS, UPDATE, kept)
    lit = [np.array(trace.z) > 0.2 for trace in view.figure.data]
    masks = LAYERS.unflatten(kept)
    for drawn, name in zip(lit, ("0.weight", "1.weight"), strict=True):
        assert (drawn == masks[name].flatten(1).numpy()).all()
    assert view.numbers["0.bias, kept"] == "1 of 4 entries"


def test_ways_that_never_forgot_say_so_and_do_not_enter_the_mean() -> None:
    numbers = VIEWS["equal"]().numbers
    assert numbers["partial"] == "90.0%, 1 of 2 seeds"
    assert VIEWS["equal, never"]().numbers["a: x"] == "never forgot"


LARGEST = {"digits": 0.102, "mnist": 0.113, "cifar10": 0.1}  # share of the largest class


def test_the_largest_class_fits_into_its_batches_in_every_preset() -> None:
    for name, presets in LESSON_03.sizes.items():
        for sizes in (presets.quick, presets.lesson, presets.full):
            count, b = sizes.train or 1437, sizes.recipe.batch_size
            room = range(math.ceil(LARGEST[name] * count / b), count // b + 1)
            assert sizes.batches in room, (name, sizes)


def said(explorer) -> tuple[str, str]:
    return explorer.shown.figure.to_json(), str(dict(explorer.shown.numbers))


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("keep", 0.9),
        ("rule", "random"),
        ("rule", "global"),
        ("layers", ("1.weight",)),
        ("layer", "3.weight"),
        ("batches", 1),
        ("show", "one update"),
    ],
)
def test_every_control_of_the_explorer_changes_the_answer(lesson, control, value) -> None:
    explorer = lesson.explorer
    explorer.keep.value = 0.15
    before, kept = said(explorer), explorer.controls[control].value
    explorer.controls[control].value = value
    assert explorer.status.value == ""
    assert said(explorer) != before
    explorer.controls[control].value = kept
    assert said(explorer) == before


def test_a_layer_has_a_share_of_its_own_and_one_budget_for_all_cannot_have_that(lesson) -> None:
    explorer = lesson.explorer
    explorer.layer.value = "1.weight"
    whole = said(explorer)
    explorer.own.value = 0.02
    assert said(explorer) != whole
    explorer.rule.value = "global"
    assert "`keep` must be one number" in explorer.status.value
    explorer.rule.value, explorer.layer.value, explorer.own.value = "magnitude", "no layer", 1.0
    assert explorer.status.value == ""


AMNESIAC = {"label": 5, "count": 4, "keep": 0.03, "optimizer": "sgd", "layout": "shuffled", "batches": 5}
AMNESIAC |= {"rule": "random"}
STEPS = {"label": 5, "count": 4, "keep": 0.03, "optimizer": "sgd", "select": "sequential", "rate": 0.01}
STEPS |= {"steps": 3, "lambda_r": 1.0}


def weights(lesson: SimpleNamespace, **changes: object) -> torch.Tensor:
    values = SimpleNamespace(**{**vars(lesson.panel.values), **changes})
    model = run(lesson.forgetting(values, lesson.panel.runs.split(values))).model
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("control", AMNESIAC)
def test_every_control_changes_what_amnesiac_unlearning_gives(lesson, control) -> None:
    assert not torch.equal(weights(lesson), weights(lesson, **{control: AMNESIAC[control]}))


@pytest.mark.parametrize("control", STEPS)
@pytest.mark.parametrize("method", ["label flipping", "ascent"])
@pytest.mark.filterwarnings("ignore:the model has not learned")
def test_every_control_changes_what_partial_steps_give(lesson, method, control) -> None:
    base = {"how": method, "keep": 0.2, "steps": 8}
    assert not torch.equal(weights(lesson, **base), weights(lesson, **{**base, control: STEPS[control]}))


def test_a_control_is_idle_where_it_changes_nothing_and_nowhere_else(lesson) -> None:
    def idle(**changes: object) -> set[str]:
        return unused_by_method(SimpleNamespace(**{**vars(lesson.panel.values), **changes}))

    amnesiac, steps = AMNESIAC.keys() | {"how"}, STEPS.keys() | {"how"}
    assert idle() == lesson.panel.controls.keys() - amnesiac
    assert idle(layout="shuffled") == idle() | {"batches"}
    shuffled = [weights(lesson, layout="shuffled", batches=n) for n in (3, 5)]
    assert torch.equal(*shuffled)
    for method in ("label flipping", "ascent"):
        assert idle(how=method) == lesson.panel.controls.keys() - steps
    assert {name for name, control in lesson.panel.controls.items() if control.disabled} == idle()


def test_the_panel_gives_the_same_model_as_the_plain_cell(lesson) -> None:
    pairs = zip(lesson.panel.result.model.parameters(), lesson.partial.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_new_layout_is_recorded_once_and_its_model_is_the_original(lesson) -> None:
    panel, values = lesson.panel, SimpleNamespace(**{**vars(lesson.panel.values), "label": 7})
    known = len(lesson.recordings)
    trained = panel.runs.original(values)
    assert panel.runs.original(values) is trained is not lesson.net
    assert len(lesson.recordings) == known + 1
    split = lesson.panel.runs.split(values)
    progress = Progress(values, split, lesson.data, trained)
    assert figures.progress_view(progress).numbers == {"steps": 0}
    progress.finish(run(lesson.forgetting(values, split), [progress]))
    assert figures.progress_view(progress).numbers["steps"] == len(progress.result.trace.undone)
    assert panel.runs.original(SimpleNamespace(**{**vars(values), "how": "ascent"})) is lesson.original


def test_pruning_afterwards_was_pruning_in_training(lesson) -> None:
    assert lesson.same
    assert lesson.purged.nbytes_after < lesson.purged.nbytes_before == lesson.small.nbytes


def test_the_exercises_are_solved_in_the_master(lesson) -> None:
    assert (lesson.exercise_1, lesson.exercise_2, lesson.exercise_3) == ("pass",) * 3
