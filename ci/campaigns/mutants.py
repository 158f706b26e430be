"""Do the unit tests notice a wrong token? ``python ci/campaign.py mutants --n 200 --seed 0``

A mutant is the library with one token changed: `<` for `<=`, `+` for `-`, `dim=0` for `dim=1`, a default by
another. Each is tried in a copy of the tree, against the tests of its module alone (but for those marked
slow), until the first of them fails or a limit of time is reached: a mutant that hangs is noticed as well.
One that no test notices is printed as UNNOTICED: either no test says what the token is for, or the token does
not matter. Those known not to matter are in `SKIP`, each with its reason. The goal is that nine of ten are
noticed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.9

PRIMITIVES = (
    "check",
    "data",
    "files",
    "gather",
    "jobs",
    "models",
    "outputs",
    "params",
    "pictures",
    "results",
    "store",
    "synthetic",
)
PRIMITIVES += ("tombstones", "train", "schedule", "augment")

# Which other tests a module's mutants meet, after those of its own name; if it has none, these are its own.
TESTS: dict[str, tuple[str, ...]] = {
    "accuracy": ("outputs",),
    "audits": ("scorecard",),
    "baselines": ("inside",),
    "card": ("scorecard",),
    "chain": ("deepobliviate",),
    "ensemble": ("sisa",),
    "vote": ("sisa",),
    "check": ("data", "not_run"),
    "layers": ("partial", "amnesiac"),
    "layout": ("amnesiac",),
    "moments": ("qualify", "pgu"),
    "pgu": ("qualify",),
    "guard": ("pgu",),
    "loss": ("pgu",),
    "noise": ("unsir",),
    "outputs": ("accuracy",),
    "params": ("tied", "deepobliviate"),
    "partition": ("sisa",),
    "parts": ("scorecard",),
    "projection": ("qualify", "subspaces", "pgu"),
    "data": ("pictures", "files"),
    "files": ("data", "pictures"),
    "pictures": ("data",),
    "qualify": ("pgu",),
    "recipe": ("unsir",),
    "retrain": ("cost", "finetune"),
    "stages": ("own_loop", "chain", "sisa", "deepobliviate"),
    "stopping": ("pgu",),
    "store": ("chain",),
    "train": ("params", "finetune", "amnesiac", "schedule", "augment", "not_run"),
    "log": ("amnesiac",),
    "recorder": ("own_loop", "amnesiac"),
    "updates": ("amnesiac",),
}

# Tokens that may change without changing what is computed: a part of their line, the tokens, and why.
SKIP: dict[str, tuple[tuple[str, str, str], ...]] = {
    "decay": (
        ("lru_cache(maxsize", "4096", "how many fits are remembered"),
        ("np.geomspace(0.05, 5, 60)", "60", "where golden section begins; it ends at the same minimum"),
        ("exponent = _golden_section(y, grid[", "1 max min", "a wider bracket has the same minimum"),
        ("len(residuals) + 1)", "1", "beyond the end the last window comes again"),
        ("rounds: int = 60", "60", "fewer rounds are below rounding already"),
        ("(fluctuation > 0).all()", "all", "fluctuations vanish for a constant, and then all of them"),
        ("if at_left < at_right:", "<", "between equal sides any step keeps the minimum"),
        (
            "np.cumsum(y - y.mean())",
            "- mean",
            "a constant is a line in the profile; windows drop lines",
        ),
        ("(y - y.mean()) / (centered", "- mean", "what is centered is orthogonal to every constant"),
        ("((a * power + b - y) ** 2).sum()", "sum", "the least mean is the least sum"),
    ),
    "jobs": (
        ("daemon=True", "True", "how a helper thread ends"),
        ("ahead: int = 128", "128", "how many jobs an executor holds at one time"),
        ("stacklevel=", "3 4", "which line a warning shows"),
    ),
    "moments": (
        ("CHUNK = 2**21", "2 ** 21", "how many patches are in memory at a time"),
        ("size: int = 128", "128", "how large the blocks are that are written at once"),
        ("batch_size: int = 256", "256", "how many samples are summed at once"),
        ("device.type == ", '== "cuda"', "needs the device"),
        ("elif M.is_cuda", "M", "needs the device"),
    ),
    "models": (("if flat <= 0:", "0", "it is a multiple of 16"),),
    "outputs": (
        ("batch_size: int = 1024", "1024", "how many are asked at once changes no answer"),
        ("device.type == ", '== "cuda" "mps"', "needs the device"),
        ("[device.index or 0]", "or 0", "needs the device"),
    ),
    "params": (
        ("set_to_none=True", "True", "a gradient of zero and none at all train alike"),
        ("blake2b(digest_size=16)", "16", "how long a digest is"),
    ),
    "partial": (
        ("scores = self.layers.flatten(ranked).abs()", "abs", "squares have the order of their roots"),
    ),
    "log": (("generation, gone = self._generation + 1", "1", "any number that was not there before does"),),
    "recorder": (
        (">= _FILE_BYTES:", ">=", "how many updates are held before they are written"),
        ("_PRUNE_BYTES = 1 <<", "1 20", "how many updates are held before they are pruned"),
        ("_FILE_BYTES = 16 <<", "16 20", "how many updates are held before they are written"),
        ("held = max(1, _PRUNE_BYTES", "max // *", "how many updates are held before they are pruned"),
    ),
    "unsir": (
        ("dtype_of(frozen)).x[0]", "0", "any image has the shape"),
        (".x[:1]).shape[1]", "1", "any number of images has the classes"),
    ),
    "subspaces": (
        ("_tails((G @ U).square().sum(0))", "sum", "only shares of the sum are returned"),
        ("cosines.square() < 0.5", "< 0.5", "near 45 degrees cosine and sine are equally good"),
    ),
}

COMPARED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
COMBINED = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*", "&": "|", "|": "&"}
NAMED = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
METHODS = NAMED | {
    "argmax": "argmin",
    "argmin": "argmax",
    "mean": "sum",
    "sum": "mean",
    "amax": "amin",
    "amin": "amax",
    "square": "abs",
    "abs": "square",
    "cumsum": "cumprod",
    "exp": "log",
    "log": "exp",
    "start": "stop",
    "stop": "start",
}
ONE_AXIS = {  # methods whose first or last argument is an axis
    *(
        "sum",
        "mean",
        "argmax",
        "argmin",
        "argsort",
        "flip",
        "cumsum",
        "all",
        "any",
        "quantile",
        "gather",
        "size",
    ),
    *("flatten", "sort", "std", "var", "logsumexp", "softmax", "log_softmax", "transpose", "scatter", "norm"),
    *("stack", "cat", "concatenate", "min", "max", "index_select", "unsqueeze", "squeeze", "topk", "size"),
}
SAID = {"warn", "cast", "TypeVar", "NewType"}  # calls whose arguments are messages or types
ASIDE = {"strict", "repr", "compare", "remedy", "stacklevel"}  # keywords that assert, show or say something


class Mutant(NamedTuple):
    """One token of a file, by line and columns (of UTF-8 bytes), and what replaces it."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.before} -> {self.after or '(nothing)'}"

    def applied(self, text: bytes) -> bytes:
        """The file's text with the token changed."""
        lines = text.splitlines(keepends=True)
        line = lines[self.line - 1]
        lines[self.line - 1] = line[: self.start] + self.after.encode() + line[self.end :]
        return b"".join(lines)


class Outcome(NamedTuple):
    """What the tests said: the first that failed, "no answer in time", or None; and the seconds it took."""

    noticed: str | None
    seconds: float


def files_of(tree: Path) -> list[Path]:
    """The files whose mutants are tried."""
    library = tree / "unlearn_lib"
    found = [*(library / "methods").rglob("*.py"), *(library / "metrics").glob("*.py")]
    found += [library / f"{name}.py" for name in PRIMITIVES]
    return sorted(path for path in found if path.is_file() and path.stem != "__init__")


def name_of(path: Path) -> str:
    """What the tests of a module are named after: its shelf, where it is the method or its controls."""
    return path.parent.name if path.stem in ("method", "controls") else path.stem


def tests_of(tree: Path, module: str) -> list[str]:
    """The test files that a module's mutants meet, its own first."""
    names = (module, *TESTS.get(module, ()))
    return [f"tests/unit/test_{n}.py" for n in names if (tree / f"tests/unit/test_{n}.py").is_file()]


def mutants_of(path: Path, tree: Path) -> list[Mutant]:
    """All mutants of a file that its tests should notice."""
    text = path.read_bytes()
    lines = text.decode().splitlines()
    skipped = [(part, tokens.split()) for part, tokens, _ in SKIP.get(name_of(path), ())]
    found = set()
    for line, start, end, before, after in _Finder(text).run():
        if not any(part in lines[line - 1] and before in tokens for part, tokens in skipped):
            found.add(Mutant(str(path.relative_to(tree)), line, start, end, before, after))
    return sorted(found)


def is_another(mutant: Mutant, tree: Path) -> bool:
    """Whether it is a valid program, and a different one."""
    text = (tree / mutant.file).read_bytes()
    try:
        return ast.dump(ast.parse(mutant.applied(text))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


class _Finder(ast.NodeVisitor):
    """Visits what is computed and skips what is only said: docstrings, annotations, messages, types."""

    def __init__(self, text: bytes) -> None:
        self.tree = ast.parse(text)
        self.lines = text.splitlines()
        self.found: list[tuple[int, int, int, str, str]] = []
        self.tokens = []
        for token in tokenize.tokenize(io.BytesIO(text).readline):
            column = len(token.line[: token.start[1]].encode())
            if token.type in (tokenize.OP, tokenize.NAME) and token.start[0] == token.end[0]:
                self.tokens.append((token.start[0], column, token.string))

    def run(self) -> list[tuple[int, int, int, str, str]]:
        self.visit(self.tree)
        return self.found

    def put(self, line: int, column: int, before: str, after: str) -> None:
        self.found.append((line, column, column + len(before.encode()), before, after))

    def between(self, left: ast.expr, right: ast.expr, table: dict[str, str]) -> None:
        """The operators between two operands."""
        begin, end = (left.end_lineno, left.end_col_offset), (right.lineno, right.col_offset)
        for line, column, string in self.tokens:
            if begin <= (line, column) < end and string in table:
                self.put(line, column, string, table[string])

    # What is only said.

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_Raise(self, node: ast.Raise) -> None: ...

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)

    def visit_arg(self, node: ast.arg) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        name = target.id if isinstance(target, ast.Name) else ""
        aliases_type = isinstance(node.value, ast.Subscript) and name[:1].isupper() and not name.isupper()
        if name != "__all__" and not aliases_type:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.negated(node.test)
            self.generic_visit(node)

    # What is computed.

    def negated(self, test: ast.expr) -> None:
        if isinstance(test, ast.Call | ast.Name | ast.Attribute):
            first = re.match(rb"\w+", self.lines[test.lineno - 1][test.col_offset :])
            if first:
                word = first.group().decode()
                self.put(test.lineno, test.col_offset, word, f"not {word}")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negated(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negated(node.test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(op, ast.NotIn | ast.IsNot):
                self.between(left, right, {"not": ""})
            else:
                self.between(left, right, COMPARED | {"is": "is not", "in": "not in"})
        for side in sides:
            options = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            for one in options:
                self.word(one)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, {"and": "or", "or": "and"})
        for value in node.values:
            self.negated(value)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.between(node.left, node.right, COMBINED)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.between(node.target, node.value, {f"{a}=": f"{b}=" for a, b in COMBINED.items()})
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        sign = {ast.Not: "not", ast.Invert: "~", ast.USub: "-"}.get(type(node.op))
        if sign and not isinstance(node.operand, ast.Constant):
            self.put(node.lineno, node.col_offset, sign, "+" if sign == "-" else "")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.word(node.slice)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if key is not None:
                self.word(key)
        self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> None:
        for default in (*node.defaults, *filter(None, node.kw_defaults)):
            self.word(default)
            self.visit(default)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in SAID:
            return
        if isinstance(node.func, ast.Name) and name in NAMED:
            self.put(node.func.lineno, node.func.col_offset, name, NAMED[name])
        self.visit(node.func)
        for k, argument in enumerate(node.args):
            last = k == len(node.args) - 1
            if not (name in ONE_AXIS and (k == 0 or last) and self.axis(argument)):
                self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg in ASIDE or (keyword.arg in ("dim", "axis") and self.axis(keyword.value)):
                continue
            self.visit(keyword.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in METHODS and isinstance(node.ctx, ast.Load) and node.end_col_offset is not None:
            column = node.end_col_offset - len(node.attr)
            self.put(node.end_lineno or node.lineno, column, node.attr, METHODS[node.attr])
        self.visit(node.value)

    def visit_Break(self, node: ast.Break) -> None:
        self.put(node.lineno, node.col_offset, "break", "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.put(node.lineno, node.col_offset, "continue", "break")

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.put(node.lineno, node.col_offset, str(value), str(not value))
        elif isinstance(value, int | float) and not 0 < value < 1e-6:  # a guard against rounding or zero
            token = re.match(rb"[\w.]+(?:(?<=e)[-+]\d+)?", self.lines[node.lineno - 1][node.col_offset :])
            after = str(value + 1) if isinstance(value, int) else f"{1.2 * value:.6g}" if value else "0.2"
            if token:
                self.put(node.lineno, node.col_offset, token.group().decode(), after)

    def axis(self, node: ast.expr) -> bool:
        """Axis 0 becomes 1 and 1 becomes 0, because axis 2 would rarely exist."""
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in (0, 1):
            self.put(node.lineno, node.col_offset, str(node.value), str(1 - node.value))
            return True
        return False

    def word(self, node: ast.expr) -> None:
        """A key, a choice or a default that is a word becomes another word."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            text = f'"{node.value}"'
            if node.end_col_offset == node.col_offset + len(text.encode()):
                self.put(node.lineno, node.col_offset, text, f'"{node.value}_"')


class _Listener:
    """A pytest plugin: quick tests first; it notes the first that fails, and that it was the copy that ran.

    Args:
        copy: the tree that is to be tested.
        seconds: of every test, as far as known.
    """

    def __init__(self, copy: Path, seconds: dict[str, float]) -> None:
        self.copy = copy
        self.seconds = seconds
        self.taken: dict[str, float] = {}
        self.first = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.taken[report.nodeid] = self.taken.get(report.nodeid, 0.0) + report.duration
        if report.failed and not self.first:
            self.first = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.first:
            self.first = report.nodeid

    def pytest_sessionfinish(self) -> None:
        library = sys.modules.get("unlearn_lib")
        if library is not None and not str(library.__file__).startswith(str(self.copy)):
            self.first = f"nothing: {library.__file__} was tested"


def copied(tree: Path, folder: Path) -> Path:
    """Copy what the tests need."""
    copy = folder / "tree"
    for name in ("unlearn_lib", "tests"):
        unwanted = shutil.ignore_patterns("__pycache__", "browser", "notebooks")
        shutil.copytree(tree / name, copy / name, ignore=unwanted)
    shutil.copy(tree / "pyproject.toml", copy)
    (folder / "tmp").mkdir()
    return copy


def answer_of(copy: Path, files: list[str], limit: float, unchanged: bool) -> Outcome:
    """Run test files till the first failure, in a fork of this process, which has torch in memory already."""
    note, begun = copy.parent / "note", time.monotonic()
    note.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        try:
            _run_tests(copy, files, limit, unchanged, note)
        finally:
            os._exit(3)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - begun
        if ended or seconds > 4 * limit:
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return Outcome("no answer in time", seconds)
    shutil.rmtree(copy.parent / "tmp", ignore_errors=True)
    (copy.parent / "tmp").mkdir(exist_ok=True)
    if os.WIFSIGNALED(status):
        slow = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return Outcome("no answer in time" if slow else f"signal {os.WTERMSIG(status)}", seconds)
    code = os.WEXITSTATUS(status)
    if code == 0:
        return Outcome(None, seconds)
    return Outcome((note.read_text() if note.is_file() else "") or f"exit status {code}", seconds)


def _run_tests(copy: Path, files: list[str], limit: float, unchanged: bool, note: Path) -> None:
    """In the child: make the process what `python -m pytest` in the copy would make it."""
    import pytest
    import pytest.__main__

    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
    os.chdir(copy)
    sink = os.open(copy.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.environ.update(PYTHONPATH=str(copy), TMPDIR=str(copy.parent / "tmp"), PYTHONDONTWRITEBYTECODE="1")
    tempfile.tempdir = None
    sys.path[:] = [p for p in sys.path if p and not (Path(p) / "unlearn_lib").is_dir()]
    sys.dont_write_bytecode = not unchanged
    sys.modules["__main__"] = pytest.__main__  # processes that the tests start look at it
    clock = copy.parent / "seconds.json"
    seconds = json.loads(clock.read_text()) if clock.is_file() else {}
    listener = _Listener(copy, seconds)
    options = [
        "-x",
        "-q",
        "-m",
        "not slow",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        f"--rootdir={copy}",
    ]
    code = pytest.main([*options, *files], plugins=[listener])
    if listener.first:
        note.write_text(listener.first)
    if unchanged:
        clock.write_text(json.dumps(seconds | listener.taken))
    sys.stdout.flush()
    os._exit(int(code) or bool(listener.first))


def warm_up() -> None:
    """Load once, for all forks, what every test imports first."""
    import beartype  # noqa: F401
    import hypothesis  # noqa: F401
    import jaxtyping  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.datasets
    import sklearn.linear_model
    import sklearn.model_selection
    import sklearn.svm  # noqa: F401
    import torch

    torch.set_num_threads(1)


class _Bench:
    """A copy of the tree for one process, its bytecode made by a first run, in which mutants take turns."""

    def __init__(self, tree: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        self.copy = copied(tree, self.folder)
        self.whole: dict[str, Outcome] = {}

    def unchanged(self, files: list[str]) -> float:
        """How many seconds these tests take without a mutant; they must pass."""
        for file in files:
            if file not in self.whole:
                self.whole[file] = answer_of(self.copy, [file], limit=300, unchanged=True)
                if self.whole[file].noticed:
                    raise SystemExit(f"{file} fails without any mutant: {self.whole[file].noticed}")
        return sum(self.whole[file].seconds for file in files)

    def try_out(self, mutant: Mutant) -> Outcome:
        """What the module's own tests say about a mutant."""
        path = self.copy / mutant.file
        files = tests_of(self.copy, name_of(path))
        limit = 10 + 3 * self.unchanged(files)
        text = path.read_bytes()
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()
        try:
            path.write_bytes(mutant.applied(text))
            return answer_of(self.copy, files, limit, unchanged=False)
        finally:
            path.write_bytes(text)


_bench: _Bench | None = None


def _set_up(tree: Path) -> None:
    global _bench
    warm_up()
    _bench = _Bench(tree)


def _try_out(mutant: Mutant) -> Outcome:
    assert _bench is not None
    return _bench.try_out(mutant)


def outcomes(tree: Path, mutants: list[Mutant], jobs: int) -> Iterator[Outcome]:
    """Try the mutants, one after another in each of this many processes."""
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, fork, initializer=_set_up, initargs=(tree,)) as pool:
        try:
            yield from pool.map(_try_out, mutants)
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str]) -> int:
    """Try a random sample of mutants; 0 if nine of ten are noticed."""
    parser = argparse.ArgumentParser(prog="campaign.py mutants", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="mutants to try; 0 tries all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--module", nargs="*", help="only these files, such as `subspaces decay`")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another checkout")
    options = parser.parse_args(arguments)
    os.environ.update(OMP_NUM_THREADS="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    tried, noticed = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        tree = copied(options.tree.resolve(), Path(folder))  # the tree as it is now, whatever becomes of it
        files = [path for path in files_of(tree) if not options.module or name_of(path) in options.module]
        every = [mutant for path in files for mutant in mutants_of(path, tree)]
        if not every:
            parser.error(f"no mutants: there is no file {' or '.join(options.module or ['at all'])}.")
        random.Random(options.seed).shuffle(every)
        usable = (mutant for mutant in every if is_another(mutant, tree))
        sample = sorted(itertools.islice(usable, options.n or None))
        print(f"{len(sample)} of {len(every)} mutants of {len(files)} files", flush=True)
        for mutant, outcome in zip(sample, outcomes(tree, sample, options.jobs), strict=True):
            tried[mutant.file] += 1
            noticed[mutant.file] += outcome.noticed is not None
            print(f"{mutant}  {outcome.noticed or 'UNNOTICED'}", flush=True)
        tempfile.tempdir = None
    for file, count in tried.items():
        print(f"{noticed[file]:4} of {count:4} noticed  {file}")
    share = noticed.total() / tried.total()
    missed = tried.total() - noticed.total()
    print(f"{tried.total()} tried, {noticed.total()} noticed ({share:.0%}), {missed} unnoticed")
    return 0 if share >= GOAL else 1
