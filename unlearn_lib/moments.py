"""Input second moments of linear and convolution layers: which input directions do the data use?

A layer's weight gradient is built from that layer's inputs: with inputs p as columns (for a convolution, the
patches that it sees), every row of the gradient is a combination of the p. So one matrix a layer,

    M = sum over all inputs of p p^T = U diag(lambda) U^T,

says everything about what an update does to these data: a change dW moves the outputs by
||dW P||_F^2 = tr(dW M dW^T). M adds up over samples; what some of them contributed can be subtracted later.

References:
    Saha, Garg, Roy: Gradient Projection Memory for Continual Learning. ICLR 2021, arXiv 2103.09762.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int
from scipy.linalg.blas import dsyrk
from torch import Tensor, nn

from unlearn_lib.data import Examples
from unlearn_lib.store import StoreError, load_tensors, save_tensors
from unlearn_lib.train import device_of, evaluating

__all__ = [
    "Layer",
    "Moments",
    "UnsupportedModule",
    "columns",
    "fingerprint",
    "layers",
    "load_moments",
    "moments",
    "save_moments",
]

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
CHUNK = 2**25  # bytes of float64 patches at a time


class UnsupportedModule(ValueError):  # noqa: N818 - raise UnsupportedModule reads as it is
    """A module for which a method's guarantee fails; the message says why, and what to use instead."""


# Layers and their inputs --------------------------------------------------------------------------------


def layers(model: nn.Module) -> dict[str, Layer]:
    """Every linear and convolution layer, by the name of its weight, such as "conv1.weight".

    Raises:
        UnsupportedModule: there is none; or one is grouped, transposed, pads with other than zeros, or shares
            its weight with another module.
    """
    found: dict[str, Layer] = {}
    users = [id(p) for module in model.modules() for p in module._parameters.values()]
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            raise UnsupportedModule(
                f"`{path}` is transposed: its outputs overlap, so its inputs are not the columns that its "
                "weight multiplies. Use an upsampling followed by an ordinary convolution."
            )
        if not isinstance(module, Layer):
            continue
        if getattr(module, "groups", 1) > 1:
            raise UnsupportedModule(
                f"`{path}` has groups={module.groups}: each group sees its own channels only, so no one "
                "subspace of the layer's inputs protects it. Use groups=1."
            )
        if getattr(module, "padding_mode", "zeros") != "zeros":
            raise UnsupportedModule(
                f"`{path}` pads with {module.padding_mode!r}: its patches are not those of the "
                'zero-padded input that we unfold. Use padding_mode="zeros".'
            )
        if users.count(id(module.weight)) > 1:
            raise UnsupportedModule(
                f"the weight of `{path}` is also another module's: a step that is safe for the one's inputs "
                "moves the other's outputs. Give each its own weight."
            )
        found[f"{path}.weight".lstrip(".")] = module
    if not found:
        raise UnsupportedModule("`model` has no linear or convolution layer, so there is nothing to project.")
    return found


def columns(layer: Layer, x: Float[Tensor, "n ..."]) -> Float[Tensor, "D N"]:
    """The inputs p that the layer's weight multiplies, as columns: ``layer.weight.flatten(1) @ columns``.

    Linear: input vectors, leading dimensions flattened. Convolution: patches, with the layer's true kernel,
    stride, padding and dilation; D = channels * kernel size. Biases take no part.
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, layer.in_features).T
    x = F.pad(x, _padding(layer))
    axes = len(layer.kernel_size)
    for axis, (k, s, d) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2):
        x = x.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
    place, offset = range(2, 2 + axes), range(2 + axes, 2 + 2 * axes)
    D = layer.in_channels * math.prod(layer.kernel_size)
    return x.permute(1, *offset, 0, *place).reshape(D, -1)  # [n, C, place, offset] -> [C offset, n place]


def _padding(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """For `F.pad`: (before, after) of the last axis first."""
    pads: list[tuple[int, int]]
    if layer.padding == "same":
        totals = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    elif layer.padding == "valid":
        pads = [(0, 0)] * len(layer.kernel_size)
    else:
        pads = [(int(p), int(p)) for p in layer.padding]
    return [p for pair in reversed(pads) for p in pair]


# Moments ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """M = sum p p^T for every layer, over the samples `ids`, as one model sees them in eval mode.

    Args:
        layers: M [D, D] by weight name: float64, symmetric, not centered, not averaged.
        ids: the samples in the sums.
        model: fingerprint of the model that saw them.
        seconds: what each layer cost in the pass that made this, with the forward pass up to it.

    Raises:
        ValueError: a moment is not finite; names the layer.
    """

    layers: dict[str, Float64[Tensor, "D D"]]
    ids: Int[Tensor, " n"]
    model: str
    seconds: dict[str, float]

    def __post_init__(self) -> None:
        for name, M in self.layers.items():
            if not M.isfinite().all():
                raise ValueError(f'`moments["{name}"]` must be finite; it holds a NaN or an infinity.')

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of each layer's moment: 8 D^2."""
        return {name: M.nbytes for name, M in self.layers.items()}

    def without(self, model: nn.Module, forget: Examples, *, batch_size: int = 256) -> Moments:
        """M_r = M_full - M_f: the moments of the other samples, none of which is read.

        Exact up to rounding, because the pass is deterministic: eval mode, no augmentation. For several
        requests in a row keep the *original* model and subtract all of them with it; with a model that has
        already unlearned something, the features differ from those that were summed.

        Args:
            model: the model that made these moments.
            forget: samples to subtract.
            batch_size: samples at a time.

        Raises:
            ValueError: another model's moments, or forget samples that are not in them.
        """
        require_model(self.model, model)
        absent = forget.ids[~torch.isin(forget.ids.cpu(), self.ids)]
        if len(absent):
            raise ValueError(
                f"`forget` must be among the samples in the moments; {len(absent)} are not, "
                f"among them {absent[:5].tolist()}."
            )
        M = {name: M.clone() for name, M in self.layers.items()}
        seconds = _accumulate(M, model, forget, -1.0, batch_size)
        return Moments(M, self.ids[~torch.isin(self.ids, forget.ids.cpu())], self.model, seconds)


def moments(model: nn.Module, data: Examples, *, batch_size: int = 256) -> Moments:
    """The moments of `data`, in one deterministic pass: eval mode, no augmentation, order of the data.

    Sums are float64 whatever the model's precision, one triangle of each (M is symmetric). At no time do
    more than 32 MiB of patches exist. The cost is D^2 / 2 multiply-adds a patch in double precision, where
    the layer itself needs D * out in single. For `small_cnn` on digits that arithmetic alone is worth 6
    forward passes, and 10 to 20 were measured (one busy core). It is paid once. Float32 would halve it, but
    its rounding would drown the small eigenvalues that a subtraction must leave positive.

    Args:
        model: left unchanged.
        data: all samples of the training set, at training time.
        batch_size: samples at a time.

    Raises:
        UnsupportedModule: see `layers`; also a layer that the pass never called, so its inputs are unknown.
        ValueError: no data, or a moment is not finite.
    """
    if not len(data):
        raise ValueError("`data` must hold at least one sample; got none.")
    device = device_of(model)
    where = device if device.type == "cuda" else "cpu"  # MPS has no float64
    M = {
        name: torch.zeros(2 * [layer.weight[0].numel()], dtype=torch.float64, device=where)
        for name, layer in layers(model).items()
    }
    seconds = _accumulate(M, model, data, 1.0, batch_size)
    return Moments(M, data.ids.cpu(), fingerprint(model), seconds)


def _accumulate(
    M: dict[str, Tensor], model: nn.Module, data: Examples, sign: float, batch_size: int
) -> dict[str, float]:
    """M += sign * sum p p^T over the data, in place; seconds per layer, with the forward pass up to it."""
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def watch(name: str) -> Callable[..., None]:
        def add_inputs(layer: Layer, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            nonlocal clock
            x = (args or tuple(kwargs.values()))[0].to(M[name].device)
            size = max(1, CHUNK // (8 * columns(layer, x[:1]).numel()))
            for part in x.split(size):
                _rank_update(M[name], columns(layer, part.double()), sign)
            begun, clock = clock, time.perf_counter()
            seconds[name] = seconds.get(name, 0.0) + clock - begun

        return add_inputs

    hooks = [
        layer.register_forward_pre_hook(watch(name), with_kwargs=True)
        for name, layer in layers(model).items()
    ]
    try:
        with evaluating(model):
            for start in range(0, len(data), batch_size):
                model(data.batch(slice(start, start + batch_size)).x.to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    for name in M:
        if name not in seconds:
            raise UnsupportedModule(
                f"the layer of `{name}` was not called as a module: its inputs are unknown, so nothing of "
                "them can be protected. Call the layer itself, or delete it if it is unused."
            )
        M[name].copy_(M[name].tril() + M[name].tril(-1).T)
    return seconds


def _rank_update(M: Tensor, p: Tensor, sign: float) -> None:
    """M += sign * p p^T; on the CPU only the lower triangle, at half the cost."""
    if M.is_cuda:
        M.addmm_(p, p.T, alpha=sign)
    else:  # BLAS counts columns first: our lower triangle is its upper one
        rows = p.is_contiguous()
        dsyrk(sign, (p.T if rows else p).numpy(), 1.0, M.numpy().T, trans=rows, overwrite_c=True)


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: moments are valid for exactly one state of a model."""
    total = hashlib.sha256()
    for name, value in model.state_dict().items():
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def require_model(expected: str, model: nn.Module) -> None:
    """Raise `ValueError` unless `model` has this fingerprint."""
    if fingerprint(model) != expected:
        raise ValueError(
            "the moments are another model's: they were measured on a model with other weights, buffers or "
            "precision. Any further training makes moments stale; measure them again, or pass the model that "
            "they were measured on."
        )


def save_moments(path: Path, full: Moments) -> int:
    """Write moments to a file; bytes written. Saving M_r over M_full also removes the forgotten ids."""
    note = {"model": full.model, "seconds": full.seconds}
    return save_tensors(path, {**full.layers, "ids": full.ids}, note)


def load_moments(path: Path) -> Moments:
    """Read what `save_moments` wrote.

    Raises:
        StoreError: missing, damaged, or not moments.
    """
    tensors, note = load_tensors(path)
    try:
        return Moments(
            layers={name: M for name, M in tensors.items() if name != "ids"},
            ids=tensors["ids"],
            model=note["model"],
            seconds=note["seconds"],
        )
    except KeyError as error:
        raise StoreError(f"{path} does not hold moments: it has no {error}.") from error
    except ValueError as error:
        raise StoreError(f"{path} does not fit: {error}") from error
