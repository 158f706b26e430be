"""A JupyterLab server, the system's Chromium, a demo notebook made from demo.py, small lessons, and axe.

CHROMIUM names another browser. Without one the tests skip, except where CI is set: there they fail.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ci.build_notebooks import read, variant
from tests.small import at_quick

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]  # needed in containers
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
# Without these a news pop-up covers the page.
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
CODE_CELLS = """window.jupyterapp.shell.currentWidget.content.widgets
    .filter(c => c.model.type === 'code' && c.model.sharedModel.source.trim() !== '')"""
# The code cell that is `text`, or else the first that contains it.
FIND = f"""(text => {{ const cells = {CODE_CELLS}, source = c => c.model.sharedModel.source.trim();
    return cells.find(c => source(c) === text) ?? cells.find(c => source(c).includes(text)); }})"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, or fail under CI, before a server is started."""
    missing = [name for name in ("playwright", "axe_playwright_python") if not importlib.util.find_spec(name)]
    if Path(CHROMIUM).exists() and not missing:
        return
    reason = f"no Chromium at {CHROMIUM} (set CHROMIUM), or not installed: {missing}"
    for item in items:
        if HERE in item.path.parents and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A picture of the page of a test that failed, in test-results/."""
    report = yield
    notebook = getattr(item, "funcargs", {}).get("demo")
    if report.failed and report.when == "call" and isinstance(notebook, Notebook):
        path = ROOT / "test-results" / f"{item.name}.png"
        notebook.page.screenshot(path=path, full_page=True)
    return report


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1300, "height": 1000}, "reduced_motion": "reduce"}


@pytest.fixture(scope="session")
def axe_script() -> Path:
    """axe-core, as a Python package ships it: nothing is fetched."""
    import axe_playwright_python

    return Path(axe_playwright_python.__file__).with_name("axe.min.js")


def learners(text: str, path: Path) -> Path:
    """Write a master's text as the learner's notebook at `path`, built as the lessons are."""
    master = path.with_suffix(".py")
    master.write_text(text, encoding="utf-8")
    path.write_text(variant(path.stem, read(master), "", solutions=False), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def demo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """demo.py as a learner's notebook at preset quick."""
    text = at_quick(HERE / "demo.py", verdict=True)
    return learners(text, tmp_path_factory.mktemp("demo") / "demo.ipynb")


@pytest.fixture(scope="session")
def lesson_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a learner's lesson at preset quick, without the cell that asserts: it is small."""

    def lesson_at(name: str) -> Path:
        text = at_quick(ROOT / "notebooks" / "src" / f"{name}.py")
        return learners(text, tmp_path_factory.mktemp("lesson") / f"{name}.ipynb")

    return lesson_at


class Lab(NamedTuple):
    """A server: its address, the folder that it serves, and the token without which it answers nobody."""

    base: str
    root: Path
    token: str

    def ask(self, path: str, method: str = "GET") -> Any:
        """What the server's API says; None where it says nothing."""
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request) as reply:
            text = reply.read()
        return json.loads(text) if text else None


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab without the user's settings and kernels; its lessons are small."""
    root, home = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    config, log = home / "jupyter_server_test_config.py", home / "lab.log"
    config.write_text(
        "from jupyterlab.galata import configure_jupyter_server\n"
        "configure_jupyter_server(c)\n"  # exposes window.jupyterapp, but also asks nobody for a token
        "import os\n"
        "c.IdentityProvider.token = os.environ['UNLEARN_TEST_TOKEN']\n"  # other users stay outside
        "c.ServerApp.disable_check_xsrf = False\n"
        f"c.ServerApp.ip, c.ServerApp.port, c.ServerApp.port_retries = '127.0.0.1', {port}, 0\n"
        f"c.ServerApp.root_dir = {str(root)!r}\n"
        f"c.LabApp.user_settings_dir = {str(home / 'settings')!r}\n"
    )
    startup = home / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "small.py").write_text("import tests.small\n\ntests.small.shrink()\ndel tests\n")
    private = {f"JUPYTER_{k}_DIR": str(home / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    env = {k: v for k, v in os.environ.items() if k != "UNLEARN_HEADLESS"}  # the panels must be live here
    token = secrets.token_hex()
    env |= {
        **private,
        "UNLEARN_TEST_TOKEN": token,
        "IPYTHONDIR": str(home / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "jupyter", "lab", "--config", str(config)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("w") as sink:
        server = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env=env)
    base, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("JupyterLab did not start:\n" + log.read_text()[-2000:])
            try:
                urllib.request.urlopen(base + "/api", timeout=1).close()
                break
            except OSError:
                time.sleep(0.3)
        yield Lab(base, root, token)
    finally:
        server.terminate()
        server.wait(30)


class Notebook:
    """One notebook in one page. `problems`: console errors, HTTP failures and requests to other hosts."""

    def __init__(self, page: Any, lab: Lab) -> None:
        self.page, self.lab, self.base, self.root = page, lab, lab.base, lab.root
        self.problems: list[str] = []
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.problems.append(str(e)))
        page.on(
            "response", lambda r: self.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None
        )
        page.on("request", self._request)
        page.on("websocket", self._request)

    def _request(self, request: Any) -> None:
        scheme, _, rest = request.url.partition("://")
        if scheme in ("http", "https", "ws", "wss") and rest.split("/")[0] != self.base.split("://")[1]:
            self.problems.append("request to another host: " + request.url)

    def open(self, source: Path) -> Notebook:
        """Copy to a fresh name: `?reset` resets the workspace, not a kernel left by another test."""
        copy = self.root / f"{time.time_ns()}_{source.name}"
        shutil.copy(source, copy)
        self.page.goto(f"{self.base}/lab/tree/{copy.name}?reset&token={self.lab.token}")
        self.page.wait_for_function(f"() => {KERNEL}?.status === 'idle'", timeout=60_000)
        self.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        return self

    def run_all(self, timeout: int = 120_000) -> Notebook:
        """Run every cell; return at the end or at the first error. The command itself is not awaited."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(
            f"""() => {KERNEL}.status === 'idle' && (
                {CODE_CELLS}.every(c => c.model.executionCount !== null) ||
                {CODE_CELLS}.some(c => c.model.outputs.toJSON().some(o => o.output_type === 'error')))""",
            timeout=timeout,
        )
        return self

    def run_cell(self, text: str, timeout: int = 60_000) -> None:
        """Run again the code cell that is, or else contains, `text`."""
        self.page.evaluate(
            f"""async text => {{ const nb = window.jupyterapp.shell.currentWidget.content;
            const cell = {FIND}(text);
            nb.activeCellIndex = nb.widgets.indexOf(cell); nb.deselectAll();
            await window.jupyterapp.commands.execute('notebook:run-cell'); }}""",
            text,
        )
        self.page.wait_for_function(f"() => {KERNEL}.status === 'idle'", timeout=timeout)

    def replace_cell(self, text: str, source: str) -> None:
        """Write another source into the code cell that contains `text`, and run it."""
        self.page.evaluate(
            f"([text, source]) => {{ {FIND}(text).model.sharedModel.setSource(source); }}",
            [text, source],
        )
        self.run_cell(source)

    def python(self, code: str) -> str:
        """What `code` prints when the notebook's own kernel runs it."""
        found: str = self.page.evaluate(
            f"""async code => {{ let text = '';
            const future = {KERNEL}.requestExecute({{code, store_history: false}});
            future.onIOPub = m => {{ if (m.header.msg_type === 'stream') text += m.content.text;
                                     if (m.header.msg_type === 'error') text += m.content.evalue; }};
            await future.done; return text.trim(); }}""",
            code,
        )
        return found

    def until(self, code: str, expected: str, timeout: float = 5) -> None:
        """Wait until the kernel prints `expected`: a trait changed in the browser arrives a moment later."""
        self.settled(lambda: self.python(code), expected, timeout)

    def settled(self, read: Callable[[], Any], expected: Any, timeout: float = 30) -> None:
        """Wait until the page says so: a drawing follows its message a moment later, or more."""
        deadline = time.monotonic() + timeout
        while (found := read()) != expected:
            assert time.monotonic() < deadline, f"found {found!r}, not {expected!r}"
            self.page.wait_for_timeout(50)

    def error_outputs(self) -> list[str]:
        found: list[str] = self.page.evaluate(f"""() => {CODE_CELLS}.flatMap(c => c.model.outputs.toJSON())
            .filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)""")
        return found

    def output(self, text: str) -> Any:
        """The outputs of the code cell that is, or else contains, `text`; scrolled to.

        JupyterLab takes cells out of the page that are far from sight.
        """
        index = self.page.evaluate(
            f"""async text => {{ const nb = window.jupyterapp.shell.currentWidget.content;
            const index = nb.widgets.indexOf({FIND}(text));
            await nb.scrollToItem(index, 'start');
            return index; }}""",
            text,
        )
        found = self.page.locator(f".jp-Cell[data-windowed-list-index='{index}'] .jp-Cell-outputArea")
        found.wait_for()
        return found

    def theme(self, name: str) -> None:
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name
        )
        self.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")

    def close(self) -> None:
        """End the kernel: the next notebook must not share the processor with it."""
        for item in self.lab.ask("/api/sessions"):
            self.lab.ask(f"/api/sessions/{item['id']}", "DELETE")


@pytest.fixture(scope="session")
def opened(browser: Any, browser_context_args: dict[str, Any], lab: Lab) -> Callable[..., Any]:
    """A context manager: a notebook in a page of its own, run to its end; it is closed whatever happens."""

    @contextmanager
    def notebook(source: Path, timeout: int = 300_000, patience: int = 15_000) -> Iterator[Notebook]:
        context = browser.new_context(**browser_context_args)
        context.set_default_timeout(patience)
        found = Notebook(context.new_page(), lab)
        try:
            yield found.open(source).run_all(timeout)
        finally:
            found.close()
            context.close()

    return notebook


@pytest.fixture(scope="module")
def shared(opened: Callable[..., Any], demo_path: Path) -> Iterator[Notebook]:
    """The demo notebook, run to its end: opened once, for starting a kernel is what costs time."""
    with opened(demo_path, timeout=120_000) as notebook:
        assert notebook.error_outputs() == []
        yield notebook


@pytest.fixture
def demo(shared: Notebook, browser_context_args: dict[str, Any]) -> Iterator[Notebook]:
    """The demo notebook as every test finds it; afterwards nothing may have gone wrong in the page."""
    shared.problems.clear()
    shared.page.set_viewport_size(browser_context_args["viewport"])
    yield shared
    shared.python("for p in (panel, by_sample): p.stop(wait=5); p.reset()")
    assert shared.problems == []


@pytest.fixture
def axe(demo: Notebook, axe_script: Path) -> Callable[..., list[str]]:
    """A function that returns the accessibility violations inside the notebook's outputs."""

    def violations(*include: str) -> list[str]:
        page = demo.page
        # axe skips the contrast rule, silently, for text it takes to be off screen: all of it when <body> has
        # height 0, as in JupyterLab, and whatever is scrolled out of view.
        page.evaluate("() => { document.body.style.height = '100vh'; }")
        height = page.locator(".jp-WindowedPanel-outer").evaluate("e => e.scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": height + 400})
        page.wait_for_function(
            """height => { const e = document.querySelector('.jp-WindowedPanel-outer'); e.scrollTop = 0;
            return e.clientHeight >= height && [...document.querySelectorAll('.jp-OutputArea')].every(
                o => o.offsetHeight === 0 || o.checkVisibility({contentVisibilityAuto: true})); }""",
            arg=height,
        )
        page.wait_for_function(  # a chart takes on the width of the page a moment after it comes into view
            """() => [...document.querySelectorAll('.jp-RenderedPlotly')].every(
                chart => chart.scrollWidth <= chart.clientWidth)"""
        )
        if not page.evaluate("() => 'axe' in window"):
            page.add_script_tag(path=axe_script)
        found = page.evaluate(
            "async ([include, rules]) => "
            "(await axe.run({include: include.map(s => [s])}, {runOnly: rules})).violations",
            [list(include) or [".jp-OutputArea"], RULES],
        )
        return [f"{v['id']} ({v['impact']}): {n['html'][:160]}" for v in found for n in v["nodes"]]

    return violations
