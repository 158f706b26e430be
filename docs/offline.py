"""Pages that ask nothing of the network when somebody reads them."""

from __future__ import annotations

import re

ASKING = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", re.I
)
HARMLESS = re.compile(r"<link\b[^>]*\brel=[\"']?(?:canonical|license)\b", re.I)


def asking(page: str) -> list[str]:
    """The tags of a page that make a browser ask a server for something."""
    return [tag for tag in ASKING.findall(page) if not HARMLESS.match(tag)]
