"""Scripts and styles of the widgets: files that are shipped, and each of them is used."""

from __future__ import annotations

import re

import pytest

from unlearn_lib.classroom.assets import STATIC, asset
from unlearn_lib.classroom.panels.controls import KeyGuard
from unlearn_lib.classroom.panels.pickers import Fit
from unlearn_lib.classroom.panels.slider import Slider
from unlearn_lib.classroom.panels.thumbnails import Thumbnails

ROOT = STATIC.parents[2]
CLASSROOM = sorted((ROOT / "unlearn_lib" / "classroom").rglob("*.py"))


def test_every_asset_is_used_and_no_module_holds_a_script() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in CLASSROOM)
    used = set(re.findall(r'asset\("([\w.]+)"\)', text))
    assert used == {path.name for path in STATIC.iterdir()}
    assert "export default" not in text
    assert "addEventListener" not in text


@pytest.mark.parametrize("widget", [KeyGuard, Fit, Slider, Thumbnails])
def test_a_widget_carries_its_script_as_text(widget: type) -> None:
    assert "export default { render }" in str(widget._esm)


def test_an_unknown_asset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"`name` must be .*guard\.js.*; got .*assets\.py"):
        asset("../assets.py")
