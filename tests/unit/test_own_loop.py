"""A training loop of one's own, recorded or in blocks: our bytes where both do the same arithmetic."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks as hooks
from torch.utils.data import DataLoader, Dataset

import unlearn_lib as ul
from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, keyed_order
from unlearn_lib.methods.amnesiac import Log, Recording
from unlearn_lib.methods.deepobliviate import TrendRule, deepobliviate_but
from unlearn_lib.params import add, snapshot, subtract
from unlearn_lib.store import StoreError
from unlearn_lib.train import train

DATA, RECIPE = blobs(60), ul.Recipe(lr=0.05, batch_size=10, epochs=3)
SGD = {"lr": 0.05}


def batches(data: Examples, epoch: int, k: int = 0) -> Any:
    """Those of our loop."""
    batch = data.batch(keyed_order(data.ids, RECIPE.seed, k, epoch))
    sizes = [10] * (len(data) // 10) + [len(data) % 10] * (len(data) % 10 > 0)
    return batch.split(sizes)


def taught(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


def own_loop(net: nn.Module, log: Recording, epochs: int = 3) -> None:
    net.train()
    sgd = torch.optim.SGD(net.parameters(), **SGD)
    for epoch in range(1, epochs + 1):
        for batch in batches(log.data, epoch):
            taught(net, sgd, batch.x, batch.y)
            log.step(batch.ids)


def nudge(net: nn.Module) -> None:
    """A step without an optimizer."""
    with torch.no_grad():
        for p in net.parameters():
            p += 1


def own_fit(net: nn.Module, examples: Examples, k: int) -> None:
    sgd = torch.optim.SGD(net.parameters(), **SGD)
    for epoch in range(1, 4):
        for batch in batches(examples, epoch, k):
            taught(net, sgd, batch.x, batch.y)


def written(folder: Path) -> dict[str, bytes]:
    """Every file, but for its header, which names the recipe."""
    files = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    return {name: data[8 + int.from_bytes(data[:8], "little") :] for name, data in files.items()}


def told(folder: Path) -> dict[str, Any]:
    """The manifest, but for its recipe, all digests, and the key of what it forgets, which is drawn."""
    found = json.loads((folder / "manifest.json").read_text())
    found["files"] = list(found["files"])
    return {name: value for name, value in found.items() if name not in ("recipe", "digest", "key")}


def everything(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


# The log -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"keep": 1}, {"keep": 0.2}, {"keep": 0.2, "sensitive": [3, 4]}])
def test_a_loop_of_ones_own_writes_the_bytes_of_record(tmp_path: Path, options: dict[str, Any]) -> None:
    ours, mine = tiny_net(), tiny_net()
    ul.run(ul.record(ours, DATA, RECIPE, tmp_path / "ours", **options))
    with ul.recording(mine, DATA, tmp_path / "mine", **options) as log:
        own_loop(mine, log)
    assert written(tmp_path / "ours") == written(tmp_path / "mine")
    assert len(written(tmp_path / "mine")) == 4  # three epochs and the model
    assert told(tmp_path / "ours") == told(tmp_path / "mine")
    a, b = (ul.run(ul.amnesiac(ours, [3, 4], Log(tmp_path / who))).model for who in ("ours", "mine"))
    assert all(torch.equal(value, snapshot(b)[name]) for name, value in snapshot(a).items())


def test_the_rule_random_draws_from_the_seed_of_a_loop_of_ones_own(tmp_path: Path) -> None:
    ours, mine = tiny_net(), tiny_net()
    ul.run(ul.record(ours, DATA, RECIPE.but(seed=7), tmp_path / "ours", keep=0.2, rule="random"))
    with ul.recording(mine, DATA, tmp_path / "mine", keep=0.2, rule="random", seed=7) as log:
        for step in train(mine, log.data, RECIPE.but(seed=7)):
            log.step(step.batch.ids, step.epoch)
    assert written(tmp_path / "ours") == written(tmp_path / "mine")
    assert Log(tmp_path / "mine").seed == 7


class Jittered(Dataset):
    """Somebody's data set, with random augmentation."""

    def __len__(self) -> int:
        return len(DATA)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return DATA.x[place] + 0.1 * torch.randn(5, dtype=torch.float64), int(DATA.y[place])


def adam_with_a_schedule(net: nn.Module, log: Recording) -> None:
    adam = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=0.05, total_steps=18)
    for _ in range(3):
        for x, y, ids in DataLoader(log.data, 10, shuffle=True):
            taught(net, adam, x, y)
            schedule.step()
            log.step(ids)


def augmented(net: nn.Module, log: Recording) -> None:
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, 4):
        for x, y, ids in DataLoader(ul.numbered(Jittered(), log.data.ids), 10, shuffle=True):
            taught(net, sgd, x, y)
            log.step(ids, epoch)


def accumulated(net: nn.Module, log: Recording) -> None:
    sgd = torch.optim.SGD(net.parameters(), lr=0.05)
    for epoch in range(1, 4):
        parts = list(batches(log.data, epoch))
        for one, two in zip(parts[::2], parts[1::2], strict=True):
            sgd.zero_grad()
            for part in (one, two):
                F.cross_entropy(net(part.x), part.y).backward()
            sgd.step()
            log.step(torch.cat([one.ids, two.ids]), epoch)


def in_bfloat16(net: nn.Module, log: Recording) -> None:
    sgd = torch.optim.SGD(net.parameters(), lr=0.05)
    for epoch in range(1, 4):
        for x, y, ids in DataLoader(log.data, 10, shuffle=True):
            sgd.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(net(x.float()), y)
            loss.backward()
            sgd.step()
            log.step(ids, epoch)


LOOPS: dict[str, tuple[Callable[[nn.Module, Recording], None], int]] = {
    "Adam with a schedule": (adam_with_a_schedule, 18),
    "augmentation": (augmented, 18),
    "gradients accumulated": (accumulated, 9),
    "autocast": (in_bfloat16, 18),
}


@pytest.mark.parametrize(("loop", "steps"), LOOPS.values(), ids=LOOPS)
def test_the_updates_of_any_loop_lead_from_the_first_model_to_the_last(
    tmp_path: Path, loop: Callable[[nn.Module, Recording], None], steps: int
) -> None:
    torch.manual_seed(0)
    net = tiny_net().float() if loop is in_bfloat16 else tiny_net()
    before = snapshot(net)
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        loop(net, log)
    updates = Log(tmp_path).updates()
    assert (len(updates), updates.rows.dtype) == (steps, before["1.weight"].dtype)
    assert {epoch for epoch, _ in updates.keys} == {1, 2, 3}
    total = updates.layers.unflatten(updates.rows.sum(0))
    torch.testing.assert_close(add(before, total), snapshot(net), rtol=1e-6, atol=1e-6)
    everyone = {i for entry in log.entries if entry.epoch == 1 for i in entry.ids}
    assert everyone == set(range(60))
    unlearned = ul.run(ul.amnesiac(net, [3], log)).model
    moved = subtract(snapshot(net), snapshot(unlearned))
    mine = [row for row, entry in enumerate(Log(tmp_path).entries) if entry.undone]
    undone = updates.layers.unflatten(updates.rows[mine].sum(0))
    torch.testing.assert_close(moved, undone, rtol=1e-5, atol=1e-6)


def test_an_epoch_begins_when_a_sample_comes_again_or_is_told(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        for ids, epoch in (([1, 2], None), ([3], None), ([4, 1], None), ([2], None), ([9], 5), ([8], None)):
            nudge(net)
            log.step(ids, epoch)
    assert [entry.key for entry in log.entries] == [(1, 1), (1, 2), (2, 1), (2, 2), (5, 1), (5, 2)]


def test_what_a_log_has_forgotten_is_not_among_its_data(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        own_loop(net, log)
    ul.run(ul.amnesiac(net, [3], log))
    again = tiny_net()
    with ul.recording(again, DATA, tmp_path, keep=1) as log:
        assert log.data.ids.tolist() == [i for i in range(60) if i != 3]
        with pytest.raises(
            ValueError, match=r"`ids` must be ids of the 59 samples.*1 are not, among them \[3\]"
        ):
            log.step([3])
        own_loop(again, log)
    assert 3 not in {i for entry in Log(tmp_path).entries for i in entry.ids}


def test_an_error_in_the_loop_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    def breaks(folder: Path) -> None:
        net = tiny_net()
        with ul.recording(net, DATA, folder, keep=1) as log:
            own_loop(net, log)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        breaks(tmp_path / "new")
    assert everything(tmp_path / "new") == {}
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path / "old", keep=1) as log:
        own_loop(net, log)
    before = everything(tmp_path / "old")
    with pytest.raises(ZeroDivisionError):
        breaks(tmp_path / "old")
    assert everything(tmp_path / "old") == before
    assert len(Log(tmp_path / "old").updates()) == 18


def record_slowly(folder: Path) -> None:
    """To be killed from outside."""
    net = tiny_net()
    with ul.recording(net, DATA, folder, keep=1) as log:
        for _ in range(1000):
            own_loop(net, log, epochs=1)
            time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and forkserver are POSIX")
def test_a_killed_loop_leaves_the_log_that_there_was(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        own_loop(net, log)
    before, held = everything(tmp_path), len(list(tmp_path.iterdir()))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.toys", "torch._dynamo"])
    child = context.Process(target=record_slowly, args=(tmp_path,))
    child.start()
    deadline = time.monotonic() + 60
    while child.is_alive() and len(list(tmp_path.iterdir())) < held + 3:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.kill()
    child.join()
    assert child.exitcode == -9
    assert len(Log(tmp_path).updates()) == 18
    assert everything(tmp_path) == before  # opening it has swept the rest


def test_a_loop_that_is_not_told_in_full_is_refused_at_the_end(tmp_path: Path) -> None:
    def too_early() -> None:
        net = tiny_net()
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        with ul.recording(net, DATA, tmp_path, keep=1) as log:
            for batch in batches(log.data, 1):
                log.step(batch.ids)
                taught(net, sgd, batch.x, batch.y)

    at_the_end = pytest.raises(
        RuntimeError, match=r"changed since the last `log\.step.*every `optimizer\.step"
    )
    with pytest.warns(UserWarning, match="found the parameters as they were"), at_the_end:
        too_early()
    assert everything(tmp_path) == {}


def test_what_a_step_cannot_be_told_is_refused(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        nudge(net)
        log.step([1], epoch=2)
        for ids, epoch, error, words in (
            ([99, 1], None, ValueError, r"of the 60 samples in `log\.data`; 1 are not, among them \[99\]"),
            ([], None, ValueError, "got none"),
            (DATA.y == 1, None, TypeError, "mask"),
            ([2], 1, ValueError, "`epoch` must be at least 2; got 1"),
        ):
            with pytest.raises(error, match=words):
                log.step(ids, epoch)
    with pytest.raises(StoreError, match="is complete; `recording` begins a new one"):
        log.step([1])
    assert [entry.key for entry in log.entries] == [(2, 1)]


def test_a_log_of_ones_own_loop_knows_no_recipe(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        own_loop(net, log)
    assert log.recipe is None is Log(tmp_path).recipe
    with pytest.raises(StoreError, match="was recorded in a loop of your own, and has no such recipe"):
        Log(tmp_path, RECIPE)
    with pytest.raises(StoreError, match=r"another setting: keep: stored 1\.0, now 0\.5\."):
        ul.recording(tiny_net(), DATA, tmp_path, keep=0.5).__enter__()
    with pytest.raises(StoreError, match="was recorded in a loop of your own"):
        next(ul.record(tiny_net(), DATA, RECIPE, tmp_path, keep=1))


def test_batch_norm_is_warned_of_in_a_loop_of_ones_own(tmp_path: Path) -> None:
    net = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    moved = pytest.warns(UserWarning, match="training moves buffers")
    with moved as said, ul.recording(net, DATA, tmp_path, keep=1) as log:
        own_loop(net, log)
    assert (len(said), said[0].filename) == (1, __file__)


def step_of(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    taught(net, optimizer, DATA.x[:10], DATA.y[:10])


class Clamped(torch.optim.SGD):
    """Its step calls that of its parent: one step, though torch tells of two."""

    def step(self, closure: Any = None) -> Any:
        found = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.data.clamp_(-9, 9)
        return found


def test_a_step_that_the_log_was_not_told_is_refused_at_the_next(tmp_path: Path) -> None:
    def forgetful(net: nn.Module) -> None:
        sgd = torch.optim.SGD(net.parameters(), **SGD)
        with ul.recording(net, DATA, tmp_path, keep=1) as log:
            step_of(net, sgd)
            log.step([1])
            step_of(net, sgd)
            step_of(net, sgd)
            for _ in range(2):  # told once more, it is still refused
                with pytest.raises(RuntimeError, match=r"SGD has made 2 steps since.*accumulate their grad"):
                    log.step([2])

    with pytest.raises(RuntimeError, match="SGD has made 2 steps"):
        forgetful(tiny_net())
    assert everything(tmp_path) == {}


def test_several_optimizers_may_make_a_step_each(tmp_path: Path) -> None:
    net, other = tiny_net(), tiny_net()
    torch.optim.SGD(net.parameters(), **SGD)  # so that torch tells of the step of the parent class, too
    first, *rest = net.parameters()
    pair = Clamped([first], **SGD), torch.optim.AdamW(rest, lr=0.01)
    schedule, elsewhere = torch.optim.lr_scheduler.ConstantLR(pair[1]), Clamped(other.parameters(), **SGD)
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        for number in range(3):
            for optimizer in pair:
                step_of(net, optimizer)
            for _ in range(number):
                step_of(other, elsewhere)
            schedule.step()
            log.step([number])
    assert len(log.entries) == 3


def test_no_steps_are_counted_once_the_block_has_ended(tmp_path: Path) -> None:
    before, net = len(hooks), tiny_net()
    with ul.recording(net, DATA, tmp_path / "whole", keep=1) as log:
        assert len(hooks) == before + 1
        own_loop(net, log)
    assert len(hooks) == before
    with pytest.raises(KeyError), ul.recording(net, DATA, tmp_path / "broken", keep=1):
        raise KeyError
    assert len(hooks) == before
    for _ in ul.record(net, DATA, RECIPE, tmp_path / "ours", keep=1):
        assert len(hooks) == before  # our own loop needs none


def test_a_second_call_after_one_step_is_warned_of_once(tmp_path: Path) -> None:
    net = tiny_net()
    sgd = torch.optim.SGD(net.parameters(), **SGD)
    twice = pytest.warns(UserWarning, match=r"as they were, and no optimizer .* once after every")
    with twice as said, ul.recording(net, DATA, tmp_path, keep=1) as log:
        for number in range(3):
            step_of(net, sgd)
            log.step([number])
            log.step([number])
    assert (len(said), said[0].filename, len(log.entries)) == (1, __file__, 6)


def test_a_recording_of_nothing_is_refused(tmp_path: Path) -> None:
    net = tiny_net()
    with ul.recording(net, DATA, tmp_path, keep=1) as log:
        own_loop(net, log)
    before = everything(tmp_path)
    with (
        pytest.raises(RuntimeError, match=r"nothing was recorded: .* after every `optimizer\.step"),
        ul.recording(net, DATA, tmp_path, keep=1),
    ):
        pass
    assert everything(tmp_path) == before


def test_a_recording_of_a_model_that_never_changed_is_warned_of(tmp_path: Path) -> None:
    net, other = tiny_net(), tiny_net()
    still = pytest.warns(UserWarning, match=r"never changed\. Give `recording` the model that the optimizer")
    unmoved = pytest.warns(UserWarning, match="found the parameters as they were")
    with unmoved, still, ul.recording(net, DATA, tmp_path / "other", keep=1) as log:
        own_loop(other, log)
    idle = torch.optim.SGD(net.parameters(), lr=0.0)
    with still as said, ul.recording(net, DATA, tmp_path / "idle", keep=1) as log:
        step_of(net, idle)
        log.step([1])
    assert len(said) == 1


# Data with ids -------------------------------------------------------------------------------------------


def test_a_loader_over_examples_gives_inputs_labels_and_ids() -> None:
    stored = Examples.of(
        torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2), torch.arange(6), ul.data.Scale((1,), (2,))
    )
    data = stored.without([1])
    got = list(DataLoader(data, batch_size=2))
    assert [batch.ids.tolist() for batch in got] == [[0, 2], [3, 4], [5]]
    assert [batch.y.tolist() for batch in got] == [[0, 2], [3, 4], [5]]
    assert torch.equal(torch.cat([x for x, _, _ in got]), data.batch(slice(None)).x)
    assert [int(one.ids) for one in data] == data.ids.tolist()  # ends by itself
    with pytest.raises(IndexError, match=r"`row` must be in 0 \.\.\. 4; got 5"):
        data[5]
    assert Examples.of_dataset(data) is data


def test_a_numbered_data_set_gives_each_sample_its_number() -> None:
    mine = [(x, int(y)) for x, y in zip(DATA.x, DATA.y, strict=True)]
    x, y, ids = next(iter(DataLoader(ul.numbered(mine, torch.tensor([7, 3])), batch_size=4)))
    assert (ids.tolist(), y.tolist()) == ([3, 7], DATA.y[[3, 7]].tolist())
    assert torch.equal(x, DATA.x[[3, 7]])
    assert len(ul.numbered(mine)) == 60
    for source, ids, error, words in (
        (iter(mine), None, TypeError, "a data set with a length; got"),
        (mine, [60], ValueError, r"`ids` must be in 0 \.\.\. 59; got 60"),
        (mine, [True], TypeError, "mask"),
    ):
        with pytest.raises(error, match=words):
            ul.numbered(source, ids)


# Blocks --------------------------------------------------------------------------------------------------


def by_generator(net: nn.Module, examples: Examples, k: int) -> Generator[ul.Step, None, None]:
    return train(net, examples, RECIPE, block=k)


@pytest.mark.parametrize("fit", [own_fit, by_generator])
def test_blocks_trained_by_ones_own_loop_are_the_bytes_of_ours(tmp_path: Path, fit: Any) -> None:
    steps: list[ul.Step] = []
    ours = ul.run(ul.train_chain(tiny_net(), DATA, RECIPE, 4, tmp_path / "ours"))
    mine = ul.run(ul.train_chain(tiny_net(), DATA, fit, 4, tmp_path / "mine"), [steps.append])
    assert written(tmp_path / "ours") == written(tmp_path / "mine")
    assert told(tmp_path / "ours") == told(tmp_path / "mine")
    per_block = 1 if fit is own_fit else 6
    assert [step.info["block"] for step in steps] == [k for k in range(1, 5) for _ in range(per_block)]
    assert steps[-1].phase == "block 4 of 4"
    assert set(steps[-1].batch.ids.tolist()) <= set(mine.members[-1].tolist())

    options: dict[str, Any] = {"ids": [int(mine.members[1][0])], "rule": TrendRule(), "stop_block": 3}
    a, b = (ul.run(ul.deepobliviate(chain, **options)) for chain in (ours, mine))
    assert a.trace.residual == b.trace.residual
    whole = options | {"stop_block": 4}
    assert [ul.run(ul.deepobliviate(c, **whole)).trace.exact for c in (ours, mine)] == [True, False]
    ours, mine = ours.commit(a.trace), mine.commit(b.trace)
    assert written(tmp_path / "ours") == written(tmp_path / "mine")


def test_blocks_trained_in_line_are_those_of_a_function(tmp_path: Path) -> None:
    ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 4, tmp_path / "function"))

    def interrupted() -> None:
        with ul.chaining(tiny_net(), DATA, 4, tmp_path / "line") as chain:
            for k in chain.missing:
                with chain.block(k) as (net, examples):
                    own_fit(net, examples, k)
                    _ = 1 / (k - 3)

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with ul.chaining(tiny_net(), DATA, 4, tmp_path / "line") as chain:
        assert list(chain.missing) == [3, 4]
        with pytest.raises(ValueError, match="`k` must be 3, which comes next; got 4"), chain.block(4):
            pass
        for k in chain.missing:
            with chain.block(k) as (net, examples):
                assert net.training
                own_fit(net, examples, k)
        with pytest.raises(ValueError, match="`k` must be left out: all are stored; got 5"), chain.block(5):
            pass
    assert written(tmp_path / "line") == written(tmp_path / "function")
    assert told(tmp_path / "line") == told(tmp_path / "function")


def test_a_chain_without_its_loop_is_read_but_not_retrained(tmp_path: Path) -> None:
    with ul.chaining(tiny_net(), DATA, 2, tmp_path) as chain:
        for k in chain.missing:
            with chain.block(k) as (net, examples):
                own_fit(net, examples, k)
    assert ul.accuracy(chain.stored.model(), DATA) > 0.8
    with pytest.raises(ValueError, match=r"by a loop of your own, .* with train_chain\(model, data, fit"):
        ul.run(ul.deepobliviate(chain.stored, [1]))
    with pytest.raises(ValueError, match="must be trained by a recipe"):
        deepobliviate_but(chain.stored, [1], order_seed=3).send(None)
    opened = ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 2, tmp_path))
    result = ul.run(ul.deepobliviate(opened, [1]))
    assert opened.commit(result.trace).gone.has(torch.tensor([1])).all()


def test_a_recipe_and_a_loop_of_ones_own_are_not_mixed(tmp_path: Path) -> None:
    ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 2, tmp_path / "mine"))
    ul.run(ul.train_chain(tiny_net(), DATA, RECIPE, 2, tmp_path / "ours"))
    with pytest.raises(StoreError, match=r"by a loop of your own: pass that function to train_chain\("):
        ul.run(ul.train_chain(tiny_net(), DATA, RECIPE, 2, tmp_path / "mine"))
    with pytest.raises(StoreError, match="trained by a recipe: pass that recipe to train_chain"):
        ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 2, tmp_path / "ours"))
    for wrong in (ul.Recipe, tiny_net(), 3):
        with pytest.raises(TypeError, match=r"a function fit\(model, examples, k\)|Type-check"):
            ul.run(ul.train_chain(tiny_net(), DATA, wrong, 2, tmp_path / "new"))  # type: ignore[arg-type]


def test_an_error_in_a_block_leaves_those_before_it(tmp_path: Path) -> None:
    def breaks(net: nn.Module, examples: Examples, k: int) -> None:
        if k == 3:
            raise KeyError("my own error")
        own_fit(net, examples, k)

    with pytest.raises(KeyError, match="my own error"):
        ul.run(ul.train_chain(tiny_net(), DATA, breaks, 4, tmp_path / "broken"))
    assert len(written(tmp_path / "broken")) == 3
    ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 4, tmp_path / "broken"))
    ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 4, tmp_path / "whole"))
    assert written(tmp_path / "broken") == written(tmp_path / "whole")
    assert told(tmp_path / "broken") == told(tmp_path / "whole")


def test_shards_trained_by_ones_own_loop_are_the_bytes_of_ours(tmp_path: Path) -> None:
    cells = ul.partition(DATA, 2, 1)
    calls: list[tuple[int, int]] = []

    def fit(net: nn.Module, examples: Examples, k: int) -> None:
        calls.append((k, len(examples)))
        own_fit(net, examples, k - 1)  # our loop counts the stages of SISA from 0

    ours = ul.run(ul.train_sisa(tiny_net(), DATA, RECIPE, cells, tmp_path / "ours"))
    mine = ul.run(ul.train_sisa(tiny_net(), DATA, fit, cells, tmp_path / "mine"))
    assert written(tmp_path / "ours") == written(tmp_path / "mine")
    a, b = (ul.run(ul.sisa(found, [5])) for found in (ours, mine))
    assert calls == [(1, 30), (2, 30), (a.trace.shards[0], 29)]
    assert (a.trace.exact, b.trace.exact) == (True, False)  # who knows whether a loop repeats itself
    assert (b.trace.visits, b.trace.full) == (29, 59)  # a call counts as an epoch
    ours.commit(a.trace), mine.commit(b.trace)
    assert written(tmp_path / "ours") == written(tmp_path / "mine")


def returns_another(net: nn.Module, examples: Examples, k: int) -> nn.Module:
    return tiny_net()


def returns_another_at_last(
    net: nn.Module, examples: Examples, k: int
) -> Generator[ul.Step, None, nn.Module]:
    yield from by_generator(net, examples, k)
    return tiny_net()


def yields_losses(net: nn.Module, examples: Examples, k: int) -> Generator[Any, None, None]:
    yield 0.5


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (returns_another, r"must train `model` in place; it returned another model.*load_state_dict"),
        (returns_another_at_last, "must train `model` in place; it returned another model"),
        (yields_losses, r"must yield a `Step`; got 0\.5"),
    ],
)
def test_a_loop_that_gives_back_the_wrong_thing_is_refused(tmp_path: Path, fit: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        ul.run(ul.train_chain(tiny_net(), DATA, fit, 2, tmp_path))
    assert len(written(tmp_path)) == 1  # M_0


def test_a_loop_may_return_the_model_that_it_was_given(tmp_path: Path) -> None:
    def fit(net: nn.Module, examples: Examples, k: int) -> nn.Module:
        own_fit(net, examples, k)
        return net

    assert len(ul.run(ul.train_chain(tiny_net(), DATA, fit, 2, tmp_path)).digests) == 3


@pytest.mark.parametrize(
    "fit", [lambda: None, lambda net, examples: None, lambda net, examples, k, more: None, lambda *, k: None]
)
def test_a_loop_of_other_arguments_is_refused_when_it_is_passed(tmp_path: Path, fit: Any) -> None:
    cells = ul.partition(DATA, 2, 1)
    for run in (
        ul.train_chain(tiny_net(), DATA, fit, 2, tmp_path),
        ul.train_sisa(tiny_net(), DATA, fit, cells, tmp_path),
    ):
        with pytest.raises(TypeError, match=r"a function fit\(model, examples, k\); got one that takes \("):
            ul.run(run)
    assert everything(tmp_path) == {}


def test_a_block_that_trains_nothing_is_warned_of_by_number(tmp_path: Path) -> None:
    def lazy(net: nn.Module, examples: Examples, k: int) -> None:
        if k != 2:
            own_fit(net, examples, k)

    with pytest.warns(UserWarning, match="^block 2 of 3: the loop left the parameters") as said:
        chain = ul.run(ul.train_chain(tiny_net(), DATA, lazy, 3, tmp_path / "function"))
    assert len(said) == 1
    with pytest.warns(UserWarning, match="^block 2 of 3: the loop left the parameters"):
        ul.run(ul.deepobliviate(chain, chain.members[0][:1], stop_block=2))
    with ul.chaining(tiny_net(), DATA, 2, tmp_path / "line") as made:
        with pytest.warns(UserWarning, match="^block 1 of 2: the loop left the parameters"), made.block(1):
            pass
        with made.block(2) as (net, examples):
            own_fit(net, examples, 2)


def test_a_model_that_is_not_trained_yet_is_asked_for_in_vain(tmp_path: Path) -> None:
    with ul.chaining(tiny_net(), DATA, 2, tmp_path) as made:
        with pytest.raises(StoreError, match=r"no model of stage 2 yet: 0 of 2 are trained\. Train the rest"):
            made.stored.model()
        assert isinstance(made.stored.model(0), nn.Module)


def test_a_folder_of_another_kind_is_called_by_its_kind(tmp_path: Path) -> None:
    cells = ul.partition(DATA, 2, 1)
    ul.run(ul.train_sisa(tiny_net(), DATA, own_fit, cells, tmp_path / "sisa"))
    ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 2, tmp_path / "chain"))
    with pytest.raises(StoreError, match="holds a SISA ensemble, not a chain"):
        ul.run(ul.train_chain(tiny_net(), DATA, own_fit, 2, tmp_path / "sisa"))
    with pytest.raises(StoreError, match="holds a chain, not a SISA ensemble"):
        ul.run(ul.train_sisa(tiny_net(), DATA, own_fit, cells, tmp_path / "chain"))
