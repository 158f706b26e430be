"""The pictures of each lesson, one file a lesson: pure functions from numbers to a `View`."""
