"""Parameters as values. An update, a stored model and a residual are all `Params`; the arithmetic is here.

Only trainable parameters take part in arithmetic. Buffers (batch norm's running statistics and counters) are
never added or subtracted: a running variance minus another may be negative, and a counter is an integer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = [
    "Params",
    "add",
    "assign",
    "clone",
    "frozen_copy",
    "l1",
    "l2",
    "scale",
    "snapshot",
    "state",
    "subtract",
]

Params = dict[str, Tensor]


def snapshot(model: nn.Module) -> Params:
    """A copy of the trainable parameters; later training does not change it."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def state(model: nn.Module) -> Params:
    """A copy of everything a model remembers: all parameters and all buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assign(model: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Write `params` into the model, in place. Names may be a part of the model's (buffers included).

    Raises:
        ValueError: the model has no such name, or the shape differs; nothing is written then.
    """
    own = model.state_dict()
    for name, value in params.items():
        if name not in own:
            raise ValueError(f"`params` names {name!r}, which the model does not have.")
        if own[name].shape != value.shape:
            raise ValueError(f"`{name}` must have shape {list(own[name].shape)}; got {list(value.shape)}.")
    with torch.no_grad():
        for name, value in params.items():
            own[name].copy_(value)


def clone(model: nn.Module) -> nn.Module:
    """A deep copy without gradients. Methods change a copy: a cell run twice gives the same answer."""
    twin = copy.deepcopy(model)
    twin.zero_grad(set_to_none=True)
    return twin


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters take no gradient."""
    return clone(model).eval().requires_grad_(False)


def add(a: Params, b: Params) -> Params:
    """a + b, tensor by tensor."""
    return {name: a[name] + b[name] for name in a}


def subtract(a: Params, b: Params) -> Params:
    """a - b, tensor by tensor."""
    return {name: a[name] - b[name] for name in a}


def scale(a: Params, factor: float) -> Params:
    """factor * a, tensor by tensor."""
    return {name: value * factor for name, value in a.items()}


def l1(a: Params) -> float:
    """Sum of absolute values over all tensors, accumulated in float64."""
    return sum(float(value.abs().sum(dtype=torch.float64)) for value in a.values())


def l2(a: Params) -> float:
    """Euclidean norm over all tensors, accumulated in float64."""
    return math.sqrt(sum(float(value.double().square().sum()) for value in a.values()))
