"""Run the code on pages, as a reader would: python tests/docs/pages.py PAGE...

The first page's names are there for each of the others.
"""

from __future__ import annotations

import doctest
import re
import sys
import warnings
from pathlib import Path
from typing import Any

FENCED = re.compile(r"^```(?P<kind>python|pycon)\n(?P<code>.*?)^```", re.M | re.S)


def ran(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    """The names after the code of a page has run, block after block; errors point to the line of the page."""
    text = page.read_text(encoding="utf-8")
    for block in FENCED.finditer(text):
        above = text.count("\n", 0, block.start("code"))
        if block["kind"] == "python":
            exec(compile("\n" * above + block["code"], str(page), "exec"), names)
            continue
        told = doctest.DocTestParser().get_doctest(block["code"], names, page.name, str(page), above)
        found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(told, clear_globs=False)
        if found.failed or not found.attempted:
            sys.exit(f"{page}: {found}")
    return names


if __name__ == "__main__":
    first, *others = map(Path, sys.argv[1:])
    warnings.simplefilter("error")
    own = ran(first, {"__name__": "page"})
    warnings.filterwarnings("ignore", ".*lack.* a class")  # SISA's shards and small blocks may
    for other in others:
        ran(other, {**own})
