"""How the settings of lesson 09 were chosen: ``python ci/tune_contest.py --dataset digits [METHOD ...]``.

Every method gets a grid of a few settings, judged by the average gap to the retrained model: mean over the
requests that it applies to, over seeds and samples to forget that the lesson does not use. No test sample is
read: of a part of the training set one half decides when methods stop, the other half judges. Prints every
setting, the best one marked; the winners stand in `lesson/presets.py` as `knobs`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from unlearn_lib.classroom import session as lesson
from unlearn_lib.contest.arena import Arena
from unlearn_lib.contest.task import METHODS, Knobs, Task, noisy, three_requests

SEEDS = (100, 101)  # the lesson begins at 0
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "fine-tune": {"tune_epochs": (1, 2, 5)},
    "gradient ascent": {"climb_lr": (0.001, 0.005, 0.02, 0.05), "climb_steps": (4, 12)},
    "DeepObliviate": {"block_epochs": (4, 8, 15), "epsilon": (0.02, 0.1)},
    "UNSIR": {"penalty": (0.01, 0.1), "impair_lr": (5e-4, 2e-3, 5e-3)},
    "partial amnesiac": {"keep": (0.1, 0.3, 0.5)},
    "partial label-flip": {"flip_lr": (0.001, 0.005, 0.02, 0.1), "flip_share": (0.05, 0.2)},
    "partial optimization": {"ascent_lr": (0.001, 0.005, 0.02, 0.1), "ascent_share": (0.05, 0.2)},
    "PGU class": {"class_lr": (0.03, 0.3), "class_energy": (0.5, 0.9, 0.98)},
    "PGU samples": {"samples_lr": (0.03, 0.3), "samples_energy": (0.5, 0.9, 0.98)},
}


def arenas(dataset: str, preset: str, folder: Path) -> list[Arena]:
    """The lesson's three requests, with other seeds and samples to forget, judged without test samples."""
    session = lesson.start("side_by_side", preset=preset, dataset=dataset, seed=SEEDS[0])
    settings, seed = session.settings, SEEDS[0]
    known = noisy(session.dataset.train, settings.noise, torch.Generator().manual_seed(seed))
    held = known.head(settings.validation, seed=seed)
    stop = held.head(len(held) // 2)
    requests = three_requests(known.without(held.ids), 5, settings.forget, settings.poisoned, seed=seed)
    return [
        Arena.of(
            [
                Task(
                    *(kind, request.data, request.ids, stop, session.recipe.but(seed=s), session.build(s)),
                    *(folder / f"{kind} {s}", Knobs(**settings.knobs), request.backdoor),
                )
                for s in SEEDS
            ],
            held.without(stop.ids),
        )
        for kind, request in requests.items()
    ]


def settings_of(name: str) -> Iterator[dict[str, Any]]:
    """Every combination of a method's grid."""
    grid = GRIDS[name]
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def gap(name: str, arena: Arena, changes: dict[str, Any], folder: Path) -> float:
    """Mean over the seeds of the gap that a method leaves with these settings; infinite if they diverge."""
    tasks = tuple(task.again(folder / f"{place}", **changes) for place, task in enumerate(arena.tasks))
    tried = replace(arena, tasks=tasks)
    try:
        return fmean(tried.gap(tried.enter(name, METHODS[name], place)) for place in range(len(tried.tasks)))
    except FloatingPointError:  # these settings ruin the model
        return math.inf


def main() -> None:
    """Tune and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", help="all of: " + ", ".join(GRIDS))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--preset", default="lesson")
    chosen = parser.parse_args()
    if wrong := [name for name in chosen.methods if name not in GRIDS]:
        parser.error(f"no such method: {', '.join(wrong)}; choose from {', '.join(GRIDS)}")
    with tempfile.TemporaryDirectory(prefix="unlearn-") as top:
        every = arenas(chosen.dataset, chosen.preset, Path(top) / "originals")
        print("retrain, the floor:", *(f"{a.kind} {gap('retrain', a, {}, Path(top)):.3f}" for a in every))
        for name in chosen.methods or GRIDS:
            rows = []
            for changes in settings_of(name):
                with tempfile.TemporaryDirectory(dir=top) as folder:
                    gaps = {
                        a.kind: gap(name, a, changes, Path(folder) / a.kind)
                        for a in every
                        if a.kind not in METHODS[name].refuses
                    }
                rows.append((fmean(gaps.values()), changes, gaps))
            best = min(row[0] for row in rows)
            for mean, changes, gaps in rows:
                parts = ", ".join(f"{kind} {value:.3f}" for kind, value in gaps.items())
                print(f"{'*' if mean == best else ' '} {name:20} {mean:.3f} ({parts})  {changes}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
