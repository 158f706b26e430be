"""Lesson 01 without a browser: every figure draws, live and still, with an alt text that is true."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from unlearn_lib.classroom import charts
from unlearn_lib.classroom.panels.progress import Progress
from unlearn_lib.data import Dataset, Examples, Split
from unlearn_lib.lessons.deepobliviate import figures
from unlearn_lib.lessons.deepobliviate.panel import (
    layout_controls,
    request_of,
    rule_controls,
    rule_of,
    unused_in_layout,
)
from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, run

WINDOW = [8 * n**-1.5 + 0.5 for n in range(1, 31)]
GAP = list(np.linspace(9, 6, 30))
RULE = TrendRule(0.003)
STOP = RULE.first_stop(WINDOW)
REFERENCES = {"original": 0.95, "retrained": 0.9}
VIEWS = {
    "timeline": lambda: figures.timeline_chart(20, 4, 6, 9),
    "timeline to the end": lambda: figures.timeline_chart(20, 1, 1, 20),
    "residual": lambda: figures.residual_chart(WINDOW, GAP, RULE),
    "residual, dfa": lambda: figures.residual_chart(WINDOW, GAP, TrendRule(0.003, "dfa")),
    "residual, fixed": lambda: figures.residual_chart(WINDOW, GAP, TrendRule(0.003, "fixed")),
    "residual, no stop": lambda: figures.residual_chart(WINDOW, GAP, TrendRule(0.0)),
    "residual, any stop": lambda: figures.residual_chart(WINDOW, GAP, TrendRule(math.inf)),
    "residual, one": lambda: figures.residual_chart(WINDOW[:1], GAP[:1], RULE),
    "residual, all zero": lambda: figures.residual_chart([0.0] * 9, [0.0] * 9, RULE),
    "tradeoff": lambda: figures.tradeoff_chart(
        [1e-4, 0.01, 1], [1.5, 3, 6], [0.9, 0.9, 0.8], REFERENCES, 0.01
    ),
    "tradeoff, none chosen": lambda: figures.tradeoff_chart([0.1, 0.2], [1, 2], [0.5, 0.5], {}),
    "reshuffle": lambda: figures.reshuffle_chart(WINDOW, GAP),
    "distance": lambda: figures.distance_chart([0, 2, 9], [0.3, 0.2, 0.0], 0.25),
    "backdoor": lambda: figures.backdoor_chart([0, 1], [0.25, 0.0], {"M_5": 1.0, **REFERENCES}),
    "dfa": lambda: figures.dfa_chart(WINDOW),
    "dfa, too few": lambda: figures.dfa_chart(WINDOW[:5]),
}
SAYS = {
    "timeline": "Kept at the beginning: 3; retrained: 6 (blocks 4 to 9); stitched at the end: 11.",
    "timeline to the end": "at the beginning: 0; retrained: 20 (blocks 1 to 20); stitched at the end: 0.",
    "residual": f"from {WINDOW[0]:.3g} to {WINDOW[-1]:.3g} in 30 blocks; the rule stops after {STOP} ",
    "residual, no stop": "the rule does not stop; the gap between the models goes from 9 to 6",
    "residual, any stop": "the rule stops after 8 residuals",
    "residual, one": "One residual, 8.5: too few for a trend; the rule does not stop. The gap is 9.",
    "tradeoff": "from 0.0001 to 1 the speed-up goes from 1.5 to 6.0 and test accuracy from 90.0% to 80.0%",
    "reshuffle": f"about {np.mean(WINDOW[-5:]):.3g}; shuffled anew it ends at about {np.mean(GAP[-5:]):.3g}",
    "distance": "from 0.3 with no further block retrained to 0 at the end of the chain; "
    "the original is at 0.25",
    "backdoor": "M_5 100%, original 95%, retrained 90%, stitched, t = 0 25%, stitched, t = 1 0%",
    "dfa": "for 30 residuals",
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_figure_draws_live_and_still(name: str) -> None:
    view = VIEWS[name]()
    assert SAYS.get(name, "") in view.alt
    assert "nan" not in view.alt or name == "dfa, too few"
    assert view.figure.to_json()
    drawn = charts.still(view.figure)
    drawn.canvas.draw()
    assert any(ax.lines or ax.patches for ax in drawn.axes)
    plt.close("all")


def test_every_public_figure_is_tried() -> None:
    called = {name for view in VIEWS.values() for name in view.__code__.co_names}
    assert {*figures.__all__} - {"progress_view"} <= called


def test_the_timeline_covers_every_block_once() -> None:
    bars = figures.timeline_chart(20, 4, 6, 9).figure.data
    spans = [(bar.base[0], bar.base[0] + bar.x[0]) for bar in bars]
    assert spans == [(0, 3), (3, 6), (6, 9), (9, 20)]


def test_the_numbers_of_the_residual_chart_are_those_of_the_rule() -> None:
    numbers = figures.residual_chart(WINDOW, GAP, RULE).numbers
    assert numbers["stop at n"] == STOP
    assert numbers["exponent h"] == pytest.approx(1.5, rel=1e-3)
    assert numbers["floor b"] == pytest.approx(0.5, rel=1e-3)
    assert figures.residual_chart(WINDOW, GAP, TrendRule(0.0)).numbers["stop at n"] == "never"


@pytest.mark.parametrize(
    ("window", "estimator", "says"),
    [
        (WINDOW[:1], "fit", "too few residuals to fit"),
        (WINDOW[:5], "dfa", "too few residuals to fit"),
        (list(range(9)), "fit", "no falling trend to fit"),
        (WINDOW[:8], "fit", ""),
    ],
)
def test_a_residual_chart_without_a_trend_says_why(window: list[float], estimator: str, says: str) -> None:
    figure = figures.residual_chart(window, GAP[: len(window)], TrendRule(0.003, estimator)).figure
    assert [trace.text[0] for trace in figure.data if trace.text] == [says] * bool(says)
    written = [text.get_text().strip() for text in charts.still(figure).axes[0].texts]
    assert written == [says] * bool(says)


def test_an_empty_bar_still_says_zero() -> None:
    bars = figures.backdoor_chart([0], [0.0], REFERENCES).figure.data
    assert {bar.textposition for bar in bars} == {"outside"}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([2e-4, 0.05], [0.001, 0.01]),
        ([0.0025, 0.0065, math.nan], [0.005]),
        ([0.0, math.inf], []),
        ([3.0], [3.0]),
    ],
)
def test_log_ticks_are_round_and_inside(values: list[float], ticks: list[float]) -> None:
    assert figures.log_ticks(values) == ticks


def test_the_progress_view_answers_before_during_and_after_a_run(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(48, 3, generator=generator), torch.arange(48) % 2
    train = Examples(x, y, torch.arange(48))
    data = Dataset("blobs", train, train, ("a", "b"), "random numbers")
    recipe = Recipe(lr=0.1, epochs=1, batch_size=4)
    chain = run(train_chain(torch.nn.Linear(3, 2), train, recipe, 4, Folder(tmp_path)))
    ids = torch.stack(
        [chain.members[0][0], chain.members[1][0]]
    )  # so the first block has no residual to test
    progress = Progress(SimpleNamespace(), Split.by_ids(train, ids), data, chain.model())
    rule = TrendRule(0.0)
    views = [figures.progress_view(progress, rule)]

    def watch(step) -> None:
        progress(step)
        views.append(figures.progress_view(progress, rule))

    progress.finish(run(deepobliviate(chain, ids, rule), watch=[watch]))
    views.append(figures.progress_view(progress, rule))
    assert all(charts.still(view.figure) for view in (views[0], views[-1]))
    retrained = [view.numbers["blocks retrained"] for view in views]
    assert retrained[0] == 0
    assert retrained == sorted(retrained)
    assert retrained[-1] == 4
    assert views[0].alt == "No residual to test yet; 0 blocks retrained."
    assert any(view.alt == "No residual to test yet; 1 block retrained." for view in views)
    trace = progress.result.trace
    assert views[-1].numbers["first Δ"] == trace.window[0]
    assert views[-1].numbers["last G"] == trace.gap[-1]
    assert views[-1].numbers["speed-up in blocks"] == trace.speedup == 1.0


SAMPLES = Examples.of(torch.randn(40, 2), torch.arange(40) % 4)
MEMBERS = [SAMPLES.ids[k::5] for k in range(5)]
CHOICES = {"block": 2, "count": 3, "label": 2, "picked": (7, 11)}
REQUESTS = {  # layout -> the ids that it forgets with these choices
    "samples of one block": [1, 6, 11],
    "samples spread over all blocks": [1, 2, 4],
    "a whole class": list(range(2, 40, 4)),
    "samples on the map": [7, 11],
}


@pytest.mark.parametrize("layout", REQUESTS)
def test_a_layout_forgets_what_it_says_and_ignores_the_other_controls(layout: str) -> None:
    v = SimpleNamespace(layout=layout, **CHOICES)
    assert sorted(request_of(v, SAMPLES, MEMBERS).forget.ids.tolist()) == REQUESTS[layout]
    other = {"block": 3, "count": 2, "label": 1, "picked": (3,)}
    for name, value in other.items():
        changed = request_of(SimpleNamespace(**{**vars(v), name: value}), SAMPLES, MEMBERS).forget.ids
        assert (sorted(changed.tolist()) == REQUESTS[layout]) == (name in unused_in_layout(v)), name


def test_the_panels_first_values_are_the_requests_of_the_cells() -> None:
    data = Dataset("plane", SAMPLES, SAMPLES, ("a", "b", "c", "d"), "made")
    controls = layout_controls(data, MEMBERS, 2, MEMBERS[1][:3], rule_controls(0.01, "dfa", 1))
    v = SimpleNamespace(**{name: control.value for name, control in controls.items()})
    assert sorted(request_of(v, SAMPLES, MEMBERS).forget.ids.tolist()) == REQUESTS[v.layout]
    assert rule_of(v) == TrendRule(0.01, "dfa", n_min=2)
    v.n_min = 0
    assert rule_of(v) == TrendRule(0.01, "dfa")
