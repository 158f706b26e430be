"""Bad calls of every public function, made in a process without the type checker of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_bad_call_ends_in_the_librarys_own_words_and_changes_nothing():
    command = [sys.executable, str(ROOT / "ci" / "campaign.py"), "calls"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
