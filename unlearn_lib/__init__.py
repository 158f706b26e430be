"""Machine unlearning, one executable lesson per paper, on one small library.

Imports point one way: ``data, params <- train, store <- methods <- metrics <- contest <- classroom <- lessons``.
"""

from unlearn_lib import moved as moved

__version__ = "0.1.0"
