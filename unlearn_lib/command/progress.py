"""What `unlearn run` shows: a line for each notebook that ended, and on a terminal a bar for each that runs.

A notebook runs in a process of its own, which writes the number of the current cell into a little file that
the bars read: nothing to lock, and nothing that a killed process could leave broken.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import nbformat
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

GLANCE = 0.2  # seconds between two looks at the files
HEADING = re.compile(r"^#+ (.+)$", re.M)


@dataclass(frozen=True)
class Note:
    """The number of the current cell, in a file."""

    path: Path

    def __call__(self, cell: int) -> None:
        """Write it."""
        self.path.write_text(str(cell), encoding="utf-8")

    def read(self) -> int | None:
        """What was written, or None: nothing yet, or half of it."""
        try:
            return int(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


class Lines:
    """A line for each notebook that has ended, and nothing else: for files and for CI."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def note(self, source: Path) -> Note | None:
        """What the process that runs a notebook calls with the number of each cell."""
        return None

    def ended(self, waiting: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
        """The futures, each as it ends."""
        return as_completed(waiting)

    def say(self, line: str) -> None:
        """A line that stays."""
        say(line)

    def end(self, source: Path) -> None:
        """A notebook has ended."""


class Bars(Lines):
    """Below the lines, a bar for each notebook that runs: its cell, its time, its section.

    Args:
        sources: the notebooks.
        expected: by name, the seconds that it took before, where that is known.
        console: the terminal.
    """

    def __init__(self, sources: Iterable[Path], expected: dict[str, float], console: Console) -> None:
        self.sections = {source: sections(source) for source in sources}
        self.expected = expected
        self.tasks: dict[Path, TaskID] = {}
        self.folder = tempfile.TemporaryDirectory(prefix="unlearn-run-")
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24, complete_style="green"),
            TextColumn("{task.fields[cell]}"),
            _Clock(),
            TextColumn("{task.fields[section]}", style="dim", markup=False),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()
        self.folder.cleanup()

    def note(self, source: Path) -> Note:
        """A file of its own."""
        return Note(Path(self.folder.name) / source.stem)

    def ended(self, waiting: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
        """The futures, each as it ends; between two of them the bars move on."""
        pending = set(waiting)
        while pending:
            done, pending = wait(pending, timeout=GLANCE, return_when=FIRST_COMPLETED)
            self.look()
            yield from done

    def look(self) -> None:
        """Move every bar to where its notebook is."""
        for source, names in self.sections.items():
            if (cell := self.note(source).read()) is None:
                continue
            if source not in self.tasks:
                time = self.expected.get(source.stem)
                self.tasks[source] = self.bars.add_task(
                    source.stem, total=len(names), expected=time, cell="its kernel starts", section=""
                )
            if 1 <= cell <= len(names):
                place, section = f"cell {cell} of {len(names)}", names[cell - 1]
                self.bars.update(self.tasks[source], completed=cell - 1, cell=place, section=section)

    def say(self, line: str) -> None:
        """A line that stays, above the bars."""
        say(line, self.bars.console)

    def end(self, source: Path) -> None:
        """Its bar goes; its line is there."""
        self.sections.pop(source)
        if source in self.tasks:
            self.bars.remove_task(self.tasks.pop(source))


class _Clock(ProgressColumn):
    """Elapsed time, and about how much it will be where an earlier run tells."""

    def render(self, task: Task) -> Text:
        """Such as 0:12 of about 0:40."""
        expected = task.fields["expected"]
        return Text(clock(task.elapsed or 0) + (f" of about {clock(expected)}" if expected else ""))


def watch(sources: list[Path], expected: dict[str, float]) -> Lines:
    """Bars on a terminal that can draw them, else lines."""
    console = terminal()
    return Bars(sources, expected, console) if console else Lines()


def terminal() -> Console | None:
    """The terminal that this process writes to, if it can draw bars."""
    console = Console()
    return console if sys.stdout.isatty() and not console.is_dumb_terminal else None


def say(line: str, console: Console | None = None) -> None:
    """A line that stays: above the bars of a terminal, or the next one."""
    if console:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(line)


def earlier(report: Path, made: dict[str, Any]) -> dict[str, float]:
    """The seconds that each notebook took in the run of a report, if that run was made as this one is.

    Args:
        report: the file, if there is one.
        made: the preset, the parameters and the edition of this run.
    """
    try:
        then = json.loads(report.read_text(encoding="utf-8"))
        if any(then[key] != value for key, value in made.items()):
            return {}
        return {row["name"]: float(row["seconds"]) for row in then["notebooks"] if row["status"] == "ok"}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def sections(source: Path) -> list[str]:
    """The heading above each code cell that papermill will execute; it adds one to the parameters."""
    heading, found = "", []
    for cell in nbformat.read(source, as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = (HEADING.findall(cell.source) or [heading])[-1]
        elif cell.cell_type == "code" and cell.source.strip():
            found += [heading] * (1 + ("parameters" in cell.metadata.get("tags", [])))
    return found


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
