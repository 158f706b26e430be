"""Which weights may move under a guarantee? Decided by what a pass does with them, not by their type.

A weight W qualifies if all that a pass does with it is to multiply data, y = W p + b, and if every sample
brings its own inputs p. Then a step dW with dW p = 0 goes unnoticed by every sample that brings p, and the
second moments of p add up over samples. So we listen to the pass of a few samples, below all modules, where
every operation shows:

    y = W p + b, also in groups, by a view of W, or in several places           W qualifies
    W goes into another operation with the data: a sum, a norm, an embedding    W stands still
    both; or a matrix that is computed from W multiplies the data               refused
    the same samples bring other p a second time, or in two halves              refused
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unlearn_lib import check
from unlearn_lib.outputs import call, device_of, evaluating, random_generator
from unlearn_lib.params import overlap

__all__ = [
    "Product",
    "Products",
    "UnsupportedModule",
    "eager",
    "parts",
    "patches",
    "plainly",
    "qualify",
    "rounding",
]

aten = torch.ops.aten
FACTORS = {  # the two arguments that a product of matrices multiplies
    aten.mm.default: (0, 1),
    aten.bmm.default: (0, 1),
    aten.mv.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
    aten.addmv.default: (1, 2),
}
FREEZE = "Or let it stand still: `requires_grad_(False)` before the moments are measured."


class UnsupportedModule(ValueError):  # noqa: N818 - raise UnsupportedModule reads as it is
    """A module for which a method's guarantee fails; the message says why, and what to use instead."""


# Products W p -------------------------------------------------------------------------------------------


class Product(NamedTuple):
    """One product W p that a pass computes.

    Args:
        V: what stands for W: [out, D] or [out, in, *kernel].
        x: the inputs: vectors, or what a convolution unfolds; along the first axis they may be split.
        geometry: of a convolution: stride, padding, dilation.
        groups: of a convolution.
    """

    V: Tensor
    x: Tensor
    geometry: tuple[list[int], list[int], list[int]] | None = None
    groups: int = 1

    def columns(self, x: Tensor) -> Float[Tensor, "*groups D N"]:
        """The inputs p of a part of x, as columns; one block a group."""
        return patches(x, self.V.shape[2:], *self.geometry, self.groups) if self.geometry else x.T


def patches(
    x: Float[Tensor, "n C *space"],
    kernel: Iterable[int],
    stride: Iterable[int],
    padding: Iterable[int],
    dilation: Iterable[int],
    groups: int = 1,
) -> Float[Tensor, "*groups D N"]:
    """What the weight of a convolution multiplies: ``weight.flatten(1) @ patches``. Biases take no part.

    D = channels of a group * size of the kernel. With groups there is one block for each: block g meets the
    g-th part of the weight's rows.
    """
    kernel, padding = list(kernel), list(padding)
    x = F.pad(x, [p for pad in reversed(padding) for p in (pad, pad)])
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
        x = x.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    axes = len(kernel)
    place, offset = range(2, 2 + axes), range(2 + axes, 2 + 2 * axes)
    block = [groups] * (groups > 1) + [x.shape[1] // groups * math.prod(kernel)]
    return x.permute(1, *offset, 0, *place).reshape(*block, -1)  # [n C place offset] -> [C offset, n place]


def parts(product: Product, size: int, device: torch.device) -> Iterator[Float[Tensor, "*groups D N"]]:
    """All columns in float64 on this device, in turn, at most `size` bytes at a time (or one sample's)."""
    one = product.columns(product.x[:1]).numel()
    for part in product.x.split(max(1, size // max(1, 8 * one))):
        yield product.columns(part.to(device).double())


def _products(func: Any, args: tuple[Any, ...]) -> list[Product]:
    """The ways to read an operation as W p: a product of matrices has two, for either may be the weight."""
    if func is aten.convolution.default and not args[6]:
        x, V, _, *geometry, _, _, groups = args
        stride, padding, dilation = (list(g) * (V.ndim - 2 if len(g) == 1 else 1) for g in geometry)
        return [Product(V, x, (stride, padding, dilation), groups)]
    if func is aten.linear.default:
        return [Product(args[1], _vectors(args[0]))]
    if func not in FACTORS:
        return []
    a, b = (args[place] for place in FACTORS[func])
    if b.ndim == 1:
        return [Product(a, b[None])]
    return [Product(a, _vectors(b.mT)), Product(b.mT, _vectors(a))]


def _vectors(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


# Listening to a pass ------------------------------------------------------------------------------------


class Products(TorchDispatchMode):
    """Hears, inside ``with``, every operation that reads these weights, through whatever view or alias.

    Args:
        weights: by name.
        groups: by name: in how many groups each of them comes.
    """

    def __init__(self, weights: Mapping[str, Tensor], groups: Mapping[str, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights, self.groups = weights, groups
        self.others: dict[str, str] = {}  # weight -> the first operation that read it otherwise
        self._at: dict[int, list[str]] = {}
        for name, W in weights.items():
            self._at.setdefault(_memory(W), []).append(name)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing compiles in here (see `plainly`), so that the compiler need not be imported for it."""
        return False

    def product(self, name: str, product: Product) -> None:
        """What to do with a product W p."""
        raise NotImplementedError

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = _tensors((args, kwargs))
        if not self.heeds(read):
            return result
        made = _tensors(result)
        shared = {_memory(t) for t in read}
        if func._schema.is_mutable or not made or any(_memory(t) not in shared for t in made):
            self.hear(func, args, read, made)  # a mere view reads nothing
        return result

    def heeds(self, read: list[Tensor]) -> bool:
        """Can an operation that reads these matter?"""
        return any(_memory(t) in self._at for t in read)

    def hear(self, func: Any, args: tuple[Any, ...], read: list[Tensor], made: list[Tensor]) -> None:
        """An operation that reads `read` and makes `made`."""
        names = self.named(*read)
        for product in _products(func, args) if names else ():
            for name in self.named(product.V):
                if _is_rows(product, self.weights[name]) and product.groups == self.groups[name]:
                    self.product(name, product)
                    names -= {name} - self.named(product.x)
        for name in names:
            self.others.setdefault(name, f"{func}")

    def named(self, *tensors: Tensor) -> set[str]:
        """The weights that share memory with one of these."""
        return {
            name for t in tensors for name in self._at.get(_memory(t), ()) if overlap(t, self.weights[name])
        }


class _Trace(Products):
    """Hears what a pass does with weights that nothing is known of yet.

    Follows what depends on the data, and what is computed from weights alone.
    """

    def __init__(self, weights: Mapping[str, Tensor], x: Tensor) -> None:
        super().__init__(weights, {})
        self.found: dict[str, int] = {}  # weight -> its groups, in the order of the pass
        self.turned: dict[str, str] = {}  # multiplies the data, but not as W p
        self.computed: dict[str, str] = {}  # a matrix computed from it multiplies the data
        self._data, self._derived = {_memory(x)}, dict[int, set[str]]()
        self._alive = [x]  # or another tensor could come to lie where one was

    def heeds(self, read: list[Tensor]) -> bool:
        return True

    def hear(self, func: Any, args: tuple[Any, ...], read: list[Tensor], made: list[Tensor]) -> None:
        self._alive += made
        names = self._sources(*read)
        for product in _products(func, args) if names else ():
            here, fed = sorted(self._sources(product.V)), self._from_data(product.x)
            if not here or self._sources(product.x):
                continue
            if not self.named(product.V):
                if fed:
                    self.computed |= dict.fromkeys(here, f"{func}")
                    names.difference_update(here)
            elif all(self._is_product(name, product, func, args) for name in here):
                self.found |= {name: product.groups for name in here if fed and name not in self.found}
                names.difference_update(here)
            elif fed:
                self.turned |= dict.fromkeys(here, f"{func}")
        if func is aten.convolution.default:  # a transposed one
            self.turned |= dict.fromkeys(sorted(names & self.named(args[1])), f"{func}")
        data = self._from_data(*read)
        if data or not made or (func._schema.is_mutable and self.named(*made)):
            self.others = dict.fromkeys(sorted(names), f"{func}") | self.others
        for t in made:
            if data:
                self._data.add(_memory(t))
            elif names:
                self._derived[_memory(t)] = names

    def _is_product(self, name: str, product: Product, func: Any, args: tuple[Any, ...]) -> bool:
        """Is it with rows of the weight itself, and is the output W p + b?"""
        if not _is_rows(product, self.weights[name]):
            return False
        if self.found.get(name, product.groups) != product.groups:
            return False
        if not product.geometry:
            return True  # by definition
        x, V = product.x[:1], product.V
        y = func(x, V, None, *args[3:]).cpu().double().transpose(0, 1).reshape(product.groups, -1)
        W = V.cpu().double().reshape(product.groups, len(V) // product.groups, -1)
        return _alike((W @ product.columns(x.cpu().double())).reshape(product.groups, -1), y, rounding(x))

    def _sources(self, *tensors: Tensor) -> set[str]:
        """The weights that these are, or are computed from."""
        return self.named(*tensors).union(*(self._derived.get(_memory(t), ()) for t in tensors))

    def _from_data(self, *tensors: Tensor) -> bool:
        return any(_memory(t) in self._data for t in tensors)


class _Sketch(Products):
    """M r for every weight, with a random vector r: the same in two passes if M is the same."""

    def __init__(self, weights: Mapping[str, Tensor], groups: Mapping[str, int]) -> None:
        super().__init__(weights, groups)
        self.Mr: dict[str, Tensor] = {}

    def product(self, name: str, product: Product) -> None:
        r = torch.randn(self.weights[name][0].numel(), generator=torch.Generator().manual_seed(0)).double()
        for p in parts(product, 2**25, torch.device("cpu")):  # MPS has no float64
            self.Mr[name] = self.Mr.get(name, 0) + p @ (p.mT @ r[:, None])


def _tensors(nested: Any) -> list[Tensor]:
    """Those that lie in memory as such; what is sparse shares none with a weight."""
    leaves = (t for t in tree_leaves(nested) if isinstance(t, Tensor))
    return [t for t in leaves if t.layout == torch.strided and t.numel()]


def _memory(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()


def _is_rows(product: Product, W: Tensor) -> bool:
    """Is V the weight, or some of its rows, element by element?"""
    V = product.V
    if W.ndim < 2 or V.dtype != W.dtype:
        return False
    if not product.geometry:
        W = W.flatten(1)
        while V.ndim > 2 and (len(V) == 1 or V.stride(0) == 0):  # one matrix for the whole batch
            V = V[0]
    if V.shape[1:] != W.shape[1:] or _memory(V) != _memory(W) or (product.groups > 1 and len(V) != len(W)):
        return False
    first, beside = divmod((V.data_ptr() - W.data_ptr()) // W.element_size(), max(1, W.stride(0)))
    strides = [stride for stride, size in zip(V.stride(), V.shape, strict=True) if size > 1]
    wanted = [stride for stride, size in zip(W.stride(), V.shape, strict=True) if size > 1]
    return not beside and 0 <= first <= len(W) - len(V) and strides == wanted


# Which weights qualify ----------------------------------------------------------------------------------


def qualify(model: nn.Module, x: Tensor, weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Those of these weights that only multiply data, W p, and in how many groups.

    Weights that are used otherwise, or not at all, are left out: they must stand still. Costs four passes of
    a few samples.

    Args:
        model: left unchanged.
        x: inputs of a few samples.
        weights: the model's parameters that might move, by name.

    Raises:
        UnsupportedModule: a weight multiplies data, but a step of it cannot be made safe; or the model looks
            at the whole batch, or is random in eval mode; names the weight and the reason.
        ValueError: a feature is not finite.
    """
    with plainly(model), _Trace(weights, x) as trace:
        call(model, x)
    _require_only_products(model, weights, trace)
    groups = {name: trace.found[name] for name in weights if name in trace.found}
    chosen = {name: weights[name] for name in trace.found}
    stream = random_generator(device_of(model))
    with plainly(model):
        before = stream.get_state()
        once, again = (_sketch(model, chosen, groups, [x]) for _ in range(2))
        drew = not torch.equal(before, stream.get_state())
        halves = _sketch(model, chosen, groups, x.tensor_split(2)) if len(x) > 1 else again
    for name in once:
        if not once[name].isfinite().all():
            what = f'`moments["{name}"]`' if name else "the outputs of `model`"
            raise ValueError(f"{what} must be finite; there is a NaN or an infinity among them.")
    off = [name for name in once if not _alike(once[name], again[name], rounding(x))]
    if off or drew:
        what = _where(off[0]) if off else "it draws random numbers"
        raise UnsupportedModule(
            f"`model` is random in eval mode: {what}, so what one pass measures does not hold in the next. "
            "Make it repeat; `F.dropout` needs `training=self.training`."
        )
    for name in once:
        if not _alike(once[name], halves[name], rounding(x)):
            raise UnsupportedModule(
                f"`model` looks at the whole batch: {_where(name)} when it comes in two halves, so moments "
                "do not add up over samples and nothing can be subtracted. Use layers that look at a single "
                "sample, such as nn.GroupNorm, or batch norm with running statistics. A layer that is "
                "applied to a constant must stand still: `requires_grad_(False)` before the moments."
            )
    return groups


def _where(name: str) -> str:
    return f"the inputs of `{name}` change" if name else "its outputs change"


def _sketch(
    model: nn.Module, weights: Mapping[str, Tensor], groups: Mapping[str, int], batches: Iterable[Tensor]
) -> dict[str, Tensor]:
    """M r of every weight, in the order of the pass, and the model's outputs, named ""."""
    answers = []
    with _Sketch(weights, groups) as sketch:
        for x in batches:
            rows = [y for y in _tensors(call(model, x)) if y.ndim and len(y) == len(x)]
            answers.append(torch.cat([y.cpu().double().reshape(len(x), -1) for y in rows], 1))
    return {**sketch.Mr, "": torch.cat(answers)}


def _require_only_products(model: nn.Module, weights: Mapping[str, Tensor], trace: _Trace) -> None:
    for name, op in trace.computed.items():
        raise UnsupportedModule(
            f"a matrix that is computed from `{name}` multiplies the data ({op}): a step of `{name}` that "
            f"leaves the products alone is not known. {_ordinary(model, name)} {FREEZE}"
        )
    for name, op in trace.turned.items():
        if name not in trace.found and "convolution" in op:
            raise UnsupportedModule(
                f"`{name}` is a transposed convolution's: its outputs overlap, so its inputs are not the "
                f"columns that its weight multiplies. Use an upsampling and an ordinary convolution. {FREEZE}"
            )
        if name not in trace.found:
            raise UnsupportedModule(
                f"`{name}` multiplies the data otherwise than as W p ({op}), as in x @ W instead of x @ W.T: "
                f"its rows are not what the inputs meet. Store it as [out, in] and use `F.linear`. {FREEZE}"
            )
    everything = dict(model.named_parameters()) | dict(model.named_buffers())
    for name in trace.found:
        W = weights[name]
        if second := (trace.turned | trace.others).get(name):
            raise UnsupportedModule(
                f"`{name}` multiplies data, but is also read otherwise, by {second}: a step that is safe for "
                f"the one use is not for the other. Give the other a parameter of its own. {FREEZE}"
            )
        for other, value in everything.items():
            if value is not W and _memory(value) == _memory(W) and overlap(value, W):
                raise UnsupportedModule(
                    f"`{name}` lies in the memory of `{other}` without being the same parameter: a step of "
                    "the one moves the other. Share the parameter itself (b.weight = a.weight), or copy it."
                )
        if torch.finfo(W.dtype).eps > 1e-4:
            raise UnsupportedModule(
                f"`{name}` is {W.dtype}: rounding a weight to so few digits moves retained outputs by more "
                "than the projection protects. Use `model.float()` for moments and unlearning, and round the "
                "result once."
            )


def _ordinary(model: nn.Module, name: str) -> str:
    """How to make a computed weight an ordinary parameter."""
    path, _, own = name.rpartition(".")
    if ".parametrizations." in f".{path}.":
        path, _, tensor = f".{path}".rpartition(".parametrizations.")
        return (
            f"`torch.nn.utils.parametrize.remove_parametrizations(model{path and f'{_get(path[1:])}'}, "
            f'"{tensor}")` makes it an ordinary one and keeps the outputs.'
        )
    module = f"model{_get(path)}"
    for hook in model.get_submodule(path)._forward_pre_hooks.values():
        for kind, remedy in (
            (WeightNorm, f"torch.nn.utils.remove_weight_norm({module})"),
            (SpectralNorm, f"torch.nn.utils.remove_spectral_norm({module})"),
            (prune.BasePruningMethod, f'torch.nn.utils.prune.remove({module}, "{own[:-5]}")'),
        ):
            if isinstance(hook, kind):
                return f"`{remedy}` makes it an ordinary one and keeps the outputs."
    return "Let the layer multiply its inputs by the parameter itself, and scale its inputs or outputs."


def _get(path: str) -> str:
    return f'.get_submodule("{path}")' if path else ""


# How a model is asked -----------------------------------------------------------------------------------


def eager(model: nn.Module) -> nn.Module:
    """The net itself, where `torch.compile` has wrapped it.

    Raises:
        UnsupportedModule: TorchScript, whose parameters cannot be frozen one by one; or lazy layers.
    """
    inside = getattr(check.instance("model", model, nn.Module), "_orig_mod", model)
    if any(isinstance(module, torch.jit.ScriptModule) for module in inside.modules()):
        raise UnsupportedModule(
            "`model` is TorchScript, which cannot be taken apart. Pass the Python module."
        )
    if any(map(is_lazy, inside.parameters())):
        raise UnsupportedModule(
            "`model` has lazy layers without weights yet. Call it once, on a few samples."
        )
    return inside


@contextmanager
def plainly(model: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients; nothing fused or compiled; the random stream is as before afterwards."""
    compiled = any(m._compiled_call_impl or hasattr(m, "_orig_mod") for m in model.modules())
    fused = torch.backends.mha.get_fastpath_enabled()
    stream = random_generator(device_of(model))
    before = stream.get_state()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(model), torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        stream.set_state(before)


def rounding(x: Tensor) -> float:
    """Relative rounding of what is computed from x: that of its type, or of a GPU's short floats."""
    dtype = x.dtype if x.is_floating_point() else torch.float32  # token ids are looked up
    short = x.is_cuda and dtype == torch.float32 and torch.backends.cudnn.allow_tf32
    return 2**-10 if short else torch.finfo(dtype).eps


def _alike(a: Tensor, b: Tensor, eps: float) -> bool:
    return bool((a - b).norm() <= math.sqrt(eps) * torch.maximum(a.norm(), b.norm()))
