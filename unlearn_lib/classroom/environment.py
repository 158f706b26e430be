"""Is everything that a lesson needs here? One line per requirement: [OK] with what was found, or [FAIL].

Loads torch and the widgets only while it looks for them: a missing package gets a line too, with its remedy.
"""

from __future__ import annotations

import html
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from unlearn_lib.classroom.versions import versions_in_words

__all__ = ["Line", "Report", "WidgetCheck", "check", "cores"]

DISK = 200e6  # bytes: a lesson stores a few megabytes, a chain of large models more
INSTALL = (
    'run: python -m pip install --upgrade "unlearn-lessons[lab]"; in the folder of a checkout: '
    'python -m pip install -c ci/constraints.txt -e ".[lab]"'
)
COMPILED = (".so", ".pyd", ".dll", ".dylib")
PYTHONS = "3.11, 3.12, 3.13 or 3.14"


class Line(NamedTuple):
    """One requirement: whether it is met, what was found, and what to do if it is not."""

    name: str
    ok: bool
    found: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"[{'OK' if self.ok else 'FAIL'}]".ljust(7)
            + f"{self.name}: {self.found}"
            + ("" if self.ok else f"\n       remedy: {self.remedy}")
        )


@dataclass(frozen=True)
class Report:
    """What `check` found."""

    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether every requirement is met."""
        return all(line.ok for line in self.lines)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the requirements that are not met."""
        return tuple(line.name for line in self.lines if not line.ok)

    def __str__(self) -> str:
        n, bad = len(self.lines), len(self.failed)
        end = f"{bad} of {n} failed: follow the remedies, then restart the kernel." if bad else "Ready."
        return "\n".join([*map(str, self.lines), end])


def check(dataset: str = "digits", root: str | Path | None = None) -> Report:
    """Look at the environment, print one line per requirement, and return them. Never raises.

    Args:
        dataset: whose files must be there: one of `data.names()`, or the path of a folder of images.
        root: folder of the data; default `$UNLEARN_DATA` (see `data.load`).
    """
    digits = 'put the files where the line above says, or set the parameter dataset = "digits"'
    probes: list[tuple[str, Callable[[], str], str]] = [
        ("Python", _python, f"install Python {PYTHONS} and make a fresh environment with it"),
        ("versions", _versions, INSTALL),
        ("torch", _torch, f"torch and torchvision must be a matching pair; {INSTALL}"),
        ("device", _device, 'restart the kernel; if it fails again, pass device="cpu" to begin'),
        ("threads", _threads, "set the environment variable OMP_NUM_THREADS to the number of your cores"),
        ("repeatable", _repeatable, "please report it, with the lines above"),
        ("disk", _disk, "free some space, or name another folder in the environment variable TMPDIR"),
        ("data", lambda: _data(dataset, root), digits),
    ]
    report = Report(tuple(_line(*probe) for probe in probes))
    sys.stdout.write(f"{report}\n")
    return report


def _line(name: str, probe: Callable[[], str], remedy: str) -> Line:
    try:
        return Line(name, True, probe(), remedy)
    except Exception as error:  # whatever is wrong here, the learner gets a line and not a traceback
        return Line(name, False, f"{error}" or type(error).__name__, remedy)


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise RuntimeError(f"{platform.python_version()}; must be {PYTHONS}")
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _versions() -> str:
    """Every dependency of the lessons, those of the extra `lab` included, against its bounds.

    A release candidate counts as its release.
    """
    from packaging.requirements import Requirement
    from packaging.version import Version

    wrong = []
    for asked in map(Requirement, requires("unlearn-lessons") or ()):
        if asked.marker and not asked.marker.evaluate({"extra": "lab"}):
            continue
        try:
            there = version(asked.name)
        except ModuleNotFoundError:
            wrong.append(f"{asked.name} is missing")
            continue
        if not asked.specifier.contains(Version(there).base_version):
            wrong.append(f"{asked.name} must be {asked.specifier}, is {there}")
    if wrong:
        raise RuntimeError("; ".join(wrong))
    return versions_in_words()


def _torch() -> str:
    """Whether the compiled part of torchvision fits torch; the rest of it takes seconds to import."""
    torch, vision = import_module("torch"), find_spec("torchvision")
    folders = vision.submodule_search_locations or [] if vision else []
    compiled = [part for folder in folders for part in Path(folder).glob("_C*") if part.suffix in COMPILED]
    if not compiled:
        raise RuntimeError("torchvision is missing, or its compiled part is")
    for part in compiled:
        torch.ops.load_library(part)
    return f"{torch.__version__} with torchvision {version('torchvision')}"


def _device() -> str:
    import torch

    from unlearn_lib.train import pick_device

    device = pick_device()
    ones = torch.ones(64, 64, device=device)
    if float((ones @ ones).sum()) != 64**3:
        raise RuntimeError(f"{device} multiplies matrices wrongly")
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _threads() -> str:
    import torch

    threads = torch.get_num_threads()
    if threads > cores():
        raise RuntimeError(f"torch uses {threads} threads on {cores()} cores: they wait for each other")
    return f"{threads} of {cores()} cores"


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _repeatable() -> str:
    """Whether two runs of a few steps give the same bits."""
    import torch

    from unlearn_lib.models import build
    from unlearn_lib.synthetic import two_moons
    from unlearn_lib.train import Recipe, run, train

    toy, weights = two_moons(), []
    for _ in range(2):
        model = build("mlp", toy.shape, 2)
        run(train(model, toy.train, Recipe()))
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    if not torch.equal(*weights):
        raise RuntimeError("two equal runs gave different weights")
    return "two equal runs give the same weights, bit for bit"


def _disk() -> str:
    import shutil

    import torch

    from unlearn_lib import store

    with tempfile.TemporaryDirectory() as folder:
        free, path = shutil.disk_usage(folder).free, Path(folder) / "probe.safetensors"
        if free < DISK:
            raise RuntimeError(
                f"{free / 1e6:.0f} MB free in {Path(folder).parent}; needs {DISK / 1e6:.0f} MB"
            )
        store.save_tensors(path, {"x": torch.ones(3)})
    return f"{free / 1e9:.0f} GB free in {Path(folder).parent}, and it can be written"


def _data(dataset: str, root: str | Path | None) -> str:
    from unlearn_lib.classroom.lesson import FOLDER_PIXELS
    from unlearn_lib.data import load

    found = load(dataset, root, size=FOLDER_PIXELS)
    return f"{found.name}, {len(found.train):,} training and {len(found.test):,} test samples"


class WidgetCheck:
    """A button that says [OK] when pressed, to show that clicks reach Python and the answer comes back.

    Where widgets do not work, the page shows the remedy in place of the button.
    """

    asked = "[ ? ]  Press the button: does a widget answer?"
    remedy = (
        "[FAIL] No button here? Then widgets do not work: JupyterLab must run in the environment that has "
        "ipywidgets and anywidget. Close it and start it from there; in VS Code or Colab allow their widgets."
    )

    def __init__(self) -> None:
        import ipywidgets as w

        from unlearn_lib.classroom.panels.controls import KeyGuard, button

        self.pressed = 0
        self.status = w.Label(self.asked)
        self.status.add_class("unlearn-status")
        self.press = button("Press me", "Checks that widgets work", self._answer, main=True)
        self.box = w.VBox([KeyGuard(), w.HBox([self.press, self.status])])
        self.box.add_class("unlearn-panel")

    @property
    def ok(self) -> bool:
        """Whether the button has been pressed."""
        return self.pressed > 0

    def _answer(self) -> None:
        self.pressed += 1
        self.status.value = f"[OK]   A widget answers (pressed: {self.pressed})."

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from unlearn_lib.classroom import session

        if session.HEADLESS:
            text = "A button stands here in a live notebook: it tells whether widgets answer."
            return {"text/html": f"<p>{text}</p>", "text/plain": text}
        static = {"text/html": f"<p>{html.escape(self.remedy)}</p>", "text/plain": self.remedy}
        return {**self.box._repr_mimebundle_(**kwargs), **static}
