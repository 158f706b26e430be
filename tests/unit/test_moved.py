"""Import paths of version 0.1."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from unlearn_lib.moved import MOVED


@pytest.mark.parametrize("old", [old for old in MOVED if old != "lesson"])
def test_an_old_path_gives_the_very_module_and_names_the_new_path(old: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("unlearn_lib.lesson")  # which has moved as well
    sys.modules.pop(f"unlearn_lib.{old}", None)
    with pytest.warns(
        DeprecationWarning, match=rf"unlearn_lib\.{old} has moved to unlearn_lib\.{MOVED[old]}\."
    ):
        found = importlib.import_module(f"unlearn_lib.{old}")
    assert found is importlib.import_module(f"unlearn_lib.{MOVED[old]}")


def test_a_script_of_version_0_1_still_runs() -> None:
    code = "from unlearn_lib.lesson import charts; import unlearn_lib.noise; from unlearn_lib import chain"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"unlearn_lib\.nothing"):
        importlib.import_module("unlearn_lib.nothing")
