"""The stored chain: killed and resumed, damaged, foreign, in use, on a full disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import sys
import time
from dataclasses import replace

import filelock
import pytest
import torch

from tests.toys import CHAIN_RECIPE, blobs, chain_steps, tiny_net, train_chain_slowly
from unlearn_lib import store
from unlearn_lib.methods.amnesiac import Log, record
from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks
from unlearn_lib.params import state
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import run, train

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than one mini-batch")
BLOCKS = 12


@pytest.fixture
def whole(tmp_path):
    """An uninterrupted run."""
    return run(chain_steps(tmp_path / "whole"))


def same(a, b) -> bool:
    return all(torch.equal(a.state(k)[n], v) for k in range(a.blocks + 1) for n, v in b.state(k).items())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and forkserver are POSIX")
def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(tmp_path, whole):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.toys", "torch._dynamo"])
    folder, kills, seen = tmp_path / "killed", 0, set()
    for wanted in (1, 2, 5, 9, 12):
        child = context.Process(target=train_chain_slowly, args=(folder,))
        child.start()
        deadline = time.monotonic() + 60
        while child.is_alive() and len(list(folder.glob("*.safetensors"))) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        child.kill()
        child.join()
        kills += child.exitcode == -9
        seen.add(len(list(folder.glob("*.safetensors"))))
    assert kills >= 4
    assert len(seen) >= 4  # at several moments
    steps = []
    resumed = run(chain_steps(folder), [steps.append])
    assert {step.info["block"] for step in steps} <= set(range(min(seen), BLOCKS + 1))
    assert same(resumed, whole)
    assert not list(folder.glob("*.part"))


def test_a_closed_generator_frees_the_folder_and_resumes(tmp_path, whole):
    steps = chain_steps(tmp_path / "stopped")
    for step in steps:
        if step.info["block"] == 5:
            break
    steps.close()
    assert same(run(chain_steps(tmp_path / "stopped")), whole)


def test_a_complete_chain_is_opened_without_a_step(tmp_path, whole):
    steps = []
    assert same(run(chain_steps(tmp_path / "whole"), [steps.append]), whole)
    assert steps == []


def test_an_abandoned_run_bars_no_cell_and_stores_no_more(tmp_path, whole):
    abandoned = chain_steps(tmp_path / "cell")
    for step in abandoned:
        if step.info["block"] == 5:
            break
    assert same(run(chain_steps(tmp_path / "cell")), whole)  # while the first is still there
    with pytest.raises(StoreError, match="taken over by a later run in this process"):
        run(abandoned)
    steps = []
    assert same(run(chain_steps(tmp_path / "cell"), [steps.append]), whole)
    assert not steps


def test_a_full_disk_leaves_the_complete_blocks_and_the_run_can_be_resumed(tmp_path, whole, monkeypatch):
    write, calls = store._write, []

    def fills_up(path, data):
        calls.append(path)
        if len(calls) == 13:
            raise StoreError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}.")
        write(path, data)

    monkeypatch.setattr(store, "_write", fills_up)
    with pytest.raises(StoreError, match="No space left on device"):
        run(chain_steps(tmp_path / "full"))
    monkeypatch.undo()
    assert same(run(chain_steps(tmp_path / "full")), whole)


def test_a_request_that_fails_while_it_is_stored_leaves_the_old_chain_whole(tmp_path, whole, monkeypatch):
    before = {k: whole.state(k) for k in range(BLOCKS + 1)}
    trace = run(deepobliviate(whole, whole.members[4][:2], stop_block=6)).trace

    def power_cut(self, manifest, files):
        raise StoreError("cannot write")

    monkeypatch.setattr(Folder, "commit", power_cut)
    with pytest.raises(StoreError):
        whole.commit(trace)
    monkeypatch.undo()
    again = run(chain_steps(tmp_path / "whole"))
    assert all(torch.equal(v, again.state(k)[n]) for k in before for n, v in before[k].items())
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) == BLOCKS + 1
    assert again.commit(trace).stitched_from == 7


def test_after_a_request_the_folder_opens_as_the_new_chain(tmp_path, whole):
    ids = whole.members[4][:2]
    new = whole.commit(run(deepobliviate(whole, ids, stop_block=6)).trace)
    opened = run(chain_steps(tmp_path / "whole"))  # the full data set: what was forgotten is left out
    assert same(opened, new)
    assert (opened.stitched_from, opened.forgotten) == (7, tuple(ids.tolist()))
    assert not opened.data.ids[torch.isin(opened.data.ids, ids)].numel()


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign"])
def test_a_damaged_checkpoint_is_named_and_nothing_is_changed(tmp_path, whole, damage):
    file = whole.folder / "block-0012-0.safetensors"
    data = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        store.save_tensors(file, {"other": torch.zeros(3)})
    before = {path.name: path.read_bytes() for path in whole.folder.root.iterdir()}
    with pytest.raises(StoreError, match=r"block-0012-0.safetensors"):
        run(chain_steps(tmp_path / "whole"))
    assert {path.name: path.read_bytes() for path in whole.folder.root.iterdir()} == before


def test_another_recipe_is_refused_with_the_fields_that_differ(whole):
    other = CHAIN_RECIPE.but(lr=0.2, epochs=3)
    with pytest.raises(
        StoreError, match=r"another recipe: epochs: stored 2, now 3; lr: stored 0.05, now 0.2"
    ):
        run(train_chain(whole.template, blobs(), other, BLOCKS, whole.folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": 10}, r"another chain: blocks: stored 12, now 10\."),
        ({"data": blobs(seed=1)}, "another chain: data"),
        ({"model": tiny_net(seed=1)}, "is missing from|belongs to another model|another initial model"),
    ],
)
def test_another_chain_in_the_folder_is_refused(whole, change, message):
    wanted = {"model": whole.template, "data": blobs(), "recipe": CHAIN_RECIPE, "blocks": BLOCKS, **change}
    with pytest.raises(StoreError, match=message):
        run(train_chain(**wanted, folder=whole.folder))


def test_another_initial_model_of_the_same_shape_is_refused(whole):
    other = tiny_net(seed=1)
    other.insert(3, torch.nn.Dropout(0.2))
    with pytest.raises(StoreError, match="began from another initial model"):
        run(train_chain(other, blobs(), CHAIN_RECIPE, BLOCKS, whole.folder))


def test_a_manifest_of_something_else_is_refused(whole):
    whole.folder.commit({"kind": "chain"})
    with pytest.raises(StoreError, match="is not the manifest of a chain"):
        run(train_chain(whole.template, blobs(), CHAIN_RECIPE, BLOCKS, whole.folder))


@pytest.mark.parametrize("way", ["exchanged", "copied", "stale", "of another chain", "missing"])
def test_a_file_that_is_not_the_one_stored_there_is_refused_by_name(tmp_path, whole, way):
    ids = whole.members[4][:2]
    old = (whole.folder / whole.file(7)).read_bytes()
    chain = whole.commit(run(deepobliviate(whole, ids, stop_block=6)).trace)
    a, b = chain.folder / chain.file(7), chain.folder / chain.file(8)
    if way == "exchanged":
        x, y = a.read_bytes(), b.read_bytes()
        a.write_bytes(y), b.write_bytes(x)
    elif way == "copied":
        a.write_bytes(b.read_bytes())
    elif way == "stale":
        a.write_bytes(old)
    elif way == "of another chain":
        other = run(train_chain(chain.template, blobs(seed=3), CHAIN_RECIPE, BLOCKS, tmp_path / "other"))
        a.write_bytes((other.folder / other.file(7)).read_bytes())
    else:
        a.unlink()
    with pytest.raises(StoreError, match=a.name):
        run(deepobliviate(run(chain_steps(tmp_path / "whole")), chain.members[6][:1], stop_block=8))


def test_one_digit_of_one_id_in_the_manifest_is_noticed(tmp_path, whole):
    path = whole.folder / "manifest.json"
    first = str(whole.members[3].tolist())
    text = path.read_text()
    path.write_text(text.replace(first, first.replace(str(int(whole.members[3][0])), "119", 1)))
    assert path.read_text() != text
    with pytest.raises(StoreError, match=r"manifest.json is damaged"):
        run(chain_steps(tmp_path / "whole"))


def test_blocks_in_the_manifest_must_hold_every_id_once(tmp_path, whole):
    found = whole.folder.manifest()
    found["members"][0] = found["members"][1]
    whole.folder.commit(found, found["files"])
    with pytest.raises(StoreError, match="do not hold every id of the data exactly once"):
        run(chain_steps(tmp_path / "whole"))


def test_a_commit_stopped_before_it_returned_is_finished_when_run_again(tmp_path, whole, monkeypatch):
    ids = whole.members[4][:2]
    trace = run(deepobliviate(whole, ids, stop_block=6)).trace

    def stopped(self, named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_delete_all_but", stopped)
        with pytest.raises(KeyboardInterrupt):
            whole.commit(trace)
    new = whole.commit(trace)
    assert (new.stitched_from, new.forgotten) == (7, tuple(ids.tolist()))
    assert same(new, run(chain_steps(tmp_path / "whole")))
    assert {p.name for p in new.folder.root.glob("*.safetensors")} == set(new.files)
    assert new.commit(trace) is new


def test_a_commit_into_a_folder_that_is_gone_says_so(tmp_path, whole):
    trace = run(deepobliviate(whole, whole.members[4][:2], stop_block=6)).trace
    (whole.folder / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"manifest.json is missing: this chain is no longer stored"):
        whole.commit(trace)
    shutil.rmtree(whole.folder.root)
    for act in (lambda: whole.commit(trace), lambda: whole.nbytes, lambda: whole.model(3)):
        with pytest.raises(StoreError, match=r"missing|cannot read the folder"):
            act()


def test_an_incomplete_chain_that_cannot_be_written_is_refused_before_any_step(tmp_path, monkeypatch):
    started = chain_steps(tmp_path)
    next(started)
    started.close()

    def read_only(self, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", read_only)
    steps = []
    with pytest.raises(StoreError, match="cannot write into"):
        run(chain_steps(tmp_path), [steps.append])
    assert not steps


def test_where_nothing_can_be_written_the_chain_opens_and_requests_are_tried(tmp_path, whole, monkeypatch):
    def read_only(self, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", read_only)
    chain = run(chain_steps(tmp_path / "whole"))
    done = run(deepobliviate(chain, chain.members[4][:2], stop_block=6))
    with pytest.raises(StoreError, match="cannot write into"):
        chain.commit(done.trace)
    assert same(run(chain_steps(tmp_path / "whole")), whole)


def test_no_forgotten_id_stands_in_the_manifest_and_a_repeated_request_is_known(tmp_path):
    data = replace(blobs(), ids=blobs().ids + 987_654_000)
    one, two = (
        run(train_chain(tiny_net(), data, CHAIN_RECIPE, 6, tmp_path / name)) for name in ("one", "two")
    )
    ids = one.members[3][:2]
    one, two = (c.commit(run(deepobliviate(c, ids, stop_block=6)).trace) for c in (one, two))
    kept = data.without(ids)
    for opened in (one, run(train_chain(tiny_net(), kept, CHAIN_RECIPE, 6, one.folder))):
        text = (opened.folder / "manifest.json").read_text()
        assert not any(str(int(i)) in text for i in ids)
        assert len(opened.pending(ids)) == 0
    assert len(one.gone) == len(two.gone) == 2
    assert not set(one.gone) & set(two.gone)  # each folder has a key of its own
    assert not any(digest in repr(one.gone) for digest in one.gone)


@pytest.mark.parametrize("blocks", [0, 121])
def test_more_blocks_than_samples_are_refused(tmp_path, blocks):
    with pytest.raises(ValueError, match=rf"`blocks` must be in 1 ... 120.*; got {blocks}"):
        run(chain_steps(tmp_path, blocks))


def test_blocks_of_ones_own_must_hold_every_id_once(tmp_path):
    parts = list(cut_into_blocks(blobs(), 12))
    for blocks in (parts[:-1], [*parts, parts[0]], [*parts[:-1], parts[-1] + 1000]):
        with pytest.raises(ValueError, match="every id of `data` exactly once"):
            run(train_chain(tiny_net(), blobs(), CHAIN_RECIPE, blocks, Folder(tmp_path)))


def test_small_blocks_and_missing_classes_are_warned_about(tmp_path):
    with pytest.warns(UserWarning, match="Blocks") as found:
        run(train_chain(tiny_net(), blobs(), CHAIN_RECIPE, 60, Folder(tmp_path)))
    said = " ".join(str(warning.message) for warning in found)
    assert "Blocks smaller than one mini-batch of 5: 60 of 60." in said
    assert "Blocks that lack a class, so that the residual will be noisy: 60 of 60." in said


def test_the_bytes_stored_are_about_one_model_a_block(whole):
    parameters = sum(p.numel() for p in whole.template.parameters())
    assert whole.nbytes == pytest.approx((BLOCKS + 1) * parameters * 8, rel=0.5)  # float64, plus headers
    assert replace(whole).nbytes == whole.nbytes


def test_blocks_are_class_stratified_of_one_size_sorted_and_keyed_by_the_seed():
    data = blobs(31)
    cut = cut_into_blocks(data, 4)
    assert sorted(len(block) for block in cut) == [7, 8, 8, 8]
    assert torch.equal(torch.cat(cut).sort().values, data.ids)
    for block in cut:
        assert torch.equal(block, block.sort().values)
        counts = data.select(block).y.bincount(minlength=3)
        assert counts.max() - counts.min() <= 1
    assert all(map(torch.equal, cut, cut_into_blocks(data, 4, seed=0)))
    assert not all(map(torch.equal, cut, cut_into_blocks(data, 4, seed=1)))
    assert [block.tolist() for block in cut_into_blocks(data, 1)] == [data.ids.tolist()]
    assert {len(block) for block in cut_into_blocks(data, 31)} == {1}


def test_a_block_is_learned_from_the_model_before_it_with_its_own_number(whole):
    for k in (1, 7, BLOCKS):
        model = whole.model(k - 1).train()
        run(train(model, whole.data.select(whole.members[k - 1]), CHAIN_RECIPE, block=k))
        assert all(torch.equal(value, whole.state(k)[name]) for name, value in state(model).items())
    assert all(torch.equal(v, whole.state(BLOCKS)[n]) for n, v in state(whole.model()).items())
    assert not whole.model().training


def test_every_step_says_its_block_and_how_many_there_are(tmp_path):
    steps = []
    run(chain_steps(tmp_path), [steps.append])
    assert [step.info["block"] for step in steps] == [k for k in range(1, 13) for _ in range(2 * 2)]
    assert {(step.info["blocks"], step.phase) for step in steps if step.info["block"] == 3} == {
        (12, "block 3 of 12")
    }


def test_only_the_blocks_that_are_small_or_lack_a_class_are_counted(tmp_path):
    sizes = [5, 4, *[10] * 11, 1]  # of 120: one of five is not small
    blocks = list(torch.arange(120).split(sizes))
    blocks[-2] = torch.arange(109, 119)
    with pytest.warns(UserWarning, match="Blocks") as found:
        run(train_chain(tiny_net(), blobs(), CHAIN_RECIPE.but(epochs=1), blocks, Folder(tmp_path)))
    said = " ".join(str(warning.message) for warning in found)
    assert "Blocks smaller than one mini-batch of 5: 2 of 14." in said
    assert "noisy: 1 of 14." in said
    empty = [torch.arange(120), torch.arange(0)]
    with pytest.raises(ValueError, match="`blocks` must each hold at least one sample"):
        run(train_chain(tiny_net(), blobs(), CHAIN_RECIPE, empty, Folder(tmp_path / "empty")))


def test_the_blocks_of_ids_are_found_in_order_and_an_unknown_id_is_an_error(whole):
    one, two = whole.members[8][:1], whole.members[1][:2]
    assert whole.block_of(torch.cat([one, two])) == [2, 9]
    assert whole.block_of([]) == []
    assert whole.pending(two).tolist() == sorted(two.tolist())
    with pytest.raises(ValueError, match="`ids` must be"):
        whole.pending([5, 120])


def test_a_folder_that_holds_a_chain_takes_no_log_and_says_what_it_holds(whole):
    with pytest.raises(StoreError, match="holds a chain"):
        run(record(tiny_net(), blobs(), CHAIN_RECIPE, whole.folder, keep=1))
    with pytest.raises(StoreError, match="it holds a chain"):
        Log(whole.folder)
