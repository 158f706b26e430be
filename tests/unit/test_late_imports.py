"""What takes long to import is imported by the first who uses it."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

from tests.unit.test_first_cells import MASTERS, first_cells

HEAVY = (
    "torch._dynamo",
    "torchvision",
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
    "jsonschema",
)  # half a second
PREAMBLE = f"""
import sys, torch
_names = [name for name in {HEAVY} if name not in sys.modules]  # torch may bring some
def _tell():
    print("LOADED", *[name for name in _names if name in sys.modules])
"""


def loaded(*steps: str) -> list[list[str]]:
    """Those of the heavy modules that are there after each of these steps of a fresh process."""
    code = PREAMBLE + "".join(f"{step}\n_tell()\n" for step in steps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("LOADED")]


def test_the_set_up_of_a_lesson_loads_nothing_that_it_does_not_need():
    found = loaded(*("\n".join(first_cells(master)) for master in MASTERS))
    late = {master.stem: names for master, names in zip(MASTERS, found, strict=True)}
    assert not any(late.values()), late


def test_importing_the_package_loads_not_even_torch():
    code = "import sys, unlearn_lib; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_data_and_checks_load_no_library_for_one_file_of_it():
    digits = "from unlearn_lib import data, models; x = data.load('digits').train.head(20)"
    check = "from unlearn_lib.classroom import environment; environment._torch()"
    moments = (
        "from unlearn_lib.methods.pgu.moments import moments; moments(models.build('mlp', (1, 8, 8), 10), x)"
    )
    assert loaded(digits, check, moments) == [[], [], ["scipy"]], "scipy sums products"


def test_choosing_samples_compiles_no_grammar_and_hides_none():
    grammar = "'rfc3987_syntax' in sys.modules"
    picker = f"from unlearn_lib.classroom.panels import pickers; assert not {grammar}"
    assert "jsonschema" in chain(*loaded(picker, f"import rfc3987_syntax; assert {grammar}"))
