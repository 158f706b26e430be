"""Whoever takes ids takes ids: a mask is refused everywhere, in words that show both spellings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import traitlets

from tests.toys import CHAIN_RECIPE, blobs, chain_steps, tiny_net
from unlearn_lib import check
from unlearn_lib.classroom.panels.pickers import EmbeddingPicker, parse_ids
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.contest.task import Task
from unlearn_lib.data import Examples, Split
from unlearn_lib.methods.amnesiac import amnesiac, packed, record
from unlearn_lib.methods.deepobliviate import deepobliviate
from unlearn_lib.methods.sisa import partition, sisa, train_sisa
from unlearn_lib.metrics.backdoor import corner_trigger, poison
from unlearn_lib.store import Folder
from unlearn_lib.train import run

NAMES = ("a", "b", "c")
BOTH = r"got a mask of yes and no\. With a mask write `data\.ids\[mask\]` .* or `data\.where\(mask\)`"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """Data, a net, and one store of each kind."""
    root, data, net = tmp_path_factory.mktemp("stores"), blobs(), tiny_net()
    return SimpleNamespace(
        root=root,
        data=data,
        net=net,
        chain=run(chain_steps(root / "chain")),
        ensemble=run(
            train_sisa(tiny_net(), data, CHAIN_RECIPE, partition(data, 2, 3), Folder(root / "sisa"))
        ),
        log=run(record(net, data, CHAIN_RECIPE, root / "log", keep=1)),
    )


TAKERS = {
    "Examples.select": lambda m, ids: m.data.select(ids),
    "Examples.without": lambda m, ids: m.data.without(ids),
    "Examples.rows": lambda m, ids: m.data.rows(ids),
    "Split.by_ids": lambda m, ids: Split.by_ids(m.data, ids),
    "poison": lambda m, ids: poison(m.data, ids, 0, corner_trigger((5,), 1.0)),
    "deepobliviate": lambda m, ids: run(deepobliviate(m.chain, ids)),
    "Chain.block_of": lambda m, ids: m.chain.block_of(ids),
    "Chain.pending": lambda m, ids: m.chain.pending(ids),
    "Chain.without": lambda m, ids: m.chain.without(ids),
    "sisa": lambda m, ids: run(sisa(m.ensemble, ids)),
    "Ensemble.pending": lambda m, ids: m.ensemble.pending(ids),
    "Partition.without": lambda m, ids: m.ensemble.partition.without(ids),
    "Partition.restarts": lambda m, ids: m.ensemble.partition.restarts(ids),
    "Partition.visits": lambda m, ids: m.ensemble.partition.visits(2, ids),
    "amnesiac": lambda m, ids: run(amnesiac(m.net, ids, m.log)),
    "record": lambda m, ids: run(
        record(tiny_net(), m.data, CHAIN_RECIPE, m.root / "new", keep=1, sensitive=ids)
    ),
    "packed": lambda m, ids: packed(ids, 2, CHAIN_RECIPE),
    "Log.resolve": lambda m, ids: m.log.resolve(ids),
    "Log.touched": lambda m, ids: m.log.touched(ids),
    "Log.updates": lambda m, ids: m.log.updates(ids),
    "Task": lambda m, ids: Task("samples", m.data, torch.as_tensor(ids), m.data, CHAIN_RECIPE, m.net, m.root),
    "EmbeddingPicker": lambda m, ids: EmbeddingPicker(m.data, "which", NAMES, value=ids),
    "Thumbnails": lambda m, ids: Thumbnails(m.data, "which", NAMES, value=ids),
}
MASKS = {
    "tensor": lambda mask: mask,
    "array": lambda mask: mask.numpy(),
    "list": lambda mask: mask.tolist(),
    "zeros and ones": lambda mask: mask.long(),
    "list of zeros and ones": lambda mask: mask.long().tolist(),
    "bytes": lambda mask: mask.numpy().astype(np.uint8),
}


def files(made: SimpleNamespace) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in made.root.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_mask_where_ids_belong_is_refused_and_nothing_on_disk_changes(made, taker, kind):
    mask, before = MASKS[kind](made.data.y == 1), files(made)
    with pytest.raises(TypeError, match=BOTH):
        TAKERS[taker](made, mask)
    assert files(made) == before


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("taker", TAKERS)
def test_ids_zero_and_one_are_taken_by_all_who_refuse_masks(made, taker):
    if taker in ("amnesiac", "record"):  # these write; their own tests show that they take ids
        return
    TAKERS[taker](made, [0, 1])


@pytest.mark.parametrize("kind", MASKS)
def test_a_choice_of_samples_that_is_set_later_takes_no_mask_either(made, kind):
    mask = MASKS[kind](made.data.y == 1)
    for control in (EmbeddingPicker(made.data, "which", NAMES), Thumbnails(made.data, "which", NAMES)):
        control.value = [3]
        with pytest.raises(traitlets.TraitError):
            control.value = list(mask)
        assert list(control.value) == [3]


@pytest.mark.parametrize("text", ["1 0 0 1", "0, 1, 1", "True False", "1-0", "-3", "²", "3-", "0-999999999"])
def test_what_is_typed_for_ids_and_is_none_is_refused(text):
    with pytest.raises((TypeError, ValueError), match="`ids` must"):
        parse_ids(text, blobs(9))


@pytest.mark.parametrize("text", ["0 1", "1, 0", "3, 3", "0-1", "8-8"])
def test_what_is_typed_for_ids_is_read_as_ids(text):
    assert set(parse_ids(text, blobs(9))) <= set(range(9))


@pytest.mark.parametrize("mask", [[False, True, False], [0, 1, 0], torch.tensor([1, 0, 0])], ids=repr)
def test_a_mask_over_classes_is_not_read_as_the_classes_zero_and_one(mask):
    with pytest.raises(TypeError, match=r"mask of yes and no.*mask\.nonzero"):
        check.classes(mask)


def test_a_mask_is_no_column_of_ids():
    with pytest.raises((TypeError, ValueError), match="`ids` must"):
        Examples(torch.zeros(4, 2), torch.zeros(4), torch.tensor([True, False, True, False]))
