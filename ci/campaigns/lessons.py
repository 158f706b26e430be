"""Every lesson for every class and seed, at quick: does each cell run, and do the last one's assertions hold?

    python ci/campaign.py lessons                                 all lessons, classes 0 to 9, seeds 0 to 2
    python ci/campaign.py lessons --lessons 03,04 --classes 0-4   some of them
    python ci/campaign.py lessons --diagonal                      each class once, with seed = class mod 3
    python ci/campaign.py lessons -p dataset=mnist                where a lesson has the parameter

A lesson without a class to forget runs once a seed. The runner executes them (see `unlearn run`);
with `--out` its pages stay. All combinations take about two hours on one core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import papermill as pm

from unlearn_lib.command.places import notebooks
from unlearn_lib.command.runner import TIMEOUT, check, choose, pair, prepare, run

CLASS = ("forget_class", "classes")  # what the lessons call the class to forget


class Case(NamedTuple):
    """One lesson with some parameters."""

    source: Path
    given: dict[str, str]

    @property
    def name(self) -> str:
        """Such as "03_partial forget_class=0 seed=2"."""
        return " ".join([self.source.stem, *(f"{k}={v}" for k, v in self.given.items() if k != "preset")])


def cases(
    sources: Sequence[Path],
    classes: Sequence[int],
    seeds: Sequence[int],
    more: dict[str, str],
    *,
    preset: str = "quick",
    diagonal: bool = False,
) -> Iterator[Case]:
    """All combinations; on the diagonal, every class once with one of the seeds."""
    for source in sources:
        declared = pm.inspect_notebook(str(source))
        own = {k: v for k, v in more.items() if k in declared}
        name = next((n for n in CLASS if n in declared), None)
        for seed in seeds:
            fixed = {"seed": str(seed), "preset": preset, **own}
            if name is None:
                yield Case(source, fixed)
                continue
            for c in classes:
                if not diagonal or seed == seeds[c % len(seeds)]:
                    yield Case(source, {name: str(c), **fixed})


def execute(case: Case, out: Path, solutions: bool) -> dict[str, Any]:
    """The runner's row of this case."""
    values, refused = check(case.given, [case.source])
    if refused:
        return refused[case.source]
    folder = out / "".join(c if c.isalnum() or c in "_-." else "_" for c in case.name)
    folder.mkdir(parents=True, exist_ok=True)
    timeout = 4 * TIMEOUT[case.given["preset"]]  # many of them share the machine
    return run(case.source, values[case.source], out=folder, timeout=timeout, solutions=solutions)


def numbers(text: str) -> list[int]:
    """ "0,2,5-7" as [0, 2, 5, 6, 7]."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise argparse.ArgumentTypeError(f"must be like 0-2 or 0,4,7; got {text!r}")
        found += range(int(low), int(high or low) + 1)
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="ci/campaign.py lessons", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lessons", default="", help="such as 00,03; default: all")
    parser.add_argument("--classes", type=numbers, default=list(range(10)), help="default: 0-9")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="default: 0-2")
    parser.add_argument("--diagonal", action="store_true", help="each class once, the seeds in turn")
    parser.add_argument("--preset", choices=list(TIMEOUT), default="quick", help="default: quick")
    parser.add_argument("-p", dest="more", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--solutions", action="store_true", help="the solved notebooks, exercises included")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time")
    parser.add_argument("--out", type=Path, help="keep the executed notebooks and pages here")
    args = parser.parse_args(arguments)
    folder = notebooks() / ("solutions" if args.solutions else ".")
    try:
        sources = choose([name for name in args.lessons.split(",") if name], folder)
        more = dict(map(pair, args.more))
    except ValueError as error:
        parser.error(str(error))
    options = {"preset": args.preset, "diagonal": args.diagonal}
    todo = list(cases(sources, args.classes, args.seeds, more, **options))
    with tempfile.TemporaryDirectory(prefix="unlearn-lessons-") as temporary:
        one = partial(execute, out=args.out or Path(temporary), solutions=args.solutions)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(args.jobs, spawn, prepare, ("1",)) as pool:
            held: Counter[str] = Counter()
            for done, (case, row) in enumerate(zip(todo, pool.map(one, todo), strict=True), 1):
                held[case.source.stem] += row["status"] == "ok"
                said = f"{row['status']}: {' '.join(row['error'].split())}" if row["error"] else "held"
                print(f"[{done}/{len(todo)}] {row['seconds']:6.1f} s  {case.name}: {said}", flush=True)
    tried = Counter(case.source.stem for case in todo)
    for name in tried:
        print(f"{name:18} tried {tried[name]:3}, held {held[name]:3}, failed {tried[name] - held[name]:3}")
    failed = tried.total() - held.total()
    print(f"{'all':18} tried {tried.total():3}, held {held.total():3}, failed {failed:3}", flush=True)
    return int(failed > 0)
