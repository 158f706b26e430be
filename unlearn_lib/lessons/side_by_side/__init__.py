"""Lesson 09."""

from unlearn_lib.lessons.side_by_side.sizes import LESSON

__all__ = ["LESSON"]
