"""A slider that moves the picture while it is dragged, with a name and a value that screen readers speak.

It is the browser's own range input, because the handles of ipywidgets' sliders have no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from unlearn_lib import check
from unlearn_lib.classroom.assets import asset

__all__ = ["Slider"]


class Slider(anywidget.AnyWidget):
    """Drag it, or use the arrow keys: `value` is one of `stops`, sent at most eight times a second.

    Args:
        description: name of the control.
        stops: the values from left to right, increasing, at least two.
        value: at the start; the nearest stop is taken, as in every later assignment.

    Raises:
        ValueError: too few stops, or not in order.
    """

    description = traitlets.Unicode("").tag(sync=True)
    stops: Any = traitlets.List(traitlets.Float()).tag(sync=True)
    value: Any = traitlets.Float(0.0).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    _esm = asset("slider.js")
    _css = asset("slider.css")

    def __init__(self, description: str, stops: Sequence[float], value: float, **traits: Any) -> None:
        check.text("description", description), check.number("value", value)
        check.fit("stops", stops, Sequence[float])
        found = [check.number(f"stops[{i}]", stop) for i, stop in enumerate(stops)]
        if len(found) < 2 or found != sorted(set(found)):
            raise ValueError(f"`stops` must be at least two increasing numbers; got {found}.")
        super().__init__(description=description, stops=found, value=value, **traits)

    @traitlets.validate("value")
    def _nearest(self, proposal: dict[str, Any]) -> float:
        return float(min(self.stops, key=lambda stop: abs(stop - proposal["value"])))
