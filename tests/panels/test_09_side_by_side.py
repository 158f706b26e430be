"""Lesson 09 without a browser: figures draw, tables add up, and U-LiRA runs for all methods at once."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.toys import blobs
from tests.unit.test_methods_table import SMALL, task_of
from unlearn_lib.classroom.charts import View
from unlearn_lib.classroom.panels.controls import picture_of
from unlearn_lib.contest.arena import NOTHING, Arena
from unlearn_lib.contest.cards import CARDS, COSTS
from unlearn_lib.contest.entries import METHODS, configured
from unlearn_lib.contest.entries.deepobliviate import blocks_of
from unlearn_lib.contest.failures import Trial
from unlearn_lib.contest.table import Estimate, Measurement, Table, estimate, estimate_ratio
from unlearn_lib.contest.task import KINDS, three_requests
from unlearn_lib.contest.ulira import ulira
from unlearn_lib.data import Examples
from unlearn_lib.lessons.side_by_side import LESSON as LESSON_09
from unlearn_lib.lessons.side_by_side import figures
from unlearn_lib.methods.deepobliviate import train_chain
from unlearn_lib.metrics.cost import priced
from unlearn_lib.metrics.divergence import js
from unlearn_lib.metrics.lira import lira
from unlearn_lib.models import build
from unlearn_lib.params import state
from unlearn_lib.store import Folder
from unlearn_lib.synthetic import noisy
from unlearn_lib.train import Recipe, run

ROOT = Path(__file__).resolve().parents[2]
COLUMN = {
    NOTHING: Estimate(0.9, 0.8, 1.0),
    "retrain": Estimate(0.5, 0.4, 0.6),
    "UNSIR": Estimate(math.inf, 0, 1),
}


POINTS = {
    "retrain": (Estimate(1.0, 1.0, 1.0), Estimate(0.0, 0.0, 0.0)),
    "SISA": (Estimate(2.0, 1.5, 3.0), Estimate(0.1, 0.0, 0.2)),
    "UNSIR": (Estimate(0.5, 0.4, 0.6), Estimate(0.1, -0.1, 0.3)),
}


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    one, other = (task_of("class", tmp_path_factory.mktemp("arena")) for _ in range(2))
    other = replace(other, recipe=other.recipe.but(seed=1))
    return Arena.of([one, other], blobs(60, seed=2))


@pytest.fixture(scope="module")
def table(arena: Arena) -> Table:
    outcomes = [arena.nothing(0), arena.enter(METHODS["retrain"], 0)]
    outcomes += [arena.enter(METHODS["fine-tune"], place) for place in (0, 1)]
    return Table(tuple(s for outcome in outcomes for s in arena.scores(outcome)))


def digits_like() -> Examples:
    """Random images of three classes."""
    stream = torch.Generator().manual_seed(0)
    return Examples(torch.rand(60, 1, 8, 8, generator=stream), torch.arange(60) % 3, torch.arange(60))


def drawn(view: View) -> None:
    json.loads(view.figure.to_json())
    assert "<img" in picture_of(view)["text/html"]
    assert len(view.alt) > 30


def test_every_figure_draws_live_and_still(arena: Arena) -> None:
    drawn(figures.request_chart({"a": torch.rand(3, 8, 8).numpy(), "b": torch.rand(3, 8, 8).numpy()}))
    drawn(figures.request_chart({"colors": torch.rand(3, 3, 8, 8).numpy(), "bits": torch.rand(3, 7).numpy()}))
    drawn(figures.audit_chart("loss MIA, AUC", COLUMN, (0.4, 0.6), ".2f"))
    drawn(figures.audit_chart("loss MIA, AUC", {"UNSIR": COLUMN["UNSIR"]}, (math.nan, math.nan), "%"))
    drawn(figures.pareto_chart(POINTS, "fast", "far"))
    drawn(figures.audit_chart("linear probe", {}, (math.nan, math.nan), "%"))
    layers = {"retrain": {"1": 1.0, "3": 0.5}, "UNSIR": {"1": 0.2, "3": 0.1}}
    drawn(figures.layers_chart(layers, layers))
    drawn(figures.bn_chart({"original": 1.0}, {"original": 0.5}))


def test_the_front_holds_those_that_no_other_beats_in_both() -> None:
    view = figures.pareto_chart(POINTS, "x", "y")
    assert view.alt.endswith("Beaten by none on both axes: retrain, SISA.")


def test_an_interval_is_students_and_knows_what_is_not_a_number() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
    assert estimate([5.0]) == (5, 5, 5)
    assert estimate([1.0, math.inf]).mean == math.inf
    assert math.isnan(estimate([math.nan]).mean)
    assert estimate([1.0, math.nan]).mean == 1


def test_a_ratio_has_a_geometric_mean_and_never_reaches_zero() -> None:
    found = estimate_ratio([1.0, 100.0])
    assert found.mean == pytest.approx(10)
    assert 0 < found.low < 10 < found.high
    assert estimate_ratio([math.inf, 1.0]).mean == math.inf


def test_the_interval_of_a_share_ends_where_shares_do() -> None:
    scores = [Measurement("class", "m", seed, "average gap", v) for seed, v in enumerate((0.0, 0.5))]
    cell = Table(tuple(scores)).grid("class", {"average gap": "%"}, {}).rows[0][1]
    assert cell == "25 (0 to 100) %"


def test_nothing_is_compared_with_a_model_of_its_own_first_weights(arena: Arena) -> None:
    outcome = arena.enter(METHODS["fine-tune"], 0)
    own, other = (arena.retrained[place].outputs for place in (0, 1))
    found = {s.audit: s.value for s in arena.scores(outcome)}
    p = outcome.outputs.p("forget")
    assert found["JS to retrained"] == pytest.approx(js(p, other.p("forget")))
    assert found["JS to retrained"] != pytest.approx(js(p, own.p("forget")))


def test_reads_of_validation_samples_are_on_the_bill(arena: Arena) -> None:
    outcome = arena.enter(METHODS["partial label-flip"], 0)
    assert outcome.cost.retain_reads == 0
    task = replace(arena.tasks[0], kind="samples", ids=arena.tasks[0].data.ids[:5])
    method = METHODS["partial label-flip"]
    _, cost = priced(method.begin(task, method.kit(task)), task.split)
    assert cost.other_reads >= len(task.validation), "the goal is the accuracy of samples never seen"


def test_blocks_and_shards_that_are_small_or_lack_a_class_do_not_warn(arena: Arena, tmp_path: Path) -> None:
    recipe = arena.tasks[0].recipe.but(batch_size=8)
    task = replace(arena.tasks[0], recipe=recipe, folder=tmp_path)
    methods = (SMALL["DeepObliviate"].but(blocks=20), SMALL["SISA"].but(shards=6))
    small, lacking = "smaller than one mini-batch", "lack a class"
    with pytest.warns(UserWarning, match=small), pytest.warns(UserWarning, match=lacking):
        run(train_chain(task.initial, task.data, task.recipe, blocks_of(task, 20), Folder(tmp_path / "loud")))
    for method in methods:  # a warning is an error in these tests
        method.unlearn(task)


def test_a_log_of_sensitive_batches_is_smaller_and_forgets_the_same(arena: Arena, tmp_path: Path) -> None:
    found = []
    for sensitive in (False, True):
        method = METHODS["amnesiac"].but(sensitive=sensitive)
        task = arena.tasks[0].again(tmp_path / str(sensitive))
        kit = method.kit(task)
        found.append((kit.stored, state(run(method.begin(task, kit)).model)))
    (whole, one), (part, other) = found
    assert part < whole
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_failure_is_told_in_words(arena: Arena) -> None:
    tasks = {"class": arena.tasks[0]}
    for name in ("gradient ascent", "SISA", "UNSIR", "partial amnesiac", "partial optimization"):
        said = SMALL[name].failure.measure(Trial(SMALL[name], tasks, blobs(60, seed=2), 1.0, {}))
        assert "%" in said or "overflow" in said or "shards" in said


def test_every_number_has_a_card_or_is_a_cost(table: Table) -> None:
    plain = {"steps"}
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
    odd = Table((Measurement("class", "m", 0, "relearn batches", math.inf),))
    assert json.loads(odd.to_json())[0]["value"] is None


def test_a_grid_spans_the_reason_and_escapes(table: Table) -> None:
    grid = table.grid("class", {"average gap": "%", "bytes stored": "bytes"}, {"X": "because <b>"})
    assert 'colspan="2"' in grid._repr_html_()
    assert "&lt;b&gt;" in grid._repr_html_()
    assert "does not apply: because" in str(grid)
    assert "none" in str(grid)


def test_a_method_that_does_not_apply_is_refused_in_the_arena(arena: Arena) -> None:
    with pytest.raises(ValueError, match="must not be 'class'"):
        arena.enter(METHODS["PGU samples"], 0)


def small(seed: int) -> torch.nn.Module:
    return build("mlp", (5,), 3, seed=seed).double()


def test_ulira_trains_a_shadow_once_for_all_methods() -> None:
    data: Examples = blobs(60)
    base, candidates = data.where(data.ids < 48), data.where(data.ids >= 48)
    recipe = Recipe("adam", lr=0.01, batch_size=8, epochs=3)
    methods = {name: METHODS[name] for name in ("retrain", "fine-tune")}
    told = []
    found = ulira(
        methods,
        base,
        candidates,
        base,
        small,
        recipe,
        batches=3,
        shadows=4,
        targets=2,
        watch=lambda done, total: told.append((done, total)),
    )
    assert list(found) == [NOTHING, "retrain", "fine-tune"]
    assert told == [(k, 6) for k in range(1, 7)]
    for exposure in found.values():
        every = exposure.margins
        assert every.phi.shape == (6, 12)
        assert torch.equal(lira(every[:4], every[4:]).scores, exposure.attack.scores)
        assert 0 <= exposure.accuracy <= 1
        drawn(figures.gaussians_chart("retrain", exposure, 3))
    assert torch.equal(found[NOTHING].margins.inside, found["retrain"].margins.inside)
    drawn(figures.ulira_chart(found))


def test_the_population_attack_is_made_on_the_targets_of_ulira() -> None:
    data: Examples = blobs(60)
    base, candidates = data.where(data.ids < 48), data.where(data.ids >= 48)
    recipe = Recipe("adam", lr=0.01, batch_size=8, epochs=3)
    found = ulira({}, base, candidates, base, small, recipe, batches=3, shadows=4, targets=2)[NOTHING]
    target = found.margins[4:]
    members, others = target.phi[target.inside], target.phi[~target.inside]
    wins = (members[:, None] > others).double() + (members[:, None] == others).double() / 2
    assert found.population.value == pytest.approx(float(wins.mean()))


def test_of_the_three_requests_only_the_backdoor_changes_images() -> None:
    data = digits_like()
    before = data.x.clone()
    found = three_requests(data, 1, 7, 5)
    assert torch.equal(data.x, before)
    assert set(found) == set(KINDS)
    assert (data.select(found["class"].ids).y == 1).all()
    assert [len(found[kind].ids) for kind in ("samples", "backdoor")] == [7, 5]
    assert found["class"].data is found["samples"].data is data
    poisoned = found["backdoor"].data
    changed = (poisoned.x != data.x).flatten(1).any(1)
    assert set(poisoned.ids[changed].tolist()) <= set(found["backdoor"].ids.tolist())
    assert (poisoned.select(found["backdoor"].ids).y == 0).all()


def test_a_task_again_keeps_its_original_unless_samples_are_moved(arena: Arena, tmp_path: Path) -> None:
    task = arena.tasks[0]
    same, moved = task.again(tmp_path), task.again(tmp_path, batches=task.batches + 1)
    assert same.original is task.original
    assert moved.original is not task.original


def test_noise_repeats_with_its_stream_and_leaves_ids_and_labels() -> None:
    data = digits_like()
    one, two, other = (noisy(data, 1.0, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.x, other.x)
    assert torch.equal(one.ids, data.ids)
    assert torch.equal(noisy(data, 0.0, torch.Generator()).x, data.batch(slice(None)).x)


def test_the_tuning_script_tries_every_combination_of_a_grid() -> None:
    spec = importlib.util.spec_from_file_location("tune_contest", ROOT / "ci" / "tune_contest.py")
    tune = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tune)
    assert set(tune.TUNED) <= set(METHODS)
    assert len(list(tune.settings_of(METHODS["fine-tune"]))) == 3
    assert len(list(tune.settings_of(METHODS["UNSIR"]))) == 6


def test_sizes_of_lesson_09_refuse_settings_of_a_method_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="`settings` must be"):
        replace(LESSON_09.small, tuned={"nope": configured({})["SISA"].settings})
