"""Runs killed at random moments: started again, each must end exactly like one that was never disturbed.

A process trains a store, forgets from it and commits; it gets SIGKILL at a random moment, up to three times;
then the job is run to its end. The digest must be that of an undisturbed run, and nothing half-written or
outdated may be left in the folder. POSIX only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

from campaigns._jobs import JOBS, slowly, work


def main(arguments: list[str]) -> int:
    """Returns 0 if every job ended as it should."""
    parser = argparse.ArgumentParser(prog="campaign.py kills", description=__doc__)
    parser.add_argument("--n", type=int, default=60, help="jobs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance, failed, kills = random.Random(options.seed), 0, 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["campaigns._jobs"])
    with tempfile.TemporaryDirectory() as root:
        wanted, seconds = {}, {}
        for name, job in JOBS.items():
            begun = time.perf_counter()
            wanted[name] = job(Path(root) / name, slowly)
            seconds[name] = time.perf_counter() - begun
            wanted[name] += f" {_names(Path(root) / name)}"
        for number in range(options.n):
            name = list(JOBS)[number % len(JOBS)]
            folder = Path(root) / f"killed {number}"
            for _ in range(chance.randint(1, 3)):
                child = context.Process(target=work, args=(name, folder))
                child.start()
                child.join(chance.uniform(0, 1.2 * seconds[name] + 0.1))
                child.kill()
                child.join()
                kills += child.exitcode == -9
            try:
                found = f"{JOBS[name](folder, slowly)} {_names(folder)}"
            except Exception as error:  # whatever it is, the job did not end
                found = f"{type(error).__name__}: {error}"
            if found != wanted[name]:
                failed += 1
                print(f"{number} {name}: {found[:300]}; wanted {wanted[name][:120]}")
    print(f"tried {options.n} jobs, {kills} kills; held {options.n - failed}; failed {failed}")
    return int(failed > 0)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")
