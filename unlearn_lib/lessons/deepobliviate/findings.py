"""What lesson 01 may say of a run: what fades, what the stop costs, order, distance, the backdoor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearn_lib import check
from unlearn_lib.classroom.words import percent, points

__all__ = ["backdoor", "distance", "epsilon", "fading", "order"]


@check.arguments
def fading(window: Sequence[float], gap: Sequence[float], stop: int | None) -> str:
    """Do the two chains come to learn the same, and do they come together?

    Args:
        window: Δ_k from the last deletion on.
        gap: G_k of the same blocks.
        stop: the number of residuals after which the rule stops; None: never.
    """
    together, alike = gap[-1] < gap[0] / 3, window[-1] < window[0] / 3
    told = [
        "Here the two networks even come close to each other again."
        if together
        else "Two networks that have parted do not come together again: $G$ stays far above zero, and "
        "says nothing about *when to stop*."
    ]
    if alike:
        told.append(
            "But they soon learn the same things from the same data: their *increments* agree up to a small "
            "floor. Stitching needs just that, since $M = M'_T + \\sum_{k>T} (P_k - P_{k-1})$ borrows "
            "exactly those increments."
        )
    else:
        told.append(
            "They do not come to learn the same things here either: their *increments*, which stitching "
            "borrows in $M = M'_T + \\sum_{k>T} (P_k - P_{k-1})$, stay different."
        )
    if stop is None:
        told.append("The rule never stops, and unlearning is retraining.")
    elif not alike:
        told.append(f"The rule stops all the same, after {stop} residuals: flat does not mean small.")
    return " ".join(told)


@check.arguments
def epsilon(accuracies: Sequence[float]) -> str:
    """Does test accuracy feel the stop? That of the models stitched at the stops of all epsilons."""
    spread = max(accuracies) - min(accuracies)
    if spread <= 0.01:
        return (
            f"Test accuracy hardly feels the stop: all these models are within {points(spread)}. It cannot "
            "tell a good epsilon from a bad one."
        )
    return f"Test accuracy does feel the stop here: these models differ by up to {points(spread)}."


@check.arguments
def order(same: float, shuffled: float) -> str:
    """The last residuals with the same order, and when untouched blocks are shuffled anew."""
    if shuffled > 1.5 * same:
        return (
            f"With a new shuffle the late residual is {shuffled / same:.1f} times as large: it measures the "
            "shuffle, and hides what the deletion did."
        )
    return "In this run the shuffle adds little: what the deletion did is just as large."


@check.arguments
def distance(start: float, end: float, untouched: float) -> str:
    """Distance to the retrained model: stitched at once, stitched at the end of the chain, nothing done."""
    if start > untouched:
        return (
            "In *parameters* it is not, while $t$ is small: at $t = 0$ the original is even closer. Equal "
            "accuracy is not equality, and no proof of deletion."
        )
    return (
        "In *parameters* the stitched model is closer than the original here, but not there until $t$ "
        "reaches the end of the chain. Equal accuracy is not equality, and no proof of deletion."
        if start > end
        else "In this run it is. But equal accuracy alone would be no proof of it."
    )


@check.arguments
def backdoor(success: Mapping[str, float], after: Mapping[int, float]) -> str:
    """Does the final model carry the backdoor, and from which t on is it gone?

    Args:
        success: of "original" and "retrained".
        after: t -> success of the model stitched after t more blocks.
    """
    if success["original"] < 0.5:
        return (
            f"**The final model hardly carries the backdoor** ({percent(success['original'])}): the chain "
            "forgot it by itself, and its absence below proves nothing."
        )
    gone = [t for t, value in after.items() if value <= success["retrained"] + 0.02]
    if gone and min(gone) == min(after):
        return (
            "The final model carries the backdoor, and it is gone as soon as the poisoned block is retrained."
        )
    if gone:
        return (
            f"The final model carries the backdoor; it is gone from $t = {min(gone)}$ on."
            if all(t in gone for t in after if t >= min(gone))
            else f"The final model carries the backdoor; it is first gone at $t = {min(gone)}$, but not for "
            "good."
        )
    least = min(after.values())
    return (
        f"The final model carries the backdoor, and no stop shown here takes it away: {percent(least)} is "
        "left at best."
    )
