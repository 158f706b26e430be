"""What lesson 03 may say of a run: subtraction, shares, equal forgetting, optimizers, partial steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from unlearn_lib import check
from unlearn_lib.classroom.words import listed, many, percent, points
from unlearn_lib.lessons.partial.figures import Point
from unlearn_lib.metrics.membership import LossAttack

__all__ = [
    "at_equal_forgetting",
    "chosen",
    "first_to_fall",
    "learned",
    "losses",
    "moved",
    "optimizer",
    "past_the_mark",
    "steps",
    "subtracted",
    "summary",
]

ALIKE = 0.01  # a smaller difference of accuracies counts as none
Path = Sequence[Point]


@check.arguments
def learned(known: float) -> str:
    """Is there anything to forget?

    Args:
        known: the original's accuracy on the forget set.
    """
    if known >= 0.5:
        return "The original has learned the class; otherwise there would be nothing to forget."
    return (
        f"**The original hardly knows this class** ({percent(known)} of it): there is little to forget, and "
        "what follows proves little. Try another class or seed, or a larger preset."
    )


@check.arguments
def subtracted(before: Point, full: Point, target: float) -> str:
    """What undoing everything has done.

    Args:
        before: the original.
        full: the model after amnesiac unlearning.
        target: forget accuracy that counts as forgotten.
    """
    cost = before.others - full.others
    paid = f"paid with {points(cost)} of accuracy" if cost > ALIKE else "hardly paid for it"
    if full.forget <= target:
        return f"The class is gone, and the other classes have {paid}."
    return (
        f"**Undoing everything does not forget this class**: {percent(full.forget)} of it is still "
        "recognized. The updates of *other* batches remain, made by a model that had seen the class, and "
        f"they are enough. The other classes have {paid}."
    )


@check.arguments
def chosen(share: float | None) -> str:
    """The share that the rest of the lesson uses; None where no share forgets."""
    if share is None:
        return (
            "No share forgets this class, not even all of it. So $p = 1$ from here on, and partial "
            "unlearning *is* amnesiac unlearning."
        )
    return f"From here on we use the smallest of these shares that forgets: $p = {share:g}$."


@check.arguments
def moved(share: float, batches: int, squares: float, entries: int, every: int) -> str:
    """The largest entries of one update, and of all of them together.

    Args:
        share: kept of every update.
        batches: undone.
        squares: the part of the updates' sum of squares that the kept entries hold.
        entries: how many at least one of these batches moves.
        every: entries of the model.
    """
    if share >= 1:
        return f"With $p = 1$ nothing is left out: all {every:,} entries move."
    held = (
        f"At $p = {share:g}$ the kept entries hold {percent(squares)} of the sum of squares of their "
        "updates. "
    )
    if entries / every >= (1 + share) / 2:
        return held + (
            f"But the largest entries differ from batch to batch: together the {batches} batches move "
            f"{entries:,} of all {every:,} entries. **Each subtraction is sparse, but not their sum.**"
        )
    return held + (
        f"The batches agree on which these are: together the {batches} batches move {entries:,} of {every:,} "
        "entries."
    )


@check.arguments
def at_equal_forgetting(repeats: Sequence[Mapping[str, tuple[float, Point]]], target: float) -> str:
    """Does the choice of entries matter?

    Args:
        repeats: for every seed and way, the share at which it first forgets (1 if it never does), and the
            model there. Among the ways are "partial, the largest", "random entries", "one budget", "every
            entry, times s" and "amnesiac".
        target: forget accuracy that counts as forgotten.
    """
    ways = {
        name: (fmean(found[name][0] for found in repeats), fmean(found[name][1].others for found in repeats))
        for name in repeats[0]
    }
    (share, partial), amnesiac = ways["partial, the largest"], ways["amnesiac"][1]
    never = sum(found["amnesiac"][1].forget > target for found in repeats)
    told = []
    if never:
        told.append(
            f"**Mind the comparison**: for {never} of {many(len(repeats), 'seed')} not even undoing "
            "everything forgets this class; there we compare the ways where they end."
        )
    if share >= 1:
        told.append("Nothing less than everything forgets here: partial undoing is amnesiac unlearning.")
        return " ".join(told)
    gain = partial - amnesiac
    if gain > ALIKE / 2:
        told.append(f"Partial undoing beats *amnesiac*: it keeps {points(gain)} more of the others.")
    elif gain >= -ALIKE / 2:
        told.append("Partial undoing spares the others about as much as *amnesiac* does.")
    else:
        told.append(f"Partial undoing loses to *amnesiac*: it keeps {points(gain)} less of the others.")
    rivals = {name: ways[name] for name in ("every entry, times s", "random entries")}
    good = [name for name, (_, others) in rivals.items() if others >= partial - ALIKE]
    if good and gain > ALIKE / 2:
        told.append(
            f"But {'controls' if len(good) > 1 else 'a control'}, {listed(good, '*')}, "
            f"{'keep' if len(good) > 1 else 'keeps'} at least about as much as the largest entries: what "
            "helps is undoing *less*, not which entries."
        )
    elif good:
        told.append(
            f"The controls do no worse ({listed(good, '*')}): here the choice of entries does not matter."
        )
    else:
        best = max(others for _, others in rivals.values())
        told.append(
            f"The controls keep {points(partial - best)} less at best: here the choice of entries does "
            "matter."
        )
    if share < min(p for p, _ in rivals.values()):
        told.append(
            f"What the largest entries save is **storage**: they forget at a mean share of {share:.2f}, so "
            "they need fewer megabytes than any control."
        )
    else:
        told.append(
            "The largest entries save no storage here either: a control forgets at no larger a share."
        )
    budget = ways["one budget"]
    if abs(budget[1] - partial) <= ALIKE and abs(budget[0] - share) <= 0.1:
        told.append("In this network it matters little whether layers share one budget or have their own.")
    else:
        told.append(
            f"One budget for all layers forgets at {budget[0]:.2f} and keeps {percent(budget[1])} of the "
            f"others; a budget for each layer gives {share:.2f} and {percent(partial)}."
        )
    return " ".join(told)


@check.arguments
def first_to_fall(
    lines: Mapping[str, tuple[Sequence[int], Path]], start: Mapping[str, Point], target: float
) -> str:
    """Which falls first as batch after batch is undone: the class or the rest?

    Args:
        lines: by name, the numbers of batches undone and the model there.
        start: by name, the model before any was undone.
        target: forget accuracy that counts as forgotten; the rest falls when it loses five points.
    """
    told = []
    for name, (counts, path) in lines.items():
        places = range(len(path))
        gone = next((i for i in places if path[i].forget <= target), None)
        hurt = next((i for i in places if path[i].others < start[name].others - 0.05), None)
        if gone is not None and (hurt is None or gone < hurt):
            lost = max(0.0, start[name].others - path[gone].others)
            told.append(
                f"{name}: **the class falls first**, within {counts[gone]} batches, at a cost to the rest of "
                f"{points(lost)}"
            )
        elif hurt is not None and gone != hurt:
            told.append(
                f"{name}: **the rest falls first**: it has lost "
                f"{points(start[name].others - path[hurt].others)} after {counts[hurt]} batches, and "
                f"{percent(path[hurt].forget)} of the class is still recognized"
            )
        elif hurt is not None:
            told.append(f"{name}: both fall at once, within {counts[hurt]} batches")
        else:
            told.append(
                f"{name}: neither falls; in the end {percent(path[-1].forget)} of the class is still "
                "recognized"
            )
    return "\n".join(f"- {one}." for one in told)


@check.arguments
def optimizer(name: str, before: Point, rules: Mapping[str, Path], target: float) -> str:
    """What undoing does to the others, and which entries are better to undo.

    Args:
        name: of the optimizer.
        before: the original that it trained.
        rules: "largest" and "random": the model at every share; the last share is everything.
        target: forget accuracy that counts as forgotten.
    """
    end = rules["largest"][-1]
    fate = f"takes accuracy on the others from {percent(before.others)} to {percent(end.others)}"
    loss = before.others - end.others
    told = [
        f"With {name}, full amnesiac unlearning **ruins the network**: it {fate}."
        if loss > 0.3
        else f"With {name}, full amnesiac unlearning {fate}."
    ]
    first = {rule: next((p for p in path if p.forget <= target), None) for rule, path in rules.items()}
    largest, random = first["largest"], first["random"]
    if largest is None and random is None:
        told.append("Neither rule forgets the class at any share.")
    elif largest is None or random is None:
        told.append(f"Only {'random' if largest is None else 'the largest'} entries ever forget the class.")
    else:
        kept = (
            f"random entries keep {percent(random.others)} of the others, the largest "
            f"{percent(largest.others)}"
        )
        gain = random.others - largest.others
        verdict = (
            "**Magnitude is not always best**"
            if gain > ALIKE
            else "The two are about as good"
            if gain >= -ALIKE
            else "Here magnitude is the better rule"
        )
        told.append(f"{verdict}: where each first forgets, {kept}.")
    return " ".join(told)


@check.arguments
def past_the_mark(paths: Sequence[Path], reached: Sequence[int | None]) -> str:
    """Does it matter when to stop?

    Args:
        paths: for each run, the model after every step.
        reached: the first step that forgets, from 1 on; None if none does.
    """
    drops = [
        path[n - 1].others - min(p.others for p in path[n - 1 :])
        for path, n in zip(paths, reached, strict=True)
        if n
    ]
    if not drops:
        return "None of these runs reaches the dotted line."
    deep = sum(drop > ALIKE for drop in drops)
    if deep > len(drops) / 2:
        return (
            f"Follow a path past the dotted line: {deep} of the {many(len(drops), 'run')} that reach it go "
            f"on to harm the others, by up to {points(max(drops))}. *When to stop* can matter as much as the "
            "mask."
        )
    return (
        f"Of the {many(len(drops), 'run')} that reach the dotted line, {deep or 'none'} "
        f"{'goes' if deep == 1 else 'go'} on to harm the others by more than a point: here a late stop costs "
        "little."
    )


@check.arguments
def steps(method: str, stops: Mapping[str, Sequence[Point | None]]) -> str:
    """Partial steps, full steps and smaller steps, each where it first forgets.

    Args:
        method: label flipping or ascent.
        stops: for every way and seed, the model at the first step that forgets, or None. A way is called
            "full step", "full step, rate ...", "partial, largest ..." or "partial, random ...".
    """
    means = {way: fmean(p.others for p in found if p) for way, found in stops.items() if any(found)}
    silent = [way for way in stops if way not in means]
    masks = {way: value for way, value in means.items() if way.startswith("partial, largest")}
    smaller = {way: value for way, value in means.items() if way.startswith("full step, rate")}
    name = method.capitalize()
    if "full step" not in means or not masks:
        return (
            f"{name}: {listed(silent, '*')} never forgot, so there is nothing to compare at equal forgetting."
        )
    full, (best, kept), worst = (
        means["full step"],
        max(masks.items(), key=lambda x: x[1]),
        min(masks.values()),
    )
    gain = kept - full
    told = [
        f"{name}: with *{best.removeprefix('partial, ')}* partial steps keep {percent(kept)} of the others, "
        f"full steps {percent(full)}: "
        + (
            "gentler"
            if gain > ALIKE
            else "about the same"
            if gain >= -ALIKE
            else "no share is as gentle as a full step"
        )
    ]
    if worst < full - ALIKE:
        told.append(f"The wrong share keeps {percent(worst)}, less than full steps do")
    if smaller:
        rate, value = max(smaller.items(), key=lambda x: x[1])
        told.append(
            f"The best smaller step (*{rate.removeprefix('full step, ')}*) keeps {percent(value)}: "
            + (
                "as good as the best mask, or better"
                if value >= kept - ALIKE
                else "better than a full step, but not as good as the mask"
                if value > full + ALIKE
                else "no help here"
            )
        )
    if silent:
        told.append(f"{listed(silent, '*')} never forgot")
    return ". ".join(told) + "."


@check.arguments
def losses(attacks: Mapping[str, LossAttack]) -> str:
    """Does the attack work on the original, and how sure are the unlearned models of their errors?

    Args:
        attacks: on "original", "partial" and "retrained", among others.
    """
    blind = attacks["original"].auc.reading(attacks["retrained"].auc.value) != "looks like training data"
    told = [
        "**The attack already fails on the *original***: it is blind here, so its verdict on the others "
        "means nothing."
        if blind
        else "On the *original* the attack works, so its verdict on the others means something."
    ]
    ours, theirs = (float(attacks[name].members.median()) for name in ("partial", "retrained"))
    medians = (
        f"the median loss on the forget set is {ours:.2g} for the partial model, {theirs:.2g} for the "
        "retrained"
    )
    if ours < 0.8 * theirs:
        told.append(
            f"Now compare the *losses*: {medians}. The unlearned model is less sure of its errors than one "
            "that never saw the class. Being wrong about a class is not the same as never having seen it."
        )
    elif ours > 1.25 * theirs:
        told.append(
            f"Now compare the *losses*: {medians}. The unlearned model is surer of its errors than one that "
            "never saw the class: it was pushed too far."
        )
    else:
        told.append(f"The *losses* are alike too: {medians}.")
    return " ".join(told)


@check.arguments
def summary(best: Point, full: Point, target: float, stored: float, sgd: Point, sgd_before: Point) -> str:
    """The points of the summary that this run decides.

    Args:
        best: the model after partial undoing.
        full: after undoing everything, with Adam.
        target: forget accuracy that counts as forgotten.
        stored: bytes of the pruned log as a share of the full one.
        sgd: the model that plain SGD trained, after undoing everything.
        sgd_before: that model before.
    """
    if best.forget > target:
        claim = (
            "In this run not even undoing everything forgets the class, so it cannot test the paper's claim."
        )
    elif stored >= 1:
        claim = "In this run only undoing everything forgets the class: partial undoing has nothing to offer."
    elif best.others >= full.others - ALIKE / 2:
        claim = (
            "In this run there is a share at which partial undoing forgets the class, keeps at least about "
            f"as much of the rest as full undoing, and stores {stored:.0%} of the log. The paper's claim "
            "holds here."
        )
    else:
        claim = "In this run partial undoing forgets, but keeps less of the rest than full undoing."
    loss = sgd_before.others - sgd.others
    ruin = (
        "With SGD the same recipe ruins the network."
        if loss > 0.3
        else "With SGD the same recipe does less harm."
    )
    return f"- {claim}\n- {ruin}"
