"""Commands, run in the process of the tests."""

from __future__ import annotations

import click
import pytest


def status(command: click.Command, *arguments: str) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    return int(ended.value.code or 0)
