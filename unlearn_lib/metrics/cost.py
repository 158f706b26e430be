"""What a request costs: time, gradient steps, samples read, and bytes and seconds spent in advance."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, fields
from itertools import count
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples, Split
from unlearn_lib.metrics.accuracy import logits
from unlearn_lib.train import Step, run

__all__ = ["Cost", "Counted", "counted", "hardware", "prediction_ratio", "priced"]

T = TypeVar("T")


@dataclass(frozen=True)
class Counted(Examples):
    """Examples that count how often each id is read in a batch; every cut and sum shares the counter."""

    reads: Counter[int] = field(default_factory=Counter, compare=False)

    @classmethod
    def by(cls, reads: Counter[int], data: Examples) -> Counted:
        """The same samples, counted by `reads`."""
        check.instance("reads", reads, Counter), check.instance("data", data, Examples)
        return cls(**{f.name: getattr(data, f.name) for f in fields(Examples)}, reads=reads)

    def __determined_by__(self) -> Any:
        return [getattr(self, f.name) for f in fields(Examples)]

    def __add__(self, other: Examples) -> Counted:  # type: ignore[override]  # as in Examples
        return self.by(self.reads, super().__add__(other))

    def __radd__(self, other: Examples) -> Counted:
        return self.by(self.reads, Examples.__add__(other, self))

    def batch(self, rows: Tensor | slice, dtype: torch.dtype | None = None) -> Batch:
        """The rows as a mini-batch; each counts as one read."""
        self.reads.update(self.ids[rows].tolist())
        return super().batch(rows, dtype)


@dataclass(frozen=True)
class Cost:
    """The bill of one request.

    Args:
        seconds: wall time of the request on `hardware`; do not compare it with other machines'.
        steps: gradient steps.
        forget_reads: forget samples read, repeats included.
        retain_reads: retain samples read, repeats included.
        stored: bytes that had to be stored in advance.
        seconds_before: time spent before the request (UNSIR: none; PGU: a pass and an eigendecomposition).
        hardware: the machine in words.
        other_reads: samples read from neither side: a validation set that shares the counter.
    """

    seconds: float
    steps: int
    forget_reads: int
    retain_reads: int
    stored: int
    seconds_before: float
    hardware: str
    other_reads: int = 0


def counted(split: Split) -> Split:
    """The same request with both sides counted."""
    reads = Counter[int]()
    check.instance("split", split, Split)
    return Split(Counted.by(reads, split.forget), Counted.by(reads, split.retain))


def priced(
    steps: Generator[Step, None, T],
    split: Split,
    *,
    stored: int = 0,
    seconds_before: float = 0.0,
    watch: Iterable[Callable[[Step], Any]] = (),
) -> tuple[T, Cost]:
    """Take a method's run to its end and price it.

    Args:
        steps: the run, made from the sides of `split`.
        split: from `counted`; reads before this call do not count.
        stored: bytes stored in advance.
        seconds_before: time spent before the request.
        watch: further watchers, as in `run`.

    Raises:
        TypeError: `split` is not counted, or `steps` is not a run.
        ValueError: bytes or seconds are negative.
    """
    check.instance("split", split, Split)
    if not isinstance(split.forget, Counted):
        raise TypeError("`split` must come from `counted(split)`; its sides do not count reads.")
    check.whole("stored", stored, 0)
    check.number("seconds_before", seconds_before, "[0, inf)")
    before, number = split.forget.reads.copy(), count(1)
    begun = time.perf_counter()
    result = run(steps, [*watch, lambda _: next(number)])
    seconds = time.perf_counter() - begun
    reads = split.forget.reads - before
    forget, retain = (sum(reads[i] for i in side.ids.tolist()) for side in (split.forget, split.retain))
    other = reads.total() - forget - retain
    return result, Cost(
        seconds=seconds,
        steps=next(number) - 1,
        forget_reads=forget,
        retain_reads=retain,
        stored=stored,
        seconds_before=seconds_before,
        hardware=hardware(),
        other_reads=other,
    )


def prediction_ratio(model: nn.Module, single: nn.Module, data: Examples, rounds: int = 5) -> float:
    """How many times as long `model` takes to predict `data` as `single`: SISA asks every shard.

    The two take turns, and the median of `rounds` ratios counts, so a busy machine disturbs both alike.
    """
    ratios = []
    for _ in range(check.whole("rounds", rounds, 1)):
        begun = time.perf_counter()
        logits(model, data)
        between = time.perf_counter()
        logits(single, data)
        ratios.append((between - begun) / (time.perf_counter() - between))
    return median(ratios)


def hardware() -> str:
    """The machine in words, to show beside a time."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} torch threads{gpu}"
