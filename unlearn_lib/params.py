"""Parameters as values. An update, a stored model and a residual are all `Params`; the arithmetic is here.

Only trainable parameters take part in arithmetic. Buffers (batch norm's running statistics and counters) are
never added or subtracted: a difference of running variances may be negative, and a counter is an integer.

A tensor is listed once, however many names it has. Of tied weights (one parameter in two modules, or a
parameter that is a view of another, such as its transpose) only the first is listed, so that it is added,
stored and undone once.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from unlearn_lib import check

__all__ = [
    "Params",
    "add",
    "assign",
    "batch_norms",
    "clone",
    "digest",
    "frozen_copy",
    "gradients",
    "l1",
    "l2",
    "scale",
    "snapshot",
    "state",
    "subtract",
    "tensors",
    "trainable",
]

Params = dict[str, Tensor]


def tensors(model: nn.Module) -> Params:
    """Everything a model remembers, each tensor once: the parameters and buffers themselves, not copies.

    Raises:
        ValueError: two tensors share some entries, but neither holds all of the other's.
    """
    own, shared = _named(model)
    return {name: value for name, value in own.items() if name not in shared}


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, each once: themselves, not copies."""
    return {n: p for n, p in tensors(model).items() if isinstance(p, nn.Parameter) and p.requires_grad}


def copied(own: Mapping[str, Tensor]) -> Params:
    """Copies of these tensors; later training does not change them."""
    return {name: value.detach().clone() for name, value in own.items()}


def snapshot(model: nn.Module) -> Params:
    """A copy of the trainable parameters."""
    return copied(trainable(model))


def state(model: nn.Module) -> Params:
    """A copy of everything a model remembers: all parameters and all buffers, each once."""
    return copied(tensors(model))


def gradients(model: nn.Module) -> Params:
    """The gradient of every trainable parameter, 0 if it has none; views of one tensor are summed."""
    own, shared = _named(model)
    found: Params = {
        name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in trainable(model).items()
    }
    for name, first in shared.items():
        view, whole = own[name], own[first]
        if view is not whole and view.grad is not None:
            entries = whole.new_zeros(whole.untyped_storage().nbytes() // whole.itemsize)
            _lay(entries, whole).copy_(found[first])
            _lay(entries, view).add_(view.grad)
            found[first] = _lay(entries, whole)
    return found


def assign(model: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Write `params` into the model, in place. They may be some of the model's tensors, buffers included.

    Raises:
        ValueError: the model has no such name, a shape differs, or one tensor gets two values under two
            names. Then nothing is written.
    """
    own, shared = _named(model)
    for name, value in check.instance("params", params, Mapping).items():
        if name not in own:
            raise ValueError(f"`params` names {name!r}, which the model does not have.")
        if own[name].shape != check.instance(name, value, Tensor).shape:
            raise ValueError(f"`{name}` must have shape {list(own[name].shape)}; got {list(value.shape)}.")
    twice = not shared.keys().isdisjoint(params)
    before = state(model) if twice else {}
    with torch.no_grad():
        for name, value in params.items():
            own[name].copy_(value)
    for name, value in params.items() if twice else ():
        if not torch.allclose(own[name], value.to(own[name]), rtol=0, atol=0, equal_nan=True):
            assign(model, before)
            other = shared.get(name) or next(
                n for n, first in shared.items() if first == name and n in params
            )
            raise ValueError(f"`{name}` and `{other}` are one tensor of the model; got two values for it.")


def clone(model: nn.Module) -> nn.Module:
    """A deep copy without gradients. Methods change a copy, so a cell run twice gives the same answer."""
    modules = check.instance("model", model, nn.Module).modules()
    computed = [
        v for module in modules for v in vars(module).values() if isinstance(v, Tensor) and not v.is_leaf
    ]
    twin = copy.deepcopy(model, {id(v): v.detach().clone() for v in computed})  # pruned, weight-normed
    twin.zero_grad(set_to_none=True)
    own, shared = _named(model)
    copies = twin.state_dict(keep_vars=True)
    views = {name: first for name, first in shared.items() if own[name] is not own[first]}
    for first in dict.fromkeys(views.values()):  # a deep copy makes tensors of their own out of views
        entries = torch.empty(0, dtype=own[first].dtype, device=own[first].device)
        entries.set_(own[first].untyped_storage().clone())
        for name in (first, *(n for n, whole in shared.items() if whole == first)):
            copies[name].data = _lay(entries, own[name].detach())
    return twin


def digest(*parts: str | Tensor, algorithm: Literal["blake2b", "sha256"] = "blake2b") -> str:
    """A hash of these words and tensors in order, in hexadecimal digits: equal only if every bit is."""
    total = hashlib.blake2b(digest_size=16) if algorithm == "blake2b" else hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
        else:
            part = check.instance("parts", part, Tensor)
            total.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norm layers of a model, of any number of dimensions."""
    modules = check.instance("model", model, nn.Module).modules()
    return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters take no gradient."""
    return clone(model).eval().requires_grad_(False)


def add(a: Params, b: Params) -> Params:
    """a + b, tensor by tensor; both must have the same names."""
    return {name: value + b[name] for name, value in _same_names(a, b).items()}


def subtract(a: Params, b: Params) -> Params:
    """a - b, tensor by tensor; both must have the same names."""
    return {name: value - b[name] for name, value in _same_names(a, b).items()}


@check.arguments
def scale(a: Params, factor: float) -> Params:
    """factor * a, tensor by tensor."""
    check.number("factor", factor)
    return {name: value * factor for name, value in a.items()}


@check.arguments
def l1(a: Params) -> float:
    """Sum of absolute values over all tensors, accumulated in float64."""
    return sum(float(value.abs().sum(dtype=torch.float64)) for value in a.values())


@check.arguments
def l2(a: Params) -> float:
    """Euclidean norm over all tensors, accumulated in float64."""
    return math.sqrt(sum(float(value.double().square().sum()) for value in a.values()))


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the memory of two tensors, each from its first entry to its last, overlaps."""
    (first, last), (begin, end) = _reach(a), _reach(b)
    return bool(a.numel() and b.numel()) and first < end and begin < last


def _reach(value: Tensor) -> tuple[int, int]:
    """The address of a tensor's first byte, and of the one after its last."""
    steps = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    return value.data_ptr(), value.data_ptr() + (steps + 1) * value.itemsize


def _same_names(a: Params, b: Params) -> Params:
    if check.instance("a", a, Mapping).keys() != check.instance("b", b, Mapping).keys():
        odd = sorted(a.keys() ^ b.keys())
        raise ValueError(f"`a` and `b` must have the same names; only one of them has {check.brief(odd)}.")
    for name, value in a.items():
        if value.shape != b[name].shape:
            shapes = f"{list(value.shape)} and {list(b[name].shape)}"
            raise ValueError(f"`a` and `b` must have the same shapes; {name!r} has {shapes}.")
    return a


def _named(model: nn.Module) -> tuple[Params, dict[str, str]]:
    """All that a model remembers, under every name; and each name of a shared tensor -> its first name."""
    own: Params = check.instance("model", model, nn.Module).state_dict(keep_vars=True)
    groups: dict[int, list[str]] = {}
    for name, value in own.items():
        groups.setdefault(value.untyped_storage().data_ptr() or id(value), []).append(name)
    shared: dict[str, str] = {}
    for names in groups.values():
        if len(names) > 1:
            shared |= _shared(own, names)
    return own, shared


def _shared(own: Params, names: list[str]) -> dict[str, str]:
    """For tensors in one storage: each one whose entries another holds -> that other, the largest first."""
    firsts: list[str] = []
    shared: dict[str, str] = {}
    for name in sorted(names, key=lambda n: (-own[n].numel(), not own[n].requires_grad)):  # stable
        for first in firsts:
            part, whole = own[name], own[first]
            if part is whole or _inside(part, whole, f"`{name}` and `{first}`"):
                shared[name] = first
                break
        else:
            firsts.append(name)
    return {name: shared[name] for name in names if name in shared}


def _inside(part: Tensor, whole: Tensor, names: str) -> bool:
    """Whether all entries of `part` are entries of `whole`; False if none is.

    Raises:
        ValueError: only some are, or a trained tensor is part of a frozen one.
    """
    if not overlap(part, whole):
        return False
    if part.dtype == whole.dtype:
        everything = torch.arange(whole.untyped_storage().nbytes() // whole.itemsize)
        common = torch.isin(_lay(everything, part), _lay(everything, whole))
        if not common.any():
            return False
        if common.all() and (whole.requires_grad or not part.requires_grad):
            return True
    raise ValueError(
        f"{names} share a part of their entries, so an update of one also changes the other. Give each "
        "tensor memory of its own, or let both be the same parameter."
    )


def _lay(entries: Tensor, like: Tensor) -> Tensor:
    """The entries of a whole storage, seen as `like` sees its own."""
    return entries.as_strided(like.shape, like.stride(), like.storage_offset())
