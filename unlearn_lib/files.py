"""The published data sets, read from their authors' files as they are, compressed or not.

Nothing is unpacked to disk and nothing is fetched. A file with a pickle inside (CIFAR) is opened only if it
has the checksum that its authors published.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Arrays", "DataError", "MissingError", "cifar", "location30", "mnist", "svhn"]

_MOST = 2**30  # bytes of one file once it is unpacked; the largest published one has 235 MB
# The first labels of either training set: their files have the same names and are easily confused.
_BEGINS = {"mnist": bytes([5, 0, 4, 1, 9, 2, 1, 3]), "fashion_mnist": bytes([9, 0, 0, 3, 0, 2, 7, 2])}


class DataError(ValueError):
    """A data set is unknown, missing or damaged; the message says which files, where, and how to get them."""


class MissingError(DataError):
    """Files are not there: the one case that a download can fix."""


class Arrays(NamedTuple):
    """Training and test samples as stored, `x` uint8 [n, ...] and `y` int64 [n]; names of the classes."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]


# MNIST and Fashion-MNIST ----------------------------------------------------------------------------------


def mnist(name: str, root: Path, published: Any) -> Arrays:
    """The four IDX files, plain or as .gz, in NAME/raw, in NAME, or in the folder itself.

    Args:
        name: "mnist" or "fashion_mnist".
        root: the folder of the data sets.
        published: torchvision's class, which knows the names of the folder and of the classes.

    Raises:
        DataError: a file is missing or damaged; the message names it.
    """
    places = [root / published.__name__ / "raw", root / published.__name__, root]
    wanted = [("train", "images", 3), ("train", "labels", 1), ("t10k", "images", 3), ("t10k", "labels", 1)]
    found: list[tuple[Path, Tensor]] = []
    place = next((p for p in places if any(_idx_file(p, *what) for what in wanted)), places[0])
    for part, kind, dimensions in wanted:
        path = _idx_file(place, part, kind, dimensions)
        if path is None:
            file = f"{part}-{kind}-idx{dimensions}-ubyte"
            raise MissingError(f"looked for {file} or {file}.gz in {place}, and found neither")
        found.append((path, _idx(path, dimensions)))
    (_, x), (labels, y), (_, x_test), (labels_test, y_test) = found
    other = next(one for one in _BEGINS if one != name)
    if bytes(y[:8].tolist()) == _BEGINS[other]:
        raise DataError(f"{labels} holds the labels of {other}, whose files have the same names")
    for images, path, one in ((x, labels, y), (x_test, labels_test, y_test)):
        if len(images) != len(one):
            raise DataError(f"{path} has {len(one)} labels for {len(images)} images")
        if int(one.max()) >= len(published.classes):
            raise DataError(f"{path} has the label {int(one.max())}; there are {len(published.classes)}")
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(f"training images are {_by(x)}, test images {_by(x_test)} pixels, in {place}")
    return Arrays(x[:, None], y.long(), x_test[:, None], y_test.long(), tuple(published.classes))


def _by(x: Tensor) -> str:
    return "x".join(map(str, x.shape[1:]))


def _idx_file(place: Path, part: str, kind: str, dimensions: int) -> Path | None:
    """The file, under whichever of its names it is there."""
    names = [f"{part}-{kind}{dot}idx{dimensions}-ubyte{end}" for end in ("", ".gz") for dot in "-."]
    return next((place / name for name in names if (place / name).is_file()), None)


def _idx(path: Path, dimensions: int) -> Tensor:
    """An IDX file of bytes: two zeros, the type 8, the number of dimensions, their sizes, and the values."""
    data = _bytes(path)
    start = 4 * (1 + dimensions)
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < start:
        raise DataError(f"{path} is damaged: it does not begin like a file of {dimensions} dimensions")
    sizes = [int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4)]
    if len(data) - start != math.prod(sizes) or not math.prod(sizes):
        raise DataError(
            f"{path} is damaged: it promises {math.prod(sizes):,} values and holds {len(data) - start:,}"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).view(*sizes)


def _bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is a .gz."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data: bytes = file.read(_MOST + 1)
    except (OSError, EOFError, zlib.error) as error:  # a bad .gz raises any of the three
        raise DataError(f"{path} is damaged: {error}") from error
    if len(data) > _MOST:
        raise DataError(f"{path} is damaged: it holds more than {_MOST:,} bytes")
    return data


# CIFAR and SVHN ---------------------------------------------------------------------------------------------


def cifar(root: Path, published: Any) -> Arrays:
    """CIFAR-10 or CIFAR-100, from its unpacked folder or from the published .tar.gz.

    Args:
        root: the folder of the data sets.
        published: torchvision's class, which knows names and checksums.

    Raises:
        DataError: a file is missing or is not the published one; the message names it.
    """
    folder, archive = root / published.base_folder, root / published.filename
    meta = (published.meta["filename"], published.meta["md5"])
    wanted = [*published.train_list, *published.test_list, meta]
    if folder.is_dir() or not archive.is_file():
        found = _checked(wanted, folder, lambda file: _there(folder / file))
    else:
        try:
            with tarfile.open(archive) as packed:
                found = _checked(wanted, archive, lambda file: _member(packed, archive, folder.name, file))
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DataError(f"{archive} is damaged: {error}") from error
    *batches, names = (pickle.loads(data, encoding="latin1") for data in found)
    x = [torch.from_numpy(batch["data"]).reshape(-1, 3, 32, 32) for batch in batches]
    y = [torch.as_tensor(batch.get("labels", batch.get("fine_labels"))) for batch in batches]
    n = len(published.train_list)
    classes = tuple(names[published.meta["key"]])
    return Arrays(torch.cat(x[:n]), torch.cat(y[:n]), torch.cat(x[n:]), torch.cat(y[n:]), classes)


def svhn(root: Path, published: Any) -> Arrays:
    """The cropped digits of SVHN, from its two .mat files; the label 10 of the digit 0 becomes 0.

    Args:
        root: the folder of the data sets.
        published: torchvision's class, which knows names and checksums.

    Raises:
        DataError: a file is missing or is not the published one; the message names it.
    """
    from scipy.io import loadmat

    wanted = [tuple(published.split_list[part][1:]) for part in ("train", "test")]
    stored = [loadmat(io.BytesIO(data)) for data in _checked(wanted, root, lambda file: _there(root / file))]
    x, x_test = (torch.from_numpy(np.transpose(part["X"], (3, 2, 0, 1))) for part in stored)
    y, y_test = (torch.from_numpy(part["y"].astype(np.int64).reshape(-1)) % 10 for part in stored)
    return Arrays(x, y, x_test, y_test, tuple("0123456789"))


def _checked(wanted: Iterable[Any], place: Path, read: Callable[[str], bytes]) -> list[bytes]:
    """The contents of these files (name, MD5), if every checksum is right; the error names all that fail."""
    found, missing, damaged = [], [], []
    for file, md5 in wanted:
        try:
            found.append(read(file))
        except (FileNotFoundError, KeyError):
            missing.append(file)
            continue
        if not _as_published(found[-1], md5):
            damaged.append(file)
    if missing:
        raise MissingError(f"{', '.join(missing)} not found in {place}")
    if damaged:
        raise DataError(
            f"{', '.join(damaged)} in {place} is damaged: its checksum is not that of the published file"
        )
    return found


def _as_published(data: bytes, md5: str) -> bool:
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == md5


def _there(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(path)
    return _bytes(path)


def _member(packed: tarfile.TarFile, archive: Path, folder: str, file: str) -> bytes:
    member = packed.getmember(f"{folder}/{file}")
    content = packed.extractfile(member) if member.size <= _MOST else None
    if content is None:
        raise DataError(f"{archive} is damaged: {member.name} in it is not a file")
    return content.read()


# Location-30 ------------------------------------------------------------------------------------------------


def location30(path: Path) -> tuple[Tensor, Tensor]:
    """x uint8 [n, features] of 0 and 1, and y int64 [n].

    Raises:
        DataError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"].astype(np.int64))
        if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or x.dtype != torch.uint8 or not len(x):
            raise ValueError(f"x is {x.dtype} {list(x.shape)}, y {list(y.shape)}")
        if int(y.min()) < 0 or int(y.max()) >= 30:
            raise ValueError(f"labels must be in 0 ... 29; found {int(y.min())} ... {int(y.max())}")
    except (OSError, ValueError, KeyError, EOFError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return x, y
