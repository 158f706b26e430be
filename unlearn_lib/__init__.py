"""Machine unlearning, one executable lesson per paper, on one small library.

Imports point one way: ``data, params <- train, store <- methods <- metrics <- lesson``.
"""

__version__ = "0.1.0"
