"""The code on the pages of docs/ runs, and their helpers do what they say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
METHODS = sorted(path for path in (DOCS / "methods").glob("*.md") if path.stem != "index")
PAGES = [DOCS / "own_model.md", DOCS / "index.md", DOCS / "metrics.md", ROOT / "README.md", *METHODS]


@pytest.mark.slow
def test_the_code_on_the_pages_runs(tmp_path: Path) -> None:
    call = [sys.executable, str(ROOT / "tests/docs/pages.py"), *map(str, PAGES)]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


def test_every_method_has_a_page() -> None:
    pages = {path.stem for path in METHODS}
    entries = {path.stem for path in (ROOT / "unlearn_lib/contest/entries").glob("*.py")}
    assert pages == entries - {"__init__"}


def loaded(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCSTRING = """A loss.

With the norm of x_ and || y ||:

    L = || y ||_1

1.  *First.* One:

        N_c = 0

Differs from the paper:
    We add one.

Args:
    x: `Tensor` of |x|.

Returns:
    The norm: a number
    >= 0.

References:
    A. One, 2020,
    arXiv.
    B. Two, 2021."""

REST = r"""A loss.

With the norm of x\_ and \|\| y \|\|:

.. code-block:: text

    L = || y ||_1

1.  *First.* One:

    .. code-block:: text

        N_c = 0

.. rubric:: Differs from the paper

We add one.

Args:
    x: `Tensor` of \|x\|.

:returns: The norm: a number
    >= 0.

.. rubric:: References

- A. One, 2020,
  arXiv.
- B. Two, 2021.
"""


def test_a_docstring_becomes_rest_that_shows_the_same() -> None:
    assert "\n".join(loaded("docstrings").rest(DOCSTRING.split("\n"))) == REST


def test_a_script_becomes_prose_and_code_in_turns() -> None:
    script = "# A title.\n#\n# Some\n# prose.\nimport x\n\n\n# More.\n"
    script += "f(  # a remark\n    # inside\n)  # fmt: skip\n"
    assert list(loaded("scripts").paragraphs(script)) == [
        (False, ["Some", "prose."]),
        (True, ["import x"]),
        (False, ["More."]),
        (True, ["f(  # a remark", "    # inside", ")  # fmt: skip"]),
    ]


def test_a_script_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("print(1)\n1 / 0\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"broken.py failed:[\s\S]*ZeroDivisionError"):
        loaded("scripts").output(path)


@pytest.mark.parametrize(
    ("tag", "asks"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ("<link rel='stylesheet' href='//fonts.example/css'>", True),
        ('<img alt="a" src="http://example.org/a.png">', True),
        ('<img alt="a" src="_images/a.svg">', False),
        ('<a href="https://arxiv.org/abs/2111.08947">paper</a>', False),
        ('<link rel="canonical" href="https://example.org/">', False),
    ],
)
def test_a_page_that_asks_the_network_is_found_out(tag: str, asks: bool) -> None:
    assert bool(loaded("finish").asking(f"<p>{tag}</p>")) == asks


def test_a_page_is_given_what_its_theme_leaves_out() -> None:
    page = '<aside class="sidebar-drawer"><pre>x</pre><dl>\n<dd>x: int,</dd>\n</dl><dl>\n<dt>a</dt>\n</dl>'
    finish = loaded("finish")
    done = finish.accessible(page)
    assert 'aria-label="All pages"' in done
    assert '<pre tabindex="0">x' in done
    assert '<span class="parameter">x: int,</span>' in done
    assert "<dl>\n<dt>a</dt>\n</dl>" in done
    assert finish.accessible(done) == done
