"""Source hygiene of every committed notebook: no kernel, no browser."""

from __future__ import annotations

import ast
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import papermill as pm
import pytest

from ci.build_notebooks import BAR, KERNEL, ROOT, STUB, stale
from tests.shelves import SHELVES
from unlearn_lib.lessons.every import LESSONS

LEARNER, SOLVED = sorted(ROOT.glob("*.ipynb")), sorted((ROOT / "solutions").glob("*.ipynb"))
MASTERS = sorted((ROOT / "src").glob("*.py"))
TAGS = {"setup", "parameters", "ci-assert", "remove-cell", "exercise", "solution", "learner"}
HEADINGS = ["Learning objectives", "Prerequisites", "You will need", "Set-up"]
HEADINGS += ["Predict", "Run", "Compare", "Explore"]
HEADINGS += ["Does it really forget?", "Checkpoint", "Summary", "References"]
EXERCISE = re.compile(r"^Exercise \d+ \((easy|medium|hard), about \d+ minutes?\)$")
PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi\.org/")
LIMIT = 200_000  # bytes of one stripped notebook
ABSOLUTE = re.compile(r"""["'](/[A-Za-z]|[A-Za-z]:[\\/]|~[\\/])""")  # a quoted absolute path

every = pytest.mark.parametrize("path", LEARNER + SOLVED, ids=lambda p: p.relative_to(ROOT).as_posix())


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(nb: Any) -> list[Any]:
    return [c for c in nb.cells if c.cell_type == "code"]


def markdown(nb: Any) -> list[Any]:
    return [c for c in nb.cells if c.cell_type == "markdown"]


def headings(nb: Any) -> list[tuple[int, str]]:
    lines = [line for c in markdown(nb) for line in c.source.splitlines()]
    return [(len(m[1]), m[2].strip()) for line in lines if (m := re.match(r"(#+) (.+)", line))]


def test_each_master_has_both_notebooks() -> None:
    names = [p.stem for p in MASTERS]
    assert names == [p.stem for p in LEARNER] == [p.stem for p in SOLVED]


def test_generated_notebooks_are_in_sync() -> None:
    assert stale(ROOT) == [], "run python ci/build_notebooks.py and commit the result"


@every
def test_the_file_is_small_utf8_with_lf(path: Path) -> None:
    raw = path.read_bytes()
    assert len(raw) < LIMIT
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    raw.decode("utf-8")


@every
def test_format_and_metadata(path: Path) -> None:
    nb = read(path)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    assert dict(nb.metadata.kernelspec) == KERNEL
    assert set(nb.metadata) == {"kernelspec", "language_info"}  # so: no widgets, no papermill
    raw = json.loads(path.read_text(encoding="utf-8"))["cells"]  # nbformat repairs duplicates
    assert len({cell["id"] for cell in raw}) == len(raw)
    for cell in nb.cells:
        assert set(cell.metadata) <= {"tags", "jupyter", "slideshow"}, cell.metadata
        assert set(cell.metadata.get("tags", [])) <= TAGS, cell.metadata


@every
def test_it_is_stripped(path: Path) -> None:
    for cell in code(read(path)):
        assert cell.outputs == []
        assert cell.execution_count is None


@every
def test_parameters_and_assertions(path: Path) -> None:
    nb = read(path)
    tags = [c.metadata.get("tags", []) for c in nb.cells]
    assert sum("parameters" in t for t in tags) == 1
    assert sum("ci-assert" in t for t in tags) == 1
    assert {"ci-assert", "remove-cell"} <= set(tags[-1])
    assert nb.cells[-1].metadata.jupyter.source_hidden
    assert any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(nb.cells[-1].source)))
    declared = pm.inspect_notebook(str(path))
    assert declared["preset"]["default"] in ("'lesson'", '"lesson"')
    assert declared["preset"]["help"] == "quick | lesson | full"
    assert {"seed", "dataset"} <= set(declared)
    for name, item in declared.items():
        assert item["help"], f"{name}: a comment, please"
        assert re.fullmatch(r"str|int|float|bool|list\[(str|int|float|bool)\]", item["inferred_type_name"]), (
            name
        )
    source = next(c.source for c in nb.cells if "parameters" in c.metadata.get("tags", []))
    written = {n.target.id for n in ast.parse(source).body if isinstance(n, ast.AnnAssign)}  # type: ignore[union-attr]
    assert written == set(declared), "papermill must see every parameter"
    assert len(ast.parse(source).body) == len(written), "nothing else in the parameters cell"


DECIDES_NOTHING = {"preset", "seed", "dataset", "export", "workers"}  # or `begin` gets it


@every
def test_only_at_its_defaults_a_lesson_asserts_more_than_what_must_hold(path: Path) -> None:
    nb = read(path)
    lesson = LESSONS[SHELVES[path.stem]]
    declared = {n: ast.literal_eval(item["default"]) for n, item in pm.inspect_notebook(str(path)).items()}
    assert declared["seed"] == 0
    assert dict(lesson.defaults) == {n: v for n, v in declared.items() if n not in DECIDES_NOTHING}
    (given,) = (
        {k.arg for k in call.keywords}
        for call in ast.walk(ast.parse(nb.cells[-1].source))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "tuned"
    )
    assert given == lesson.defaults.keys()


@every
def test_conclusions_are_told_not_written(path: Path) -> None:
    nb = read(path)
    assert sum(c.source.count("tell(") for c in code(nb)) >= 4
    for cell in markdown(nb):
        assert not re.search(r"\bon the (8x8 )?digits\b", cell.source), cell.source


@every
def test_code_does_no_hidden_work(path: Path) -> None:
    for cell in code(read(path))[1:]:  # the first one may install the package, on Colab
        tree = ast.parse(cell.source)  # fails on magics and shell escapes too
        assert not re.search(r"\bpip\b|\bsubprocess\b|os\.system", cell.source), cell.source
        assert not ABSOLUTE.search(cell.source), cell.source
        for node in ast.walk(tree):
            if isinstance(node, ast.If | ast.IfExp | ast.Match):
                test = node.subject if isinstance(node, ast.Match) else node.test
                names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
                assert not names & {"preset", "HEADLESS"}, "sizes stand on the shelf, not in cells"


@every
def test_solutions_stand_only_where_they_belong(path: Path) -> None:
    text = "\n".join(c.source for c in read(path).cells)
    assert "BEGIN SOLUTION" not in text
    assert "END SOLUTION" not in text
    assert (STUB in text) == (path in LEARNER)


@every
def test_title_names_paper_and_minutes_and_leads_to_the_neighbors(path: Path) -> None:
    first = read(path).cells[0].source
    assert PAPER.search(first), "the paper's arXiv id or DOI"
    assert re.search(r"\d+ minutes", first), "how many minutes it takes"
    assert len(BAR.findall(first)) == 1


@every
def test_sections_follow_the_template(path: Path) -> None:
    found = headings(read(path))
    titles = [title for _, title in found]
    levels = [level for level, _ in found]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels)), "a heading level is skipped"
    missing = [h for h in HEADINGS if h not in titles]
    assert not missing, f"sections are missing: {missing}"
    positions = [titles.index(h) for h in HEADINGS]
    assert positions == sorted(positions), "sections are out of order"
    exercises = [i for i, title in enumerate(titles) if title.startswith("Exercise ")]
    assert 1 <= len(exercises) <= 4
    assert all(EXERCISE.match(titles[i]) for i in exercises)
    assert titles.index("Explore") < exercises[0] <= exercises[-1] < titles.index("Checkpoint")


@every
def test_references_name_a_paper(path: Path) -> None:
    text = "\n".join(c.source for c in markdown(read(path)))
    assert PAPER.search(text.split("## References")[-1]), "arXiv id or DOI"


@every
def test_images_in_text_have_alternative_text(path: Path) -> None:
    for cell in markdown(read(path)):
        assert "![](" not in cell.source
        for image in re.findall(r"<img\b[^>]*>", cell.source):
            assert re.search(r'\balt="[^"]+"', image), image


def test_the_readme_lists_every_lesson_and_no_other() -> None:
    table = (ROOT.parent / "README.md").read_text(encoding="utf-8").split("## Lessons")[1].split("\n## ")[0]
    listed = re.findall(r"\(notebooks/(\w+)\.ipynb\)", table)
    assert listed == [p.stem for p in MASTERS] or not MASTERS
