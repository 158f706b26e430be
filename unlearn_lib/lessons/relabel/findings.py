"""What lesson 05 may say of a run: the class, the price, the single samples and the attack on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearn_lib import check
from unlearn_lib.classroom.words import percent, points

__all__ = ["attack", "class_request", "price", "samples", "summary"]

Parts = Mapping[str, Mapping[str, float]]


@check.arguments
def class_request(scores: Parts) -> str:
    """How near relabeling comes to the retrained model: model -> part -> accuracy."""
    forget, kept = "class to forget", "other classes"
    gap = scores["retrained"][kept] - scores["relabeled"][kept]
    left = scores["relabeled"][forget]
    gone = (
        f"The model still gets {percent(left)} of the class right"
        if left > scores["retrained"][forget] + 0.05
        else "The class is gone, as it is from the retrained model"
    )
    price = (
        f"and the other classes are {points(gap)} below it."
        if gap > 0.02
        else "and the other classes are about as good."
    )
    return f"{gone}, {price}"


@check.arguments
def price(seconds: Mapping[str, float], reads: Mapping[str, float]) -> str:
    """What relabeling and UNSIR took, in seconds and in images shown to the net, noise among them."""
    ratio = seconds["relabel"] / seconds["UNSIR"] if seconds["UNSIR"] else 1.0
    told = (
        f"In this run relabeling takes {percent(ratio)} of UNSIR's time: it has no noise to learn."
        if ratio < 0.9
        else "In this run relabeling takes as long as UNSIR: its share of the retain set is the reason."
    )
    more = "more" if reads["relabel"] > reads["UNSIR"] else "fewer"
    return (
        f"{told} It is shown {more} images, and among them are those of the class, which UNSIR never reads."
    )


@check.arguments
def samples(forgotten: Sequence[float], level: float) -> str:
    """Single samples: accuracy on them before and after each pass, and that of the retrained model."""
    below = next((k for k, value in enumerate(forgotten) if value < level - 0.05), None)
    if below is None:
        return (
            f"After pass {len(forgotten) - 1} relabeling is still not below the retrained model: "
            f"{percent(forgotten[-1])} of these samples are right, against {percent(level)}."
        )
    return (
        f"**Over-forgetting.** The retrained model, which never saw these samples, gets {percent(level)} of "
        f"them right. Relabeling falls below that at pass {below}, and ends at {percent(forgotten[-1])}: it "
        "is taught to be wrong, and nothing tells it when to stop."
    )


@check.arguments
def attack(auc: Mapping[str, float], error: float) -> str:
    """The loss attack by model, and its standard error under chance."""
    apart = auc["all passes"] - auc["retrained"]
    both = f"{auc['all passes']:.2f} after all passes, {auc['retrained']:.2f} for the retrained model"
    if abs(apart) <= 1.96 * error:
        return f"The attack finds {both}: on average it cannot tell them apart here."
    side = "too high" if apart < 0 else "too low"
    return f"The attack sees it: {both}. Losses that are {side} give deleted samples away."


@check.arguments
def summary(scores: Parts, forgotten: float, level: float) -> str:
    """Both requests in one line: scores on the class, and accuracy on the samples after all passes."""
    left = scores["relabeled"]["class to forget"] - scores["retrained"]["class to forget"]
    whole = "forgot the class" if left <= 0.05 else "did not quite forget the class"
    single = "over-forgot the samples" if forgotten < level - 0.05 else "did not over-forget the samples"
    return f"- In this run relabeling {whole} and, pass by pass, {single}."
