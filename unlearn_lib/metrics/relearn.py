"""Relearn time and the anamnesis index: what is truly forgotten takes as long to learn as the first time.

Accuracy 0 is not forgetting: a model whose output is suppressed learns the class again within a few batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.metrics.accuracy import accuracy, logits, loss
from unlearn_lib.params import clone
from unlearn_lib.train import Recipe, Step, as_run, run, train

__all__ = [
    "BRISK",
    "FINE",
    "LONG",
    "RELEARN",
    "AnamnesisIndex",
    "RelearnCurve",
    "RelearnTime",
    "anamnesis_index",
    "relearn",
    "relearn_curves",
]

# Compare numbers of batches only within one setting: smaller batches or a larger rate make another clock.
RELEARN = Recipe("adam", lr=1e-3, batch_size=256, epochs=10)  # as in the authors' code
LONG = RELEARN.but(batch_size=64, epochs=20)  # for small data: enough time for a retrained model
FINE = RELEARN.but(batch_size=32)  # tells apart models that are back within a few batches
BRISK = RELEARN.but(lr=3e-3, batch_size=32)  # for a contest, in which every model relearns


@dataclass(frozen=True)
class RelearnTime:
    """Batches until the target was reached, counted from 1; censored: it was not reached within that many."""

    batches: int
    censored: bool = False

    def __post_init__(self) -> None:
        check.whole("batches", self.batches, 0 if self.censored else 1)
        check.flag("censored", self.censored)

    def __str__(self) -> str:
        return f"≥ {self.batches}" if self.censored else str(self.batches)


@dataclass(frozen=True)
class RelearnCurve:
    """What the probe showed while a model was trained again; entry i is after batch i + 1.

    Args:
        accuracy: on the probe, in [0, 1].
        loss: mean cross-entropy on the probe, in nats.
    """

    accuracy: tuple[float, ...]
    loss: tuple[float, ...]

    def __post_init__(self) -> None:
        check.fields(self)
        if len(self.accuracy) != len(self.loss):
            raise ValueError(
                "`accuracy` and `loss` must have an entry for each batch; "
                f"got {len(self.accuracy)} and {len(self.loss)}."
            )
        for value in self.accuracy:
            check.number("accuracy", value, "[0, 1]")
        for value in self.loss:
            check.number("loss", value)

    def time(self, original_accuracy: float, alpha: float = 0.05) -> RelearnTime:
        """r_t: batches until A(T_f) >= (1 - α) A(T_f; M_o), for any α and any cap up to the recorded one.

        Args:
            original_accuracy: A(T_f; M_o), in [0, 1].
            alpha: tolerance, in [0, 1).
        """
        check.number("alpha", alpha, "[0, 1)")
        target = (1 - alpha) * check.number("original_accuracy", original_accuracy, "[0, 1]")
        return _first(value >= target for value in self.accuracy)

    def time_to_loss(self, threshold: float) -> RelearnTime:
        """Batches until the probe's loss is at most `threshold`: SCRUB's variant, which counts epochs."""
        check.number("threshold", threshold)
        return _first(value <= threshold for value in self.loss)


@dataclass(frozen=True)
class AnamnesisIndex:
    """AIN = r_t(M_u) / r_t(M_s): 1 is ideal, less is residual memory, far more is over-forgetting.

    Args:
        value: the ratio, or None if it is undefined.
        kind: "exact"; "at least" if the unlearned model reached the cap; "undefined" if the retrained one
            did, because then not even a bound is known.
    """

    value: float | None
    kind: Literal["exact", "at least", "undefined"]

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        return f"≥ {self.value:.2f}" if self.kind == "at least" else f"{self.value:.2f}"


@as_run
def relearn(
    model: nn.Module,
    data: Examples,
    probe: Examples,
    recipe: Recipe = RELEARN,
    *,
    cap: int | None = None,
    until: Callable[[float], bool] | None = None,
) -> Generator[Step, None, RelearnCurve]:
    """Train a copy of `model` in the ordinary way and watch the probe after every batch.

    The order of the data depends on `recipe.seed` alone, so all models see the same batches.

    Args:
        model: left unchanged; the optimizer is fresh.
        data: all training data, forgotten samples included.
        probe: T_f in the class setting, the forget set in the sample setting.
        recipe: by default that of the authors' code: Adam, lr .001, batches of 256, 10 epochs.
        cap: the most batches, >= 1; by default all of the recipe's.
        until: given the probe's accuracy, whether to stop early; by default never, so that α stays free.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The curve; `RelearnCurve.time` reads r_t off it.

    The time depends on the training before it: a model made by Adam may be back soon where one made by SGD
    never is. If the retrained model is censored, give it more `epochs` or a smaller `batch_size`.

    Differs from the paper:
        The authors' code says 10 epochs and its comment 4, and it names variables that do not exist, so it
        does not run as shipped. Here a run that never reaches the target is censored, not given a number.

    References:
        Chundawat et al., Zero-Shot Machine Unlearning, IEEE TIFS 2023, arXiv:2201.05629.
    """
    check_examples("probe", probe)
    if cap is not None:
        check.whole("cap", cap, 1)
    if until is not None:
        check.function("until", until)
    if not check.instance("recipe", recipe, Recipe).epochs:
        raise ValueError("`recipe` must have at least one epoch to relearn in; got 0.")
    student = clone(model)
    history: list[tuple[float, float]] = []
    for step in islice(train(student, data, recipe, phase="relearn"), cap):
        outputs = logits(student, probe)
        history.append((accuracy(outputs, probe), loss(outputs, probe)))
        yield step
        if until and until(history[-1][0]):
            break
    return RelearnCurve(accuracy=tuple(a for a, _ in history), loss=tuple(b for _, b in history))


@check.arguments
def relearn_curves(
    models: Mapping[str, nn.Module],
    data: Examples,
    probe: Examples,
    recipe: Recipe = RELEARN,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    cap: int | None = None,
) -> dict[str, tuple[RelearnCurve, ...]]:
    """`relearn` for every model in several orders: curve i of every model saw the same batches.

    Raises:
        ValueError: no model, or no seed.
    """
    for what, given in (("models", check.instance("models", models, Mapping)), ("seeds", tuple(seeds))):
        if not given:
            raise ValueError(f"`{what}` must hold at least one; got none.")
    return {
        name: tuple(run(relearn(model, data, probe, recipe.but(seed=seed), cap=cap)) for seed in seeds)
        for name, model in models.items()
    }


def anamnesis_index(unlearned: RelearnTime, retrained: RelearnTime) -> AnamnesisIndex:
    """AIN = r_t(M_u) / r_t(M_s), from times taken with the same order of data."""
    for name, found in (("unlearned", unlearned), ("retrained", retrained)):
        check.instance(name, found, RelearnTime)
    if retrained.censored:
        return AnamnesisIndex(value=None, kind="undefined")
    kind: Literal["at least", "exact"] = "at least" if unlearned.censored else "exact"
    return AnamnesisIndex(value=unlearned.batches / retrained.batches, kind=kind)


def _first(reached: Iterable[bool]) -> RelearnTime:
    batches = 0
    for batches, there in enumerate(reached, 1):
        if there:
            return RelearnTime(batches)
    return RelearnTime(batches, censored=True)
