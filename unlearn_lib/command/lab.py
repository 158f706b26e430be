"""`unlearn lab`: the lessons in JupyterLab."""

from __future__ import annotations

from pathlib import Path

import click
from jupyterlab.labapp import LabApp

from unlearn_lib.command.folder import FOLDER, copy, in_short


@click.command(
    "lab", short_help="Open the lessons in JupyterLab.", context_settings={"ignore_unknown_options": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[DIR] [OPTIONS OF JUPYTERLAB]...")
def lab_command(arguments: tuple[str, ...]) -> None:
    """Open the lessons in JupyterLab; they are copied first, as by `unlearn lessons`.

    \b
        unlearn lab                          in the folder unlearn-lessons
        unlearn lab ~/course
        unlearn lab -- --no-browser --port 9000
    """
    named = bool(arguments) and not arguments[0].startswith("-")
    name, *options = arguments if named else (FOLDER, *arguments)
    folder = Path(name)
    done = copy(folder)
    click.echo(in_short(folder, done))
    if done.new:
        options.insert(0, f"--LabApp.default_url=/lab/tree/{min(done.new)}")
    LabApp.launch_instance([str(folder), *options])
