"""Build the learner's and the solution notebook from each master in notebooks/src.

    python ci/build_notebooks.py            write notebooks/*.ipynb and notebooks/solutions/*.ipynb
    python ci/build_notebooks.py --check    change nothing; exit 1 when a notebook is not what its master says

A master is a py:percent script. `# BEGIN SOLUTION` ... `# END SOLUTION` inside a code cell becomes a stub for
learners; the cell tags `solution` and `learner` mark cells that only one of the two notebooks has. The bar
that leads to the neighbors is written below the title, and a first code cell says what to install where the
package is missing. The same master always gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from unlearn_lib import __version__

ROOT = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
BLOCK = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n(.*?)^[ \t]*# END SOLUTION\n?", re.M | re.S)
STUB = 'raise NotImplementedError("your turn")'
TITLE = re.compile(r"\A# (.+)$", re.M)
PACKAGE = f"unlearn-lessons[lab]=={__version__}"
FIRST = f"""\
# Is the package missing? Then this cell says how to get it; on Colab it installs it.
import sys
from importlib.util import find_spec

if find_spec("unlearn_lib") is None or find_spec("anywidget") is None:
    if "google.colab" not in sys.modules:
        raise ImportError('This lesson needs a package. Install it: python -m pip install "{PACKAGE}"')
    get_ipython().run_line_magic("pip", 'install -q "{PACKAGE}"')"""
BAR = re.compile(r"\n*<!-- navigation -->.*?<!-- end of navigation -->", re.S)


def build(root: Path) -> dict[Path, bytes]:
    """What every generated notebook must contain."""
    masters = [(path.stem, read(path)) for path in sorted((root / "src").glob("*.py"))]
    titles = [(stem, title(stem, cells)) for stem, cells in masters]
    wanted = {}
    for i, (stem, cells) in enumerate(masters):
        before, after = titles[i - 1] if i else None, titles[i + 1] if i + 1 < len(titles) else None
        for folder, solutions, up in ((root, False, ".."), (root / "solutions", True, "../..")):
            bar = navigation(before, after, up)
            wanted[folder / f"{stem}.ipynb"] = variant(stem, cells, bar, solutions=solutions).encode()
    return wanted


def read(master: Path) -> list[Any]:
    """The cells of a master."""
    cells: list[Any] = jupytext.reads(master.read_text(encoding="utf-8"), fmt="py:percent").cells
    return cells


def title(stem: str, cells: list[Any]) -> str:
    """The heading that the first cell begins with."""
    found = TITLE.match(cells[0].source) if cells and cells[0].cell_type == "markdown" else None
    if not found:
        raise ValueError(f"{stem}.py: the first cell must be markdown and begin with '# Title'.")
    return found[1].strip()


def navigation(before: tuple[str, str] | None, after: tuple[str, str] | None, up: str) -> str:
    """The bar of links, between two markers."""
    links = [f"[← {before[1]}]({before[0]}.ipynb)"] if before else []
    links.append(f"[All lessons]({up}/README.md#lessons)")
    links += [f"[{after[1]} →]({after[0]}.ipynb)"] if after else []
    return f"<!-- navigation -->\n{' · '.join(links)}\n<!-- end of navigation -->"


def with_bar(text: str, bar: str) -> str:
    """The title cell with the bar below its title, replacing an older one."""
    return TITLE.sub(lambda m: f"{m[0].rstrip()}\n\n{bar}", BAR.sub("", text), count=1)


def variant(stem: str, cells: list[Any], bar: str, *, solutions: bool) -> str:
    """The text of one notebook: no outputs, no execution counts, and ids derived from the content."""
    made: list[Any] = []
    seen: Counter[str] = Counter()
    for number, cell in enumerate(cells):
        tags = list(cell.metadata.get("tags", []))
        if ("learner" if solutions else "solution") in tags:
            continue
        text, make = cell.source if number else with_bar(cell.source, bar), nbformat.v4.new_markdown_cell
        if cell.cell_type == "code":
            make = nbformat.v4.new_code_cell
            text = BLOCK.sub(lambda m: m[2] if solutions else f"{m[1]}{STUB}\n", text + "\n").strip("\n")
            if re.search("(BEGIN|END) SOLUTION", text):
                raise ValueError(f"{stem}.py: a solution marker without its partner in\n{text}")
        metadata: dict[str, Any] = {"tags": tags} if tags else {}
        if "ci-assert" in tags:  # hidden in the front end, removed from pages
            metadata = {
                "tags": [*tags, *{"remove-cell"}.difference(tags)],
                "jupyter": {"source_hidden": True},
            }
        if cell.cell_type == "code" and "checks.quiz(" in text:  # the cell holds the answers
            metadata["jupyter"] = {"source_hidden": True}
        key = f"{stem}|{cell.cell_type}|{text if number else cell.source}"
        seen[key] += 1  # an inserted cell renames no neighbor
        name = hashlib.sha256(f"{key}|{seen[key]}".encode()).hexdigest()[:12]
        made.append(make(text, metadata=metadata, id=name))
    made.insert(1, first_cell())
    nb = nbformat.v4.new_notebook(
        cells=made, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    nb.nbformat_minor = 5
    nbformat.validate(nb)
    return str(nbformat.writes(nb)).rstrip("\n") + "\n"


def first_cell() -> Any:
    """The first code cell of every notebook: folded in the front end, left out of pages."""
    metadata = {"tags": ["setup", "remove-cell"], "jupyter": {"source_hidden": True}}
    return nbformat.v4.new_code_cell(FIRST, metadata=metadata, id="package")


def stale(root: Path) -> list[str]:
    """Notebooks that differ from their master, are missing, or have no master."""
    wanted = build(root)
    found = {*root.glob("*.ipynb"), *root.glob("solutions/*.ipynb")}
    reasons = {path: "differs from its master" for path in found if path.read_bytes() != wanted.get(path)}
    reasons |= dict.fromkeys(found - set(wanted), "has no master: delete it")
    reasons |= dict.fromkeys(set(wanted) - found, "is missing")
    return sorted(f"{path.relative_to(root).as_posix()} {reason}" for path, reason in reasons.items())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that holds src/ (default: notebooks)")
    args = parser.parse_args(arguments)
    try:
        if not args.check:
            for path, content in build(args.root).items():
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)  # bytes: LF on every system
        reasons = stale(args.root)
    except ValueError as error:
        reasons = [str(error)]
    print("\n".join(reasons) or f"{len(build(args.root))} notebooks are what their masters say", flush=True)
    return bool(reasons)


if __name__ == "__main__":
    sys.exit(main())
