"""Set-up of a lesson, pictures with alternative text, and recorded results."""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from matplotlib.figure import Figure

from unlearn_lib.classroom import session
from unlearn_lib.data import DataError
from unlearn_lib.lessons import deepobliviate, pgu
from unlearn_lib.store import Folder

LESSON = deepobliviate.LESSON
AnySession = session.Session[Any, Any]
ALT = "A line that rises from one to two."


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every bundle that is displayed."""
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr(session, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def line() -> Figure:
    fig = Figure(figsize=(2, 1))
    fig.subplots().plot([1, 2])
    return fig


def test_start_says_with_what_the_lesson_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = session.begin(LESSON, preset="quick", dataset="digits", seed=3, device="cpu")
    said = capsys.readouterr().out
    sizes = LESSON.sizes["digits"].quick
    for word in ("torch", "cpu", "quick", f"blocks {sizes.blocks}", "360 test", "scikit-learn", "seed 3"):
        assert word in said
    assert (found.preset, found.seed, found.device) == ("quick", 3, torch.device("cpu"))
    assert found.sizes == sizes
    assert found.recipe == sizes.recipe.but(seed=3)
    assert found.folder.is_dir()
    assert not list(found.folder.iterdir())


def test_the_dataset_is_cut_to_the_sizes_of_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(LESSON.sizes["digits"], quick=replace(LESSON.small, train=200, test=None))
    monkeypatch.setitem(LESSON.sizes, "digits", few)
    found = session.begin(LESSON, preset="quick").dataset
    assert (len(found.train), len(found.test)) == (200, 360)
    assert len(found.train.y.unique()) == 10
    assert int(found.train.ids.max()) > 200, "ids stay those of the whole set"


def test_a_session_is_frozen_and_builds_the_same_model_at_every_call() -> None:
    found = session.begin(LESSON, preset="quick", device="cpu")
    with pytest.raises(AttributeError):
        found.preset = "full"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        found.sizes.blocks = 1
    a, b = found.build(), found.build()
    assert a is not b
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_start_leaves_the_random_stream_alone_and_keeps_few_threads() -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    session.begin(LESSON, preset="quick", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == min(threads, 1)


def test_the_folder_of_a_killed_session_is_removed_by_the_next_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, own, planted, victim = (
        tmp_path / name
        for name in ("unlearn-session-killed", "unlearn-session-own", "unlearn-session-link", "victim")
    )
    for folder in (killed, victim):
        (folder / "stores").mkdir(parents=True)
        (folder / ".lock").touch()
    Folder(own).commit({"kind": "a store of somebody's own"})
    if os.name != "nt":
        planted.symlink_to(victim)
    living = [session.begin(LESSON, preset="quick").folder for _ in range(2)]
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from unlearn_lib.classroom import session\n"
        "from unlearn_lib.lessons.unsir import LESSON\nsession.begin(LESSON, preset='quick')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
    assert all(folder.is_dir() for folder in living)  # those of a process that lives
    assert not killed.exists()
    assert (victim / "stores").exists()
    assert Folder(own).manifest()


def test_the_folder_of_a_session_is_gone_when_python_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[partial[None]] = []
    monkeypatch.setattr(atexit, "register", lambda *a, **k: at_exit.append(partial(*a, **k)))
    folder = session.begin(LESSON, preset="quick").folder
    (folder / "block.safetensors").write_bytes(b"x")
    for last_words in at_exit:
        last_words()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("wrong", "listed"),
    [
        ({"preset": "fast"}, "`preset` must be one of quick, lesson, full; got 'fast'."),
        ({"dataset": "imagenet"}, "`dataset` must be one of digits, mnist"),
    ],
)
def test_an_unknown_name_is_refused_with_the_right_ones(wrong: dict[str, str], listed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(listed)):
        session.begin(LESSON, **wrong)


@pytest.mark.parametrize("seed", [1.5, True, "0", None])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(TypeError, match="`seed` must be a whole number"):
        session.begin(LESSON, seed=seed)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_is_one_that_every_library_takes(seed: int) -> None:
    with pytest.raises(ValueError, match="`seed` must be in 0"):
        session.begin(LESSON, seed=seed)


@pytest.mark.parametrize(
    "given", [{"preset": ["quick"]}, {"dataset": None}, {"lesson": 3}, {"lesson": "unsir"}]
)
def test_a_name_of_another_kind_is_refused_as_well(given: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(given))):
        session.begin(**{"lesson": LESSON, **given})


@pytest.fixture(scope="module")
def lesson() -> AnySession:
    return session.begin(pgu.LESSON, preset="quick", device="cpu")


@pytest.mark.parametrize(
    ("given", "classes"),
    [(3, [3]), ([7, 2, 7], [7, 2]), ((0,), [0]), (np.int64(4), [4]), (torch.tensor([1]), [1])],
)
def test_one_class_to_forget_or_several_are_a_list(
    lesson: AnySession, given: Any, classes: list[int]
) -> None:
    assert lesson.classes(given) == classes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (12, "`forget_class` must be in 0 ... 9; got 12. The classes of digits are 0, 1, 2"),
        (-1, "`forget_class` must be zero or more; got -1"),
        ([3, 10], "must be in 0 ... 9; got 10"),
        (list(range(9)), "must leave at least two classes"),
        ([], "must name at least one class"),
        ("3", "`forget_class` must be a whole number; got '3'"),
        (3.0, "`forget_class` must be a whole number; got 3.0"),
        (True, "`forget_class` must be a whole number; got True"),
        (None, "`forget_class` must be a whole number; got None"),
        ([True, False], "mask"),
        ([[3]], "must be a whole number"),
    ],
)
def test_classes_that_cannot_be_forgotten_are_refused(lesson: AnySession, given: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        lesson.classes(given)
    assert said in str(refused.value)


def test_a_lesson_for_one_class_says_that_others_take_several(lesson: AnySession) -> None:
    with pytest.raises(
        ValueError, match=r"must be one class in this lesson; got \[2, 5\]. Other lessons take"
    ):
        lesson.classes([2, 5], most=1)


def test_a_class_without_a_sample_in_this_preset_is_refused(lesson: AnySession) -> None:
    test = lesson.dataset.test
    without = replace(lesson, dataset=replace(lesson.dataset, test=test.where(test.y != 4)))
    assert without.classes(3) == [3]
    with pytest.raises(ValueError, match="digits has no test sample of class 4 at preset quick"):
        without.classes(4)


def test_a_lesson_is_tuned_at_its_defaults_on_data_that_it_was_measured_on(lesson: AnySession) -> None:
    defaults = pgu.LESSON.defaults
    assert lesson.tuned(**defaults)
    assert not lesson.tuned(**{**defaults, "forget_class": [4]})
    assert not lesson.tuned(**{**defaults, "energy": 0.5})
    assert not replace(lesson, seed=1).tuned(**defaults)


def test_the_folder_for_results_is_tried_before_anything_is_trained(
    lesson: AnySession, tmp_path: Any
) -> None:
    assert lesson.output("") == lesson.folder
    assert lesson.output(tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("x")
    for wrong in (str(tmp_path / "file"), tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="`export` must be a folder to write into"):
            lesson.output(wrong)
    with pytest.raises(TypeError, match="`export` must be a path"):
        lesson.output(3)


def test_what_a_run_showed_is_told_as_prose(shown: list[dict[str, Any]]) -> None:
    session.tell("The class is *gone*.", "- So it is.")
    assert shown == [dict.fromkeys(("text/markdown", "text/plain"), "The class is *gone*.\n\n- So it is.")]


def test_missing_data_say_where_they_were_looked_for(tmp_path: Any) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):
        session.begin(LESSON, dataset="mnist", root=tmp_path)


def test_colab_is_told_to_show_third_party_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    output = SimpleNamespace(enable_custom_widget_manager=lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))  # type: ignore[arg-type]
    session.begin(LESSON, preset="quick")
    assert calls == [1]


def test_a_matplotlib_figure_keeps_its_alternative_text(shown: list[dict[str, Any]]) -> None:
    session.show(line(), alt='Rises from "1" to <2>, slowly.')
    (bundle,) = shown
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert 'alt="Rises from &quot;1&quot; to &lt;2&gt;, slowly."' in bundle["text/html"]
    assert bundle["text/plain"] == 'Rises from "1" to <2>, slowly.'
    assert bundle["image/png"] in bundle["text/html"]


def test_a_pyplot_figure_is_shown_once(shown: list[dict[str, Any]]) -> None:
    fig, axes = plt.subplots(figsize=(2, 1))
    axes.plot([1, 2])
    session.show(fig, alt=ALT)
    assert len(shown) == 1
    assert not plt.get_fignums(), "the cell's end would show it again"


def test_a_plotly_figure_is_live_without_a_picture(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HEADLESS", False)
    session.show(go.Figure(go.Scatter(y=np.array([1.0, 2.0]))), alt=ALT)
    (bundle,) = shown
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/plain"}
    json.dumps(bundle)


def test_a_plotly_figure_headless_is_a_picture(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HEADLESS", True)
    fig = go.Figure(go.Pie(values=[1, 2]))
    monkeypatch.setattr(fig.__class__, "to_image", lambda self, kind: b"png")
    session.show(fig, alt=ALT)
    assert set(shown[0]) == {"text/html", "image/png", "text/plain"}
    assert f'alt="{ALT}"' in shown[0]["text/html"]


def test_a_plotly_figure_without_a_browser_is_a_text_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    fig = go.Figure(go.Pie(values=[1, 2]))

    def no_browser(self: object, kind: str) -> bytes:
        raise RuntimeError("Kaleido requires Google Chrome")

    monkeypatch.setattr(fig.__class__, "to_image", no_browser)
    bundle = session.picture(fig, ALT)
    assert set(bundle) == {"text/html", "text/plain"}
    assert ALT in bundle["text/plain"]
    assert "No picture" in bundle["text/plain"]
    assert ALT in bundle["text/html"]
    assert "<img" not in bundle["text/html"]


@pytest.mark.parametrize("alt", ["", "figure", "x" * 15, " " * 40])
def test_an_alternative_text_must_tell_something(alt: str, shown: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="more than 15 characters"):
        session.show(line(), alt=alt)
    with pytest.raises(ValueError, match="more than 15 characters"):
        session.show(go.Figure(), alt=alt)
    assert not shown


def test_only_figures_are_shown(shown: list[dict[str, Any]]) -> None:
    with pytest.raises(TypeError):
        session.show("a figure", alt=ALT)  # type: ignore[arg-type]
    assert not shown


def test_a_result_is_json_and_readable(shown: list[dict[str, Any]]) -> None:
    session.record(
        "accuracy",
        original=torch.tensor(0.96875),
        retrained=np.float32(0.5),
        curve=np.arange(3),
        by_class={0: torch.ones(2)},
        stop="trend",
        exact=np.bool_(True),
        missing=None,
        blocks=7,
    )
    (bundle,) = shown
    result = json.loads(json.dumps(bundle[session.RESULT_MIME], allow_nan=False))
    assert result["name"] == "accuracy"
    assert result["values"] == {
        "original": 0.96875,
        "retrained": 0.5,
        "curve": [0, 1, 2],
        "by_class": {"0": [1.0, 1.0]},
        "stop": "trend",
        "exact": True,
        "missing": None,
        "blocks": 7,
    }
    assert bundle["text/plain"].startswith("accuracy: original 0.9688, retrained 0.5")


@pytest.mark.parametrize(
    "value", [float("nan"), np.inf, torch.tensor(float("nan")), [1.0, float("-inf")], {"a": float("nan")}]
)
def test_a_number_that_is_not_finite_is_refused(value: Any, shown: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"`accuracy\.original.*` must be finite; got"):
        session.record("accuracy", original=value)
    assert not shown


def test_a_result_needs_a_name_values_and_types_that_json_knows(shown: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        session.record("accuracy")
    with pytest.raises(ValueError, match="needs a name"):
        session.record("", x=1)
    with pytest.raises(TypeError, match=r"`a\.b` must be a number"):
        session.record("a", b=object())
    assert not shown
