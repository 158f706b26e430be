"""The one table of this package, as text and as HTML: of a scorecard, a contest, a panel."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn_lib import check

__all__ = ["Grid", "escaped"]


def escaped(text: object) -> str:
    """The text for HTML. A notebook would typeset anything between two bare dollars."""
    return html.escape(str(text)).replace("$", "<span>$</span>")


@dataclass(frozen=True)
class Grid:
    """A table that shows in a notebook, in a panel and in a page.

    Numbers are aligned to the right: cells that are not text, and all cells of the columns `numbers`. Text is
    aligned to the left, beside the name of its row.

    Args:
        caption: above the table; empty for none.
        head: names of the columns; empty for none.
        rows: cells, the first one the name of the row. A row shorter than the head spans the rest.
        numbers: columns of formatted numbers, counted from 0.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: Collection[int] = ()

    def __post_init__(self) -> None:
        check.fields(self)
        widest = len(self.head) or max(map(len, self.rows), default=1)
        if wide := [row for row in self.rows if not 0 < len(row) <= widest]:
            raise ValueError(f"`rows` must have at most {widest} cells, as `head` has; got {wide[0]}.")

    def __str__(self) -> str:
        lines = [[words(cell) for cell in row] for row in (self.head, *self.rows) if row]
        columns = max(map(len, lines), default=0)
        full = [line for line in lines if len(line) == columns]
        widths = [max(map(len, column)) for column in zip(*full, strict=True)]
        if self.head:
            lines.insert(1, ["-" * width for width in widths])
        text = [
            "  ".join(
                cell.rjust(width) if i in self.numbers and len(line) == columns else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=False))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, *text] if self.caption else text)

    def _repr_html_(self) -> str:
        caption = f"<caption>{escaped(self.caption)}</caption>" if self.caption else ""
        head = "".join(
            f'<th scope="col"{_left(i not in self.numbers)}>{escaped(cell)}</th>'
            for i, cell in enumerate(self.head)
        )
        if head:
            head = f"<thead><tr>{head}</tr></thead>"
        body = ""
        for first, *cells in self.rows:
            spans = len(cells) == 1 < len(self.head) - 1
            span = f' colspan="{len(self.head) - 1}"' if spans else ""
            row = "".join(
                f"<td{span}{_left(isinstance(cell, str) and (spans or i not in self.numbers))}>"
                f"{escaped(words(cell))}</td>"
                for i, cell in enumerate(cells, 1)
            )
            body += f'<tr><th scope="row"{_left(True)}>{escaped(words(first))}</th>{row}</tr>'
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def words(value: object) -> str:
    """A value as a reader wants it: numbers with four digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _left(left: bool) -> str:
    """The style of a cell whose text is aligned to the left; notebooks align all others to the right."""
    return ' style="text-align: left"' if left else ""
