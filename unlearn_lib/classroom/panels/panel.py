"""What every panel has: controls as attributes, a status line, and a static form for other pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import ipywidgets as w

from unlearn_lib import check
from unlearn_lib.classroom import session
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.controls import KeyGuard, picture_of, table
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.metrics.table import escaped

__all__ = ["Panel"]

LARGE = (w.Box, Thumbnails)  # controls with a row of their own


class Panel:
    """Controls above a status line and drawings. The controls are attributes: ``panel.epsilon.value = 0.1``.

    Args:
        name: of the panel; making another panel of this name ends the work of the first.
        controls: widgets by name, from `unlearn_lib.classroom.panels.controls`, `thumbnails` or `pickers`.

    Raises:
        ValueError: a control has the name of something else that the panel has.
        TypeError: a control has no value.
    """

    @check.arguments
    def __init__(self, name: str, controls: Mapping[str, Any]) -> None:
        self._name = name
        for key, control in controls.items():
            if not hasattr(control, "observe") or not hasattr(control, "value"):
                raise TypeError(f"`controls` must hold widgets with a value; got {control!r} for {key!r}.")
        for taken in {"controls", *dir(type(self))}.intersection(controls):
            self._refuse(taken)
        self.controls = dict(controls)
        self.status, self.numbers = w.Label(), w.HTML()
        self.status.add_class("unlearn-status")
        self.initial = vars(self.values)

    def __getattr__(self, name: str) -> Any:
        controls = self.__dict__.get("controls", {})
        if name not in controls:
            raise AttributeError(f"{type(self).__name__} has no attribute or control {name!r}.")
        return controls[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("controls", {}):  # `__getattr__` would never find the control again
            self._refuse(name)
        super().__setattr__(name, value)

    def _refuse(self, name: str) -> NoReturn:
        raise ValueError(
            f"`controls` of the panel {self._name!r} must not hold {name!r}: it has another {name!r}. "
            f"(To change what a control says, set `{name}.value`.)"
        )

    @property
    def values(self) -> SimpleNamespace:
        """What the controls say now."""
        return SimpleNamespace(**{name: control.value for name, control in self.controls.items()})

    def views(self) -> list[View]:
        """What the panel shows now: its static form."""
        raise NotImplementedError

    def _assemble(self, *below: Any, buttons: Sequence[Any] = ()) -> None:
        small = [c for c in self.controls.values() if not isinstance(c, LARGE)]
        large = [c for c in self.controls.values() if isinstance(c, LARGE)]
        rows = [beside(small, "unlearn-controls")] if small else []
        rows += [*large, *([beside(buttons, "unlearn-controls")] if buttons else [])]
        self.box = w.VBox([KeyGuard(), *rows, *below])
        self.box.add_class("unlearn-panel")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        pictures = [picture_of(view) for view in self.views()]
        joined = "".join(picture["text/html"] for picture in pictures)
        static = {**pictures[0], "text/html": joined} if pictures else {"text/plain": self.status.value}
        return static if session.HEADLESS else {**static, **self.box._repr_mimebundle_(**kwargs)}


def beside(children: Sequence[Any], style: str) -> w.HBox:
    """Widgets side by side."""
    box = w.HBox(list(children))
    box.add_class(style)
    return box


def described(view: View) -> str:
    """The text alternative of a view: its numbers, and what it shows."""
    return table(view.numbers) + f"<p>{escaped(view.alt)}</p>"
