"""Puts the lessons into the wheel, from the one place where they are: `notebooks`, both editions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Lessons(BuildHookInterface):  # type: ignore[type-arg]
    """Names the notebooks as files of the package; an editable install reads those of the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds; `version` is "standard" or "editable"."""
        if version == "standard":
            folder = Path(self.root) / "notebooks"
            build_data["force_include"] |= {
                str(path): f"unlearn_lib/notebooks/{path.relative_to(folder).as_posix()}"
                for path in (*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb"))
            }
