"""Sizes that are derived from the data: they fit, whatever the data are."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unlearn_lib import models
from unlearn_lib.classroom import session
from unlearn_lib.contest.entries import configured
from unlearn_lib.contest.task import KINDS, Task, three_requests
from unlearn_lib.data import DataError, Dataset, Examples, Scale, load, names
from unlearn_lib.lessons.every import LESSONS, PRESETS
from unlearn_lib.methods.amnesiac import packed
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks
from unlearn_lib.methods.sisa import partition
from unlearn_lib.methods.unsir import retain_subset


def made(name: str, shape: tuple[int, ...], counts: list[int], tested: int = 4) -> Dataset:
    """Noise of this shape, so many training samples of each class, and `tested` of each for testing."""
    stream, parts = torch.Generator().manual_seed(0), []
    for each in (counts, [tested] * len(counts)):
        y = torch.cat([torch.full((n,), k) for k, n in enumerate(each)])
        x = torch.randint(0, 256, (len(y), *shape), dtype=torch.uint8, generator=stream)
        parts.append(Examples.of(x, y, Scale.of(x)))
    return Dataset(name, *parts, tuple(f"c{k}" for k in range(len(counts))), "made just now")


DATA = {
    "gray, large": made("fashion_mnist", (1, 28, 28), [700] * 10, 40),
    "color, large": made("svhn", (3, 32, 32), [400] * 10, 40),
    "a hundred classes": made("cifar100", (3, 32, 32), [60] * 100),
    "vectors": made("location30", (446,), [90] * 30),
    "a folder": made("image_folder", (3, 32, 32), [60] * 4),
    "a small folder": made("image_folder", (3, 16, 24), [20] * 3),
    "tiny images": made("image_folder", (3, 4, 4), [60] * 3),
    "one pixel": made("image_folder", (3, 1, 1), [60] * 5),
    "large images": made("image_folder", (3, 64, 64), [60] * 3),
    "uneven classes": made("image_folder", (3, 16, 16), [300, 12, 40, 150]),
    "two classes": made("image_folder", (3, 16, 16), [90, 70]),
    "few of a published set": made("mnist", (1, 28, 28), [30] * 10),
}


def enough(lesson: str, data: Dataset) -> bool:
    """Whether data have the classes and the samples that a lesson needs."""
    needs = LESSONS[lesson].needs
    return len(data.classes) >= needs.classes and len(data.train) >= needs.samples


CASES = {
    lesson: [
        pytest.param(kind, preset, id=f"{kind}, {preset}")
        for kind in DATA
        for preset in ("quick", "full")
        if enough(lesson, DATA[kind])
    ]
    for lesson in LESSONS
}


def cases(lesson: str) -> pytest.MarkDecorator:
    """The data that this lesson takes."""
    return pytest.mark.parametrize(("kind", "preset"), CASES[lesson])


def sizes_of(lesson: str, kind: str, preset: str) -> tuple[Any, Examples, Examples]:
    """The derived sizes, and the data cut to them."""
    sizes = LESSONS[lesson].sizes_for(DATA[kind], preset)
    return sizes, DATA[kind].train.head(sizes.train), DATA[kind].test.head(sizes.test)


def ends(dataset: Dataset) -> set[int]:
    """The first class, the smallest and the largest."""
    counts = dataset.train.y.bincount()
    return {0, int(counts.argmin()), int(counts.argmax())}


each_lesson = pytest.mark.parametrize("lesson", LESSONS)
each_preset = pytest.mark.parametrize("preset", ["quick", "lesson", "full"])


@each_lesson
def test_every_lesson_lists_every_data_set_that_there_is(lesson: str) -> None:
    assert set(PRESETS[lesson]) == set(names())


@each_lesson
@each_preset
def test_measured_sizes_stay_as_they_are(lesson: str, preset: str, digits: Dataset) -> None:
    found = LESSONS[lesson]
    assert found.measured(digits)
    assert found.sizes_for(digits, preset) is found.sizes["digits"].at(preset)
    if found.limits:
        assert found.limits_for(digits, preset) is found.limits["digits"].at(preset)


@pytest.mark.parametrize(
    ("lesson", "kind", "preset"),
    [pytest.param(one, *case.values, id=f"{one}, {case.id}") for one in LESSONS for case in CASES[one]],
)
def test_derived_sizes_are_complete_and_the_nets_take_the_data(lesson: str, kind: str, preset: str) -> None:
    sizes, train, test = sizes_of(lesson, kind, preset)
    assert not LESSONS[lesson].measured(DATA[kind])
    assert LESSONS[lesson].limits_for(DATA[kind], preset) == LESSONS[lesson].no_limits
    assert sizes.recipe.batch_size <= len(train) // 10
    assert len(test) <= len(DATA[kind].test)
    assert set(train.y.tolist()) == set(DATA[kind].train.y.tolist()), "every class is there to be learned"
    shape, classes = DATA[kind].shape, len(DATA[kind].classes)
    with torch.device("meta"):
        names = [getattr(sizes, net) for net in ("model", "normed") if hasattr(sizes, net)]
        nets = [models.MODELS[name](shape, classes) for name in names]
        for net in nets:
            assert net(torch.empty(4, *shape)).shape == (4, classes)
    if hasattr(sizes, "normed"):
        assert any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in nets[1].modules())


@cases("start")
def test_lesson_00_has_enough_to_forget_and_to_keep(kind: str, preset: str) -> None:
    sizes, train, _ = sizes_of("start", kind, preset)
    assert 2 <= sizes.forget <= len(train) // 2
    assert 2 <= sizes.poisoned <= int((train.y != 0).sum())


@cases("deepobliviate")
def test_lesson_01_forgets_a_part_of_a_block_with_blocks_after_it(kind: str, preset: str) -> None:
    sizes, train, _ = sizes_of("deepobliviate", kind, preset)
    blocks = cut_into_blocks(train, sizes.blocks, 0)
    least = min(map(len, blocks))
    assert 1 <= sizes.forget < least
    assert 1 <= sizes.block <= len(blocks) - 8
    assert 1 <= sizes.poisoned_block <= len(blocks)
    assert 1 <= sizes.poisoned < least, "a block that is all forgotten has nothing to learn"


@cases("unsir")
def test_lesson_02_finds_its_retain_images_whatever_the_class(kind: str, preset: str) -> None:
    sizes, train, _ = sizes_of("unsir", kind, preset)
    for label in ends(DATA[kind]):
        retain_subset(train, [label], sizes.per_class)


@cases("partial")
def test_lesson_03_packs_every_class_into_its_batches(kind: str, preset: str) -> None:
    sizes, train, _ = sizes_of("partial", kind, preset)
    for label in ends(DATA[kind]):
        order = packed(train.ids[train.y == label], sizes.batches, sizes.recipe)
        assert len(order(train.ids, 1)) == len(train)


@cases("pgu")
def test_lesson_04_tests_and_validates_with_every_class(kind: str, preset: str) -> None:
    sizes, train, test = sizes_of("pgu", kind, preset)
    validation = test.head(len(test) // 2)
    for part in (validation, test.without(validation.ids)):
        assert set(part.y.tolist()) == set(train.y.tolist())
    assert 2 <= sizes.samples <= len(train) // 2


@cases("side_by_side")
def test_lesson_09_has_room_for_its_requests_and_its_attack(kind: str, preset: str, tmp_path: Path) -> None:
    sizes, train, _ = sizes_of("side_by_side", kind, preset)
    validation = train.head(sizes.validation)
    base = train.without(validation.ids)
    recipe, cells = sizes.recipe, configured(sizes.tuned)["SISA"].settings
    net = models.build("mlp", DATA[kind].shape, len(DATA[kind].classes))
    for label in ends(DATA[kind]):
        requests = three_requests(base, label, sizes.forget, sizes.poisoned)
        for which in KINDS:
            part, ids, backdoor = requests[which]
            task = Task(which, part, ids, validation, recipe, net, tmp_path, backdoor)
            assert len(task.order(part.ids, 1)) == len(part)
            partition(part, cells.shards, cells.slices)
    single = three_requests(base, 0, sizes.forget, sizes.poisoned)["samples"].ids
    assert len(base.without(single)) >= sizes.base + sizes.candidates
    assert sizes.candidates >= 2
    assert sizes.base >= 4 * sizes.candidates // 2
    left = base.without(single).y.bincount()
    assert int(left[left > 0].min()) >= 3, "a lesson's failure needs three images of each class"


@each_lesson
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (made("image_folder", (3, 65, 20), [90] * 3), "at most 64x64 pixels"),
        (made("image_folder", (20_000,), [60] * 3), "at most 10,000 values"),
        (made("image_folder", (3, 8, 8), [10] * 3), "training samples in this lesson"),
        (made("image_folder", (3, 8, 8), [300, 1, 300]), "of each class"),
        (made("image_folder", (3, 8, 8), [90] * 3, tested=1), "2 test samples of each"),
        (made("image_folder", (3, 8, 8), [90]), "classes in this lesson"),
        (made("image_folder", (8, 8), [90] * 3), "images or vectors"),
    ],
)
def test_data_that_do_not_fit_are_refused_with_what_is_needed(
    lesson: str, dataset: Dataset, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LESSONS[lesson].sizes_for(dataset, "quick")


@each_lesson
def test_a_lesson_begins_with_a_folder_of_photographs(lesson: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("cat", "dog", "mouse"):
        (tmp_path / name).mkdir()
        for i in range(70):
            size = (90 + i % 2, 60, 3)
            Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        begun = session.begin(LESSONS[lesson], preset="quick", dataset=str(tmp_path), device="cpu")
    assert begun.dataset.shape == (3, 32, 32)
    assert not begun.measured
    assert begun.dataset.classes == ("cat", "dog", "mouse")
    assert "fitted to these data" in said.getvalue()
    assert "scaled to 32x32" in said.getvalue()


def test_a_folder_that_is_missing_is_refused_by_the_first_cell(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        session.begin(LESSONS["start"], preset="quick", dataset=str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"`dataset` must be one of digits, .*; or the path of a folder"):
        session.begin(LESSONS["start"], preset="quick", dataset="pets")


@pytest.mark.data
@each_lesson
@each_preset
def test_real_data_keep_the_sizes_that_were_measured(lesson: str, preset: str, unlearn_data: str) -> None:
    for name, presets in LESSONS[lesson].sizes.items():
        assert LESSONS[lesson].sizes_for(load(name, unlearn_data), preset) is presets.at(preset)
