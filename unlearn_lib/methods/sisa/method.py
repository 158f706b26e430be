"""SISA: isolated models of disjoint shards vote; to forget, redo one shard from the slice of the sample.

The training set is dealt into S shards, each shard into R slices D_{s,1} ... D_{s,R}. The models of the
shards never meet before they vote, and a shard takes in its slices one after the other, with a checkpoint
after each:

    M_{s,r} <- continue from M_{s,r-1} on D_{s,1} ... D_{s,r} for e_r epochs,    M_{s,0} = M_0 for every s.

A sample in slice j of shard s does not exist for other shards, nor for M_{s,0} ... M_{s,j-1}. To forget it,
load M_{s,j-1} and redo stages j ... R without it. Nothing is approximated: the result is, bit for bit, what
training without the sample gives **for the given partition**. The price is accuracy (each model sees 1/S of
the data), S R + 1 stored models, and S predictions for a query.

Differs from the paper:
    From its abstract we have sharding as a limit on influence, and partitions by the distribution of
    requests; from the authors' code slices with checkpoints, the vote and the sum of epochs. Ours are: the
    optimizer is fresh in every stage (theirs does not store its state, so that with momentum a reloaded stage
    leaves the uninterrupted run); orders and dropout keyed by (seed, stage, epoch, id); e_r in whole numbers;
    cost in sample visits; ties; the four modes of `partition`; checkpoints in a table by shard and stage
    instead of under a hash of the surviving ids, replaced and deleted in one move. All shards start from one
    initial model. Our reading: "exact" also assumes requests that do not react to the published model.

References:
    L. Bourtoule, V. Chandrasekaran, C. A. Choquette-Choo, H. Jia, A. Travers, B. Zhang, D. Lie, N. Papernot,
    Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples
from unlearn_lib.methods.sisa.partition import Partition, partition, stage_epochs
from unlearn_lib.methods.stages import Stages, forget, train_stages
from unlearn_lib.params import Params, assign, clone, state
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step, Unlearned, train

__all__ = [
    "Ensemble",
    "Partition",
    "SisaModel",
    "SisaTrace",
    "aggregate",
    "commit",
    "partition",
    "sisa",
    "train_sisa",
]

Votes = Literal["soft", "hard"]
Weights = Literal["uniform", "size"] | Sequence[float]

_NO_VOTE = 1e-6  # share written for a class without a vote: a loss stays finite
_TIE = 1e-3  # added to the logit of the winner of a tie


@dataclass(frozen=True)
class Ensemble(Stages):
    """The checkpoints M_{s,r} of all shards in one folder. Shards and slices count from 1; M_{s,0} is M_0.

    `recipe.epochs` is e', the full epochs that a shard would get without slicing. A value: `commit` returns a
    new one and the old one's files are gone.
    """

    slices: int = 1

    kind: ClassVar[str] = "SISA ensemble"

    @property
    def shards(self) -> int:
        """S."""
        return self.blocks // self.slices

    @property
    def partition(self) -> Partition:
        """Who is where, now."""
        return Partition.of(self.members, self.slices)

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

    def learn(self, k: int, model: nn.Module) -> Iterator[Step]:
        """Train M_{s,r-1} on slices 1 ... r of its shard for e_r epochs, perhaps none."""
        (s, r), S, R = self._place(k), self.shards, self.slices
        examples = self.data.select(torch.cat(self.members[k - r : k]))
        recipe = self.recipe.but(epochs=stage_epochs(r, R, self.recipe.epochs))
        phase, info = (
            f"shard {s} of {S}, stage {r} of {R}",
            {"shard": s, "stage": r, "shards": S, "slices": R},
        )
        for step in train(model, examples, recipe, phase=phase, block=k - 1) if len(examples) else ():
            yield step._replace(info=info)

    def check(self) -> None:
        """Refuse a partition of other data; warn of idle stages and of shards that lack a class."""
        if not self.covers():
            raise ValueError("`cells` must hold every id of `data` exactly once.")
        R, y, budget = self.slices, self.data.y, self.recipe.epochs
        idle = sum(stage_epochs(r, R, budget) == 0 for r in range(1, R + 1))
        if idle:
            short = f"`recipe.epochs` is {budget}, less than (R + 1) / 2"
            warnings.warn(f"{idle} of {R} stages have no epoch and learn nothing: {short}.", stacklevel=6)
        held = (torch.isin(self.data.ids.cpu(), torch.cat(shard)) for shard in self.partition.cells)
        lacking = sum(len(y.cpu()[mask].unique()) < len(y.unique()) for mask in held)
        if lacking:
            shards = len(self.partition.cells)
            warnings.warn(
                f"Shards that lack a class, and can never vote for it: {lacking} of {shards}.", stacklevel=6
            )

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
        w = _check_weights(weights, self.shards, sizes)
        _check_votes(votes)
        voters = [s for s, size in enumerate(sizes, 1) if size]
        redone = dict(after.retrained) if after else {}
        models = [clone(self.template) for _ in voters]
        for s, model in zip(voters, models, strict=True):
            k = self.index(s, self.slices)
            assign(model, redone[k] if k in redone else self.state(k))
        return SisaModel(models, [w[s - 1] for s in voters], votes).eval()

    def _place(self, k: int) -> tuple[int, int]:
        """(s, r) of stage k."""
        return (k - 1) // self.slices + 1, (k - 1) % self.slices + 1


class SisaModel(nn.Module):
    """The vote of the shards' models, as one model: `aggregate` of their outputs.

    A soft vote is a model like any other for every audit: softmax of its outputs is the mean of the shards'
    probabilities. A hard vote has the right arg max, and only vote shares for probabilities.

    Args:
        shards: the models, one a shard; used as they are.
        weights: one a model.
        votes: see `aggregate`.
    """

    def __init__(self, shards: Sequence[nn.Module], weights: Sequence[float], votes: Votes = "soft") -> None:
        super().__init__()
        check.instance("shards", shards, (list, tuple, nn.ModuleList))
        for s, shard in enumerate(shards):
            check.instance(f"shards[{s}]", shard, nn.Module)
        self.weights, self.votes = tuple(_check_weights(weights, len(shards))), _check_votes(votes)
        self.shards = nn.ModuleList(shards)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [n, k] for inputs [n, ...]."""
        return _aggregate(torch.stack([shard(x) for shard in self.shards]), self.weights, self.votes)


def aggregate(
    outputs: Float[Tensor, "s n k"], weights: Sequence[float], votes: Votes = "soft"
) -> Float[Tensor, "n k"]:
    """One output for S of them: the logarithm of each class's share of the vote.

        soft:  log sum_s w_s softmax_s(x)          hard:  log sum_s w_s [class is arg max_s(x)]

    with weights that sum to one. A hard tie goes to the larger summed softmax, then to the lower class: the
    winner's logit is raised by 0.001. A class without a hard vote gets the share 1e-6 for its logarithm.

    Args:
        outputs: logits of the S models; stored ones make every control an array sum.
        weights: S numbers, zero or more, not all zero.
        votes: "soft" or "hard".

    Raises:
        ValueError: outputs, weights or votes are not as above.
    """
    check.finite("outputs", outputs, "s n k")
    return _aggregate(outputs, _check_weights(weights, len(outputs)), _check_votes(votes))


def _aggregate(outputs: Tensor, weights: Sequence[float], votes: Votes) -> Tensor:
    w = torch.tensor(weights, dtype=outputs.dtype, device=outputs.device)[:, None, None]
    soft = (outputs.log_softmax(-1) + (w / w.sum()).log()).logsumexp(0)
    if votes == "soft":
        return soft
    count = (w * F.one_hot(outputs.argmax(-1), outputs.shape[-1])).sum(0)
    first = count == count.max(1, keepdim=True).values
    winner = soft.masked_fill(~first, -math.inf).argmax(1, keepdim=True)
    tied = first.sum(1, keepdim=True) > 1
    return (count / w.sum()).clamp_min(_NO_VOTE).log().scatter_add(1, winner, _TIE * tied.to(w.dtype))


@dataclass(frozen=True)
class SisaTrace:
    """What a request redid.

    `restarts` holds (s, j) for every shard touched: stages j ... R were redone from M_{s,j-1}. `retrained`
    are the new checkpoints as (number of the stored model, state). `visits` are the samples times epochs
    that were trained, `full` those of retraining one model on everything that is left.
    """

    ids: tuple[int, ...]
    restarts: tuple[tuple[int, int], ...]
    slices: int
    visits: int
    full: int
    retrained: tuple[tuple[int, Params], ...] = field(repr=False)

    exact: ClassVar[bool] = True  # for the given partition

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


def train_sisa(
    model: nn.Module, data: Examples, recipe: Recipe, cells: Partition, folder: Folder | Path | str
) -> Generator[Step, None, Ensemble]:
    """TRAIN: stage after stage, shard after shard, storing every checkpoint; go on where a killed run ended.

    A folder that holds the complete ensemble is opened, without a step. With S = R = 1 this is plain
    training, bit for bit.

    Args:
        model: M_0, untrained, of every shard; left unchanged.
        data: the training set, as `cells` was made from. Samples that this folder has forgotten are left out.
        recipe: `epochs` is e', per shard without slicing; best with 2 e' divisible by R + 1.
        cells: see `partition`.
        folder: where the checkpoints live. One ensemble a folder.

    Yields:
        One `Step` per mini-batch; `info` holds `shard`, `stage`, `shards` and `slices`.

    Returns:
        The ensemble.

    Raises:
        StoreError: the folder holds something else (which fields differ), is damaged, in use or cannot be
            written.
        ValueError: `cells` does not hold every id of `data` exactly once.
        TypeError: `cells` is no partition.
    """
    check.instance("cells", cells, Partition, remedy="`partition` makes one.")
    return (
        yield from train_stages(Ensemble.new(model, data, recipe, cells.flat, folder, slices=cells.slices))
    )


def sisa(
    ensemble: Ensemble, ids: Ids, votes: Votes = "soft", weights: Weights = "uniform"
) -> Generator[Step, None, Unlearned[SisaTrace]]:
    """DELETE: redo each touched shard, once, from its lowest touched slice.

    A dry run: what is stored stays as it is until `commit`.

    Args:
        ensemble: as trained.
        ids: samples to forget. Those already forgotten are ignored; with none left nothing is trained.
        votes: of the model returned; see `aggregate`.
        weights: of the model returned; see `Ensemble.vote`.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The vote without the samples, the seconds, and a `SisaTrace`.

    Raises:
        ValueError: an id was never in the ensemble, or no sample would be left.
    """
    begun = time.perf_counter()
    request = check.instance("ensemble", ensemble, Ensemble).pending(ids)
    _check_votes(votes)
    _check_weights(weights, ensemble.shards, [1] * ensemble.shards)
    if not len(request):
        warnings.warn("`ids` names no sample that is still in the ensemble: nothing to do.", stacklevel=2)
    if len(request) == len(ensemble.data):
        raise ValueError(f"`ids` must leave a sample; they are all {len(request)} of the ensemble.")
    left, restarts = ensemble.without(request), ensemble.partition.restarts(request)
    retrained, visits = [], 0
    for s, j in restarts.items():
        model = ensemble.checkpoint(s, j - 1)  # M_{s,j-1}: the last that cannot have seen them
        for r in range(j, ensemble.slices + 1):
            for step in left.learn(ensemble.index(s, r), model):
                visits += len(step.batch.ids)
                yield step
            retrained.append((ensemble.index(s, r), state(model)))
    trace = SisaTrace(
        *(tuple(request.tolist()), tuple(restarts.items()), ensemble.slices, visits),
        *(ensemble.recipe.epochs * len(left.data), tuple(retrained)),
    )
    return Unlearned(ensemble.vote(votes, weights, after=trace), time.perf_counter() - begun, trace)


def commit(ensemble: Ensemble, trace: SisaTrace) -> Ensemble:
    """Replace the redone checkpoints, take the ids off the map, delete the old files: one move.

    Nothing stored afterwards depends on the forgotten samples, except sizes and the partition itself.

    Args:
        ensemble: that `trace` was made from.
        trace: of the request to carry out. One that is carried out already changes nothing.

    Returns:
        The new ensemble; requests compose exactly. `ensemble` itself can no longer be read.

    Raises:
        StoreError: another request has been committed in between, or the folder cannot be written; the old
            ensemble is then still whole.
    """
    check.instance("ensemble", ensemble, Ensemble)
    new = dict(check.instance("trace", trace, SisaTrace).retrained)
    if not len(ensemble.pending(trace.ids)):
        return ensemble
    return forget(ensemble, trace.ids, new, new.__getitem__)


def _check_weights(weights: Any, shards: int, sizes: Sequence[float] = ()) -> list[float]:
    """One weight a shard; the words are allowed where `sizes` are given."""
    if isinstance(weights, str):
        words = ("uniform", "size") if sizes else ()
        if weights not in words:
            also = '"uniform", "size" or ' if sizes else ""
            raise ValueError(f"`weights` must be {also}{shards} numbers; got {weights!r}.")
        return [1.0] * shards if weights == "uniform" else list(sizes)
    found: list[float] = check.as_tensor("weights", weights).double().flatten().tolist()
    if len(found) != shards or not all(0 <= w < math.inf for w in found) or not any(found):
        raise ValueError(
            f"`weights` must be {shards} finite numbers, zero or more and not all zero; "
            f"got {check.brief(weights)}."
        )
    return found


def _check_votes(votes: Any) -> Votes:
    found: Votes = check.choice("votes", votes, get_args(Votes))
    return found
