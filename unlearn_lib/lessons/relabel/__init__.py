"""Lesson 05."""

from unlearn_lib.lessons.relabel.sizes import LESSON

__all__ = ["LESSON"]
