"""The runner: every refusal and every failure, provoked with small notebooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from ci.build_notebooks import KERNEL
from tests.commands import status
from unlearn_lib.command import runner, site
from unlearn_lib.command.places import checkout
from unlearn_lib.command.runner import RefusedError, choose, flat, preflight, run_command, value_of
from unlearn_lib.command.site import site_command

PARAMETERS = """preset: str = "lesson"  # quick | lesson | full
seed: int = 0  # random seed
share: float = 0.5  # in [0, 1]
exact: bool = False  # exactly
ids: list[int] = [3]  # ids to forget"""
RECORD = """from IPython.display import display
def record(name, **values):
    display({"application/vnd.unlearn.result+json": {"name": name, "values": values}}, raw=True)"""


def notebook(
    path: Path,
    *cells: str,
    parameters: str | None = PARAMETERS,
    last: str = "record('last', seed=seed)",
    last_tag: str = "ci-assert",
    kernel: dict[str, str] = KERNEL,
) -> Path:
    """Write a small notebook."""
    code, made = nbformat.v4.new_code_cell, [nbformat.v4.new_markdown_cell("# A lesson")]
    if parameters is not None:
        made.append(code(parameters, metadata={"tags": ["parameters"]}))
    made += [code(source) for source in (RECORD, *cells)]
    made.append(code(last, metadata={"tags": [last_tag, "remove-cell"]}))
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), path)
    return path


def test_a_single_item_may_stand_for_a_list_of_one() -> None:
    assert value_of("ids", "3", "list[int]", "ids") == value_of("ids", "[3]", "list[int]", "ids") == [3]
    with pytest.raises(RefusedError, match="must be of type"):
        value_of("ids", "3.5", "list[int]", "ids")


# ---- one run of the command line over many notebooks, two at a time


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the runner said, its report by name, and its folder."""
    root, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("out") / "new"
    good = (
        "import os",
        "record('accuracy', original=0.97, retrained={'forget': 0.0, 'retain': 0.98})",
        "record('given', preset=preset, seed=seed, share=share, exact=exact, ids=ids, cwd=os.getcwd())",
        "record('env', headless=os.environ['UNLEARN_HEADLESS'], threads=os.environ['OMP_NUM_THREADS'])",
        "import ipywidgets; ipywidgets.IntText(description='a widget')",
    )
    notebook(root / "00_good.ipynb", *good, last="assert seed == 7  # not on the page")
    notebook(root / "01_error.ipynb", "raise RuntimeError('the loss is nan')")
    notebook(root / "02_slow.ipynb", "import time; time.sleep(60)")
    notebook(root / "03_dead.ipynb", "import os; os._exit(1)")
    notebook(root / "04_exit.ipynb", "import sys; sys.exit(0)")
    notebook(root / "05_refused.ipynb", parameters='preset: str = "lesson"  # quick | lesson | full')
    command = [sys.executable, "ci/run_notebooks.py", "--notebooks", str(root), "--out", str(out)]
    command += ["--preset", "quick", "--jobs", "2", "--timeout", "6", "-p", "seed=7", "-p", "ids=[1, 2]"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout(), check=False)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["notebooks"]}
    return SimpleNamespace(done=done, report=report, rows=rows, out=out, root=root)


def test_one_notebook_that_fails_does_not_stop_the_others(finished: Any) -> None:
    assert finished.done.returncode == 1, finished.done.stderr
    assert list(finished.rows) == [path.stem for path in sorted(finished.root.glob("*.ipynb"))]
    assert {name: row["status"] for name, row in finished.rows.items()} == {
        "00_good": "ok",
        "01_error": "failed",
        "02_slow": "failed",
        "03_dead": "failed",
        "04_exit": "failed",
        "05_refused": "refused",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("01_error", r"cell \[4\] raised RuntimeError: the loss is nan"),
        ("02_slow", "timed out: one cell ran for more than 6 s"),
        ("03_dead", "the kernel died"),
        ("04_exit", "1 of 5 code cells were not executed, the first is 5"),
        ("05_refused", "no parameter '(seed|ids)'; declared are preset"),
    ],
)
def test_the_reason_of_a_failure_is_readable(finished: Any, name: str, reason: str) -> None:
    assert re.search(reason, finished.rows[name]["error"]), finished.rows[name]
    assert re.search(f"{name}: (failed|refused): .*{reason}", finished.done.stdout)


def test_results_are_flat(finished: Any) -> None:
    row = finished.rows["00_good"]
    assert row["error"] is None
    assert row["results"]["accuracy.original"] == 0.97
    assert row["results"]["accuracy.retrained.forget"] == 0.0
    assert row["cells"] == 9  # papermill adds one with the parameters
    assert row["seconds"] > 0


def test_parameters_arrive_with_their_types(finished: Any) -> None:
    given = {k: v for k, v in finished.rows["00_good"]["results"].items() if k.startswith("given.")}
    assert Path(given.pop("given.cwd")).samefile(finished.root)
    assert given == {
        "given.preset": "quick",
        "given.seed": 7,
        "given.share": 0.5,
        "given.exact": False,
        "given.ids": [1, 2],
    }


def test_kernels_are_headless_and_share_the_cores(finished: Any) -> None:
    found = finished.rows["00_good"]["results"]
    assert found["env.headless"] == "1"
    assert int(found["env.threads"]) >= 1


def test_the_report_says_with_what_it_was_made(finished: Any) -> None:
    assert finished.report["schema"] == 1
    assert finished.report["preset"] == "quick"
    assert finished.report["parameters"] == {"seed": "7", "ids": "[1, 2]"}
    assert {"python", "system", "commit", "torch", "papermill"} <= set(finished.report["versions"])


def test_the_end_says_where_to_look(finished: Any) -> None:
    assert "1 of 6 notebooks ok" in finished.done.stdout
    assert str(finished.out / "00_good.html") in finished.done.stdout
    assert str(finished.out / "report.json") in finished.done.stdout


def test_the_page_needs_no_script_and_no_network(finished: Any) -> None:
    page = (finished.out / "00_good.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert "url(http" not in page
    assert "A lesson" in page
    assert "not on the page" not in page


def test_the_page_has_the_policy_of_the_site(finished: Any) -> None:
    page = (finished.out / "00_good.html").read_text(encoding="utf-8")
    policy = re.compile(r'<meta [^>]*"(default-src [^"]*)"')
    (of_runner,), (of_site,) = policy.findall(page), policy.findall(site.whole("", "", "", ""))
    assert of_runner == of_site == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "Content-Security-Policy" in page[: page.index("<style")], "before anything could be loaded"


def test_widget_state_is_dropped(finished: Any) -> None:
    nb = nbformat.read(finished.out / "00_good.ipynb", as_version=4)
    assert "widgets" not in nb.metadata
    assert finished.rows["00_good"]["widget_models"] > 0


# ---- results that are there


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with results of an earlier run, and a runner whose notebooks are not really executed."""
    root, out = tmp_path / "notebooks", tmp_path / "out"
    root.mkdir()
    for name in ("00_good", "01_other"):
        notebook(root / f"{name}.ipynb")

    def execute(source: Path, target: Path, values: dict[str, Any], *_: Any) -> str | None:
        nb = executed(("accuracy", {"original": values.get("seed", 0)}))
        nb.metadata.kernelspec = KERNEL
        nbformat.write(nb, target)
        return "it broke" if values.get("seed") == 13 and source.stem == "01_other" else None

    class Here:
        """Runs in this process, where `execute` is the one above."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, function: Any, *arguments: Any, **options: Any) -> Future[Any]:
            done: Future[Any] = Future()
            try:
                done.set_result(function(*arguments, **options))
            except Exception as error:
                done.set_exception(error)
            return done

    monkeypatch.setattr(runner, "execute", execute)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Here)

    def go(*arguments: str) -> int:
        options = ("--preset", "quick", "--notebooks", str(root), "--out", str(out))
        return status(run_command, *arguments, *options)

    assert go() == 0
    return SimpleNamespace(go=go, out=out, root=root, held=lambda: files(out))


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_refused_run_touches_nothing(results: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = results.held()
    assert set(before) == {"00_good.html", "00_good.ipynb", "01_other.html", "01_other.ipynb", "report.json"}
    assert results.go("-p", "seed=1e99", "01") == 1
    assert results.held() == before
    said = capsys.readouterr().out
    assert "01_other: refused: parameter 'seed' must be of type int; got '1e99'" in said
    assert f"nothing was run; {results.out} is as it was" in said


def test_a_refused_run_makes_no_folder(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    capsys.readouterr()
    assert status(run_command, "-p", "no=1", "--notebooks", str(results.root), "--out", str(new)) == 1
    assert not new.exists()
    assert capsys.readouterr().out.endswith("nothing was run\n")


def test_a_failed_run_leaves_earlier_results_and_lies_beside(
    results: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results.held()
    assert results.go("-p", "seed=13") == 1
    after = results.held()
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before} == {f"failed/{name}" for name in before}
    rows = {row["name"]: row for row in json.loads(after["failed/report.json"])["notebooks"]}
    assert rows["00_good"]["status"] == "ok"
    assert rows["01_other"]["error"] == "it broke"
    assert f"those of this run are in {results.out / 'failed'}" in capsys.readouterr().out


def test_a_run_with_a_refused_notebook_takes_no_place(results: Any) -> None:
    before = results.held()
    notebook(results.root / "01_other.ipynb", parameters='preset: str = "lesson"  # quick | lesson | full')
    assert results.go("-p", "seed=2") == 1
    after = results.held()
    assert {name: after[name] for name in before} == before


def test_a_good_run_takes_the_place_of_the_earlier_one(results: Any) -> None:
    before = results.held()
    assert results.go("-p", "seed=2", "00") == 0
    after = results.held()
    assert set(after) == set(before), "and nothing is left beside"
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"00_good.html", "00_good.ipynb", "report.json"}


def test_an_interrupted_run_leaves_nothing(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = results.held()
    monkeypatch.setattr(runner, "judge", stop)
    assert results.go("-p", "seed=2") == 1
    assert results.held() == before
    assert [path.name for path in results.out.iterdir() if path.is_dir()] == []


def test_a_disk_that_is_full_is_a_failure_and_no_traceback(
    results: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = results.held()
    monkeypatch.setattr(runner, "write_page", full)
    assert results.go("-p", "seed=2", "00") == 1
    assert "00_good: failed: OSError: [Errno 28] No space left on device" in capsys.readouterr().out
    assert {name: results.held()[name] for name in before} == before


@pytest.mark.parametrize("out", ["/dev/null/x", "report.json/x", "x\0y"])
def test_a_folder_that_cannot_be_written_is_told(
    results: Any, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.out)
    given = ("--preset", "quick", "--notebooks", str(results.root), "--out", out)
    assert status(run_command, *given) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_a_place_that_is_taken_by_a_folder_is_told(results: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (results.out / "00_good.html").unlink()
    (results.out / "00_good.html").mkdir()
    assert results.go("00") == 1
    assert "cannot write to" in capsys.readouterr().err


# ---- the report, for the site


@pytest.mark.parametrize(
    "name",
    [
        "../stolen",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "index",
        "a b",
        "a\nb",
        '"><script>',
        "ä",
        3,
        None,
    ],
)
def test_names_in_a_report_cannot_lead_out_of_the_folder(results: Any, name: Any, tmp_path: Path) -> None:
    report = json.loads((results.out / "report.json").read_text(encoding="utf-8"))
    report["notebooks"][0]["name"] = name
    (results.out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(ValueError, match="a notebook's name must be like 01_deepobliviate; got"):
        site.build(results.out, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_one_name_is_one_page(results: Any, tmp_path: Path) -> None:
    report = json.loads((results.out / "report.json").read_text(encoding="utf-8"))
    report["notebooks"] *= 2
    (results.out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(ValueError, match="two notebooks have one name"):
        site.build(results.out, tmp_path / "site")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"notebooks": 3}', '{"notebooks": [3]}', '{"notebooks": [{"name": "a"}]}'],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    assert status(site_command, "--executed", str(tmp_path), "--out", str(tmp_path / "site")) == 1
    assert "is not a report of `unlearn run`" in capsys.readouterr().err


# ---- without a kernel


@pytest.mark.parametrize(
    ("changes", "given", "reason"),
    [
        ({"kernel": {**KERNEL, "name": "other"}}, {}, "the kernelspec must be python3"),
        ({"kernel": {"name": "python3", "display_name": "Python 3"}}, {}, "with language python"),
        ({"parameters": None}, {}, "one cell must be tagged 'parameters'; 0 are"),
        ({"last_tag": "parameters"}, {}, "one cell must be tagged 'parameters'; 2 are"),
        ({"last_tag": "exercise"}, {}, "the last cell must be tagged 'ci-assert'"),
        ({}, {"sed": "1"}, "no parameter 'sed'; declared are preset, seed"),
        ({}, {"preset": "fast"}, "'preset' must be one of quick, lesson, full; got 'fast'"),
        ({}, {"seed": "one"}, "'seed' must be of type int; got 'one'"),
        ({}, {"seed": "1.5"}, "'seed' must be of type int; got '1.5'"),
        ({}, {"share": "half"}, "'share' must be of type float"),
        ({}, {"share": "nan"}, "'share' must be of type float"),
        ({}, {"exact": "maybe"}, "'exact' must be of type bool"),
        ({}, {"ids": "x"}, r"'ids' must be of type list\[int\]"),
        ({}, {"ids": "[1, 'a']"}, r"'ids' must be of type list\[int\]"),
        ({}, {"ids": "[1, 2.5]"}, r"'ids' must be of type list\[int\]"),
        ({}, {"ids": "[1,"}, r"'ids' must be of type list\[int\]"),
    ],
)
def test_what_is_refused_before_a_kernel_starts(
    tmp_path: Path, changes: dict[str, Any], given: dict[str, str], reason: str
) -> None:
    path = notebook(tmp_path / "a.ipynb", **changes)
    with pytest.raises(RefusedError, match=reason):
        preflight(path, given)


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("not json", encoding="utf-8")
    with pytest.raises(RefusedError, match="not a notebook"):
        preflight(tmp_path / "a.ipynb", {})


def test_values_get_the_declared_type(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb")
    given = {"preset": "full", "seed": "-3", "share": "1", "exact": "True", "ids": "[]"}
    assert preflight(path, given) == {"preset": "full", "seed": -3, "share": 1.0, "exact": True, "ids": []}
    assert value_of("note", "a | b", "str", "either a | or b, in words") == "a | b"


def test_a_choice_may_be_a_folder_beside_the_notebook_or_any_path(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    comment = "digits | mnist | path of a folder of images"
    for text in ("mnist", "pictures", "/elsewhere/pictures", "../pictures"):
        assert value_of("dataset", text, "str", comment, tmp_path) == text
    for text in ("nope", ""):
        with pytest.raises(RefusedError, match=f"one of digits, mnist, path of a folder .*; got '{text}'"):
            value_of("dataset", text, "str", comment, tmp_path)


def test_a_kernel_of_another_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(argv=[str(Path("/other/bin/python").absolute())], resource_dir="kernels/python3")
    monkeypatch.setattr(runner.KernelSpecManager, "get_kernel_spec", lambda self, name: spec)
    with pytest.raises(RefusedError, match=r"starts .*other"):
        runner.kernel_is_ours()


def test_a_missing_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: object, name: str) -> None:
        raise runner.NoSuchKernel(name)

    monkeypatch.setattr(runner.KernelSpecManager, "get_kernel_spec", missing)
    with pytest.raises(RefusedError, match="install ipykernel"):
        runner.kernel_is_ours()


def executed(*results: tuple[str, dict[str, Any]]) -> Any:
    """An executed notebook with these results."""
    cells = []
    for name, values in results:
        data = {runner.RESULT_MIME: {"name": name, "values": values}, "text/plain": name}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("record()", execution_count=1, outputs=[output]))
    return nbformat.v4.new_notebook(cells=cells)


def test_in_a_solution_notebook_every_exercise_passes() -> None:
    nb = executed(("exercise.one", {"status": "pass"}), ("exercise.two", {"status": "not attempted yet"}))
    assert runner.judge(nb, solutions=False)[1] is None
    complaint = runner.judge(nb, solutions=True)[1]
    assert complaint is not None
    assert "exercise.two.status" in complaint
    assert "exercise.one" not in complaint


def test_a_notebook_that_records_nothing_is_a_failure() -> None:
    assert runner.judge(executed(), solutions=False)[1] == "it ran, but recorded no result"


def test_two_values_under_one_name_are_a_failure() -> None:
    complaint = runner.judge(executed(("a", {"b": 1}), ("a", {"b": 2})), solutions=False)[1]
    assert complaint == "'a.b' is recorded twice, as 1 and 2"
    assert runner.judge(executed(("a", {"b": 1}), ("a", {"b": 1})), solutions=False)[1] is None


def test_an_error_shown_by_a_cell_that_ran_is_a_failure() -> None:
    nb = executed(("a", {"b": 1}))
    nb.cells[0].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))
    assert runner.judge(nb, solutions=False)[1] == "code cell 1 shows an error"


def test_nested_results_get_dotted_names() -> None:
    assert dict(flat("a", {"b": {"c": 1}, "d": [1, 2]})) == {"a.b.c": 1, "a.d": [1, 2]}


def test_notebooks_are_chosen_by_name_or_beginning(tmp_path: Path) -> None:
    paths = [tmp_path / f"{stem}.ipynb" for stem in ("00_start", "01_first", "01_first_more", "02_last")]
    for path in paths:
        path.touch()
    assert choose([], tmp_path) == paths
    assert choose(["01"], tmp_path) == paths[1:3]
    assert choose(["01_first"], tmp_path) == [paths[1]]
    assert choose(["notebooks/02_last.ipynb", "00", "02"], tmp_path) == [paths[3], paths[0]]


def test_an_unknown_name_is_an_error_that_lists_the_right_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "01_first.ipynb").touch()
    assert status(run_command, "05", "--notebooks", str(tmp_path)) == 2
    assert "no notebook '05'; there are 01_first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--preset", "fast"], "'fast' is not one of 'quick', 'lesson', 'full'"),
        (["-p", "seed"], "needs NAME=VALUE; got 'seed'"),
        (["-p", "preset=quick"], "--preset"),
        (["--jobs", "0"], "0 is not in the range x>=1"),
        (["--timeout", "soon"], "'soon' is not a valid integer range"),
        (["--notebooks", "no_such_folder"], "no notebooks in no_such_folder; `unlearn lessons DIR` copies"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(run_command, *arguments) == 2
    assert reason in capsys.readouterr().err
