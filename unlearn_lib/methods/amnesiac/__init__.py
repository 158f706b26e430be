"""Amnesiac unlearning and its layer-wise partial form: remember what each batch did, then undo it."""

from unlearn_lib.methods.amnesiac.controls import undo_scaled
from unlearn_lib.methods.amnesiac.layout import packed
from unlearn_lib.methods.amnesiac.log import Log
from unlearn_lib.methods.amnesiac.method import UndoTrace, amnesiac, record
from unlearn_lib.methods.amnesiac.updates import Updates, undo

__all__ = [
    "Log",
    "UndoTrace",
    "Updates",
    "amnesiac",
    "packed",
    "record",
    "undo",
    "undo_scaled",
]
