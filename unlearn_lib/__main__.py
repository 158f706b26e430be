"""The command `unlearn`, also as ``python -m unlearn_lib``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say what to install where it cannot run."""
    try:
        from unlearn_lib.command.main import unlearn
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        remedy = 'python -m pip install "unlearn-lessons[lab]"'
        sys.stderr.write(f"unlearn: the packages of the lessons are missing; {remedy} brings them.\n")
        sys.exit(2)
    unlearn(prog_name="unlearn")


if __name__ == "__main__":
    main()
