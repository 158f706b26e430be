"""The settings of methods in lesson 09, from the short names that its sizes know them under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearn_lib import check
from unlearn_lib.contest.entries import METHODS, configured
from unlearn_lib.contest.method import Method

__all__ = ["methods"]

NAMES: dict[str, list[tuple[str, str]]] = {
    "tune_epochs": [("fine-tune", "epochs")],
    "climb_lr": [("gradient ascent", "lr")],
    "climb_steps": [("gradient ascent", "steps")],
    "shards": [("SISA", "shards")],
    "slices": [("SISA", "slices")],
    "blocks": [("DeepObliviate", "blocks")],
    "block_epochs": [("DeepObliviate", "epochs")],
    "epsilon": [("DeepObliviate", "epsilon")],
    "images": [("UNSIR", "images")],
    "penalty": [("UNSIR", "penalty")],
    "impair_lr": [("UNSIR", "impair_lr")],
    "keep": [("partial amnesiac", "keep")],
    "sensitive": [("amnesiac", "sensitive"), ("partial amnesiac", "sensitive")],
    "flip_lr": [("partial label-flip", "lr")],
    "flip_share": [("partial label-flip", "share")],
    "ascent_lr": [("partial optimization", "lr")],
    "ascent_share": [("partial optimization", "share")],
    "class_lr": [("PGU class", "lr")],
    "class_energy": [("PGU class", "energy")],
    "samples_lr": [("PGU samples", "lr")],
    "samples_energy": [("PGU samples", "energy")],
}


def methods(knobs: Mapping[str, Any]) -> dict[str, Method[Any]]:
    """All methods, with these settings."""
    found = dict(METHODS)
    for knob, value in check.instance("knobs", knobs, Mapping).items():
        for name, setting in NAMES[check.choice("knobs", knob, NAMES)]:
            found[name] = found[name].but(**{setting: value})
    return configured({name: method.settings for name, method in found.items()})
