"""Every lesson there is, found on its shelf: a new one is listed nowhere."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from unlearn_lib import data, lessons
from unlearn_lib.classroom.lesson import Lesson, Presets

__all__ = ["LESSONS"]

LESSONS: dict[str, Lesson[Any, Any]] = {
    shelf.name: importlib.import_module(f"{lessons.__name__}.{shelf.name}").LESSON
    for shelf in pkgutil.iter_modules(lessons.__path__)
    if shelf.ispkg
}
# As scripts of version 0.1 know them: by lesson and data set.
PRESETS: dict[str, dict[str, Presets[Any]]] = {
    name: {dataset: lesson.presets(dataset) for dataset in data.names()} for name, lesson in LESSONS.items()
}
