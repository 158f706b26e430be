"""What lesson 00 may say of a run: the two requests on the moons, members, and the canary."""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_lib import check
from unlearn_lib.classroom.words import listed, percent, points

__all__ = ["canary", "members", "over_forgetting", "requests", "scorecard", "summary"]

ByRequest = Mapping[str, float]
LOOKS_WELL = 0.2  # a gap on few points that is no larger looks well


@check.arguments
def requests(retrained: ByRequest) -> str:
    """What the retrained model knows of points that it never saw, by request."""
    ordinary, mislabeled = retrained["ordinary"] > 0.5, retrained["mislabeled"] > 0.5
    told = [
        "The retrained model gets ordinary points right **because its other points teach the same**. "
        "Knowing them is not memory but generalization."
        if ordinary
        else "In this run the retrained model gets most of the ordinary points wrong: it was trained too "
        "little, or the points left do not teach them. Try the default learning rate.",
        'It gets the mislabeled points "right" as well, so more than these points taught the wrong label '
        "here."
        if mislabeled
        else "The mislabeled points were known by heart, if at all, and nothing else supports them.",
        "So the right score on a forget set depends on the samples, and only the retrained model knows it.",
    ]
    return " ".join(told)


@check.arguments
def over_forgetting(forget: float, test: float, reference: float) -> str:
    """What ascent on the ordinary points has come to.

    Args:
        forget: accuracy on these points after it.
        test: test accuracy after it.
        reference: test accuracy of the retrained model.
    """
    if forget > 0:
        return (
            f"Ascent at this learning rate does not get there: {percent(forget)} of the ordinary points are "
            "still right."
        )
    lost = reference - test
    harm = (
        f"It harms everybody else: test accuracy is {points(lost)} below that of the retrained model. And it"
        if lost > 0.02
        else "In this run it harms the test points little. But it"
    )
    return (
        f"**For ordinary points 0 % is over-forgetting.** {harm} gives the deleted points away: no model "
        "that never saw them would be so wrong about them. (For *mislabeled* points and for a *whole class* "
        "that is different: there the retrained model itself is near 0 %.)"
    )


@check.arguments
def members(auc: Mapping[str, float], error: float) -> str:
    """What the loss attack says of each model.

    Args:
        auc: by role: original, retrained, unlearned.
        error: its standard error under chance.
    """
    if auc["original"] - auc["retrained"] <= 1.96 * error:
        return (
            "In this run the attack finds little even in the original: it cannot judge whether anything was "
            "forgotten."
        )
    gap = auc["unlearned"] - auc["retrained"]
    verdict = (
        "the fine-tuned model still remembers"
        if gap > 1.96 * error
        else "the fine-tuned model is over-forgotten"
        if gap < -1.96 * error
        else "by this attack the fine-tuned model has forgotten"
    )
    return (
        f"Here {auc['original']:.2f} for the original, {auc['retrained']:.2f} for the retrained and "
        f"{auc['unlearned']:.2f} for the fine-tuned model: {verdict}."
    )


@check.arguments
def canary(success: Mapping[str, float], clean: Mapping[str, float]) -> str:
    """Is the mark gone, and would test accuracy have told? Both by role."""
    if success["original"] < 0.5:
        return (
            "In this run the original itself hardly obeys the mark, so there is no canary to watch: mark "
            "more images, or train for longer."
        )
    lives = success["unlearned"] > success["retrained"] + 0.1
    alike = abs(clean["unlearned"] - clean["retrained"]) <= 0.03
    told = ["Fine-tuning never mentions the mark, so it has no reason to unlearn it"]
    told[0] += (
        f": it still works on {percent(success['unlearned'])} of the images."
        if lives
        else ". Here it fades all the same, and the canary is silent."
    )
    if alike:
        told.append("Test accuracy matches that of the retrained model, and reveals nothing.")
    return " ".join(told)


@check.arguments
def scorecard(gap: float, floor: float) -> str:
    """Fine-tuning on the forget set: its distance to the retrained model, and the noise floor."""
    if gap > floor + 0.02:
        return (
            f"On the forget set fine-tuning is {points(gap)} away from the reference, more than retrained "
            "models from each other."
        )
    return (
        "On the forget set fine-tuning is about as near to the reference as retrained models are to each "
        "other."
    )


@check.arguments
def summary(gaps: ByRequest, success: Mapping[str, float]) -> str:
    """Fine-tuning on the moons, by request its distance to the retrained model, and on the canary."""
    well = [name for name, gap in gaps.items() if gap <= LOOKS_WELL]
    moons = (
        "looked fine on the moons"
        if len(well) == len(gaps)
        else f"looked fine on the moons for the {listed(well)} points only"
        if well
        else "did not even look fine on the moons"
    )
    lives = success["original"] >= 0.5 and success["unlearned"] > success["retrained"] + 0.1
    images = "left the canary alive on images" if lives else "silenced the canary on images"
    return f"- In this run fine-tuning {moons}, and {images}. One test is not enough."
