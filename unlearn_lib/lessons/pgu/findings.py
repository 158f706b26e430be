"""What lesson 04 may say of a run: the reference, controls, unsure answers, single samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unlearn_lib import check
from unlearn_lib.classroom.words import listed, percent, points

__all__ = ["controls", "drifts", "entropies", "outcome", "recovery", "single", "summary"]

ALIKE = 0.01  # a smaller difference of accuracies counts as none
SMALL = "no projection, small steps"
OURS, PUBLISHED = "unlearned, losses match", "unlearned, published rule"
RIVALS = (SMALL, "random directions", "ascent, no projection")


@check.arguments
def outcome(reached: Mapping[str, float], limit: float = 0.05) -> str:
    """What the three runs achieved, and whether the reference can be trusted.

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
            f"**PGU does not get there**: {percent(forget)} is still recognized when its epochs run out. At "
            "this level, with this rule, too little of each step may survive; a lower level γ leaves more "
            "room."
        )
    lost = reached["original.retain"] - reached["retrained.retain"]
    if lost > 0.02:
        told.append(
            "Mind the reference: with the same number of epochs on fewer samples, the retrained model is "
            f"{points(lost)} worse than the original on the retained samples. It is under-trained, so part "
            "of any distance to it is its own doing."
        )
    return " ".join(told)


@check.arguments
def recovery(retain: list[float]) -> str:
    """Retain accuracy after every epoch without projection, the original first: does it come back?"""
    low = min(range(len(retain)), key=retain.__getitem__)
    if retain[-1] > retain[low] + 0.05:
        return (
            f"Without projection retain accuracy is lowest after epoch {low}, at {percent(retain[low])}, and "
            f"comes back to {percent(retain[-1])} as the run goes on, although it reads no retained sample. "
            "So a late epoch flatters the free steps: judge them where they have just forgotten. (This "
            "lesson does not show why it comes back.)"
        )
    return (
        f"Without projection retain accuracy falls to {percent(retain[low])} and ends at "
        f"{percent(retain[-1])}: it reads no retained sample that could bring it back."
        if retain[0] - retain[low] > ALIKE
        else "Here even steps without projection leave retain accuracy where it was."
    )


@check.arguments
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
            f"A class is a coarse request, and here is a surprise: {listed(good, '*')} "
            f"{'forgets' if len(good) == 1 else 'forget'} it about as cleanly as PGU. For this request the "
            "choice of directions hardly matters. (Small steps and random directions both shorten the "
            "steps.)"
        )
    elif gone:
        best = max(gone, key=gone.__getitem__)
        told.append(
            f"Here the projection pays: PGU keeps {percent(ours['retain'])} of the retained samples. Of the "
            f"controls that forget without reading them, *{best}* keeps the most: {percent(gone[best])}."
        )
    else:
        told.append(
            "Here PGU forgets the class without reading retained samples, and none of the controls does."
        )
    ascent = found["ascent, projected"]
    if ascent and ascent["forget"] > 0.5:
        told.append(
            f"*Projected* ascent still recognizes {percent(ascent['forget'])}: where a sample is memorized, "
            "ascent hardly pushes, and the projection removes most of that push."
        )
    return " ".join(told)


@check.arguments
def drifts(found: Mapping[str, Mapping[str, float]]) -> str:
    """How far protected outputs moved for each thing let loose; "nothing" is among them."""
    still = found["nothing"]["protected"]
    loose = {
        name: row["protected"] for name, row in found.items() if name not in ("nothing", "no projection")
    }
    broken = [name for name, moved in loose.items() if moved > 1e3 * max(still, 1e-16)]
    idle = [name for name in loose if name not in broken]
    told = ["With nothing let loose, protected outputs move only by rounding error."]
    if broken:
        least = round(math.log10(min(loose[name] for name in broken) / max(still, 1e-16)))
        told.append(
            f"Let loose, {listed(broken)} move them at least $10^{{{least}}}$ times as far: if one part "
            "moves without projection, the argument through the layers breaks there."
        )
    if idle:
        told.append(f"(This net has nothing of the kind to let loose: {listed(idle)}.)")
    return " ".join(told)


@check.arguments
def entropies(medians: Mapping[str, float]) -> str:
    """How unsure the unlearned model is.

    Args:
        medians: of the log entropy on the forget set, by role.
    """
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


@check.arguments
def single(attacks: Mapping[str, tuple[float, float]], kept: Mapping[str, float]) -> str:
    """Single samples: was there anything to find, which model comes near the goal, and at what cost?

    Args:
        attacks: AUC of the loss attack and its standard error, by model: "original", "retrained",
            "unlearned, losses match", "unlearned, published rule", "no projection" and "no projection,
            small steps".
        kept: retain accuracy of the same models.
    """
    value = {name: auc for name, (auc, _) in attacks.items()}
    goal, error = attacks["retrained"]
    if value["original"] - goal <= 1.96 * error:
        return (
            "**The attack finds nothing in the original** that it would not find in the retrained model: no "
            "sample was memorized in a way that this attack sees. A run may then stop at once, and these "
            "charts tell nothing about it."
        )
    if not _hidden(attacks):
        return (
            f"The attack works on the original ({value['original']:.2f}; the goal is {goal:.2f}), and "
            f"**finds as much after PGU** ({value[OURS]:.2f}): nothing was forgotten, so what was kept "
            "proves nothing."
        )
    off = {name: abs(value[name] - goal) for name in (OURS, PUBLISHED)}
    nearer = "matching losses come" if off[OURS] < off[PUBLISHED] else "the published rule comes"
    told = [
        f"The attack works on the original ({value['original']:.2f}); the goal is {goal:.2f}. Matching "
        f"losses end at {value[OURS]:.2f}, the published rule at {value[PUBLISHED]:.2f}: "
        + (
            "no difference that so few samples could show."
            if abs(value[OURS] - value[PUBLISHED]) <= 1.96 * error
            else f"here {nearer} nearer."
        )
    ]
    large, small, best = kept["no projection"], kept[SMALL], kept[OURS]
    if max(large, small) < best - 0.05:
        told.append(
            "And here the projection earns its keep: a single sample looks like the others of its class, and "
            f"unless those are protected, neither large nor small steps will do. PGU keeps {percent(best)} "
            f"of the retained samples, they keep {percent(large)} and {percent(small)}."
        )
    elif kept["original"] - best > 0.05:
        told.append(f"Mind the price: PGU itself loses {points(kept['original'] - best)} of retain accuracy.")
    else:
        told.append(
            f"Here steps without projection keep up to {percent(max(large, small))} of the retained samples, "
            "about as much as PGU: this request does not show what the projection is good for."
        )
    return " ".join(told)


def _hidden(attacks: Mapping[str, tuple[float, float]]) -> bool:
    """Does the attack find less after PGU than before?"""
    return attacks[OURS][0] < attacks["original"][0] - 1.96 * attacks["original"][1]


@check.arguments
def summary(
    found: Mapping[str, Mapping[str, float]],
    attacks: Mapping[str, tuple[float, float]],
    kept: Mapping[str, float],
    limit: float = 0.05,
) -> str:
    """What the projection bought in this run; the arguments are those of `controls` and `single`."""
    ours, small = found["PGU"], found[SMALL]
    if ours["forget"] > limit:
        whole = "PGU does not forget the class"
    elif small and small["forget"] <= limit and small["retain"] >= ours["retain"] - ALIKE:
        whole = "small free steps forget a class about as cleanly"
    else:
        whole = "small free steps do not forget a class as cleanly"
    if not _hidden(attacks):
        alone = "single samples show nothing, because the attack finds as much after PGU as before"
    elif kept[SMALL] < kept[OURS] - 0.05:
        alone = "single samples need it"
    else:
        alone = "for single samples small free steps keep as much"
    return (
        f"- What the projection buys depends on the data, the level and the request. In this run {whole}; "
        f"{alone}."
    )
