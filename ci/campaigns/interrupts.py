"""Cells stopped at random moments and run again, in one process, as with Jupyter's Stop button.

IPython runs a cell that trains, forgets and commits; an interrupt comes at a random moment, and IPython keeps
the traceback with all its frames. The same cell, run again, must end, with the digest of an undisturbed run;
and gradients must be on as before. POSIX only.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from campaigns._jobs import JOBS, loop, slowly
from IPython.core.interactiveshell import InteractiveShell

CELL = "digest = job(folder, drive)"


def main(arguments: list[str]) -> int:
    """Returns 0 if every cell could be run again."""
    parser = argparse.ArgumentParser(prog="campaign.py interrupts", description=__doc__)
    parser.add_argument("--n", type=int, default=60, help="interrupts")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance, failed, hits, kept = random.Random(options.seed), 0, 0, []
    shell = InteractiveShell.instance()
    shell._showtraceback = lambda *_: None  # type: ignore[method-assign]  # kept, not printed
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as root:
        wanted, seconds = {}, {}
        for name, job in JOBS.items():
            job(Path(root) / f"warm {name}", slowly)
            begun = time.perf_counter()
            wanted[name] = job(Path(root) / name, slowly)
            seconds[name] = time.perf_counter() - begun
        for number in range(options.n):
            name = list(JOBS)[number % len(JOBS)]
            drive = slowly if number // len(JOBS) % 2 else loop
            shell.user_ns.update(job=JOBS[name], folder=Path(root) / f"stopped {number}", drive=drive)
            first = _stopped(shell, chance.uniform(0.001, seconds[name]))
            hits += isinstance(first, KeyboardInterrupt)
            kept.append((first, sys.exc_info()))
            grad = torch.is_grad_enabled()
            torch.set_grad_enabled(True)
            again = shell.run_cell(CELL)
            found = again.error_in_exec or shell.user_ns["digest"]
            if first is not None and not isinstance(first, KeyboardInterrupt):
                found = f"the interrupt became {type(first).__name__}: {first}"
            if found != wanted[name] or not grad:
                failed += 1
                print(f"{number} {name} ({drive.__name__}): {found!r:.300}; gradients {grad}")
    print(f"tried {options.n} cells, {hits} stopped; held {options.n - failed}; failed {failed}")
    return int(failed > 0)


def _stopped(shell: InteractiveShell, seconds: float) -> Any:
    """How the cell ended, with an interrupt after this many seconds."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        result = shell.run_cell(CELL)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt as late:  # it came outside the cell
        return late
    return result.error_in_exec
