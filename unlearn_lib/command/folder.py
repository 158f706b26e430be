"""`unlearn lessons`: the lessons as a learner's own copy.

What a learner has changed is never written over. A list of digests in the folder, `.unlearn-lessons.json`,
says what was put there: a file that is still as it was put there is brought up to date, any other is the
learner's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from unlearn_lib import __version__
from unlearn_lib.command import places

FOLDER = "unlearn-lessons"  # where the lessons go if no folder is named
KEPT = "kept"  # in it, what was the learner's where a lesson began afresh
HOME = "https://github.com/unlearn-lessons/unlearn-lessons#lessons"
LIST_OF_LESSONS = re.compile(rb"(?:\.\./)+README\.md#lessons")


@dataclass
class Copied:
    """What became of each lesson, by its name in the folder.

    Args:
        new: lessons that were not there.
        same: those that were there as they are now.
        newer: those that an earlier version had put there, now brought up to date.
        changed: those that the learner has changed, and that were left alone.
        kept: those that the learner had changed, now fresh; each with the place of what was there.
    """

    new: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def lessons(*, solutions: bool) -> dict[str, bytes]:
    """The notebooks, by their names in the folder; the way to the list of lessons leads to its page."""
    home = places.source()
    paths = [*home.glob("*.ipynb"), *(home.glob("solutions/*.ipynb") if solutions else ())]
    return {
        path.relative_to(home).as_posix(): LIST_OF_LESSONS.sub(HOME.encode(), path.read_bytes())
        for path in sorted(paths)
    }


def copy(folder: Path, *, solutions: bool = False, force: bool = False) -> Copied:
    """Copy the lessons into a folder, never over what a learner has changed.

    Every file is there as a whole or not at all. After an interruption the next call goes on.

    Args:
        folder: made if it is missing.
        solutions: the solved lessons too, in its folder `solutions`.
        force: begin changed lessons afresh; what was there moves to its folder `kept`.

    Raises:
        click.ClickException: the folder is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise click.ClickException(f"DIR must be a folder; got the file {folder}.")
    done, put = Copied(), listed(folder)
    try:
        for name, fresh in lessons(solutions=solutions).items():
            path = folder / name
            there = path.read_bytes() if path.exists() else None
            if there is None:
                done.new.append(name)
            elif there == fresh:
                done.same.append(name)
            elif digest(there) == put.get(name):
                done.newer.append(name)
            elif force:
                done.kept[name] = keep(folder, path)
            else:
                done.changed.append(name)
                continue
            if there != fresh:
                write(path, fresh)
            put[name] = digest(fresh)
        note = {"version": __version__, "files": put}
        write(folder / places.MANIFEST, json.dumps(note, indent=1).encode() + b"\n")
    except OSError as error:
        place = error.filename2 or error.filename
        raise click.ClickException(f"cannot write {place}: {error.strerror}.") from error
    return done


def listed(folder: Path) -> dict[str, str]:
    """The digests of what was put into a folder; without a list that can be read, none."""
    try:
        files = json.loads((folder / places.MANIFEST).read_bytes())["files"]
        return {str(name): str(of) for name, of in files.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def keep(folder: Path, path: Path) -> str:
    """Move a learner's lesson out of the way, over nothing that lies there; its new place."""
    place = next(free(folder / KEPT / path.relative_to(folder)))
    place.parent.mkdir(parents=True, exist_ok=True)
    path.rename(place)
    return place.relative_to(folder).as_posix()


def free(path: Path) -> Iterator[Path]:
    """Names like this one that nothing has."""
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2)))
    return (name for name in names if not name.exists())


def write(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def digest(data: bytes) -> str:
    """What the list holds of a file."""
    return hashlib.sha256(data).hexdigest()


def in_short(folder: Path, done: Copied) -> str:
    """What was done, in a line."""
    counts = {
        "new": done.new,
        "as they were": done.same,
        "brought up to date": done.newer,
        "begun afresh": done.kept,
        "yours, left alone": done.changed,
    }
    said = "; ".join(f"{len(names)} {what}" for what, names in counts.items() if names)
    return f"lessons in {folder}: {said}"


def tell(folder: Path, done: Copied) -> None:
    """Say what was done, and what a learner can do next."""
    click.echo(in_short(folder, done))
    for name in done.changed:
        click.echo(f"  {name} is as you left it")
    for name, place in done.kept.items():
        click.echo(f"  {name} is fresh; yours is {place}")
    if done.changed:
        click.echo("`unlearn lessons --force` begins them afresh and keeps yours beside.")


def named(context: click.Context, option: click.Parameter, text: str) -> Path:
    """The folder of that name; an empty name would be the current one."""
    if not text.strip():
        raise click.BadParameter(f"DIR must name a folder, such as {FOLDER}; got {text!r}")
    return Path(text)


@click.command("lessons", short_help="Copy the lessons into a folder of yours.")
@click.argument("folder", callback=named, metavar="[DIR]", default=FOLDER)
@click.option("--solutions", is_flag=True, help="The solved lessons too, in DIR/solutions.")
@click.option("--force", is_flag=True, help="Begin lessons that you changed afresh; yours move to DIR/kept.")
def lessons_command(folder: Path, solutions: bool, force: bool) -> None:
    """Copy the lessons into a folder of yours, never over what you have changed.

    \b
        unlearn lessons                      into the folder unlearn-lessons
        unlearn lessons ~/course --solutions

    Do it again after an update: a lesson that you have not touched is brought up to date, and one that you
    have changed, saved outputs included, stays as it is.
    """
    tell(folder, copy(folder, solutions=solutions, force=force))
