"""Imports point one way, and the library proper loads no plotting or widget package."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGE = Path(__file__).resolve().parents[2] / "unlearn_lib"
MODULE_OF = {"ipython": "IPython", "jupyter-client": "jupyter_client"}  # packages imported under another name
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
    "__main__": 7,
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


def test_the_core_works_where_no_package_of_the_lessons_is_installed() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    lab = [Requirement(line).name for line in settings["project"]["optional-dependencies"]["lab"]]
    names = [name for name in MODULES if rank(f"{name}.") < RANKS["classroom"]]
    assert "unlearn_lib.methods.retrain" in names
    code = f"""
import sys
for name in {[MODULE_OF.get(name, name) for name in lab]}:
    sys.modules[name] = None  # to import it is an ImportError
import {", ".join(names)}
import unlearn_lib as ul
data = ul.load("digits")
split = ul.Split.by_class(data.train, 3)
result = ul.run(ul.relabel(ul.build("mlp", data.shape, 10), split, ul.Recipe()))
assert isinstance(result, ul.Unlearned)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
