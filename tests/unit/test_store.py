"""Tensors and folders on disk: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import filelock
import pytest
import torch

from unlearn_lib import store
from unlearn_lib.store import Folder, StoreError, load_tensors, save_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3), "empty": torch.zeros(0)}


@pytest.fixture
def path(tmp_path) -> Path:
    file = tmp_path / "model.safetensors"
    save_tensors(file, TENSORS, {"block": 3})
    return file


def test_what_was_saved_is_loaded_bit_for_bit_with_its_note(path):
    tensors, note = load_tensors(path, like=TENSORS)
    assert all(torch.equal(TENSORS[name], tensors[name]) for name in TENSORS)
    assert note["block"] == 3


def test_the_size_returned_is_the_size_on_disk(tmp_path):
    assert save_tensors(tmp_path / "x", TENSORS) == (tmp_path / "x").stat().st_size


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"gone.safetensors is missing"):
        load_tensors(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"model.safetensors is damaged"):
        load_tensors(path)


def test_a_flipped_bit_is_noticed(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="does not match its checksum"):
        load_tensors(path)


def test_a_pickle_is_never_loaded(tmp_path):
    torch.save(TENSORS, tmp_path / "model.pt")
    with pytest.raises(StoreError, match="was not written by this version of the library"):
        load_tensors(tmp_path / "model.pt")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(StoreError, match="was not written by this version of the library"):
        load_tensors(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({**TENSORS, "b": torch.zeros(1)}, "tensor `b` is missing from"),
        ({"a.weight": TENSORS["a.weight"]}, "tensor `a.count` is unexpected in"),
        (
            {**TENSORS, "a.weight": torch.zeros(3, 2)},
            r"tensor `a.weight` in .* must be torch.float32 \[3, 2\]",
        ),
        ({**TENSORS, "a.count": torch.tensor(1.0)}, "tensor `a.count` in .* must be torch.float32"),
    ],
)
def test_a_file_of_another_model_is_refused_by_tensor_and_file(path, like, message):
    with pytest.raises(StoreError, match=message):
        load_tensors(path, like=like)


def test_a_full_disk_leaves_the_old_file_whole_and_no_litter(path, monkeypatch):
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*No space left on device.*unchanged"):
        save_tensors(path, {"b": torch.zeros(9)})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_or_written_gives_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Folder(tmp_path / "file" / "chain")
    with pytest.raises(StoreError, match="cannot write"):
        save_tensors(tmp_path / "no" / "such" / "folder", TENSORS)


def test_every_single_byte_of_a_file_is_checked(path):
    data = path.read_bytes()
    for place in range(len(data)):
        for wrong in (data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], data[:place]):
            path.write_bytes(wrong)
            with pytest.raises(StoreError, match=re.escape(str(path))):
                load_tensors(path)


def test_every_single_byte_of_a_manifest_is_checked(tmp_path):
    folder = Folder(tmp_path)
    folder.commit({"members": [[1, 2], [13, 4]], "rate": 1e-05, "word": "é"}, {"a": "12"})
    data = (tmp_path / "manifest.json").read_bytes()
    for place in range(len(data)):
        for bit in (1, 32):
            changed = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            for wrong in (changed, data[:place], data + data[place:]):
                (tmp_path / "manifest.json").write_bytes(wrong)
                with pytest.raises(StoreError, match=r"manifest.json (is damaged|holds no digest)"):
                    folder.manifest()


def test_a_file_counts_under_its_own_name_and_state_alone(tmp_path):
    folder = Folder(tmp_path)
    a, b = (folder.save(name, {"w": torch.tensor(value)}) for name, value in (("a", 1.0), ("b", 2.0)))
    shutil.copy(tmp_path / "b", tmp_path / "a")
    for digest, message in ((a, r"a is not the file that manifest\.json"), (b, "a was stored as 'b'")):
        with pytest.raises(StoreError, match=message):
            folder.load("a", digest)
    older = (tmp_path / "b").read_bytes()
    newer = folder.save("b", {"w": torch.tensor(3.0)})
    assert folder.load("b", newer)["w"] == 3
    (tmp_path / "b").write_bytes(older)
    with pytest.raises(StoreError, match=r"b is not the file that manifest\.json"):
        folder.load("b", newer)


def test_what_an_earlier_version_wrote_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "chain", "members": []}))
    with pytest.raises(StoreError, match="an earlier version of this library wrote it"):
        Folder(tmp_path).manifest()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.int8])
def test_every_type_of_number_comes_back(tmp_path, dtype):
    x = torch.arange(6).reshape(2, 3).to(dtype)
    save_tensors(tmp_path / "x", {"x": x, "same memory": x, "a part": x[:, 1:]})
    found = load_tensors(tmp_path / "x")[0]
    assert all(
        torch.equal(found[name], y) for name, y in {"x": x, "same memory": x, "a part": x[:, 1:]}.items()
    )


# --- on the disk ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders")
def test_a_commit_is_on_the_disk_before_anything_is_deleted(tmp_path, monkeypatch):
    folder, done = Folder(tmp_path), []
    (tmp_path / "old.safetensors").write_bytes(b"x")
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, noted(getattr(owner, name), name, done))
    folder.commit({"state": 1})
    said = [name for name, what in done if name != "unlink" or what.name == "old.safetensors"]
    assert said == ["fsync", "replace", "fsync", "unlink"]  # the file, its move, the folder; only then


def noted(function, name, done):
    def wrapped(*arguments, **options):
        done.append((name, arguments[0]))
        return function(*arguments, **options)

    return wrapped


@pytest.mark.skipif(os.name == "nt", reason="links and permissions are those of POSIX")
def test_what_is_stored_is_for_the_owner_alone_and_no_planted_link_is_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = Folder(tmp_path / "store")
    for name in ("x.safetensors", "x.safetensors.part", "manifest.json.part", "manifest.json", ".lock"):
        (folder / name).symlink_to(victim)
    with pytest.raises(StoreError, match="cannot write into"):
        folder.save("x.safetensors", TENSORS)  # nobody locks through a link
    (folder / ".lock").unlink()
    folder.commit({}, {"x.safetensors": folder.save("x.safetensors", TENSORS)})
    assert victim.read_bytes() == b"precious"
    assert {p.name for p in folder.root.iterdir()} == {".lock", "manifest.json", "x.safetensors"}
    assert {stat.S_IMODE(p.lstat().st_mode) for p in folder.root.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700


def test_of_a_killed_writer_nothing_stays_beside_the_file(path):
    (path.parent / f"{path.name}.0123abcd.part").write_bytes(b"half")
    other = path.parent / "another.safetensors.0123abcd.part"
    other.write_bytes(b"half")
    save_tensors(path, TENSORS)
    assert sorted(p.name for p in path.parent.iterdir()) == [other.name, path.name]


def test_an_interrupt_while_reading_is_an_interrupt_and_no_damage(path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    for owner, name in ((store, "deserialize"), (Path, "read_bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stopped)
            with pytest.raises(KeyboardInterrupt):
                load_tensors(path)


def test_a_folder_that_was_deleted_is_said_to_be_missing(tmp_path):
    folder = Folder(tmp_path / "store")
    folder.root.rmdir()
    for act in (lambda: folder.nbytes, folder.manifest, lambda: folder.commit({})):
        with pytest.raises(StoreError, match=r"cannot read the folder|is missing"):
            act()
    assert not folder.root.exists()


def test_what_cannot_be_deleted_after_the_commit_is_named_and_the_commit_holds(tmp_path, monkeypatch):
    folder, unlink = Folder(tmp_path), Path.unlink
    (tmp_path / "old.safetensors").write_bytes(b"x")

    def stuck(self, missing_ok=False):
        if self.name == "old.safetensors":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", stuck)
    with pytest.raises(StoreError, match=r"has been carried out, but .*old.safetensors"):
        folder.commit({"state": "new"})
    assert folder.manifest() == {"state": "new", "files": {}}


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_where_nothing_can_be_written_a_folder_is_read_and_writing_says_why(tmp_path, monkeypatch, reason):
    folder = Folder(tmp_path)
    folder.commit({"state": 1}, {"x": folder.save("x", TENSORS)})
    (tmp_path / "old.safetensors").write_bytes(b"x")

    def refuse(self, *_, **__):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", refuse)
    with Folder(tmp_path).locked() as held:
        assert not held.writable
        found = held.manifest()
        assert torch.equal(held.load("x", found["files"]["x"])["a.weight"], TENSORS["a.weight"])
        held.sweep()
        for write in (lambda: held.save("y", TENSORS), lambda: held.commit({})):
            with pytest.raises(StoreError, match=rf"cannot write into .*{os.strerror(reason)}"):
                write()
    assert (tmp_path / "old.safetensors").exists()


# --- who holds it -----------------------------------------------------------------------------------------


def test_another_process_is_refused_until_the_first_is_done(tmp_path):
    code = f"from unlearn_lib.store import Folder\nwith Folder({str(tmp_path)!r}).locked(): print('mine')"
    for held, wanted in ((True, "is in use by another run"), (False, "mine")):
        with Folder(tmp_path).locked() if held else nullcontext():
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert wanted in done.stdout + done.stderr


def test_in_one_process_the_last_run_gets_the_folder(tmp_path):
    with Folder(tmp_path).locked() as first:
        first.commit({"run": 1})
        with Folder(tmp_path).locked() as second:
            second.commit({"run": 2})
            for write in (first.sweep, lambda: first.save("x", TENSORS), lambda: first.commit({"run": 1})):
                with pytest.raises(StoreError, match="taken over by a later run in this process"):
                    write()
        with pytest.raises(StoreError, match="taken over"):  # nor when the later run is done
            first.commit({"run": 1})
        with Folder(tmp_path).locked() as third:
            third.commit({"run": 3})
    assert Folder(tmp_path).manifest() == {"run": 3, "files": {}}


def test_two_threads_at_one_folder_leave_the_work_of_exactly_one(tmp_path):
    barrier, ended = threading.Barrier(2), {}

    def work(run):
        barrier.wait()
        try:
            with Folder(tmp_path).locked() as folder:
                for step in range(20):
                    name = f"{run}-{step}.safetensors"
                    folder.commit({"run": run, "step": step}, {name: folder.save(name, TENSORS)})
            ended[run] = "done"
        except StoreError as error:
            ended[run] = str(error)

    threads = [threading.Thread(target=work, args=(run,)) for run in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in ended.values()
    found = Folder(tmp_path).manifest()
    assert (ended[found["run"]], found["step"]) == ("done", 19)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == list(found["files"])


def test_tidying_leaves_a_run_in_peace_and_sweeps_once_it_is_over(tmp_path):
    folder = Folder(tmp_path)
    folder.commit({})
    with folder.locked() as held:
        held.save("x.safetensors", TENSORS)
        folder.tidy()
        assert (tmp_path / "x.safetensors").exists()
        held.save("y.safetensors", TENSORS)
    folder.tidy()
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("make", [str, Path, Folder], ids=["str", "Path", "Folder"])
def test_a_folder_is_given_as_text_path_or_folder(tmp_path, make):
    assert Folder(make(tmp_path)).root == tmp_path


@pytest.mark.parametrize(
    "call",
    [
        lambda root: Folder(None),
        lambda root: Folder(3),
        lambda root: save_tensors(root / "x", {1: torch.zeros(1)}),
        lambda root: save_tensors(root / "x", {"a": [1.0]}),
        lambda root: save_tensors(root / "x", {"a": torch.zeros(3).to_sparse()}),
        lambda root: save_tensors(root / "x", TENSORS, {"note": object()}),
        lambda root: save_tensors(None, TENSORS),
        lambda root: load_tensors(7),
        lambda root: Folder(root).commit({"a": object()}),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_written(tmp_path, call):
    with pytest.raises((TypeError, ValueError)):
        call(tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.name != ".lock"]


def test_a_folder_sweeps_what_its_manifest_does_not_name(tmp_path):
    folder = Folder(tmp_path)
    assert folder.manifest() is None
    (tmp_path / "old.safetensors").write_bytes(b"x")
    (tmp_path / "half.safetensors.part").write_bytes(b"x")
    digest = folder.save("model.safetensors", TENSORS)
    folder.sweep()  # before the first commit nothing is litter
    assert (tmp_path / "old.safetensors").exists()
    folder.commit({"state": 1}, {"model.safetensors": digest})
    assert folder.manifest() == {"state": 1, "files": {"model.safetensors": digest}}
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "manifest.json", ".lock"}
    assert folder.nbytes == sum(p.stat().st_size for p in tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest.json is damaged"):
        Folder(tmp_path).manifest()


def test_a_field_that_one_side_lacks_is_a_difference(tmp_path):
    store.require_same("recipe", {"lr": 1, "seed": None}, {"seed": None, "lr": 1}, tmp_path)
    for stored, now in (({"lr": 1}, {"lr": 1, "seed": None}), ({"lr": 1, "seed": None}, {"lr": 1})):
        with pytest.raises(StoreError, match="another recipe: seed: stored None, now None"):
            store.require_same("recipe", stored, now, tmp_path)
