"""What lesson 09 may say of a run: optimizers and the backdoor, partitions, impostors."""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_lib import check
from unlearn_lib.classroom.words import listed, points

__all__ = ["duel", "impostors", "passed", "undone"]

Ends = tuple[tuple[float, float], tuple[float, float]]  # before and after: backdoor success, test accuracy


@check.arguments
def undone(sgd: Ends, other: Ends, name: str) -> str:
    """Amnesiac unlearning of a backdoor, with SGD and with another optimizer.

    Args:
        sgd: before and after: backdoor success and test accuracy.
        other: the same with the recipe's optimizer.
        name: of that optimizer.
    """
    gone = {"SGD": sgd[1][0] < 0.5 * sgd[0][0], name: other[1][0] < 0.5 * other[0][0]}
    if gone["SGD"] and not gone[name]:
        told = (
            f"SGD's backdoor is gone and {name}'s is not: {name}'s memory is one likely reason; the steps "
            "differ in size too."
        )
    elif gone[name] and not gone["SGD"]:
        told = f"{name}'s backdoor is gone and SGD's is not: the optimizer's memory is not decisive here."
    elif gone["SGD"]:
        told = "Both backdoors are gone: here the later steps carry little of them."
    else:
        told = "Neither backdoor is gone: later steps also carry what the poisoned batches taught."
    costs = {"SGD": sgd[0][1] - sgd[1][1], name: other[0][1] - other[1][1]}
    price = [f"{points(cost)} of test accuracy with {label}" for label, cost in costs.items() if cost > 0.02]
    if price:
        told += f" Look at what else is lost: {listed(price)}."
    still = [label for label, found in gone.items() if not found and abs(costs[label]) <= 0.05]
    if still:
        told += f" Test accuracy does not show that it stayed ({listed(still)}); backdoor success does."
    return told


@check.arguments
def duel(own: Mapping[str, float]) -> str:
    """What partitions cost: test accuracy of the originals in service, by method."""
    told = []
    for name, parts in (("SISA", "shards"), ("DeepObliviate", "a chain of blocks")):
        lost = own["retrain"] - own[name]
        told.append(
            f"{name}'s own original is {points(lost)} below the ordinary one: that is the price of {parts}, "
            "paid before any request."
            if lost > 0.02
            else f"{name}'s own original is about as good as the ordinary one: here {parts} cost little."
        )
    return " ".join(told)


@check.arguments
def passed(passes: Mapping[str, bool]) -> str:
    """Which methods pass the population attack, and does U-LiRA catch them: method -> caught."""
    caught = [name for name, found in passes.items() if found]
    if not passes:
        return "In this run no method passes the attack on averages, so there is none to catch."
    if caught:
        return (
            f"Averages forgive: {listed(caught)} {'passes' if len(caught) == 1 else 'pass'} the attack on "
            f"averages and {'is' if len(caught) == 1 else 'are'} caught sample by sample."
        )
    return "In this run every method that passes the attack on averages passes this one too."


@check.arguments
def impostors(retain: Mapping[str, float], forget: Mapping[str, float], zrf: Mapping[str, float]) -> str:
    """Who fools which column: test accuracy, forget accuracy and ZRF by method, impostors included."""
    told = []
    if retain["do nothing"] >= retain["retrain"] - 0.05:
        told.append('"Do nothing" has about the test accuracy of the retrained model')
    if forget["masked logit"] == 0:
        told.append("the masked logit has no forget accuracy at all")
    if zrf["uniform output"] >= max(zrf.values()):
        told.append(
            f"the uniform output has the highest ZRF in the table ({zrf['uniform output']:.2f}), for those "
            "who think that higher is better"
        )
    lines = "; ".join(told)
    return f"{lines[0].upper()}{lines[1:]}. So no audit stands alone." if lines else "No audit stands alone."
