"""Small data and small nets for tests."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import torch

from unlearn_lib import models
from unlearn_lib.data import Examples
from unlearn_lib.methods.deepobliviate import Chain, train_chain
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, Step


def blobs(n: int = 120, classes: int = 3, features: int = 5, seed: int = 0) -> Examples:
    """Gaussian blobs in float64, `classes` of them, in turn; a linear net separates them."""
    stream = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, features, generator=stream, dtype=torch.float64)
    y = torch.arange(n) % classes
    x = centres[y] + torch.randn(n, features, generator=stream, dtype=torch.float64)
    return Examples.of(x, y)


def tiny_net(features: int = 5, classes: int = 3, seed: int = 0) -> torch.nn.Sequential:
    """An MLP in float64 for `blobs`."""
    return models.build("mlp", (features,), classes, seed=seed).double()


CHAIN_RECIPE = Recipe(epochs=2, batch_size=5, lr=0.05)


def chain_steps(folder: Path, blocks: int = 12) -> Generator[Step, None, Chain]:
    """Training of a small chain on blobs, with dropout, so that its random stream matters too."""
    net = tiny_net()
    net.insert(3, torch.nn.Dropout(0.2))
    return train_chain(net, blobs(), CHAIN_RECIPE, blocks, Folder(folder))


def train_chain_slowly(folder: Path) -> None:
    """To be killed from outside."""
    for _ in chain_steps(folder):
        time.sleep(0.01)
