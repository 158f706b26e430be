"""Every public name has a user: the library, a lesson, a script of `ci/`, or a reader of the README."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "unlearn_lib").rglob("*.py"))
LESSONS = sorted((ROOT / "notebooks" / "src").glob("*.py"))
SCRIPTS = sorted((ROOT / "ci").glob("*.py"))  # the campaigns below it only test
PAGES = [ROOT / "README.md"]


def public(path: Path) -> list[str]:
    """What a module lists in `__all__`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(ast.literal_eval(name)) for name in getattr(node.value, "elts", ())]
    return []


def uses(path: Path) -> Counter[str]:
    """Names that a file reads, as themselves or as attributes; what it merely imports it does not use."""
    return Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


def test_every_public_name_is_used_or_a_page_names_it() -> None:
    used = sum((uses(path) for path in (*LIBRARY, *LESSONS, *SCRIPTS)), Counter[str]())
    told = set(re.findall(r"\w+", " ".join(page.read_text(encoding="utf-8") for page in PAGES)))
    lonely = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in LIBRARY
        for name in public(path)
        if name not in used and name not in told
    ]
    assert not lonely, f"only tests use {lonely}: delete them, or name them in the README"
