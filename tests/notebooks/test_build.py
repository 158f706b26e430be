"""The build of notebooks from masters: deterministic, complete, strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ci import build_notebooks
from ci.build_notebooks import STUB, build, stale, with_bar

MASTER = '''# %% [markdown]
# # {title}
#
# A paper, arXiv:2105.06209.

# %% tags=["parameters"]
preset: str = "lesson"  # quick | lesson | full

# %% tags=["solution"]
answer = 42

# %% tags=["learner"]
answer = None


# %%
def double(x):
    """Twice x."""
    # BEGIN SOLUTION
    y = x + x
    return y
    # END SOLUTION


# %%
double

# %%
double

# %% tags=["ci-assert"]
assert True
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with three masters, built."""
    (tmp_path / "src").mkdir()
    for number, title in enumerate(("Zero", "One", "Two")):
        write(tmp_path, f"0{number}_lesson", MASTER.format(title=title))
    assert build_notebooks.main(["--root", str(tmp_path)]) == 0
    return tmp_path


def write(root: Path, stem: str, text: str) -> None:
    (root / "src" / f"{stem}.py").write_text(text, encoding="utf-8", newline="\n")


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def sources(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path))


def test_a_rebuild_changes_no_byte(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.ipynb")}
    assert len(before) == 6
    assert build_notebooks.main(["--root", str(root)]) == 0
    assert before == {path: path.read_bytes() for path in root.rglob("*.ipynb")}
    assert build_notebooks.main(["--root", str(root), "--check"]) == 0


def test_learners_get_stubs_and_the_solution_notebook_the_solutions(root: Path) -> None:
    learner, solved = sources(root / "01_lesson.ipynb"), sources(root / "solutions/01_lesson.ipynb")
    assert f'    """Twice x."""\n    {STUB}' in learner
    assert "y = x + x" not in learner
    assert "    y = x + x\n    return y" in solved
    assert STUB not in solved
    assert "answer = None" in learner
    assert "answer = 42" not in learner
    assert "answer = 42" in solved
    assert "answer = None" not in solved
    assert "SOLUTION" not in learner + solved


def test_the_bar_leads_to_the_neighbors_and_the_contents(root: Path) -> None:
    first, middle, last = (cells(root / f"0{i}_lesson.ipynb")[0]["source"] for i in range(3))
    bar = "".join(middle)
    assert bar.startswith("# One\n\n<!-- navigation -->\n")
    assert "[← Zero](00_lesson.ipynb)" in bar
    assert "(../README.md#lessons)" in bar
    assert "[Two →](02_lesson.ipynb)" in bar
    assert "A paper, arXiv:2105.06209." in bar
    assert "←" not in "".join(first)
    assert "→" not in "".join(last)
    assert "(../../README.md#lessons)" in sources(root / "solutions/01_lesson.ipynb")


def test_a_bar_replaces_an_older_one() -> None:
    bar = "<!-- navigation -->\n{}\n<!-- end of navigation -->"
    once = with_bar("# One\n\ntext", bar.format("old"))
    assert with_bar(once, bar.format("new")) == with_bar("# One\n\ntext", bar.format("new"))
    assert with_bar(once, bar.format("old")) == once


def test_an_inserted_cell_renames_no_other_and_equal_cells_differ(root: Path) -> None:
    before = [cell["id"] for cell in cells(root / "01_lesson.ipynb")]
    assert len(set(before)) == len(before)
    text = (root / "src/01_lesson.py").read_text(encoding="utf-8")
    write(root, "01_lesson", text.replace("# %%\ndouble\n", "# %%\nnew = 1\n\n# %%\ndouble\n", 1))
    build_notebooks.main(["--root", str(root)])
    after = [cell["id"] for cell in cells(root / "01_lesson.ipynb")]
    assert len(after) == len(before) + 1
    assert set(before) < set(after)


def test_the_last_cell_is_hidden_and_removed_from_pages(root: Path) -> None:
    assert cells(root / "01_lesson.ipynb")[-1]["metadata"] == {
        "tags": ["ci-assert", "remove-cell"],
        "jupyter": {"source_hidden": True},
    }


def test_check_names_what_differs_is_missing_or_has_no_master(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = root / "00_lesson.ipynb"
    damaged.write_bytes(damaged.read_bytes() + b"\n")
    (root / "solutions/01_lesson.ipynb").unlink()
    (root / "09_stray.ipynb").write_text("{}", encoding="utf-8")
    assert build_notebooks.main(["--root", str(root), "--check"]) == 1
    said = capsys.readouterr().out
    assert "00_lesson.ipynb differs from its master" in said
    assert "solutions/01_lesson.ipynb is missing" in said
    assert "09_stray.ipynb has no master: delete it" in said
    assert build_notebooks.main(["--root", str(root)]) == 1, "a build mends all but the stray notebook"
    assert stale(root) == ["09_stray.ipynb has no master: delete it"]


@pytest.mark.parametrize("marker", ["    # BEGIN SOLUTION\n", "    # END SOLUTION\n"])
def test_a_marker_without_its_partner_is_an_error(
    root: Path, marker: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, "01_lesson", MASTER.format(title="One").replace(marker, ""))
    assert build_notebooks.main(["--root", str(root)]) == 1
    assert "01_lesson.py: a solution marker without its partner" in capsys.readouterr().out


def test_a_master_begins_with_its_title(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "01_lesson", "# %%\nx = 1\n")
    assert build_notebooks.main(["--root", str(root), "--check"]) == 1
    assert "01_lesson.py: the first cell must be markdown" in capsys.readouterr().out


def test_no_masters_no_notebooks(tmp_path: Path) -> None:
    assert build(tmp_path) == {}
    assert stale(tmp_path) == []
