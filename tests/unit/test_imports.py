"""Imports point one way, and the library proper loads no plotting or widget package."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "unlearn_lib"
HEAVY = {"matplotlib", "plotly", "ipywidgets", "anywidget", "IPython", "kaleido"}
# check, data (which reads files, pictures), params <- outputs, train, store <- methods <- metrics <- contest
# <- classroom <- lessons <- command; the rest stands with `train`.
RANKS = {
    "check": 0,
    "files": 0,
    "gather": 0,
    "pictures": 0,
    "data": 0,
    "params": 0,
    "methods": 2,
    "metrics": 3,
    "contest": 4,
    "classroom": 5,
    "lessons": 6,
    "command": 7,
}
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def ours(module: str) -> set[str]:
    return {name for name in imported(MODULES[module]) if name in MODULES and name != "unlearn_lib"}


def rank(module: str) -> int:
    return RANKS.get(module.split(".")[1], 1)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "unlearn_lib"])
def test_imports_point_one_way(module: str) -> None:
    wrong = [name for name in ours(module) if rank(name) > rank(module)]
    assert not wrong, f"{module} must not import {wrong}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: ours(name) - {name} for name in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_methods_and_metrics_load_no_plotting_or_widget_package() -> None:
    names = [name for name in MODULES if rank(f"{name}.") < RANKS["classroom"]]
    assert "unlearn_lib.methods.retrain" in names
    code = f"import sys, {', '.join(names)}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), "loaded by the library proper"


def test_no_method_imports_its_experiments() -> None:
    rooms = {name for name in MODULES if name.startswith("unlearn_lib.methods.")}
    experiments = {name for name in rooms if name.endswith(".controls")}
    assert experiments
    for name in rooms - experiments:
        if MODULES[name].stem != "__init__":
            assert not ours(name) & experiments, name


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "methods").glob("*/__init__.py")), ids=lambda p: p.parent.name
)
def test_the_face_of_a_method_only_imports(path: Path) -> None:
    doc, *rest = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(doc, ast.Expr)
    for node in rest:
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        moved = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        assert isinstance(node, ast.ImportFrom) or named or moved, ast.unparse(node)
