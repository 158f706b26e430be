"""`unlearn run`: lessons without a browser, strictly. Whatever papermill only logs is an error here."""

from __future__ import annotations

import ast
import itertools
import json
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import nbformat
import papermill as pm
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from traitlets.config import Config

from unlearn_lib.classroom.environment import cores
from unlearn_lib.classroom.formulas import POLICY, render
from unlearn_lib.classroom.versions import versions
from unlearn_lib.command import places, progress

KERNEL = "python3"
RESULT_MIME = "application/vnd.unlearn.result+json"
TIMEOUT = {"quick": 300, "lesson": 1_200, "full": 7_200}  # seconds a cell, with slack; never an assertion
ENVIRONMENT = {
    "UNLEARN_HEADLESS": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PLOTLY_RENDERER": "plotly_mimetype",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
}
# nbconvert's page with the site's policy, and without its script elements, all of which would fetch.
BLOCKS = {"html_head_js": POLICY, "html_head_js_mathjax": "", "html_head_js_mermaidjs": ""}
PAGE = "{% extends 'lab/index.html.j2' %}" + "".join(
    f"{{% block {name} %}}{text}{{% endblock %}}" for name, text in BLOCKS.items()
)


class RefusedError(Exception):
    """The reason why a notebook is not run at all."""


class CannotWriteError(Exception):
    """The reason why the results of a run could not be put into place."""


# ---- parameters: the text of the command line against the line `name: type = default  # a | b | c`


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


SCALARS: dict[str, Callable[[str], Any]] = {"bool": _truth, "int": int, "float": _finite, "str": str}


def value_of(name: str, text: str, kind: str, comment: str, beside: Path = Path()) -> Any:
    """The text of ``-p name=text`` as a value of the declared type, and one of the declared choices.

    The last choice may be the path of a folder, from the folder `beside`.
    """
    *others, last = choices = [choice.strip() for choice in comment.split("|")]
    path = last.startswith("path of a folder")
    words = others if path else choices
    plain = len(choices) > 1 and all(word.split() == [word] for word in words)
    if plain and text not in words and not (path and _is_path(text, beside)):
        raise RefusedError(f"parameter {name!r} must be one of {', '.join(choices)}; got {text!r}")
    items = re.fullmatch(r"list\[(\w+)\]", kind)
    try:
        return [SCALARS[items[1]](str(item)) for item in _list(text)] if items else SCALARS[kind](text)
    except (KeyError, ValueError, SyntaxError):
        raise RefusedError(f"parameter {name!r} must be of type {kind}; got {text!r}") from None


def _is_path(text: str, beside: Path) -> bool:
    return "/" in text or os.sep in text or (text != "" and (beside / text).is_dir())


def _list(text: str) -> list[Any]:
    """Several values, as a list; a single one may stand for itself."""
    value = ast.literal_eval(text)
    return value if isinstance(value, list) else [value]


# ---- one notebook


def preflight(source: Path, given: dict[str, str]) -> dict[str, Any]:
    """The values of the parameters.

    Raises:
        RefusedError: what is wrong with the notebook, its kernel or a parameter.
    """
    return values_of(given, declared_in(source), source.parent)


def declared_in(source: Path) -> dict[str, Any]:
    """The parameters of a notebook that can be run, as papermill tells of them.

    Raises:
        RefusedError: what is wrong with the notebook or its kernel.
    """
    try:
        nb = nbformat.read(source, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise RefusedError(f"not a notebook: {type(error).__name__}") from error
    spec = nb.metadata.get("kernelspec", {})
    if spec.get("name") != KERNEL or spec.get("language") != "python":
        raise RefusedError(f"the kernelspec must be {KERNEL} with language python; got {dict(spec)}")
    if (count := sum("parameters" in tags(cell) for cell in nb.cells)) != 1:
        raise RefusedError(f"one cell must be tagged 'parameters'; {count} are")
    if "ci-assert" not in tags(nb.cells[-1]):
        raise RefusedError("the last cell must be tagged 'ci-assert'")
    declared: dict[str, Any] = pm.inspect_notebook(str(source))
    return declared


def values_of(given: Mapping[str, str], declared: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """The values of the parameters of a notebook that lies in the folder `beside`.

    Raises:
        RefusedError: what is wrong with a parameter.
    """
    for name in given:
        if name not in declared:
            raise RefusedError(f"no parameter {name!r}; declared are {', '.join(declared)}")
    return {
        name: value_of(name, text, declared[name]["inferred_type_name"], declared[name]["help"], beside)
        for name, text in given.items()
    }


def kernel_is_ours() -> None:
    """Refuse a kernel that a user registered for another environment: it would shadow this one."""
    try:
        spec = KernelSpecManager().get_kernel_spec(KERNEL)
    except NoSuchKernel:
        raise RefusedError(f"no kernel {KERNEL!r}: install ipykernel in this environment") from None
    command = Path(spec.argv[0])
    if command.is_absolute() and command.parent != Path(sys.executable).parent:
        raise RefusedError(
            f"the kernel {KERNEL!r} starts {command}, not {sys.executable}; see {spec.resource_dir}"
        )


def row_of(source: Path, status: str, error: str | None) -> dict[str, Any]:
    """The row of a notebook for the report, with nothing in it."""
    row = {"name": source.stem, "status": status, "seconds": 0.0, "cells": 0, "error": error}
    return {**row, "results": {}}


def run(
    source: Path,
    values: dict[str, Any],
    *,
    out: Path,
    timeout: int,
    solutions: bool,
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Execute one notebook and write its page into an empty folder; the row for the report.

    Args:
        source: the notebook.
        values: of its parameters, as `preflight` gives them.
        out: the folder.
        timeout: seconds that a cell may take.
        solutions: whether every exercise must pass.
        told: called with 0 at the start, then with the number of each code cell before it is executed.
    """
    row, target = row_of(source, "ok", None), out / source.name
    begun = time.perf_counter()
    if told:
        told(0)
    error = execute(source, target, values, timeout, told)
    row["seconds"] = round(time.perf_counter() - begun, 2)
    if target.exists():
        nb = nbformat.read(target, as_version=4)
        widgets = nb.metadata.pop("widgets", {})  # 5 MB a FigureWidget, and dead
        nbformat.write(nb, target)
        write_page(nb, target)
        row["cells"], row["bytes"] = len(code_cells(nb)), target.stat().st_size
        row["widget_models"] = sum(len(kind["state"]) for kind in widgets.values())
        row["slowest_cell_s"] = max((c.metadata.get("papermill", {}).get("duration") or 0) for c in nb.cells)
        row["results"], complaint = judge(nb, solutions=solutions)
        error = error or complaint
    return {**row, "status": "failed" if error else "ok", "error": error}


def execute(
    source: Path,
    target: Path,
    values: dict[str, Any],
    timeout: int,
    told: Callable[[int], None] | None = None,
) -> str | None:
    """Execute with papermill; what went wrong, or None."""
    count = itertools.count(1)
    try:
        # No store_widget_state=False: nbclient then fails at the first print into an Output widget.
        pm.execute_notebook(
            str(source),
            str(target),
            parameters=values,
            kernel_name=KERNEL,
            cwd=str(source.parent),
            progress_bar=False,
            start_timeout=120,
            execution_timeout=timeout,
            on_cell_execute=(lambda **_: told(next(count))) if told else None,
            extra_arguments=["--log-level=ERROR"],  # or the kernel warns that it speaks over local TCP
        )
    except pm.PapermillExecutionError as error:
        said = f"{error.ename}: {error.evalue}".strip()[:500]
        return f"cell [{error.exec_count}] raised {said}"
    except CellTimeoutError:  # no PapermillExecutionError; the file claims that the cell completed
        return f"timed out: one cell ran for more than {timeout} s"
    except DeadKernelError:
        return "the kernel died (out of memory?)"
    except Exception as error:  # one notebook must not stop the others
        return f"{type(error).__name__}: {error}"[:500]
    return None


def judge(nb: Any, *, solutions: bool) -> tuple[dict[str, Any], str | None]:
    """The recorded results, flat, and what is wrong with an executed notebook, or None."""
    results: dict[str, Any] = {}
    complaint = None
    for name, value in recorded(nb):
        if name in results and results[name] != value:
            complaint = f"{name!r} is recorded twice, as {results[name]!r} and {value!r}"
        results[name] = value
    cells = code_cells(nb)
    skipped = [i for i, cell in enumerate(cells, 1) if cell.execution_count is None]
    failed = [i for i, cell in enumerate(cells, 1) if any(o.output_type == "error" for o in cell.outputs)]
    unsolved = {
        name: value
        for name, value in results.items()
        if name.startswith("exercise.") and name.endswith(".status") and value != "pass"
    }
    if skipped:
        return (
            results,
            f"{len(skipped)} of {len(cells)} code cells were not executed, the first is {skipped[0]}",
        )
    if failed:
        return results, f"code cell {failed[0]} shows an error"
    if not results:
        return results, "it ran, but recorded no result"
    if solutions and unsolved:
        return results, f"unsolved in the solution notebook: {unsolved}"
    return results, complaint


def recorded(nb: Any) -> Iterator[tuple[str, Any]]:
    """Every result as (name.key, value)."""
    for cell in code_cells(nb):
        for output in cell.outputs:
            if result := output.get("data", {}).get(RESULT_MIME):
                yield from flat(result["name"], result["values"])


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Nested results with dotted names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(f"{name}.{key}", item)
    else:
        yield name, value


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    found: list[str] = cell.metadata.get("tags", [])
    return found


def code_cells(nb: Any) -> list[Any]:
    """The code cells that hold anything."""
    return [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]


def write_page(nb: Any, target: Path) -> None:
    """The notebook as one HTML file that fetches nothing."""
    hide = {"TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": ["remove-cell"]}}
    exporter = HTMLExporter(config=Config(hide), raw_template=PAGE, require_js_url="", mathjax_url="")
    exporter.register_filter("markdown2html", render)
    html, _ = exporter.from_notebook_node(nb, {"metadata": {"name": target.stem}})
    target.with_suffix(".html").write_text(html, encoding="utf-8")


# ---- all notebooks


def choose(names: Sequence[str], folder: Path) -> list[Path]:
    """The notebooks whose names are these or begin with these.

    Raises:
        ValueError: there is none of that name; lists the right ones.
    """
    known = sorted(folder.glob("*.ipynb"))
    if not known:
        raise ValueError(
            f"no notebooks in {folder}; `unlearn lessons DIR` copies the lessons into a folder, and "
            "python ci/build_notebooks.py makes those of a checkout"
        )
    chosen: dict[Path, None] = {}
    for name in names or [""]:
        stem = Path(name).name.removesuffix(".ipynb")
        found = [p for p in known if p.stem == stem] or [p for p in known if p.stem.startswith(stem)]
        if not found:
            raise ValueError(f"no notebook {name!r}; there are {', '.join(p.stem for p in known)}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def prepare(threads: str) -> None:
    """What every kernel started by this process inherits."""
    os.environ.update(ENVIRONMENT, OMP_NUM_THREADS=threads)


def commit() -> str | None:
    """The commit of the checkout that is run, if git knows one."""
    if not (root := places.checkout()):
        return None
    git = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def check(
    given: dict[str, str], sources: list[Path]
) -> tuple[dict[Path, dict[str, Any]], dict[Path, dict[str, Any]]]:
    """The parameters of each notebook that may run, and the rows of those that are refused."""
    values, rows = {}, {}
    for source in sources:
        try:
            kernel_is_ours()
            values[source] = preflight(source, given)
        except RefusedError as reason:
            rows[source] = row_of(source, "refused", str(reason))
    return values, rows


def run_lessons(
    names: Sequence[str],
    *,
    preset: str,
    given: dict[str, str],
    solutions: bool = False,
    out: Path | None = None,
    jobs: int = 1,
    timeout: int | None = None,
    folder: Path | None = None,
) -> int:
    """Run notebooks and put what they made into place; the exit status.

    Raises:
        click.UsageError: there is no such notebook, or the folder cannot be written.
    """
    folder = folder or places.notebooks()
    try:
        sources = choose(names, folder / "solutions" if solutions else folder)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    out = out or places.build() / ("solutions" if solutions else "executed")
    values, rows = check({**given, "preset": preset}, sources)
    for row in rows.values():
        click.echo(f"{row['name']}: {row['status']}: {row['error']}")
    if not values:
        click.echo("nothing was run" + (f"; {out} is as it was" if out.exists() else ""))
        return 1
    try:
        out.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".running-", dir=out))
    except (OSError, ValueError) as error:  # ValueError: no path at all
        raise click.UsageError(
            f"cannot write to {out}: {getattr(error, 'strerror', None) or error}"
        ) from None
    jobs = min(jobs, len(values))
    threads = threads_each(preset, jobs)
    made = {"schema": 1, "preset": preset, "parameters": given, "solutions": solutions}
    watch = progress.watch(list(values), progress.earlier(out / "report.json", made))
    one = partial(run, out=beside, timeout=timeout or TIMEOUT[preset], solutions=solutions)
    begun = time.perf_counter()
    click.echo(f"{len(values)} notebooks, preset {preset}, {jobs} at a time, {threads} threads each")
    try:
        for source, row in run_all(one, values, watch, jobs, threads):
            rows[source] = row
            watch.say(f"[{len(rows)}/{len(sources)}] {in_words(row)}")
        made["versions"] = {**versions(), "commit": commit()}
        made["notebooks"] = [rows[source] for source in sources]
        good = sum(row["status"] == "ok" for row in rows.values())
        click.echo(f"{good} of {len(sources)} notebooks ok in {time.perf_counter() - begun:.1f} s")
        where = put_in_place(made, beside, out, good=good == len(sources))
    except CannotWriteError as reason:
        click.echo(reason, err=True)
        return 1
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    for page in sorted(where / f"{source.stem}.html" for source in values):
        if page.exists():
            click.echo(f"look at {page}")
    click.echo(f"numbers {where / 'report.json'}")
    return int(good < len(sources))


def run_all(
    one: Callable[..., dict[str, Any]],
    values: dict[Path, dict[str, Any]],
    watch: progress.Lines,
    jobs: int,
    threads: str,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Run every notebook with its values, some at a time; each with its row, as they end."""
    spawn = multiprocessing.get_context("spawn")
    with watch, ProcessPoolExecutor(jobs, mp_context=spawn, initializer=prepare, initargs=(threads,)) as pool:
        waiting: dict[Future[dict[str, Any]], Path] = {
            pool.submit(one, source, given, told=watch.note(source)): source
            for source, given in values.items()
        }
        for done in watch.ended(waiting):
            source = waiting[done]
            watch.end(source)
            if error := done.exception():  # the disk is full, or the process was killed
                yield source, row_of(source, "failed", f"{type(error).__name__}: {error}"[:500])
            else:
                yield source, done.result()


def in_words(row: dict[str, Any]) -> str:
    """A row in a line."""
    end = f": {row['error']}" if row["error"] else f", {len(row['results'])} results"
    return f"{row['seconds']:7.1f} s  {row['name']}: {row['status']}{end}"


def threads_each(preset: str, jobs: int) -> str:
    """Threads of a notebook: as the user has set, or a share of the cores where nets are large enough."""
    share = max(1, cores() // jobs) if preset == "full" else 1  # small nets lose time to a second thread
    return os.environ.get("OMP_NUM_THREADS") or str(share)


def put_in_place(report: dict[str, Any], beside: Path, out: Path, *, good: bool) -> Path:
    """Write the report, and move the results of a run to their final place, it last; returns the folder.

    Results of a run that is not good never take the place of any that are there.

    Raises:
        CannotWriteError: the disk is full, or a folder lies where a file must.
    """
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        (beside / "report.json").write_text(text, encoding="utf-8")
        files = sorted(beside.iterdir(), key=lambda path: (path.name == "report.json", path.name))
        where = out if good or not any((out / path.name).exists() for path in files) else out / "failed"
        if where != out:
            where.mkdir(exist_ok=True)
            click.echo(f"earlier results are as they were; those of this run are in {where}")
        for path in files:
            path.replace(where / path.name)
    except OSError as error:
        place = error.filename2 or error.filename
        raise CannotWriteError(f"cannot write to {place}: {error.strerror}") from error
    return where


def pair(text: str) -> tuple[str, str]:
    """NAME=VALUE as two strings.

    Raises:
        ValueError: it is something else.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"a parameter needs NAME=VALUE; got {text!r}")
    if name == "preset":
        raise ValueError("the parameter preset has an option of its own: --preset")
    return name, value


def pairs(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """What an option that may be repeated was given."""
    try:
        return dict(map(pair, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("run", short_help="Run lessons without a browser.")
@click.argument("names", nargs=-1, metavar="[LESSON]...")
@click.option("--preset", type=click.Choice(list(TIMEOUT)), default="lesson", show_default=True)
@click.option(
    "-p", "given", callback=pairs, multiple=True, metavar="NAME=VALUE", help="Another value of a parameter."
)
@click.option("--solutions", is_flag=True, help="The solved notebooks: every exercise must pass.")
@click.option("--out", type=Path, metavar="DIR", help="Default: build/executed, or build/solutions.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Notebooks at a time.")
@click.option(
    "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="For a cell; default by preset."
)
@click.option(
    "--notebooks", "folder", type=Path, metavar="DIR", help="Default: your copy, if you stand in it."
)
def run_command(**options: Any) -> None:
    """Run lessons without a browser, strictly, and write pages and a report.

    LESSON is the name of a notebook or how it begins; without one, every lesson is run.

    \b
        unlearn run --preset quick           every lesson
        unlearn run 01 03 --jobs 2           two of them at a time
        unlearn run 01 -p dataset=mnist      with another value of a parameter
        unlearn run --solutions              the solved notebooks

    Writes NAME.ipynb (executed), NAME.html (a page that needs no script and no network) and report.json
    (times, versions, every recorded result) into --out. A notebook counts as run when every cell was
    executed, none failed, and at least one result was recorded. One that fails does not stop the others;
    the exit status is 1 at the end.

    Results are written beside those of --out, and take their place at the end. Those of a run in which a
    notebook was refused or failed take the place of none: where there are any, they go to the folder
    "failed" in --out.
    """
    sys.exit(run_lessons(**options))
