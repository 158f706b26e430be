"""Geometry for every rank at once, against direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from unlearn_lib.methods.pgu.projection import spectrum
from unlearn_lib.metrics.subspaces import along, cumulative, drift, leak, movable, principal_angles, survival


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moment(D, n, seed=0):
    p = normal(D, n, seed=seed)
    return p @ p.T


def test_suffix_sums_equal_the_direct_computation_at_every_rank():
    M_r, M_f, G = moment(9, 30), moment(9, 6, seed=1), normal(4, 9, seed=2)
    values, U, _ = spectrum(M_r)
    rho, rest, share = survival(G, U), leak(values), movable(M_f, U)
    for k in range(10):
        outside = torch.eye(9) - U[:, :k] @ U[:, :k].T
        kept = G @ outside
        assert math.isclose(rho[k], kept.norm() / G.norm(), abs_tol=1e-7)
        assert math.isclose(rest[k], (outside @ M_r @ outside).trace().clamp(min=0).sqrt(), abs_tol=1e-6)
        assert math.isclose(share[k], (outside @ M_f @ outside).trace() / M_f.trace(), abs_tol=1e-12)
        if k < 9:
            cosine = (G * kept).sum() / (G.norm() * kept.norm())
            assert math.isclose(rho[k], cosine, rel_tol=1e-9)
    assert len(rho) == len(rest) == len(share) == 10


def test_energy_along_the_retained_directions_is_lambda_for_the_retained_moment():
    M = moment(7, 20)
    values, U, _ = spectrum(M)
    torch.testing.assert_close(along(M, U), values)


def test_cumulative_fractions_end_at_one_and_sigma_lies_below_sigma2():
    values = spectrum(moment(12, 40)).values
    sigma, sigma2 = cumulative(values, "sigma"), cumulative(values, "sigma2")
    assert sigma[-1] == pytest.approx(1)
    assert sigma2[-1] == pytest.approx(1)
    assert (sigma[:-1] < sigma2[:-1]).all()
    assert not cumulative(torch.zeros(3), "sigma").any()  # a dead layer: nothing to protect


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 5), (5, 2), (4, 4)])
def test_principal_angles_agree_with_scipy(a, b):
    A, B = normal(9, a), normal(9, b, seed=1)
    wanted = np.sort(scipy.linalg.subspace_angles(A.numpy(), B.numpy()))
    np.testing.assert_allclose(principal_angles(A, B), wanted, atol=1e-12)


@pytest.mark.parametrize("angle", [1e-12, 1e-8, 0.3, math.pi / 4, math.pi / 2 - 1e-8])
def test_principal_angles_keep_digits_that_cosine_or_sine_would_lose(angle):
    A = torch.eye(5, dtype=torch.float64)[:, :1]
    B = torch.zeros(5, 1, dtype=torch.float64)
    B[0], B[1] = math.cos(angle), math.sin(angle)
    assert principal_angles(A, B).item() == pytest.approx(angle, rel=1e-7, abs=0)


def test_principal_angles_of_nested_equal_and_empty_spans():
    A = normal(8, 3)
    wide = torch.cat([A @ normal(3, 3, seed=2), normal(8, 2, seed=1)], 1)
    assert principal_angles(A, wide).max() < 1e-12
    assert len(principal_angles(A, A[:, :0])) == 0
    orthogonal = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(
        principal_angles(orthogonal[:, :2], orthogonal[:, 2:]), torch.full((2,), math.pi / 2).double()
    )


def test_drift_is_the_largest_and_the_mean_change():
    before = torch.zeros(2, 2)
    after = torch.tensor([[0.0, -3.0], [1.0, 0.0]])
    assert drift(before, after) == (3.0, 1.0)
