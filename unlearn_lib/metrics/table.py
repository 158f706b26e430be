"""Tables, as text and as HTML."""

from __future__ import annotations

import html

__all__ = ["escaped"]


def escaped(text: object) -> str:
    """For HTML: the text as it is. A notebook would typeset what stands between two bare dollars."""
    return html.escape(str(text)).replace("$", "<span>$</span>")
