"""What lesson 02 may say of a run: the noise, the controls, the published bug, what comes back."""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_lib import check
from unlearn_lib.classroom.words import listed, percent, points
from unlearn_lib.lessons.unsir.figures import Scores
from unlearn_lib.methods.unsir.noise import Noise

__all__ = [
    "defects",
    "grid",
    "noises",
    "published",
    "rebound",
    "recalibration",
    "stages",
    "summary",
]

FORGOTTEN = 0.1  # test accuracy on a class at or below which we call it forgotten here
ALIKE = 0.01  # a smaller difference of accuracies counts as none


@check.arguments
def noises(found: Mapping[str, Noise]) -> str:
    """Two phases or not? What norm and cross-entropy of each noise do, by the label of its λ."""
    told, two = [], []
    for label, noise in found.items():
        norm, low = noise.norm, min(noise.norm)
        shrinks, grows = low < 0.9 * norm[0], norm[-1] > 1.1 * low
        attacks = noise.ce[-1] > 1.5 * noise.ce[0]
        if shrinks and grows:
            two.append(label)
            told.append(f"{label}: the norm shrinks first and grows later")
        elif grows:
            told.append(
                f"{label}: the penalty is too light to shrink anything, and the norm grows nearly from the "
                "start"
            )
        elif shrinks:
            told.append(
                f"{label}: the norm shrinks and the cross-entropy rises at the same time"
                if attacks
                else f"{label}: the images shrink toward the mean image, and in so few steps there is hardly "
                "an attack"
            )
        else:
            told.append(
                f"{label}: the norm hardly moves, {'though' if attacks else 'and'} the cross-entropy "
                f"{'rises' if attacks else 'hardly rises'}"
            )
    tale = (
        f"The tale of two phases is true of {listed(two)}."
        if two
        else "The tale of two phases is not what happens on these images."
    )
    lines = "\n".join(f"- {one}." for one in told)
    return f"{tale}\n\n{lines}\n\nExplain $\\lambda$ by the number of pixels, never as a magic number."


@check.arguments
def stages(before: Scores, impaired: Scores, repaired: Scores, peak: float) -> str:
    """What impair and repair do to both accuracies.

    Args:
        before: the original.
        impaired: after the impair epoch.
        repaired: after the repair epoch.
        peak: the highest forget accuracy on the way.
    """
    told = []
    if peak > before.forget + ALIKE:
        told.append(
            "The way down is not straight: forget accuracy rises above that of the original, since in "
            'the first mini-batches "garbage is $c$" can make the network say $c$ *more* often.'
        )
    cost, back = before.retain - impaired.retain, repaired.retain - impaired.retain
    told.append(
        f"Impair costs {points(cost)} of retain accuracy"
        if cost > ALIKE
        else "Impair costs hardly any retain accuracy"
    )
    told[-1] += (
        f", and repair brings {points(back)} back."
        if back > ALIKE
        else ", and repair costs more."
        if back < -ALIKE
        else ", and repair changes little."
    )
    return " ".join(told)


@check.arguments
def grid(cells: Mapping[str, Mapping[float, Scores]]) -> str:
    """Rate or noise? Scores by row (the last is "no noise") and learning rate."""
    quiet = cells["no noise"]
    alone = [rate for rate, s in quiet.items() if s.forget <= FORGOTTEN]
    told = [
        f"With no noise at all the class is forgotten at {listed(f'{r:g}' for r in alone)}: there the rate "
        "forgets, and the noise is decoration."
        if alone
        else "With no noise at all the class is forgotten at none of these rates."
    ]
    learned = {
        rate
        for row, found in cells.items()
        if row.startswith("learned")
        for rate, s in found.items()
        if s.forget <= FORGOTTEN and s.retain >= 0.9 and rate not in alone
    }
    told.append(
        "Learned noise forgets and retains where no noise does not forget, at "
        f"{listed(f'{r:g}' for r in sorted(learned))}: that is its window."
        if learned
        else "At no rate does learned noise forget and retain unless the rate alone forgets as well: "
        "here the noise has no window of its own."
    )
    return " ".join(told)


@check.arguments
def published(row: Mapping[str, float]) -> str:
    """Are the two classes gone? Test accuracy by "class ..." after the recipe as published."""
    left = {name: value for name, value in row.items() if name.startswith("class")}
    stays = [name for name, value in left.items() if value > FORGOTTEN]
    if len(stays) == len(left):
        return "As published, neither class is gone. Why?"
    if stays:
        return f"As published, {listed(stays)} is not gone. Why?"
    return "As published, both classes are gone here. But for the right reason?"


@check.arguments
def defects(replays: Mapping[str, Mapping[str, float]]) -> str:
    """Which defect does the harm, and whether the published rates give any of them away.

    Args:
        replays: test accuracy by "class ..." and "others", by variant: "repaired", perhaps "only A", "only B"
            and "only C", and at high rates "as published,<br>high rates" and "no noise,<br>high rates".
    """

    def stays(variant: str) -> list[str]:
        return [n for n, value in replays[variant].items() if n.startswith("class") and value > FORGOTTEN]

    told = []
    tried = [name for name in ("only A", "only B", "only C") if name in replays]
    harmful, harmless = [n for n in tried if stays(n)], [n for n in tried if not stays(n)]
    if tried:
        told.append(
            f"Alone, {listed(harmful)} {'keeps' if len(harmful) == 1 else 'keep'} a class alive"
            + (f"; {listed(harmless)} {'does' if len(harmless) == 1 else 'do'} not." if harmless else ".")
            if harmful
            else "No defect alone keeps a class alive here."
        )
    if "only B" in harmless:
        told.append(
            "So do not blame the label too soon: all the images of the noise still shake the network, "
            "whatever they are called. Three images shake it less."
        )
    if left := stays("repaired"):
        told.append(f"Even the repaired recipe leaves more than a tenth of {listed(left)} here.")
    high, quiet = stays("as published,<br>high rates"), stays("no noise,<br>high rates")
    if not high:
        told.append(
            "At the published *rates* the defective recipe drops both classes"
            + (
                ". But so does no noise at all: that is why the result does not give the defects away."
                if not quiet
                else "."
            )
        )
    else:
        told.append(f"At the published *rates*, too, {listed(high)} is not gone.")
    return " ".join(told)


@check.arguments
def rebound(ends: Mapping[str, tuple[float, float]]) -> str:
    """Forget accuracy after the first repair epoch and after the last, by net."""
    back = [net for net, (first, last) in ends.items() if last > first + 0.05]
    if not back:
        return "In this run the class does not come back."
    others = [net for net in ends if net not in back]
    seen = ", ".join(f"{net} from {percent(ends[net][0])} to {percent(ends[net][1])}" for net in back)
    return f"**It comes back**, though no image of it is shown: {seen}." + (
        f" With {listed(others)} it does not." if others else ""
    )


@check.arguments
def recalibration(before: float, after: float) -> str:
    """Forget accuracy of the unlearned net with batch norm, as it is and with fresh statistics."""
    if after > before + 0.05:
        return (
            f"With batch norm forget accuracy goes from {percent(before)} to {percent(after)}: that much of "
            "the forgetting was in the statistics, not in the weights."
        )
    return "In this run fresh statistics bring nothing back: the forgetting is in the weights."


@check.arguments
def summary(
    unlearned: Scores,
    quiet: Scores,
    gaussian: Scores,
    plain: tuple[float, float],
    normed: tuple[float, float],
    anew: tuple[float, float],
) -> str:
    """The points of the summary that this run decides.

    Args:
        unlearned: UNSIR, mean over the seeds, with the plain net.
        quiet: the same two epochs without noise.
        gaussian: with Gaussian noise of the same norms.
        plain: forget accuracy after one repair epoch and after many, plain net.
        normed: the same with batch norm.
        anew: forget accuracy with batch norm, as it is and recalibrated.
    """
    if unlearned.forget > FORGOTTEN:
        noise = (
            f"In this run {percent(unlearned.forget)} of the class is left after UNSIR: it is not always "
            "enough."
        )
    elif quiet.forget <= FORGOTTEN:
        noise = (
            "In this run the rates alone forget the class: the controls do not show that the noise matters."
        )
    elif gaussian.forget <= FORGOTTEN:
        noise = (
            "In this run noise is needed, but Gaussian noise of the same size does as well as learned noise."
        )
    else:
        noise = (
            "In this run the learned noise matters: neither no noise nor Gaussian noise forgets the class."
        )
    statistics = anew[1] > anew[0] + 0.05 or normed[1] > normed[0] + 0.05
    norm = (
        "With batch norm part of the forgetting was in the statistics, or did not last: fresh statistics "
        "or further repair bring the class back."
        if statistics
        else "With batch norm neither fresh statistics nor further repair bring the class back in this run."
    )
    if plain[1] > plain[0] + 0.05:
        norm += " Without it further repair brings the class back, too."
    return f"- {noise}\n- {norm}"
