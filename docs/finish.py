"""The last touch to a page that was built: it asks nothing of the network, and can be read by key."""

from __future__ import annotations

import re

ASKING = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", re.I
)
HARMLESS = re.compile(r"<link\b[^>]*\brel=[\"']?(?:canonical|license)\b", re.I)
PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")  # of a signature: a list of terms without a term
REPLACED = {
    "<pre>": '<pre tabindex="0">',  # long lines scroll, by key as well
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer': '<aside aria-label="This page" class="toc-drawer',
}


def asking(page: str) -> list[str]:
    """The tags of a page that make a browser ask a server for something."""
    return [tag for tag in ASKING.findall(page) if not HARMLESS.match(tag)]


def accessible(page: str) -> str:
    """The page with what its theme leaves out."""
    for old, new in REPLACED.items():
        page = page.replace(old, new)
    return PARAMETERS.sub(_spans, page)


def _spans(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")
    return f'<span class="parameters">{lines}</span>'
