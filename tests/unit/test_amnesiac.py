"""Laws of (partial) amnesiac unlearning; bad input."""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import time
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import filelock
import pytest
import torch
from safetensors import safe_open

from tests.oracles import amnesiac_slow, keep_slow
from tests.toys import blobs, tiny_net
from unlearn_lib import models
from unlearn_lib.data import Scale, keyed_order
from unlearn_lib.methods.amnesiac import Log, amnesiac, packed, record, recorder, undo, undo_scaled
from unlearn_lib.methods.amnesiac.updates import check_rule, update_nbytes
from unlearn_lib.methods.layers import Layers, top
from unlearn_lib.params import add, assign, clone, snapshot, subtract
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import Recipe, evaluating, run, train

RECIPE = Recipe("adam", 0.01, batch_size=10, epochs=3)  # 120 samples: 12 batches an epoch
RULES = ("magnitude", "random", "global")
SHARES = (0, 0.01, 0.07, 0.2, 0.5, 0.97, 1)
FORGET = [3, 50, 51]


def recorded(folder, *, net=None, data=None, recipe=RECIPE, keep=1, **options):
    """A trained net and its log."""
    net = net or tiny_net()
    return net, run(record(net, blobs() if data is None else data, recipe, folder, keep=keep, **options))


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def near(a, b, tolerance) -> bool:
    return all((a[name] - b[name]).abs().max() <= tolerance for name in a)


def forgotten(net, ids, log, **options):
    return snapshot(run(amnesiac(net, ids, log, **options)).model)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A net trained with all its updates recorded; tests do not purge this log."""
    return recorded(tmp_path_factory.mktemp("full"))


def test_recording_changes_no_bit_of_training(full):
    plain = tiny_net()
    run(train(plain, blobs(), RECIPE))
    assert same(snapshot(full[0]), snapshot(plain))


def test_forgetting_leaves_the_given_model_and_repeats_to_the_bit(full):
    net, log = full
    before = snapshot(net)
    first, second = (forgotten(net, FORGET, log, purge=False) for _ in range(2))
    assert same(before, snapshot(net))
    assert same(first, second)
    assert not same(first, before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_keeping_everything_is_the_separately_written_amnesiac_method(tmp_path, optimizer):
    data, recipe = blobs(), RECIPE.but(optimizer=optimizer)
    net, log = recorded(tmp_path, recipe=recipe)
    twin = tiny_net()
    batches, bad = [], set()
    for epoch in range(1, recipe.epochs + 1):
        for rows in keyed_order(data.ids, recipe.seed, 0, epoch).split(recipe.batch_size):
            if set(data.ids[rows].tolist()) & set(FORGET):
                bad.add(len(batches))
            batches.append((data.x[rows], data.y[rows]))
    _, unlearned = amnesiac_slow(twin, batches, recipe.fresh_optimizer(twin), bad)
    assert same(forgotten(net, FORGET, log), unlearned)


@pytest.mark.parametrize("rule", RULES)
def test_keeping_nothing_leaves_the_model_as_it_is(tmp_path, rule):
    net, log = recorded(tmp_path, keep=0, rule=rule)
    assert same(forgotten(net, FORGET, log), snapshot(net))


def test_an_empty_request_changes_nothing(full):
    net, log = full
    with pytest.warns(UserWarning, match="nothing to do"):
        assert same(forgotten(net, [], log), snapshot(net))


def test_samples_whose_batches_were_not_recorded_change_nothing_and_say_so(tmp_path):
    net, log = recorded(tmp_path, sensitive=[7])
    assert {e.key for e in log.entries if e.file} == {e.key for e in log.touched([7])}
    other = next(i for i in range(120) if not any(e.file for e in log.touched([i])))
    with pytest.warns(UserWarning, match="were not recorded"):
        assert same(forgotten(net, [other], log, purge=False), snapshot(net))
    assert not same(forgotten(net, [7], log), snapshot(net))


@pytest.mark.parametrize("group", ["tensor", "module"])
@pytest.mark.parametrize("share", SHARES)
def test_every_layer_keeps_its_k_largest_entries(full, share, group):
    updates = full[1].updates()
    updates = replace(updates, layers=Layers.of(full[0], group))
    kept = updates.kept(share)
    for span in updates.layers.spans.values():
        n = span.stop - span.start
        k = math.ceil(round(share * n, 9))
        assert (kept[:, span].sum(1) == k).all()
        if 0 < k < n:
            inside = updates.rows[:, span].abs().masked_fill(~kept[:, span], math.inf).min(1).values
            outside = updates.rows[:, span].abs().masked_fill(kept[:, span], 0).max(1).values
            assert (inside >= outside).all()


def test_one_budget_for_all_layers_starves_some(full):
    updates = full[1].updates()
    kept = updates.kept(0.05, "global")
    assert (kept.sum(1) == math.ceil(0.05 * updates.layers.n)).all()
    assert any((kept[:, span].sum(1) == 0).any() for span in updates.layers.spans.values())


def test_ties_go_to_the_lower_index_like_the_slow_twin():
    scores = torch.randint(0, 4, (20, 30), generator=torch.Generator().manual_seed(1)).float()
    for k in (0, 1, 7, 29, 30):
        for row, kept in zip(scores, top(scores, k), strict=True):
            assert set(kept.nonzero().flatten().tolist()) == keep_slow(row.tolist(), k)


def test_the_budget_is_rounded_before_it_is_raised():
    assert 0.07 * 100 > 7
    assert Layers({"w": (100,)}).budgets(0.07) == {"w": 7}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_stored_values_are_the_bits_of_the_full_update(tmp_path, full, share, rule):
    dense = full[1].updates()
    _, log = recorded(tmp_path, keep=share, rule=rule)
    kept = dense.kept(share, rule)
    for row, (entry, positions, values) in enumerate(log.stream(log.entries)):
        assert entry.key == dense.keys[row]
        assert torch.equal(positions, kept[row].nonzero().flatten())
        assert torch.equal(values, dense.rows[row][positions])


def test_training_is_the_sum_of_its_updates_and_undoing_all_leads_back(tmp_path):
    net = tiny_net().float()
    data = replace(blobs(), x=blobs().x.float())
    start = snapshot(net)
    _, log = recorded(tmp_path, net=net, data=data)
    total = log.updates().layers.unflatten(log.updates().rows.sum(0))
    assert near(subtract(snapshot(net), start), total, 1e-5)
    assert near(forgotten(net, data.ids, log), start, 1e-5)


def test_undoing_the_last_batch_gives_the_parameters_before_it(tmp_path):
    net, steps = tiny_net(), []
    recipe = RECIPE.but(epochs=1)
    log = run(
        record(net, blobs(), recipe, tmp_path, keep=1), [lambda step: steps.append(snapshot(step.model))]
    )
    assert near(forgotten(net, log.entries[-1].ids, log), steps[-2], 1e-7)


def test_requests_compose_and_a_repeated_one_changes_nothing_and_says_so(tmp_path):
    A, B = [3, 50], [51, 90, 3]
    net, log = recorded(tmp_path / "one", keep=0.3)
    _, twin = recorded(tmp_path / "both", keep=0.3)
    shared = {e.key for e in log.touched(A)} & {e.key for e in log.touched(B)}
    assert shared
    first = run(amnesiac(net, A, log))
    second = run(amnesiac(first.model, B, log))
    assert second.trace.ids == (51, 90)
    assert not shared & set(second.trace.undone)
    assert near(snapshot(second.model), forgotten(net, A + B, twin), 1e-12)
    for given in (net, first.model, second.model):  # whichever model of this log is given
        with pytest.warns(UserWarning, match="forgotten already"):
            again = run(amnesiac(given, A, log))
        assert same(snapshot(again.model), snapshot(second.model))
        assert again.trace.undone == ()


def test_pruning_errs_less_the_larger_the_share_and_least_by_magnitude(full):
    updates = full[1].updates()

    def error(share, rule):
        return (updates.rows * ~updates.kept(share, rule)).norm(dim=1)

    for rule in ("magnitude", "global", "random"):
        errors = [error(share, rule) for share in SHARES]
        assert all((b <= a).all() for a, b in pairwise(errors))
        assert (errors[-1] == 0).all()
    assert all((error(p, "magnitude") <= error(p, "random")).all() for p in SHARES)


def test_entries_that_no_stored_update_kept_stay_bit_for_bit(tmp_path):
    net, log = recorded(tmp_path, keep=0.02)
    union = torch.zeros(log.layers.n, dtype=torch.bool)
    for _, positions, _ in log.stream(log.touched([3])):
        union[positions] = True
    assert 0 < union.sum() < log.layers.n
    result = run(amnesiac(net, [3], log))
    before, after = (log.layers.flatten(snapshot(m)) for m in (net, result.model))
    assert torch.equal(before[~union], after[~union])
    assert result.trace.changed == int(union.sum())


def test_every_sample_is_in_as_many_batches_as_there_were_epochs(full):
    for sample in range(120):
        touched = full[1].touched([sample])
        assert len(touched) == RECIPE.epochs
        assert all(sample in entry.ids for entry in touched)


def test_bytes_are_those_of_the_formula_and_grow_with_the_share(tmp_path, digits):
    recipe = Recipe(batch_size=16, epochs=1)
    sizes = []
    for share in (0.02, 0.05, 0.2, 0.5, 1.0):
        net = models.build("mlp", digits.shape, 10)
        log = run(record(net, digits.train, recipe, tmp_path / str(share), keep=share))
        n = log.layers.n
        if share >= 0.05:  # below, rounding up to whole entries in layers of 10 and 32 shows
            by_share = n * min(8 * share, 4 * share + 1 / 8)
            assert log.nbytes == pytest.approx(len(log.entries) * by_share, rel=0.05)
        assert log.nbytes == pytest.approx(log.expected_nbytes, rel=0.01)
        sizes.append(log.nbytes)
    assert sizes == sorted(sizes)
    formula = [update_nbytes(log.layers, p / 100) for p in range(101)]
    assert formula == sorted(formula)


def test_forgetting_needs_the_log_and_no_data(tmp_path):
    data = blobs()
    gone = weakref.ref(data.x)
    net, _ = recorded(tmp_path, data=data)
    del data
    gc.collect()
    assert gone() is None
    assert not same(forgotten(net, FORGET, Log(tmp_path)), snapshot(net))


@pytest.mark.parametrize("rule", RULES)
def test_pruning_the_full_updates_later_is_pruning_while_training(tmp_path, full, rule):
    net, log = full
    dense = log.updates(FORGET)
    for number, share in enumerate([*SHARES, {"1.weight": 0.3, "3.bias": 1.0}]):
        if rule == "global" and isinstance(share, dict):
            continue
        _, pruned = recorded(tmp_path / str(number), keep=share, rule=rule)
        assert same(undo(snapshot(net), dense, share, rule), forgotten(net, FORGET, pruned))


def test_the_first_batches_of_a_request_can_be_undone_alone(full):
    net, log = full
    dense, states = log.updates(FORGET), []
    run(amnesiac(net, FORGET, log, purge=False), [lambda step: states.append(snapshot(step.model))])
    for k, state in enumerate(states, 1):
        assert same(undo(snapshot(net), dense[:k]), state)


def test_layers_that_are_off_are_neither_stored_nor_changed(tmp_path):
    net, log = recorded(tmp_path, keep={"3.weight": 0.5})
    assert log.layers.n == net.get_parameter("3.weight").numel()
    before, after = snapshot(net), forgotten(net, FORGET, log)
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["3.weight"]


def test_a_fifth_of_each_step_forgets_and_spares_the_others_more(tmp_path, digits):
    scaled = {p: replace(getattr(digits, p), scale=Scale((0.0,), (16.0,))) for p in ("train", "test")}
    data, test = scaled["train"], scaled["test"].to("cpu")
    three, threes = data.where(data.y == 3).ids, test.y == 3
    scores = []
    for seed in range(3):
        recipe = Recipe("adam", 3e-3, batch_size=16, epochs=15, seed=seed)
        net = models.build("mlp", digits.shape, 10, seed=seed)
        log = run(record(net, data, recipe, tmp_path / str(seed), keep=1, order=packed(three, 10, recipe)))
        dense = log.updates(three)
        assert len(dense) == 150
        for share in (0.2, 1.0):
            assign(twin := clone(net), undo(snapshot(net), dense, share))
            with evaluating(twin):
                right = (twin(test.x).argmax(1) == test.y).double()
            scores.append((right[threes].mean(), right[~threes].mean()))
    forget, others = torch.tensor(scores).view(3, 2, 2).mean(0).T.tolist()
    assert forget[0] <= 0.05
    assert others[0] >= others[1]


def test_after_a_request_the_folder_holds_no_trace_of_it(tmp_path):
    data = replace(blobs(), ids=blobs().ids + 987_654_000)
    F = data.ids[[3, 50, 51]]
    net, log = recorded(tmp_path, data=data, keep=0.3)
    secrets = [values.numpy().tobytes() for _, _, values in log.stream(log.touched(F))]
    secrets += [str(int(i)).encode() for i in F]
    others = [values.numpy().tobytes() for e, _, values in log.stream(log.entries) if e not in log.touched(F)]
    old_model = net.get_parameter("3.weight").detach().numpy().tobytes()

    def on_disk():
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert all(secret in on_disk() for secret in [*secrets, old_model])
    before = log.nbytes
    trace = run(amnesiac(net, F, log)).trace
    assert not any(secret in on_disk() for secret in [*secrets, old_model])
    assert all(other in on_disk() for other in others)
    assert (trace.nbytes_before, trace.nbytes_after) == (before, log.nbytes)
    assert log.nbytes < before
    assert log.touched(F) == []


def test_a_request_that_fails_half_way_leaves_the_log_whole(tmp_path, monkeypatch):
    net, log = recorded(tmp_path, keep=0.3)
    wanted = forgotten(net, FORGET, log, purge=False)

    def full_disk(*_):
        raise StoreError("the disk is full")

    before = log.entries, log.nbytes

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "commit", full_disk)
        with pytest.raises(StoreError, match="full"):
            run(amnesiac(net, FORGET, log))
    assert (log.entries, log.nbytes) == before  # what it says is what is stored
    assert {path.name for path in tmp_path.glob("*.safetensors")} >= log.files
    assert same(forgotten(net, FORGET, Log(tmp_path)), wanted)
    log.read()
    assert len(list(tmp_path.glob("*.safetensors"))) == len(log.files) + 1  # and the model; no litter


def test_undoing_streams_one_file_at_a_time(full, monkeypatch):
    log, loaded = full[1], []
    load = Log._load
    monkeypatch.setattr(Log, "_load", lambda self, file: loaded.append(file) or load(self, file))
    stream = log.stream(log.entries)
    next(stream)
    assert len(loaded) == 1
    assert len(list(stream)) == 35
    assert len(loaded) == len(log.files) == RECIPE.epochs


def test_packed_puts_the_samples_in_few_batches_of_every_epoch(tmp_path):
    ids = list(range(0, 60, 3))  # 20 samples in 4 of 12 batches
    _, log = recorded(tmp_path, order=packed(ids, 4, RECIPE))
    touched = [e.key for e in log.touched(ids)]
    assert [sum(epoch == e for e, _ in touched) for epoch in (1, 2, 3)] == [4, 4, 4]
    assert len({tuple(b for e, b in touched if e == epoch) for epoch in (1, 2, 3)}) > 1  # not always the same
    assert all(
        sorted(i for e in log.entries[s : s + 12] for i in e.ids) == list(range(120)) for s in (0, 12, 24)
    )
    for few in (1, 13):
        with pytest.raises(ValueError, match=r"`batches` must be in 2 \.\.\. 12 for 20 of 120"):
            run(train(tiny_net(), blobs(), RECIPE, order=packed(ids, few, RECIPE)))


def test_fine_tuning_after_a_request_is_told_to_the_log(tmp_path):
    net, log = recorded(tmp_path)
    tuned = run(amnesiac(net, [3], log)).model
    run(train(tuned, blobs(), RECIPE.but(epochs=1)))
    with pytest.raises(StoreError, match=r"another model.*log\.commit"):
        run(amnesiac(tuned, [50], log))
    log.commit(tuned)
    moved = subtract(forgotten(tuned, [50], log, purge=False), snapshot(tuned))
    assert near(add(snapshot(tuned), moved), forgotten(tuned, [50], log), 1e-12)


BAD_SETTINGS = [
    ({"keep": 1.5}, r"`keep` must be in \[0, 1\]; got 1\.5\."),
    ({"keep": -0.1}, r"`keep` must be in \[0, 1\]; got -0\.1\."),
    ({"keep": math.nan}, r"`keep` must be in \[0, 1\]; got nan\."),
    ({"keep": {"1.weight": 1.5}}, r'`keep\["1\.weight"\]` must be in \[0, 1\]; got 1\.5\.'),
    ({"keep": {"fc": 0.5}}, r"names 'fc'; the layers are 1\.weight, 1\.bias, 3\.weight, 3\.bias\."),
    ({"keep": {"1.weight": 0.5}, "group": "module"}, r"names '1\.weight'; the layers are 1, 3\."),
    ({"keep": {}}, r"at least one layer; they are 1\.weight"),
    ({"keep": {"1.weight": 0.5}, "rule": "global"}, r"one number for `rule=\"global\"`"),
    ({"sensitive": [500]}, r"`ids` must be ids of this set"),
]


@pytest.mark.parametrize(("options", "message"), BAD_SETTINGS)
def test_a_bad_setting_is_named_with_its_rule_and_value(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        recorded(tmp_path, **options)


def test_a_sample_that_was_never_recorded_is_an_error(full):
    with pytest.raises(
        ValueError, match=r"samples that this log recorded; 2 are not, among them \[500, 501\]"
    ):
        run(amnesiac(full[0], [3, 501, 500], full[1]))


def test_the_log_of_another_model_is_refused(full):
    with pytest.raises(StoreError, match="another model"):
        run(amnesiac(tiny_net(seed=1), FORGET, full[1]))


def test_the_log_of_another_recipe_or_share_is_refused(full, tmp_path):
    root = full[1].folder.root
    with pytest.raises(StoreError, match=r"another recipe: seed: stored 0, now 1"):
        Log(root, RECIPE.but(seed=1))
    with pytest.raises(StoreError, match=r"lr: stored 0\.01, now 0\.02"):
        recorded(root, recipe=RECIPE.but(lr=0.02))
    with pytest.raises(StoreError, match=r"keep: stored 1\.0, now 0\.5"):
        recorded(root, keep=0.5)
    with pytest.raises(StoreError, match="holds no log of updates; `record` makes one"):
        Log(tmp_path)


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_or_damaged_file_is_named_and_nothing_is_subtracted(tmp_path, missing):
    net, log = recorded(tmp_path)
    before, ledger = snapshot(net), json.dumps(log.folder.manifest())
    path = tmp_path / log.entries[-1].file
    if missing:
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{path.name} is {'missing' if missing else 'damaged'}"):
        run(amnesiac(net, FORGET, log))
    assert same(before, snapshot(net))
    assert json.dumps(log.folder.manifest()) == ledger


def test_a_recording_that_was_abandoned_does_not_bar_the_next_and_never_counts(tmp_path):
    abandoned = record(tiny_net(), blobs(), RECIPE, tmp_path, keep=0.5)
    next(abandoned)
    net, log = recorded(tmp_path, keep=0.5)
    with pytest.raises(StoreError, match="taken over by a later run"):
        run(abandoned)
    assert Log(tmp_path).entries == log.entries
    assert len(log.updates()) == 36
    assert not same(forgotten(net, FORGET, log), snapshot(net))


def test_recording_again_leaves_out_what_was_forgotten_before(tmp_path):
    net, log = recorded(tmp_path / "log", keep=0.3)
    run(amnesiac(net, FORGET, log))
    seen, again, twin = set(), tiny_net(), tiny_net()
    steps = record(again, blobs(), RECIPE, tmp_path / "log", keep=0.3)
    log = run(steps, [lambda step: seen.update(step.batch.ids.tolist())])
    assert seen == set(range(120)) - set(FORGET)
    run(train(twin, blobs().without(FORGET), RECIPE))
    assert same(snapshot(again), snapshot(twin))
    with pytest.warns(UserWarning, match="forgotten already"):
        assert same(forgotten(again, FORGET, log), snapshot(again))


def test_opening_a_log_sweeps_what_a_killed_purge_left(tmp_path, monkeypatch):
    net, log = recorded(tmp_path, keep=0.3)
    files = {p.name for p in tmp_path.glob("*.safetensors")}

    def killed(self, missing_ok=False):
        if self.suffix == ".safetensors":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    unlink = Path.unlink
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            run(amnesiac(net, FORGET, log))
    assert files < {p.name for p in tmp_path.glob("*.safetensors")}  # the purged values are still there
    log = Log(tmp_path)
    assert not files & {p.name for p in tmp_path.glob("*.safetensors")}
    assert log.resolve(FORGET) == (set(), set(FORGET))


def test_the_current_model_is_compared_with_the_ledger(tmp_path):
    net, log = recorded(tmp_path)
    found = log.folder.manifest()
    name = next(n for n in found["files"] if n.startswith("model"))
    with log.folder.locked() as store:
        other = store.save(name, snapshot(tiny_net(seed=1)))
        store.commit(found, {**found["files"], name: other})
    with pytest.raises(StoreError, match=rf"{name} is not the model that this log says is the current one"):
        forgotten(net, FORGET, Log(tmp_path))


def test_a_log_that_was_changed_elsewhere_takes_no_model_until_it_is_read_again(tmp_path):
    net, log = recorded(tmp_path)
    other = Log(tmp_path)
    tuned = run(amnesiac(net, [3], other)).model
    with pytest.raises(StoreError, match=r"changed since this log was read; `log.read\(\)`"):
        log.commit(tuned)
    log.read()
    log.commit(tuned)
    assert other.resolve([3]) == (set(), {3})


def test_where_nothing_can_be_written_a_log_opens_and_requests_are_tried(tmp_path, monkeypatch):
    net, log = recorded(tmp_path)
    wanted = forgotten(net, FORGET, log, purge=False)

    def read_only(self, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", read_only)
    assert same(forgotten(net, FORGET, Log(tmp_path), purge=False), wanted)
    with pytest.raises(StoreError, match="cannot write into"):
        forgotten(net, FORGET, Log(tmp_path))
    steps = []
    with pytest.raises(StoreError, match="cannot write into"):
        run(record(tiny_net(), blobs(), RECIPE, tmp_path, keep=1), [steps.append])
    assert not steps  # before anything is trained


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("keep", [0.01, 0.3, 1])
def test_nets_of_every_precision_are_recorded_and_undone(tmp_path, dtype, keep):
    net, states = tiny_net().to(dtype), []
    data = replace(blobs(), x=blobs().x.to(dtype))
    recipe = RECIPE.but(optimizer="sgd", epochs=2)
    steps = record(net, data, recipe, tmp_path, keep=keep)
    log = run(steps, [lambda step: states.append(log_of(step.model))])
    dense = torch.stack(states[1:]) - torch.stack(states[:-1])
    assert log.dtype == dtype
    assert log.nbytes == pytest.approx(log.expected_nbytes, rel=0.1, abs=2_000)  # and headers
    for (entry, S, U), update in zip(log.stream(log.entries[1:]), dense, strict=True):
        assert torch.equal(U, update[S]), entry
    theta = states[-1].clone()
    for _, S, U in log.stream(log.touched(FORGET)):
        theta[S] -= U
    assert torch.equal(log_of(run(amnesiac(net, FORGET, log)).model), theta)


def log_of(net):
    return Layers.of(net).flatten(snapshot(net))


def test_a_net_whose_buffers_learn_is_recorded_with_a_warning(tmp_path, digits):
    net, recipe = models.build("small_cnn_bn", digits.shape, 10), Recipe(batch_size=16, epochs=1)
    with pytest.warns(UserWarning, match=r"training moves buffers .*running_mean.*without batch norm"):
        run(record(net, digits.train.head(32), recipe, tmp_path, keep=0.5))


def test_recording_again_with_the_same_settings_starts_over(tmp_path):
    net, log = recorded(tmp_path, keep=0.5)
    run(amnesiac(net, FORGET, log))
    steps = record(tiny_net(), blobs(), RECIPE, tmp_path, keep=0.5)
    for _ in range(15):
        next(steps)
    steps.close()  # given up in the second epoch: the old log still counts
    assert Log(tmp_path).entries == log.entries
    net, again = recorded(tmp_path, keep=0.5)
    assert len(again.touched(FORGET)) == len(again.touched([3])) + len(again.touched([50, 51])) - len(
        {e.key for e in again.touched([3])} & {e.key for e in again.touched([50, 51])}
    )
    assert again.folder.nbytes < 1.1 * (again.expected_nbytes + 60_000)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(again.files) + 1


def test_a_rule_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r'`rule` must be "magnitude", "random" or "global"; got \'best\'\.'):
        check_rule.__wrapped__("best", 0.5)  # past the type checker of the tests


def test_packed_fills_its_batches_evenly_and_in_keyed_order():
    everyone, ids = torch.arange(97), list(range(0, 75, 5))  # 15 of them; nine full batches of ten
    order = packed(ids, 4, RECIPE)
    for epoch in (1, 2):
        rows = order(everyone, epoch)
        assert torch.equal(rows.sort().values, everyone)
        counts = [int(torch.isin(batch, torch.tensor(ids)).sum()) for batch in rows.split(10)]
        assert sorted(counts) == [0] * 6 + [3, 4, 4, 4]
        assert counts[-1] == 0, "the last batch is not full"
        keyed = keyed_order(everyone, RECIPE.seed, 0, epoch)
        inside = torch.isin(rows, torch.tensor(ids))
        assert torch.equal(rows[inside], keyed[torch.isin(keyed, torch.tensor(ids))])
        assert torch.equal(rows[~inside], keyed[~torch.isin(keyed, torch.tensor(ids))])
        chosen = keyed_order(torch.arange(9), RECIPE.seed, epoch)[:4].tolist()
        assert {k for k, count in enumerate(counts) if count} == set(chosen)
    for number, fits in ((1, False), (2, True), (9, True), (10, False)):
        if fits:
            assert len(packed(ids, number, RECIPE)(everyone, 1)) == 97
        else:
            with pytest.raises(ValueError, match=r"`batches` must be in 2 \.\.\. 9 for 15 of 97"):
                packed(ids, number, RECIPE)(everyone, 1)
    assert torch.equal(packed([], 1, RECIPE)(everyone, 1), keyed_order(everyone, RECIPE.seed, 0, 1))


def test_a_trace_says_what_was_undone_and_how_many_entries_moved(full):
    net, log = full
    begun, steps = time.perf_counter(), []
    done = run(amnesiac(net, FORGET, log, purge=False), [steps.append])
    assert 0 < done.seconds <= time.perf_counter() - begun
    entries = log.touched(FORGET)
    assert done.trace.ids == tuple(FORGET)
    assert done.trace.undone == tuple(entry.key for entry in entries)
    assert (done.trace.batches, done.trace.nbytes_before) == (36, log.nbytes) == (36, done.trace.nbytes_after)
    moved = log.updates(FORGET).rows.ne(0).any(0)
    assert int(moved.sum()) <= done.trace.changed == log.layers.n
    assert [(s.epoch, s.number, s.steps) for s in steps] == [
        (entry.key[0], number, len(entries)) for number, entry in enumerate(entries, 1)
    ]
    assert [s.batch.ids.tolist() for s in steps] == [list(entry.ids) for entry in entries]
    assert [s.info["norm"] for s in steps] == pytest.approx(
        [float(row.norm()) for row in log.updates(FORGET).rows]
    )
    assert not done.model.training


def test_every_entry_times_one_is_undoing_in_full_and_times_zero_nothing(full):
    theta, updates = snapshot(full[0]), full[1].updates(FORGET)
    assert near(undo_scaled(theta, updates, 1), undo(theta, updates), 1e-12)
    assert same(undo_scaled(theta, updates, 0), theta)
    half = undo_scaled(theta, updates, 0.5)
    assert near(subtract(theta, half), subtract(half, undo(theta, updates)), 1e-12)


def test_undoing_is_of_everything_by_magnitude_unless_told_otherwise(full):
    params, updates = snapshot(full[0]), full[1].updates(FORGET)
    plain = undo(params, updates)
    assert same(plain, undo(params, updates, 1.0, "magnitude"))
    total = updates.layers.unflatten(updates.rows.sum(0))
    assert near(plain, {name: params[name] - total[name] for name in params}, 1e-12)
    part = undo(params, updates, {"3.bias": 1})
    assert all(torch.equal(part[name], params[name]) for name in params if name != "3.bias")
    assert not torch.equal(part["3.bias"], params["3.bias"])


def test_a_log_in_many_small_files_is_the_same_log(tmp_path, full, monkeypatch):
    monkeypatch.setattr(recorder, "_PRUNE_BYTES", 1)
    monkeypatch.setattr(recorder, "_FILE_BYTES", 1)
    net, log = recorded(tmp_path)
    assert (len(log.files), len(full[1].files)) == (36, 3), "one an update; one an epoch"
    one, many = full[1].updates(), log.updates()
    assert one.keys == many.keys == tuple((e, b) for e in (1, 2, 3) for b in range(1, 13))
    assert torch.equal(one.rows, many.rows)
    assert same(forgotten(net, FORGET, log), forgotten(full[0], FORGET, full[1], purge=False))


@pytest.mark.parametrize("keep", [1, 0.2, 0.005])  # a mask, and positions
def test_after_a_purge_every_other_update_is_still_there_bit_by_bit(tmp_path, keep):
    net, log = recorded(tmp_path, keep=keep)
    everything = log.updates()
    before = dict(zip(everything.keys, everything.rows, strict=True))
    held = {entry.key: list(entry.ids) for entry in log.entries}
    undone = set()
    for ids in ([3, 50], [51], [77]):
        undone |= {entry.key for entry in log.touched(ids)}
        forgotten(net, ids, log)
        left = Log(tmp_path).updates()
        assert left.keys == tuple(key for key in before if key not in undone)
        assert all(torch.equal(row, before[key]) for key, row in zip(left.keys, left.rows, strict=True))
    gone = {3, 50, 51, 77}
    for entry in Log(tmp_path).entries:
        assert entry.ids == [i for i in held[entry.key] if i not in gone]
        assert entry.undone == (entry.file is None) == (entry.key in undone)


def test_the_updates_of_some_samples_are_those_of_their_batches_in_order(full):
    log = full[1]
    keys = [entry.key for entry in log.entries if set(entry.ids) & set(FORGET)]
    assert list(log.updates(FORGET).keys) == keys == sorted(keys)
    every = dict(zip(log.updates().keys, log.updates().rows, strict=True))
    assert all(torch.equal(row, every[key]) for key, row in zip(keys, log.updates(FORGET).rows, strict=True))
    assert log.resolve([5, 7]) == ({5, 7}, set())


@pytest.mark.parametrize(("keep", "by_position"), [(0.025, True), (0.03, False), (1, False)])
def test_positions_are_stored_where_they_are_shorter_than_a_bitmask(tmp_path, keep, by_position):
    _, log = recorded(tmp_path, keep=keep, recipe=RECIPE.but(epochs=1))
    (file,) = log.files
    with safe_open(log.folder / file, "pt") as stored:
        assert set(stored.keys()) == {"values", "positions" if by_position else "mask"}
    headers = log.nbytes - log.expected_nbytes
    assert 0 < headers < 1000


def test_a_net_whose_buffers_move_is_warned_about_at_the_first_batch(tmp_path):
    net = tiny_net()
    net.insert(2, torch.nn.BatchNorm1d(32).double())
    steps = record(net, blobs(), RECIPE, tmp_path, keep=1)
    with pytest.warns(UserWarning, match="training moves buffers of this model"):
        next(steps)
    next(steps)  # once is enough
    steps.close()
