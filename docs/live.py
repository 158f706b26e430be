"""What the pages show is computed when they are built, or read from the library: nothing is copied by hand.

    {picture} NAME      a figure of `pictures.py`, with its alternative text
    {example} FILE      a script, and what it prints
    {facts} ENTRY       what a method forgets, stores, reads and costs, and where it fails
    {methods}           all of them, in a sentence each
    {audits}            every audit, with its card
    {top}               the names that `import unlearn_lib` gives
    {told} MODULE       what a module says of itself
    {reference} MODULE  the same, and each of its public names

Formulas become MathML, which browsers draw without a script. A page that would ask anything of the network is
an error. Pictures and outputs are kept in `build/docs-kept`, as long as neither they nor the library change.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from docstrings import convert, rest
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from finish import accessible, asking
from scripts import output, paragraphs
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import unlearn_lib

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "docs-kept"
SPOKEN = {"class": "a class", "samples": "single samples", "backdoor": "a backdoor"}


def kept(name: str, source: Path, make: Callable[[Path], None]) -> Path:
    """The file of this name, made anew where its source or the library has changed."""
    key = hashlib.sha256()
    for path in sorted([source, *(ROOT / "unlearn_lib").rglob("*.py")]):
        key.update(path.read_bytes())
    path = KEPT / key.hexdigest()[:12] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    return path


class Markdown(SphinxDirective):
    """A directive that writes Markdown."""

    def markdown(self) -> Iterable[str]:
        """The lines that stand in its place."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        self.content.data[:] = list(self.markdown())
        self.content.items[:] = [(self.get_source_info()[0], 0)] * len(self.content.data)
        return self.parse_content_to_nodes(allow_section_headings=True)


class Picture(SphinxDirective):
    """A figure, computed."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        import pictures

        name, source = self.arguments[0], ROOT / "docs" / "pictures.py"
        drawn = kept(f"{name}.svg", source, lambda path: pictures.draw(name, path))
        alt = json.loads(drawn.with_suffix(".json").read_text(encoding="utf-8"))["alt"]
        here = os.path.relpath(drawn, Path(self.env.doc2path(self.env.docname)).parent)
        return [nodes.image(uri=here, alt=alt, width="100%", classes=["picture"])]


class Example(Markdown):
    """A script as a page: its comments are the prose, and what it prints comes last."""

    required_arguments = 1

    def markdown(self) -> Iterable[str]:
        source = ROOT / "docs" / "examples" / self.arguments[0]
        self.env.note_dependency(str(source))
        for code, lines in paragraphs(source.read_text(encoding="utf-8")):
            if code:
                yield from ("```python", *lines, "```", "")
            else:
                yield from (*lines, "")
        printed = kept(f"{source.stem}.txt", source, lambda path: path.write_text(output(source), "utf-8"))
        yield from ("It prints:", "", "```text", printed.read_text(encoding="utf-8").rstrip(), "```")


class Facts(Markdown):
    """What the contest knows of a method; lines `name: text` in the directive's body come first."""

    required_arguments = 1
    has_content = True

    def markdown(self) -> Iterable[str]:
        entry = import_module(f"unlearn_lib.contest.entries.{self.arguments[0]}")
        rows = [tuple(line.split(": ", 1)) for line in self.content]
        for portrait in entry.PORTRAITS:
            rows += [
                ("forgets", portrait.forgets),
                ("stores in advance", portrait.stores),
                ("reads at the request", portrait.reads),
                ("costs", portrait.costs),
            ]
        several = len(entry.METHODS) > 1
        for method in entry.METHODS:
            name = f", {method.name}" if several else ""
            rows += [(f"not for {SPOKEN[kind]}{name}", why) for kind, why in method.refuses.items()]
        for method in entry.METHODS:
            if method.failure.changed != "nothing":
                name = f", {method.name}" if several else ""
                rows.append((f"goes wrong with{name}", f"{method.failure.changed}: {method.failure.why}"))
        yield from table(rows)


class Methods(Markdown):
    """All methods in a sentence each, grouped by what must be ready before the request."""

    def markdown(self) -> Iterable[str]:
        from unlearn_lib.contest.entries import ENTRIES
        from unlearn_lib.contest.method import plain

        for heading, prepared in (
            ("Nothing is prepared", False),
            ("Prepared in training, or after it", True),
        ):
            yield from (f"## {heading}", "")
            for entry in ENTRIES:
                for method in entry.METHODS:
                    if (method.prepare is not plain) is prepared:
                        page = entry.__name__.rpartition(".")[2]
                        yield from (f"[{method.name}]({page}.md)", f": {method.sentence}.", "")


class Audits(Markdown):
    """Every audit with its cards."""

    def markdown(self) -> Iterable[str]:
        from unlearn_lib.metrics.audits import AUDITS

        for audit in AUDITS:
            for card in audit.cards:
                yield from (f"## {card.name[0].upper()}{card.name[1:]}", "")
                yield from table(card.lines().items())


class Top(Markdown):
    """The names at the top of the package, each with its first sentence."""

    def markdown(self) -> Iterable[str]:
        for name in unlearn_lib.__all__:
            home, thing = import_module(f"unlearn_lib.{unlearn_lib._HOME[name]}"), getattr(unlearn_lib, name)
            shelf = face(home) if name in face(home).__all__ else home
            first = re.split(r"(?<=\.)\s", inspect.getdoc(thing) or "", maxsplit=1)[0].replace("\n", " ")
            yield from (f"{{py:obj}}`{name} <{shelf.__name__}.{name}>`", f": {first}", "")


class Told(SphinxDirective):
    """What a module says of itself."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        doc = inspect.cleandoc(import_module(self.arguments[0]).__doc__ or "")
        return self.parse_text_to_nodes("\n".join(rest(doc.split("\n"))))


class Reference(SphinxDirective):
    """A module and its public names; a name is documented once: at the face of its method, or where it is."""

    required_arguments = 1
    option_spec: ClassVar = {"no-index": directives.flag}  # where a module has the name of a function

    def run(self) -> list[nodes.Node]:
        module = import_module(self.arguments[0])
        names = [name for name in module.__all__ if hasattr(module, "__path__") or defined(module, name)]
        if face(module) is not module:
            names = [name for name in names if name not in face(module).__all__]
        heading = module.__name__.removeprefix("unlearn_lib.")
        lines = [heading, "-" * len(heading), "", f".. automodule:: {module.__name__}"]
        lines += [f"   :members: {', '.join(names)}", *(f"   :{option}:" for option in self.options)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def face(module: ModuleType) -> ModuleType:
    """What a user imports from: the package of a method, for its parts; else the module itself."""
    shelf = re.match(r"unlearn_lib\.methods\.\w+", module.__name__)
    return import_module(shelf[0]) if shelf else module


def defined(module: ModuleType, name: str) -> bool:
    """Whether a module defines a name, not merely imports it."""
    thing = getattr(module, name)
    return bool(getattr(thing, "__module__", module.__name__) == module.__name__)


def table(rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """Two columns, the first one of headings."""
    yield from ("```{list-table}", ":stub-columns: 1", ":widths: 22 78", ":class: facts", "")
    for name, text in rows:
        yield from (f"* - {name}", f"  - {text}")
    yield from ("```", "")


def mathml(self: Any, node: Any) -> None:
    """A formula as MathML."""
    from unlearn_lib.classroom.formulas import mathml as converted

    display = "block" if isinstance(node, nodes.math_block) else "inline"
    found = converted(node.astext(), display)
    self.body.append(f'<div class="formula">{found}</div>' if display == "block" else found)
    raise nodes.SkipNode


def alias(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """For the event `autodoc-skip-member`: the fields of a named tuple have no docstrings of their own."""
    return True if (inspect.getdoc(thing) or "").startswith("Alias for field number") else None


def by_its_end(app: Any, env: Any, node: Any, shown: Any) -> nodes.reference | None:
    """For the event `missing-reference`: a name that only one module has is found without that module."""
    target, objects = node["reftarget"], env.domains.python_domain.objects
    if node["reftype"] != "obj" or not ("." in target or target[:1].isupper()):
        return None
    found = {(one.docname, one.node_id) for name, one in objects.items() if name.endswith(f".{target}")}
    if len(found) != 1:
        return None
    return make_refnode(app.builder, node["refdoc"], *found.pop(), shown)


def finish(app: Any, failed: Exception | None) -> None:
    """For the event `build-finished`."""
    for path in [] if failed else sorted(Path(app.outdir).rglob("*.html")):
        page = path.read_text(encoding="utf-8")
        if tags := asking(page):
            raise ExtensionError(f"{path} asks the network: {tags[0]}")
        path.write_text(accessible(page), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    ours: dict[str, type[Directive]] = {
        "picture": Picture,
        "example": Example,
        "facts": Facts,
        "audits": Audits,
        "methods": Methods,
        "top": Top,
        "reference": Reference,
        "told": Told,
    }
    for name, directive in ours.items():
        app.add_directive(name, directive)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("autodoc-process-docstring", convert, priority=400)
    app.connect("autodoc-skip-member", alias)
    app.connect("missing-reference", by_its_end)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
