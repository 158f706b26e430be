"""Every example in a docstring of the top of the package is run, on the stage that its docstring names."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

import unlearn_lib as ul
from unlearn_lib.params import clone
from unlearn_lib.train import train

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def stage() -> dict[str, Any]:
    """What the examples share."""
    digits = ul.load("digits")
    data, recipe = digits.train, ul.Recipe(epochs=5)
    model = ul.build("mlp", digits.shape, 10)
    ul.run(train(model, data, recipe))
    return {
        "ul": ul,
        "torch": torch,
        "digits": digits,
        "data": data,
        "test": digits.test,
        "model": model.eval(),
        "recipe": recipe,
        "split": ul.Split.by_class(data, 3),
    }


def told(name: str) -> list[str]:
    """The docstrings of a name at the top: its own and, of a class, those of its public methods."""
    found = getattr(ul, name)
    parts = [found]
    if inspect.isclass(found):
        parts += [part for own, part in inspect.getmembers(found) if not own.startswith("_")]
    return [doc for part in parts if (doc := inspect.getdoc(part)) and ">>>" in doc]


@pytest.mark.parametrize("name", ul.__all__)
def test_the_examples_of_a_name_at_the_top_are_true(name: str, stage: dict[str, Any], tmp_path: Path) -> None:
    docs = told(name)
    assert docs, f"{name} has no example"
    for number, doc in enumerate(docs):
        initial, folder = ul.build("mlp", (1, 8, 8), 10), tmp_path / str(number)
        names = stage | {"initial": initial, "folder": folder, "model": clone(stage["model"])}
        example = doctest.DocTestParser().get_doctest(doc, names, name, name, 0)
        said: list[str] = []
        failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
        assert not failed, "".join(said)
