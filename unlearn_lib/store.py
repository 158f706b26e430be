"""Tensors on disk: safetensors with a JSON note, written whole or not at all, every byte checked when read.

Nothing is ever pickled. A file is written beside its final place, flushed to the disk and moved there, so a
crash or a power cut leaves the old file whole. Every file holds a digest of all its other bytes. A `Folder`
adds one JSON manifest that names the files that count, each with its digest: replacing the manifest is the
commit, and what it does not name is litter, swept after the commit and at the next opening.

This finds damage, mistakes and mix-ups. It is no defense against someone who can write into the folder and
compute new digests.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import filelock
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from unlearn_lib import __version__, check
from unlearn_lib.params import Params

__all__ = ["Folder", "StoreError", "load_tensors", "save_tensors"]

MANIFEST = "manifest.json"
_MARK = rb"{\"digest\": \""  # comes before the digest in a file's header
_HEX = 64  # digits of a digest


class StoreError(Exception):
    """A file or folder does not fit, is damaged or in use, or cannot be written; the message says which."""


# Single files -------------------------------------------------------------------------------------------


def save_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], note: Mapping[str, Any] | None = None
) -> int:
    """Write tensors and a JSON note to `path`, whole or not at all, readable only by the owner.

    Returns:
        Size of the file in bytes.

    Raises:
        StoreError: the disk is full or the folder cannot be written; what was at `path` stays as it was.
        TypeError: a name is not a string, a value is not a tensor, or the note is not JSON.
        ValueError: a tensor is sparse.
    """
    data, _ = _sealed(tensors, note or {})
    _write(check.path("path", path), data)
    return len(data)


def load_tensors(
    path: Path | str, like: Mapping[str, Tensor] | None = None, digest: str | None = None
) -> tuple[Params, dict[str, Any]]:
    """Read the tensors and the note that `save_tensors` wrote. The file is read once, into its own memory.

    Args:
        path: the file.
        like: names, shapes and dtypes that the file must have.
        digest: the digest that the file must have, if it is known.

    Raises:
        StoreError: the file is missing, damaged, swapped or not like `like`; the message names the file and
            the tensor.
    """
    path = check.path("path", path)
    data = _read(path)
    place = data.find(_MARK) + len(_MARK)
    found = data[place : place + _HEX].decode("latin-1")
    if place < len(_MARK):
        raise StoreError(
            f"{path} is damaged, or was not written by this version of the library: it holds no digest of "
            "itself. Whatever wrote it must write it again."
        )
    if found != _digest(data, place):
        raise StoreError(f"{path} is damaged: its content does not match its checksum.")
    if digest not in (None, found):
        raise StoreError(
            f"{path} is not the file that {MANIFEST} beside it names: one of the two was swapped, copied "
            "from elsewhere, or left over from another state of this store."
        )
    try:
        tensors = deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note: dict[str, Any] = json.loads(header["__metadata__"]["note"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is not a safetensors file: {error}") from error
    del note["digest"]
    if like is not None:
        _require_like(path, tensors, like)
    return tensors, note


def _sealed(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> tuple[bytes, str]:
    """The file and its digest, which is in its header and covers all other bytes."""
    for name, value in check.instance("tensors", tensors, Mapping).items():
        check.text("tensors", name)
        if check.instance(f'tensors["{name}"]', value, Tensor).layout != torch.strided:
            raise ValueError(f'`tensors["{name}"]` must be dense; got {value.layout}. Use `to_dense()`.')
    try:
        text = json.dumps({"digest": "0" * _HEX, "library": __version__, **note})
    except TypeError as error:
        raise TypeError(f"`note` must be JSON: {error}.") from error
    plain = {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()  # copied, because tensors that share memory are refused
    }
    data = serialize(plain, metadata={"note": text})
    place = data.find(_MARK) + len(_MARK)
    digest = _digest(data, place)
    return b"".join([data[:place], digest.encode(), memoryview(data)[place + _HEX :]]), digest


def _digest(data: bytes, hole: int) -> str:
    """The digest of all bytes but the digest itself."""
    total = hashlib.blake2b(data[:hole], digest_size=_HEX // 2)
    total.update(memoryview(data)[hole + _HEX :])
    return total.hexdigest()


def _require_like(path: Path, tensors: Params, like: Mapping[str, Tensor]) -> None:
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


# Folders ------------------------------------------------------------------------------------------------


class Folder:
    """A folder with a manifest: one store. Only the files that the manifest names are part of it.

    Everything is written under the folder's lock, so `locked` gives a `Folder` to write with. Any other
    `Folder` takes the lock for each single write.

    Args:
        root: the folder; created for the owner alone if missing.

    Raises:
        StoreError: it cannot be created.
    """

    # The lock of each folder and who may write there, by process id, because a fork holds no lock.
    _locks: ClassVar[dict[tuple[int, str], filelock.BaseFileLock]] = {}
    _holders: ClassVar[dict[tuple[int, str], Folder]] = {}
    _mutex: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, root: Path | str | Folder) -> None:
        self.root: Path = root.root if isinstance(root, Folder) else check.path("folder", root).absolute()
        self._own_hold = False
        self._refusal: OSError | None = None
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self.root}: {error}") from error

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def __repr__(self) -> str:
        return f"Folder({str(self.root)!r})"

    @contextmanager
    def locked(self, *, take_over: bool = True) -> Iterator[Folder]:
        """Hold the folder against other writers; even a crash frees it.

        Another process is refused. Within one process the last to ask gets the lock: an interrupted notebook
        cell may leave behind a run that neither ends nor continues, and this must not stop the cell from
        being run again. If the earlier run does continue, its next write fails and does no harm.

        Where no lock can be written (on a read-only or full disk) the folder can still be read.

        Args:
            take_over: False refuses if this process already has the lock.

        Yields:
            The folder to write with.

        Raises:
            StoreError: the folder is missing, or someone else holds it.
        """
        if not self.root.is_dir():
            raise StoreError(f"the folder {self.root} is missing.")
        held, key = Folder(self.root), self._key
        held._own_hold = True
        try:
            with self._mutex:
                lock = self._locks.setdefault(
                    key, filelock.FileLock(self / ".lock", timeout=0, mode=0o600, thread_local=False)
                )
                if key in self._holders:
                    if not take_over:
                        raise _Busy(f"{self.root} is in use by another run in this process.")
                    del self._holders[key]
                    lock.release(force=True)
                lock.acquire()
                self._holders[key] = held
        except filelock.Timeout as error:
            raise _Busy(
                f"{self.root} is in use by another run; wait for it, or use another folder."
            ) from error
        except (OSError, NotImplementedError) as error:
            held._refusal = error if isinstance(error, OSError) else OSError(errno.ENOLCK, str(error))
        try:
            yield held
        finally:
            with self._mutex:
                if self._holders.get(key) is held:
                    del self._holders[key]
                    lock.release(force=True)

    @property
    def writable(self) -> bool:
        """Whether this is a folder to write with; it is not if the disk is read-only or full."""
        return self._own_hold and self._refusal is None

    def require_writable(self) -> None:
        """Raise `StoreError` unless this is a folder to write with; call it before a long run, not after."""
        with self._writing():
            pass

    def manifest(self) -> dict[str, Any] | None:
        """What `commit` last wrote, with the digest of every file under "files"; None in a new folder.

        Raises:
            StoreError: it is not, byte for byte, what this version's `commit` writes.
        """
        path = self / MANIFEST
        if not self.root.is_dir():
            raise StoreError(f"the folder {self.root} is missing.")
        try:
            data = _read(path)
        except _Missing:
            return None
        try:
            found = json.loads(data)
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise StoreError(f"{path} is damaged: it is not a JSON object.")
        if found.pop("digest", None) is None:
            raise StoreError(
                f"{path} holds no digest of itself: an earlier version of this library wrote it. Such stores "
                "can no longer be read; make it again in another folder."
            )
        if data != _manifest_bytes(found):
            raise StoreError(f"{path} is damaged: its content does not match its checksum.")
        return found

    def load(self, name: str, digest: str, like: Mapping[str, Tensor] | None = None) -> Params:
        """The tensors of the file that was stored under this name.

        Raises:
            StoreError: the file is missing, damaged or not like `like`, or it is another file.
        """
        try:
            tensors, note = load_tensors(self / name, like, digest)
        except _Missing as error:
            raise StoreError(f"{self / name} is missing, although {MANIFEST} beside it names it.") from error
        if note.get("file") != name:
            raise StoreError(f"{self / name} was stored as {note.get('file')!r}.")
        return tensors

    def save(self, name: str, tensors: Mapping[str, Tensor], note: Mapping[str, Any] | None = None) -> str:
        """Write a file and return its digest; it counts once a `commit` names it.

        Raises:
            StoreError: it cannot be written, or another run has taken over the folder.
        """
        data, digest = _sealed(tensors, {"file": name, **(note or {})})
        with self._writing():
            _write(self / name, data)
        return digest

    def commit(self, manifest: Mapping[str, Any], files: Mapping[str, str] | None = None) -> None:
        """Make `manifest` and these files (name -> digest) the truth in one move, then delete all others.

        Raises:
            StoreError: the manifest cannot be written, and all is as before; or a file cannot be deleted, and
                the message says that the new manifest holds.
        """
        check.instance("manifest", manifest, Mapping)
        named = dict(files or {})
        with self._writing():
            _write(self / MANIFEST, _manifest_bytes({**manifest, "files": named}))
            self._delete_all_but(named)

    def withdraw(self, files: Iterable[str]) -> None:
        """Delete files that were saved for a commit which will not come."""
        with self._writing():
            counting = (self.manifest() or {"files": {}})["files"]
            for name in set(files) - set(counting):
                with suppress(OSError):  # litter, then
                    (self / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete every tensor file that the manifest does not name, and whatever a killed run half wrote.

        Nothing is deleted before there is a manifest, or where nothing can be written.
        """
        found = None if self._refusal else self.manifest()
        if found is not None:
            with self._writing():
                self._delete_all_but(found["files"])

    def tidy(self) -> None:
        """`sweep`, unless someone is at work here."""
        with suppress(_Busy), self.locked(take_over=False) as held:
            held.sweep()

    @property
    def nbytes(self) -> int:
        """Bytes of everything in the folder."""
        return sum(path.stat().st_size for path in self._listed() if path.is_file())

    @property
    def _key(self) -> tuple[int, str]:
        return os.getpid(), os.path.realpath(self.root)

    def _listed(self) -> list[Path]:
        try:
            return sorted(self.root.iterdir())
        except OSError as error:
            raise StoreError(f"cannot read the folder {self.root}: {error}") from error

    def _delete_all_but(self, named: Collection[str]) -> None:
        for path in self._listed():
            if path.suffix not in (".safetensors", ".part") or path.name in named:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(
                    f"{self / MANIFEST} is written and the request has been carried out, but {path}, which "
                    f"is no longer part of the store, could not be deleted: {error}. Delete it."
                ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Inside, nobody else can take over the folder. Only for a moment: never yield to a caller here."""
        if not self._own_hold:
            with self.locked() as held, held._writing():
                yield
            return
        with self._mutex:
            if self._refusal is not None:
                raise StoreError(f"cannot write into {self.root}: {self._refusal}") from self._refusal
            if self._holders.get(self._key) is not self:
                raise StoreError(
                    f"{self.root} has been taken over by a later run in this process; this one ends here, "
                    "and has stored nothing since."
                )
            yield


def require_same(what: str, stored: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Raise `StoreError` listing the fields in which two settings differ."""
    missing = object()
    differing = [
        f"{name}: stored {check.brief(stored.get(name))}, now {check.brief(now.get(name))}"
        for name in sorted(stored.keys() | now.keys())
        if stored.get(name, missing) != now.get(name, missing)
    ]
    if differing:
        raise StoreError(f"{where} was made with another {what}: {'; '.join(differing)}. Use another folder.")


class _Missing(StoreError):  # noqa: N818 - the errors that callers see are all StoreError
    """There is no such file."""


class _Busy(StoreError):  # noqa: N818
    """Someone else is at work in the folder."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _Missing(f"{path} is missing.") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error}.") from error


def _write(path: Path, data: bytes) -> None:
    """Write, flush, move, flush the folder: after a power cut there is the old file or the new one."""
    # Never over the old file, because a crash halfway would lose both. Never through a link or into a file
    # that someone has put there. Whatever a killed writer left behind is removed.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        for left in path.parent.glob(f"{glob.escape(path.name)}.????????.part"):
            left.unlink(missing_ok=True)
        with open(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}. What was there before is unchanged.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # Windows has no such thing
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
            errno.EACCES,
        ):  # these only mean: cannot be flushed
            raise StoreError(f"written, but not confirmed by the disk of {folder}: {error}.") from error


def _manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    try:
        digest = hashlib.blake2b(json.dumps(manifest).encode(), digest_size=_HEX // 2).hexdigest()
    except TypeError as error:
        raise TypeError(f"`manifest` must be JSON: {error}.") from error
    return (json.dumps({"digest": digest, **manifest}) + "\n").encode()
