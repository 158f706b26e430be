"""Amnesiac unlearning and its layer-wise partial form: remember what each batch did, then undo it."""

from unlearn_lib.methods.amnesiac.controls import undo_scaled
from unlearn_lib.methods.amnesiac.layout import packed
from unlearn_lib.methods.amnesiac.log import Log
from unlearn_lib.methods.amnesiac.method import UndoTrace, amnesiac
from unlearn_lib.methods.amnesiac.recorder import Recording, record, recording
from unlearn_lib.methods.amnesiac.updates import Updates, undo

__all__ = [
    "Log",
    "Recording",
    "UndoTrace",
    "Updates",
    "amnesiac",
    "packed",
    "record",
    "recording",
    "undo",
    "undo_scaled",
]
