"""A whole contest at once: the same numbers as one entry after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.toys import blobs
from tests.unit.test_methods_table import task_of
from unlearn_lib import params
from unlearn_lib.contest import arena as contest_arena
from unlearn_lib.contest.arena import NOTHING, Arena, compete
from unlearn_lib.contest.entries import METHODS
from unlearn_lib.contest.table import Measurement, Table
from unlearn_lib.contest.task import Kind, Task
from unlearn_lib.data import Examples
from unlearn_lib.results import key

TEST = blobs(60, seed=2)
CHOSEN = {name: METHODS[name] for name in ("retrain", "fine-tune", "DeepObliviate")}
TIMED = ("seconds", "speed-up", "prediction time")


def tasks(folder: Path, kind: Kind = "samples") -> list[Task]:
    one = task_of(kind, folder / "0")
    return [one, replace(one, folder=folder / "1", recipe=one.recipe.but(seed=1))]


def untimed(scores: tuple[Measurement, ...]) -> list[tuple[object, ...]]:
    return [(*s[:4], float(s.value).hex()) for s in scores if not s.audit.startswith(TIMED)]


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena.of(tasks(tmp_path_factory.mktemp("arena")), TEST)


@pytest.fixture(scope="module")
def one_by_one(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Table:
    own = arena.apart(tmp_path_factory.mktemp("apart"))

    def scores() -> Iterator[Measurement]:
        for place in (0, 1):
            yield from own.scores(own.nothing(place))
            for method in CHOSEN.values():
                yield from own.scores(own.enter(method, place))

    return Table(tuple(scores()))


def test_a_contest_over_an_executor_is_the_contest_one_by_one(arena: Arena, one_by_one: Table) -> None:
    found = compete([arena], CHOSEN, workers=1)
    assert found.methods == [NOTHING, *CHOSEN]
    assert untimed(found.scores) == untimed(one_by_one.scores)


def test_a_contest_that_was_kept_is_found_again_times_and_all(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {"fine-tune": CHOSEN["fine-tune"]}
    first = compete([arena], some, keep=tmp_path)
    entered: list[int] = []
    before = contest_arena.Arena.enter
    monkeypatch.setattr(Arena, "enter", lambda *given: entered.append(given[2]) or before(*given))
    assert repr(compete([arena], some, keep=tmp_path).scores) == repr(first.scores)  # NaNs and all
    assert entered == []
    again = compete([arena], {"slower": some["fine-tune"].but(epochs=2), **some}, keep=tmp_path)
    assert entered == [0, 1]
    assert again.scores[-1] == first.scores[-1]


def test_methods_that_do_not_apply_are_left_out(tmp_path: Path) -> None:
    refusing = next(method for method in METHODS.values() if "samples" in method.refuses)
    arena = Arena.of(tasks(tmp_path)[:1], TEST)
    assert compete([arena], {refusing.name: refusing}).methods == [NOTHING]
    assert compete([], CHOSEN) == Table(())


def test_an_arena_that_was_kept_has_the_same_models(arena: Arena, tmp_path: Path) -> None:
    def models(one: Arena) -> list[str]:
        found = [*(r.model for r in one.retrained), *(task.original for task in one.tasks)]
        return [params.digest(*params.state(model).values()) for model in found]

    for _ in range(2):
        other = Arena.of(tasks(tmp_path / "tasks"), TEST, keep=tmp_path / "kept")
        assert models(other) == models(arena)
    assert len(list((tmp_path / "kept").rglob("*.safetensors"))) == 2
    again = Arena.of(tasks(tmp_path / "tasks"), TEST, keep=tmp_path / "kept")
    assert again.retrained[0].cost == other.retrained[0].cost
    assert again.tasks[0].seconds == other.tasks[0].seconds


def test_what_determines_an_arena_is_not_what_happened_to_it(arena: Arena, tmp_path: Path) -> None:
    fresh = Arena.of(tasks(tmp_path), TEST)
    assert key(fresh) == key(arena)  # other folders, other reads, other times
    one = task_of("samples", tmp_path)
    changed = [
        replace(one, recipe=one.recipe.but(seed=5)),
        replace(one, batches=2),
        replace(one, target=0.5),
        replace(one, data=Examples(one.data.x + 1, one.data.y, one.data.ids)),
        replace(one, ids=torch.tensor([7])),
        task_of("class", tmp_path),
    ]
    assert len({key(task) for task in (one, *changed)}) == 7
    fine = METHODS["fine-tune"]
    assert key(fine) == key(replace(fine, sentence="another"))
    assert key(fine) != key(fine.but(epochs=2))
