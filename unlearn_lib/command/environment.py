"""`unlearn check`: lesson 00's look at the environment."""

from __future__ import annotations

import sys

import click

from unlearn_lib.classroom.environment import check


@click.command("check", short_help="Is everything here that the lessons need?")
@click.option(
    "--dataset", default="digits", show_default=True, metavar="NAME", help="Whose files must be there."
)
def check_command(dataset: str) -> None:
    """Is everything here that the lessons need? A line a requirement, with a remedy where it is not met.

    \b
        unlearn check
        unlearn check --dataset mnist        its files too, in $UNLEARN_DATA

    The exit status is 1 when something is missing.
    """
    sys.exit(not check(dataset).ok)
