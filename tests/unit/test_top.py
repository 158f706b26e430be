"""What `import unlearn_lib` gives."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unlearn_lib


@pytest.mark.parametrize("name", unlearn_lib.__all__)
def test_every_name_at_the_top_is_the_one_of_its_module(name: str) -> None:
    found = getattr(unlearn_lib, name)
    assert found is getattr(sys.modules[found.__module__], name)
    assert name in dir(unlearn_lib)


def test_the_names_for_type_checkers_are_those_that_there_are() -> None:
    tree = ast.parse(Path(unlearn_lib.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {alias.asname: f"{node.module}" for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert told == {name: f"unlearn_lib.{home}" for name, home in unlearn_lib._HOME.items()}


def test_importing_the_package_loads_neither_torch_nor_a_method() -> None:
    code = "import sys, unlearn_lib; print('torch' in sys.modules, 'unlearn_lib.train' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="no 'forget_everything'; it has Dataset, Examples"):
        _ = unlearn_lib.forget_everything
