"""The control for undoing a part of every update: undo a share of *all* its entries instead.

The other two controls, random entries and one budget for all layers, are rules of `Updates.kept`: a log can
also be recorded with them.
"""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_lib import check
from unlearn_lib.methods.amnesiac.updates import Updates
from unlearn_lib.params import Params, scale, subtract

__all__ = ["undo_scaled"]


def undo_scaled(params: Params, updates: Updates, share: float) -> Params:
    """`params` less every entry of these updates, but only `share` times as much of it.

    Whoever undoes less harms less, whatever is chosen. So compare `undo` with this at equal forgetting.

    Args:
        params: of the trained model; left unchanged.
        updates: rows to undo.
        share: s in [0, 1]; 1 undoes them in full, like `undo`.

    Returns:
        New parameters.
    """
    check.instance("params", params, Mapping), check.number("share", share, "[0, 1]")
    rows = check.instance("updates", updates, Updates).rows
    total = updates.layers.unflatten(rows.sum(0))
    return {**params, **subtract({name: params[name] for name in total}, scale(total, share))}
