"""Lesson 04."""

from unlearn_lib.lessons.pgu.sizes import LESSON

__all__ = ["LESSON"]
