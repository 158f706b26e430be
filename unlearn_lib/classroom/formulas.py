"""Markdown whose formulas become MathML: pages that need no script and no network, and get none."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from unlearn_lib import check

__all__ = ["POLICY", "mathml", "render"]

# For the head of a page: whatever an output or a text may hold, no script runs and nothing is fetched.
POLICY = """<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">"""


class MathMLRenderer(IPythonRenderer):
    """Markdown whose formulas become MathML, which browsers draw and read out without a script."""

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def multiline_math(self, text: str) -> str:
        return mathml(text, "block")


def mathml(tex: str, display: str) -> str:
    """A formula as MathML, with its TeX for software that reads that better."""
    check.instance("tex", tex, str), check.choice("display", display, ("inline", "block"))
    found = convert(html.unescape(tex).strip(), display=display)
    return found.replace("<math ", f'<math alttext="{html.escape(tex.strip(), quote=True)}" ', 1)


DETAILS = re.compile(r"<details>.*?</details>", re.S)
APART = re.compile(r"(<(?:pre|code|math)\b.*?</(?:pre|code|math)>)", re.S)
DOLLARS = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$", re.S)


def render(text: str) -> str:
    """Markdown as HTML. Markdown leaves HTML blocks alone, so formulas in folded hints are found here."""
    check.instance("text", text, str)
    found = str(MarkdownWithMath(renderer=MathMLRenderer(escape=False)).render(text))
    return DETAILS.sub(lambda block: "".join(map(_formulas, APART.split(block[0]))), found)


def _formulas(text: str) -> str:
    if APART.match(text):
        return text
    return DOLLARS.sub(lambda m: mathml(m[m.lastgroup or ""], m.lastgroup or ""), text)
