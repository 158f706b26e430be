"""The lessons: sizes, and one shelf each."""
