"""Does the wheel work for those who have nothing else? ``python ci/try_wheel.py DIST``

Makes two environments from the packages of this one, by links, so that nothing large is installed twice. The
first holds what the core asks for, and no package more: every core module is imported, a method runs, and the
command says what is missing. The second holds what `[lab]` asks for: a learner copies the lessons, checks the
environment, runs the first lesson and makes a site of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

NAME = "unlearn-lessons"
ROOMS = ("classroom", "lessons", "command", "__main__")  # need [lab]
CORE = f"""
import importlib, pkgutil
import unlearn_lib as ul
found = [m.name for m in pkgutil.walk_packages(ul.__path__, "unlearn_lib.", onerror=lambda _: None)]
core = [name for name in found if name.split(".")[1] not in {ROOMS}]
assert "unlearn_lib.metrics.scorecard" in core
for name in core:
    importlib.import_module(name)
data = ul.load("digits")
split = ul.Split.by_class(data.train, 3)
result = ul.run(ul.relabel(ul.build("mlp", data.shape, 10), split, ul.Recipe()))
print(f"{{len(core)}} modules of the core; {{type(result.trace).__name__}}")
"""


def needed(extra: str) -> dict[str, Distribution]:
    """What the package asks for with an extra, and what that asks for in turn, as this environment has it."""
    found: dict[str, Distribution] = {}
    waiting, seen = [(NAME, extra)], set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            found[name] = distribution(name)
            for asked in map(Requirement, found[name].requires or ()):
                if asked.marker is None or asked.marker.evaluate({"extra": extra}):
                    waiting += [(asked.name.lower(), of_it) for of_it in ("", *asked.extras)]
    return found


def places(found: Distribution) -> Iterator[Path]:
    """What to link of a distribution, relative to the folder of packages: its tops, and files of programs."""
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    yield from map(Path, sorted(tops))
    yield from (Path(file) for file in found.files or () if file.parts[0] == ".." and "share" in file.parts)


def environment(folder: Path, wheel: Path, extra: str) -> Path:
    """A virtual environment with the wheel and what it asks for; its folder of programs."""
    venv.create(folder, symlinks=os.name != "nt")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, "-m", "pip", "--python", programs / "python", "install", "-q", "--no-deps", wheel)
    (site,) = {path.parent for path in folder.rglob("unlearn_lib") if (path / "__init__.py").is_file()}
    for name, found in needed(extra).items():
        for place in places(found) if name != NAME else ():
            there, here = Path(str(found.locate_file(place))), Path(os.path.normpath(site / place))
            here.parent.mkdir(parents=True, exist_ok=True)
            if there.exists() and not here.exists():
                here.symlink_to(there.resolve(), target_is_directory=there.is_dir())
    run(sys.executable, "-m", "pip", "--python", programs / "python", "check")
    return programs


def run(*command: str | Path, cwd: Path | None = None, status: int = 0) -> str:
    """What a command prints; it must end with this status, and finds no package through the environment."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{said}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dist", type=Path, help="the folder with one wheel")
    (wheel,) = parser.parse_args().dist.absolute().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="unlearn-wheel-") as name:
        folder = Path(name)
        core = environment(folder / "core", wheel, "")
        print(run(core / "python", "-c", CORE, cwd=folder), end="")
        print(run(core / "unlearn", "--help", cwd=folder, status=2), end="")
        lab = environment(folder / "lab", wheel, "lab")
        course = folder / "course"
        print(run(lab / "unlearn", "lessons", course, "--solutions", cwd=folder), end="")
        print(run(lab / "unlearn", "check", cwd=course), end="")
        print(run(lab / "unlearn", "run", "00", "--preset", "quick", cwd=course), end="")
        print(run(lab / "unlearn", "site", cwd=course), end="")


if __name__ == "__main__":
    main()
