"""Run lessons headlessly: `unlearn_lib.command.runner`, as a script of the checkout."""

from __future__ import annotations

import sys

from unlearn_lib.command.runner import main

if __name__ == "__main__":
    sys.exit(main())
