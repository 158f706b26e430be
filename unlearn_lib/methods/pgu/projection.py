"""Spectra of moments, the rank to protect, and the projector that protects it.

With M = U diag(lambda) U^T (`moments.py`), U_k the first k eigenvectors and sigma = sqrt(lambda) the singular
values of the stacked inputs, an update is stripped of what these inputs would notice:

    G' = G - G U_k U_k^T

The groups of a convolution are layers side by side: each has its own spectrum, rank and projector.

References:
    Saha, Garg, Roy: Gradient Projection Memory for Continual Learning. ICLR 2021, arXiv 2103.09762.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.methods.pgu.moments import Moments
from unlearn_lib.methods.pgu.qualify import UnsupportedModule, plainly
from unlearn_lib.outputs import call
from unlearn_lib.params import clone

__all__ = [
    "Projector",
    "RankRule",
    "Spectra",
    "Spectrum",
    "cumulative",
    "rank",
    "ranks",
    "require_still",
    "spectra",
    "spectrum",
]

RankRule = Literal["sigma", "sigma2"]
SLACK = 1e-10  # relative: eigenvalues below it are rounding, of float64 inputs
ROUNDINGS = 8  # of the inputs' own precision: that far below zero rounding may take an eigenvalue
STILL = 1e-2  # a protected step may move outputs by this share of what a free step of its size does


class Spectrum(NamedTuple):
    """M = U diag(lambda) U^T: `values` lambda [D], descending, >= 0; `vectors` U [D, D], in columns.

    With groups, [groups, D] and [groups, D, D].
    """

    values: Tensor
    vectors: Tensor
    seconds: float = 0.0

    def projector(self, k: int | Sequence[int]) -> Projector:
        """The projector I - U_k U_k^T that protects the first k directions, of each group its own k."""
        return Projector.of(self.vectors, k)


@dataclass(frozen=True)
class Spectra:
    """The spectrum of every weight, with what is known of the moments that it comes from (see `Moments`)."""

    layers: dict[str, Spectrum]
    ids: Int[Tensor, " n"]
    model: str
    moment_seconds: dict[str, float]
    probe: Mapping[int, Tensor] = field(default_factory=dict, repr=False)


def spectra(retained: Moments) -> Spectra:
    """One eigendecomposition per weight; it answers for every retention level and rule.

    Warns:
        UserWarning: see `spectrum`.

    Example:
        >>> retained = ul.spectra(ul.moments(model, data).without(model, split.forget))
        >>> list(retained.layers)
        ['1.weight', '3.weight']
    """
    check.instance("retained", retained, Moments, remedy="First call `moments(model, data)`.")
    found = {name: spectrum(M, name, retained.rounding) for name, M in retained.layers.items()}
    return Spectra(
        layers=found,
        ids=retained.ids,
        model=retained.model,
        moment_seconds=retained.seconds,
        probe=retained.probe,
    )


def spectrum(M: Any, name: str = "M", rounding: float = 0.0) -> Spectrum:
    """Eigenvalues, descending, clamped at zero, and eigenvectors of a moment.

    Not an SVD: that returns |lambda| for a symmetric matrix, so a strongly *negative* direction, one that
    only the forgotten samples use, would pass for one that the retained samples use much.

    Args:
        M: symmetric [D, D], or [groups, D, D].
        name: of the weight, for messages.
        rounding: relative rounding of the inputs that were summed, such as 1.2e-7 for float32.

    Raises:
        ValueError: not square, not symmetric, or not finite.

    Warns:
        UserWarning: an eigenvalue lies further below zero than rounding takes it: the moments were not one
            sum. (Two passes over the same sample differ by the rounding of its features, because a matrix
            product of another size sums in another order.)
    """
    begun = time.perf_counter()
    if check.finite(name, M).ndim not in (2, 3) or M.shape[-1] != M.shape[-2] or not M.numel():
        raise ValueError(f"`{name}` must have shape [D, D] or [groups, D, D]; got {list(M.shape)}.")
    if (M - M.mT).abs().max() > max(1e-10, 16 * torch.finfo(M.dtype).eps) * M.abs().max():
        raise ValueError(f"`{name}` must be symmetric, as a sum of p p^T is.")
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(M))
    largest = values.abs().max()
    if values.min() < -max(SLACK, ROUNDINGS * rounding) * largest:
        check.warn(
            f"the moment `{name}` is not positive semi-definite: its most negative eigenvalue is "
            f"{float(values.min() / largest):.2g} of the largest. Full and forget moments must come "
            "from the same inputs (no augmentation), in the same mode, on the same kind of device. Clamped."
        )
    return Spectrum(values.clamp(min=0), vectors, time.perf_counter() - begun)


def cumulative(values: Any, rule: RankRule = "sigma") -> Float[Tensor, " D"]:
    """Share of the first k directions, k = 1 ... D: of the sum of sigma = sqrt(lambda), or of sigma^2.

    `sigma` weighs the tail more, so the same share of it protects more directions.

    Args:
        values: eigenvalues lambda [D], descending, >= 0.
        rule: "sigma" or "sigma2".
    """
    check.choice("rule", rule, ("sigma", "sigma2"))
    if not len(check.finite("values", values, "D")):
        raise ValueError("`values` must hold at least one eigenvalue; got none.")
    if values[-1] < 0 or (values.diff() > 0).any():
        raise ValueError("`values` must be eigenvalues of a moment: descending, and zero or more.")
    v: Tensor = values.sqrt() if rule == "sigma" else values
    return v.cumsum(0) / v.sum().clamp(min=torch.finfo(v.dtype).tiny)


def rank(values: Any, energy: Any, rule: RankRule = "sigma") -> int:
    """The smallest k whose directions hold the share `energy`; 0 at 0, the numerical rank at 1.

    Args:
        values: eigenvalues lambda [D], descending, >= 0.
        energy: the retention level gamma, in [0, 1].
        rule: share of the sum of sigma (PGU's code) or of sigma^2 (GPM, Eq. 5).
    """
    check.number("energy", energy, "[0, 1]")
    share = cumulative(values, rule)
    full = int((values > SLACK * values[0]).sum())
    if energy in (0, 1):
        return int(energy) * full
    return min(full, int((share < energy - 1e-12).sum()) + 1)


@check.arguments
def ranks(spectrum: Spectrum, energy: float, rule: RankRule = "sigma") -> list[int]:
    """`rank` of each group of a weight; of one without groups, of the one that there is."""
    D = spectrum.values.shape[-1]
    return [rank(values, energy, rule) for values in spectrum.values.reshape(-1, D)]


@dataclass(frozen=True)
class Projector:
    """I - U_k U_k^T, as two thin products in the smaller of U_k and its complement.

    Args:
        basis: [D, m] orthonormal columns, m = min(k, D - k); with groups [groups, D, m], where a group that
            needs fewer has columns of zeros.
        protects: True if `basis` is U_k, False if it is the complement.
    """

    basis: Float[Tensor, "*groups D m"]
    protects: bool

    @classmethod
    @check.arguments
    def of(cls, vectors: Float[Tensor, "*groups D D"], k: int | Sequence[int]) -> Projector:
        """Protect the first k of these orthonormal columns, of each group its own k."""
        each = [check.whole("k", one, 0, vectors.shape[-1]) for one in ([k] if isinstance(k, int) else k)]
        D, least, most = vectors.shape[-1], min(each), max(each)
        protects = least + most <= D
        if vectors.ndim == 2:
            return cls((vectors[:, :most] if protects else vectors[:, most:]).contiguous(), protects)
        inside = torch.arange(D) < torch.tensor(each)[:, None, None]
        basis = vectors * (inside == protects).to(vectors)
        return cls((basis[..., :most] if protects else basis[..., least:]).contiguous(), protects)

    @property
    def removes(self) -> bool:
        """Whether it changes anything: not, where there is nothing to protect."""
        return not self.protects or self.basis.shape[-1] > 0

    def to(self, like: Tensor) -> Projector:
        """On the device and in the precision of `like`."""
        return Projector(self.basis.to(check.instance("like", like, Tensor)), self.protects)

    def __call__(self, delta: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """G - G U_k U_k^T for an update of shape [out, in, ...]; inputs are on the right in PyTorch."""
        G = delta.flatten(1)
        if self.basis.ndim == 3:  # each group's rows meet its own inputs
            G = G.unflatten(0, (len(self.basis), -1))
        if G.shape[-1] != self.basis.shape[-2]:
            raise ValueError(f"`delta` must have {self.basis.shape[-2]} inputs; got {G.shape[-1]}.")
        inside = (G @ self.basis) @ self.basis.mT
        return (G - inside if self.protects else inside).reshape(delta.shape)


@check.arguments
def require_still(model: nn.Module, retained: Spectra) -> None:
    """Try the guarantee: a random step that no retained input notices must leave outputs where they are.

    The step has the size of the weights. It is judged on the retained samples that the moments kept, against
    the same step without projection. Where retained inputs use every direction there is no such step.

    Raises:
        UnsupportedModule: outputs move; names the weight.
    """
    if not retained.probe:
        return
    twin = clone(model)
    x, like = torch.stack(list(retained.probe.values())), next(twin.parameters())
    x = x.to(like if x.is_floating_point() else like.device)
    own = dict(twin.named_parameters())
    stream = torch.Generator().manual_seed(0)
    free, safe = {}, {}
    for name, found in retained.layers.items():
        W = own[name].detach()
        step = torch.randn(W.shape, generator=stream, dtype=torch.float64).to(found.vectors)
        step *= (float(W.double().norm()) or 1.0) / step.norm()  # a head may begin at zero
        safe[name] = found.projector(ranks(found, 1))(step)
        free[name] = step * safe[name].norm() / step.norm()

    def outputs(steps: Mapping[str, Tensor]) -> Tensor:
        before = {name: own[name].detach().clone() for name in steps}
        with plainly(twin):
            for name, step in steps.items():
                own[name] += step.to(own[name])
            answer = call(twin, x)
            for name, W in before.items():
                own[name].copy_(W)
        return torch.as_tensor(answer).cpu().double()

    still = outputs({})

    def moved(names: Sequence[str]) -> bool:
        by_free, by_safe = ((outputs({n: s[n] for n in names}) - still).norm() for s in (free, safe))
        floor = torch.finfo(like.dtype).eps ** 0.5 * still.norm()
        return not by_safe <= max(STILL * by_free, floor)

    if moved(list(safe)):
        name = next((name for name in safe if moved([name])), "one of the weights")
        raise UnsupportedModule(
            f"`{name}` does not do what its moment says: a step that no retained input should notice moves "
            "the outputs of retained samples. The moments are not those of this model on these data, or the "
            "weight has a use that its pass did not show, outside PyTorch's operations. Measure the moments "
            "again, or let the weight stand still: `requires_grad_(False)`."
        )


def per_layer(what: str, value: Any | Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """One value for all layers, or a mapping that names each of them."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value)
    if value.keys() != names.keys():
        raise ValueError(f"`{what}` must name exactly {', '.join(names)}; got {', '.join(value)}.")
    return dict(value)
