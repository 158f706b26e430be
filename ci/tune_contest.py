"""How the settings of lesson 09 were chosen: ``python ci/tune_contest.py --dataset digits [METHOD ...]``.

With ``--workers 8`` or ``--scheduler tcp://HOST:PORT`` (Dask) many settings are tried at a time; with
``--keep DIR`` nothing is tried twice.

Every method gets a grid of a few settings, judged by the average gap to the retrained model: mean over the
requests that it applies to, over seeds and samples to forget that the lesson does not use. No test sample is
read: of a part of the training set one half decides when methods stop, the other half judges. Prints every
setting, the best one marked. The winners stand in the entries as defaults, and for other data than the digits
in `unlearn_lib/lessons/side_by_side/sizes.py` as `tuned`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unlearn_lib.classroom.session import begin
from unlearn_lib.command.cluster import executor_of
from unlearn_lib.contest.arena import Arena
from unlearn_lib.contest.entries import METHODS, configured
from unlearn_lib.contest.method import Method
from unlearn_lib.contest.task import Task, three_requests
from unlearn_lib.jobs import run_jobs
from unlearn_lib.lessons.side_by_side import LESSON
from unlearn_lib.synthetic import noisy

SEEDS = (100, 101)  # the lesson begins at 0
TUNED = tuple(name for name, method in METHODS.items() if method.grid)


def contest(
    dataset: str, preset: str, folder: Path, **where: Any
) -> tuple[list[Arena], dict[str, Method[Any]]]:
    """The lesson's three requests, with other seeds and samples to forget, judged without test samples."""
    session = begin(LESSON, preset=preset, dataset=dataset, seed=SEEDS[0])
    sizes, seed = session.sizes, SEEDS[0]
    known = noisy(session.dataset.train, sizes.noise, torch.Generator().manual_seed(seed))
    held = known.head(sizes.validation, seed=seed)
    stop = held.head(len(held) // 2)
    requests = three_requests(known.without(held.ids), 5, sizes.forget, sizes.poisoned, seed=seed)
    arenas = [
        Arena.of(
            [
                Task(
                    kind=kind,
                    data=request.data,
                    ids=request.ids,
                    validation=stop,
                    recipe=session.recipe.but(seed=s),
                    initial=session.build(s),
                    folder=folder / f"{kind} {s}",
                    backdoor=request.backdoor,
                )
                for s in SEEDS
            ],
            held.without(stop.ids),
            **where,
        )
        for kind, request in requests.items()
    ]
    return arenas, configured(sizes.tuned)


def settings_of(method: Method[Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a method's grid."""
    for values in itertools.product(*method.grid.values()):
        yield dict(zip(method.grid, values, strict=True))


def gap(method: Method[Any], arena: Arena) -> float:
    """The gap that a method leaves, averaged over the seeds; infinite if it diverges."""
    with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
        tried = arena.apart(Path(folder))
        try:
            return fmean(tried.gap(tried.enter(method, place)) for place in range(len(tried.tasks)))
        except FloatingPointError:  # these settings ruin the model
            return math.inf


def gaps(
    methods: list[Method[Any]], arenas: list[Arena], **where: Any
) -> list[tuple[float, dict[str, float]]]:
    """The mean gap of every method, and its gap on every kind of request that it applies to."""
    tried = [(m, arena) for m in methods for arena in arenas if arena.kind not in m.refuses]
    found = iter(run_jobs(gap, *zip(*tried, strict=True), **where))
    rows = [{a.kind: next(found) for a in arenas if a.kind not in m.refuses} for m in methods]
    return [(fmean(row.values()), row) for row in rows]


def main() -> None:
    """Tune and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help="all of: " + ", ".join(TUNED))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--preset", default="lesson")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 tries everything here")
    parser.add_argument("--scheduler", help="of a Dask cluster, such as tcp://HOST:8786")
    parser.add_argument("--keep", type=Path, help="a folder for what was found")
    chosen = parser.parse_args()
    if wrong := [name for name in chosen.methods if name not in TUNED]:
        parser.error(f"no such method: {', '.join(wrong)}; choose from {', '.join(TUNED)}")
    with tempfile.TemporaryDirectory(prefix="unlearn-") as top, executor_of(chosen.scheduler) as executor:
        where = {"workers": chosen.workers, "executor": executor, "keep": chosen.keep}
        arenas, methods = contest(chosen.dataset, chosen.preset, Path(top), **where)
        [(_, floor)] = gaps([METHODS["retrain"]], arenas, **where)
        print("retrain, the floor:", *(f"{kind} {value:.3f}" for kind, value in floor.items()))
        for name in chosen.methods or TUNED:
            settings = list(settings_of(methods[name]))
            found = gaps([methods[name].but(**changes) for changes in settings], arenas, **where)
            best = min(mean for mean, _ in found)
            for changes, (mean, row) in zip(settings, found, strict=True):
                parts = ", ".join(f"{kind} {value:.3f}" for kind, value in row.items())
                print(f"{'*' if mean == best else ' '} {name:20} {mean:.3f} ({parts})  {changes}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
