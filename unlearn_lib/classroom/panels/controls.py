"""The small parts of a panel: labeled controls, the key guard, tables, and drawing into an Output.

Only widgets whose name a screen reader finds and whose colors have enough contrast in both themes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import anywidget
import ipywidgets as w
import plotly.graph_objects as go

from unlearn_lib import check
from unlearn_lib.classroom import session
from unlearn_lib.classroom.assets import asset
from unlearn_lib.classroom.charts import View, still
from unlearn_lib.metrics.table import Grid

__all__ = [
    "KeyGuard",
    "button",
    "choice",
    "draw_into",
    "either",
    "number",
    "picture_of",
    "several",
    "switch",
    "table",
    "whole",
]

NAMED = {"description_width": "initial"}


class KeyGuard(anywidget.AnyWidget):
    """Invisible. Keeps JupyterLab's command keys (arrows, b, dd, ...) away from the output it is in.

    It also tells screen readers which line of a panel is its status, and brings the panels' styles.
    """

    _esm = asset("guard.js")
    _css = asset("panel.css")


@check.arguments
def choice(description: str, options: Iterable[Any], value: Any = None) -> w.Dropdown:
    """One of several, each a value or a pair (label, value); the first unless `value` says otherwise."""
    options = _offered(options)
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    return w.Dropdown(
        options=options,
        value=values[0] if value is None else check.choice("value", value, values),
        description=description,
        style=NAMED,
        layout={"width": "auto", "max_width": "340px"},
    )


@check.arguments
def either(description: str, options: Sequence[Any], tooltip: str = "") -> w.ToggleButtons:
    """One of a few, all of them visible; starts at the first."""
    return w.ToggleButtons(
        options=_offered(options),
        description=description,
        style={**NAMED, "button_width": "auto"},
        tooltip=tooltip,
    )


@check.arguments
def several(
    description: str, options: Iterable[Any], value: Sequence[Any], rows: int = 5
) -> w.SelectMultiple:
    """Any number of several (Ctrl or Shift adds one); its value is a tuple."""
    options = _offered(options)
    values = [option[1] if isinstance(option, tuple) else option for option in options]
    check.whole("rows", rows, 1)
    return w.SelectMultiple(
        options=options,
        value=tuple(check.choice("value", one, values) for one in value),
        description=description,
        style=NAMED,
        rows=min(rows, len(options)),
        layout={"width": "auto", "min_width": "160px"},
    )


@check.arguments
def number(
    description: str, value: float, low: float, high: float, step: float | None = None
) -> w.BoundedFloatText:
    """A number between `low` and `high`; takes effect on Enter or when it loses the focus."""
    check.number("low", low, f"(-inf, {check.number('high', high)}]")
    check.number("value", value, f"[{float(low)}, {float(high)}]")
    if step is not None:
        check.number("step", step, "(0, inf)")
    return w.BoundedFloatText(
        value=value,
        min=low,
        max=high,
        step=step,
        description=description,
        style=NAMED,
        layout={"width": "auto"},
        continuous_update=False,
    )


@check.arguments
def whole(description: str, value: int, low: int, high: int) -> w.BoundedIntText:
    """A whole number between `low` and `high`."""
    if low > high:
        raise ValueError(f"`low` must be at most `high`; got {low} and {high}.")
    check.whole("value", value, low, high)
    return w.BoundedIntText(
        value=value,
        min=low,
        max=high,
        description=description,
        style=NAMED,
        layout={"width": "auto"},
        continuous_update=False,
    )


@check.arguments
def switch(description: str, value: bool = False) -> w.Checkbox:
    """Yes or no."""
    return w.Checkbox(value=value, description=description, indent=False, layout={"width": "auto"})


@check.arguments
def button(description: str, tooltip: str, action: Callable[[], Any], *, main: bool = False) -> w.Button:
    """A button. No run disables it, which would drop the keyboard focus; a lock ignores a second click."""
    made = w.Button(
        description=description,
        tooltip=tooltip,
        button_style="primary" if main else "",
        layout={"width": "auto", "min_width": "80px"},
    )
    made.on_click(lambda _: action())
    return made


@check.arguments
def table(numbers: Mapping[str, object], caption: str = "") -> str:
    """Numbers as an HTML table: one row per name; a mapping of mappings gets a column per key."""
    nested = [row for row in numbers.values() if isinstance(row, Mapping)]
    columns = list(dict.fromkeys(key for row in nested for key in row))
    rows = [
        [name, *([row.get(c) for c in columns] if isinstance(row, Mapping) else [row])]
        for name, row in numbers.items()
    ]
    head = ["model", *columns] if columns else []
    return Grid(caption, head, rows)._repr_html_() if numbers else ""


def _offered(options: Iterable[Any]) -> list[Any]:
    found = list(options)
    if not found:
        raise ValueError("`options` must hold at least one choice; got none.")
    return found


@check.arguments
def picture_of(view: View) -> dict[str, str]:
    """The static form of a view: a picture with its alternative text and the numbers."""
    figure = still(view.figure) if isinstance(view.figure, go.Figure) else view.figure
    bundle = session.picture(figure, view.alt)
    bundle["text/html"] += table(view.numbers)
    return bundle


@check.arguments
def draw_into(out: w.Output, view: View) -> None:
    """Draw a view's figure into an Output, from any thread: live a plotly chart, headless a picture."""
    if isinstance(view.figure, go.Figure) and not session.HEADLESS:
        data: dict[str, Any] = session.live(view.figure, view.alt)
        out.layout.min_height = f"{view.figure.layout.height or 300}px"  # so that the page does not jump
    else:
        data = picture_of(view._replace(numbers={}))
    out.outputs = ({"output_type": "display_data", "metadata": {}, "data": data},)
