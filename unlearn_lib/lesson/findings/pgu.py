"""What lesson 04 may say of a run: the reference, controls, unsure answers, single samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unlearn_lib.lesson.findings.words import listed, percent, points

__all__ = ["controls", "drifts", "entropies", "outcome", "recovery", "single", "summary"]

ALIKE = 0.01  # a smaller difference of accuracies counts as none
RIVALS = ("no projection, small steps", "random directions", "ascent, no projection")


def outcome(reached: Mapping[str, float], limit: float = 0.05) -> str:
    """What the three runs have come to, and whether the reference can be trusted.

    Args:
        reached: accuracies, as "unlearned.forget", "retrained.retain" and so on.
        limit: forget accuracy that counts as forgotten.
    """
    forget, kept = reached["unlearned.forget"], reached["original.retain"] - reached["unlearned.retain"]
    told = []
    if reached["original.forget"] < 0.5:
        told.append(
            f"**The original hardly knows what is to be forgotten** ({percent(reached['original.forget'])} "
            "of it): what follows proves little. Try another class or seed, or a larger preset."
        )
    if forget <= limit:
        cost = (
            f"costs {points(kept)} of retain accuracy"
            if kept > ALIKE
            else "costs the retained samples hardly anything"
        )
        told.append(f"PGU forgets, and that {cost}.")
    else:
        told.append(
            f"**PGU does not get there**: {percent(forget)} is still recognized when its epochs are over. At "
            "this level, by this rule, too little of each step may survive; a lower level γ leaves more room."
        )
    lost = reached["original.retain"] - reached["retrained.retain"]
    if lost > 0.02:
        told.append(
            "Mind the reference: with the same number of epochs on fewer samples the retrained model knows "
            f"the retained ones less well than the original, by {points(lost)}. It is under-trained, and a "
            "distance to it is partly its own."
        )
    return " ".join(told)


def recovery(retain: list[float]) -> str:
    """Retain accuracy after every epoch without projection, the original first: does it come back?"""
    low = min(range(len(retain)), key=retain.__getitem__)
    if retain[-1] > retain[low] + 0.05:
        return (
            f"Without projection retain accuracy is lowest after epoch {low}, at {percent(retain[low])}, and "
            f"comes back to {percent(retain[-1])} while the run goes on, although it reads no retained "
            "sample. So a late epoch flatters the free steps: judge them where they have just forgotten. "
            "(Why it comes back, this lesson does not show.)"
        )
    return (
        f"Without projection retain accuracy falls to {percent(retain[low])} and ends at "
        f"{percent(retain[-1])}: it reads no retained sample that could bring it back."
        if retain[0] - retain[low] > ALIKE
        else "Here even steps without projection leave retain accuracy where it was."
    )


def controls(found: Mapping[str, Mapping[str, float]], limit: float = 0.05) -> str:
    """Does it matter which directions are protected?

    Args:
        found: "forget" and "retain" accuracy of "PGU" and its controls; empty where the weights exploded.
        limit: forget accuracy that counts as forgotten.
    """
    ours = found["PGU"]
    told = []
    gone = {name: found[name]["retain"] for name in RIVALS if found[name] and found[name]["forget"] <= limit}
    if ours["forget"] > limit:
        told.append("PGU has not forgotten the class here, so it cannot be compared at equal forgetting.")
    elif good := [name for name, kept in gone.items() if kept >= ours["retain"] - ALIKE]:
        told.append(
            f"A class is a coarse request, and here is the honest surprise: {listed(good, '*')} "
            f"{'forgets' if len(good) == 1 else 'forget'} it about as cleanly as PGU. For this request the "
            "choice of directions hardly shows. (Small steps and random directions have in common that "
            "their steps are shortened.)"
        )
    elif gone:
        best = max(gone, key=gone.__getitem__)
        told.append(
            f"Here the projection shows: PGU keeps {percent(ours['retain'])} of the retained samples, and of "
            f"the controls that forget without reading them *{best}* keeps most, {percent(gone[best])}."
        )
    else:
        told.append(
            "Here none of the controls forgets the class at all without reading retained samples; PGU does."
        )
    ascent = found["ascent, projected"]
    if ascent and ascent["forget"] > 0.5:
        told.append(
            f"*Projected* ascent still recognizes {percent(ascent['forget'])}: where a sample is memorized "
            "its push is nearly zero, and the projection takes most of that away."
        )
    return " ".join(told)


def drifts(found: Mapping[str, Mapping[str, float]]) -> str:
    """How far protected outputs moved, by what was let loose; "nothing" is among them."""
    still = found["nothing"]["protected"]
    loose = {
        name: row["protected"] for name, row in found.items() if name not in ("nothing", "no projection")
    }
    broken = [name for name, moved in loose.items() if moved > 1e3 * max(still, 1e-16)]
    idle = [name for name in loose if name not in broken]
    told = ["With nothing let loose protected outputs stay at rounding error."]
    if broken:
        least = round(math.log10(min(loose[name] for name in broken) / max(still, 1e-16)))
        told.append(
            f"Let loose, {listed(broken)} move them at least $10^{{{least}}}$ times as far: one part that "
            "moves un-projected, and the argument through the layers breaks at that point."
        )
    if idle:
        told.append(f"(This net has nothing of the kind to let loose: {listed(idle)}.)")
    return " ".join(told)


def entropies(medians: Mapping[str, float]) -> str:
    """How unsure the unlearned model is: medians of the log entropy on the forget set, by role."""
    ours, theirs, before = medians["unlearned"], medians["retrained"], medians["original"]
    if abs(ours - theirs) <= 0.15:
        return "Here the unlearned model is about as unsure of the forgotten images as the retrained one."
    if ours > theirs:
        return (
            "Here the unlearned model is *less* sure of the forgotten images than the retrained one: by "
            "this measure it was pushed too far."
        )
    nearer = (
        "still nearer to the original"
        if ours < (before + theirs) / 2
        else "nearer to it than to the original"
    )
    return (
        "Here the unlearned model is *surer* of the forgotten images than the retrained one, though "
        f"{nearer}: by this measure it has forgotten too little."
    )


def single(attacks: Mapping[str, tuple[float, float]], kept: Mapping[str, float]) -> str:
    """Single samples: was there anything to find, who comes near the retrained value, and what did it cost?

    Args:
        attacks: AUC of the loss attack and its standard error, by model: "original", "retrained",
            "unlearned, losses match", "unlearned, published rule", "no projection" and "no projection,
            small steps".
        kept: retain accuracy of the same models.
    """
    value = {name: auc for name, (auc, _) in attacks.items()}
    goal, error = attacks["retrained"]
    told = []
    if value["original"] - goal <= 1.96 * error:
        told.append(
            "**The attack finds nothing in the original** that it would not find in the retrained model: no "
            "sample was memorized so that this attack sees it. Then a run may stop at once, and these "
            "charts say nothing about it."
        )
    else:
        ours, published = "unlearned, losses match", "unlearned, published rule"
        off = {name: abs(value[name] - goal) for name in (ours, published)}
        nearer = min(off, key=off.__getitem__).removeprefix("unlearned, ")
        told.append(
            f"The attack works on the original ({value['original']:.2f}); the goal is {goal:.2f}. Losses "
            f"that match end at {value[ours]:.2f}, the published rule at {value[published]:.2f}"
            + (
                ": no difference that so few samples could show."
                if abs(value[ours] - value[published]) <= 1.96 * error
                else f": here {nearer} comes nearer."
            )
        )
    free = {name: kept[name] for name in ("no projection", "no projection, small steps")}
    best = kept["unlearned, losses match"]
    gone = kept["original"] - best
    if max(free.values()) < best - 0.05:
        told.append(
            "And here the projection earns its keep: a single sample looks like the others of its class, "
            f"and without protecting those neither large nor small steps will do. PGU keeps {percent(best)} "
            f"of the retained samples, they keep {percent(free['no projection'])} and "
            f"{percent(free['no projection, small steps'])}."
        )
    elif gone > 0.05:
        told.append(f"Mind the price: PGU itself loses {points(gone)} of retain accuracy.")
    else:
        told.append(
            f"Here steps without projection keep {percent(max(free.values()))} of the retained samples at "
            "best, about as much as PGU: this request does not show what the projection is good for."
        )
    return " ".join(told)


def summary(found: Mapping[str, Mapping[str, float]], kept: Mapping[str, float], limit: float = 0.05) -> str:
    """What the projection bought in this run; the arguments are those of `controls` and `single`."""
    ours, small = found["PGU"], found["no projection, small steps"]
    whole = small and small["forget"] <= limit and small["retain"] >= ours["retain"] - ALIKE
    alone = kept["no projection, small steps"] >= kept["unlearned, losses match"] - 0.05
    bought = {
        (True, True): "small free steps do as well, for the class and for single samples",
        (True, False): "a class goes about as cleanly by small free steps; single samples do not",
        (False, True): "small free steps do worse for the class, and as well for single samples",
        (False, False): "small free steps do worse, for the class and for single samples",
    }[bool(whole), alone]
    return f"- What the projection buys depends on the data and the request. In this run {bought}."
