"""Relabeling: what its labels obey, and what they leave alone."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from tests.oracles import relabel_slow
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.methods.relabel import other_labels, relabel
from unlearn_lib.metrics.accuracy import accuracy
from unlearn_lib.metrics.cost import counted
from unlearn_lib.models import build
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, run, train

DATA = blobs(120)
REQUESTS = {"class": Split.by_class(DATA, 1), "samples": Split.by_ids(DATA, range(20))}
RECIPE = Recipe("adam", lr=0.01, batch_size=10, epochs=1)
requests = pytest.mark.parametrize("split", REQUESTS.values(), ids=REQUESTS)


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    net = tiny_net()
    run(train(net, DATA, Recipe("adam", lr=0.01, batch_size=10, epochs=8)))
    return net.eval()


@requests
def test_no_sample_ever_gets_its_own_label(split: Split) -> None:
    for seed in range(20):
        assert (other_labels(split, seed) != split.forget.y).all()


@requests
def test_every_label_is_a_class_that_stays(split: Split) -> None:
    kept = set(split.retain.y.tolist())
    drawn = {label for seed in range(20) for label in other_labels(split, seed).tolist()}
    assert drawn == kept


def test_the_other_classes_are_drawn_equally_often() -> None:
    split = Split.by_class(blobs(4_000, classes=5), 2)
    counts = other_labels(split, 0).bincount(minlength=5).tolist()
    assert counts[2] == 0
    assert all(150 < n < 250 for i, n in enumerate(counts) if i != 2), counts


def test_a_label_depends_on_seed_and_id_and_on_no_other_sample() -> None:
    whole, part = Split.by_ids(DATA, range(20)), Split.by_ids(DATA, range(5, 12))
    of = dict(zip(whole.forget.ids.tolist(), other_labels(whole, 3).tolist(), strict=True))
    assert all(
        of[i] == label
        for i, label in zip(part.forget.ids.tolist(), other_labels(part, 3).tolist(), strict=True)
    )
    assert not torch.equal(other_labels(whole, 3), other_labels(whole, 4))


@requests
def test_the_survivors_keep_their_labels(split: Split, original: torch.nn.Module) -> None:
    known = dict(zip(split.retain.ids.tolist(), split.retain.y.tolist(), strict=True))
    steps = list(relabel(original, split, RECIPE, share=0.5))
    shown = {
        i: label
        for step in steps
        for i, label in zip(step.batch.ids.tolist(), step.batch.y.tolist(), strict=True)
    }
    assert sum(i in known for i in shown) == round(0.5 * len(known))
    assert all(shown[i] == known[i] for i in shown if i in known)
    assert set(split.forget.ids.tolist()) <= set(shown)


@requests
def test_relabeling_gives_the_same_bits_twice(split: Split, original: torch.nn.Module) -> None:
    one, two = (state(run(relabel(original, split, RECIPE)).model) for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


@requests
def test_relabeling_changes_neither_model_nor_request(split: Split, original: torch.nn.Module) -> None:
    before, y = state(clone(original)), split.forget.y.clone()
    found = run(relabel(original, split, RECIPE))
    assert all(torch.equal(before[key], value) for key, value in state(original).items())
    assert torch.equal(split.forget.y, y)
    assert not found.model.training
    assert any(not torch.equal(before[key], value) for key, value in state(found.model).items())


@requests
def test_the_fast_way_is_the_slow_way(split: Split, original: torch.nn.Module) -> None:
    found = run(relabel(original, split, RECIPE, share=0.0))
    assert found.trace.retained == 0
    assert all(p.dtype == torch.float64 for p in found.model.parameters())
    slow = relabel_slow(original, split, found.trace.labels.tolist(), RECIPE)
    assert all(torch.allclose(state(found.model)[key], slow[key], rtol=1e-12) for key in slow)


def test_the_order_of_the_survivors_does_not_depend_on_who_else_is_there(original: torch.nn.Module) -> None:
    seen = []
    for ids in (range(20), range(10)):
        steps = relabel(original, Split.by_ids(DATA, ids), RECIPE, share=1.0)
        seen.append([i for step in steps for i in step.batch.ids.tolist() if i >= 20])
    assert seen[0] == seen[1]


def test_it_reads_the_forget_set_and_no_more_than_its_share(original: torch.nn.Module) -> None:
    split = counted(REQUESTS["samples"])
    run(relabel(original, split, RECIPE, share=0.25))
    reads = split.forget.reads
    forget = set(split.forget.ids.tolist())
    assert all(reads[i] == 1 for i in forget)
    assert sum(n for i, n in reads.items() if i not in forget) == 25


def test_it_forgets_a_class_and_keeps_the_others(original: torch.nn.Module) -> None:
    split = REQUESTS["class"]
    model = run(relabel(original, split, RECIPE.but(lr=0.05), share=0.5)).model
    assert accuracy(original, split.forget) > 0.9
    assert accuracy(model, split.forget) < 0.3
    assert accuracy(model, split.retain) > 0.9


def test_with_batch_norm_the_statistics_move_as_well() -> None:
    net = build("mlp_bn", (5,), 3).double()
    run(train(net, DATA, RECIPE))
    before = {name: value.clone() for name, value in net.named_buffers() if value.is_floating_point()}
    model = run(relabel(net.eval(), REQUESTS["class"], RECIPE)).model
    after = dict(model.named_buffers())
    assert before
    assert all(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_run_can_be_left_before_its_end(original: torch.nn.Module) -> None:
    before = state(clone(original))
    assert len(list(islice(relabel(original, REQUESTS["class"], RECIPE), 2))) == 2
    assert all(torch.equal(before[key], value) for key, value in state(original).items())


def test_errors_name_the_thing_the_rule_and_the_value(original: torch.nn.Module) -> None:
    split = REQUESTS["samples"]
    with pytest.raises(ValueError, match=r"`share` must be in \[0, 1\]; got 1.5"):
        next(relabel(original, split, RECIPE, share=1.5))
    alone = Split.by_ids(DATA.where(DATA.y == 1), [1])
    with pytest.raises(ValueError, match=r"`split` must retain a class other than 1; got \[1\]"):
        next(relabel(original, alone, RECIPE))
    with pytest.raises(FloatingPointError, match="phase 'relabel'"):
        run(relabel(original, split, Recipe("sgd", lr=1e30, batch_size=5, epochs=3)))
