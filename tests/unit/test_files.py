"""The published files: read as they are, and named where they are damaged."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from unlearn_lib import data, files
from unlearn_lib.data import DataError

DRAW = np.random.default_rng(0)
STEMS = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
CIFAR = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(struct.pack(">I", s) for s in values.shape)
    return struct.pack(">I", 2048 + values.ndim) + sizes + values.tobytes()


def mnist(folder: Path, *, packed: bool, dot: str = "-") -> dict[str, np.ndarray]:
    """The four files with 20 made-up images each."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for stem in STEMS:
        images = DRAW.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        arrays[stem] = images if "images" in stem else (np.arange(20) % 10).astype(np.uint8)
        content = idx(arrays[stem])
        name = stem.replace("-idx", f"{dot}idx") + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return arrays


@pytest.mark.parametrize("place", ["{}/raw", "{}", "."])
@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_the_four_files_are_read_where_people_put_them(
    tmp_path: Path, name: str, folder: str, packed: bool, place: str
) -> None:
    arrays = mnist(tmp_path / place.format(folder), packed=packed)
    before = sorted(tmp_path.rglob("*"))
    found = data.load(name, tmp_path)
    assert (found.train.x[:, 0].numpy() == arrays[STEMS[0]]).all()
    assert (found.test.x[:, 0].numpy() == arrays[STEMS[2]]).all()
    assert found.train.y.tolist() == arrays[STEMS[1]].tolist()
    assert found.train.y.dtype == torch.int64
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked to disk"


def test_the_names_with_a_dot_are_known_too(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST/raw", packed=False, dot=".")
    assert len(data.load("mnist", tmp_path).train) == 20


def test_files_that_are_there_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.FashionMNIST, "download", lambda self: pytest.fail("it goes to the network"))
    mnist(tmp_path / "FashionMNIST/raw", packed=True)
    assert len(data.load("fashion_mnist", tmp_path, download=True).train) == 20


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("harm", ["gone", "empty", "cut", "longer", "other head"])
def test_the_file_that_is_missing_or_damaged_is_named(
    tmp_path: Path, stem: str, packed: bool, harm: str
) -> None:
    mnist(tmp_path / "MNIST/raw", packed=packed)
    path = tmp_path / "MNIST/raw" / (stem + ".gz" * packed)
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        changed = {"empty": b"", "cut": content[:-5], "longer": content + b"more", "other head": b"x" * 200}
        path.write_bytes(changed[harm])
    with pytest.raises(DataError, match=stem):
        data.load("mnist", tmp_path)


def test_labels_that_do_not_fit_the_images_are_named(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST/raw", packed=False)
    path = tmp_path / "MNIST/raw" / STEMS[1]
    path.write_bytes(idx(np.zeros(19, np.uint8)))
    with pytest.raises(DataError, match=rf"{STEMS[1]} has 19 labels for 20 images"):
        data.load("mnist", tmp_path)
    path.write_bytes(idx(np.full(20, 10, np.uint8)))
    with pytest.raises(DataError, match=rf"{STEMS[1]} has the label 10"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(
    ("labels", "whose", "other"),
    [
        ([5, 0, 4, 1, 9, 2, 1, 3], "mnist", "fashion_mnist"),  # as published
        ([9, 0, 0, 3, 0, 2, 7, 2], "fashion_mnist", "mnist"),
    ],
)
def test_mnist_and_fashion_mnist_are_not_taken_for_each_other(
    tmp_path: Path, labels: list[int], whose: str, other: str
) -> None:
    y = np.zeros(20, np.uint8)
    y[:8] = labels
    for name in ("mnist", "fashion_mnist"):
        mnist(tmp_path / name, packed=False)
        (tmp_path / name / STEMS[1]).write_bytes(idx(y))
    assert len(data.load(whose, tmp_path / whose).train) == 20
    with pytest.raises(DataError, match=f"holds the labels of {whose}"):
        data.load(other, tmp_path / other)


def cifar(root: Path, name: str, *, packed: bool) -> Any:
    """A folder or an archive in the format of CIFAR; torchvision's class."""
    from torchvision import datasets

    published = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    fine, classes = name == "cifar100", len("x" * 100) if name == "cifar100" else 10
    contents = {}
    for file, _ in [*published.train_list, *published.test_list]:
        x = DRAW.integers(0, 256, (classes, 3072), dtype=np.uint8)
        contents[file] = {"data": x, "fine_labels" if fine else "labels": list(range(classes))}
    contents[published.meta["filename"]] = {published.meta["key"]: [f"c{k}" for k in range(classes)]}
    folder = root / published.base_folder
    if packed:
        with tarfile.open(root / CIFAR[name], "w:gz") as archive:
            for file, content in contents.items():
                member, pickled = tarfile.TarInfo(f"{folder.name}/{file}"), pickle.dumps(content)
                member.size = len(pickled)
                archive.addfile(member, io.BytesIO(pickled))
    else:
        folder.mkdir()
        for file, content in contents.items():
            (folder / file).write_bytes(pickle.dumps(content))
    return contents


@pytest.mark.parametrize("packed", [True, False], ids=["tar.gz", "folder"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_from_its_folder_or_its_archive(
    tmp_path: Path, name: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_as_published", lambda data, md5: True)
    contents = cifar(tmp_path, name, packed=packed)
    before = sorted(tmp_path.rglob("*"))
    found = data.load(name, tmp_path)
    first = next(iter(contents.values()))["data"].reshape(-1, 3, 32, 32)
    assert (found.train.x[: len(first)].numpy() == first).all()
    assert found.classes[:2] == ("c0", "c1")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("packed", [True, False], ids=["tar.gz", "folder"])
def test_a_pickle_that_is_not_the_published_one_is_never_opened(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar(tmp_path, "cifar10", packed=packed)
    monkeypatch.setattr(pickle, "loads", lambda *a, **k: pytest.fail("an unknown pickle was opened"))
    with pytest.raises(DataError, match=r"data_batch_1, .*batches\.meta .* is damaged"):
        data.load("cifar10", tmp_path)


def test_a_file_that_is_not_in_the_archive_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / CIFAR["cifar100"], "w:gz"):
        pass
    with pytest.raises(DataError, match=r"train, test, meta not found in .*tar\.gz"):
        data.load("cifar100", tmp_path)


def test_an_archive_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / CIFAR["cifar10"]).write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is damaged"):
        data.load("cifar10", tmp_path)


def test_the_tens_of_svhn_are_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_as_published", lambda data, md5: True)
    stored = {}
    for part in ("train", "test"):
        stored[part] = DRAW.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
        y = np.arange(1, 21, dtype=np.uint8)[:, None]
        savemat(tmp_path / f"{part}_32x32.mat", {"X": stored[part], "y": (y - 1) % 10 + 1})
    found = data.load("svhn", tmp_path)
    assert found.train.y[:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (found.test.x[7].numpy() == stored["test"][..., 7].transpose(2, 0, 1)).all()


def test_the_missing_file_of_svhn_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train_32x32\.mat, test_32x32\.mat not found"):
        data.load("svhn", tmp_path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((5, 4), np.uint8), "y": np.full(5, 30)},
        {"x": np.zeros((5, 4), np.uint8), "y": np.full(5, -1)},
        {"x": np.zeros((0, 4), np.uint8), "y": np.zeros(0)},
        {"x": np.zeros((5, 4), np.uint8), "y": np.zeros((5, 1))},
        {"x": np.zeros((5, 4)), "y": np.zeros(5)},
        {"y": np.zeros(5)},
    ],
)
def test_a_location30_that_cannot_be_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    (tmp_path / "location30").mkdir()
    np.savez(tmp_path / "location30" / "location30.npz", **arrays)
    with pytest.raises(DataError, match=r"location30\.npz is damaged"):
        data.load("location30", tmp_path)
