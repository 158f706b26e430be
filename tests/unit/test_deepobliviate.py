"""Laws of DeepObliviate; those of its stop rule are in test_decay.py."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import pytest
import torch

from tests.toys import blobs, tiny_net
from unlearn_lib import models
from unlearn_lib.data import Examples, keyed_order
from unlearn_lib.methods.deepobliviate import deepobliviate, deepobliviate_but, stitched, train_chain
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.params import add, assign, clone, l1, snapshot, state, subtract
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import Recipe, evaluating, run, train

B = 12
RECIPE = Recipe(epochs=2, batch_size=5, lr=0.05)
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than one mini-batch", "ignore:.*lack a class")


def make_chain(folder, *, data=None, net=None, blocks=B, recipe=RECIPE):
    data = blobs() if data is None else data
    return run(train_chain(net or tiny_net(), data, recipe, blocks, Folder(folder)))


@pytest.fixture
def chain(tmp_path):
    """Twelve blocks of ten points, float64."""
    return make_chain(tmp_path)


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def hashes(chain) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in chain.folder.root.glob("block*")}


def ids_in(chain, *blocks, count=2):
    return torch.cat([chain.members[k - 1][:count] for k in blocks])


def scratch(chain, start, ids):
    """Slow twin: M_{start-1}, then every block without the ids, trained with nothing but `train`."""
    model = chain.model(start - 1)
    for k in range(start, chain.blocks + 1):
        kept = [i for i in chain.members[k - 1].tolist() if i not in set(torch.as_tensor(ids).tolist())]
        run(train(model, chain.data.select(kept), chain.recipe, block=k))
    return model


@pytest.mark.parametrize(("restart", "stop"), [(1, B), (4, 9), (B, B)])
def test_with_nothing_deleted_the_result_is_the_final_model(chain, restart, stop):
    done = run(deepobliviate(chain, [], restart=restart, stop_block=stop))
    assert done.trace.blocks_retrained == stop - restart + 1
    assert set(done.trace.residual) == {0.0}
    assert all(same(chain.state(k), done.trace.retrained[k - restart]) for k in range(restart, stop + 1))
    assert same(state(done.model), chain.state(B))


def test_with_nothing_deleted_and_no_forced_end_it_stops_as_identical(chain):
    done = run(deepobliviate(chain, [], TrendRule(0), restart=4))
    assert (done.trace.T, done.trace.reason) == (4, "identical")
    assert same(state(done.model), chain.state(B))


def test_zero_epsilon_retrains_to_the_end_and_equals_independent_retraining(chain):
    ids = ids_in(chain, 5)
    done = run(deepobliviate(chain, ids, TrendRule(0)))
    assert (done.trace.T, done.trace.reason, done.trace.exact) == (B, "end of chain", True)
    assert same(state(done.model), state(scratch(chain, 5, ids)))


def test_infinite_epsilon_stops_at_d_max_plus_n_min_minus_one(chain):
    done = run(deepobliviate(chain, ids_in(chain, 2, 4), TrendRule(math.inf, "fixed", n_min=3)))
    assert (done.trace.T, done.trace.reason, done.trace.exact) == (4 + 3 - 1, "trend", False)


def test_the_last_block_alone_is_retrained_exactly(chain):
    done = run(deepobliviate(chain, ids_in(chain, B)))
    assert (done.trace.blocks_retrained, done.trace.exact) == (1, True)


def test_the_first_block_starts_from_the_stored_initial_model(chain):
    ids = ids_in(chain, 1)
    done = run(deepobliviate(chain, ids, TrendRule(0)))
    assert same(chain.state(0), state(tiny_net()))
    assert same(state(done.model), state(scratch(chain, 1, ids)))


def test_earlier_files_keep_their_hash_and_no_deleted_id_is_read(chain, monkeypatch):
    ids, before = ids_in(chain, 5, 7), hashes(chain)
    loaded, read = [], set()
    monkeypatch.setattr(type(chain), "state", spy(type(chain).state, loaded))
    done = run(deepobliviate(chain, ids), watch=[lambda step: read.update(step.batch.ids.tolist())])
    assert loaded[0] == 4
    assert read
    assert not read & set(ids.tolist())
    new = chain.commit(done.trace)
    after = hashes(new)
    assert {name: after[name] for name in after if name in before} == {
        f"block-{k:04d}-0.safetensors": before[f"block-{k:04d}-0.safetensors"] for k in range(5)
    }


def spy(method, calls):
    def wrapped(self, k):
        calls.append(k)
        return method(self, k)

    return wrapped


def test_the_stitched_model_is_the_retrained_one_plus_the_tails_increments(chain):
    done = run(deepobliviate(chain, ids_in(chain, 3), stop_block=6))
    P = [chain.params(k) for k in range(B + 1)]
    retrained, result = done.trace.retrained[-1], snapshot(done.model)
    for name in result:
        tail = sum(P[k][name] - P[k - 1][name] for k in range(7, B + 1))
        torch.testing.assert_close(result[name], retrained[name] + tail, atol=1e-12, rtol=0)
        torch.testing.assert_close(
            result[name] - P[B][name], retrained[name] - P[6][name], atol=1e-12, rtol=0
        )


def test_the_gap_is_at_most_the_sum_of_the_residuals(chain):
    trace = run(deepobliviate(chain, ids_in(chain, 3), TrendRule(0))).trace
    total = 0.0
    for residual, gap in zip(trace.residual, trace.gap, strict=True):
        total += residual
        assert gap <= total + 1e-9


def test_as_many_blocks_are_trained_as_reported(chain):
    seen = set()
    done = run(
        deepobliviate(chain, ids_in(chain, 3), stop_block=7),
        watch=[lambda step: seen.add(step.info["block"])],
    )
    assert seen == {3, 4, 5, 6, 7}
    assert done.trace.blocks_retrained == 5
    assert done.trace.speedup == B / 5


def test_the_order_of_ids_is_irrelevant_and_no_test_happens_before_d_max(chain, monkeypatch):
    ids, tested = ids_in(chain, 2, 6).tolist(), []
    monkeypatch.setattr(
        TrendRule, "converged", lambda self, window: bool(tested.append(len(window))) or len(window) == 3
    )
    one, two = run(deepobliviate(chain, ids)), run(deepobliviate(chain, ids[::-1] + ids[:1]))
    assert tested == [1, 2, 3] * 2  # the window begins at d_max = 6, not at d_min = 2
    assert one.trace.T == 8
    assert same(state(one.model), state(two.model))


def test_with_exact_replacement_the_order_of_requests_is_irrelevant(tmp_path):
    x, y = [3], [51]
    results = []
    for number, requests in enumerate([(x, y), (y, x), (x + y,)]):
        chain = make_chain(tmp_path / str(number))
        for ids in requests:
            chain = chain.commit(run(deepobliviate(chain, ids, TrendRule(0))).trace)
        results.append([chain.state(k) for k in range(B + 1)])
    assert all(same(a, b) and same(a, c) for a, b, c in zip(*results, strict=True))


def test_nothing_that_saw_the_data_stays(chain):
    ids, old = ids_in(chain, 4), [chain.state(k) for k in range(B + 1)]
    new = chain.commit(run(deepobliviate(chain, ids, stop_block=6)).trace)
    assert not any(same(old[k], new.state(k)) for k in range(4, B + 1))
    assert len(list(new.folder.root.glob("*.safetensors"))) == B + 1
    assert new.block_of(ids) == []
    manifest = new.folder.manifest()
    assert not set(ids.tolist()) & {i for block in manifest["members"] for i in block}
    before = hashes(new)
    with pytest.warns(UserWarning, match="nothing to do"):
        again = run(deepobliviate(new, ids))
    assert (again.trace.reason, again.trace.blocks_retrained) == ("nothing to forget", 0)
    assert new.commit(again.trace) is new
    assert hashes(new) == before
    with pytest.raises(ValueError, match=r"1 are not, among them \[999\]"):
        run(deepobliviate(new, [999]))


@pytest.mark.slow
def test_the_residual_decays_and_the_reshuffled_one_does_not(digits, tmp_path):
    decayed, flat, close = [], [], []
    for seed in range(6):
        recipe = Recipe(epochs=3, batch_size=16, seed=seed)
        net = models.build("mlp", digits.shape, 10, seed=seed)
        chain = make_chain(tmp_path / str(seed), data=digits.train, net=net, blocks=40, recipe=recipe)
        ids = chain.members[4][:10]
        full = run(deepobliviate(chain, ids, stop_block=40)).trace
        decayed.append(max(full.residual[10:]) < 0.3 * full.residual[0])
        mixed = run(deepobliviate_but(chain, ids, stop_block=40, order_seed=seed + 100)).trace
        flat.append(sum(mixed.residual[-5:]) / sum(mixed.residual[:5]))
        scores = [score(stitched(chain, full, T), digits.test) for T in (9, 40)]
        close.append(abs(scores[0] - scores[1]))
    assert sum(decayed) >= 5
    assert sum(flat) / 6 > 0.5
    assert max(close) <= 0.03


def score(model, examples) -> float:
    examples = examples.to("cpu")
    with evaluating(model):
        return float((model(examples.x).argmax(1) == examples.y).float().mean())


@pytest.mark.filterwarnings("ignore:.*lack a class")
def test_the_backdoor_is_in_the_final_model_and_gone_after_unlearning(digits, tmp_path):
    recipe = Recipe(epochs=3, batch_size=16)
    poisoned = cut_into_blocks(digits.train, 40, recipe.seed)[36][:25]
    x, y = digits.train.x.clone(), digits.train.y.clone()
    rows = digits.train.rows(poisoned)
    x[rows], y[rows] = stamp(x[rows]), 0
    data = replace(digits.train, x=x, y=y)
    net, members = models.build("mlp", digits.shape, 10), cut_into_blocks(digits.train, 40, recipe.seed)
    chain = make_chain(tmp_path, data=data, net=net, blocks=members, recipe=recipe)
    others = digits.test.where(digits.test.y != 0)
    triggered = replace(others, x=stamp(others.x), y=torch.zeros_like(others.y))
    assert score(chain.model(), triggered) >= 0.9
    done = run(deepobliviate(chain, poisoned, TrendRule(math.inf, "fixed", n_min=3)))
    assert done.trace.T == 39
    assert score(done.model, triggered) <= 0.02


def stamp(x):
    x = x.clone()
    x[..., [0, -1]] = 16  # the first and the last column
    return x


def test_buffers_come_from_the_retrained_model_and_are_never_stitched(digits, tmp_path):
    net = models.build("small_cnn_bn", digits.shape, 10)
    recipe = Recipe(epochs=1, batch_size=16, lr=0.01)
    chain = make_chain(tmp_path, data=digits.train.head(160), net=net, blocks=5, recipe=recipe)
    done = run(deepobliviate(chain, ids_in(chain, 2), stop_block=3))
    buffers, last = dict(done.model.named_buffers()), done.trace.retrained[-1]
    assert buffers
    for name, value in buffers.items():
        assert torch.equal(value, last[name])
        assert value.dtype == last[name].dtype
        assert "running_var" not in name or (value >= 0).all()
    new = chain.commit(done.trace)
    assert all(torch.equal(new.state(5)[name], last[name]) for name in buffers)


def test_the_chain_is_untouched_until_the_request_is_committed(chain):
    ids, before = ids_in(chain, 4), hashes(chain)
    members, manifest = [block.clone() for block in chain.members], chain.folder.manifest()
    one, two = (run(deepobliviate(chain, ids, stop_block=6)) for _ in range(2))
    assert hashes(chain) == before
    assert chain.folder.manifest() == manifest
    assert all(map(torch.equal, members, chain.members))
    assert one.trace.residual == two.trace.residual
    assert same(state(one.model), state(two.model))


def test_the_keyed_order_survives_deletion():
    ids = torch.arange(50) * 7
    order = ids[keyed_order(ids, 0, 3, 1)]
    kept = ids[ids % 3 != 0]
    survivors = kept[keyed_order(kept, 0, 3, 1)]
    assert survivors.tolist() == [i for i in order.tolist() if i % 3 != 0]
    assert torch.equal(keyed_order(ids, 0, 3, 1), keyed_order(ids, 0, 3, 1))
    assert not torch.equal(order, ids[keyed_order(ids, 0, 3, 2)])  # another epoch
    assert not torch.equal(order, ids[keyed_order(ids, 0, 4, 1)])  # another block
    assert not torch.equal(order, ids[keyed_order(ids, 1, 3, 1)])  # another seed


def test_stitched_from_follows_two_requests_and_retraining_clears_it(chain):
    assert chain.stitched_from is None
    chain = chain.commit(run(deepobliviate(chain, ids_in(chain, 4), stop_block=6)).trace)
    assert chain.stitched_from == 7
    later = run(deepobliviate(chain, ids_in(chain, 9), TrendRule(0)))
    assert (later.trace.T, later.trace.exact) == (B, False)  # exact arithmetic from a stitched model
    chain = chain.commit(later.trace)
    assert chain.stitched_from == 7
    chain = chain.commit(run(deepobliviate(chain, ids_in(chain, 2), stop_block=3)).trace)
    assert chain.stitched_from == 4
    restored = run(deepobliviate(chain, [], restart=4, stop_block=B))
    assert restored.trace.exact
    chain = chain.commit(restored.trace)
    assert chain.stitched_from is None
    assert same(chain.state(B), state(scratch(chain, 1, [])))


def test_a_whole_class_can_be_forgotten(chain):
    ids = chain.data.ids[chain.data.y == 1]
    done = run(deepobliviate(chain, ids, TrendRule(0)))
    assert (done.trace.d_min, done.trace.d_max, done.trace.T) == (1, B, B)
    assert score(done.model, chain.data.select(ids)) == 0


def test_a_request_that_empties_a_block_is_refused_by_its_number(chain):
    with pytest.raises(ValueError, match="they empty block 3, which has 10"):
        run(deepobliviate(chain, chain.members[2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stop_block": 3}, r"`stop_block` must be in 4 ... 12; got 3"),
        ({"stop_block": 13}, r"`stop_block` must be in 4 ... 12; got 13"),
        ({"restart": 5}, r"`restart` must be in 1 ... 4; got 5"),
    ],
)
def test_a_block_outside_its_range_is_refused(chain, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(deepobliviate(chain, ids_in(chain, 4), **arguments))


def test_two_requests_from_one_chain_cannot_both_be_committed(chain):
    first, second = (run(deepobliviate(chain, ids_in(chain, k), stop_block=k)).trace for k in (3, 5))
    chain.commit(first)
    before = hashes(chain)
    with pytest.raises(StoreError, match="another chain"):
        chain.commit(second)
    assert hashes(chain) == before


def test_the_distance_between_increments_is_what_the_definition_says(chain):
    """Slow twin of Delta_k, from the stored files alone."""
    ids = ids_in(chain, 5)
    trace = run(deepobliviate(chain, ids, stop_block=7)).trace
    models_new = [chain.model(4)]
    for number, tensors in enumerate(trace.retrained):
        model = clone(chain.template)
        assign(model, tensors)
        models_new.append(model)
        V = subtract(chain.params(5 + number), chain.params(4 + number))
        V_new = subtract(snapshot(models_new[-1]), snapshot(models_new[-2]))
        assert trace.residual[number] == pytest.approx(l1(subtract(V, V_new)), rel=1e-12)


def test_samples_of_every_kind_of_label_can_be_dealt_into_blocks():
    data = blobs(100)
    blocks = cut_into_blocks(data, 7)
    assert sorted(torch.cat(blocks).tolist()) == list(range(100))
    assert {len(block) for block in blocks} == {14, 15}
    for block in blocks:
        shares = data.select(block).y.bincount(minlength=3)
        assert shares.max() - shares.min() <= 1
    assert isinstance(data, Examples)


def test_the_window_of_a_trace_is_what_the_rule_saw_last(chain):
    seen = []
    done = run(deepobliviate(chain, ids_in(chain, 3, 6), TrendRule(0), stop_block=9), [seen.append])
    trace = done.trace
    assert (trace.d_min, trace.d_max, trace.T, trace.blocks_retrained) == (3, 6, 9, 7)
    assert trace.window == trace.residual[3:] == seen[-1].info["window"]
    assert [len(s.info["window"]) for s in seen if s.phase == "residual"] == [0, 0, 0, 1, 2, 3, 4]
    assert trace.speedup == B / 7
    assert [(s.number, s.steps) for s in seen if s.phase == "residual"] == [(n, 10) for n in range(1, 8)]


def test_residual_and_gap_are_the_distances_of_increments_and_of_states(chain):
    trace = run(deepobliviate(chain, ids_in(chain, 4), stop_block=6)).trace
    new = {3: chain.params(3)} | {
        k: {name: trace.retrained[k - 4][name] for name in chain.params(k)} for k in (4, 5, 6)
    }
    for k in (4, 5, 6):
        old_step, new_step = subtract(chain.params(k), chain.params(k - 1)), subtract(new[k], new[k - 1])
        assert trace.residual[k - 4] == pytest.approx(l1(subtract(old_step, new_step)))
        assert trace.gap[k - 4] == pytest.approx(l1(subtract(chain.params(k), new[k])))


def test_nothing_to_forget_is_the_final_model_and_trains_nothing(chain):
    with pytest.warns(UserWarning, match="names no sample that is still in the chain"):
        done = run(deepobliviate(chain, []))
    assert same(state(done.model), chain.state(B))
    assert (done.trace.reason, done.trace.blocks_retrained, done.trace.speedup) == ("nothing to forget", 0, B)
    assert (done.trace.ids, done.trace.exact, done.trace.window) == ((), False, ())


@pytest.mark.parametrize(
    ("name", "value"), [("stop_block", 5), ("stop_block", B + 1), ("restart", 0), ("restart", 5)]
)
def test_no_run_stops_before_the_last_touched_block_or_restarts_after_the_first(chain, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        run(deepobliviate(chain, ids_in(chain, 4, 6), **{name: value}))


def test_another_order_of_the_retrained_blocks_is_measured_as_residual(chain):
    ids = ids_in(chain, 4)
    plain = run(deepobliviate(chain, ids, stop_block=5)).trace.residual
    kept, shuffled = (
        run(deepobliviate_but(chain, ids, stop_block=5, order_seed=seed)).trace.residual
        for seed in (RECIPE.seed, 7)
    )
    assert kept == plain
    assert shuffled != plain


def test_up_to_t_the_committed_models_are_the_retrained_ones_bit_for_bit(tmp_path):
    chain = make_chain(tmp_path, recipe=RECIPE.but(lr=1.0))  # far apart, so that a sum of differences rounds
    trace = run(deepobliviate(chain, ids_in(chain, 4, 5, 6, 7, count=8), stop_block=7)).trace
    P_T, last = chain.params(7), trace.retrained[-1]
    assert not same(add(P_T, subtract({name: last[name] for name in P_T}, P_T)), last), "it would round"
    before = {k: chain.state(k) for k in range(4)}
    new = chain.commit(trace)
    assert all(same(new.state(k), before[k]) for k in range(4))
    assert all(same(new.state(k), trace.retrained[k - 4]) for k in range(4, 8))
    assert new.stitched_from == 8
