"""The names of tests are the laws of the library: sentences that one can read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
NAMES = [
    (path.name, node.name.removeprefix("test_"))
    for path in sorted(TESTS.rglob("test_*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


def test_the_name_of_a_test_is_a_sentence_of_at_most_seventy_characters() -> None:
    assert len(NAMES) > 1_000
    wrong = [found for found in NAMES if len(found[1]) > 70 or "_" not in found[1]]
    assert not wrong, wrong


def test_the_name_of_a_test_needs_no_key_to_be_read() -> None:
    wrong = [found for found in NAMES if re.match(r"[a-z]\d+_", found[1])]
    assert not wrong, wrong
