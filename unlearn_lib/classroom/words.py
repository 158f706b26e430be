"""Numbers in words, alike in all lessons."""

from __future__ import annotations

from collections.abc import Iterable

from unlearn_lib import check
from unlearn_lib.metrics.relearn import RelearnTime

__all__ = ["amount", "listed", "many", "percent", "points", "relearned"]


@check.arguments
def percent(share: float) -> str:
    """A share in percent."""
    return f"{share:.1%}"


@check.arguments
def points(difference: float) -> str:
    """The size of the difference between two shares: 0.031 is "3.1 points"."""
    return f"{100 * abs(difference):.1f} points"


@check.arguments
def amount(count: int, noun: str) -> str:
    """A number and its noun: "1 sample", "1,437 samples"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@check.arguments
def many(count: int, noun: str) -> str:
    """ "no run", "1 run", "3 runs"."""
    return f"{count or 'no'} {noun}{'' if count <= 1 else 's'}"


@check.arguments
def listed(names: Iterable[str], mark: str = "") -> str:
    """The names in a row: a, b and c; "none" if there are none. Names with commas need a mark such as "*"."""
    *most, last = [f"{mark}{name}{mark}" for name in names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


@check.arguments
def relearned(unlearned: RelearnTime, retrained: RelearnTime) -> str:
    """Does a forgotten class come back sooner or later than in a model that never knew it?"""
    if retrained.censored:
        return (
            f"The retrained model does not get there within {retrained.batches} batches, so the index is "
            "undefined here."
        )
    if unlearned.censored or unlearned.batches > 1.25 * retrained.batches:
        return "It comes back later than in a model that never knew it: the network was pushed away from it."
    if unlearned.batches < 0.8 * retrained.batches:
        return "It comes back sooner than in a model that never knew it: a part was hidden, not removed."
    return "It comes back about as late as in a model that never knew it."
