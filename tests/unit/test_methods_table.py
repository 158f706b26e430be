"""The laws of every method, over the one table of them: each row on each request that it applies to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toys import blobs, tiny_net
from unlearn_lib.contest.entries import METHODS, configured, sisa
from unlearn_lib.contest.entries import deepobliviate as chain
from unlearn_lib.contest.entries import unsir as noise
from unlearn_lib.contest.method import Method, Settings, learner, plain
from unlearn_lib.contest.task import KINDS, Kind, Task
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.backdoor import corner_trigger, poison
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, Step, run

pytestmark = pytest.mark.filterwarnings("ignore:the model has not learned")

ROWS = [(kind, name) for kind in KINDS for name, method in METHODS.items() if kind not in method.refuses]
REFUSED = [(kind, name) for kind in KINDS for name, method in METHODS.items() if kind in method.refuses]
SMALL = configured(
    {
        "SISA": sisa.Settings(shards=2, slices=2),
        "DeepObliviate": chain.Settings(blocks=4, epochs=2),
        "UNSIR": noise.Settings(images=8),
    }
)
rows = pytest.mark.parametrize(("kind", "name"), ROWS)


def task_of(kind: Kind, folder: Path, dtype: torch.dtype = torch.float64) -> Task:
    """A request on blobs."""
    data: Examples = blobs(60)
    ids = data.ids[data.y == 1] if kind == "class" else data.ids[:6]
    backdoor = None
    if kind == "backdoor":
        trigger = corner_trigger((5,), 6.0)
        ids = data.ids[data.y != 0][:6]
        data, backdoor = poison(data, ids, 0, trigger), (trigger, 0)
    data = replace(data, x=data.x.to(dtype))
    seen = blobs(30, seed=1)
    unseen = replace(seen, x=seen.x.to(dtype), ids=seen.ids + 1_000)
    recipe = Recipe("adam", lr=0.01, batch_size=10, epochs=4)
    return Task(
        kind=kind,
        data=data,
        ids=ids,
        validation=unseen,
        recipe=recipe,
        initial=tiny_net().to(dtype),
        folder=folder,
        backdoor=backdoor,
        batches=3,
    )


def drive(method: Method[Any], task: Task) -> tuple[Any, list[Step], dict[str, torch.Tensor], Any]:
    """Result, steps, the state before, and the kit."""
    kit = method.kit(task)
    before, steps = {k: v.clone() for k, v in state(kit.original).items()}, []
    result = run(method.begin(task, kit), [steps.append])
    return result, steps, before, kit


@rows
def test_every_method_leaves_its_arguments_as_they_are_and_takes_a_step(
    kind: Kind, name: str, tmp_path: Path
) -> None:
    task = task_of(kind, tmp_path)
    first, x = clone(task.initial), task.data.x.clone()
    _, steps, before, kit = drive(SMALL[name], task)
    assert steps
    assert all(torch.equal(before[key], value) for key, value in state(kit.original).items())
    assert all(torch.equal(state(first)[key], value) for key, value in state(task.initial).items())
    assert torch.equal(task.data.x, x)


@rows
def test_every_method_gives_the_same_bits_twice(kind: Kind, name: str, tmp_path: Path) -> None:
    one, two = (state(drive(SMALL[name], task_of(kind, tmp_path / folder))[0].model) for folder in ("a", "b"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@rows
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_method_keeps_type_and_device(
    kind: Kind, name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    task = task_of(kind, tmp_path, dtype)
    model = drive(SMALL[name], task)[0].model
    assert not model.training
    assert {(p.dtype, p.device) for p in model.parameters()} == {(dtype, torch.device("cpu"))}


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_a_method_that_does_not_apply_says_why(kind: Kind, name: str, tmp_path: Path) -> None:
    task = task_of(kind, tmp_path)
    with pytest.raises(ValueError, match=f"`kind` must not be '{kind}' for {name}: .{{20}}"):
        SMALL[name].begin(task, plain(task))
    assert METHODS[name].refuses[kind].endswith(".")


def test_a_bad_request_is_refused_before_any_method_sees_it(tmp_path: Path) -> None:
    good = task_of("samples", tmp_path)
    with pytest.raises(ValueError, match="every sample of a class"):
        replace(good, kind="class")
    with pytest.raises(ValueError, match="`ids` must be ids of this set"):
        _ = replace(good, ids=torch.tensor([999])).split


def test_what_stores_by_batch_has_the_plain_original_to_the_last_bit(tmp_path: Path) -> None:
    task = task_of("samples", tmp_path)
    plain = state(task.original)
    for name in ("amnesiac", "partial amnesiac", "PGU samples"):
        own = state(SMALL[name].kit(task).original)
        assert all(torch.equal(plain[key], own[key]) for key in plain), name


def test_exact_methods_never_read_the_forget_set_at_request_time(tmp_path: Path) -> None:
    for name in ("retrain", "SISA", "DeepObliviate", "fine-tune"):
        task = task_of("samples", tmp_path / name)
        kit = SMALL[name].kit(task)
        task.data.reads.clear()  # type: ignore[attr-defined]
        run(SMALL[name].begin(task, kit))
        assert task.data.reads, name  # type: ignore[attr-defined]
        assert not set(task.data.reads) & set(task.ids.tolist()), name  # type: ignore[attr-defined]


def test_a_learners_function_gets_a_copy_and_must_return_a_model(tmp_path: Path) -> None:
    def spoil(model: torch.nn.Module, split: Split) -> torch.nn.Module:
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
        return model

    task = task_of("class", tmp_path)
    result, _, before, kit = drive(learner(spoil), task)
    assert all(torch.equal(before[key], value) for key, value in state(kit.original).items())
    assert all((p == 0).all() for p in result.model.parameters())
    with pytest.raises(TypeError, match="must return the unlearned model; got int"):
        drive(learner(lambda model, split: 1), task)  # type: ignore[arg-type,return-value]


ALL = pytest.mark.parametrize("name", METHODS)


@ALL
def test_every_grid_holds_settings_that_its_method_takes(name: str) -> None:
    method = METHODS[name]
    for setting, values in method.grid.items():
        for value in values:
            assert getattr(method.but(**{setting: value}).settings, setting) == value


@ALL
def test_a_setting_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"`changes` must be .*; got 'nonsense'"):
        METHODS[name].but(nonsense=1)


def test_settings_are_checked_when_they_are_made() -> None:
    with pytest.raises(ValueError, match="`images` must be at least 1; got 0"):
        noise.Settings(images=0)
    with pytest.raises(ValueError, match="`penalty` must be zero or more, and finite; got -1"):
        noise.Settings(penalty=-1)
    with pytest.raises(ValueError, match=r"`energy` must be in \[0, 1\]; got 2"):
        METHODS["PGU class"].but(energy=2)


def test_methods_that_are_not_named_keep_their_settings() -> None:
    found = configured({"UNSIR": noise.Settings(images=3)})
    assert list(found) == list(METHODS)
    assert found["UNSIR"].settings.images == 3
    assert all(found[name] == METHODS[name] for name in METHODS if name != "UNSIR")
    with pytest.raises(ValueError, match='`settings` must be "retrain"'):
        configured({"nobody": Settings()})
    with pytest.raises(TypeError, match=r"`settings\['UNSIR'\]`"):
        configured({"UNSIR": Settings()})
