"""Impostors that beat single metrics without unlearning. A metric that they win is not enough by itself.

The third is to do nothing: ``params.clone(original)``.

In an `nn.Sequential` that ends in a linear layer, this layer makes the outputs, so its parameters are
changed. In any other net the order of definition tells nothing, so the outputs themselves are changed, by a
hook that the copy and its copies carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.params import clone

__all__ = ["mask_logits", "uniform_output"]


def mask_logits(model: nn.Module, *classes: int, value: float = -1e4) -> nn.Module:
    """A copy that cannot answer `classes` although it has forgotten nothing.

    The output bias of these classes is set to `value` (a hook adds `value` to their outputs). Accuracy on the
    forget set is 0, retained accuracy is intact, and every feature is bit-identical to the original's. With
    the default `value` the class is not relearned either, because no optimizer moves a bias so far. So AIN is
    fooled as well; a linear probe is not.

    Raises:
        ValueError: no class is given, or the model has no output for one; a hook raises this when it runs.
    """
    rows, amount = check.classes(classes), check.number("value", value)
    twin = clone(model).eval()
    head = _head(twin)
    if head is None or head.bias is None:
        _inner(twin).register_forward_hook(_Masked(rows, amount))
        return twin
    _require(rows, len(head.bias))
    with torch.no_grad():
        head.bias[list(rows)] = amount
    return twin


def uniform_output(model: nn.Module) -> nn.Module:
    """A copy whose output is the same for every input. Excellent ZRF, useless model.

    A hook cannot be trained away; a last linear layer of zeros can learn again.
    """
    twin = clone(model).eval()
    head = _head(twin)
    if head is None:
        _inner(twin).register_forward_hook(_flat)
        return twin
    with torch.no_grad():
        for p in head.parameters():
            p.zero_()
    return twin


@dataclass(frozen=True)
class _Masked:
    """A hook that lowers the outputs of these classes."""

    classes: tuple[int, ...]
    value: float

    def __call__(self, _: nn.Module, __: tuple[Any, ...], outputs: Tensor) -> Tensor:
        _require(self.classes, outputs.shape[1])
        shift = torch.zeros_like(outputs)
        shift[:, list(self.classes)] = self.value
        return outputs + shift


def _flat(_: nn.Module, __: tuple[Any, ...], outputs: Tensor) -> Tensor:
    return outputs * 0


def _head(model: nn.Module) -> nn.Linear | None:
    """The layer that makes the outputs and nothing else, if the model's structure tells."""
    last = _inner(model)
    while isinstance(last, nn.Sequential) and type(last).forward is nn.Sequential.forward and len(last):
        last = last[-1]
    if type(last) is not nn.Linear:
        return None
    own = {p.data_ptr() for p in last.parameters()}
    uses = sum(p.data_ptr() in own for _, p in model.named_parameters(remove_duplicate=False))
    return last if uses == len(own) else None  # tied weights would change elsewhere too


def _inner(model: nn.Module) -> nn.Module:
    """The net itself if it was compiled: its copies lose the wrapper's hooks."""
    return getattr(model, "_orig_mod", model)


def _require(classes: tuple[int, ...], outputs: int) -> None:
    if max(classes) >= outputs:
        raise ValueError(
            f"`classes` must be in 0 ... {outputs - 1}, the model's outputs; got {max(classes)}."
        )
