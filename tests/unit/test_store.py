"""Tensors and folders on disk: whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

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
    with pytest.raises(StoreError, match="damaged or not a safetensors file"):
        load_tensors(tmp_path / "model.pt")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(StoreError, match="not written by this library"):
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

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_gives_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot write"):
        save_tensors(tmp_path / "x", TENSORS)
    tmp_path.chmod(0o700)


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path):
    second = Folder(tmp_path)
    with (
        Folder(tmp_path).locked(),
        pytest.raises(StoreError, match="is in use by another run"),
        second.locked(),
    ):
        pass
    with Folder(tmp_path).locked():
        pass


def test_a_folder_sweeps_what_its_manifest_does_not_name(tmp_path, path):
    folder = Folder(tmp_path)
    assert folder.manifest() is None
    (tmp_path / "old.safetensors").write_bytes(b"x")
    (tmp_path / "half.safetensors.part").write_bytes(b"x")
    folder.commit({"files": [path.name]})
    folder.sweep({path.name})
    assert folder.manifest() == {"files": [path.name]}
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "manifest.json"}
    assert folder.nbytes == sum(p.stat().st_size for p in tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest.json is damaged"):
        Folder(tmp_path).manifest()
