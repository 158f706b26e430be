"""The offline site, built from the executed demo notebook; opened by file:// without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.commands import status
from unlearn_lib.classroom.formulas import mathml, render
from unlearn_lib.command.runner import run_command
from unlearn_lib.command.site import site_command

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
PAGES = ["index", "01_demo", "02_demo"]


@pytest.fixture(scope="module")
def executed(demo_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo executed as the lessons are, twice in the report, so that there is something to navigate."""
    source, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("executed")
    shutil.copy(demo_path, source / "01_demo.ipynb")
    assert status(run_command, "--preset", "quick", "--notebooks", str(source), "--out", str(out)) == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    report["notebooks"].append({**report["notebooks"][0], "name": "02_demo"})
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    shutil.copy(out / "01_demo.ipynb", out / "02_demo.ipynb")
    return out


@pytest.fixture(scope="module")
def site(executed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert status(site_command, "--executed", str(executed), "--out", str(out)) == 0
    return out


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    found = browser.new_context(offline=True)
    yield found
    found.close()


@pytest.fixture(params=PAGES)
def opened(request: pytest.FixtureRequest, site: Path, context: Any) -> Iterator[tuple[str, Any, list[str]]]:
    """(name, page, problems) of each page."""
    page, problems = context.new_page(), []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: problems.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
    page.goto((site / f"{request.param}.html").as_uri())
    yield request.param, page, problems
    page.close()


def test_a_page_fetches_nothing_and_needs_no_script(opened: tuple[str, Any, list[str]]) -> None:
    _, page, problems = opened
    assert problems == []
    assert page.locator("script").count() == 0
    assert page.locator("h1").count() == 1
    assert page.locator("link, iframe, object, [src]:not([src^='data:'])").count() == 0


def test_every_lesson_has_figures_with_alternative_texts(opened: tuple[str, Any, list[str]]) -> None:
    name, page, _ = opened
    alts = page.locator("img").evaluate_all("all => all.map(i => i.naturalWidth > 1 ? i.alt : 'broken')")
    assert len(alts) >= (2 if name == "index" else 5)
    assert [alt for alt in alts if len(alt) <= 15 or alt.startswith("No description")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible(opened: tuple[str, Any, list[str]], scheme: str, axe_script: Path) -> None:
    _, page, _ = opened
    page.emulate_media(color_scheme=scheme)
    page.evaluate(axe_script.read_text(encoding="utf-8"))  # no script tag: the pages forbid scripts
    found = page.evaluate("async rules => (await axe.run({runOnly: rules})).violations", RULES)
    assert [f"{v['id']} ({v['impact']}): {n['html'][:160]}" for v in found for n in v["nodes"]] == []


def test_the_index_has_a_card_for_every_lesson(site: Path, context: Any) -> None:
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator(".card").count() == 2
    text = page.locator(".card").first.inner_text()
    for words in ("Demo: every kind of panel", "arXiv:1911.04933", "5 minutes", "watch forgetting happen"):
        assert words in text
    assert "scores unlearned" in text
    page.get_by_role("link", name="Demo: every kind of panel").first.click()
    page.get_by_role("link", name="Demo: every kind of panel →").first.click()
    assert page.url.endswith("02_demo.html")
    page.get_by_role("link", name="All lessons").first.click()
    assert page.url.endswith("index.html")
    page.close()


def test_a_lesson_shows_code_formulas_panels_and_answers(site: Path, context: Any) -> None:
    page = context.new_page()
    page.goto((site / "01_demo.html").as_uri())
    assert page.locator("math").count() >= 2
    assert page.locator("math[display='block']").first.bounding_box()["height"] > 20
    assert page.get_by_text("retrained", exact=True).count()
    assert page.locator("details summary").count()
    assert page.get_by_text("record(", exact=False).count() == 0  # the hidden last cell
    page.close()


def test_an_executed_notebook_with_panels_stays_small(executed: Path) -> None:
    path = executed / "01_demo.ipynb"
    assert path.stat().st_size < 1_000_000
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


def test_a_notebook_that_failed_is_not_published(executed: Path, tmp_path: Path, capsys: Any) -> None:
    report = json.loads((executed / "report.json").read_text(encoding="utf-8"))
    report["notebooks"][0]["status"] = "failed"
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert status(site_command, "--executed", str(tmp_path), "--out", str(tmp_path / "site")) == 1
    assert "these did not: 01_demo" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    "tex",
    [
        r"\Delta_k = \lVert (P_k - P_{k-1}) - (P'_k - P'_{k-1}) \rVert_1",
        r"Y(x) = a\,x^{-h} + b",
        r"\theta \leftarrow \theta - \eta \nabla_\theta L",
        r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
        r"a < b \text{ and } \hat{y} \in \mathbb{R}^{n \times k}",
    ],
)
def test_formulas_become_mathml(tex: str) -> None:
    found = mathml(tex, "block")
    assert found.startswith("<math ")
    assert "merror" not in found
    assert "alttext=" in found


def test_formulas_in_folded_hints_become_mathml_and_code_stays() -> None:
    found = render("<details><summary>Hint</summary>$x + y$ is not <code>$x</code>, nor $$z$$</details>")
    assert found.count("<math ") == 2
    assert "<code>$x</code>" in found
    assert 'display="block"' in found
