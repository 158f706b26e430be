"""Lesson 01."""

from unlearn_lib.lessons.deepobliviate.sizes import LESSON

__all__ = ["LESSON"]
