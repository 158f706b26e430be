"""Impostors that beat single metrics without unlearning. A metric that they win is not enough by itself.

The third is to do nothing: ``params.clone(original)``.
"""

from __future__ import annotations

import torch
from torch import nn

from unlearn_lib.params import clone

__all__ = ["mask_logits", "uniform_output"]


def mask_logits(model: nn.Module, *classes: int, value: float = -1e4) -> nn.Module:
    """A copy that cannot answer `classes` although it has forgotten nothing.

    The output bias of these classes is set to `value`. Accuracy on the forget set is 0, retained accuracy is
    intact, every feature is bit-identical to the original's. With the default `value` it is not relearned
    either, for no optimizer moves a bias so far: AIN is fooled as well, a linear probe is not.
    """
    twin = clone(model).eval()
    bias = _last_linear(twin).bias
    if bias is None:
        raise ValueError("`model` must have a bias in its last linear layer to mask a logit with.")
    with torch.no_grad():
        bias[list(classes)] = value
    return twin


def uniform_output(model: nn.Module) -> nn.Module:
    """A copy whose output is the same for every input. Excellent ZRF, useless model."""
    twin = clone(model).eval()
    with torch.no_grad():
        for p in _last_linear(twin).parameters():
            p.zero_()
    return twin


def _last_linear(model: nn.Module) -> nn.Linear:
    found = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not found:
        raise ValueError("`model` must have a linear layer; it has none.")
    return found[-1]
