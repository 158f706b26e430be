"""Input second moments of the weights that multiply data: which input directions do the data use?

A layer's weight gradient is built from that layer's inputs: with inputs p as columns (for a convolution, the
patches that it sees), every row of the gradient is a combination of the p. So one matrix a weight,

    M = sum over all inputs of p p^T = U diag(lambda) U^T,

says everything about what an update does to these data: a change dW moves the outputs by
||dW P||_F^2 = tr(dW M dW^T). M adds up over samples; what some of them contributed can be subtracted later.
A convolution in g groups is g layers side by side: its M is block-diagonal, one block a group.

Which weights have a moment, and which nets are refused, is decided by listening to a pass (`qualify.py`).

References:
    Saha, Garg, Roy: Gradient Projection Memory for Continual Learning. ICLR 2021, arXiv 2103.09762.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float64, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.methods.pgu.qualify import (
    Product,
    Products,
    UnsupportedModule,
    eager,
    parts,
    plainly,
    qualify,
    rounding,
)
from unlearn_lib.outputs import call, device_of, inputs
from unlearn_lib.params import digest
from unlearn_lib.store import StoreError, load_tensors, save_tensors

__all__ = [
    "Layer",
    "Moments",
    "UnsupportedModule",
    "fingerprint",
    "load_moments",
    "moments",
    "save_moments",
    "weighted_layers",
]

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
CHUNK = 2**21  # bytes of float64 patches at a time: what a processor's cache holds
PROBE = 8  # samples that are kept to check the guarantee with


def weighted_layers(model: nn.Module) -> dict[str, Layer]:
    """Every linear and convolution layer with a weight that takes gradients, by the name of the weight."""
    return {
        f"{path}.weight".lstrip("."): module
        for path, module in eager(model).named_modules()
        if isinstance(module, Layer) and getattr(module._parameters.get("weight"), "requires_grad", False)
    }


@dataclass(frozen=True)
class Moments:
    """M = sum p p^T for every weight, over the samples `ids`, as one model sees them in eval mode.

    **Privacy.** Moments are made from the data, and `probe` *holds* up to `PROBE` of the samples as they are.
    A request takes its samples out of both. If you may not keep any sample, empty the probe
    (``replace(stored, probe={})``): `pgu` then has one check less.

    Args:
        layers: M [D, D] by weight name, or [groups, D, D]: float64, symmetric, not centered, not averaged.
        ids: the samples in the sums.
        model: fingerprint of the model that saw them.
        seconds: what each weight cost in the pass that made this, with the forward pass up to it.
        probe: network inputs of a few of the samples, by id, on which `pgu` tries the guarantee.
        rounding: relative rounding of the inputs p.

    Raises:
        ValueError: a moment is not finite; names the weight.
    """

    layers: dict[str, Float64[Tensor, "*groups D D"]]
    ids: Int[Tensor, " n"]
    model: str
    seconds: dict[str, float]
    probe: Mapping[int, Tensor] = field(default_factory=dict, repr=False)
    rounding: float = torch.finfo(torch.float32).eps

    def __post_init__(self) -> None:
        for name, M in self.layers.items():
            if not M.isfinite().all():
                raise ValueError(f'`moments["{name}"]` must be finite; it holds a NaN or an infinity.')

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of each weight's moment: 8 D^2 a group."""
        return {name: M.nbytes for name, M in self.layers.items()}

    def without(self, model: nn.Module, forget: Examples, *, batch_size: int = 256) -> Moments:
        """M_r = M_full - M_f: the moments of the other samples, none of which is read.

        Exact up to rounding, because the pass is deterministic: eval mode, no augmentation. For several
        requests in a row keep the *original* model and subtract all of them with it; with a model that has
        already unlearned something, the features differ from those that were summed. The forget samples leave
        the probe, too.

        Args:
            model: the model that made these moments.
            forget: samples to subtract.
            batch_size: samples at a time.

        Raises:
            ValueError: another model's moments, or forget samples that are not in them.
            UnsupportedModule: see `qualify`.
        """
        model = eager(model)
        require_model(self.model, model)
        gone = check_examples("forget", forget).ids.cpu()
        absent = gone[~torch.isin(gone, self.ids)]
        if len(absent):
            raise ValueError(
                f"`forget` must be among the samples in the moments; {len(absent)} are not, "
                f"among them {absent[:5].tolist()}."
            )
        M = {name: M.clone() for name, M in self.layers.items()}
        own = dict(model.named_parameters())
        qualify(model, inputs(model, forget, _few(forget)), {name: own[name] for name in M})
        seconds = _accumulate(M, model, forget, -1.0, batch_size)
        kept = {i: x for i, x in self.probe.items() if i not in set(gone.tolist())}
        left = self.ids[~torch.isin(self.ids, gone)]
        return Moments(
            layers=M, ids=left, model=self.model, seconds=seconds, probe=kept, rounding=self.rounding
        )


def moments(model: nn.Module, data: Examples, *, batch_size: int = 256) -> Moments:
    """The moments of `data`, in one deterministic pass: eval mode, no augmentation, order of the data.

    Every trainable weight that multiplies data gets one, wherever that happens: in a linear layer or a
    convolution (with any stride, padding and groups), in attention, or in a `forward` of your own. What is
    used otherwise (biases, normalization, class tokens, positions, scales) and what takes no gradients gets
    none, and will stand still.

    Sums are float64 whatever the model's precision, one triangle of each (M is symmetric). At no time do
    more than 2 MiB of patches exist (or one sample's). The cost is D^2 / 2 multiply-adds a patch in double
    precision, where the layer itself needs D * out in single: many forward passes, paid once.

    The error of an entry, over N patches of a float32 net, is at most (N - 1) u sum |p_i p_j| with
    u = 2^-53: a product of two floats of 24 bits has 48 and is exact, so only the N - 1 additions round (in
    whatever order), each by u times a partial sum that is no larger than sum |p_i p_j|.

    Float32 sums would be faster, and off by some 2^-24 of the largest eigenvalue. But with fewer samples than
    inputs, all eigenvalues beyond the samples must be zero: such rounding fills them, and energy 1 would then
    protect every direction. Splitting p into float32 parts whose products are exact costs more than float64.

    Args:
        model: left unchanged. A compiled net is asked as it was before compiling.
        data: all samples of the training set, at training time.
        batch_size: samples at a time.

    Raises:
        UnsupportedModule: see `qualify`; or no weight qualifies. A few samples tell, before the pass.
        ValueError: no data, or a moment is not finite.

    Example:
        >>> found = ul.moments(model, data)
        >>> {name: list(M.shape) for name, M in found.layers.items()}
        {'1.weight': [64, 64], '3.weight': [32, 32]}
    """
    model = eager(model)
    check_examples("data", data)
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = _few(data)
    probe = inputs(model, data, rows)
    groups = qualify(model, probe, weights)
    if not groups:
        raise UnsupportedModule(
            "`model` has no weight that takes gradients and multiplies the data, so there is nothing to "
            "project. PGU needs a linear or convolution layer that is not frozen."
        )
    device = device_of(model)
    where = device if device.type == "cuda" else "cpu"  # MPS has no float64
    M = {}
    for name, g in groups.items():
        D = weights[name][0].numel()
        M[name] = torch.zeros([g, D, D] if g > 1 else [D, D], dtype=torch.float64, device=where)
    seconds = _accumulate(M, model, data, 1.0, batch_size)
    kept = dict(zip(data.ids[rows].tolist(), probe.cpu(), strict=True))
    return Moments(
        layers=M,
        ids=data.ids.cpu(),
        model=fingerprint(model),
        seconds=seconds,
        probe=kept,
        rounding=rounding(probe),
    )


def _few(data: Examples) -> Int[Tensor, " m"]:
    """Rows of up to `PROBE` samples, spread over the labels: a request rarely takes all of them away."""
    spread = torch.linspace(0, len(data) - 1, min(PROBE, len(data))).round().long()
    return data.y.argsort(stable=True)[spread.to(data.y.device)]


class _Sum(Products):
    """M += sign * sum p p^T over all products that a pass computes, in place."""

    def __init__(self, weights: Mapping[str, Tensor], M: dict[str, Tensor], sign: float) -> None:
        super().__init__(weights, {name: len(M[name]) if M[name].ndim == 3 else 1 for name in M})
        self.M, self.sign = M, sign
        self.seconds: dict[str, float] = {}
        self.clock = time.perf_counter()

    def product(self, name: str, product: Product) -> None:
        for p in parts(product, CHUNK, self.M[name].device):
            _rank_update(self.M[name], p, self.sign)
        begun, self.clock = self.clock, time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + self.clock - begun


def _accumulate(
    M: dict[str, Tensor], model: nn.Module, data: Examples, sign: float, batch_size: int
) -> dict[str, float]:
    """M += sign * sum p p^T over the data, in place; seconds per weight, with the forward pass up to it."""
    check.whole("batch_size", batch_size, 1)
    weights = {name: p for name, p in model.named_parameters() if name in M}
    total = _Sum(weights, M, sign)
    with plainly(model):
        for start in range(0, len(data), batch_size):
            x = inputs(model, data, slice(start, start + batch_size))
            with total:
                call(model, x)
    for name, op in total.others.items():
        raise UnsupportedModule(
            f"`{name}` multiplies data, but for some samples it is also read otherwise, by {op}: a step that "
            "is safe for the one use is not for the other. Give the other a parameter of its own."
        )
    for each in M.values():
        _mirror(each)
    return {name: total.seconds.get(name, 0.0) for name in M}


def _rank_update(M: Tensor, p: Tensor, sign: float) -> None:
    """M += sign * p p^T; on the CPU only the lower triangle, at half the cost."""
    if M.ndim == 3:
        M.baddbmm_(p, p.mT, alpha=sign)
    elif M.is_cuda:
        M.addmm_(p, p.T, alpha=sign)
    else:  # BLAS counts columns first: our lower triangle is its upper one
        from scipy.linalg.blas import dsyrk

        rows = p.is_contiguous()
        dsyrk(sign, (p.T if rows else p).numpy(), 1.0, M.numpy().T, trans=rows, overwrite_c=True)


def _mirror(M: Tensor, size: int = 128) -> None:
    """Write the lower triangle over the upper, by blocks: a whole transpose would leave the cache."""
    for i in range(0, M.shape[-1], size):
        rows = slice(i, i + size)
        M[..., rows, i + size :] = M[..., i + size :, rows].mT
        corner = M[..., rows, rows]
        corner.copy_(corner.tril() + corner.tril(-1).mT)


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: moments are valid for exactly one state of a model."""
    named = check.instance("model", model, nn.Module).state_dict().items()
    parts = ((f"{name} {value.dtype} {list(value.shape)}", value) for name, value in named)
    return digest(*(part for pair in parts for part in pair), algorithm="sha256")


def require_model(expected: str, model: nn.Module) -> None:
    """Raise `ValueError` unless `model` has this fingerprint."""
    if fingerprint(model) != expected:
        raise ValueError(
            "the moments are another model's: they were measured on a model with other weights, buffers or "
            "precision. Any further training makes moments stale; measure them again, or pass the model that "
            "they were measured on."
        )


def save_moments(path: Path | str, full: Moments) -> int:
    """Write moments to a file; bytes written. Saving M_r over M_full also removes the forgotten samples.

    The file holds the ids of the samples, and a few samples: see `Moments` on privacy.
    """
    check.instance("full", full, Moments)
    tensors = full.layers | {".ids": full.ids}  # no name of a parameter begins with a dot
    if full.probe:
        tensors[".probe"] = torch.stack(list(full.probe.values()))
        tensors[".probe.ids"] = torch.tensor(list(full.probe))
    note = {"model": full.model, "seconds": full.seconds, "rounding": full.rounding}
    return save_tensors(check.path("path", path), tensors, note)


def load_moments(path: Path | str) -> Moments:
    """Read what `save_moments` wrote. Older files hold no probe: `pgu` then checks less.

    Raises:
        StoreError: missing, damaged, or not moments.
    """
    tensors, note = load_tensors(check.path("path", path))
    try:
        ids = tensors.pop(".ids" if ".ids" in tensors else "ids")
        samples, whose = tensors.pop(".probe", torch.empty(0)), tensors.pop(".probe.ids", torch.empty(0))
        return Moments(
            layers=tensors,
            ids=ids,
            model=note["model"],
            seconds=note["seconds"],
            probe=dict(zip(whose.tolist(), samples, strict=True)),
            rounding=note.get("rounding", torch.finfo(torch.float32).eps),
        )
    except KeyError as error:
        raise StoreError(f"{path} does not hold moments: it has no {error}.") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} does not fit: {error}") from error
