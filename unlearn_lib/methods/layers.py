"""Layers as slices of one flat vector, and the choice of a few entries in each.

Partial unlearning keeps k_l = ceil(p n_l) entries of every layer l. A layer is one parameter tensor, or, with
``group="module"``, all tensors of one module (weight and bias together). A choice of entries is a mask over
the flat vector; every rule is "the k_l entries of the largest score", with ties to the lower index.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import mix
from unlearn_lib.params import Params, trainable

__all__ = ["Group", "Keep", "Layers", "random_scores", "top"]

Group = Literal["tensor", "module"]
Keep = float | Mapping[str, float]


@dataclass(frozen=True)
class Layers:
    """Where each trainable tensor lies in the flat vector of n entries, and which tensors make a layer.

    Args:
        shapes: shape of every tensor, in the model's order.
        group: "tensor" (a layer is a tensor) or "module" (a layer is what one module owns).
    """

    shapes: Mapping[str, tuple[int, ...]]
    group: Group = "tensor"

    def __post_init__(self) -> None:
        check.instance("shapes", self.shapes, Mapping)
        check.choice("group", self.group, get_args(Group))

    @classmethod
    def of(cls, model: nn.Module, group: Group = "tensor") -> Layers:
        """The layers of a model's trainable parameters."""
        check.instance("model", model, nn.Module)
        return cls({name: tuple(p.shape) for name, p in trainable(model).items()}, group)

    @property
    def n(self) -> int:
        """Number of entries."""
        return sum(map(math.prod, self.shapes.values()))

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Layer l as a slice of the flat vector; n_l is its length."""
        spans: dict[str, slice] = {}
        start = 0
        for tensor, shape in self.shapes.items():
            layer, stop = self._layer_of(tensor), start + math.prod(shape)
            spans[layer] = slice(spans[layer].start if layer in spans else start, stop)
            start = stop
        return spans

    def flatten(self, params: Mapping[str, Tensor]) -> Shaped[Tensor, " n"]:
        """The tensors one after the other: a new vector.

        Raises:
            ValueError: a tensor is missing, or has another shape.
        """
        check.instance("params", params, Mapping)
        for name, shape in self.shapes.items():
            if name not in params or tuple(params[name].shape) != tuple(shape):
                found = list(params[name].shape) if name in params else "nothing"
                raise ValueError(f"`params` must hold `{name}` of shape {list(shape)}; got {found}.")
        return torch.cat([params[name].detach().flatten() for name in self.shapes])

    def unflatten(self, vector: Tensor) -> Params:
        """The vector cut into tensors again: views of it."""
        if tuple(check.instance("vector", vector, Tensor).shape) != (self.n,):
            raise ValueError(f"`vector` must have shape [{self.n}]; got {list(vector.shape)}.")
        parts = vector.split([math.prod(shape) for shape in self.shapes.values()])
        return {name: part.view(self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def only(self, layers: Iterable[str]) -> Layers:
        """These layers alone."""
        on = {check.choice("layers", name, self.spans) for name in layers}
        return Layers({t: s for t, s in self.shapes.items() if self._layer_of(t) in on}, self.group)

    def shares(self, keep: Keep) -> dict[str, float]:
        """The kept share p of every layer: the number for all, or by name; a layer not named is off (0).

        Raises:
            ValueError: a share is outside [0, 1], or there is no layer of that name.
            TypeError: a share is no number.
        """
        if not isinstance(keep, Mapping):
            return dict.fromkeys(self.spans, check.number("keep", keep, "[0, 1]"))
        for name in keep:
            if name not in self.spans:
                raise ValueError(f"`keep` names {name!r}; the layers are {', '.join(self.spans)}.")
        if not keep:
            raise ValueError(f"`keep` must name at least one layer; they are {', '.join(self.spans)}.")
        given = {name: check.number(f'keep["{name}"]', p, "[0, 1]") for name, p in keep.items()}
        return {name: given.get(name, 0.0) for name in self.spans}

    def budgets(self, keep: Keep) -> dict[str, int]:
        """k_l = ceil(p n_l) by layer; the product is rounded to 9 decimals first, for .07 * 100 exceeds 7."""
        lengths = {name: span.stop - span.start for name, span in self.spans.items()}
        return {name: math.ceil(round(p * lengths[name], 9)) for name, p in self.shares(keep).items()}

    def top(self, scores: Float[Tensor, "m n"], keep: Keep) -> Bool[Tensor, "m n"]:
        """In every row, the k_l entries of the largest score in each layer."""
        check.tensor("scores", scores, "m n")
        mask = torch.zeros_like(scores, dtype=torch.bool)
        for name, k in self.budgets(keep).items():
            mask[:, self.spans[name]] = top(scores[:, self.spans[name]], k)
        return mask

    def _layer_of(self, tensor: str) -> str:
        return tensor if self.group == "tensor" else tensor.rpartition(".")[0] or tensor


def top(scores: Float[Tensor, "m n"], k: int) -> Bool[Tensor, "m n"]:
    """True at the k largest scores (>= 0) of every row, ties by lower index: exactly k of them."""
    n = check.tensor("scores", scores, "m n").shape[1]
    k = check.whole("k", k, 0, n)
    if k in (0, n):
        return torch.full_like(scores, k == n, dtype=torch.bool)
    # Floats >= 0 are ordered as their bits are, and numpy's partition of integers is a much faster selection
    # than torch's kthvalue and topk.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[scores.itemsize]
    values = scores.cpu().view(bits).numpy()
    least = np.partition(values, n - k, axis=1)[:, n - k, None]
    mask = values >= least
    if np.count_nonzero(mask) > k * len(mask):
        for row, kept in enumerate(mask):
            if surplus := np.count_nonzero(kept) - k:
                kept[np.flatnonzero(values[row] == least[row])[-surplus:]] = False
    return torch.from_numpy(mask).to(scores.device)


def random_scores(layers: Layers, *key: int) -> Float[Tensor, " n"]:
    """Uniform numbers that follow from the key and the layers' names alone, the same in every process."""
    check.instance("layers", layers, Layers)
    return torch.cat(
        [
            # crc32, not hash(): Python's hash of a string differs between processes
            torch.rand(
                span.stop - span.start,
                generator=torch.Generator().manual_seed(mix(*key, zlib.crc32(name.encode()))),
            )
            for name, span in layers.spans.items()
        ]
    )
