"""U-LiRA for all methods at once: every shadow model is trained once, and each method unlearns it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.contest.arena import NOTHING
from unlearn_lib.contest.method import Method
from unlearn_lib.contest.task import Task
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.metrics.accuracy import accuracy, logits
from unlearn_lib.metrics.lira import Lira, Margins, lira, margins, shadow_models
from unlearn_lib.metrics.membership import Auc, auc
from unlearn_lib.train import Recipe

__all__ = ["Exposure", "ulira"]


class Exposure(NamedTuple):
    """What U-LiRA found about one method.

    Args:
        attack: sample by sample.
        margins: of all shadow models, then of the targets.
        population: the loss attack on the same targets, since margins are losses on another scale.
        accuracy: mean accuracy of the targets on validation samples; a ruined model hides every sample.
    """

    attack: Lira
    margins: Margins
    population: Auc
    accuracy: float

    def cells(self) -> list[str]:
        """For a table: population attack, attack sample by sample, accuracy."""
        found = self.attack.auc
        return [
            f"{self.population.value:.2f}",
            f"{found.value:.2f} ± {1.96 * found.error:.2f}",
            f"{self.accuracy:.0%}",
        ]


def ulira(
    methods: Mapping[str, Method[Any]],
    base: Examples,
    candidates: Examples,
    validation: Examples,
    build: Callable[..., nn.Module],
    recipe: Recipe,
    *,
    batches: int = 1,
    shadows: int = 32,
    targets: int = 4,
    seed: int = 0,
    workers: int = 0,
    executor: Any = None,
    keep: Path | str | None = None,
    watch: Callable[[int, int], Any] = lambda done, total: None,
) -> dict[str, Exposure]:
    """`metrics.lira.mini_ulira` for many methods: a shadow model is trained once, and each unlearns it.

    Args:
        methods: by name; they must apply to samples. "Do nothing" is always among them.
        base: what every model is trained on.
        candidates: each is in a random half of the models, which then forget it.
        validation: for stop rules.
        build: ``build(seed=...)`` makes an untrained net; importable, for other processes.
        recipe: of training.
        batches: how many batches of every epoch hold the candidates.
        shadows: number of shadow models, even; each candidate is inside half of them.
        targets: number of models under attack, even.
        seed: of the plan and the models.
        workers, executor, keep: where the models are trained, and a folder for what was found, as in
            `jobs.run_jobs`. They change no bit of the result.
        watch: told after every model how many are done, and of how many.

    Raises:
        ValueError: a method does not apply to samples, there are no samples, or a number of models is odd.
        JobsError: a model failed; the others are done.
    """
    for name, method in check.fit("methods", methods, Mapping[str, Method[Any]]).items():
        if "samples" in method.refuses:
            raise ValueError(f"`methods` must apply to samples; got {name!r}: {method.refuses['samples']}")
    for part, given in (("base", base), ("candidates", candidates), ("validation", validation)):
        check_examples(part, given)
    check.function("build", build), check.instance("recipe", recipe, Recipe)
    check.whole("batches", batches, 1)
    job = partial(shadow, dict(methods), base, candidates, validation, build, recipe, batches)
    models, inside = shadow_models(
        job,
        len(candidates),
        shadows,
        targets,
        seed=seed,
        workers=workers,
        executor=executor,
        keep=keep,
        watch=watch,
    )
    found = {}
    for name in models[0]:
        every = Margins(torch.stack([model[name].phi for model in models]), inside)
        target = every[shadows:]
        found[name] = Exposure(
            attack=lira(every[:shadows], target),
            margins=every,
            population=auc(target.phi[target.inside], target.phi[~target.inside]),
            accuracy=fmean(model[name].accuracy for model in models[shadows:]),
        )
    return found


class Shadow(NamedTuple):
    """One model: its margins on the candidates, and its accuracy on validation samples."""

    phi: Float[Tensor, " n"]
    accuracy: float


def shadow(
    methods: Mapping[str, Method[Any]],
    base: Examples,
    candidates: Examples,
    validation: Examples,
    build: Callable[..., nn.Module],
    recipe: Recipe,
    batches: int,
    inside: Tensor,
    seed: int,
) -> dict[str, Shadow]:
    """One shadow model: trained on the base and on its candidates, which every method then forgets."""
    ours = candidates.where(inside)
    with tempfile.TemporaryDirectory(prefix="unlearn-") as folder:
        task = Task(
            kind="samples",
            data=base + ours,
            ids=ours.ids,
            validation=validation,
            recipe=recipe.but(seed=seed),
            initial=build(seed=seed),
            folder=Path(folder),
            batches=batches,
        )
        models = {NOTHING: task.original}
        models |= {name: method.unlearn(task).model for name, method in methods.items()}
    return {
        name: Shadow(
            phi=margins(logits(model, candidates), candidates.y), accuracy=accuracy(model, validation)
        )
        for name, model in models.items()
    }
