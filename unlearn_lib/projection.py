"""Spectra of moments, the rank to protect, and the projector that protects it.

With M = U diag(lambda) U^T (`moments.py`), U_k the first k eigenvectors and sigma = sqrt(lambda) the singular
values of the stacked inputs, an update is stripped of what these inputs would notice:

    G' = G - G U_k U_k^T

References:
    Saha, Garg, Roy: Gradient Projection Memory for Continual Learning. ICLR 2021, arXiv 2103.09762.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearn_lib.moments import Moments

__all__ = ["Projector", "Rule", "Spectra", "Spectrum", "cumulative", "rank", "spectra", "spectrum"]

Rule = Literal["sigma", "sigma2"]
SLACK = 1e-10  # relative: eigenvalues below it are rounding


class Spectrum(NamedTuple):
    """M = U diag(lambda) U^T: `values` lambda [D], descending, >= 0; `vectors` U [D, D], in columns."""

    values: Tensor
    vectors: Tensor
    seconds: float = 0.0

    def projector(self, k: int) -> Projector:
        """The projector I - U_k U_k^T that protects the first k directions."""
        return Projector.of(self.vectors, k)


@dataclass(frozen=True)
class Spectra:
    """The spectrum of every layer, with what is known of the moments that it comes from."""

    layers: dict[str, Spectrum]
    ids: Int[Tensor, " n"]
    model: str
    moment_seconds: dict[str, float]


def spectra(retained: Moments) -> Spectra:
    """One eigendecomposition per layer; it answers for every retention level and rule.

    Warns:
        UserWarning: see `spectrum`.
    """
    found = {name: spectrum(M, name) for name, M in retained.layers.items()}
    return Spectra(found, retained.ids, retained.model, retained.seconds)


def spectrum(M: Float[Tensor, "D D"], name: str = "M") -> Spectrum:
    """Eigenvalues, descending, clamped at zero, and eigenvectors of a moment.

    Not an SVD: that returns |lambda| for a symmetric matrix, so a strongly *negative* direction, one that
    only the forgotten samples use, would pass for one that the retained samples use much.

    Warns:
        UserWarning: an eigenvalue below -1e-10 of the largest: the moments were not one sum.
    """
    begun = time.perf_counter()
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(M))
    if values[-1] < -SLACK * values[0].abs():
        warnings.warn(
            f"the moment `{name}` is not positive semi-definite: its most negative eigenvalue is "
            f"{float(values[-1] / values[0].abs()):.2g} of the largest. Full and forget moments must come "
            "from the same inputs (no augmentation), in the same mode, on the same kind of device. Clamped.",
            stacklevel=2,
        )
    return Spectrum(values.clamp(min=0), vectors, time.perf_counter() - begun)


def cumulative(values: Float[Tensor, " D"], rule: Rule = "sigma") -> Float[Tensor, " D"]:
    """Share of the first k directions, k = 1 ... D: of the sum of sigma = sqrt(lambda), or of sigma^2.

    `sigma` weighs the tail more: .95 of it is 99.7 to 99.9 % of the energy in most layers of a small net.
    """
    if rule not in ("sigma", "sigma2"):
        raise ValueError(f'`rule` must be "sigma" or "sigma2"; got {rule!r}.')
    v = values.sqrt() if rule == "sigma" else values
    return v.cumsum(0) / v.sum().clamp(min=torch.finfo(v.dtype).tiny)


def rank(values: Float[Tensor, " D"], energy: float, rule: Rule = "sigma") -> int:
    """The smallest k whose directions hold the share `energy`; 0 at 0, the numerical rank at 1.

    Args:
        values: eigenvalues lambda, descending, >= 0.
        energy: the retention level gamma, in [0, 1].
        rule: share of the sum of sigma (PGU's code) or of sigma^2 (GPM, Eq. 5).
    """
    if not 0 <= energy <= 1:
        raise ValueError(f"`energy` must be in [0, 1]; got {energy}.")
    share = cumulative(values, rule)
    full = int((values > SLACK * values[0]).sum())
    if energy in (0, 1):
        return int(energy) * full
    return min(full, int((share < energy - 1e-12).sum()) + 1)


@dataclass(frozen=True)
class Projector:
    """I - U_k U_k^T, as two thin products in the smaller of U_k and its complement.

    Args:
        basis: [D, m] orthonormal columns, m = min(k, D - k).
        protects: True if `basis` is U_k, False if it is the complement.
    """

    basis: Float[Tensor, "D m"]
    protects: bool

    @classmethod
    def of(cls, vectors: Float[Tensor, "D D"], k: int) -> Projector:
        """Protect the first k of these orthonormal columns."""
        protects = 2 * k <= len(vectors)
        return cls((vectors[:, :k] if protects else vectors[:, k:]).contiguous(), protects)

    def to(self, like: Tensor) -> Projector:
        """On the device and in the precision of `like`."""
        return Projector(self.basis.to(like), self.protects)

    def __call__(self, delta: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """G - G U_k U_k^T for an update of shape [out, in, ...]; inputs are on the right in PyTorch."""
        G = delta.flatten(1)
        inside = (G @ self.basis) @ self.basis.T
        return (G - inside if self.protects else inside).view_as(delta)


def per_layer(what: str, value: Any | Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """One value for all layers, or a mapping that names each of them."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    if value.keys() != names.keys():
        raise ValueError(f"`{what}` must name exactly {', '.join(names)}; got {', '.join(value)}.")
    return dict(value)
