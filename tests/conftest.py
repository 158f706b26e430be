"""What every test shares: run-time shape checks, one thread, the digits, and the real data."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of child processes too: another number of threads gives other bits

from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401 - loaded before the hook, which names it

install_import_hook("unlearn_lib", "tests.typecheck.check")  # shapes in signatures are checked in tests only

import pytest
import torch

from unlearn_lib import data
from unlearn_lib.data import Dataset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The real handwritten digits that come with scikit-learn."""
    return data.load("digits")


@pytest.fixture(scope="session")
def unlearn_data() -> str:
    """The folder of real MNIST, CIFAR-10 and Location-30; the test skips where there is none."""
    folder = os.environ.get("UNLEARN_DATA")
    if not folder:
        pytest.skip("UNLEARN_DATA names no folder with the real data sets")
    return folder
