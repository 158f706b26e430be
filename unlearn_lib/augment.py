"""Augmentation of pictures that repeats itself: what happens to a sample depends on seed, epoch and id alone.

So a run that is repeated sees the same pictures, a sample that goes takes no other's luck along, and a block
that is trained again learns from what it learned from the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.data import keyed

__all__ = ["KINDS", "augmented"]

_SALT = {"flip": 11, "crop": 12}  # what a seed is used for


def augmented(
    x: Float[Tensor, b * sizes], ids: Int[Tensor, " b"], kinds: Sequence[str], *key: int
) -> Float[Tensor, b * sizes]:
    """The pictures, each changed as its id and the key say.

    Args:
        x: [b, channels, height, width], as network inputs.
        ids: of the samples.
        kinds: in this order: "flip" mirrors every other picture left to right; "crop" moves it by up to an
            eighth of its height and width, with zeros (the mean color, where inputs are scaled) at the rim.
        key: such as seed, block and epoch.

    Raises:
        ValueError: unknown kind, or these are no pictures.
    """
    if check.instance("x", x, Tensor).ndim != 4:
        raise ValueError(
            f"`recipe.augment` is for pictures [n, channels, height, width]; got inputs {list(x.shape[1:])}."
        )
    for kind in kinds:
        numbers = keyed(ids, *key, _SALT[check.choice("augment", kind, KINDS)])
        x = KINDS[kind](x, numbers)
    return x


def _flip(x: Tensor, numbers: np.ndarray) -> Tensor:
    mirrored = torch.from_numpy(numbers >> np.uint64(63) == 1).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _crop(x: Tensor, numbers: np.ndarray) -> Tensor:
    (b, c, h, w), index = x.shape, torch.arange
    rim = (max(1, h // 8), max(1, w // 8))
    padded = F.pad(x, (rim[1], rim[1], rim[0], rim[0]))
    down, right = (
        torch.from_numpy((part % np.uint64(2 * r + 1)).astype(np.int64))
        for part, r in zip((numbers >> np.uint64(32), numbers & np.uint64(2**32 - 1)), rim, strict=True)
    )
    rows, columns = down[:, None] + index(h), right[:, None] + index(w)
    place = (
        index(b)[:, None, None, None],
        index(c)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    )
    return padded[tuple(axis.to(x.device) for axis in place)]


KINDS: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {"flip": _flip, "crop": _crop}
