"""Results on disk, each under a digest of everything that determines it."""

from __future__ import annotations

import importlib
import math
import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.tiny_jobs import Found, trained, wrong
from tests.toys import blobs, tiny_net
from unlearn_lib import results
from unlearn_lib.jobs import run_jobs
from unlearn_lib.results import Results, key
from unlearn_lib.store import StoreError
from unlearn_lib.train import Recipe


@dataclass
class Half:
    """Not made from all of its fields."""

    a: int
    b: int = field(init=False, default=0)


@dataclass(frozen=True)
class Whole:
    """A dataclass."""

    a: int
    found: Found


class Told:
    """An object that says what determines it."""

    def __init__(self, a: int, cache: int) -> None:
        self.a, self.cache = a, cache

    def __determined_by__(self) -> Any:
        return self.a


MANY = torch.arange(12.0).reshape(3, 4)
VALUES = [
    *(None, True, 1, 1.0, "1", b"1", 0.0, -0.0, math.nan, [1], (1,), {1}, {1: 1}, [[1], 2], [1, [2]]),
    *(MANY, MANY.double(), MANY.reshape(4, 3), MANY.clone().requires_grad_(), nn.Parameter(MANY), MANY + 1),
    *(MANY.numpy(), np.float64(1.0), trained, wrong, Found, len, partial(wrong, 1), partial(wrong, factor=1)),
    *(Recipe(), Recipe(seed=1), Path("a"), Path("b"), torch.float32, torch.float64, nn.Linear, torch.relu),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, OrderedDict(a=1), Counter("aab"), Told(1, 2), Told(2, 2)),
    *(tiny_net(seed=0), tiny_net(seed=1), blobs(seed=0), blobs(seed=1), "ab", ["a", "b"], ["ab"]),
]


def test_different_values_have_different_keys() -> None:
    assert len({key(value) for value in VALUES}) == len(VALUES)


def test_equal_values_have_one_key_however_they_are_held() -> None:
    wide = torch.cat([MANY, MANY], 1)
    assert key(MANY) == key(wide[:, :4]) == key(MANY.clone())
    again = MANY.clone()
    assert key([MANY, MANY]) == key([MANY, again])
    assert key(tiny_net(seed=3), blobs()) == key(tiny_net(seed=3), blobs())
    assert key({"a", "b", "c"}) == key({"c", "b", "a"})
    assert key(Told(1, 2)) == key(Told(1, 3))


def test_a_key_changes_with_the_code_and_with_torch(monkeypatch) -> None:
    monkeypatch.setattr(results, "_reached", results._reached.__wrapped__)  # which keeps nothing
    before, of_recipe = key(trained), key(Recipe())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0")
        assert key(trained) != before
    with monkeypatch.context() as patch:
        patch.setattr(results, "_file", lambda path: b"other")
        assert key(trained) != before
    with monkeypatch.context() as patch:
        patch.setattr(results, "_package", lambda: b"other")
        assert key(Recipe()) != of_recipe
    assert key(trained) == before


OWN = {
    "job": "import deep\nfrom plain import RATE\ndef job(x): return deep.twice(x)",
    "deep": "from pack.inner import two\ndef twice(x): return two() * x",
    "pack/__init__": "",
    "pack/inner": "from . import beside\ndef two():\n    import late\n    return late.two",
    "pack/beside": "",
    "pack/aside": "",
    "plain": "RATE = 1",
    "late": "two = 2",
    "given": "def given(): return 1",
    "other": "import job",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of a user's own; gives what the key of `job` is in a new process once they are changed."""
    for name, code in OWN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).with_suffix(".py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def forget() -> None:
        for name in OWN.keys() | {"pack"}:
            sys.modules.pop(name.replace("/", "."), None)
            sys.modules.pop(name.removesuffix("/__init__").replace("/", "."), None)
        for cached in (results._file, results._place, results._reached, results._versions):
            cached.cache_clear()
        importlib.invalidate_caches()

    def changed(name: str = "", code: str = "", also: str = "json") -> str:
        if name:
            before = (tmp_path / name).with_suffix(".py")
            before.write_text(before.read_text(encoding="utf-8") + f"\n{code}", encoding="utf-8")
        forget()
        importlib.import_module(also)
        return key(importlib.import_module("job").job)

    yield changed
    forget()


@pytest.mark.parametrize(
    "name", ["job", "deep", "pack/__init__", "pack/inner", "pack/beside", "plain", "late"]
)
def test_a_key_changes_with_every_module_that_the_job_reaches(own: Any, name: str) -> None:
    before = own()
    assert own(name, "# changed") != before


@pytest.mark.parametrize("name", ["pack/aside", "given", "other"])
def test_a_key_leaves_out_the_modules_that_the_job_does_not_reach(own: Any, name: str) -> None:
    before = own()
    assert own(name, "# changed") == before
    assert own(also="pack.aside") == before, "whatever else the program imports"


def test_a_key_follows_what_was_put_among_the_globals(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own("deep", "import importlib; given = importlib.import_module('given').given")
    before = own()
    assert own("given", "# changed") != before


def test_a_key_changes_with_the_version_of_an_installed_package(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = own("late", "def f():\n    from sklearn.datasets import load_digits")
    monkeypatch.setattr(results, "version", lambda name: "0")
    assert own() != before


def test_a_job_finds_nothing_that_an_earlier_helper_made(tmp_path: Path, own: Any) -> None:
    own()
    job = importlib.import_module("job").job
    assert run_jobs(job, [3], keep=tmp_path / "kept") == [6]
    own("late", "two = 5")
    job = importlib.import_module("job").job
    assert run_jobs(job, [3], keep=tmp_path / "kept") == [15]


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "notes", tmp_path / "notes" / "kept"):
        with pytest.raises(StoreError, match=r"kept in a folder; \S+notes is a file") as error:
            run_jobs(abs, [1], keep=folder)
        assert "Errno" not in str(error.value)


def test_what_has_no_lasting_identity_has_no_key(monkeypatch) -> None:
    def local() -> None: ...

    circle: list[Any] = []
    circle.append(circle)
    for value, words in (
        (lambda: 1, r"<lambda> of .* has no name"),
        (local, r"<locals>.local of .* has no name"),
        (circle, "must not refer to itself"),
        (iter([1]).__class__, None),
        ((i for i in ()), "nothing tells what determines a generator"),
    ):
        if words:
            with pytest.raises(TypeError, match=words):
                key(value)
    monkeypatch.setattr(wrong, "__module__", "__main__")
    monkeypatch.delattr("__main__.__file__", raising=False)
    with pytest.raises(TypeError, match="wrong is defined in a notebook or at a prompt"):
        key(wrong)


def test_what_was_kept_comes_back_bit_by_bit(tmp_path) -> None:
    store = Results(tmp_path / "new" / "folder")
    half = torch.tensor([0.1, -0.0, math.nan], dtype=torch.bfloat16)
    value = {
        "a": [None, True, -0.0, 10**40, "ä\ud800", (1, (2.5, ()))],
        (1, 2): {3: half, 4: torch.tensor(True), 5: torch.zeros(0, 3)},
        None: Whole(1, Found(MANY[:, 1], math.inf, {1: []})),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2],
    }
    store.save(key(1), value)
    found = store.load(key(1))
    assert list(found) == list(value)
    assert found["a"] == value["a"]
    assert math.copysign(1, found["a"][2]) == -1
    assert torch.equal(found[1, 2][3].view(torch.int16), half.view(torch.int16))
    assert found[1, 2][4].dtype == torch.bool
    assert found[1, 2][5].shape == (0, 3)
    assert type(found[None]) is Whole
    assert type(found[None].found) is Found
    assert torch.equal(found[None].found.weights, MANY[:, 1])
    assert found["array"].dtype == np.int16
    assert found["array"].tolist() == value["array"].tolist()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(1), "result"),
        ([1, {2: {3}}], r"result\[1\].items\(\)\[0\]\[1\]"),
        (Found(MANY, 1j, {}), "result.share"),
        (Half(1), "result"),
        ((MANY.clone().requires_grad_(),), r"result\[0\]"),
        (MANY.to_sparse(), "result"),
        (nn.Linear(1, 1), "result"),
        (len, "result"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(tmp_path, value, name) -> None:
    store = Results(tmp_path)
    with pytest.raises(TypeError, match=rf"`{name}` cannot be kept on disk; got "):
        store.save(key(1), value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_result_is_missing_damaged_or_of_another_key(tmp_path) -> None:
    store = Results(tmp_path)
    with pytest.raises(KeyError):
        store.load(key(1))
    store.save(key(1), Found(MANY, 1.0, {}))
    path = store.path(key(1))
    data = path.read_bytes()
    store.path(key(2)).parent.mkdir(exist_ok=True)
    store.path(key(2)).write_bytes(data)
    with pytest.raises(StoreError, match="holds the result of another key"):
        store.load(key(2))
    path.write_bytes(data[:-1])
    with pytest.raises(StoreError, match="damaged"):
        store.load(key(1))


@pytest.mark.parametrize(
    "name", ["nobody:Found", "tests.tiny_jobs:trained", "builtins:list", "subprocess:Popen"]
)
def test_a_file_makes_no_objects_but_of_classes_of_fields(tmp_path, monkeypatch, name) -> None:
    store = Results(tmp_path)
    monkeypatch.setattr(results, "_packed", lambda *_: {"class": name, "fields": {}})
    store.save(key(1), None)
    with pytest.raises(StoreError, match="holds a result that this code cannot read"):
        store.load(key(1))
