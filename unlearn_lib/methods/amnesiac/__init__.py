"""Amnesiac unlearning and its layer-wise partial form: remember what each batch did, then undo it."""

from unlearn_lib.methods.amnesiac.method import (
    Log,
    UndoTrace,
    Updates,
    amnesiac,
    packed,
    record,
    undo,
)

__all__ = [
    "Log",
    "UndoTrace",
    "Updates",
    "amnesiac",
    "packed",
    "record",
    "undo",
]
