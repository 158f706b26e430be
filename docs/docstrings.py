"""Docstrings are plain text with Google's sections; Sphinx reads reST. What differs is put right here.

An indented block after a blank line is an equation or an example, and is shown as it stands. A heading of our
own, such as "Differs from the paper:", becomes a small heading. Signs that mean something in reST alone, such
as the bars of a norm, are ordinary signs.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import Any

SECTIONS = {"Args:", "Raises:", "Example:"}  # napoleon knows these
FIELDS = {"Returns:": ":returns:", "Yields:": ":Yields:"}  # where it would take words for a type
HEADING = re.compile(r"(?P<indent> *)(?P<title>[A-Z][^`]*[^:\s]):$")
ITEM = re.compile(r" *(?:[-*]|\d+\.) +")
CODE = re.compile(r"(``.+?``|`[^`]+`)")
SIGNS = re.compile(r"([|\\]|(?<=\w)_(?=[\s.,;:)]|$))")


def depth(line: str) -> int:
    """How far a line is indented."""
    return len(line) - len(line.lstrip())


def paragraphs(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """The lines in paragraphs: whether each is a block to be shown as it stands, and its lines."""
    text, found = 0, list[str]()
    for line in [*lines, ""]:
        if line.strip():
            found.append(line)
        elif found:
            shown = depth(found[0]) > text and text >= 0
            yield shown, found
            if not shown:
                item = ITEM.match(found[-1] if ITEM.match(found[-1]) else found[0])
                text = depth(found[-1]) if len(found) > 1 or item is None else item.end()
            found = []


def rest(lines: list[str]) -> list[str]:
    """The reST of a docstring."""
    written: list[str] = []
    for shown, block in joined(paragraphs(lines)):
        if shown:
            indent, body = " " * depth(block[0]), textwrap.dedent("\n".join(block)).split("\n")
            indent = indent[:-4]
            written += [
                f"{indent}.. code-block:: {language(body)}",
                "",
                *[f"{indent}    {line}".rstrip() for line in body],
            ]
        else:
            written += paragraph(block)
        written.append("")
    return written


def joined(blocks: Iterator[tuple[bool, list[str]]]) -> Iterator[tuple[bool, list[str]]]:
    """Blocks that follow each other as one, with a blank line between."""
    held: list[str] = []
    for shown, block in blocks:
        if shown:
            held = [*held, "", *block] if held else block
            continue
        if held:
            yield True, held
            held = []
        yield False, block
    if held:
        yield True, held


def paragraph(lines: list[str]) -> list[str]:
    """An ordinary paragraph, or a heading with the paragraph below it."""
    found = HEADING.fullmatch(lines[0])
    if not found or lines[0].strip() in SECTIONS or len(lines) < 2 or depth(lines[1]) <= depth(lines[0]):
        return [plain(line) for line in lines]
    body = textwrap.dedent("\n".join(lines[1:])).split("\n")
    if field := FIELDS.get(lines[0].strip()):
        first, *others = map(plain, body)
        return [f"{found['indent']}{field} {first}", *(f"{found['indent']}    {line}" for line in others)]
    body = works(body) if found["title"] == "References" else body
    return [f".. rubric:: {found['title']}", "", *map(plain, body)]


def works(lines: list[str]) -> list[str]:
    """Cited works as a list; each ends with a full stop at the end of a line."""
    begins = [True, *(line.endswith(".") for line in lines)]
    return [f"{'- ' if new else '  '}{line}" for new, line in zip(begins, lines, strict=False)]


def plain(line: str) -> str:
    """A line in which only backticks and stars mark anything."""
    parts = CODE.split(line)
    return "".join(part if number % 2 else SIGNS.sub(r"\\\1", part) for number, part in enumerate(parts))


def language(lines: list[str]) -> str:
    """Python, if it is; else text."""
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError:
        return "text"
    return (
        "python"
        if any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree))
        else "text"
    )


def convert(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """For the event `autodoc-process-docstring`, before napoleon."""
    lines[:] = rest(lines)
