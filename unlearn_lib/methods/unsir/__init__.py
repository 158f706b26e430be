"""UNSIR: forget a class by noise that maximizes the error, an impair epoch, and a repair epoch."""

from unlearn_lib.methods.unsir.controls import gaussian_noise, impair_only, no_noise, unsir_but
from unlearn_lib.methods.unsir.method import (
    NoiseTrace,
    impair,
    impair_set,
    make_noise,
    repair,
    retain_subset,
    unsir,
)
from unlearn_lib.methods.unsir.recipe import PAPER, UnsirRecipe

__all__ = [
    "PAPER",
    "NoiseTrace",
    "UnsirRecipe",
    "gaussian_noise",
    "impair",
    "impair_only",
    "impair_set",
    "make_noise",
    "no_noise",
    "repair",
    "retain_subset",
    "unsir",
    "unsir_but",
]
