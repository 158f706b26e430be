"""What keeps retained inputs from noticing a step: what moves, in which directions, and in which mode."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from unlearn_lib.data import Examples
from unlearn_lib.methods.pgu.moments import require_model
from unlearn_lib.methods.pgu.projection import Projector, Spectra, Spectrum, require_still

__all__ = ["Guard", "require_fit"]


class Guard:
    """The three conditions of PGU's guarantee. `controls.py` breaks them one at a time."""

    def release(self, model: nn.Module, retained: Spectra, freeze: Collection[str]) -> dict[str, Tensor]:
        """Let the weights that have a moment take gradients, unless they are frozen, and nothing else."""
        own = {name: p for name, p in model.named_parameters() if name in retained.layers and p.requires_grad}
        for name in freeze:
            if name not in own:
                raise ValueError(f"`freeze` must name weights among {', '.join(own)}; got {name!r}.")
        weights: dict[str, Tensor] = {name: p for name, p in own.items() if name not in freeze}
        if not weights:
            raise ValueError(
                "`model` must have a weight that may move; all that have a moment are frozen, by "
                "`requires_grad=False` or `freeze`."
            )
        model.requires_grad_(False)
        for p in weights.values():
            p.requires_grad_(True)
        return weights

    def projector(self, spectrum: Spectrum, k: Sequence[int]) -> Projector:
        """I - U_k U_k^T of one weight; each group has its own k."""
        return spectrum.projector(k)

    def settle(self, model: nn.Module) -> None:
        """Batch norm and dropout are off. Called before every step, because `train` starts in train mode."""
        model.eval()


def require_fit(model: nn.Module, original: nn.Module, retained: Spectra, forget: Examples) -> None:
    """Refuse what would silently lose the guarantee."""
    require_model(retained.model, original)
    theirs = original.state_dict()
    for name, value in model.state_dict().items():
        if name not in theirs or (
            name not in retained.layers and not torch.equal(value, theirs[name].to(value))
        ):
            raise ValueError(
                f"`model` and `original` must differ in projected weights only, as after an earlier request; "
                f"`{name}` differs, so the moments do not describe `model`."
            )
    if torch.isin(forget.ids.cpu(), retained.ids).any():
        raise ValueError(
            "`retained` must not count the forget samples: their own directions would be protected. "
            "Subtract them first: spectra(stored.without(model, forget))."
        )
    require_still(original, retained)
