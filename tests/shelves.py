"""Which master teaches which lesson: it imports the `LESSON` of that shelf."""

from __future__ import annotations

import re
from pathlib import Path

from unlearn_lib.lessons.every import LESSONS

ROOT = Path(__file__).parents[1]
MASTERS = sorted((ROOT / "notebooks" / "src").glob("*.py"))
OF_SHELF = re.compile(r"^from unlearn_lib\.lessons\.(\w+) import LESSON\b", re.M)
SHELVES: dict[str, str] = {  # by the name of the master, such as 02_unsir
    master.stem: shelf
    for master in MASTERS
    for shelf in OF_SHELF.findall(master.read_text(encoding="utf-8"))
    if shelf in LESSONS
}
