"""Build the offline site: `unlearn_lib.command.site`, as a script of the checkout."""

from __future__ import annotations

import sys

from unlearn_lib.command.site import main

if __name__ == "__main__":
    sys.exit(main())
