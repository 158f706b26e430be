"""The lessons at a size that takes seconds: all that they show is there, but nothing is forgotten well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearn_lib.lessons.sizes import PRESETS

SMALL: dict[str, dict[str, Any]] = {
    "start": {"train": 200, "test": 100, "points": 80, "forget": 40, "poisoned": 10, "tuning": 1},
    "deepobliviate": {"test": 100, "blocks": 20, "block": 2, "poisoned_block": 15, "poisoned": 20}
    | {"recipe": {"lr": 0.1, "batch_size": 16, "epochs": 1}},
    "unsir": {"train": 300, "test": 120, "per_class": 12, "relearn": 1, "runs": 1, "modes": ("corrected",)}
    | {"rates": (0.02,), "penalties": (0.1,), "recipe_changes": {"images": 8, "noise_steps": 5}}
    | {"recipe": {"optimizer": "adam", "lr": 3e-3, "batch_size": 16, "epochs": 2}},
    "partial": {"train": 300, "test": 120, "batches": 3, "seeds": 1, "steps": 12}
    | {"recipe": {"optimizer": "adam", "lr": 0.01, "batch_size": 16, "epochs": 3}},
    "pgu": {"model": "mlp", "train": 300, "test": 120, "samples": 12, "recipe": {"lr": 0.1, "epochs": 6}},
    "relabel": {"train": 300, "test": 120, "samples": 30, "passes": 2, "per_class": 12}
    | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 3}},
    "side_by_side": {"train": 300, "test": 120, "validation": 100, "forget": 20, "poisoned": 10, "seeds": 2}
    | {"shadows": 16, "base": 60, "candidates": 8}
    | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 4}},
}


def at_quick(master: Path, *, verdict: bool = False) -> str:
    """A master's text at preset quick; without `verdict` it lacks its last cell, which asserts."""
    text = master.read_text(encoding="utf-8").replace('= "lesson"  #', '= "quick"  #')
    return text if verdict else text.split('# %% tags=["ci-assert"]')[0]


def small(topic: str) -> dict[str, Any]:
    """The sizes of a lesson at preset quick on the digits, with those that take long made small."""
    return {**PRESETS[topic]["digits"]["quick"], **SMALL[topic]}


def shrink() -> None:
    """From now on, in this process, preset quick on the digits is small in every lesson."""
    for topic in SMALL:
        PRESETS[topic]["digits"]["quick"] = small(topic)
