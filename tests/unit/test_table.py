"""Laws of metrics/table.py: one table, as text and as HTML."""

from __future__ import annotations

import pytest

from unlearn_lib.metrics.table import Grid

LEFT = ' style="text-align: left"'


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    grid = Grid("all", ["name", "share", "reading"], [["a", "5 %", "low"], ["bc", "50 %", "in"]], numbers=[1])
    assert str(grid).splitlines() == [
        "all",
        "name  share  reading",
        "----  -----  -------",
        "a       5 %  low",
        "bc     50 %  in",
    ]
    html = grid._repr_html_()
    assert f'<tr><th scope="row"{LEFT}>a</th><td>5 %</td><td{LEFT}>low</td></tr>' in html
    assert f'<th scope="col"{LEFT}>reading</th>' in html
    assert '<th scope="col">share</th>' in html


def test_a_cell_that_is_no_text_stands_to_the_right_in_four_digits() -> None:
    html = Grid("", [], [["a", 0.123456], ["b", "why"], ["c", None]])._repr_html_()
    assert "<caption>" not in html
    assert "<thead>" not in html
    assert "<td>0.1235</td>" in html
    assert f"<td{LEFT}>why</td>" in html
    assert "<td></td>" in html


def test_a_short_row_spans_the_rest_and_begins_beside_its_name() -> None:
    grid = Grid("", ["name", "x", "y"], [["a", "1", "2"], ["b", "does not apply"]], numbers=(1, 2))
    assert f'<td colspan="2"{LEFT}>does not apply</td>' in grid._repr_html_()
    assert str(grid).splitlines()[-1] == "b     does not apply"


def test_a_row_wider_than_its_head_is_refused_and_markup_is_none() -> None:
    with pytest.raises(ValueError, match="`rows` must have at most 1 cells"):
        Grid("", ["a"], [["1", "2"]])
    shown = Grid("<b>", ["$x$"], [["<i>"]])._repr_html_()
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "$x$" not in shown
