"""Lesson 02 without a browser: every figure draws, live and still, and every control changes something."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.data import Examples, Scale
from unlearn_lib.lessons.unsir import figures
from unlearn_lib.lessons.unsir.figures import Scores, Snapshot, scores
from unlearn_lib.lessons.unsir.panel import NORMS
from unlearn_lib.methods.unsir.noise import Noise
from unlearn_lib.metrics.relearn import RelearnCurve
from unlearn_lib.params import snapshot
from unlearn_lib.train import run

TABLE = np.array([[8, 1, 1], [0, 9, 1], [5, 3, 2]])
KNOWN = np.diag([10, 10, 10])
CURVE = [Snapshot(0.5, KNOWN), Snapshot(1.0, TABLE), Snapshot(2.0, TABLE)]
FOUND = {"original": [Scores(1.0, 1.0)] * 2, "unlearned": [Scores(0.0, 0.9), Scores(0.1, 0.8)]}
RUNS = (RelearnCurve((0.1, 0.9), (2.0, 0.1)), RelearnCurve((0.0, 0.2), (2.0, 1.5)))


def noise(channels: int = 1, images: int = 16) -> Noise:
    x = torch.randn(images, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    examples = Examples.of(x, torch.full((images,), 2))
    return Noise(examples, (1.0, 2.0, 5.0), (4.0, 3.0, 3.5), {0: x, 2: x / 2})


VIEWS = {
    "stages": lambda: figures.stages_chart({"training": {"forget": 3, "retain": 9}, "noise": {"noise": 5}}),
    "gallery": lambda: figures.noise_gallery(noise(), Scale((4.0,), (2.0,)), 16.0, "2"),
    "gallery in color": lambda: figures.noise_gallery(noise(3), Scale((4.0,) * 3, (2.0,) * 3), 255.0, "2"),
    "gallery of few": lambda: figures.noise_gallery(noise(1, 2), Scale((4.0,), (2.0,)), 16.0, "2"),
    "noise": lambda: figures.noise_chart({"λ = 1": noise(), "λ = 2": noise()}, "λ = 1"),
    "steps": lambda: figures.steps_chart({"unlearned": CURVE, "no noise": CURVE}, {"original": KNOWN}, [2]),
    "replay": lambda: figures.replay_chart(
        CURVE, 1.0, {"original": KNOWN, "retrained": TABLE}, [2], ["a", "b", "c"]
    ),
    "destinations": lambda: figures.destination_chart(
        {"unlearned": KNOWN, "retrained": TABLE}, [2], ["a", "b", "c"]
    ),
    "distances": lambda: figures.distance_chart({"unlearned": {"0": 0.1, "1": 0.3}}),
    "grid": lambda: figures.grid_chart({"no noise": {0.1: Scores(1.0, 1.0), 0.2: Scores(0.0, 0.95)}}),
    "seeds": lambda: figures.seeds_chart({"plain": FOUND, "normed": FOUND}),
    "one seed": lambda: figures.seeds_chart({"plain": {k: v[:1] for k, v in FOUND.items()}}),
    "rebound": lambda: figures.rebound_chart({"plain": CURVE, "normed": CURVE}, [2]),
    "recalibration": lambda: figures.recalibration_chart(
        {"a,<br>b": Scores(0.0, 0.9)}, {"a,<br>b": Scores(0.6, 0.8)}
    ),
    "relearn": lambda: figures.relearn_chart({"unlearned": RUNS, "retrained": RUNS[1:]}, 0.85),
    "bug": lambda: figures.bug_chart({"as<br>published": {"class 0": 0.1, "class 2": 1.0, "others": 0.9}}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_draws_live_and_still_and_says_what_there_is_to_see(name: str) -> None:
    view = VIEWS[name]()
    if isinstance(view.figure, go.Figure):
        json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30
    assert "nan" not in view.alt
    assert "<br>" not in view.alt


def test_scores_are_the_accuracies_on_the_two_sides_of_the_request() -> None:
    assert scores(TABLE, [2]) == (0.2, 17 / 20)
    assert scores(TABLE, [0, 2]) == (0.5, 0.9)


def test_short_names_fit_narrow_axes_and_stay_different() -> None:
    assert figures.short_names(["0 - zero", "3", "airplane", "automobile"]) == ["0", "3", "airp", "auto"]


def test_the_words_of_the_figures_are_their_numbers() -> None:
    assert "(50%)" in VIEWS["destinations"]().alt
    assert "go elsewhere than under retrained: unlearned 80%" in VIEWS["destinations"]().alt
    assert "1 end with" in VIEWS["grid"]().alt
    assert "no noise at 0.2" in VIEWS["grid"]().alt
    assert "unlearned after 2 and more than 2 batches" in VIEWS["relearn"]().alt
    assert "plain from 20% to 20%" in VIEWS["rebound"]().alt


def said(explorer) -> tuple[str, str]:
    return explorer.shown.figure.to_json(), str(dict(explorer.shown.numbers))


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("source", "none"),
        ("source", "gaussian"),
        ("penalty", 0.1),
        ("rate", 0.02),
        ("moment", "after impair"),
    ],
)
def test_every_control_of_the_explorer_changes_the_answer(lesson, control, value) -> None:
    explorer = lesson.explorer
    before, kept = said(explorer), explorer.controls[control].value
    assert kept != value
    explorer.controls[control].value = value
    assert explorer.status.value == ""
    assert said(explorer) != before
    explorer.controls[control].value = kept
    assert said(explorer) == before


CHANGES = {"classes": [5, 7], "source": "gaussian", "images": 5, "copies": 3, "penalty": 0.1}
CHANGES |= {"impair_lr": 5e-3, "repair_lr": 5e-3, "per_class": 6, "norm": "on, noise in eval mode"}
CHANGES |= {"mode": "reference"}


def values(lesson: SimpleNamespace, **changes: object) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(lesson.panel.values), **changes})


def weights(lesson: SimpleNamespace, **changes: object) -> torch.Tensor:
    v = values(lesson, **changes)
    model = run(lesson.panel.runs.method(v, lesson.panel.runs.split(v))).model
    return torch.cat([p.flatten() for p in snapshot(model).values()])


@pytest.mark.parametrize("control", CHANGES)
@pytest.mark.filterwarnings("ignore:defect B labels all noise class 0")
def test_every_control_of_the_panel_changes_the_result(lesson, control) -> None:
    assert set(CHANGES) == set(lesson.panel.controls)
    assert not torch.equal(weights(lesson), weights(lesson, **{control: CHANGES[control]}))


def test_noise_learned_in_train_mode_is_defect_c_and_moves_the_statistics(lesson) -> None:
    for norm, moves in zip(NORMS[1:], (False, True), strict=True):
        v, buffers = values(lesson, norm=norm), []

        def watch(step, buffers=buffers):
            if step.phase == "noise":
                buffers.append(torch.cat([b.clone().flatten() for b in step.model.buffers()]))

        run(lesson.panel.runs.method(v, lesson.panel.runs.split(v)), [watch])
        assert torch.equal(buffers[0], buffers[-1]) is not moves


def test_the_panel_gives_the_same_model_as_the_plain_cell(lesson) -> None:
    pairs = zip(lesson.panel.result.model.parameters(), lesson.unlearned.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_batch_norm_takes_another_original_and_another_reference(lesson) -> None:
    off, on = values(lesson), values(lesson, norm=NORMS[1])
    assert lesson.panel.runs.original(off) is lesson.original
    assert lesson.panel.runs.original(on) is lesson.other_net
    split = lesson.panel.runs.split(on)
    lesson.controls["norm"].value = NORMS[1]
    fresh = run(lesson.panel.runs.retrain(split)).model
    lesson.controls["norm"].value = NORMS[0]
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in lesson.other_net.parameters()]


def test_the_panels_picture_shows_the_noise_or_says_that_there_is_none(lesson) -> None:
    for source, word in (("learned", "class 5: cross-entropy"), ("none", "No noise is learned")):
        v = values(lesson, classes=[5, 7], source=source)
        split = lesson.panel.runs.split(v)
        progress = Progress(v, split, lesson.data, lesson.original)
        assert "No noise is learned" in figures.progress_view(progress).alt
        progress.finish(run(lesson.panel.runs.method(v, split), [progress]))
        assert word in figures.progress_view(progress).alt


def test_watching_changes_nothing_and_no_image_of_the_class_is_read(lesson) -> None:
    assert lesson.watched
    assert lesson.read[0] == 0 < lesson.read[1]


def test_the_replayed_bug_has_three_images_a_class_and_one_label(lesson) -> None:
    assert lesson.census(lesson.published_samples(lesson.toy)) == (
        "120 samples, 6 different images, labels {0: 120}"
    )
    assert {"original", "as published", "repaired"} < set(lesson.replays)


def test_the_exercises_are_solved_in_the_master(lesson) -> None:
    assert (lesson.exercise_1, lesson.exercise_2, lesson.exercise_3) == ("pass",) * 3
