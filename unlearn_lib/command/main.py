"""The command `unlearn`: its subcommands, each loaded when it is first needed, so that help comes at once."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click

from unlearn_lib import __version__


class Entry(NamedTuple):
    """A subcommand.

    Args:
        module: the one of this room that has it, as `NAME_command`.
        help: its line in the list.
        extra: which extra of the distribution it needs.
    """

    module: str
    help: str
    extra: str = "lab"


COMMANDS = {
    "lessons": Entry("folder", "Copy the lessons into a folder of yours."),
    "lab": Entry("lab", "Open the lessons in JupyterLab."),
    "check": Entry("environment", "Is everything here that the lessons need?"),
    "run": Entry("runner", "Run lessons without a browser."),
    "sweep": Entry("sweep", "Run lessons over a grid of parameters."),
    "site": Entry("site", "Make an offline site of lessons that were run."),
}


class MissingPackageError(click.ClickException):
    """A command needs a package that is not installed."""

    exit_code = 2


class Group(click.Group):
    """A group whose commands are in the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the one in which a learner meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command.

        Raises:
            MissingPackageError: with the remedy.
        """
        if not (entry := COMMANDS.get(cmd_name)):
            return None
        try:
            module = import_module(f"unlearn_lib.command.{entry.module}")
        except ModuleNotFoundError as missing:
            if (missing.name or "").startswith("unlearn_lib"):
                raise
            remedy = f'python -m pip install "unlearn-lessons[{entry.extra}]"'
            raise MissingPackageError(f"{missing.name} is missing; {remedy} brings it.") from missing
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="unlearn-lessons %(version)s")
def unlearn() -> None:
    """Machine unlearning, taught by running it.

    \b
        unlearn lab                          copy the lessons and open the first one
        unlearn check                        is everything here that they need?
        unlearn run 01 --preset quick        run a lesson without a browser

    `unlearn COMMAND --help` tells more.
    """
