"""Spectra, ranks and projectors, on numbers worked out by hand."""

from __future__ import annotations

import time

import pytest
import torch

from unlearn_lib.methods.pgu.projection import Projector, Spectrum, cumulative, rank, spectrum

VALUES = torch.tensor([9.0, 4.0, 1.0, 0.0], dtype=torch.float64)


def orthonormal(n: int, seed: int = 0) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=stream, dtype=torch.float64)).Q


def test_shares_are_of_sigma_or_of_its_square() -> None:
    assert cumulative(VALUES).tolist() == pytest.approx([3 / 6, 5 / 6, 1, 1])
    assert cumulative(VALUES, "sigma2").tolist() == pytest.approx([9 / 14, 13 / 14, 1, 1])
    assert torch.equal(cumulative(VALUES, "sigma"), cumulative(VALUES))


@pytest.mark.parametrize(
    ("energy", "rule", "k"),
    [
        *((0, "sigma", 0), (0.1, "sigma", 1), (0.5, "sigma", 1), (0.51, "sigma", 2), (5 / 6, "sigma", 2)),
        *((0.9, "sigma", 3), (1, "sigma", 3), (0.5, "sigma2", 1), (0.65, "sigma2", 2), (0.95, "sigma2", 3)),
    ],
)
def test_the_rank_is_the_least_whose_directions_hold_the_share(energy: float, rule: str, k: int) -> None:
    assert rank(VALUES, energy, rule) == k
    assert rank(VALUES, 0.51) == 2, "of sigma, unless told otherwise"


@pytest.mark.parametrize("energy", [-0.1, 1.1])
def test_a_share_outside_zero_and_one_is_refused(energy: float) -> None:
    with pytest.raises(ValueError, match=r"`energy` must be in \[0, 1\]"):
        rank(VALUES, energy)


def test_a_moment_without_any_energy_has_rank_zero() -> None:
    assert [rank(torch.zeros(3, dtype=torch.float64), energy) for energy in (0, 0.5, 1)] == [0, 0, 0]


def test_a_spectrum_is_descending_and_gives_the_moment_back() -> None:
    U, begun = orthonormal(4), time.perf_counter()
    found = spectrum(U @ torch.diag(VALUES) @ U.T)
    torch.testing.assert_close(found.values, VALUES)
    torch.testing.assert_close(
        found.vectors @ torch.diag(found.values) @ found.vectors.T, U @ torch.diag(VALUES) @ U.T
    )
    assert found.values.min() >= 0
    assert Spectrum(found.values, found.vectors).seconds == 0
    assert 0 <= found.seconds <= time.perf_counter() - begun


def test_a_negative_eigenvalue_is_clamped_with_a_warning_and_the_others_stay() -> None:
    U = orthonormal(4)
    with pytest.warns(UserWarning, match="`fc` is not positive semi-definite.*-0.22 of the largest"):
        found = spectrum(U @ torch.diag(torch.tensor([9.0, 4.0, 1.0, -2.0], dtype=torch.float64)) @ U.T, "fc")
    torch.testing.assert_close(found.values, VALUES)


@pytest.mark.parametrize("k", range(6))
def test_a_projector_removes_what_lies_along_the_first_k_directions(k: int) -> None:
    U, G = orthonormal(5), orthonormal(5, 1)[:3]
    found = Projector.of(U, k)
    assert found.basis.shape == (5, min(k, 5 - k))
    torch.testing.assert_close(found(G), G - G @ U[:, :k] @ U[:, :k].T)
    kernels = G[:, :4].reshape(3, 2, 2)
    square = orthonormal(4, 2)
    moved = Projector.of(square, min(k, 4))(kernels)
    assert moved.shape == kernels.shape
    inside = moved.flatten(1) @ square[:, : min(k, 4)]
    torch.testing.assert_close(inside, torch.zeros_like(inside))


def test_a_projector_follows_the_precision_of_what_it_is_given() -> None:
    found = Projector.of(orthonormal(5), 2).to(torch.zeros(1))
    assert found.basis.dtype == torch.float32
    assert found.protects
