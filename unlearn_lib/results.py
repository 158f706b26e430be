"""Results on disk, each under a digest of everything that determines it.

    found = Results(folder)
    found.save(key(job, 3), job(3))
    found.load(key(job, 3))

So a long computation that was stopped goes on where it was, and a larger one computes only what is new. Like
every store of this library nothing is pickled: numbers and text become JSON, tensors safetensors.
"""

from __future__ import annotations

import ast
import copyreg
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.params import Params
from unlearn_lib.store import Folder, StoreError, load_tensors, save_tensors

__all__ = ["Results", "key"]

PLAIN = (type(None), bool, int, float, str)
PACKAGE = Path(__file__).parent
LIBRARY = {"site-packages", "dist-packages"}
SETTLED = {*sys.stdlib_module_names, "torch", "numpy"}  # packages whose version no module adds to its key
STANDARD = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}


# What determines a result --------------------------------------------------------------------------------


def key(*parts: Any) -> str:
    """A digest of values, of the code of every function and class among them, and of torch and NumPy.

    Tensors count with their bytes, paths by name only, and mappings in their order. An object may say what
    determines it with a method ``__determined_by__``; any other is taken apart as for pickling.

    Code counts with the source of its module and of every module of your own that this one reaches: what its
    file imports anywhere, inside functions too, with the packages around it; and where the modules, functions
    and classes among its globals come from; and so on from each of these. Your own is all that lies outside
    the standard library and ``site-packages``, so a package installed as editable is. This library counts as
    a whole. Of other installed packages that your modules import the versions count.

    Not covered: the standard library, and Python's own version; what installed packages import in turn;
    modules imported by a name that is computed, or only as an attribute of a package which does not import
    them itself; globals that a program has changed; the content of files that are read. A source file is read
    once in a process: after an edit begin a new one.

    Raises:
        TypeError: a part has no lasting identity, such as a lambda or a function of a notebook.
    """
    try:
        return _digest([str(torch.__version__), np.__version__, *parts]).hex()
    except RecursionError as error:
        raise TypeError("what determines a result must not refer to itself.") from error


def _digest(value: Any) -> bytes:
    total = hashlib.blake2b(digest_size=20)
    for chunk in _told(value):
        total.update(len(chunk).to_bytes(8, "little"))
        total.update(chunk)
    return total.digest()


def _told(value: Any) -> Iterator[bytes | memoryview]:
    """The value as a stream of chunks that no other value has."""
    kind = type(value)
    if kind in (*PLAIN, complex, bytes):
        yield f"{kind.__name__} {value!r}".encode()
    elif isinstance(value, FunctionType | type):
        yield from _code(value)
    elif kind in (Tensor, nn.Parameter):
        facts = (kind.__name__, value.dtype, list(value.shape), value.requires_grad, value.device)
        yield f"{facts}".encode()
        yield memoryview(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif kind is np.ndarray and value.dtype != object:
        yield f"array {value.dtype.str} {value.shape}".encode()
        yield value.tobytes()
    elif kind in (set, frozenset):
        yield kind.__name__.encode()
        yield from sorted(map(_digest, value))
    elif kind in (list, tuple, dict):
        yield f"{kind.__name__} {len(value)}".encode()
        for item in value.items() if kind is dict else value:
            yield _digest(item)
    elif hasattr(kind, "__determined_by__"):
        yield from _code(kind)
        yield _digest(value.__determined_by__())
    else:
        yield b"object"
        yield _digest(_parts(value))


def _parts(value: Any) -> Any:
    """What pickling would note of an object: how to make one, and its state."""
    try:
        reduce: Any = copyreg.dispatch_table.get(type(value), lambda one: one.__reduce_ex__(4))
        found = reduce(value)
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise TypeError(f"nothing tells what determines {check.brief(value)}: {error}.") from error
    if isinstance(found, str):  # a name in its module
        return _source(str(getattr(value, "__module__", None)), found), found
    return [list(part) if isinstance(part, Iterator) else part for part in found]


def _code(value: Any) -> Iterator[bytes]:
    """The name of a function or class, and the source that it stands in."""
    module, name = value.__module__, value.__qualname__
    if "<" in name:  # <lambda>, <locals>
        raise TypeError(
            f"{name} of {module} has no name to be found by again; define it at the top of a module."
        )
    yield f"{module} {name}".encode()
    yield _source(module, name)


def _source(module: str, name: str) -> bytes:
    """A digest of all code that a module reaches."""
    if module == "__main__" and getattr(sys.modules[module], "__file__", None) is None:
        raise TypeError(
            f"{name} is defined in a notebook or at a prompt, where nothing tells when its code changes; put "
            "it into a module, or keep no results."
        )
    return _reached(module)


@cache
def _reached(start: str) -> bytes:
    """A digest of a module, of those of the user's own that it reaches, and of the versions of others."""
    found: dict[str, Any] = {}
    left = [start]
    while left:
        name = left.pop()
        top = name.partition(".")[0]
        place = _place(name)
        if top == PACKAGE.name:
            found[top] = _package()
        elif place.own and name not in found:
            found[name] = _file(place.file)
            left += _imported(name, place)
        elif place.file and not place.own and top not in SETTLED:
            found[top] = _versions(top)
    return _digest([_file(_place(start).file), sorted(found.items())])


class _Place(NamedTuple):
    """Where a module stands: its file or "", its package, and the folders of its own modules."""

    file: str = ""
    package: str = ""
    folders: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is the user's: neither of the standard library nor installed."""
        path = Path(self.file).absolute()
        return bool(self.file) and LIBRARY.isdisjoint(path.parts) and STANDARD.isdisjoint(path.parents)


@cache
def _place(name: str) -> _Place:
    """Where a module stands, imported or not; nothing is imported to find it."""
    if module := sys.modules.get(name):
        folders = tuple(getattr(module, "__path__", ()))
        return _Place(
            getattr(module, "__file__", None) or "", getattr(module, "__package__", None) or "", folders
        )
    above = name.rpartition(".")[0]
    spec: ModuleSpec | None = None
    if not above:
        spec = find_spec(name)
    elif folders := _place(above).folders:
        spec = PathFinder.find_spec(name, folders)
    if spec is None:
        return _Place()
    file = spec.origin if spec.has_location else None
    return _Place(file or "", spec.parent or "", tuple(spec.submodule_search_locations or ()))


def _imported(name: str, place: _Place) -> set[str]:
    """What a module's file imports anywhere, and where the globals of the module come from."""
    names: set[str] = set()
    for node in _nodes(place.file):
        if isinstance(node, ast.Import):
            names.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), place.package)
            names.update(f"{base}.{one.name}" for one in node.names)
    for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
        if isinstance(value, ModuleType) and not value.__name__.startswith(f"{name}."):
            names.add(value.__name__)  # a package also holds its own modules, once anybody has imported them
        elif isinstance(value, FunctionType | type):
            names.add(str(value.__module__))
    return {part for one in names for part in _with_packages(one)}


def _nodes(file: str) -> Iterator[ast.AST]:
    """All that a source file is made of; nothing of what is no Python."""
    if file.endswith(".py"):
        with suppress(SyntaxError, ValueError, OSError):
            yield from ast.walk(ast.parse(Path(file).read_bytes()))


def _with_packages(name: str) -> list[str]:
    """A module and the packages around it: a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


@cache
def _versions(package: str) -> list[str]:
    """The distributions that an installed package comes from."""
    return sorted(f"{one} {version(one)}" for one in set(_distributions().get(package, ())))


_distributions = cache(packages_distributions)  # it reads the list of every distribution


@cache
def _package() -> bytes:
    files = sorted(PACKAGE.rglob("*.py"))
    return _digest([(path.relative_to(PACKAGE).as_posix(), path.read_bytes()) for path in files])


@cache
def _file(path: str) -> bytes:
    return _digest(Path(path).read_bytes()) if Path(path).is_file() else b""


# Results as files ----------------------------------------------------------------------------------------


class Results:
    """A folder of results, by key.

    A result is made of None, numbers, text, dense tensors on the CPU, arrays, and lists, tuples, dicts, named
    tuples and dataclasses of these. What comes back is equal to what went in, bit by bit.

    Args:
        folder: made if it is missing.

    Raises:
        StoreError: it cannot be made.
    """

    def __init__(self, folder: Path | str) -> None:
        wanted = check.path("folder", folder)
        if file := next((path for path in (wanted, *wanted.parents) if path.is_file()), None):
            raise StoreError(f"results are kept in a folder; {file} is a file, so {wanted} can be none.")
        self.folder = Folder(wanted)

    def path(self, name: str) -> Path:
        """Where the result of this key is or will be."""
        return self.folder / name[:2] / f"{name}.safetensors"  # a folder of 100,000 files is slow to list

    def load(self, name: str) -> Any:
        """The result of this key.

        Raises:
            KeyError: there is none.
            StoreError: it is damaged, or is of another key, or cannot be read.
        """
        path = self.path(name)
        if not path.exists():
            raise KeyError(name)
        tensors, note = load_tensors(path)
        if note.get("key") != name:
            raise StoreError(f"{path} holds the result of another key: it was copied or renamed.")
        try:
            return _unpacked(note["result"], tensors)
        except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
            raise StoreError(f"{path} holds a result that this code cannot read: {error}.") from error

    def save(self, name: str, result: Any) -> None:
        """Write a result, whole or not at all.

        Raises:
            TypeError: a part of it cannot be stored; the message says which.
            StoreError: the disk is full, or the folder cannot be written.
        """
        tensors: Params = {}
        note = {"key": name, "result": _packed("result", result, tensors)}
        Folder(self.path(name).parent)
        save_tensors(self.path(name), tensors, note)


def _packed(name: str, value: Any, tensors: Params) -> Any:
    """The value as JSON, with its tensors put aside under numbers."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return [_packed(f"{name}[{i}]", item, tensors) for i, item in enumerate(value)]
    if kind is tuple:
        return {"tuple": _packed(name, list(value), tensors)}
    if kind is dict:
        parts = enumerate(value.items())
        return {"dict": [_packed(f"{name}.items()[{i}]", list(pair), tensors) for i, pair in parts]}
    plain = kind is Tensor and value.layout == torch.strided and value.device.type == "cpu"
    if plain and not value.requires_grad:
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if kind is np.ndarray and value.dtype != object:
        tensors[str(len(tensors))] = torch.from_numpy(value)
        return {"array": str(len(tensors) - 1)}
    if _of_fields(kind):
        named = {one: _packed(f"{name}.{one}", getattr(value, one), tensors) for one in _names(kind)}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": named}
    raise TypeError(
        f"`{name}` cannot be kept on disk; got {check.brief(value)}. Return None, numbers, text, dense "
        "tensors on the CPU without gradients, arrays, or lists, tuples, dicts, named tuples and dataclasses "
        "of these."
    )


def _unpacked(tree: Any, tensors: Params) -> Any:
    if isinstance(tree, list):
        return [_unpacked(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tuple" in tree:
        return tuple(_unpacked(tree["tuple"], tensors))
    if "dict" in tree:
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in tree["dict"]}
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "array" in tree:
        return tensors[tree["array"]].numpy()
    return _class(tree["class"])(**{one: _unpacked(v, tensors) for one, v in tree["fields"].items()})


def _class(name: str) -> type:
    """A class of fields, in a package that is imported already: a file may not have others imported."""
    module, _, place = name.partition(":")
    if module.split(".")[0] not in sys.modules:
        raise ImportError(f"{module} is not imported")
    found: Any = import_module(module)
    for part in place.split("."):
        found = getattr(found, part)
    if not _of_fields(found):
        raise TypeError(f"{name} is not a class of fields")
    return found  # type: ignore[no-any-return]


def _of_fields(kind: Any) -> bool:
    """Whether it is a named tuple, or a dataclass that is made from all of its fields."""
    if not isinstance(kind, type):
        return False
    return (is_dataclass(kind) and all(one.init for one in fields(kind))) or (
        issubclass(kind, tuple) and hasattr(kind, "_fields")
    )


def _names(kind: Any) -> tuple[str, ...]:
    return kind._fields if issubclass(kind, tuple) else tuple(one.name for one in fields(kind))
