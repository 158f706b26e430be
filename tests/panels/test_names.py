"""Names of classes are those of folders, so anything: they are drawn as they are, and are markup nowhere."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from matplotlib.text import Text

from unlearn_lib.classroom import charts
from unlearn_lib.classroom.panels.controls import picture_of, table
from unlearn_lib.classroom.panels.pickers import EmbeddingPicker
from unlearn_lib.classroom.panels.thumbnails import Thumbnails
from unlearn_lib.data import Examples
from unlearn_lib.lessons.unsir import figures as unsir_figures

AWKWARD = (
    r"$\frac{$",
    "<script>alert(1)</script>",
    "_under",
    "a^b_c",
    "two\nlines",
    "<b>bold</b>",
    "&amp;",
    "%{x}",
    "$1",
    " ",
)


def texts_of(figure: Any) -> list[str]:
    """What matplotlib writes."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def test_names_of_classes_are_drawn_as_they_are() -> None:
    k = len(AWKWARD)
    views = {
        "class": charts.class_chart({"original": [0.1] * k, "retrained": [0.2] * k}, AWKWARD, [0, 1]),
        "probability": charts.probability_chart({"original": [1 / k] * k}, AWKWARD),
        "matrix": charts.matrix_chart({"original": np.eye(k)}, AWKWARD),
        "destinations": unsir_figures.destination_chart({"unlearned": np.eye(k)}, [0], AWKWARD),
    }
    for kind, view in views.items():
        assert "<img" in picture_of(view)["text/html"]
        trace = view.figure.data[0]
        shown = [charts.plain(str(x)).replace(" (forget)", "") for x in trace.x]
        assert shown == list(AWKWARD), kind
        for name in map(str, trace.x):  # nothing left that plotly would read
            assert not re.search(r"<(?!/?b>|br>)|\$|[{}]", name), (kind, name)
        found = [
            text.replace(r"\$", "$").replace("\n(", " (") for text in texts_of(charts.still(view.figure))
        ]
        for name in AWKWARD[:-1]:
            assert any(text.startswith(name) for text in found), (kind, name)


def test_a_name_that_begins_with_an_underscore_stands_in_the_legend() -> None:
    figure = go.Figure(go.Scatter(x=[0], y=[0], name="_under"))
    assert " _under" in texts_of(charts.still(figure))


def test_pickers_draw_names_as_they_are() -> None:
    x = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    samples = Examples.of(x, torch.arange(20) % 10)
    picker = EmbeddingPicker(samples, "Forget", AWKWARD, value=[0, 1])
    assert [charts.plain(trace.name) for trace in picker.figure.data] == list(AWKWARD)
    for view in (picker.view(), Thumbnails(samples, "Choose", AWKWARD, value=[0]).view()):
        bundle = picture_of(view)
        assert "<script" not in bundle["text/html"]
        assert not re.search(r"\$[^<]*\$", re.sub(r'alt="[^"]*"', "", bundle["text/html"])), "no formula"
        assert any(r"\$\frac{\$" in text for text in texts_of(view.figure))


def test_short_names_that_are_alike_become_numbers() -> None:
    assert unsir_figures.short_names(["airplane", "0 - zero", "cat"]) == ["airp", "0", "cat"]
    assert unsir_figures.short_names(["class a", "class b"]) == ["0", "1"]
    assert unsir_figures.short_names([" ", "cat"]) == ["", "cat"]


def test_texts_in_tables_are_no_markup() -> None:
    html_of = table({AWKWARD[1]: {AWKWARD[0]: AWKWARD[1]}}, caption="$x$ <i>")
    assert "<script" not in html_of
    assert "<i>" not in html_of
    assert "$x$" not in html_of
