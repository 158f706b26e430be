"""Import paths of version 0.1 that still work, with a `DeprecationWarning` that names the new one.

They go with version 0.3.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MOVED"]

MOVED = {
    "chain": "methods.deepobliviate.chain",
    "decay": "methods.deepobliviate.decay",
    "layers": "methods.layers",
    "noise": "methods.unsir.noise",
    "projection": "methods.pgu.projection",
    "stages": "methods.stages",
    "stopping": "methods.pgu.stopping",
    "update_log": "methods.amnesiac.log",
    "updates": "methods.amnesiac.updates",
    "lesson": "classroom",
    "lesson.charts": "classroom.charts",
    "lesson.controls": "classroom.panels.controls",
    "lesson.panels": "classroom.panels",
    "lesson.pickers": "classroom.panels.pickers",
    "lesson.presets": "lessons.every",
    "lesson.session": "classroom.session",
}


def renamed(module: str, name: str, names: Mapping[str, Any]) -> Any:
    """What a module once knew under this name, with a warning: for its `__getattr__`."""
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new = names[name]
    warnings.warn(f"{module}.{name} is now {new.__qualname__}.", DeprecationWarning, stacklevel=3)
    return new


class _Forward(MetaPathFinder, Loader):
    """Finds a module under its old name, and hands out the one of the new name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec, where this is an old name."""
        if fullname.removeprefix("unlearn_lib.") not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=fullname == "unlearn_lib.lesson")

    def create_module(self, spec: ModuleSpec) -> None:
        """An empty one, to be replaced."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the new module, and let it stand under both names."""
        old = module.__name__
        new = f"unlearn_lib.{MOVED[old.removeprefix('unlearn_lib.')]}"
        warnings.warn(f"{old} has moved to {new}.", DeprecationWarning, stacklevel=2)
        found = importlib.import_module(new)
        if module.__spec__ is not None and module.__spec__.submodule_search_locations is None:
            sys.modules[old] = found


sys.meta_path.append(_Forward())
