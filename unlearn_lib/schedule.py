"""Learning rates over a run: the formulas of `torch.optim.lr_scheduler`, of progress, not of a counter.

A counter belongs to one uninterrupted run. As a function of progress the rate of a step is the same whether
the run was killed in between, and a block that is trained again finds the rates that it had.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from unlearn_lib import check

__all__ = ["Schedule", "rate"]

Schedule = Literal["constant", "cosine", "one_cycle"]

_RISE, _START, _END = 0.3, 25, 10_000  # of one cycle: torch's defaults


def rate(schedule: Schedule, lr: float, step: float, steps: float) -> float:
    """The learning rate of a step.

        cosine      lr (1 + cos(pi step / steps)) / 2                       `CosineAnnealingLR(T_max=steps)`
        one_cycle   half a cosine up from lr / 25 in 30 % of the steps,
                    another down to lr / 250000 at the last                `OneCycleLR(total_steps=steps)`

    Args:
        schedule: the shape; "constant" is `lr` itself.
        lr: the highest rate.
        step: counts from 0. A fraction where one schedule spans several runs; see `Recipe.schedule_over`.
        steps: how many there are.
    """
    check.choice("schedule", schedule, get_args(Schedule)), check.number("lr", lr, "(0, inf)")
    check.number("steps", steps, "(0, inf)"), check.number("step", step, "[0, inf)")
    if schedule == "cosine":
        return _between(lr, 0.0, step / steps)
    if schedule == "one_cycle":
        top, last = _RISE * steps - 1, steps - 1
        if top > 0 and step <= top:
            return _between(lr / _START, lr, step / top)
        return _between(lr, lr / _START / _END, (step - top) / (last - top))
    return lr


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from one rate to another."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
