"""The command `unlearn`: a learner's copy of the lessons, help, missing packages, progress."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import nbformat
import pytest
from click.testing import CliRunner
from rich.console import Console

import unlearn_lib
from tests.commands import status
from unlearn_lib.classroom.environment import Line, Report
from unlearn_lib.command import environment, folder, lab, places, progress
from unlearn_lib.command.folder import copy, lessons
from unlearn_lib.command.main import COMMANDS, unlearn

FIRST = "00_start_here.ipynb"
NAMES = sorted(path.name for path in places.source().glob("*.ipynb"))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# ---- a learner's copy


def test_the_lessons_are_copied_with_a_list_of_what_was_put_there(tmp_path: Path) -> None:
    done = copy(tmp_path / "a" / "course")
    assert done.new == NAMES
    assert set(files(tmp_path / "a" / "course")) == {*NAMES, places.MANIFEST}
    for name, data in lessons(solutions=False).items():
        assert (tmp_path / "a" / "course" / name).read_bytes() == data
        nbformat.validate(nbformat.reads(data.decode(), as_version=4))


def test_the_way_to_the_list_of_lessons_leads_out_of_the_folder() -> None:
    for name, data in lessons(solutions=True).items():
        assert b"README.md" not in data, name
        assert f"[All lessons]({folder.HOME})".encode() in data, name


def test_the_solved_lessons_come_where_they_are_asked_for(tmp_path: Path) -> None:
    copy(tmp_path, solutions=True)
    assert {*NAMES, *(f"solutions/{name}" for name in NAMES)} < set(files(tmp_path))


def test_copying_again_changes_nothing(tmp_path: Path) -> None:
    copy(tmp_path)
    before = files(tmp_path)
    assert copy(tmp_path).same == NAMES
    assert files(tmp_path) == before


@pytest.fixture
def updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy made by an earlier version; the learner has changed the second lesson."""
    monkeypatch.setattr(folder, "lessons", lambda *, solutions: {"a.ipynb": b"old a", "b.ipynb": b"old b"})
    copy(tmp_path)
    (tmp_path / "b.ipynb").write_bytes(b"my work")
    monkeypatch.setattr(folder, "lessons", lambda *, solutions: {"a.ipynb": b"new a", "b.ipynb": b"new b"})
    return tmp_path


def test_what_was_not_touched_is_brought_up_to_date(updated: Path) -> None:
    done = copy(updated)
    assert (done.newer, done.changed) == (["a.ipynb"], ["b.ipynb"])
    assert (updated / "a.ipynb").read_bytes() == b"new a"
    assert copy(updated).same == ["a.ipynb"]


def test_what_a_learner_has_changed_is_never_written_over(updated: Path) -> None:
    said = CliRunner().invoke(unlearn, ["lessons", str(updated)]).output
    assert (updated / "b.ipynb").read_bytes() == b"my work"
    assert "1 brought up to date; 1 yours, left alone" in said
    assert "b.ipynb is as you left it" in said
    assert "--force" in said


def test_a_lesson_that_begins_afresh_keeps_what_was_there(updated: Path) -> None:
    said = CliRunner().invoke(unlearn, ["lessons", str(updated), "--force"]).output
    assert "b.ipynb is fresh; yours is kept/b.ipynb" in said
    assert (updated / "b.ipynb").read_bytes() == b"new b"
    (updated / "b.ipynb").write_bytes(b"more work")
    assert copy(updated, force=True).kept == {"b.ipynb": "kept/b-2.ipynb"}
    assert (updated / "kept/b.ipynb").read_bytes() == b"my work"
    assert (updated / "kept/b-2.ipynb").read_bytes() == b"more work"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', "{not json"])
def test_without_a_list_that_can_be_read_what_differs_is_the_learners(updated: Path, text: str) -> None:
    (updated / places.MANIFEST).write_text(text, encoding="utf-8")
    assert copy(updated).changed == ["a.ipynb", "b.ipynb"]


def test_a_disk_that_fills_up_leaves_whole_files(updated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = files(updated), Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        write(self, data[:2])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(click.ClickException, match=r"cannot write .*a\.ipynb.*: No space left on device"):
        copy(updated)
    assert files(updated) == before


def test_a_folder_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("", " "):
        done = CliRunner().invoke(unlearn, ["lessons", name])
        assert done.exit_code == 2
        assert f"DIR must name a folder, such as unlearn-lessons; got {name!r}" in done.output
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for name, words in (("file", "DIR must be a folder; got the file"), ("file/course", "cannot write")):
        done = CliRunner().invoke(unlearn, ["lessons", str(tmp_path / name)])
        assert done.exit_code == 1
        assert words in done.output
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_in_a_copy_its_own_lessons_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.notebooks() == places.source()
    copy(Path())
    assert places.notebooks() == tmp_path
    assert places.build().absolute() == tmp_path / "build"


def test_an_installed_package_finds_the_lessons_that_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PACKAGE", tmp_path / "unlearn_lib")
    monkeypatch.chdir(tmp_path)
    assert places.checkout() is None
    assert places.source() == tmp_path / "unlearn_lib" / "notebooks"
    assert places.build() == Path("build")


# ---- JupyterLab, and the check


@pytest.mark.parametrize(
    ("given", "opened", "passed_on"),
    [
        ([], "unlearn-lessons", []),
        (["here"], "here", []),
        (["--no-browser"], "unlearn-lessons", ["--no-browser"]),
        (["here", "--", "--port", "9000"], "here", ["--port", "9000"]),
    ],
)
def test_the_lab_opens_the_first_lesson_and_passes_options_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], opened: str, passed_on: list[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(lab.LabApp, "launch_instance", started.append)
    monkeypatch.chdir(tmp_path)
    assert status(unlearn, "lab", *given) == 0
    assert started == [[opened, f"--LabApp.default_url=/lab/tree/{FIRST}", *passed_on]]
    assert (tmp_path / opened / FIRST).is_file()
    status(unlearn, "lab", *given)
    assert started[1] == [opened, *passed_on], "later, the folder as it was left"


@pytest.mark.parametrize("ok", [True, False])
def test_the_check_says_by_its_status_whether_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, ok: bool
) -> None:
    asked: list[str] = []
    report = Report((Line("data", ok, "found", "remedy"),))
    monkeypatch.setattr(environment, "check", lambda dataset: asked.append(dataset) or report)
    assert status(unlearn, "check", "--dataset", "mnist") == int(not ok)
    assert asked == ["mnist"]


# ---- help, and missing packages


def test_help_lists_every_command_and_loads_none_of_them() -> None:
    heavy = {"torch", "numpy", "papermill", "jupyterlab", "IPython", "nbformat", "rich"}
    heavy |= {f"unlearn_lib.command.{entry.module}" for entry in COMMANDS.values()}
    code = f"""
import sys
sys.argv = ["unlearn", "--help"]
from unlearn_lib.__main__ import main
try:
    main()
finally:
    print(sorted({heavy} & set(sys.modules)))
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    for name, entry in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert entry.help in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_of_a_command_what_the_command_says(name: str) -> None:
    command = unlearn.get_command(click.Context(unlearn), name)
    assert command is not None
    assert command.name == name
    assert command.short_help == COMMANDS[name].help
    done = CliRunner().invoke(unlearn, [name, "--help"])
    assert done.exit_code == 0
    assert f"unlearn {name}" in done.output.partition("Options")[0].partition("\n")[2], "an example"


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(unlearn, ["--version"]).output == f"unlearn-lessons {unlearn_lib.__version__}\n"


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("click", ["--help"]), ("papermill", ["run"]), ("jupyterlab", ["lab"]), ("rich", ["run"])],
)
def test_without_its_packages_the_command_says_what_to_install(missing: str, arguments: list[str]) -> None:
    code = f"""
import sys
from unlearn_lib.__main__ import main
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing)
sys.argv = ["unlearn", *{arguments}]
main()
"""
    done = python(code)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert 'python -m pip install "unlearn-lessons[lab]"' in done.stderr


def test_an_unknown_command_is_refused() -> None:
    done = CliRunner().invoke(unlearn, ["learn"])
    assert done.exit_code == 2
    assert "No such command 'learn'" in done.output


# ---- progress


def notebook(path: Path) -> Path:
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [markdown("# A lesson"), code("seed = 0", metadata={"tags": ["parameters"]}), code(" ")]
    cells += [markdown("## First\nwords\n### Second"), code("1"), code("2")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_bar_shows_the_cell_and_its_section_and_the_expected_time(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb")
    assert progress.sections(path) == ["A lesson", "A lesson", "Second", "Second"]
    console = Console(width=100, record=True, force_terminal=True)
    with progress.Bars([path], {"a": 75.2}, console) as bars:
        seen = []
        for cell in (0, 1, 4):
            bars.note(path)(cell)
            bars.look()
            console.print(bars.bars.get_renderable())
            seen.append(console.export_text())
        bars.end(path)
        bars.look()
        assert not bars.bars.tasks
    assert "its kernel starts" in seen[0]
    assert "cell 1 of 4" in seen[1]
    assert "A lesson" in seen[1]
    assert "cell 4 of 4" in seen[2]
    assert "of about 1:15" in seen[2]
    assert "Second" in seen[2]


def test_without_an_earlier_run_of_its_kind_no_time_is_expected(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    made: dict[str, Any] = {"preset": "quick", "parameters": {"seed": "1"}, "solutions": False}
    assert progress.earlier(report, made) == {}
    rows = [{"name": "a", "status": "ok", "seconds": 3}, {"name": "b", "status": "failed", "seconds": 1}]
    report.write_text(json.dumps({**made, "notebooks": rows}), encoding="utf-8")
    assert progress.earlier(report, made) == {"a": 3.0}
    assert progress.earlier(report, {**made, "preset": "full"}) == {}
    assert progress.earlier(report, {**made, "parameters": {}}) == {}
    report.write_text("[]", encoding="utf-8")
    assert progress.earlier(report, made) == {}


def test_where_there_is_no_terminal_there_are_lines_and_no_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    watch = progress.watch([notebook(tmp_path / "a.ipynb")], {})
    assert type(watch) is progress.Lines
    with watch:
        assert watch.note(tmp_path / "a.ipynb") is None
        watch.say("[1/1]     1.0 s  a: ok")
    assert capsys.readouterr().out == "[1/1]     1.0 s  a: ok\n"


def test_half_a_number_is_no_place(tmp_path: Path) -> None:
    note = progress.Note(tmp_path / "a")
    assert note.read() is None
    note.path.touch()
    assert note.read() is None
    note(12)
    assert note.read() == 12
