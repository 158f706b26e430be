"""`unlearn site`: an offline site of executed notebooks, an index of cards and a page a lesson.

Plain pages: no script, no request, formulas as MathML; they open from a folder, by file://. Widgets are left
out, and the static form that every panel carries takes their place.
"""

from __future__ import annotations

import copy
import html
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from unlearn_lib.classroom.formulas import POLICY, render
from unlearn_lib.command import places

LIVE = ("application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json")
RESULT_MIME = "application/vnd.unlearn.result+json"
SHOWN_RESULTS = 8  # on a card
NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # of a notebook: one step of a path, and safe in a link

STYLE = Path(__file__).with_name("site.css").read_text(encoding="utf-8")
CODE_STYLE = "xcode"  # the one colored style of Pygments whose contrast is 4.5 or more

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{policy}
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><nav aria-label="Lessons">{bar}</nav></header>
<main>
{body}
</main>
<footer class="small"><nav aria-label="Lessons, again">{bar}</nav><p>{stamp}</p></footer>
</body>
</html>
"""


@dataclass(frozen=True)
class Lesson:
    """What the index says about a lesson, and its notebook."""

    name: str
    title: str
    promise: str
    paper: str
    minutes: str
    picture: tuple[str, str] | None
    row: dict[str, Any]
    notebook: Any

    @classmethod
    def read(cls, path: Path, row: dict[str, Any]) -> Lesson:
        """From an executed notebook and its row of the report.

        Raises:
            ValueError: the notebook does not begin with a title.
        """
        notebook = nbformat.read(path, as_version=4)
        text = "\n".join(cell.source for cell in notebook.cells[:2] if cell.cell_type == "markdown")
        title = re.match(r"# (.+)", text)
        if not title:
            raise ValueError(f"{path} must begin with '# Title'.")
        objectives = re.search(r"## Learning objectives\n(.*?)(\n## |\Z)", text, re.S)
        minutes = re.search(r"(\d+) minutes", text)
        paper = re.search(r"arXiv:(\d{4}\.\d{4,5})", text)
        return cls(
            path.stem,
            title[1].strip(),
            objectives[1].strip() if objectives else "",
            paper[1] if paper else "",
            minutes[1] if minutes else "",
            first_picture(notebook),
            row,
            notebook,
        )


def first_picture(notebook: Any) -> tuple[str, str] | None:
    """The first picture of a notebook, as (alternative text, address)."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found = re.search(r'<img alt="([^"]+)" src="(data:image/png[^"]+)"', html_of(output))
            if found:
                return found[1], found[2]
    return None


def html_of(output: Any) -> str:
    """The HTML of an output, or nothing."""
    return str(output.get("data", {}).get("text/html", ""))


def without_widgets(notebook: Any) -> Any:
    """A copy whose outputs are text and pictures: a dead widget helps nobody, but its static form does."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for mime in (*LIVE, RESULT_MIME):
                output.get("data", {}).pop(mime, None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if "data" not in o or o["data"]]
    return notebook


def page(lesson: Lesson, bar: str, stamp: str) -> str:
    """One lesson as a page."""
    config = Config({"TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": ["remove-cell"]}})
    exporter = HTMLExporter(config=config, template_name="basic")
    exporter.register_filter("markdown2html", render)
    body, _ = exporter.from_notebook_node(without_widgets(lesson.notebook))
    body = re.sub(r"\s*<!-- navigation -->.*?<!-- end of navigation -->", "", body, flags=re.S)
    body = body.replace("<pre>", '<pre tabindex="0">')  # what scrolls must be reachable by keyboard
    body = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body)
    return whole(lesson.title, bar, body, stamp)


def whole(title: str, bar: str, body: str, stamp: str) -> str:
    """A page as one file, which can be passed on by itself."""
    style = STYLE + HtmlFormatter(style=CODE_STYLE).get_style_defs(".highlight")
    return PAGE.format(policy=POLICY, title=html.escape(title), style=style, bar=bar, body=body, stamp=stamp)


def card(lesson: Lesson) -> str:
    """One lesson on the index."""
    alt, address = lesson.picture or ("", "")
    picture = f'<img alt="{alt}" src="{address}">' if address else ""
    facts = [f"arXiv:{lesson.paper}"] * bool(lesson.paper) + [f"{lesson.minutes} minutes"] * bool(
        lesson.minutes
    )
    facts += [f"ran in {lesson.row['seconds']:.0f} s"]
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in key_results(lesson)
    )
    return (
        f'<li class="card">{picture}<h2><a href="{lesson.name}.html">{html.escape(lesson.title)}</a></h2>'
        f'<p class="small">{" · ".join(facts)}</p>{render(lesson.promise)}'
        f"{f'<h3>Measured</h3><dl>{rows}</dl>' if rows else ''}</li>"
    )


def key_results(lesson: Lesson) -> list[tuple[str, str]]:
    """The last measurements that the lesson recorded: single numbers, no guesses or exercises."""
    found = [
        (name.replace(".", " ").replace("_", " "), f"{value:.4g}")
        for name, value in lesson.row.get("results", {}).items()
        if not name.startswith(("prediction.", "exercise."))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ]
    return found[-SHOWN_RESULTS:]


def navigation(lessons: list[Lesson], place: int) -> str:
    """Links to the index and to the neighbors."""
    links = ['<a href="index.html">All lessons</a>']
    if place > 0:
        before = lessons[place - 1]
        links.insert(0, f'<a href="{before.name}.html" rel="prev">← {html.escape(before.title)}</a>')
    if place + 1 < len(lessons):
        after = lessons[place + 1]
        links.append(f'<a href="{after.name}.html" rel="next">{html.escape(after.title)} →</a>')
    return "\n".join(links)


def read_report(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The runner's report, and its rows by name.

    Raises:
        ValueError: there is none, it is not the runner's, a name in it is no notebook's (it could lead out of
            the folder), or a notebook did not run.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: `unlearn run` makes it.")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [{**row, "seconds": float(row["seconds"])} for row in report["notebooks"]]
        names = [row["name"] for row in rows]
        broken = [row["name"] for row in rows if row["status"] != "ok"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a report of `unlearn run`: {error!r}.") from error
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == "index":
            raise ValueError(f"{path}: a notebook's name must be like 01_deepobliviate; got {name!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: two notebooks have one name: {', '.join(sorted(names))}.")
    if broken or not rows:
        raise ValueError(
            f"every notebook must have run; these did not: {', '.join(broken) or 'none was run'}."
        )
    return report, sorted(rows, key=lambda row: str(row["name"]))


def build(executed: Path, site: Path) -> list[Path]:
    """Write the site; the pages written.

    Raises:
        ValueError: no report, one that `read_report` refuses, or a notebook without a title.
    """
    report, rows = read_report(executed / "report.json")
    lessons = [Lesson.read(executed / f"{row['name']}.ipynb", row) for row in rows]
    versions = report.get("versions", {})
    known = ", ".join(f"{k} {versions[k]}" for k in ("unlearn-lessons", "python", "torch") if versions.get(k))
    preset = report.get("preset", "")
    stamp = html.escape(f"Every number here was computed by running the lesson, preset {preset}. {known}.")
    site.mkdir(parents=True, exist_ok=True)
    pages = {
        f"{lesson.name}.html": page(lesson, navigation(lessons, i), stamp) for i, lesson in enumerate(lessons)
    }
    cards = "".join(map(card, lessons))
    body = f'<h1>Machine unlearning, taught by running it</h1><ul class="cards">{cards}</ul>'
    bar = '<a href="index.html" aria-current="page">All lessons</a>'
    pages["index.html"] = whole("Machine unlearning lessons", bar, body, stamp)
    for name, text in pages.items():
        (site / name).write_text(text, encoding="utf-8")
    return [site / name for name in pages]


@click.command("site", short_help="Make an offline site of lessons that were run.")
@click.option("--executed", type=Path, metavar="DIR", help="What was run. Default: build/executed.")
@click.option("--out", type=Path, metavar="DIR", help="Default: build/site.")
def site_command(executed: Path | None, out: Path | None) -> None:
    """Make an offline site of lessons that were run: an index of cards, and a page a lesson.

    \b
        unlearn run --preset lesson
        unlearn site                         reads build/executed, writes build/site

    The pages need no script and no network; they open from a folder.
    """
    out = out or places.build() / "site"
    try:
        pages = build(executed or places.build() / "executed", out)
    except ValueError as error:
        click.echo(error, err=True)
        sys.exit(1)
    click.echo(f"{len(pages)} pages; open {out / 'index.html'}")
