"""Numbers in words, alike in all lessons."""

from __future__ import annotations

from collections.abc import Iterable

from unlearn_lib import check

__all__ = ["listed", "many", "percent", "points"]


@check.arguments
def percent(share: float) -> str:
    """A share in percent."""
    return f"{share:.1%}"


@check.arguments
def points(difference: float) -> str:
    """The size of a difference of two shares: 0.031 is "3.1 points"."""
    return f"{100 * abs(difference):.1f} points"


@check.arguments
def many(count: int, noun: str) -> str:
    """ "no run", "1 run", "3 runs"."""
    return f"{count or 'no'} {noun}{'' if count <= 1 else 's'}"


@check.arguments
def listed(names: Iterable[str], mark: str = "") -> str:
    """The names in a row: a, b and c; "none" if there is none. Names with commas want a mark, such as "*"."""
    *most, last = [f"{mark}{name}{mark}" for name in names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last
