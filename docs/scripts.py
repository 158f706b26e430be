"""A script as a page: its comments are the prose, and what it prints comes last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROSE = re.compile(r"#( |$)")


def paragraphs(script: str) -> Iterator[tuple[bool, list[str]]]:
    """A script in turns: whether this is code, and its lines, or the text of comments at the margin.

    The title, its first line, is left out.
    """
    _, *lines = script.strip().split("\n")
    for code, found in groupby(lines, lambda line: not PROSE.match(line)):
        text = "\n".join(line if code else line.removeprefix("#").strip() for line in found).strip("\n")
        if text:
            yield code, text.split("\n")


def output(script: Path) -> str:
    """What a script prints, run alone.

    Raises:
        RuntimeError: it fails; the message is its own.
    """
    here = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=here)
    if done.returncode:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr}")
    return done.stdout
