"""Sweeps: a grid, a table, a figure, and nothing run twice."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from matplotlib.figure import Figure

from tests.commands import status
from tests.notebooks.test_runner import notebook
from unlearn_lib.command import cluster, figure
from unlearn_lib.command.places import checkout
from unlearn_lib.command.sweep import sweep_command, values_in

RUNS = """import os, pathlib, time, uuid
begun = pathlib.Path({folder!r})
(begun / f"{{seed}} {{uuid.uuid4().hex}}").touch()
record("accuracy", forget=seed / 7, retain=seed * share, same=1.0, words="many")
record("found", flag=seed > 1, size=10**seed)"""


def lesson(folder: Path, *cells: str) -> tuple[Path, Path]:
    """A small lesson in a folder of its own, which leaves a file for every run; the folders of both."""
    runs = folder / "runs"
    runs.mkdir()
    (folder / "lessons").mkdir()
    notebook(folder / "lessons" / "01_small.ipynb", RUNS.format(folder=str(runs)), *cells)
    return folder / "lessons", runs


def begun(runs: Path) -> list[int]:
    return sorted(int(path.name.split()[0]) for path in runs.iterdir())


def table(out: Path) -> list[dict[str, str]]:
    with (out / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", "3"),
        ("0..3", "0 1 2 3"),
        ("-1..1,7", "-1 0 1 7"),
        ("digits, mnist,../pictures", "digits mnist ../pictures"),
        ("[1,2],[3],4", "[1,2] [3] 4"),
        ("0.5,1.5", "0.5 1.5"),
    ],
)
def test_a_grid_is_of_ranges_values_and_lists(text: str, values: str) -> None:
    assert values_in("seed", text) == values.split()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "seed=3..1"], r"the range '3..1' of seed must not run backwards"),
        (["--grid", "seed=1,,2"], r"seed must have a value between its commas; got '1,,2'"),
        (["--grid", "seed=1,"], "seed must have a value"),
        (["--grid", "seed="], "seed must have a value"),
        (["--grid", "seed=0..2,1"], "'1' stands twice in '0..2,1'"),
        (["--grid", "seed=1", "--grid", "seed=2"], "seed must be in one --grid"),
        (["--grid", "seed=1", "-p", "seed=2"], "seed must be in --grid or in -p; it is in both"),
        (["--grid", "seed"], "needs NAME=VALUE; got 'seed'"),
        (["--grid", "preset=quick"], "has an option of its own: --preset"),
        (["--grid", "sead=1"], "01_small: no parameter 'sead'"),
        (["--grid", "seed=1,a"], "01_small: parameter 'seed' must be of type int; got 'a'"),
        (["--grid", "seed=0..99999999"], "must have 100,000 values at most; it has 100,000,000"),
        (
            ["--grid", "seed=0..999", "--grid", "share=0..999"],
            "100,000 runs at most; this grid has 1,000,000",
        ),
        (["02"], "no notebook '02'"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "exclude each other"),
        (["--workers", "0"], "0 is not in the range"),
        (["--scheduler", "tcp://127.0.0.1:9"], r"tcp://127.0.0.1:9"),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    folder, runs = lesson(tmp_path)
    given = ["01", *arguments, "--notebooks", str(folder), "--out", str(tmp_path / "out")]
    assert status(sweep_command, *given) == 2
    assert re.search(words, re.sub(r"\s+", " ", capsys.readouterr().err))
    assert begun(runs) == []


def test_a_sweep_tells_failures_goes_on_and_runs_only_what_is_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "if seed == 1 and not (begun.parent / 'mended').exists(): raise RuntimeError('the loss is nan')"
    folder, runs = lesson(tmp_path, late)
    out = tmp_path / "out"
    given = ["01", "-p", "share=0.25", "--preset", "quick", "--notebooks", str(folder), "--out", str(out)]

    assert status(sweep_command, *given, "--grid", "seed=0..2", "--workers", "2") == 1
    said = capsys.readouterr().out
    assert "01_small share=0.25 seed=1: failed: cell [5] raised RuntimeError: the loss is nan" in said
    assert "2 of 3 runs ok" in said
    assert begun(runs) == [0, 1, 2]
    first = table(out)
    assert [(row["seed"], row["status"]) for row in first] == [("0", "ok"), ("1", "failed"), ("2", "ok")]
    assert first[1]["error"] == "cell [5] raised RuntimeError: the loss is nan"
    assert first[1]["accuracy.forget"] == ""
    assert first[2] | {"seconds": ""} == {
        "lesson": "01_small",
        "share": "0.25",
        "seed": "2",
        "preset": "quick",
        "status": "ok",
        "error": "",
        "seconds": "",
        "accuracy.forget": repr(2 / 7),
        "accuracy.retain": "0.5",
        "accuracy.same": "1.0",
        "found.flag": "True",
        "found.size": "100",
        "last.seed": "2",
    }

    (tmp_path / "mended").touch()
    assert status(sweep_command, *given, "--grid", "seed=0..3") == 0
    assert capsys.readouterr().out.count("kept from before") == 2
    assert begun(runs) == [0, 1, 1, 2, 3]
    rows = table(out)
    assert rows[0] == first[0]
    assert rows[2] == first[2]
    found = pandas.read_parquet(out / "table.parquet")
    assert list(found.columns) == list(rows[0])
    assert found["accuracy.forget"].tolist() == [seed / 7 for seed in range(4)]
    assert found["found.size"].tolist() == [1, 10, 100, 1000]
    assert (out / "01_small.png").stat().st_size > 5_000


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_keeps_what_has_run(tmp_path: Path) -> None:
    folder, runs = lesson(tmp_path, "if seed and not (begun.parent / 'go').exists(): time.sleep(600)")
    command = [sys.executable, "-m", "unlearn_lib", "sweep", "01", "--grid", "seed=0..1"]
    command += ["--notebooks", str(folder), "--out", str(tmp_path / "out")]
    asked = subprocess.Popen(
        command, cwd=checkout(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert asked.stdout is not None
    for line in asked.stdout:
        if line.startswith("[1/2]"):
            break
    asked.send_signal(signal.SIGINT)
    said, errors = asked.communicate(timeout=60)
    assert asked.returncode == 130
    assert "stopped; 1 of 2 runs are kept in" in said
    assert "Traceback" not in errors
    (tmp_path / "go").touch()
    again = subprocess.run(command, cwd=checkout(), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert begun(runs) in ([0, 1], [0, 1, 1])  # the second was stopped, before or after it had begun
    assert "01_small seed=0: 7 results, kept from before" in again.stdout


# ---- the figure


def row(seed: int, **more: Any) -> dict[str, Any]:
    found = {"lesson": "01_small", "seed": seed, "status": "ok", "error": "", "seconds": 1.0 + seed}
    return {**found, "a.x": seed / 3, "a.y": 1.0, "b": seed + 1, "flag": seed > 1, **more}


def test_numbers_that_vary_are_drawn_or_those_that_are_asked_for() -> None:
    rows = [row(seed) for seed in range(3)]
    assert figure.numbers(rows, ["seed"], []) == (["a.x", "b"], 0)
    assert figure.numbers(rows, ["seed"], ["b"]) == (["b"], 0)
    assert figure.numbers(rows, ["seed"], ["nothing"]) == ([], 0)
    many = [row(seed, **{f"c.{i}": seed * i for i in range(1, 50)}) for seed in range(3)]
    assert figure.numbers(many, ["seed"], [])[1] == 51 - figure.MOST


def test_means_and_intervals_are_over_seeds_in_a_color_for_each_setting() -> None:
    rows = [row(seed, dataset=name, b=seed + k) for seed in range(3) for k, name in enumerate(["one", "two"])]
    made = figure.drawn("01_small", rows, ["seed", "dataset"], ["a.x", "b"], 4)
    assert isinstance(made, Figure)
    assert [panel.get_title(loc="left") for panel in made.axes] == ["a", "b"]
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["dataset=one", "dataset=two"]
    bars = made.axes[1].containers
    assert [float(bar.lines[0].get_xdata()[0]) for bar in bars] == [1.0, 2.0]
    low, high = bars[0].lines[2][0].get_segments()[0][:, 0]
    assert (high - low) / 2 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # t of 2 degrees, deviation 1
    assert "mean of 3 seeds" in made.get_suptitle()
    assert "4 more numbers vary" in made.get_suptitle()


def test_where_nothing_varies_nothing_is_drawn(tmp_path: Path) -> None:
    assert figure.draw([row(0)], ["seed"], [], tmp_path) == []
    assert figure.draw([{**row(0), "status": "failed"}, row(1)], ["seed"], [], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
