"""Lesson 03."""

from unlearn_lib.lessons.partial.sizes import LESSON

__all__ = ["LESSON"]
