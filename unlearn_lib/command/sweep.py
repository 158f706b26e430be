"""`unlearn sweep`: lessons over a grid of parameters, on this machine or on a cluster.

Each run is a job of its own (`unlearn_lib.jobs`), which carries the text of its notebook and its parameters
and returns what the notebook recorded. So a worker elsewhere needs the package and no files.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import click
import nbformat
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from unlearn_lib.classroom.versions import versions
from unlearn_lib.command import places
from unlearn_lib.command.cluster import executor_of
from unlearn_lib.command.figure import draw
from unlearn_lib.command.folder import write
from unlearn_lib.command.progress import say, terminal
from unlearn_lib.command.runner import (
    TIMEOUT,
    RefusedError,
    choose,
    declared_in,
    execute,
    judge,
    kernel_is_ours,
    pair,
    pairs,
    prepare,
    values_of,
)
from unlearn_lib.jobs import Done, each_job
from unlearn_lib.store import StoreError

RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
MOST = 100_000  # runs of a sweep


# ---- the grid


def values_in(name: str, text: str) -> list[str]:
    """The values of ``0..3,7,[1,2]``: whole ranges with both ends, single values, lists.

    Raises:
        ValueError: a range runs backwards or is longer than a sweep, a value is empty or stands twice.
    """
    found: list[str] = []
    for item in re.findall(r"(?:\[[^\]]*\]|[^,])+|(?<=,)(?=,|$)|^$", text):
        if ends := RANGE.fullmatch(item.strip()):
            first, last = map(int, ends.groups())
            if first > last:
                raise ValueError(f"the range {item!r} of {name} must not run backwards")
            if (number := last - first + 1) > MOST:
                raise ValueError(
                    f"the range {item!r} of {name} must have {MOST:,} values at most; it has {number:,}"
                )
            found += map(str, range(first, last + 1))
        else:
            found.append(item.strip())
    if not all(found) or not found:
        raise ValueError(f"{name} must have a value between its commas; got {text!r}")
    if twice := [value for value, times in Counter(found).items() if times > 1]:
        raise ValueError(f"{name} must have each value once; {twice[0]!r} stands twice in {text!r}")
    return found


def grid_of(context: click.Context, option: click.Parameter, texts: Sequence[str]) -> dict[str, list[str]]:
    """What ``--grid`` was given: the values of every parameter."""
    try:
        named = list(map(pair, texts))
        if twice := {name for name, _ in named if [n for n, _ in named].count(name) > 1}:
            raise ValueError(f"{min(twice)} must be in one --grid; it is in several")
        return {name: values_in(name, text) for name, text in named}
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


# ---- one run


@dataclass(frozen=True)
class Run:
    """A notebook with parameters: all that determines its numbers, and how long a cell may take."""

    lesson: str
    text: str = field(repr=False)
    values: dict[str, Any]
    timeout: int

    def __determined_by__(self) -> Any:
        return self.text, self.values, versions()

    def __str__(self) -> str:
        shown = (f"{name}={value}" for name, value in self.values.items() if name != "preset")
        return " ".join([self.lesson, *shown])


class Numbers(NamedTuple):
    """What a notebook recorded, and how long it ran."""

    seconds: float
    recorded: dict[str, Any]


class FailedError(Exception):
    """Why a notebook failed."""


def numbers_of(run: Run) -> Numbers:
    """Execute a notebook in a folder of its own, which is gone afterwards.

    Raises:
        FailedError: a cell failed, or nothing was recorded.
        RefusedError: the notebook's kernel is that of another environment.
    """
    kernel_is_ours()
    prepare("1")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
        source, target = Path(folder) / f"{run.lesson}.ipynb", Path(folder) / "executed.ipynb"
        source.write_text(run.text, encoding="utf-8")
        error = execute(source, target, run.values, run.timeout)
        found: dict[str, Any] = {}
        if not error:
            found, error = judge(nbformat.read(target, as_version=4), solutions=False)
    if error:
        raise FailedError(error)
    return Numbers(round(time.perf_counter() - begun, 2), found)


# ---- the table


def row_of(run: Run, done: Done) -> dict[str, Any]:
    """A row: lesson, parameters, how it ended, and every number that was recorded."""
    row = {"lesson": run.lesson, **run.values, "status": "failed" if done.error else "ok"}
    row |= {"error": str(done.error) if done.error else "", "seconds": None}
    if not done.error:
        numbers = {k: v for k, v in done.result.recorded.items() if isinstance(v, int | float)}
        row |= {"seconds": done.result.seconds, **numbers}
    return row


def write_table(rows: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """As CSV, and as Parquet where pandas is installed; a number that a lesson lacks is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(out / "table.csv", text.getvalue().encode())
    try:
        import pandas
        import pyarrow  # noqa: F401 - the engine
    except ImportError:
        return [out / "table.csv"]
    table = io.BytesIO()
    pandas.DataFrame(list(rows), columns=columns).to_parquet(table, index=False)
    write(out / "table.parquet", table.getvalue())
    return [out / "table.csv", out / "table.parquet"]


# ---- the command


def runs_of(
    sources: Sequence[Path], grid: Mapping[str, list[str]], given: Mapping[str, str], timeout: int
) -> list[Run]:
    """Every notebook with every combination of the grid.

    Raises:
        RefusedError: what is wrong with a notebook or a parameter.
    """
    number = len(sources) * math.prod(map(len, grid.values()))
    if number > MOST:
        raise RefusedError(f"a sweep must have {MOST:,} runs at most; this grid has {number:,}")
    found = []
    for source in sources:
        nb = nbformat.read(source, as_version=4)
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        text = nbformat.writes(nb)
        try:
            declared = declared_in(source)
            for point in itertools.product(*grid.values()):
                chosen = {**given, **dict(zip(grid, point, strict=True))}
                found.append(Run(source.stem, text, values_of(chosen, declared, source.parent), timeout))
        except RefusedError as reason:
            raise RefusedError(f"{source.stem}: {reason}") from reason
    return found


@contextmanager
def teller(runs: Sequence[Run]) -> Iterator[Callable[[int, Done], None]]:
    """A function that tells of each run that has ended: a line, and on a terminal a bar below."""
    console = terminal()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "about", TimeRemainingColumn(), "left")
    with Progress(*columns, console=console, transient=True, disable=not console) as bar:
        task = bar.add_task("", total=len(runs))

        def tell(count: int, done: Done) -> None:
            say(f"[{count}/{len(runs)}] {in_words(runs[done.place], done)}", console)
            bar.update(task, completed=count)

        yield tell


def in_words(run: Run, done: Done) -> str:
    """How a run ended."""
    if done.error:
        return f"{run}: failed: {done.error}"
    kept = ", kept from before" if done.kept else ""
    return f"{done.result.seconds:7.1f} s  {run}: {len(done.result.recorded)} results{kept}"


@click.command("sweep", short_help="Run lessons over a grid of parameters.")
@click.argument("names", nargs=-1, required=True, metavar="LESSON...")
@click.option(
    "--grid",
    callback=grid_of,
    multiple=True,
    metavar="NAME=VALUES",
    help="A parameter and its values, such as seed=0..9 or dataset=digits,mnist; may be repeated.",
)
@click.option(
    "-p", "given", callback=pairs, multiple=True, metavar="NAME=VALUE", help="One value of a parameter."
)
@click.option("--preset", type=click.Choice(list(TIMEOUT)), default="lesson", show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Runs at a time, on this machine. Default: 1."
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster, such as tcp://HOST:8786.")
@click.option("--out", type=Path, metavar="DIR", help="Default: build/sweep.")
@click.option(
    "--figure",
    "chosen",
    multiple=True,
    metavar="NAME",
    help="A recorded number to draw, or how its name begins; may be repeated.",
)
@click.option(
    "--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="For a cell; default by preset."
)
@click.option(
    "--notebooks", "folder", type=Path, metavar="DIR", help="Default: your copy, if you stand in it."
)
def sweep_command(
    names: Sequence[str],
    grid: dict[str, list[str]],
    given: dict[str, str],
    preset: str,
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    chosen: Sequence[str],
    timeout: int | None,
    folder: Path | None,
) -> None:
    """Run lessons with every combination of parameters, and put their numbers into one table.

    LESSON is the name of a notebook or how it begins.

    \b
        unlearn sweep 05 --grid seed=0..9 --workers 4
        unlearn sweep 05 --grid seed=0..9 --grid dataset=digits,mnist --scheduler tcp://HOST:8786

    Writes table.csv and table.parquet into --out: a row for each run, with its parameters, how it ended, and
    every number that it recorded; and for each lesson a figure of the numbers that vary, as PNG and SVG:
    means over the seeds with their 95 % intervals. Parquet needs the extra [cluster].

    What has run is kept in --out: the same command started again, or one with a larger grid, runs only what
    is missing, as long as notebook, parameters and versions are the same. A run that fails is in the table;
    the others are not disturbed, and the exit status is 1.
    """
    if workers and scheduler:
        raise click.UsageError("--workers and --scheduler exclude each other: the cluster has its own")
    if both := sorted(grid.keys() & given.keys()):
        raise click.UsageError(f"{both[0]} must be in --grid or in -p; it is in both")
    try:
        sources = choose(names, folder or places.notebooks())
        runs = runs_of(sources, grid, {**given, "preset": preset}, timeout or TIMEOUT[preset])
    except (ValueError, RefusedError) as error:
        raise click.UsageError(str(error)) from None
    out = out or places.build() / "sweep"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".touch").write_bytes(b"")
        (out / ".touch").unlink()
    except OSError as error:
        raise click.UsageError(f"cannot write to {out}: {error.strerror}") from None
    ended: dict[int, Done] = {}
    click.echo(f"{len(runs)} runs of {', '.join(source.stem for source in sources)}, preset {preset}")
    try:
        with executor_of(scheduler) as executor:
            every = each_job(
                numbers_of,
                [(run,) for run in runs],
                executor=executor,
                workers=0 if executor else workers or 1,
                keep=out / "kept",
            )
            with closing(every), teller(runs) as tell:
                for done in every:
                    ended[done.place] = done
                    tell(len(ended), done)
    except (ImportError, OSError, StoreError) as error:
        raise click.UsageError(str(error)) from None
    except KeyboardInterrupt:
        good = sum(not done.error for done in ended.values())
        click.echo(
            f"\nstopped; {good} of {len(runs)} runs are kept in {out}; the same command goes on from there"
        )
        sys.exit(130)
    rows = [row_of(runs[place], ended[place]) for place in range(len(runs))]
    for path in (*write_table(rows, out), *draw(rows, [*grid], chosen, out)):
        click.echo(path)
    failed = sum(bool(done.error) for done in ended.values())
    click.echo(f"{len(runs) - failed} of {len(runs)} runs ok")
    sys.exit(int(failed > 0))
