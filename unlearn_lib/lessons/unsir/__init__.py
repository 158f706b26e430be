"""Lesson 02."""

from unlearn_lib.lessons.unsir.sizes import LESSON

__all__ = ["LESSON"]
