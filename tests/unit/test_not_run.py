"""A method that is called but not run says so, and one that is run is the generator it always was."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from inspect import currentframe
from pathlib import Path
from typing import Any

import pytest
import torch

import unlearn_lib as ul
from tests.toys import blobs, tiny_net
from unlearn_lib.methods.pgu.moments import moments
from unlearn_lib.methods.sisa import partition
from unlearn_lib.metrics.relearn import relearn
from unlearn_lib.train import Run, as_run, train

DATA, RECIPE = blobs(30), ul.Recipe(epochs=1, batch_size=10)
SPLIT, NET = ul.Split.by_class(DATA, 1), tiny_net()


@as_run
def three() -> Generator[ul.Step, None, str]:
    """Three steps."""
    yield from train(tiny_net(), DATA, RECIPE)
    return "the result"


def normalized(folder: Path) -> Run[Any]:
    """A run that warns at its first step: of the statistics of batch norm."""
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)).double()
    return ul.record(net, DATA, RECIPE, folder, keep=1)


def methods(folder: Path) -> dict[str, Callable[[], Any]]:
    retained = ul.spectra(moments(NET, DATA).without(NET, SPLIT.forget))
    log = ul.run(ul.record(tiny_net(), DATA, RECIPE, folder / "log", keep=1))
    chain = ul.run(ul.train_chain(NET, DATA, RECIPE, 2, folder / "chain"))
    cells = partition(DATA, 1, 1)
    shards = ul.run(ul.train_sisa(NET, DATA, RECIPE, cells, folder / "sisa"))
    return {
        "train": lambda: train(tiny_net(), DATA, RECIPE),
        "retrain": lambda: ul.retrain(NET, SPLIT, RECIPE),
        "finetune": lambda: ul.finetune(NET, DATA, RECIPE),
        "gradient_ascent": lambda: ul.gradient_ascent(NET, DATA, RECIPE),
        "relabel": lambda: ul.relabel(NET, SPLIT, RECIPE),
        "label_flip": lambda: ul.label_flip(NET, SPLIT, RECIPE, keep=1),
        "ascent": lambda: ul.ascent(NET, SPLIT, RECIPE, keep=1),
        "unsir": lambda: ul.unsir(NET, [1], SPLIT.retain),
        "pgu": lambda: ul.pgu(NET, retained, SPLIT.forget, RECIPE, stop=ul.forgotten(0.5)),
        "record": lambda: ul.record(tiny_net(), DATA, RECIPE, folder / "new", keep=1),
        "amnesiac": lambda: ul.amnesiac(NET, [1], log),
        "train_chain": lambda: ul.train_chain(NET, DATA, RECIPE, 2, folder / "new"),
        "deepobliviate": lambda: ul.deepobliviate(chain, [1]),
        "train_sisa": lambda: ul.train_sisa(NET, DATA, RECIPE, cells, folder / "new"),
        "sisa": lambda: ul.sisa(shards, [1]),
        "relearn": lambda: relearn(NET, SPLIT.forget, DATA, RECIPE),
    }


def test_every_method_says_that_it_is_not_run_yet(tmp_path: Path) -> None:
    for name, method in methods(tmp_path).items():
        steps = method()
        assert repr(steps) == f"<{name}(...), not run yet: run({name}(...))>"
        with pytest.raises(AttributeError, match=rf"`{name}\(...\)` is a run and has no `model`"):
            _ = steps.model
        with pytest.warns(RuntimeWarning, match=rf"`{name}\(...\)` was called but never run") as said:
            del steps
        assert said[0].filename == __file__


WAYS: dict[str, Callable[[Run[str]], object]] = {
    "run": ul.run,
    "a loop": list,
    "a step": next,
    "islice": lambda steps: list(itertools.islice(steps, 1)),
    "closing it": lambda steps: steps.close(),
    "another run": lambda steps: list(as_run(lambda: steps)()),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_run_or_closed_says_nothing(way: Callable[[Run[str]], object]) -> None:
    steps = three()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        way(steps)
        assert repr(steps) == "<three(...), begun>"
        del steps


def test_a_run_gives_the_steps_and_the_result_of_its_generator() -> None:
    numbers: list[int] = []
    assert ul.run(three(), [lambda step: numbers.append(step.number)]) == "the result"
    assert numbers == [1, 2, 3]
    assert [step.number for step in three()] == [1, 2, 3]


def test_a_warning_within_a_run_points_at_the_line_that_runs_it(tmp_path: Path) -> None:
    def line(back: int) -> int:
        return currentframe().f_back.f_lineno - back  # type: ignore[union-attr]

    def all_at_once() -> int:
        ul.run(normalized(tmp_path))
        return line(1)

    def step_by_step() -> int:
        steps = normalized(tmp_path)
        next(steps)
        return line(1)

    def in_a_loop() -> int:
        for _ in normalized(tmp_path):
            pass
        return line(2)

    for way in (all_at_once, step_by_step, in_a_loop):
        with pytest.warns(UserWarning, match="training moves buffers") as said:
            wanted = way()
        assert [(one.filename, one.lineno) for one in said] == [(__file__, wanted)]


def test_what_is_thrown_into_a_run_arrives_and_closing_ends_it() -> None:
    seen: list[BaseException] = []

    @as_run
    def patient() -> Generator[ul.Step, None, None]:
        try:
            yield from three()
        except BaseException as error:
            seen.append(error)
            raise

    for blow in (KeyboardInterrupt(), ValueError("no")):
        steps = patient()
        next(steps)
        with pytest.raises(type(blow)):
            steps.throw(blow)
        assert seen.pop() is blow
    steps = patient()
    next(steps)
    steps.close()
    assert isinstance(seen.pop(), GeneratorExit)
    assert list(steps) == []


REMEDIES = """
import sys, torch, unlearn_lib as ul
from torch.utils.data import DataLoader, TensorDataset
from unlearn_lib.methods.pgu.moments import moments

x, y, folder = torch.randn(30, 5), torch.arange(30) % 3, sys.argv[1]
net, recipe = ul.build("mlp", (5,), 3), ul.Recipe()
data = ul.Examples.of(x, y)
split = ul.Split.by_class(data, 1)
doors = {
    "retain": lambda source: ul.run(ul.unsir(net, [1], source)),
    "data": lambda source: ul.Split.by_class(source, 1),
    "forget": lambda source: ul.Split(source, source),
    "train": lambda source: ul.Dataset("mine", source, source, ("a", "b", "c"), "here"),
    "test": lambda source: ul.evaluate(net, split, test=source, original=net, retrained=net),
    "other": lambda source: data + source,
    "data of record": lambda source: ul.run(ul.record(net, source, recipe, folder, keep=1)),
    "data of train_chain": lambda source: ul.run(ul.train_chain(net, source, recipe, 2, folder)),
    "data of retain_subset": lambda source: ul.retain_subset(source, [1], 1),
    "data of moments": lambda source: moments(net, source),
    "retain of finetune": lambda source: ul.run(ul.finetune(net, source, recipe)),
    "retrain": lambda source: ul.run(ul.retrain(net, source, recipe)),
    "one class": lambda source: ul.run(ul.unsir(net, 1, data)),
    "one class to retain_subset": lambda source: ul.retain_subset(data, 1, 2),
    "not run": lambda source: ul.evaluate(
        ul.unsir(net, [1], data), split, test=data, original=net, retrained=net
    ),
}
for source in (TensorDataset(x, y), DataLoader(TensorDataset(x, y)), (x, y)):
    for name, door in doors.items():
        try:
            print(name, "took", door(source))
        except TypeError as error:
            print(f"{name}: {error}")
"""


def test_own_data_one_class_and_a_call_without_run_are_told_the_way(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", REMEDIES, str(tmp_path)]  # no type checker is in between
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    remedies = {
        "one class": "`classes` must be several whole numbers; got 1: write [1].",
        "not run": "got <unsir(...), not run yet: run(unsir(...))>.",
        "retrain": "`Split.by_class(data, 3)` and `Split.by_ids(data, ids)` make one.",
    }
    lines = done.stdout.splitlines()
    assert len(lines) == 45
    for line in lines:
        name, _, said = line.partition(": ")
        argument = name.partition(" of ")[0]
        remedy = remedies.get(
            name.removesuffix(" to retain_subset"), f"`Examples.of_dataset({argument})` makes"
        )
        assert remedy in said, line
