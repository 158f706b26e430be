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
    Its abstract gives us sharding as a limit on influence, and partitions that follow the distribution of
    requests; the authors' code gives us slices with checkpoints, the vote, and the sum of epochs. Ours are: a
    fresh optimizer in every stage (theirs does not store its state, so with momentum a reloaded stage differs
    from the uninterrupted run); orders and dropout keyed by (seed, stage, epoch, id); e_r in whole numbers;
    cost in sample visits; how ties are broken; the four modes of `partition`; checkpoints in a table by shard
    and stage rather than under a hash of the surviving ids, replaced and deleted in one move; and one initial
    model for all shards. Our reading is that "exact" assumes requests that do not react to the published
    model.

References:
    L. Bourtoule, V. Chandrasekaran, C. A. Choquette-Choo, H. Jia, A. Travers, B. Zhang, D. Lie, N. Papernot,
    Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

from torch import nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Examples
from unlearn_lib.methods.sisa.ensemble import Ensemble, SisaTrace
from unlearn_lib.methods.sisa.partition import Partition
from unlearn_lib.methods.sisa.vote import Votes, Weights, check_votes, check_weights
from unlearn_lib.methods.stages import Fit, check_fit, train_stages
from unlearn_lib.params import state
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step, Unlearned, as_run

__all__ = ["sisa", "train_sisa"]


@as_run
def train_sisa(
    model: nn.Module, data: Examples, recipe: Recipe | Fit, cells: Partition, folder: Folder | Path | str
) -> Generator[Step, None, Ensemble]:
    """TRAIN: stage after stage, shard after shard, storing every checkpoint; go on where a killed run ended.

    A folder that holds the complete ensemble is opened, without a step. With S = R = 1 this is plain
    training, bit for bit.

    Args:
        model: M_0, untrained, of every shard; left unchanged.
        data: the training set, as `cells` was made from. Samples that this folder has forgotten are left out.
        recipe: `epochs` is e', per shard without slicing; best with 2 e' divisible by R + 1. Or a loop of
            your own: ``fit(model, examples, k)`` trains `model` in place in stage k = 1 ... S R, shard after
            shard. It is called again when samples are forgotten, so let it repeat itself: seed what is random
            by k. One call counts as one epoch.
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

    Example:
        >>> cells = ul.partition(data, shards=2, slices=2)
        >>> ensemble = ul.run(ul.train_sisa(initial, data, recipe, cells, folder))
        >>> ul.accuracy(ensemble.vote(), test) > 0.8
        True
    """
    check.instance("cells", cells, Partition, remedy="`partition` makes one.")
    return (
        yield from train_stages(
            Ensemble.new(model, data, check_fit(recipe), cells.flat, folder, slices=cells.slices)
        )
    )


@as_run
def sisa(
    ensemble: Ensemble, ids: Ids, votes: Votes = "soft", weights: Weights = "uniform"
) -> Generator[Step, None, Unlearned[SisaTrace]]:
    """DELETE: redo each touched shard, once, from its lowest touched slice.

    A dry run: what is stored stays as it is until `Ensemble.commit`.

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

    Example:
        >>> cells = ul.partition(data, shards=2, slices=2)
        >>> ensemble = ul.run(ul.train_sisa(initial, data, recipe, cells, folder))
        >>> result = ul.run(ul.sisa(ensemble, [7]))
        >>> result.trace.shards
        (1,)
        >>> ensemble = ensemble.commit(result.trace)
    """
    begun = time.perf_counter()
    request = check.instance("ensemble", ensemble, Ensemble).pending(ids)
    check_votes(votes)
    check_weights(weights, ensemble.shards, [1] * ensemble.shards)
    if not len(request):
        check.warn("`ids` names no sample that is still in the ensemble: nothing to do.")
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
        ids=tuple(request.tolist()),
        restarts=tuple(restarts.items()),
        slices=ensemble.slices,
        visits=visits,
        full=round(ensemble.budget * len(left.data)),
        exact=ensemble.recipe is not None,
        retrained=tuple(retrained),
    )
    return Unlearned(ensemble.vote(votes, weights, after=trace), time.perf_counter() - begun, trace)
