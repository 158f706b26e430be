"""Geometry of retained and forgotten inputs: what a projected update can still do, for every rank at once.

All functions take arrays and are cheap: one eigendecomposition M_r = U diag(lambda) U^T per layer (see
`unlearn_lib.methods.pgu.projection`) serves every retention level, so a slider only reads an entry. Arrays
over the rank k have length D + 1: entry k is the value when the first k directions are protected.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.methods.pgu.projection import RankRule, cumulative, rank

__all__ = [
    "Drift",
    "RankRule",
    "along",
    "cumulative",
    "drift",
    "leak",
    "movable",
    "principal_angles",
    "rank",
    "survival",
]


class Drift(NamedTuple):
    """Largest and mean absolute change of a set of outputs."""

    max: float
    mean: float


def along(M: Float[Tensor, "D D"], U: Float[Tensor, "D D"]) -> Float[Tensor, " D"]:
    """u_j^T M u_j: the energy that the inputs behind M have along each direction; lambda for M_r itself.

    Raises:
        ValueError: these are not square matrices of one size, or an entry is not finite.
    """
    _square("M", M, len(_square("U", U)))
    return ((M @ U) * U).sum(0)


def survival(G: Float[Tensor, "out D"], U: Float[Tensor, "D D"]) -> Float[Tensor, " D+1"]:
    """rho_k = ||G (I - U_k U_k^T)|| / ||G|| for k = 0 ... D: the share of an update that survives.

    Also the cosine of the update before and after; under plain SGD, first-order progress is rho^2 of the
    unprojected step's.

    Raises:
        ValueError: the update has another size, or is zero, so no share of it can survive.
    """
    size = len(_square("U", U))
    if check.finite("G", G, "out D").shape[1] != size:
        raise ValueError(f"`G` must be [out, {size}], as wide as `U`; got {list(G.shape)}.")
    if not G.any():
        raise ValueError("`G` must not be zero: no share of it can survive.")
    tail = _tails((G @ U).square().sum(0))
    return (tail / tail[0]).sqrt()


def leak(values: Float[Tensor, " D"]) -> Float[Tensor, " D+1"]:
    """(sum_{i>k} lambda_i)^(1/2) for k = 0 ... D: retained outputs move by at most this times ||dW||.

    ||dW X_r||_F <= ||dW (I - U_k U_k^T)||_F (sum_{i>k} lambda_i)^(1/2), for one update or a whole run's.

    Raises:
        ValueError: an eigenvalue is negative or not finite.
    """
    if len(check.finite("values", values, "D")) and float(values.min()) < 0:
        raise ValueError(f"`values` must be zero or more, as energies are; got {float(values.min()):.4g}.")
    return _tails(values).sqrt()


def movable(M_f: Float[Tensor, "D D"], U: Float[Tensor, "D D"]) -> Float[Tensor, " D+1"]:
    """Share of the forget inputs' energy outside the protected directions, for k = 0 ... D.

    Near 0 there is nothing to push against: what is to be forgotten looks like what is to be kept.

    Raises:
        ValueError: these are not square matrices of one size, or `M_f` has no energy.
    """
    if not _square("M_f", M_f).any():
        raise ValueError("`M_f` must not be zero: without energy no share of it is movable.")
    tail = _tails(along(M_f, U))
    return tail / tail[0]


def principal_angles(A: Float[Tensor, "D a"], B: Float[Tensor, "E b"]) -> Float[Tensor, " m"]:
    """The principal angles between the spans of two sets of columns, in radians, smallest first.

    Cosines lose half the digits of small angles, sines those of right angles; each is used where it is good
    (Björck, Golub: Numerical methods for computing angles between linear subspaces. Math. Comp. 1973).

    Args:
        A: linearly independent columns; they need not be orthonormal.
        B: likewise.

    Returns:
        min(a, b) angles in [0, pi/2].

    Raises:
        ValueError: the columns differ in length, or there are more of them than they have entries.
    """
    for name, columns in (("A", A), ("B", B)):
        D, count = check.finite(name, columns, "D columns").shape
        if count > D:
            raise ValueError(f"`{name}` must have at most {D} columns of {D} entries; got {count}.")
    if len(A) != len(B):
        raise ValueError(f"`A` and `B` must have columns of one length; got {len(A)} and {len(B)}.")
    A, B = (torch.linalg.qr(columns).Q for columns in (A, B))
    if A.shape[1] < B.shape[1]:
        A, B = B, A
    inner = A.T @ B
    cosines = torch.linalg.svdvals(inner).clamp(max=1)
    sines = torch.linalg.svdvals(B - A @ inner).flip(0).clamp(max=1)
    return torch.where(cosines.square() < 0.5, cosines.arccos(), sines.arcsin())


def drift(before: Float[Tensor, "n K"], after: Float[Tensor, "m L"]) -> Drift:
    """How far outputs moved. Zero for retained inputs means nothing without the value for forgotten ones.

    Raises:
        ValueError: the outputs differ in shape, there are none, or one is not finite.
    """
    for name, part in (("before", before), ("after", after)):
        check.finite(name, part, "n K")
    if before.shape != after.shape or not before.numel():
        raise ValueError(
            "`before` and `after` must be outputs of the same samples; "
            f"got {list(before.shape)} and {list(after.shape)}."
        )
    change = (after - before).abs()
    return Drift(float(change.max()), float(change.mean()))


def _square(name: str, matrix: Tensor, size: int | None = None) -> Tensor:
    found = check.finite(name, matrix, "D D")
    if len(found) != found.shape[1] or len(found) != (len(found) if size is None else size):
        wanted = "D, D" if size is None else f"{size}, {size}"
        raise ValueError(f"`{name}` must have shape [{wanted}]; got {list(found.shape)}.")
    return found


def _tails(terms: Tensor) -> Tensor:
    """sum_{j>k} of the terms for k = 0 ... D."""
    return torch.cat([terms.flip(0).cumsum(0).flip(0), terms.new_zeros(1)])
