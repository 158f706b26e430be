"""UNSIR: forget a class by noise that maximizes the error, an impair epoch, and a repair epoch."""

from unlearn_lib.methods.unsir.method import (
    PAPER,
    NoiseTrace,
    UnsirRecipe,
    gaussian_noise,
    impair,
    impair_only,
    impair_set,
    make_noise,
    no_noise,
    repair,
    retain_subset,
    unsir,
)

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
]
