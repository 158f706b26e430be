"""Amnesiac unlearning and its layer-wise partial form: remember what each batch did, then undo it.

Training is a sum of small updates, one for each batch b of epoch e. Remember them, with the samples that
caused them; to forget samples, subtract the updates of the batches S_B that held one of them:

    theta_M = theta_0 + sum of all U_{e,b} ,        unlearned = theta_M - sum over S_B of U_{e,b} .

*Partial*: of every update, keep only the share p in each layer (by default the k_l = ceil(p n_l) entries of
the largest magnitude), pruned before it is stored. That costs less storage, and undoing tears out less of
what the other samples in those batches taught. Amnesiac unlearning is p = 1. Forgetting reads the log and
nothing else: no data, no gradient, no fine-tuning.

The result is not the model trained without these batches. Later updates were made by a model that had seen
them (with momentum or Adam, even from their gradients), and they stay.

How well it works depends on the optimizer, and on how the samples are laid out (`packed`). The largest
entries are not always the best choice. In lesson 03 the control, *every* entry of the updates times one share
(`controls.undo_scaled`), does as well at equal forgetting: there, ranking buys storage, not accuracy.

Differs from the paper:
    The abstract of Gogineni and Nadimi tells us for certain: updates made in training are pruned layer by
    layer, stored, and later used to forget, and the fine-tuning that plain amnesiac unlearning needs is not
    needed. Their code is not public. *Our reading* is that entries are ranked by the magnitude of the update
    (it could be that of the weight), that all layers have one share, and that a layer is a parameter tensor.
    *Our decisions*: all batches are recorded, because any sample may be withdrawn (`sensitive` records fewer,
    as the code of Graves et al. does); the rules "random" and "global" as controls; purging. Buffers are
    neither recorded nor undone, as in the code of Graves et al., so use a net without batch norm.

References:
    L. Graves, V. Nagisetty, V. Ganesh, Amnesiac Machine Learning, AAAI 2021, 11516-11524, arXiv:2010.10981.
    V. C. Gogineni, E. S. Nadimi, Efficient Knowledge Deletion from Trained Models Through Layer-wise Partial
    Machine Unlearning, 2024, arXiv:2403.07611; Journal of Machine Learning Research, 2025.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import nn

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.data import Batch
from unlearn_lib.methods.amnesiac.log import Entry, Log
from unlearn_lib.params import assign, snapshot
from unlearn_lib.train import Step, Unlearned, as_run

__all__ = ["UndoTrace", "amnesiac"]


@dataclass(frozen=True)
class UndoTrace:
    """What a request undid.

    `ids` are the samples it newly forgot, `undone` the batches (epoch, step) it subtracted, `changed` the
    number of entries of the model that moved; bytes are those of the update files.
    """

    ids: tuple[int, ...]
    undone: tuple[tuple[int, int], ...]
    batches: int
    changed: int
    nbytes_before: int
    nbytes_after: int


@as_run
def amnesiac(
    model: nn.Module, ids: Ids, log: Log, *, purge: bool = True
) -> Generator[Step, None, Unlearned[UndoTrace]]:
    """Forget samples: subtract what their batches did, then purge it. Needs the log, and no data.

        theta_l at S_l  -=  U_{e,b} at S_l        for (e, b) in S_B in chronological order, for each layer l

    A batch shared by several requests is subtracted once, so requests compose: A then B is A and B together,
    up to rounding. A request already carried out changes nothing and says so. Without data, nothing here can
    check whether the model had learned the samples at all; do that first.

    Args:
        model: a model of this log: as trained, or as it was after any request. It is left unchanged. The
            result always starts from the log's current model, which has forgotten every request so far; so a
            notebook cell run twice gives the same answer.
        ids: samples to forget.
        log: of the run that trained the model.
        purge: delete the values that were used, take the ids off the ledger, and store the result in the log.
            False only tries: the log stays as it is.

    Yields:
        One `Step` per batch undone: `epoch` and `batch.ids` are those of the batch, `model` is the model so
        far, `loss` is NaN (there is no data), `info` holds `key` = (e, b) and `norm`, the L2 norm subtracted.

    Returns:
        The unlearned model, the seconds, and an `UndoTrace`.

    Raises:
        ValueError: an id was never recorded.
        StoreError: the log belongs to another model; an update file is missing or damaged (nothing is
            subtracted then, and the log stays as it is); the folder is in use, or cannot be written.
        TypeError: no ids, no log, no model.

    Example:
        >>> log = ul.run(ul.record(initial, data, recipe, folder, keep=0.1))
        >>> result = ul.run(ul.amnesiac(initial, [7, 8], log))
        >>> result.trace.ids
        (7, 8)
    """
    begun = time.perf_counter()
    check.flag("purge", purge)
    with check.instance("log", log, Log, remedy="`Log(folder)` opens one.").folder.locked() as store:
        log.read()
        store.sweep()
        unlearned = log.current(model)
        request = _still_there(log, ids)
        todo = _recorded(log, request)
        theta = log.layers.flatten(snapshot(unlearned))
        changed = torch.zeros_like(theta, dtype=torch.bool)
        nbytes = log.nbytes
        for number, (entry, S, U) in enumerate(log.stream(todo), 1):
            S, U = S.to(theta.device), U.to(theta.device)
            theta[S] -= U
            changed[S] = True
            assign(unlearned, log.layers.unflatten(theta))
            info = {"key": entry.key, "norm": float(U.norm())}
            batch = Batch(torch.empty(0), torch.empty(0), torch.tensor(entry.ids))
            yield Step("undo", entry.epoch, number, len(todo), math.nan, batch, unlearned, info)
        if purge and request:
            log.forget(store, unlearned, request, todo)
    trace = UndoTrace(
        ids=tuple(sorted(request)),
        undone=tuple(entry.key for entry in todo),
        batches=len(log.entries),
        changed=int(changed.sum()),
        nbytes_before=nbytes,
        nbytes_after=log.nbytes,
    )
    return Unlearned(unlearned.eval(), time.perf_counter() - begun, trace)


def _still_there(log: Log, ids: Ids) -> set[int]:
    """The samples that are still to be forgotten; says so where there is none."""
    request, done = log.resolve(ids)
    if not done and not request:
        check.warn("`ids` names no sample: nothing to do.")
    if done and not request:
        check.warn("`ids` were forgotten already: the model stays as it is.")
    return request


def _recorded(log: Log, request: set[int]) -> list[Entry]:
    """S_B, as far as its updates are stored; says so where some are not."""
    touched = log.touched(request)
    stored = [entry for entry in touched if entry.file]
    lost = sum(not entry.undone for entry in touched) - len(stored)
    if lost:
        check.warn(
            f"{lost} of the {len(touched)} batches that held these samples were not recorded "
            "(`sensitive`): what they did stays in the model."
        )
    return stored
