"""Experiments with PGU: another loss, other directions, and what breaks the guarantee if it may move."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples
from unlearn_lib.methods.pgu.guard import Guard
from unlearn_lib.methods.pgu.method import ProjectionTrace, pgu
from unlearn_lib.methods.pgu.moments import weighted_layers
from unlearn_lib.methods.pgu.projection import Projector, Spectra, Spectrum
from unlearn_lib.params import batch_norms
from unlearn_lib.train import Recipe, Step, Unlearned, as_run, cross_entropy

__all__ = ["Directions", "Loose", "ascent_loss", "pgu_but"]

Directions = Literal["retained", "random", "none"]
Loose = Literal["statistics", "affine", "bias"]


def ascent_loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Minus the cross-entropy. It stalls on memorized samples and explodes on forgotten ones."""
    return -cross_entropy(model, batch)


@as_run
@check.arguments
def pgu_but(
    model: nn.Module,
    retained: Spectra,
    forget: Examples,
    recipe: Recipe,
    *,
    directions: Directions = "retained",
    loose: Collection[Loose] = (),
    **options: Any,
) -> Generator[Step, None, Unlearned[ProjectionTrace]]:
    """PGU, but with other directions, or with a part let loose; by default it is `pgu`.

    Args:
        model, retained, forget, recipe: see `pgu`.
        directions: "retained" are the method's; "random" protects a random subspace of the same rank; "none"
            protects nothing.
        loose: what may move without projection: batch norm's running "statistics" or its "affine" parameters,
            or the "bias" of linear and convolution layers.
        options: the other arguments of `pgu`.

    Raises:
        ValueError: see `pgu`.
        TypeError: see `pgu`.
    """
    for part in loose:
        check.choice("loose", part, get_args(Loose))
    guard = _Altered(directions, loose, recipe.seed)
    return pgu(model, retained, forget, recipe, guard=guard, **options)


class _Altered(Guard):
    """A guard with a gap."""

    def __init__(self, directions: Directions, loose: Collection[Loose], seed: int) -> None:
        self.directions, self.loose, self.seed = directions, loose, seed

    def release(self, model: nn.Module, retained: Spectra, freeze: Collection[str]) -> dict[str, Tensor]:
        biases = [layer.bias for layer in weighted_layers(model).values() if layer.bias is not None]
        weights = super().release(model, retained, freeze)
        free = biases if "bias" in self.loose else []
        if "affine" in self.loose:
            free += [p for norm in batch_norms(model) for p in norm.parameters()]
        for p in free:
            p.requires_grad_(True)
        return weights

    def projector(self, spectrum: Spectrum, k: Sequence[int]) -> Projector:
        if self.directions == "random":
            stream = torch.Generator().manual_seed(self.seed)
            noise = torch.randn(spectrum.vectors.shape, generator=stream, dtype=torch.float64)
            return Projector.of(torch.linalg.qr(noise).Q, k)
        return spectrum.projector(k if self.directions == "retained" else [0] * len(k))

    def settle(self, model: nn.Module) -> None:
        model.eval()
        for norm in batch_norms(model) if "statistics" in self.loose else ():
            norm.train()
