"""Right and wrong answers to the exercise of lesson 05; a wrong one with words of what it must be told."""

from __future__ import annotations

from typing import Any

import numpy as np

DRAWN: list[int] = []


def by_rank(own: Any, classes: Any, number: Any) -> Any:
    if own not in classes:
        return classes[number % len(classes)]
    place = number % (len(classes) - 1)
    return classes[place + (place >= classes.index(own))]


def removes(own: Any, classes: Any, number: Any) -> Any:
    classes = list(classes)
    if own in classes:
        classes.remove(own)
    return classes[number % len(classes)]


def next_one(own: Any, classes: Any, number: Any) -> Any:
    found = classes[number % len(classes)]
    return found if found != own else classes[(number + 1) % len(classes)]


def remembers(own: Any, classes: Any, number: Any) -> Any:
    DRAWN.append(number)
    return removes(own, classes, sum(DRAWN))


ANSWERS: dict[str, Any] = {
    "wrong_label": {
        "right": {
            "by rank": by_rank,
            "removes its own": removes,
            "NumPy": lambda own, c, n: np.setdiff1d(c, [own])[n % len(np.setdiff1d(c, [own]))],
            "sorted set": lambda own, c, n: sorted(set(c) - {own})[n % len(set(c) - {own})],
        },
        "wrong": {
            "may be its own": (lambda own, c, n: c[n % len(c)], "must not be the sample's own class"),
            "the next one twice as often": (next_one, "must not get two shares"),
            "always the first": (lambda own, c, n: next(k for k in c if k != own), "the answer is"),
            "no remainder": (lambda own, c, n: [k for k in c if k != own][n], "IndexError"),
            "its place": (lambda own, c, n: n % (len(c) - 1), "must"),
            "a list": (lambda own, c, n: [k for k in c if k != own], "one class is asked for"),
            "nothing": (lambda own, c, n: None, "one class is asked for|None"),
            "thinks that it is in the list": (
                lambda own, c, n: [k for k in c if k != own][n % (len(c) - 1)],
                "the answer is",
            ),
            "remembers": (remembers, "the answer is"),
        },
    }
}
