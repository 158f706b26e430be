"""Run lessons without a browser: `unlearn run`, as a script of the checkout."""

from __future__ import annotations

from unlearn_lib.command.runner import run_command

if __name__ == "__main__":
    run_command(prog_name="run_notebooks.py")
