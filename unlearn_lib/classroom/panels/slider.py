"""A slider that moves the picture while it is dragged, with a name and a value that screen readers speak.

It is the browser's own range input, for the handles of ipywidgets' sliders have no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from unlearn_lib import check

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

    _esm = """export default { render({ model, el }) {
        const label = document.createElement("label"), input = document.createElement("input");
        const said = document.createElement("output");
        label.className = "unlearn-slider";
        input.type = "range";
        input.min = 0;
        const at = () => model.get("stops")[input.value];
        const say = () => {
            said.textContent = Number(at().toPrecision(2));
            input.setAttribute("aria-valuetext", said.textContent);
        };
        const draw = () => {
            const stops = model.get("stops"), value = model.get("value");
            const far = stop => Math.abs(stop - value);
            input.max = stops.length - 1;
            input.value = stops.reduce((best, stop, i) => far(stop) < far(stops[best]) ? i : best, 0);
            input.disabled = model.get("disabled");
            say();
        };
        let waiting = null;
        const send = () => { waiting = null; model.set("value", at()); model.save_changes(); };
        input.addEventListener("input", () => { say(); waiting ??= setTimeout(send, 120); });
        const name = document.createElement("span");
        name.textContent = model.get("description");
        label.append(name, input, said);
        model.on("change:value", () => { if (waiting === null) draw(); });
        model.on("change:disabled", draw);
        el.append(label);
        draw();
    } };"""
    _css = """
    .unlearn-slider { display: flex; gap: 8px; align-items: center; max-width: 100%; }
    .unlearn-slider input { width: 340px; max-width: 100%; accent-color: #0072b2; }
    .unlearn-slider input:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
    .unlearn-slider output { min-width: 5em; font-variant-numeric: tabular-nums; }
    """

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
