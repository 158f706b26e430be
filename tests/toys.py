"""Small data and small nets for tests."""

from __future__ import annotations

import torch

from unlearn_lib import models
from unlearn_lib.data import Examples


def blobs(n: int = 120, classes: int = 3, features: int = 5, seed: int = 0) -> Examples:
    """Gaussian blobs in float64, `classes` of them, in turn; a linear net separates them."""
    stream = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, features, generator=stream, dtype=torch.float64)
    y = torch.arange(n) % classes
    x = centres[y] + torch.randn(n, features, generator=stream, dtype=torch.float64)
    return Examples.of(x, y)


def tiny_net(features: int = 5, classes: int = 3, seed: int = 0) -> torch.nn.Module:
    """An MLP in float64 for `blobs`."""
    return models.build("mlp", (features,), classes, seed=seed).double()
