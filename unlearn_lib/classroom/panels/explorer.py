"""A panel that answers at once, from what is already computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import ipywidgets as w

from unlearn_lib import check
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.controls import draw_into
from unlearn_lib.classroom.panels.panel import Panel, described

__all__ = ["Explorer"]


class Explorer(Panel):
    """Controls -> a pure function of their values -> a figure and numbers, at once; nothing is trained.

    Args:
        name: of the panel.
        controls: widgets by name.
        view: from the values, by attribute, to a `View`. It should only read what is already computed, and
            take less than 0.2 s.
    """

    @check.arguments
    def __init__(
        self, name: str, *, controls: Mapping[str, Any], view: Callable[[SimpleNamespace], View]
    ) -> None:
        super().__init__(name, controls)
        self.view, self.shown, self.seconds = view, None, 0.0
        self.chart = w.Output()
        self.chart.add_class("unlearn-chart")
        self._assemble(self.chart, self.numbers, self.status)
        # an error of the first state belongs to the cell
        self.shown = check.instance("view", view(self.values), View)
        self.answer()
        for control in self.controls.values():
            control.observe(lambda _: self.answer(), "value")

    def answer(self) -> None:
        """Draw what the controls say; an error goes to the status line and keeps the last drawing."""
        begun = time.perf_counter()
        try:
            self.shown = self.view(self.values)
            draw_into(self.chart, self.shown)
            self.numbers.value = described(self.shown)
            self.status.value = ""
        except Exception as error:
            self.status.value = f"failed: {type(error).__name__}: {error}"
        self.seconds = time.perf_counter() - begun

    def views(self) -> list[View]:
        """The figure for the current values."""
        return [self.shown] if self.shown else []
