"""Laws of SISA."""

from __future__ import annotations

import hashlib
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import batch_visits_slow, shard_slow, vote_slow
from tests.toys import blobs, tiny_net
from unlearn_lib import models
from unlearn_lib.data import Examples, Split
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.sisa import (
    Ensemble,
    Partition,
    SisaModel,
    aggregate,
    partition,
    sisa,
    train_sisa,
)
from unlearn_lib.methods.sisa import ensemble as ensembles
from unlearn_lib.methods.sisa.partition import expected_shards, expected_visits, stage_epochs
from unlearn_lib.metrics.accuracy import accuracy, logits
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.params import state
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import Recipe, run, train

DATA, S, R = blobs(), 3, 4
RECIPE = Recipe(epochs=5, batch_size=5, lr=0.05)  # e_r = 2 in every stage
CELLS = partition(DATA, S, R)


def make(folder, *, data=DATA, net=None, cells=CELLS, recipe=RECIPE) -> Ensemble:
    return run(train_sisa(net or tiny_net(), data, recipe, cells, Folder(folder)))


@pytest.fixture
def ensemble(tmp_path) -> Ensemble:
    """Three shards of four slices of ten points, float64."""
    return make(tmp_path / "ensemble")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def equal(a: Ensemble, b: Ensemble) -> bool:
    """All checkpoints and the map, bit for bit."""
    members = all(map(torch.equal, a.members, b.members))
    return members and all(same(a.state(k), b.state(k)) for k in range(a.blocks + 1))


def hashes(ensemble: Ensemble) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in ensemble.folder.root.glob("*.safe*")}


def pick(s: int, r: int, count: int = 1, cells: Partition = CELLS) -> list[int]:
    """Ids of slice r of shard s."""
    return cells.cells[s - 1][r - 1][:count].tolist()


def forget(ensemble: Ensemble, ids) -> Ensemble:
    return ensemble.commit(run(sisa(ensemble, ids)).trace)


def scratch(folder: Path, ids, **options) -> Ensemble:
    """The ensemble that never had these samples, under the same partition."""
    data, cells = options.pop("data", DATA), options.pop("cells", CELLS)
    return make(folder, data=data.without(ids), cells=cells.without(ids), **options)


def slices_of(ensemble: Ensemble, s: int) -> list[list[int]]:
    return [cell.tolist() for cell in ensemble.partition.cells[s - 1]]


# --- exactness -------------------------------------------------------------------------------------------


def test_a_deletion_leaves_every_checkpoint_of_the_other_shards_unchanged(ensemble):
    before = hashes(ensemble)
    after = hashes(forget(ensemble, pick(2, 1)))
    others = {name for name in before if not name.startswith("shard-002")}
    assert len(others) == 1 + (S - 1) * R
    assert {name: after[name] for name in others} == {name: before[name] for name in others}


@pytest.mark.parametrize("j", [1, 3, R])
def test_a_shard_after_a_deletion_is_the_shard_trained_without_the_sample(ensemble, j):
    new = forget(ensemble, pick(2, j))
    slow = shard_slow(tiny_net(), new.data, slices_of(new, 2), RECIPE, s=2)
    assert same(new.state(0), slow[0])
    assert all(same(new.state(new.index(2, r)), slow[r]) for r in range(1, R + 1))


def test_one_shard_of_one_slice_is_plain_training_and_plain_retraining(tmp_path):
    cells, ids = partition(DATA, 1, 1), [5, 77]
    plain = tiny_net()
    run(train(plain, DATA, RECIPE))
    whole = make(tmp_path, cells=cells)
    assert same(state(whole.checkpoint(1)), state(plain))
    retrained = run(retrain(tiny_net(), Split.by_ids(DATA, ids), RECIPE)).model
    done = run(sisa(whole, ids))
    assert same(state(whole.commit(done.trace).checkpoint(1)), state(retrained))
    assert done.trace.speedup == 1
    torch.testing.assert_close(logits(done.model, DATA), logits(retrained, DATA).log_softmax(1))


def test_the_epochs_of_all_stages_add_up_to_the_budget():
    for budget in range(1, 41):
        for slices in range(1, 21):
            epochs = [stage_epochs(r, slices, budget) for r in range(1, slices + 1)]
            assert sum(epochs) == 2 * budget * slices // (slices + 1)
            assert min(epochs) >= 0
            assert max(epochs) - min(epochs) <= 1


def test_earlier_checkpoints_stay_and_the_one_before_the_slice_is_loaded(ensemble, monkeypatch):
    before, loaded, own = hashes(ensemble), [], Ensemble.state
    monkeypatch.setattr(Ensemble, "state", lambda self, k: loaded.append(k) or own(self, k))
    done = run(sisa(ensemble, pick(2, 3)))
    assert loaded[0] == ensemble.index(2, 2)
    monkeypatch.undo()
    after = hashes(ensemble.commit(done.trace))
    for r in (1, 2):
        name = f"shard-002-stage-{r:03d}-0.safetensors"
        assert after[name] == before[name]


def test_the_last_slice_redoes_one_stage_and_the_first_all_of_them(ensemble):
    for j in range(1, R + 1):
        seen = []
        trace = run(sisa(ensemble, pick(1, j)), [lambda step, seen=seen: seen.append(step.info)]).trace
        assert (trace.restarts, trace.shards, trace.stages) == (((1, j),), (1,), R - j + 1)
        assert {(info["shard"], info["stage"]) for info in seen} == {(1, r) for r in range(j, R + 1)}
        assert trace.exact


def test_requests_at_once_or_one_by_one_in_any_order_give_the_same_bits(tmp_path):
    x, y, z = pick(1, 2), pick(1, 4), pick(3, 3, 2)
    trace = run(sisa(make(tmp_path / "0"), x + y + z)).trace
    assert (trace.restarts, trace.stages) == (((1, 2), (3, 3)), 3 + 2)
    results = [scratch(tmp_path / "never", x + y + z)]
    for number, requests in enumerate([(x + y + z,), (x, y, z), (z, y, x), (y + z, x)]):
        results.append(make(tmp_path / str(number)))
        for ids in requests:
            results[-1] = forget(results[-1], ids)
    assert all(equal(results[0], other) for other in results[1:])


def test_momentum_that_starts_anew_in_every_stage_keeps_the_deletion_exact(tmp_path):
    recipe = RECIPE.but(momentum=0.9, lr=0.01)
    new = forget(make(tmp_path, recipe=recipe), pick(2, 3))
    slow = shard_slow(tiny_net(), new.data, slices_of(new, 2), recipe, s=2)
    assert all(same(new.state(new.index(2, r)), slow[r]) for r in range(1, R + 1))


class Carried(Recipe):
    """The defect: the optimizer, and with it the momentum, lives on from stage to stage but is not stored."""

    def fresh_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        if not hasattr(model, "carried"):
            model.carried = super().fresh_optimizer(model)
        return model.carried


@pytest.mark.parametrize(("kind", "exact"), [(Recipe, True), (Carried, False)])
def test_momentum_carried_over_but_not_stored_breaks_a_reloaded_stage(ensemble, kind, exact):
    recipe = kind(epochs=5, batch_size=5, lr=0.01, momentum=0.9)
    slices, gone = slices_of(ensemble, 1), pick(1, 3)
    without = [[i for i in ids if i not in gone] for ids in slices]
    never = shard_slow(tiny_net(), DATA, without, recipe)
    model = tiny_net()
    model.load_state_dict(shard_slow(tiny_net(), DATA, slices, recipe)[2])  # M_{1,2}, which never saw it
    for r in (3, 4):
        seen = [i for ids in without[:r] for i in ids]
        run(train(model, DATA.select(seen), recipe.but(epochs=2), block=r - 1))
    assert same(state(model), never[R]) == exact


# --- partition and cost ----------------------------------------------------------------------------------


def every(data: Examples, shards: int, slices: int, seed: int = 0) -> dict[str, Partition]:
    likely = (data.y == 1).double()
    return {
        mode: partition(data, shards, slices, mode, seed=seed, likely=likely if mode == "prior" else None)
        for mode in ("keyed", "strat", "hash", "prior")
    }


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 150), shards=st.integers(1, 6), slices=st.integers(1, 6), seed=st.integers(0, 3))
def test_the_partition_is_a_disjoint_cover_of_even_cells_and_repeats_itself(n, shards, slices, seed):
    data, n = blobs(max(n, shards * slices)), max(n, shards * slices)
    again = every(data, shards, slices, seed)
    for mode, cells in every(data, shards, slices, seed).items():
        assert sorted(torch.cat(cells.flat).tolist()) == list(range(n))
        assert (cells.shards, cells.slices) == (shards, slices)
        assert all(map(torch.equal, cells.flat, again[mode].flat))
        sizes, whole = [k for shard in cells.sizes for k in shard], [sum(shard) for shard in cells.sizes]
        if mode != "hash":
            assert max(whole) - min(whole) <= 1
            assert max(sizes) - min(sizes) <= 1


def test_another_seed_is_another_partition():
    one, two = every(DATA, S, R, 0), every(DATA, S, R, 1)
    assert all(not all(map(torch.equal, one[mode].flat, two[mode].flat)) for mode in one if mode != "hash")
    assert one["hash"].sizes != two["hash"].sizes


def test_removing_an_id_moves_no_other_id_under_hash_and_does_under_keyed():
    gone, moved = [3, 60], {}
    for mode in ("hash", "keyed"):
        before = partition(DATA, S, R, mode).without(gone)
        after = partition(DATA.without(gone), S, R, mode)
        moved[mode] = any(
            set(a.tolist()) != set(b.tolist()) for a, b in zip(before.flat, after.flat, strict=True)
        )
    assert moved == {"hash": False, "keyed": True}


def test_strat_gives_every_cell_its_share_of_every_class():
    for cell in partition(DATA, S, R, "strat").flat:
        counts = DATA.select(cell).y.bincount(minlength=3)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(
    ("shards", "slices", "budget"), [(1, 1, 4), (2, 4, 20), (5, 4, 20), (5, 9, 20), (8, 3, 6)]
)
def test_counted_work_of_one_deletion_follows_the_formula(shards, slices, budget):
    n = 360
    cells = partition(blobs(n), shards, slices)
    mean = sum(cells.visits(budget, [i]) for i in range(n)) / n
    formula = budget * n / shards * (2 / 3 + 1 / (3 * slices))
    assert expected_visits(n, shards, slices, budget) == pytest.approx(formula)
    assert mean == pytest.approx(formula, rel=0.1)
    assert cells.visits(budget) == pytest.approx(budget * n, rel=0.03)


def test_the_visits_reported_are_those_counted_beforehand(ensemble):
    for ids in (pick(1, 1), pick(2, R, 3), pick(1, 3) + pick(3, 2)):
        trace = run(sisa(ensemble, ids)).trace
        assert trace.visits == CELLS.visits(5, ids) > 0
        assert trace.full == 5 * (120 - len(ids))
        assert trace.speedup == trace.full / trace.visits


@pytest.mark.parametrize("requests", [1, 4, 15])
def test_a_batch_touches_and_costs_what_the_formulas_say(requests):
    n, shards, slices, budget, rounds = 1000, 5, 4, 20, 300
    cells, stream = partition(blobs(n), shards, slices), random.Random(0)
    batches = [stream.choices(range(n), k=requests) for _ in range(rounds)]
    touched = sum(len(cells.restarts(ids)) for ids in batches) / rounds
    work = sum(cells.visits(budget, ids) for ids in batches) / rounds
    assert touched == pytest.approx(expected_shards(shards, requests), rel=0.05)
    assert work == pytest.approx(expected_visits(n, shards, slices, budget, requests), rel=0.1)


@pytest.mark.parametrize("requests", [0, 1, 2, 7, 40])
def test_the_closed_form_is_the_mean_over_the_hits_of_a_shard(requests):
    for shards, slices in [(1, 1), (1, 5), (4, 1), (5, 4), (20, 9)]:
        slow = batch_visits_slow(1000, shards, slices, 20, requests)
        assert expected_visits(1000, shards, slices, 20, requests) == pytest.approx(slow)


def test_a_whole_class_touches_every_shard_unless_the_partition_expects_it():
    ids = DATA.ids[DATA.y == 1]
    parts = every(DATA, 4, R)
    assert len(parts["keyed"].restarts(ids)) == len(parts["strat"].restarts(ids)) == 4
    assert parts["prior"].restarts(ids).keys() == {
        3,
        4,
    }  # a third of the data is in the last two of four shards
    assert parts["prior"].visits(20, ids) < parts["keyed"].visits(20, ids) / 2


# --- the vote --------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(data=st.data(), shards=st.integers(1, 5), classes=st.integers(2, 4))
def test_a_hard_vote_follows_the_rule_of_ties(data, shards, classes):
    eighths = st.lists(st.integers(0, 8), min_size=classes, max_size=classes)
    rows = data.draw(st.lists(eighths, min_size=shards, max_size=shards))
    weights = data.draw(st.lists(st.integers(0, 2), min_size=shards, max_size=shards).filter(any))
    outputs = torch.tensor(rows, dtype=torch.float64)
    elected = aggregate(outputs[:, None], weights, "hard")
    again = aggregate(outputs[:, None], weights, "hard")
    # equal sums of softmax outputs are equal in exact arithmetic only: the twin gets the same rounding
    soft = aggregate(outputs[:, None], weights, "soft")[0].tolist()
    votes = [
        sum(w for w, row in zip(weights, rows, strict=True) if row.index(max(row)) == c)
        for c in range(classes)
    ]
    winner = min(range(classes), key=lambda c: (-votes[c], -soft[c], c))
    assert elected.argmax(1).item() == winner
    assert torch.equal(elected, again)
    assert (elected == elected.max()).sum() == 1
    assert elected.isfinite().all()


def test_ties_go_to_the_larger_softmax_and_then_to_the_lower_class():
    p = torch.tensor([[[0.6, 0.3, 0.1]], [[0.2, 0.1, 0.7]]], dtype=torch.float64)
    for weights, winner in [((1, 1), 0), ((1, 2), 2), ((2, 1), 0), ((0, 1), 2)]:
        assert aggregate(p.log(), weights, "hard").argmax() == winner
        assert vote_slow(p[:, 0].tolist(), list(weights)) == winner
    p[0] = torch.tensor([[0.5, 0.3, 0.2]])
    assert aggregate(p.log(), (1, 1), "hard").argmax() == 2  # 0.9 against 0.7
    assert vote_slow(p[:, 0].tolist(), [1, 1]) == 2
    mirror = torch.tensor([[[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]])
    assert (
        aggregate(mirror, (1, 1), "hard").argmax() == aggregate(mirror.flip(0), (1, 1), "hard").argmax() == 1
    )


def test_with_one_shard_hard_soft_and_the_plain_model_agree(tmp_path):
    one = make(tmp_path, cells=partition(DATA, 1, R))
    plain = logits(one.checkpoint(1), DATA).argmax(1)
    for votes in ("soft", "hard"):
        assert torch.equal(logits(one.vote(votes), DATA).argmax(1), plain)


def test_uniform_and_size_agree_for_equal_shards_and_sizes_follow_a_deletion(ensemble):
    uniform, size = ensemble.vote(), ensemble.vote(weights="size")
    assert torch.allclose(logits(uniform, DATA), logits(size, DATA), atol=1e-12)
    new = forget(ensemble, pick(2, 4, 6))
    assert new.vote(weights="size").weights == (40, 34, 40)
    assert not torch.allclose(logits(new.vote(), DATA), logits(new.vote(weights="size"), DATA), atol=1e-6)


def test_a_soft_vote_is_the_weighted_sum_of_softmax_outputs(ensemble):
    weights = (0.5, 0.0, 2.0)
    p = [logits(ensemble.checkpoint(s), DATA).softmax(1) for s in range(1, S + 1)]
    wanted = (0.5 * p[0] + 2 * p[2]) / 2.5
    found = logits(ensemble.vote(weights=weights), DATA)
    assert torch.allclose(found.softmax(1), wanted, atol=1e-12)
    assert torch.allclose(found.exp(), wanted, atol=1e-12)  # already normalized


@pytest.mark.parametrize("votes", ["soft", "hard"])
def test_a_shard_switched_off_is_as_if_it_were_not_there(ensemble, votes):
    before = hashes(ensemble)
    off = logits(ensemble.vote(votes, (1, 0, 1)), DATA)
    pair = SisaModel([ensemble.checkpoint(1), ensemble.checkpoint(3)], (1, 1), votes)
    assert torch.allclose(off, logits(pair, DATA), atol=1e-12)
    assert hashes(ensemble) == before
    assert torch.equal(logits(ensemble.vote(votes, (1, 1, 1)), DATA), logits(ensemble.vote(votes), DATA))


def test_confident_shards_give_finite_logarithms():
    outputs = torch.tensor([[[200.0, 0.0]], [[300.0, 0.0]]])
    assert aggregate(outputs, (1, 1)).isfinite().all()
    assert aggregate(outputs, (1, 1), "hard").isfinite().all()


def test_the_model_of_a_request_is_the_vote_of_the_committed_ensemble(ensemble, tmp_path):
    ids = pick(1, 2, 3) + pick(3, 4, 3)
    original, done = ensemble.vote(), run(sisa(ensemble, ids))
    reference = scratch(tmp_path / "never", ids).vote()
    hard = ensemble.vote("hard", "size", after=done.trace)
    new = ensemble.commit(done.trace)
    assert torch.equal(logits(done.model, DATA), logits(new.vote(), DATA))
    assert torch.equal(logits(hard, DATA), logits(new.vote("hard", "size"), DATA))
    split, unseen = Split.by_ids(DATA, ids), blobs(180).where(torch.arange(180) >= 120)
    card = evaluate(done.model, original=original, retrained=reference, split=split, test=unseen)
    rows = {(row.metric, row.data): row for row in card.rows}
    assert rows["JS to retrained", "forget"].unlearned == 0
    assert rows["JS to retrained", "forget"].original > 0
    assert rows["weight distance", "all"].unlearned == 0


def test_a_vote_beats_its_shards_and_many_shards_cost_accuracy(digits, tmp_path):
    recipe, soft = Recipe(epochs=20, batch_size=16, lr=0.1), {}
    net, test = models.build("mlp", digits.shape, 10), digits.test.to("cpu")
    for shards in (1, 2, 5, 10, 20):
        cells = partition(digits.train, shards, 1)
        made = make(tmp_path / str(shards), data=digits.train, net=net, cells=cells, recipe=recipe)
        soft[shards] = accuracy(made.vote(), test)
        alone = sum(accuracy(made.checkpoint(s), test) for s in range(1, shards + 1)) / shards
        assert soft[shards] >= alone - 0.01
    assert soft[20] < soft[1]


# --- storage and requests --------------------------------------------------------------------------------


def test_no_deleted_id_reaches_a_loader_and_none_remains_on_the_map(ensemble, monkeypatch):
    ids, given_ids, read = pick(2, 1, 2) + pick(3, 3), set(), set()

    def spy(model, data, *arguments, **options):
        given_ids.update(data.ids.tolist())
        yield from train(model, data, *arguments, **options)

    monkeypatch.setattr(ensembles, "train", spy)
    done = run(sisa(ensemble, ids), [lambda step: read.update(step.batch.ids.tolist())])
    assert given_ids == read
    assert read
    assert not read & set(ids)
    new = ensemble.commit(done.trace)
    assert new.block_of(ids) == []
    manifest = new.folder.manifest()
    assert not set(ids) & {i for cell in manifest["members"] for i in cell}
    assert not torch.isin(new.data.ids, torch.tensor(ids)).any()


def test_the_replaced_checkpoints_no_longer_exist(ensemble):
    old = [ensemble.state(k) for k in range(ensemble.blocks + 1)]
    new = forget(ensemble, pick(2, 3))
    assert {p.name for p in new.folder.root.glob("*.safetensors")} == set(new.files)
    assert len(new.files) == S * R + 1
    redone = {new.index(2, r) for r in (3, 4)}
    assert {k for k in range(new.blocks + 1) if not same(old[k], new.state(k))} == redone
    with pytest.raises(StoreError, match=r"shard-002-stage-004-0.safetensors is missing"):
        ensemble.checkpoint(2)


def test_a_deletion_interrupted_before_the_move_leaves_the_old_state(ensemble, monkeypatch):
    before, trace = hashes(ensemble), run(sisa(ensemble, pick(2, 3))).trace

    def power_cut(self, manifest, files):
        raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "commit", power_cut)
    with pytest.raises(KeyboardInterrupt):
        ensemble.commit(trace)
    monkeypatch.undo()
    assert hashes(make(ensemble.folder.root)) == before
    assert ensemble.commit(trace).forgotten == tuple(pick(2, 3))


def test_a_deletion_interrupted_after_the_move_is_the_new_state(ensemble, monkeypatch, tmp_path):
    ids = pick(2, 3)
    trace, files = run(sisa(ensemble, ids)).trace, ensemble.files

    def power_cut(self, named):
        raise KeyboardInterrupt

    monkeypatch.setattr(Folder, "_delete_all_but", power_cut)
    with pytest.raises(KeyboardInterrupt):
        ensemble.commit(trace)
    monkeypatch.undo()
    steps = []
    new = run(train_sisa(tiny_net(), DATA, RECIPE, CELLS, ensemble.folder), [steps.append])
    assert not steps
    assert equal(new, scratch(tmp_path / "never", ids))
    assert {p.name for p in new.folder.root.glob("*.safetensors")} == set(new.files) != set(files)


def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path, ensemble):
    for moment in (1, 17, 50, 90):
        steps = train_sisa(tiny_net(), DATA, RECIPE, CELLS, Folder(tmp_path / "cut"))
        for _, step in zip(range(moment), steps, strict=False):
            assert step.info["shards"] == S
        steps.close()
    assert equal(make(tmp_path / "cut"), ensemble)


def test_a_dry_run_changes_nothing_and_two_of_them_agree(ensemble):
    before, manifest = hashes(ensemble), ensemble.folder.manifest()
    one, two = (run(sisa(ensemble, pick(1, 2))) for _ in range(2))
    assert (hashes(ensemble), ensemble.folder.manifest()) == (before, manifest)
    assert same(state(one.model), state(two.model))


def test_two_requests_from_one_ensemble_cannot_both_be_committed(ensemble):
    first, second = (run(sisa(ensemble, pick(s, 4))).trace for s in (1, 2))
    ensemble.commit(first)
    with pytest.raises(StoreError, match="another SISA ensemble"):
        ensemble.commit(second)


def test_a_stage_without_an_epoch_leaves_its_predecessor_and_warns(tmp_path):
    with pytest.warns(UserWarning, match=r"3 of 4 stages have no epoch.*`recipe.epochs` is 1"):
        short = make(tmp_path, recipe=RECIPE.but(epochs=1))
    moved = [
        not same(short.state(short.index(2, r)), short.state(short.index(2, r - 1))) for r in (1, 2, 3, 4)
    ]
    assert moved == [stage_epochs(r, 4, 1) > 0 for r in (1, 2, 3, 4)] == [False, False, True, False]


def test_an_empty_or_repeated_request_changes_nothing(ensemble):
    ensemble = forget(ensemble, pick(1, 4))
    before, manifest = hashes(ensemble), ensemble.folder.manifest()
    for ids in ([], pick(1, 4)):
        with pytest.warns(UserWarning, match="nothing to do"):
            done = run(sisa(ensemble, ids))
        assert (done.trace.restarts, done.trace.visits, done.trace.stages) == ((), 0, 0)
        assert ensemble.commit(done.trace) is ensemble
    assert (hashes(ensemble), ensemble.folder.manifest()) == (before, manifest)
    with pytest.raises(ValueError, match=r"1 are not, among them \[999\]"):
        run(sisa(ensemble, [*pick(1, 4), 999]))


@pytest.mark.parametrize("votes", ["soft", "hard"])
@pytest.mark.parametrize("weights", ["uniform", "size"])
def test_with_an_emptied_slice_and_an_emptied_shard_training_and_vote_go_on(tmp_path, votes, weights):
    slice_, shard = pick(1, 1, 10), [i for r in range(1, R + 1) for i in pick(2, r, 10)]
    made = forget(make(tmp_path / "0"), slice_)
    assert made.partition.sizes[0] == (0, 10, 10, 10)
    assert same(made.state(made.index(1, 1)), made.state(0))  # nothing to train on yet
    made = forget(made, shard)
    assert all(same(made.state(made.index(2, r)), made.state(0)) for r in range(R + 1))
    assert equal(made, scratch_of_what_is_left(tmp_path / "1", made))
    vote = made.vote(votes, weights)
    assert vote.weights == ((1, 1) if weights == "uniform" else (30, 40))
    pair = SisaModel([made.checkpoint(1), made.checkpoint(3)], vote.weights, votes)
    assert torch.equal(logits(vote, DATA), logits(pair, DATA))


def scratch_of_what_is_left(folder: Path, ensemble: Ensemble) -> Ensemble:
    with pytest.warns(UserWarning, match="Shards that lack a class, and can never vote for it: 1 of"):
        return make(folder, data=ensemble.data, cells=ensemble.partition)


def test_the_bytes_stored_are_one_model_a_stage_and_the_first(ensemble):
    parameters = sum(p.numel() for p in tiny_net().parameters())
    assert ensemble.nbytes == pytest.approx((S * R + 1) * parameters * 8, rel=0.5)  # float64, plus headers


# --- bad input -------------------------------------------------------------------------------------------


def test_the_last_sample_cannot_be_forgotten(ensemble):
    with pytest.raises(ValueError, match="they are all 120 of the ensemble"):
        run(sisa(ensemble, DATA.ids))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "`shards` must be at least 1; got 0"),
        ((2, 0), "`slices` must be at least 1; got 0"),
        ((11, 11), r"`shards \* slices` must be at most 120.*; got 11 \* 11"),
        ((2, 2, "random"), "`mode` must be \"keyed\", .*; got 'random'"),
        ((2, 2, "prior"), '`likely` must be given with mode "prior"'),
    ],
)
def test_a_partition_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        partition.__wrapped__(DATA, *arguments)  # past the type checker of the tests


def test_likelihoods_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no other; mode is 'keyed'"):
        partition(DATA, 2, 2, likely=torch.zeros(120))
    with pytest.raises(ValueError, match="one value for each of 120 samples; got 7"):
        partition(DATA, 2, 2, "prior", likely=torch.zeros(7))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((), "shards of one number of slices"),
        (((torch.tensor([1]),), (torch.tensor([2]), torch.tensor([3]))), r"got \[1, 2\]"),
        (((torch.tensor([1]), torch.tensor([1])),), "must be disjoint"),
    ],
)
def test_cells_that_are_no_partition_are_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        Partition(cells)


def test_ids_that_are_in_no_cell_are_refused():
    with pytest.raises(ValueError, match=r"1 are not, among them \[120\]"):
        CELLS.restarts([3, 120])


@pytest.mark.parametrize(
    ("r", "budget", "message"), [(0, 5, "`r` must be in 1 ... 4; got 0"), (1, -1, "`budget`")]
)
def test_a_stage_that_does_not_exist_has_no_epochs(r, budget, message):
    with pytest.raises(ValueError, match=message):
        stage_epochs(r, 4, budget)


@pytest.mark.parametrize("weights", [(1, 1), (0, 0, 0), (1, -1, 1), (1, 1, float("nan"))])
def test_weights_that_do_not_fit_are_refused(ensemble, weights):
    with pytest.raises(ValueError, match="`weights` must be 3 finite numbers, zero or more and not all zero"):
        ensemble.vote(weights=weights)


def test_unknown_votes_and_weights_are_refused(ensemble):
    with pytest.raises(ValueError, match=r"`weights` must be .*; got 'equal'"):
        Ensemble.vote.__wrapped__(ensemble, weights="equal")
    with pytest.raises(ValueError, match=r"`votes` must be .*; got 'loud'"):
        aggregate.__wrapped__(torch.zeros(1, 2, 3), (1,), "loud")


@pytest.mark.parametrize(
    ("s", "r", "message"), [(4, 1, "`s` must be in 1 ... 3; got 4"), (1, 5, "`r` must be in 0 ... 4")]
)
def test_a_checkpoint_that_does_not_exist_is_refused(ensemble, s, r, message):
    with pytest.raises(ValueError, match=message):
        ensemble.checkpoint(s, r)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": RECIPE.but(lr=0.2)}, "another recipe: lr: stored 0.05, now 0.2"),
        ({"cells": partition(DATA, S, R, seed=1)}, "another SISA ensemble: members"),
        ({"cells": partition(DATA, R, S)}, "another SISA ensemble: .*slices: stored 4, now 3"),
        ({"data": replace(DATA, y=DATA.y.flip(0))}, "another SISA ensemble: data"),
        ({"net": tiny_net(seed=1)}, "another initial model"),
    ],
)
def test_another_ensemble_in_the_folder_is_refused_in_few_words(ensemble, change, message):
    with pytest.raises(StoreError, match=message) as found:
        make(ensemble.folder.root, **change)
    assert len(str(found.value)) < 600


def test_cells_of_other_data_are_refused_before_anything_is_stored(tmp_path):
    with pytest.raises(ValueError, match="`cells` must hold every id of `data` exactly once"):
        make(tmp_path, data=DATA.without([3]))
    assert not list(tmp_path.glob("*.safetensors"))


def test_shards_that_lack_a_class_are_warned_about(tmp_path):
    cells = partition(DATA, S, R, "prior", likely=DATA.y.double())
    with pytest.warns(UserWarning, match="Shards that lack a class, and can never vote for it: 3 of"):
        make(tmp_path, cells=cells)


def test_a_hard_vote_is_the_log_of_shares_a_millionth_for_none():
    z = torch.tensor([[[3.0, 0.0, 0.0]], [[2.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]], dtype=torch.float64)
    found = aggregate(z, (1, 1, 1), "hard")[0].exp()
    assert found.tolist() == pytest.approx([2 / 3, 1 / 3, 1e-6], rel=1e-9)
    tied = aggregate(z, (1, 1, 2), "hard")[0].exp()
    assert tied.tolist() == pytest.approx([0.5 * math.exp(0.001), 0.5, 1e-6], rel=1e-9)
    assert torch.equal(aggregate(z, (1, 2, 3)), aggregate(z, (1, 2, 3), "soft"))
    shares = (z.softmax(-1) * torch.tensor([1, 2, 3])[:, None, None] / 6).sum(0)
    torch.testing.assert_close(aggregate(z, (1, 2, 3)), shares.log())


def test_models_are_counted_shard_by_shard_from_the_first_which_all_begin_with(ensemble):
    assert [ensemble.index(s, r) for s in (1, 2, 3) for r in (1, 2, 3, 4)] == list(range(1, 13))
    assert ensemble.index(1, 0) == ensemble.index(3, 0) == 0
    assert [ensemble.start(k) for k in range(1, 13)] == [0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11]
    assert (ensemble.shards, ensemble.slices, ensemble.blocks) == (3, 4, 12)
    assert same(state(ensemble.checkpoint(2)), state(ensemble.checkpoint(2, 4)))
    assert ensemble.label(7) == "shard-002-stage-003"
    for s, r in ((0, 1), (1, -1)):
        with pytest.raises(ValueError, match="must be in"):
            ensemble.index(s, r)


def test_every_step_says_its_shard_and_stage_and_out_of_how_many(tmp_path):
    steps = []
    run(train_sisa(tiny_net(), DATA, RECIPE, CELLS, Folder(tmp_path)), [steps.append])
    seen = list(dict.fromkeys((s.phase, *s.info.values()) for s in steps))
    assert seen[5] == ("shard 2 of 3, stage 2 of 4", 2, 2, 3, 4)
    assert [row[1:3] for row in seen] == [(s, r) for s in (1, 2, 3) for r in (1, 2, 3, 4)]


def test_a_vote_is_soft_and_uniform_and_weighs_by_what_is_left(ensemble):
    assert (ensemble.vote().votes, ensemble.vote().weights) == ("soft", (1.0, 1.0, 1.0))
    done = run(sisa(ensemble, pick(2, 4, 3)))
    assert ensemble.vote(weights="size", after=done.trace).weights == (40, 37, 40)
    assert ensemble.vote(weights="size").weights == (40, 40, 40)
    assert not ensemble.vote().training


def test_a_request_says_what_it_redid_and_what_that_cost(ensemble):
    begun = time.perf_counter()
    done = run(sisa(ensemble, pick(2, 3)))
    assert 0 < done.seconds <= time.perf_counter() - begun
    trace = done.trace
    assert (trace.visits, trace.full) == (2 * 29 + 2 * 39, 5 * 119)
    assert [k for k, _ in trace.retrained] == [7, 8]
    assert trace.ids == tuple(pick(2, 3))


def test_a_speedup_is_the_visits_of_one_model_by_those_of_the_request(ensemble):
    trace = run(sisa(ensemble, pick(2, 3))).trace
    assert trace.speedup == 5 * 119 / (2 * 29 + 2 * 39)
    assert replace(trace, visits=0).speedup == 5 * 119
