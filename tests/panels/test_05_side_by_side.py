"""Lesson 05 without a browser: figures draw, tables add up, and U-LiRA runs for all methods at once."""

from __future__ import annotations

import csv
import io
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.toys import blobs
from tests.unit.test_methods_table import KNOBS, task_of
from unlearn_lib.data import Examples
from unlearn_lib.lesson.audit_cards import CARDS, COSTS
from unlearn_lib.lesson.charts import View
from unlearn_lib.lesson.contest import METHODS
from unlearn_lib.lesson.controls import picture_of
from unlearn_lib.lesson.figures import side_by_side as figures
from unlearn_lib.lesson.league import NOTHING, Arena, Estimate, Score, Table, estimate, ulira
from unlearn_lib.metrics.lira import in_processes, lira
from unlearn_lib.models import build
from unlearn_lib.train import Recipe

COLUMN = {
    NOTHING: Estimate(0.9, 0.8, 1.0),
    "retrain": Estimate(0.5, 0.4, 0.6),
    "UNSIR": Estimate(math.inf, 0, 1),
}


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    tasks = [task_of("class", tmp_path_factory.mktemp("arena")) for _ in range(2)]
    object.__setattr__(tasks[1], "recipe", tasks[1].recipe.but(seed=1))
    return Arena.of(tasks, blobs(60, seed=2))


@pytest.fixture(scope="module")
def table(arena: Arena) -> Table:
    entries = [arena.nothing(0), arena.enter("retrain", METHODS["retrain"], 0)]
    entries += [arena.enter("fine-tune", METHODS["fine-tune"], place) for place in (0, 1)]
    return Table(tuple(s for entry in entries for s in arena.scores(entry)))


def drawn(view: View) -> None:
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30


def test_every_figure_draws_live_and_still(arena: Arena) -> None:
    drawn(figures.request_chart({"a": torch.rand(3, 8, 8).numpy(), "b": torch.rand(3, 8, 8).numpy()}))
    drawn(figures.audit_chart("loss MIA", COLUMN, (0.4, 0.6), ".2f"))
    drawn(figures.audit_chart("loss MIA", {"UNSIR": COLUMN["UNSIR"]}, (math.nan, math.nan), "%"))
    drawn(
        figures.pareto_chart({"retrain": (1.0, 0.0), "SISA": (2.0, 0.1), "UNSIR": (0.5, 0.1)}, "fast", "far")
    )
    layers = {"retrain": {"1": 1.0, "3": 0.5}, "UNSIR": {"1": 0.2, "3": 0.1}}
    drawn(figures.layers_chart(layers, layers))
    drawn(figures.bn_chart({"original": 1.0}, {"original": 0.5}))


def test_the_front_holds_those_that_no_other_beats_in_both() -> None:
    view = figures.pareto_chart({"retrain": (1.0, 0.0), "SISA": (2.0, 0.1), "UNSIR": (0.5, 0.1)}, "x", "y")
    assert view.alt.endswith("Beaten by none in both: retrain, SISA.")


def test_an_interval_is_students_and_knows_what_is_not_a_number() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert estimate([5.0]) == (5, 5, 5)
    assert estimate([1.0, math.inf]).mean == math.inf
    assert math.isnan(estimate([math.nan]).mean)
    assert estimate([1.0, math.nan]).mean == 1


def test_every_number_has_a_card_or_is_a_cost(table: Table) -> None:
    plain = {"steps", "speed-up, request only"}
    assert set(table.audits("class")) <= set(CARDS) | set(COSTS) | plain
    for card in (*CARDS.values(), *COSTS.values()):
        assert all(card.lines().values())


def test_the_reference_has_no_gap_to_itself_but_one_to_other_seeds(arena: Arena, table: Table) -> None:
    one, other = arena.retrained
    assert table.values("class", "retrain", "JS to retrained")[0] > 0
    assert one.outputs is not other.outputs
    assert table.values("class", "retrain", "speed-up") == [1]
    assert table.values("class", NOTHING, "weight distance")[0] > 0


def test_csv_and_json_keep_every_number(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert len(rows) == len(table.scores)
    assert float(rows[0]["value"]) == table.scores[0].value
    assert len(json.loads(table.to_json())) == len(rows)
    odd = Table((Score("class", "m", 0, "relearn batches", math.inf),))
    assert json.loads(odd.to_json())[0]["value"] is None


def test_a_grid_spans_the_reason_and_escapes(table: Table) -> None:
    grid = table.grid("class", {"average gap": "%", "bytes stored": "bytes"}, {"X": "because <b>"})
    assert 'colspan="2"' in grid._repr_html_()
    assert "&lt;b&gt;" in grid._repr_html_()
    assert "does not apply: because" in str(grid)
    assert "none" in str(grid)


def test_a_method_that_does_not_apply_is_refused_in_the_arena(arena: Arena) -> None:
    with pytest.raises(ValueError, match="must not be 'class'"):
        arena.enter("PGU samples", METHODS["PGU samples"], 0)


def small(seed: int) -> torch.nn.Module:
    return build("mlp", (5,), 3, seed=seed).double()


def test_ulira_trains_a_shadow_once_for_all_methods() -> None:
    data: Examples = blobs(60)
    base, candidates = data.where(data.ids < 48), data.where(data.ids >= 48)
    recipe = Recipe("adam", lr=0.01, batch_size=8, epochs=3)
    names = [NOTHING, "retrain", "fine-tune"]
    found = ulira(names, base, candidates, base, small, recipe, KNOBS, shadows=4, targets=2)
    assert list(found) == names
    for attack, every in found.values():
        assert every.phi.shape == (6, 12)
        assert torch.equal(lira(every[:4], every[4:]).scores, attack.scores)
        drawn(figures.gaussians_chart("retrain", every, attack, 3))
    assert torch.equal(found[NOTHING][1].inside, found["retrain"][1].inside)
    drawn(figures.ulira_chart({n: a for n, (a, _) in found.items()}, {"retrain": 0.5}))


def test_jobs_run_here_or_in_processes_with_one_result(tmp_path: Path) -> None:
    assert in_processes(pow, [1, 2, 3], [2, 2, 2], workers=0) == [1, 4, 9]
    assert in_processes(partial(pow, 2), [1, 2, 3], workers=2) == [2, 4, 8]
