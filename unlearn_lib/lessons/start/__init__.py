"""Lesson 00."""

from unlearn_lib.lessons.start.sizes import LESSON

__all__ = ["LESSON"]
