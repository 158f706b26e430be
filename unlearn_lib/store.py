"""Tensors on disk: safetensors with a JSON note, written whole or not at all, checked when loaded.

Nothing is ever pickled. A file is written beside its final place and moved there, so a crash leaves the old
file whole. A `Folder` adds a lock and one JSON manifest that names the files that count: replacing the
manifest is the commit, and what it does not name is litter, swept at the next opening.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as brief  # ids by the thousand
from typing import Any

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from unlearn_lib import __version__
from unlearn_lib.params import Params

__all__ = ["Folder", "StoreError", "load_tensors", "save_tensors"]


class StoreError(Exception):
    """A file or folder does not fit, is damaged, in use, or cannot be written; the message says which."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any] | None = None) -> int:
    """Write tensors and a JSON note to `path`, whole or not at all.

    Returns:
        Size of the file in bytes.

    Raises:
        StoreError: the disk is full or the folder cannot be written; what was at `path` stays as it was.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"library": __version__, "crc32": _crc32(plain), **(note or {})}
    data = serialize(plain, metadata={"note": json.dumps(header)})
    _write(path, data)
    return len(data)


def load_tensors(path: Path, like: Mapping[str, Tensor] | None = None) -> tuple[Params, dict[str, Any]]:
    """Read the tensors and the note that `save_tensors` wrote.

    Args:
        path: the file.
        like: names, shapes and dtypes that the file must have.

    Raises:
        StoreError: missing, damaged, truncated, or not like `like`; names the file and the tensor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            note: dict[str, Any] = json.loads((file.metadata() or {}).get("note", "{}"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing.") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise StoreError(f"{path} is damaged or not a safetensors file: {error}") from error
    if "crc32" not in note:
        raise StoreError(f"{path} was not written by this library: its header has no note.")
    if note.pop("crc32") != _crc32(tensors):
        raise StoreError(f"{path} is damaged: its content does not match its checksum.")
    if like is not None:
        for name in sorted(like.keys() ^ tensors.keys()):
            where = "is missing from" if name in like else "is unexpected in"
            raise StoreError(f"tensor `{name}` {where} {path}; the file belongs to another model.")
        for name, wanted in like.items():
            found = tensors[name]
            if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
                raise StoreError(
                    f"tensor `{name}` in {path} must be {wanted.dtype} {list(wanted.shape)}; "
                    f"got {found.dtype} {list(found.shape)}."
                )
    return tensors, note


class Folder:
    """A folder with a manifest. Only the files that the manifest names are part of it.

    Args:
        root: the folder; made if missing.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self.root}: {error}") from error

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second writer, in this process or another; freed even by a crash.

        Raises:
            StoreError: somebody else holds it.
        """
        lock = filelock.FileLock(self / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StoreError(
                f"{self.root} is in use by another run; wait for it, or use another folder."
            ) from error
        except OSError as error:
            raise StoreError(f"cannot write into {self.root}: {error}") from error
        try:
            yield
        finally:
            lock.release()

    def manifest(self) -> dict[str, Any] | None:
        """What `commit` wrote last, or None in a new folder."""
        path = self / "manifest.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StoreError(f"{path} is damaged: not a JSON object.")
        return found

    def commit(self, manifest: Mapping[str, Any]) -> None:
        """Make `manifest` the truth, in one move."""
        _write(self / "manifest.json", (json.dumps(manifest) + "\n").encode())

    def sweep(self, keep: set[str]) -> None:
        """Delete every tensor file but `keep`, and what a killed run left half written."""
        for path in [*self.root.glob("*.safetensors"), *self.root.glob("*.part")]:
            if path.name not in keep:
                path.unlink()

    @property
    def nbytes(self) -> int:
        """Bytes of everything in the folder."""
        return sum(path.stat().st_size for path in self.root.iterdir() if path.is_file())


def require_same(what: str, stored: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Raise `StoreError` listing the fields in which two settings differ."""
    missing = object()
    differing = [
        f"{name}: stored {brief(stored.get(name))}, now {brief(now.get(name))}"
        for name in sorted(stored.keys() | now.keys())
        if stored.get(name, missing) != now.get(name, missing)
    ]
    if differing:
        raise StoreError(f"{where} was made with another {what}: {'; '.join(differing)}. Use another folder.")


def _write(path: Path, data: bytes) -> None:
    # Never write over the old file: a crash half way through would lose both versions.
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error}. What was there before is unchanged.") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _crc32(tensors: Mapping[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].contiguous().flatten().view(torch.uint8).numpy().data, total)
    return total
