"""Small networks. Only those ending in "_bn" and `resnet18` have batch norm, whose statistics remember.

A builder takes the shape of one sample and the number of classes: ``build("mlp", (1, 8, 8), 10)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from unlearn_lib import check

__all__ = [
    "MODELS",
    "build",
    "lenet5",
    "lenet5_dropout",
    "mlp",
    "mlp_bn",
    "resnet18",
    "small_cnn",
    "small_cnn_bn",
]


def mlp(shape: tuple[int, ...], classes: int, hidden: int = 32) -> nn.Sequential:
    """One hidden layer of ReLU units; 2,410 parameters on 8x8 digits."""
    shape, classes = _sizes(shape, classes)
    check.whole("hidden", hidden, 1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def mlp_bn(shape: tuple[int, ...], classes: int, hidden: int = 32) -> nn.Sequential:
    """`mlp` with batch norm before the ReLU: for samples that are not images."""
    flatten, first, relu, last = mlp(shape, classes, hidden)
    return nn.Sequential(flatten, first, nn.BatchNorm1d(hidden), relu, last)


def small_cnn(shape: tuple[int, ...], classes: int, *, batch_norm: bool = False) -> nn.Sequential:
    """Two 3x3 convolutions (the second with stride 2) and two linear layers, ReLU between them."""
    (channels, height, width), classes = _sizes(shape, classes, image=True)
    check.flag("batch_norm", batch_norm)
    flat = 64 * math.ceil(height / 2) * math.ceil(width / 2)
    conv1, conv2 = nn.Conv2d(channels, 32, 3, padding=1), nn.Conv2d(32, 64, 3, stride=2, padding=1)
    fc1, fc2 = nn.Linear(flat, 64), nn.Linear(64, classes)
    if not batch_norm:
        return nn.Sequential(conv1, nn.ReLU(), conv2, nn.ReLU(), nn.Flatten(), fc1, nn.ReLU(), fc2)
    norms = nn.BatchNorm2d(32), nn.BatchNorm2d(64), nn.BatchNorm1d(64)
    return nn.Sequential(
        *(conv1, norms[0], nn.ReLU()),
        *(conv2, norms[1], nn.ReLU(), nn.Flatten()),
        *(fc1, norms[2], nn.ReLU(), fc2),
    )


def small_cnn_bn(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """`small_cnn` with batch norm after the first three layers."""
    return small_cnn(shape, classes, batch_norm=True)


def lenet5(shape: tuple[int, ...], classes: int, *, dropout: float = 0.0) -> nn.Sequential:
    """LeNet-5 (LeCun et al., Proc. IEEE 1998) with ReLU and max pooling; 61,706 parameters on 28x28."""
    (channels, height, width), classes = _sizes(shape, classes, image=True)
    check.number("dropout", dropout, "[0, 1)")
    flat = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    if flat <= 0:
        raise ValueError(f"`shape` must be at least 12x12 for lenet5; got {height}x{width}.")
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *([nn.Dropout(dropout)] if dropout else []),
        *(nn.Linear(flat, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)),
    )


def lenet5_dropout(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """`lenet5` with dropout 0.3 before the linear layers: steadier when learning from small blocks."""
    return lenet5(shape, classes, dropout=0.3)


def resnet18(shape: tuple[int, ...], classes: int) -> nn.Module:
    """torchvision's ResNet-18, untrained, with the usual stem for small images (3x3, no pooling)."""
    from torchvision.models import resnet18 as build_resnet18

    shape, classes = _sizes(shape, classes, image=True)
    net: nn.Module = build_resnet18(weights=None, num_classes=classes)
    net.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


MODELS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "small_cnn_bn": small_cnn_bn,
    "lenet5": lenet5,
    "lenet5_dropout": lenet5_dropout,
    "resnet18": resnet18,
    "mlp_bn": mlp_bn,
}


def build(
    name: str, shape: tuple[int, ...], classes: int, *, seed: int = 0, device: torch.device | str = "cpu"
) -> nn.Module:
    """A fresh network. `seed` determines the weights; the global random stream is left untouched.

    Raises:
        ValueError: the name is unknown, a size is below 1, torch cannot take the seed, or there is no such
            device here.
        TypeError: a size or the seed is not a whole number.

    Example:
        >>> ul.build("mlp", (1, 8, 8), classes=10)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"`name` must be one of {', '.join(MODELS)}; got {name!r}.")
    check.whole("seed", seed, -(2**63), 2**64 - 1)
    where = check.device("device", device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return MODELS[name](shape, classes).to(where)


def _sizes(shape: Any, classes: Any, *, image: bool = False) -> tuple[tuple[int, ...], int]:
    """The shape of a sample and the number of classes, whole and at least 1; an image has three sizes."""
    sizes = list(check.fit("shape", shape, Sequence[int]))
    if not sizes or (image and len(sizes) != 3):
        wanted = "(channels, height, width)" if image else "the sizes of one sample"
        raise ValueError(f"`shape` must be {wanted}; got {check.brief(shape)}.")
    return tuple(check.whole("shape", size, 1) for size in sizes), check.whole("classes", classes, 1)
