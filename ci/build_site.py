"""Build the offline site from executed notebooks: `unlearn site`, as a script of the checkout."""

from __future__ import annotations

from unlearn_lib.command.site import site_command

if __name__ == "__main__":
    site_command(prog_name="build_site.py")
