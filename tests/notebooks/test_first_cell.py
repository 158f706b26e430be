"""The first code cell of every notebook, where the package is here and where it is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from ci.build_notebooks import PACKAGE, ROOT

NOTEBOOKS = sorted([*ROOT.glob("*.ipynb"), *ROOT.glob("solutions/*.ipynb")])


def first_code(path: Path) -> Any:
    return next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the cell asks IPython to install."""
    asked: list[str] = []
    shell = SimpleNamespace(run_line_magic=lambda name, line: asked.append(f"%{name} {line}"))
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)
    return asked


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_notebook_begins_with_the_same_folded_cell(path: Path) -> None:
    cell = first_code(path)
    assert cell.source == first_code(NOTEBOOKS[0]).source
    assert cell.metadata.jupyter.source_hidden
    assert cell.metadata.tags == ["setup", "remove-cell"]


def test_it_does_nothing_where_the_package_is_installed(installed: list[str]) -> None:
    exec(first_code(NOTEBOOKS[0]).source, {})
    assert installed == []


@pytest.mark.parametrize("missing", ["unlearn_lib", "anywidget"])
def test_it_says_what_to_install(missing: str, installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, missing)
    with pytest.raises(ImportError, match=r'python -m pip install "unlearn-lessons\[lab\]=='):
        exec(first_code(NOTEBOOKS[0]).source, {})
    assert installed == []


def test_it_installs_the_package_on_colab(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "unlearn_lib")
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())  # type: ignore[arg-type]
    exec(first_code(NOTEBOOKS[0]).source, {})
    assert installed == [f'%pip install -q "{PACKAGE}"']
