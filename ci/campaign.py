"""Attacks on the library from outside, by the hundred: ``python ci/campaign.py NAME [options]``.

Each campaign is a module of `ci/campaigns` with a function ``main(arguments) -> int``: it tries many cases of
one kind of trouble, prints a line for each that went wrong and the counts at the end, and returns 0 if its
goal is met. They take minutes, so CI does not run them; `--help` of each names its options.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in (HERE / "campaigns").glob("*.py") if not path.stem.startswith("_"))


def main(arguments: list[str]) -> int:
    """Run the campaign that the first argument names."""
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: python ci/campaign.py {{{','.join(NAMES)}}} [options]")
        return 2
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    name, *options = arguments
    result: int = importlib.import_module(f"campaigns.{name}").main(options)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
