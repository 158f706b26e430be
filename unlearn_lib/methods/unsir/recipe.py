"""The settings of UNSIR, ours and those of the authors' public notebook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from unlearn_lib import check
from unlearn_lib.params import batch_norms

__all__ = ["PAPER", "UnsirRecipe"]

_WHOLE = {"images": 1, "noise_steps": 0, "copies": 1, "repair_epochs": 0, "batch_size": 1, "seed": None}
_INTERVALS = dict.fromkeys(("noise_lr", "impair_lr", "repair_lr"), "(0, inf)") | {"penalty": "[0, inf)"}


@dataclass(frozen=True)
class UnsirRecipe:
    """The settings of UNSIR. The defaults suit a net without batch norm; see `suited_to`.

    Args:
        images: B, noise images per class, >= 1.
        noise_steps: T_n, steps of Adam on the noise, >= 0 (0: plain Gaussian images).
        noise_lr: lr_n, > 0.
        penalty: lambda, weight of the squared norm, >= 0. It acts per pixel: see `balanced_penalty`.
        copies: how often the impair epoch shows each noise image, >= 1.
        impair_lr: lr_i, of Adam, > 0.
        repair_lr: lr_r, of Adam, > 0.
        repair_epochs: passes over R in the repair stage, >= 0.
        batch_size: b of impair and repair, >= 1.
        seed: of the noise and of the order of samples.

    Raises:
        ValueError: a field is outside its range.
        TypeError: a fraction where a whole number belongs, or no number at all.

    Example:
        >>> ul.UnsirRecipe.suited_to(model, images=64).repair_epochs
        1
    """

    images: int = 256
    noise_steps: int = 40
    noise_lr: float = 0.1
    penalty: float = 1.0
    copies: int = 1
    impair_lr: float = 2e-3
    repair_lr: float = 1e-3
    repair_epochs: int = 1
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            check.whole(name, getattr(self, name), least)
        for name, interval in _INTERVALS.items():
            check.number(name, getattr(self, name), interval)

    @classmethod
    def suited_to(cls, model: nn.Module, **changes: Any) -> UnsirRecipe:
        """Our defaults for this model; with batch norm more copies, a smaller lambda and lower rates.

        They were chosen by experiment on digits. With batch norm and lambda = 1, Gaussian noise of the same
        norms forgets nearly as much, so there learning the noise would buy nothing.
        """
        if batch_norms(model):
            suited = {"penalty": 0.2, "copies": 4, "impair_lr": 1.25e-3, "repair_lr": 2.5e-4}
            changes = suited | changes
        return cls(**changes)

    @classmethod
    def given(cls, recipe: UnsirRecipe | None, model: nn.Module) -> UnsirRecipe:
        """This recipe, or our defaults for the model if there is none."""
        return cls.suited_to(model) if recipe is None else check.instance("recipe", recipe, cls)

    def but(self, **changes: Any) -> UnsirRecipe:
        """The same recipe with some fields changed."""
        return replace(self, **changes)


PAPER = UnsirRecipe(penalty=0.1, copies=20, impair_lr=0.02, repair_lr=0.01, batch_size=256)
"""The notebook's settings (CIFAR-10, ResNet-18, 1000 retain images a class). Show `no_noise` beside it."""
