"""Augmentation keyed by seed, epoch and id: repeated exactly, and no sample's depends on another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import unlearn_lib as ul
from unlearn_lib.augment import augmented
from unlearn_lib.data import keyed
from unlearn_lib.train import train

STREAM = torch.Generator().manual_seed(0)
X = torch.rand(200, 2, 8, 16, generator=STREAM) + 1
IDS = torch.arange(200) * 7 + 3


def slow_crop(x: Tensor, ids: Tensor, *key: int) -> Tensor:
    """One picture after the other, cut out of a larger one."""
    found = []
    for picture, number in zip(x, keyed(ids, *key, 12).tolist(), strict=True):
        (h, w), down, right = picture.shape[1:], (number >> 32) % 3, (number & (2**32 - 1)) % 5
        found.append(F.pad(picture, (2, 2, 1, 1))[:, down : down + h, right : right + w])
    return torch.stack(found)


def slow_flip(x: Tensor, ids: Tensor, *key: int) -> Tensor:
    numbers = keyed(ids, *key, 11).tolist()
    return torch.stack([p.flip(2) if n >= 2**63 else p for p, n in zip(x, numbers, strict=True)])


def test_pictures_are_flipped_and_moved_as_the_slow_twin_does() -> None:
    assert torch.equal(augmented(X, IDS, ["crop"], 5, 1), slow_crop(X, IDS, 5, 1))
    assert torch.equal(augmented(X, IDS, ["flip"], 5, 1), slow_flip(X, IDS, 5, 1))
    both = slow_crop(slow_flip(X, IDS, 5, 1), IDS, 5, 1)
    assert torch.equal(augmented(X, IDS, ("flip", "crop"), 5, 1), both)
    assert augmented(X, IDS, (), 5, 1) is X


def test_what_happens_to_a_picture_does_not_depend_on_the_others() -> None:
    whole = augmented(X, IDS, ("flip", "crop"), 0, 3)
    order = torch.randperm(200, generator=STREAM)[:50]
    assert torch.equal(augmented(X[order], IDS[order], ("flip", "crop"), 0, 3), whole[order])
    assert torch.equal(augmented(X[:1], IDS[:1], ("flip", "crop"), 0, 3), whole[:1])


def test_half_are_flipped_and_every_shift_occurs() -> None:
    flipped = (augmented(X, IDS, ["flip"], 0) != X).flatten(1).any(1)
    assert 70 < int(flipped.sum()) < 130
    corners = torch.zeros(1000, 1, 8, 8)
    corners[:, :, 4, 4] = 1
    moved = augmented(corners, torch.arange(1000), ["crop"], 0)
    places = {tuple(place) for place in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert places == {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)}
    small = augmented(torch.ones(50, 1, 4, 4), torch.arange(50), ["crop"], 0)
    assert small.flatten(1).min(1).values.eq(0).any()  # by at least one, however small the picture
    again = augmented(X, IDS, ["flip"], 1)
    assert not torch.equal(augmented(X, IDS, ["flip"], 0), again)


def pictures(n: int = 30) -> ul.Examples:
    return ul.Examples.of(X[:n, :, :, :8], torch.arange(n) % 3)


RECIPE = ul.Recipe(lr=0.05, batch_size=10, epochs=2, augment=("flip", "crop"))


def seen(data: ul.Examples, recipe: ul.Recipe = RECIPE, block: int = 0) -> dict[tuple[int, int], Tensor]:
    """What the net was shown of each sample in each epoch."""
    net = ul.build("mlp", (2, 8, 8), 3)
    return {
        (step.epoch, i): x
        for step in train(net, data, recipe, block=block)
        for i, x in zip(step.batch.ids.tolist(), step.batch.x, strict=True)
    }


def test_a_run_shows_each_sample_what_its_seed_block_and_epoch_say() -> None:
    shown, again, fewer = seen(pictures()), seen(pictures()), seen(pictures().without([4, 5, 11]))
    assert all(torch.equal(x, again[key]) for key, x in shown.items())
    assert all(torch.equal(x, shown[key]) for key, x in fewer.items())
    for other in (seen(pictures(), RECIPE.but(seed=1)), seen(pictures(), block=2)):
        assert not all(torch.equal(x, other[key]) for key, x in shown.items())
    assert not all(torch.equal(shown[1, i], shown[2, i]) for i in range(30))
    plain = seen(pictures(), RECIPE.but(augment=()))
    assert all(torch.equal(x, pictures().x[i]) for (_, i), x in plain.items())


def test_a_block_is_retrained_on_the_pictures_that_it_saw(tmp_path: Path) -> None:
    chain = ul.run(ul.train_chain(ul.build("mlp", (2, 8, 8), 3), pictures(), RECIPE, 3, tmp_path))
    assert ul.run(ul.deepobliviate(chain, [], restart=2)).trace.reason == "identical"
    assert (
        ul.run(ul.train_chain(ul.build("mlp", (2, 8, 8), 3), pictures(), RECIPE, 3, tmp_path)).recipe
        == RECIPE
    )


@pytest.mark.parametrize("shape", [(30, 5), (30, 8, 8)])
def test_inputs_that_are_no_pictures_are_refused(shape: tuple[int, ...]) -> None:
    data = ul.Examples.of(torch.rand(shape, generator=STREAM), torch.arange(30) % 3)
    with pytest.raises(ValueError, match=r"`recipe\.augment` is for pictures .*got inputs \["):
        next(train(ul.build("mlp", shape[1:], 3), data, RECIPE))
