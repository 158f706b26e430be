"""The runs of a panel, without a panel: states, clock, outcomes and references."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearn_lib.classroom.panels import runs as module
from unlearn_lib.classroom.panels.runs import Look, Runs, State
from unlearn_lib.data import Dataset, Examples, Split
from unlearn_lib.methods.finetune import finetune
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.models import build
from unlearn_lib.train import Recipe, Step, Unlearned, run

X = Examples.of(torch.linspace(-1, 1, 60 * 5).reshape(60, 5), torch.arange(60) % 3)
DATA = Dataset("toy", X, X.head(30), ("a", "b", "c"), "made")
NET = build("mlp", (5,), 3)
NET.eval()
LONG = 100_000  # epochs


def values(label: int = 1, epochs: int = 1) -> SimpleNamespace:
    return SimpleNamespace(label=label, epochs=epochs)


def method(v: SimpleNamespace, split: Split) -> Generator[Step, None, Unlearned[Any]]:
    return finetune(NET, split.retain, Recipe(epochs=v.epochs, batch_size=10))


def reference(split: Split) -> Generator[Step, None, Unlearned[Any]]:
    return retrain(NET, split, Recipe(epochs=1, batch_size=10))


def made(**changes: Any) -> Runs:
    settings: dict[str, Any] = {"method": method, "values": values(), "retrain": reference} | changes
    return Runs("runs", DATA, lambda _: NET, split=lambda v: Split.by_class(X, v.label), **settings)


def told(runs: Runs) -> list[str]:
    """What the runs tell from now on: states, and "outcome"."""
    found: list[str] = []
    runs.on_state.append(found.append)
    runs.on_outcome.append(lambda: found.append("outcome"))
    return found


def ended(runs: Runs) -> None:
    assert runs.worker.thread is not None
    runs.worker.thread.join(30)
    assert not runs.worker.busy.locked()


class Gate:
    """A method that waits in its first step until it may go on."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, v: SimpleNamespace, split: Split) -> Generator[Step, None, Unlearned[Any]]:
        steps = method(v, split)
        yield next(steps)
        self.reached.set()
        assert self.open.wait(20)
        return (yield from steps)


def test_the_first_state_is_idle_and_has_its_outcome_and_reference() -> None:
    runs = made()
    assert (runs.state, runs.said, runs.busy) == (State.IDLE, "", False)
    assert runs.outcome is runs.progress is runs.first
    assert set(runs.outcome.scores) == {"original", "unlearned", "retrained"}
    assert len(runs.references) == 1


def test_without_a_first_run_only_the_original_is_known() -> None:
    runs = made(first=False)
    assert set(runs.outcome.scores) == {"original"}
    assert runs.outcome.result is None


def test_a_run_of_a_new_request_retrains_its_reference_once() -> None:
    runs = made(first=False)
    heard = told(runs)
    assert runs.start(values(label=2))
    ended(runs)
    assert heard == [State.RUNNING, State.RETRAINING, "outcome", State.FINISHED]
    assert runs.said.startswith("finished after 4 steps in ")
    assert runs.start(values(label=2))
    ended(runs)
    assert heard[4:] == [State.RUNNING, "outcome", State.FINISHED]
    assert len(runs.references) == 1


def test_a_reference_that_is_given_is_not_retrained() -> None:
    split = Split.by_class(X, 1)
    given = run(reference(split))

    def never(_: Split) -> Any:
        raise AssertionError

    assert made(reference=given, retrain=never).outcome.models["retrained"] is given.model


def test_while_one_run_goes_on_another_is_not_begun() -> None:
    gate = Gate()
    runs = made(first=False, method=gate)
    assert runs.start(values())
    assert gate.reached.wait(20)
    assert runs.busy
    assert not runs.start(values(label=2))
    gate.open.set()
    ended(runs)
    assert runs.progress.values == values()


def test_a_run_that_is_stopped_leaves_the_outcome_before() -> None:
    gate = Gate()
    runs = made()
    runs.method, before, heard = gate, runs.outcome, told(runs)
    runs.start(values(label=2, epochs=LONG))
    assert gate.reached.wait(20)
    runs.stop()
    assert (runs.state, runs.said, runs.busy) == (State.STOPPING, "stopping at the next step", True)
    gate.open.set()
    ended(runs)
    assert heard == [State.RUNNING, State.STOPPING, State.STOPPED]
    assert (
        runs.said == "stopped after 1 step; the curves show it, everything else is from the last finished run"
    )
    assert runs.outcome is before is not runs.progress


def test_stop_without_a_run_tells_nothing() -> None:
    runs = made(first=False)
    heard = told(runs)
    runs.stop()
    assert heard == []
    assert runs.state is State.IDLE


def test_a_reference_that_is_stopped_leaves_what_the_method_found() -> None:
    runs = made(first=False)
    runs.on_state.append(lambda state: runs.stop() if state is State.RETRAINING else None)
    runs.start(values())
    ended(runs)
    assert runs.state is State.FINISHED
    assert runs.said.endswith("; the reference was stopped")
    assert set(runs.outcome.scores) == {"original", "unlearned"}
    assert runs.references == {}


def test_a_reset_during_a_run_stops_it_and_ends_in_the_first_state() -> None:
    gate = Gate()
    runs = made()
    runs.method, heard = gate, told(runs)
    runs.start(values(label=2))
    assert gate.reached.wait(20)
    runs.reset()
    gate.open.set()
    ended(runs)
    assert heard == [State.RUNNING, State.STOPPING, State.IDLE, "outcome"]
    assert runs.outcome is runs.progress is runs.first


def test_an_error_is_a_state_and_leaves_the_outcome_before() -> None:
    def broken(v: SimpleNamespace, split: Split) -> Any:
        raise RuntimeError("no memory")

    runs = made()
    before, runs.method = runs.outcome, broken
    runs.start(values())
    ended(runs)
    assert (runs.state, runs.said) == (State.FAILED, "failed: RuntimeError: no memory")
    assert runs.outcome is before


def test_an_error_of_the_first_run_belongs_to_the_caller() -> None:
    with pytest.raises(TypeError, match="`split` must be of class Split"):
        Runs("runs", DATA, lambda _: NET, split=lambda v: None, method=method, values=values())


def test_a_worker_of_the_same_name_is_stopped() -> None:
    runs = made(first=False)
    runs.start(values(epochs=LONG))
    made(first=False)
    ended(runs)
    assert runs.state is State.STOPPED


# The clock


@pytest.mark.parametrize(
    ("done", "expected", "found"),
    [
        (4, 10, (4, 10, 3.0, True)),  # 2 s for 4 steps: 3 s for the other 6
        (10, 10, (10, 10, 0.0, True)),
        (4, 0, (1, 4, 1.5, False)),  # unknown: the epoch has 3 more
        (11, 10, (1, 4, 3 * 2 / 11, False)),  # longer than foreseen
    ],
)
def test_a_look_foresees_the_end_by_the_steps_so_far(
    done: int, expected: int, found: tuple[int, int, float, bool]
) -> None:
    here = next(method(values(), Split.by_class(X, 1)))
    assert (here.number, here.steps) == (1, 4)
    look = Look.at(here, done, expected, 2.0)
    assert (look.done, look.expected, look.whole) == (found[0], found[1], found[3])
    assert look.remaining == pytest.approx(found[2])
    assert str(look).endswith(" remaining" if look.whole else " remaining in this epoch")
    assert f"epoch {here.epoch}, step 1 of 4: 2.0 s elapsed, about {found[2]:.1f} s" in str(look)


def looks(monkeypatch: pytest.MonkeyPatch, runs: Runs, ask: Callable[[Runs], Any]) -> list[Look]:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    found: list[Look] = []
    runs.on_look.append(found.append)
    ask(runs)
    ended(runs)
    return found


def test_a_run_is_as_long_as_its_total_says(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = made(first=False, total=lambda v, split: 4 * v.epochs, retrain=None)
    found = looks(monkeypatch, runs, lambda runs: runs.start(values(epochs=2)))
    assert [(look.done, look.expected) for look in found] == [(k, 8) for k in range(1, 9)]


def test_a_run_is_as_long_as_the_last_one_of_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    found = looks(monkeypatch, made(), lambda runs: runs.start(values()))
    assert [(look.done, look.expected, look.whole) for look in found] == [(k, 4, True) for k in range(1, 5)]


def test_of_other_values_the_present_epoch_is_known_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = looks(monkeypatch, made(retrain=None), lambda runs: runs.start(values(epochs=2)))
    assert [(look.done, look.expected) for look in found] == [(1, 4), (2, 4), (3, 4), (4, 4)] * 2
    assert not any(look.whole for look in found)


def test_looks_keep_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = made(first=False, retrain=None)
    found: list[Look] = []
    runs.on_look.append(found.append)
    monkeypatch.setattr(module, "PAUSE", 1e6)
    runs._begun = runs._looked = 0.0
    runs.start(values())
    ended(runs)
    assert len(found) <= 1


def test_runs_know_no_widget() -> None:
    source = inspect.getsource(module)
    assert "ipywidgets" not in source
    assert not re.search(r"import .*panels\.(controls|panel|unlearn)\b", source)
