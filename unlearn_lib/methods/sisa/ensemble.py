"""SISA's checkpoints: what is stored of every shard, how they vote, and what a request leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.data import Examples
from unlearn_lib.methods.sisa.partition import Partition, stage_epochs
from unlearn_lib.methods.sisa.vote import SisaModel, Votes, Weights, check_votes, check_weights
from unlearn_lib.methods.stages import Stages, forget
from unlearn_lib.params import Params, assign, clone
from unlearn_lib.train import Recipe, Step, train

__all__ = ["Ensemble", "SisaTrace"]


@dataclass(frozen=True)
class SisaTrace:
    """What a request redid.

    `restarts` holds (s, j) for every shard touched: stages j ... R were redone from M_{s,j-1}. `retrained`
    are the new checkpoints as (number of the stored model, state). `visits` are the samples times epochs
    that were trained, `full` those of retraining one model on everything that is left. `exact` says that the
    new checkpoints are, bit for bit, what training without the samples gives for this partition; it is False
    where the loop is one's own, as we cannot know whether that repeats itself.
    """

    ids: tuple[int, ...]
    restarts: tuple[tuple[int, int], ...]
    slices: int
    visits: int
    full: int
    exact: bool
    retrained: tuple[tuple[int, Params], ...] = field(repr=False)

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards touched."""
        return tuple(s for s, _ in self.restarts)

    @property
    def stages(self) -> int:
        """Stages redone, over all shards."""
        return len(self.retrained)

    @property
    def speedup(self) -> float:
        """Visits of full retraining per visit of this request."""
        return self.full / max(self.visits, 1)


@dataclass(frozen=True)
class Ensemble(Stages):
    """The checkpoints M_{s,r} of all shards in one folder. Shards and slices count from 1; M_{s,0} is M_0.

    `recipe.epochs` is e', the full epochs that a shard would get without slicing. A value: `commit` returns a
    new one and the old one's files are gone.
    """

    slices: int = 1

    kind: ClassVar[str] = "SISA ensemble"
    opened_by: ClassVar[str] = "train_sisa"

    @property
    def shards(self) -> int:
        """S."""
        return self.blocks // self.slices

    @property
    def partition(self) -> Partition:
        """Who is where, now."""
        return Partition.of(self.members, self.slices)

    @property
    def budget(self) -> float:
        """e', of the recipe; a loop of one's own counts as an epoch in every stage."""
        return self.recipe.epochs if self.recipe else (self.slices + 1) / 2

    def index(self, s: int, r: int) -> int:
        """Where M_{s,r} is among the stored models.

        Raises:
            ValueError: there is no such shard or stage.
        """
        s, r = check.whole("s", s, 1, self.shards), check.whole("r", r, 0, self.slices)
        return (s - 1) * self.slices + r if r else 0

    def checkpoint(self, s: int, r: int | None = None) -> nn.Module:
        """M_{s,r} in eval mode; by default M_{s,R}, the one that votes."""
        return self.model(self.index(s, self.slices if r is None else r))

    def start(self, k: int) -> int:
        """M_0 for the first stage of a shard, else the stage before."""
        k = check.whole("k", k, 1, self.blocks)
        return 0 if self._place(k)[1] == 1 else k - 1

    def examples(self, k: int) -> Examples:
        """D_{s,1} ... D_{s,r}: slices 1 ... r of its shard, perhaps empty by now."""
        _, r = self._place(check.whole("k", k, 1, self.blocks))
        return self.data.select(torch.cat(self.members[k - r : k]))

    def info(self, k: int) -> dict[str, int]:
        """`shard`, `stage`, `shards` and `slices`."""
        s, r = self._place(k)
        return {"shard": s, "stage": r, "shards": self.shards, "slices": self.slices}

    def phase(self, k: int) -> str:
        """Shard s of S, stage r of R."""
        return "shard {shard} of {shards}, stage {stage} of {slices}".format(**self.info(k))

    def by_recipe(self, recipe: Recipe, k: int, model: nn.Module, examples: Examples) -> Iterable[Step]:
        """Go on from M_{s,r-1} for e_r epochs, perhaps none."""
        r, R = self._place(k)[1], self.slices
        once = recipe.but(epochs=stage_epochs(r, R, recipe.epochs))
        return train(model, examples, once, phase=self.phase(k), block=k - 1, part=(r, R))

    def check(self) -> None:
        """Refuse a partition of other data; warn of idle stages and of shards that lack a class."""
        if not self.covers():
            raise ValueError("`cells` must hold every id of `data` exactly once.")
        R, y, budget = self.slices, self.data.y, self.recipe.epochs if self.recipe else self.slices
        idle = sum(stage_epochs(r, R, budget) == 0 for r in range(1, R + 1))
        if idle:
            short = f"`recipe.epochs` is {budget}, less than (R + 1) / 2"
            check.warn(f"{idle} of {R} stages have no epoch and learn nothing: {short}.")
        held = (torch.isin(self.data.ids.cpu(), torch.cat(shard)) for shard in self.partition.cells)
        lacking = sum(len(y.cpu()[mask].unique()) < len(y.unique()) for mask in held)
        if lacking:
            shards = len(self.partition.cells)
            check.warn(f"Shards that lack a class, and can never vote for it: {lacking} of {shards}.")

    def label(self, k: int) -> str:
        """How the file of M_{s,r} begins."""
        k = check.whole("k", k, 0, self.blocks)
        return "shard-{:03d}-stage-{:03d}".format(*self._place(k)) if k else "initial"

    def manifest(self) -> dict[str, Any]:
        """For JSON."""
        return super().manifest() | {"slices": self.slices}

    def vote(
        self, votes: Votes = "soft", weights: Weights = "uniform", *, after: SisaTrace | None = None
    ) -> SisaModel:
        """PREDICT: the models M_{s,R} of all shards as one, in eval mode.

        Args:
            votes: see `aggregate`.
            weights: "uniform"; "size", the samples a shard still has; or one number a shard, 0 to switch it
                off. A shard without samples has no vote.
            after: of a request: as it will be once committed.

        Raises:
            ValueError: unknown `votes` or `weights`, or no shard is left to vote.
        """
        check.instance("after", after, (SisaTrace, type(None)))
        cells = (self.partition.without(after.ids) if after else self.partition).sizes
        sizes = [sum(shard) for shard in cells]
        w = check_weights(weights, self.shards, sizes)
        check_votes(votes)
        voters = [s for s, size in enumerate(sizes, 1) if size]
        redone = dict(after.retrained) if after else {}
        models = [clone(self.template) for _ in voters]
        for s, model in zip(voters, models, strict=True):
            k = self.index(s, self.slices)
            assign(model, redone[k] if k in redone else self.state(k))
        return SisaModel(models, [w[s - 1] for s in voters], votes).eval()

    def commit(self, trace: SisaTrace) -> Ensemble:
        """Replace the redone checkpoints, take the ids off the map, delete the old files: one move.

        Nothing stored afterwards depends on the forgotten samples, except sizes and the partition itself.

        Args:
            trace: of the request to carry out. One that is carried out already changes nothing.

        Returns:
            The new ensemble; requests compose exactly. This one can no longer be read.

        Raises:
            StoreError: another request has been committed in between, or the folder cannot be written; the
                old ensemble is then still whole.
        """
        new = dict(check.instance("trace", trace, SisaTrace).retrained)
        if not len(self.pending(trace.ids)):
            return self
        return forget(self, trace.ids, new, new.__getitem__)

    def _place(self, k: int) -> tuple[int, int]:
        """(s, r) of stage k."""
        return (k - 1) // self.slices + 1, (k - 1) % self.slices + 1
