"""How long a forgotten class takes to come back, in lessons 02 and 04."""

from __future__ import annotations

from unlearn_lib import check
from unlearn_lib.metrics.relearn import RelearnTime

__all__ = ["relearned"]


@check.arguments
def relearned(unlearned: RelearnTime, retrained: RelearnTime) -> str:
    """Sooner or later than to a model that never knew it?"""
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
