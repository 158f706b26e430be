"""Bad calls of every public function: each must end in an error that the library raises itself.

A call is a line of calls.txt, evaluated among the objects of `prepared`. It can end in four ways:

    clear     the library's own `raise`: the innermost frame is a line of the library, and that line raises
    unclear   an accident from deep inside
    silent    it returned
    hang      it did not return within the time limit

The goal: at least 95 % clear, nothing silent, no hang, and afterwards the nets and stores are what they were.
Calls that look bad but are fine come at the end of calls.txt; they must work. A public function or class that
has no call there, and no reason in `APART` or `RESULTS`, fails the campaign.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import linecache
import math
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np  # noqa: F401 - for the calls
import torch
from torch import nn

LIMIT = 20  # seconds a call
GOAL = 0.95
CALLS, _, FINE = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").partition("## fine")


APART = {
    "check": "what the others are checked with; its own tests call it with everything",
    "classroom.environment": "takes what it finds, and reports it",
    "contest.entries.chart_of_methods": "takes nothing",
    "contest.method.Settings": "those of a method that has none",
    "classroom.panels.runs.State": "a list of names",
    "classroom.versions": "takes nothing",
    "data.names": "takes nothing",
    "data.is_path": "asked of anything, it says yes or no",
    "files": "readers that `load` calls; hostile files are a matter of their own",
    "pictures.Folder": "a result",
    "metrics.cost.hardware": "takes nothing",
    "outputs.random_generator": "of a device that exists: `device_of` gives it",
    "outputs.reason": "told of an error, it says what it knows",
    "classroom.panels.controls.KeyGuard": "takes nothing",
    "metrics.table.escaped": "writes anything",
    "classroom.charts.literal": "writes anything",
    "methods.pgu.qualify": "listens to a pass for `moments` and `pgu`, which take the calls",
    "methods.pgu.guard": "keeps the promise of `pgu`, which takes the calls",
    "classroom.session.Session": "what `begin` makes",
    "tombstones": "takes ids that have been checked",
    "methods.stages.Stages": "abstract: `Chain` and `Ensemble` are called",
}
RESULTS = (  # what the library makes and hands out; where one is handed back, that function has its bad call
    *(
        "Unlearned",
        "Probe",
        "Recalibration",
        "Cost",
        "WeightDistance",
        "Calls",
        "Klom",
        "Lira",
        "Auc",
        "LossAttack",
        "Roc",
    ),
    *("AnamnesisIndex", "Noise", "Spectra", "Row", "Room", "Scorecard", "Trend", "Entry", "Outcome", "Trial"),
)


def prepared(W: Path) -> dict[str, Any]:
    """The objects for the calls: small, trained, and stored under `W`."""
    from matplotlib.figure import Figure

    from unlearn_lib.classroom.charts import View
    from unlearn_lib.classroom.lesson import CommonSizes
    from unlearn_lib.classroom.panels.progress import Progress
    from unlearn_lib.classroom.session import Session
    from unlearn_lib.contest.arena import Arena
    from unlearn_lib.contest.method import Failure
    from unlearn_lib.contest.task import Task
    from unlearn_lib.data import Dataset, Examples, Scale, Split
    from unlearn_lib.lessons.unsir import LESSON
    from unlearn_lib.methods.amnesiac import record
    from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
    from unlearn_lib.methods.layers import Layers
    from unlearn_lib.methods.pgu.moments import moments
    from unlearn_lib.methods.pgu.projection import spectra
    from unlearn_lib.methods.sisa import partition, sisa, train_sisa
    from unlearn_lib.methods.unsir import UnsirRecipe
    from unlearn_lib.metrics.backdoor import corner_trigger
    from unlearn_lib.metrics.fitted_attacks import Judged
    from unlearn_lib.metrics.lira import Margins, plan
    from unlearn_lib.metrics.scorecard import evaluate
    from unlearn_lib.models import build
    from unlearn_lib.params import clone
    from unlearn_lib.store import Folder
    from unlearn_lib.train import Recipe, run, train

    torch.manual_seed(0)
    nan, inf, big, go, folders = math.nan, math.inf, 10**40, run, count()
    X = Examples.of(torch.randn(60, 5), torch.arange(60) % 3)
    TEST = Examples.of(torch.randn(30, 5), torch.arange(30) % 3)
    MORE = Examples(TEST.x, TEST.y, TEST.ids + 100)
    IMG = Examples.of(torch.randint(256, (60, 1, 4, 4)).to(torch.uint8), X.y, Scale((128.0,), (60.0,)))
    DATASET = Dataset("toy", X, TEST, ("a", "b", "c"), "made")
    SP, SC, R = Split.by_ids(X, range(6)), Split.by_class(X, 1), Recipe(epochs=2, batch_size=10)
    N, N2, NL = (build("mlp", (5,), 3, seed=seed) for seed in range(3))
    for net in (N, N2):
        go(train(net, X, R))
        net.eval()
    CH = go(train_chain(build("mlp", (5,), 3), X, R, 4, Folder(W / "chain")))
    EN = go(train_sisa(build("mlp", (5,), 3), X, R, partition(X, 2, 2), Folder(W / "sisa")))
    LG = go(record(NL, X, R, W / "log", keep=1))
    CHT, ENT, MO = go(deepobliviate(CH, [1])).trace, go(sisa(EN, [1])).trace, moments(N, X)
    SPEC, LY, P = spectra(MO.without(N, SP.forget)), Layers.of(N), torch.rand(60, 3).softmax(1)
    J, TR, MG = Judged(P, X.y), corner_trigger((5,), 1.0), Margins(torch.randn(4, 6), plan(4, 6))
    UR, FIG, VIEW = UnsirRecipe(images=4, noise_steps=2), Figure(), View(Figure(), "nothing at all to see")
    TASK = Task("samples", X, SP.forget.ids, TEST, R, build("mlp", (5,), 3), W / "task")
    FAILS = Failure("nothing", "no reason", str)
    CARD = evaluate(N, original=NL, retrained=N2, split=SP, test=TEST)
    ARENA, PG = Arena.of([TASK], TEST), Progress(SimpleNamespace(), SP, DATASET, N)
    SES = Session(
        lesson=LESSON,
        preset="quick",
        sizes=CommonSizes(model="mlp", recipe=R),
        limits=None,
        recipe=R,
        dataset=DATASET,
        device=torch.device("cpu"),
        seed=0,
        folder=W,
    )

    def new() -> nn.Module:
        return clone(N)

    def f() -> Folder:
        return Folder(W / f"new{next(folders)}")

    def retrained(_: Any, split: Split) -> Any:
        return modules()["retrain"].retrain(N, split, R)

    class Broken(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * nan

    class Random(nn.Linear):
        def forward(self, x: Any) -> Any:
            return nn.functional.dropout(super().forward(x))

    class Two(nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x), x

    BROKEN, RANDOM, TWO = Broken(5, 3), Random(5, 3), Two(5, 3)
    return {**globals(), **locals(), **modules()}


SHORT = {"accuracy": "A", "membership": "M", "backdoor": "B", "divergence": "V", "fitted_attacks": "FA"}
SHORT |= {"lira": "L", "relearn": "RL", "baselines": "BL", "subspaces": "S", "inside": "AU", "cost": "CO"}
SHORT |= {"scorecard": "SCO", "table": "TA"}


def modules() -> dict[str, Any]:
    """The modules of the library, by the names that calls use."""
    import unlearn_lib

    found = {}
    for module in pkgutil.walk_packages(unlearn_lib.__path__, "unlearn_lib."):
        name = module.name.removeprefix("unlearn_lib.")
        short = name.rpartition(".")[2]
        if name.startswith("methods.") and short in ("method", "controls"):  # unsir_controls
            short = "_".join(name.split(".")[1:])
        if name.startswith("lessons.") and name.count(".") == 2:  # figures_unsir
            short = "_".join(reversed(name.split(".")[1:]))
        elif name.startswith("contest.entries."):  # entries_unsir
            short = f"entries_{short}"
        elif name == "contest.method":
            short = "contest_method"
        found[SHORT.get(short, short) if name.startswith("metrics.") else short] = importlib.import_module(
            module.name
        )
    return found


def public() -> dict[str, Any]:
    """Every function and class that a module makes public, except named tuples and exceptions."""
    found = {}
    for module in modules().values():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not inspect.isfunction(thing) and not inspect.isclass(thing):
                continue
            bare = inspect.isclass(thing) and issubclass(thing, tuple | BaseException)
            if thing.__module__ == module.__name__ and not bare:
                found[f"{module.__name__}.{name}".removeprefix("unlearn_lib.")] = thing
    return found


def listed(text: str) -> list[str]:
    """The calls among these lines, without the remarks."""
    lines = (line.partition("  #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def calls_of(names: dict[str, Any]) -> list[str]:
    """The bad calls that are listed, and those that are made here, with an object for all that is taken.

    These are of the settings of every entry, of methods that the list does not call, and of the charts,
    sentences and panels of the lessons.
    """
    written = listed(CALLS)
    for short in [name for name in names if name.startswith("entries_")]:
        for name in [name for name in names[short].__all__ if inspect.isclass(getattr(names[short], name))]:
            given = inspect.signature(getattr(names[short], name)).parameters
            written.append(f"{short}.{name}({', '.join(f'{one}=object()' for one in given)})")
    for short, module in names.items():
        room = getattr(module, "__name__", "").removeprefix("unlearn_lib.")
        if not room.startswith("methods.") or room in APART:
            continue
        for name in [name for name in module.__all__ if f".{name}(" not in CALLS]:
            method = getattr(module, name)
            if inspect.isfunction(method) and method.__module__ == module.__name__:
                written.append(f"go({short}.{name}({objects(method)}))")
    for short in [name for name in names if name.startswith(("figures_", "findings_", "panel_"))]:
        module = names[short]
        for name in getattr(module, "__all__", ()):
            chart = getattr(module, name)
            if inspect.isfunction(chart):
                written.append(f"{short}.{name}({objects(chart)})")
    return written


def objects(function: Any) -> str:
    """An object for every required argument."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return ", ".join(f"{p.name}=object()" if p.kind is p.KEYWORD_ONLY else "object()" for p in needed)


def used(call: str, names: dict[str, Any]) -> Iterator[Any]:
    """The functions that a call names, and the classes whose methods they are."""
    for node in ast.walk(ast.parse(call, mode="eval")):
        if isinstance(node, ast.Call | ast.Subscript | ast.BinOp):
            part = next(getattr(node, name) for name in ("func", "value", "left") if hasattr(node, name))
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    found = eval(ast.unparse(part), names)
            except Exception:
                continue
            yield getattr(found, "__func__", found)
            yield type(getattr(found, "__self__", found))
            yield getattr(found, "__self__", None)


def outcome(call: str, names: dict[str, Any]) -> tuple[str, str]:
    """How a call ends, and with what message."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {LIMIT} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            result = eval(call, names)
        return "silent", " ".join(repr(result).split())[:100]
    except TimeoutError as error:
        return "hang", str(error)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = linecache.getline(last.filename, last.lineno or 0).strip()
        kind = "clear" if "unlearn_lib" in last.filename and line.startswith("raise") else "unclear"
        where = f"{Path(last.filename).name}:{last.name}"
        return kind, f"{type(error).__name__}: {' '.join(str(error).split())[:160]} | {where}"
    finally:
        signal.alarm(0)


def marks(names: dict[str, Any]) -> dict[str, bytes]:
    """The stores' files and the nets' weights, to see whether anything has changed."""
    found = {
        str(path): path.read_bytes()
        for part in ("chain", "sisa", "log")
        for path in sorted((names["W"] / part).rglob("*"))
        if path.is_file()
    }
    for net in ("N", "N2", "NL"):
        found[net] = torch.cat([p.detach().flatten() for p in names[net].parameters()]).numpy().tobytes()
    return found


def main(arguments: list[str]) -> int:
    """Make every call; print those that are not clear, and the counts."""
    parser = argparse.ArgumentParser(prog="campaign.py calls", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="calls that contain this text")
    parser.add_argument("--clear", action="store_true", help="print what the clear ones say, too")
    options = parser.parse_args(arguments)
    os.environ["UNLEARN_HEADLESS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        names = prepared(Path(folder))
        before, counts, covered = marks(names), Counter[str](), set()
        calls = calls_of(names)
        for call in calls:
            covered.update(id(thing) for thing in used(call, names))
            if options.only not in call:
                continue
            kind, words = outcome(call, names)
            counts[kind] += 1
            if kind != "clear" or options.clear:
                sys.stdout.write(f"{kind:8}{call}\n        {words}\n")
        changed = sorted(name for name, mark in marks(names).items() if before.get(name) != mark)
        wrong = []
        for call in listed(FINE):
            if options.only in call and (found := outcome(call, names))[0] != "silent":
                wrong.append(f"{call}\n        {found[1]}")
    missing = [
        name
        for name, thing in public().items()
        if id(thing) not in covered
        and thing.__name__ not in RESULTS
        and not thing.__name__.endswith("Trace")
        and not {name, name.rpartition(".")[0]} & APART.keys()
        and not options.only
    ]
    troubles = {
        "should have worked": wrong,
        "was changed by a refused call": changed,
        "has no bad call": missing,
    }
    for what, ones in troubles.items():
        for one in ones:
            sys.stdout.write(f"{what}: {one}\n")
    tried = counts.total()
    sys.stdout.write(
        f"tried {tried}, clear {counts['clear']}, unclear {counts['unclear']}, silent {counts['silent']}, "
        f"hang {counts['hang']}: {counts['clear'] / max(tried, 1):.1%} clear; goal {GOAL:.0%}, none silent\n"
    )
    good = counts["clear"] >= GOAL * tried and not counts["silent"] and not counts["hang"]
    return int(not good or any(troubles.values()))
