"""Lesson 05 without a browser: every figure draws, live and still, and every control changes something."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.lessons.relabel import figures, findings
from unlearn_lib.params import snapshot
from unlearn_lib.train import run

SCORES = {
    "relabeled": {"class to forget": 0.0, "other classes": 0.9},
    "retrained": {"class to forget": 0.0, "other classes": 0.95},
}
LOSSES = {"all passes": torch.tensor([3.0, 0.0, 9.0]), "images never seen": torch.tensor([0.1, 2.0])}
VIEWS = {
    "labels": lambda: figures.labels_chart([3, 0, 5], ["a", "b", "c"]),
    "scores": lambda: figures.scores_chart(SCORES),
    "passes": lambda: figures.passes_chart([1.0, 0.8, 0.1], [0.9, 0.9, 0.8], 0.85),
    "losses": lambda: figures.losses_chart(LOSSES),
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_draws_live_and_still_and_says_what_there_is_to_see(name: str) -> None:
    view = VIEWS[name]()
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30
    assert "nan" not in view.alt


def test_the_words_of_the_figures_are_their_numbers() -> None:
    assert "8 wrong labels" in VIEWS["labels"]().alt
    assert "never given: b" in VIEWS["labels"]().alt
    assert "relabeled: class to forget 0%, other classes 90%" in VIEWS["scores"]().alt
    assert "all passes 3" in VIEWS["losses"]().alt


def test_what_is_told_follows_the_numbers() -> None:
    assert "The class is gone" in findings.class_request(SCORES)
    assert "5.0 points below" in findings.class_request(SCORES)
    kept = {**SCORES, "relabeled": {"class to forget": 0.5, "other classes": 0.95}}
    assert "still gets 50.0% of the class right" in findings.class_request(kept)
    assert "about as good" in findings.class_request(kept)
    assert "25.0% of UNSIR's time" in findings.price(
        {"relabel": 1.0, "UNSIR": 4.0}, {"relabel": 9, "UNSIR": 8}
    )
    assert "as long as UNSIR" in findings.price({"relabel": 2.0, "UNSIR": 1.0}, {"relabel": 7, "UNSIR": 8})
    assert "below that at pass 2, and ends at 10.0%" in findings.samples([1.0, 0.9, 0.1], 0.9)
    assert "still not below" in findings.samples([1.0, 0.9, 0.88], 0.9)
    for value, word in ((0.1, "too high"), (0.9, "too low"), (0.5, "cannot tell")):
        assert word in findings.attack({"all passes": value, "retrained": 0.5}, 0.05)
    assert "forgot the class and, pass by pass, over-forgot" in findings.summary(SCORES, 0.1, 0.9)


CHANGES = {"classes": [5], "lr": 0.05, "share": 0.9, "epochs": 3}


def weights(lesson: SimpleNamespace, **changes: object) -> torch.Tensor:
    v = SimpleNamespace(**{**vars(lesson.panel.values), **changes})
    model = run(lesson.panel.runs.method(v, lesson.panel.runs.split(v))).model
    return torch.cat([p.flatten() for p in snapshot(model).values()])


@pytest.mark.parametrize("control", CHANGES)
def test_every_control_of_the_panel_changes_the_result(lesson, control) -> None:
    assert set(CHANGES) == set(lesson.panel.controls)
    assert not torch.equal(weights(lesson), weights(lesson, **{control: CHANGES[control]}))


def test_the_panel_gives_the_same_model_as_the_plain_cell(lesson) -> None:
    pairs = zip(lesson.panel.result.model.parameters(), lesson.relabeled.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_exercise_is_solved_in_the_master(lesson) -> None:
    assert lesson.exercise_1 == "pass"
