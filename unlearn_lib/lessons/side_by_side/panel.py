"""The controls of lesson 09's panels: requests, audits, methods and single samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from unlearn_lib import check
from unlearn_lib.classroom.panels.controls import choice, whole
from unlearn_lib.contest.task import KINDS

__all__ = ["audit_controls", "front_controls", "gaussians_controls", "race_controls"]

FIRST = "samples"  # the request that panels show first


@check.arguments
def front_controls(across: Sequence[str], up: Sequence[str]) -> dict[str, Any]:
    """A request, and what stands on the two axes."""
    return {
        "kind": choice("Request", KINDS, FIRST),
        "across": choice("Across", across),
        "up": choice("Up", up),
    }


@check.arguments
def audit_controls(audits: Sequence[str]) -> dict[str, Any]:
    """A request, and one of these audits."""
    return {
        "kind": choice("Request", KINDS, FIRST),
        "audit": choice("Audit", audits, "loss MIA, AUC"),
    }


@check.arguments
def race_controls(methods: Collection[str]) -> dict[str, Any]:
    """A request, and one of these methods that is not retraining."""
    return {
        "kind": choice("Request", KINDS, FIRST),
        "name": choice("Method", [name for name in methods if name != "retrain"], "PGU samples"),
    }


@check.arguments
def gaussians_controls(methods: Collection[str], candidates: int) -> dict[str, Any]:
    """One of these methods, and one of so many samples."""
    return {
        "name": choice("Method", methods, "PGU samples"),
        "example": whole("Sample", 0, 0, candidates - 1),
    }
