"""pyproject.toml, the lock and environment.yml describe one environment."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CAPPED = {"anywidget"}  # pyproject.toml says why; a chart that loads slowly tests it, in the browser
PYTHONS = ("3.11.9", "3.12.9", "3.13.9", "3.14.2")
SYSTEMS = {
    "linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}


OURS = {"unlearn_lib", "ci", "campaigns"}
NAMES = {"PIL": "pillow", "sklearn": "scikit-learn"}  # packages that are imported under another name
# Needed, but never imported: programs, and what plotly calls.
RUN = {"ipykernel", "kaleido"}
ROOMS = ("classroom", "lessons", "command")  # the rooms that need the extra [lab]; the rest is the core


@cache
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@cache
def lock_lines() -> list[str]:
    return (ROOT / "ci/constraints.txt").read_text(encoding="utf-8").splitlines()


def wanted() -> list[Requirement]:
    """Everything that pyproject asks for, extras included, but itself."""
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return list({r.name: r for r in found if r.name != project()["name"]}.values())


def pins(name: str) -> list[Requirement]:
    """The lines of the lock for a package."""
    found = [Requirement(line) for line in lock_lines()]
    return [r for r in found if canonicalize_name(r.name) == canonicalize_name(name)]


def pinned(pin: Requirement) -> Version:
    (clause,) = pin.specifier
    return Version(clause.version)


def declared(*extras: str) -> set[str]:
    """What the core and these extras ask for, as pip names it."""
    groups = [project()["dependencies"], *(project()["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(Requirement(line).name) for group in groups for line in group}


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """Every package that is imported in a part of the tree, as pip names it, with the file that imports it.

    Args:
        folder: "core" and "lab" are the two parts of the package.
    """
    if folder in ("core", "lab"):
        package = ROOT / "unlearn_lib"
        inside = {path: path.relative_to(package).parts[0] in ROOMS for path in package.rglob("*.py")}
        paths = [path for path, lab in inside.items() if lab == (folder == "lab")]
    else:
        paths = list((ROOT / folder).rglob("*.py"))
    for path in sorted(paths):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in {module.partition(".")[0] for module in modules}:
                beside = path.with_name(f"{name}.py").exists()  # a script imports its neighbor
                if name not in sys.stdlib_module_names | OURS and not beside:
                    yield canonicalize_name(NAMES.get(name, name)), str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("part", "extras"),
    [("core", ()), ("lab", ("lab", "cluster")), ("ci", ("lab", "cluster", "docs", "test", "dev"))],
)
def test_what_is_imported_is_declared(part: str, extras: tuple[str, ...]) -> None:
    missing = {name: path for name, path in imports(part) if name not in declared(*extras)}
    assert not missing, f"imported, but not in pyproject.toml: {missing}"


@pytest.mark.parametrize(("part", "extras"), [("core", ()), ("lab", ("lab",))])
def test_what_is_declared_is_needed(part: str, extras: tuple[str, ...]) -> None:
    used = {name for name, _ in imports(part)}
    idle = declared(*extras) - (declared() if extras else set()) - used - RUN
    assert not idle, f"in pyproject.toml, but nothing imports it: {idle}"


@pytest.mark.parametrize("requirement", wanted(), ids=lambda r: r.name)
def test_every_dependency_has_a_lower_bound_and_is_locked_inside_its_range(requirement: Requirement) -> None:
    bounds = ["<", ">="] if requirement.name in CAPPED else [">="]
    assert sorted(clause.operator for clause in requirement.specifier) == bounds, "ranges, no pins: pins rot"
    found = pins(requirement.name)
    assert found, "not in ci/constraints.txt; see CONTRIBUTING, section Dependencies"
    for pin in found:
        assert requirement.specifier.contains(pinned(pin)), f"{pin} is outside of {requirement}"


@pytest.mark.parametrize("requirement", wanted(), ids=lambda r: r.name)
def test_every_dependency_has_one_version_on_every_system_and_python(requirement: Requirement) -> None:
    for system, facts in SYSTEMS.items():
        for python in PYTHONS:
            here = {**facts, "python_full_version": python, "python_version": python.rpartition(".")[0]}
            fits = [pin for pin in pins(requirement.name) if pin.marker is None or pin.marker.evaluate(here)]
            assert len(fits) == 1, f"{len(fits)} versions on {system} with Python {python}"


def test_the_lock_holds_exact_versions_and_no_address() -> None:
    for line in lock_lines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][^\s;]*( ; .+)?", line), line
        assert "://" not in line
        assert not line.startswith("-")
    assert lock_lines() == sorted(lock_lines(), key=lambda line: line.split("==")[0])


def test_conda_gives_python_and_pip_and_pip_installs_the_lock() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["name"] == project()["name"]
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    python, pip, by_pip = conda["dependencies"]
    assert pip == "pip"
    allowed = SpecifierSet(python.removeprefix("python "))
    asked = SpecifierSet(project()["requires-python"])
    for version in ("3.10.9", *PYTHONS):
        assert allowed.contains(version) == asked.contains(version), version
    assert by_pip == {"pip": ["--constraint ci/constraints.txt", "--editable .[test]"]}


def test_the_documented_commands_of_a_checkout_install_the_lock() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    installs = re.findall(r"pip install .* -e .*", readme)
    assert len(installs) >= 3
    for line in installs:
        assert "-c ci/constraints.txt" in line, line
