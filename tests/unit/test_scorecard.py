"""Laws of metrics/scorecard.py."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics import Outputs, Scorecard, evaluate
from unlearn_lib.metrics.accuracy import accuracy, loss, wilson
from unlearn_lib.metrics.backdoor import backdoor_success, corner_trigger
from unlearn_lib.metrics.card import Row
from unlearn_lib.metrics.divergence import js, log_entropy_w1, weight_distance
from unlearn_lib.metrics.membership import loss_attack
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, run, train

MORE = blobs(n=180)
TRAIN, TEST = (Examples.of(MORE.x[part], MORE.y[part]) for part in (slice(120), slice(120, None)))
CLASS, SAMPLE = Split.by_class(TRAIN, 1), Split.by_ids(TRAIN, range(0, 40, 2))


def trained(data: Examples, seed: int = 0) -> nn.Module:
    net = tiny_net(seed=seed)
    run(train(net, data, Recipe(epochs=3, lr=0.05, batch_size=16, seed=seed)))
    return net


ORIGINAL = trained(TRAIN)
SPLITS = {"class": CLASS, "sample": SAMPLE}
RETRAINED = {name: [trained(split.retain, seed) for seed in range(3)] for name, split in SPLITS.items()}


@cache
def card(setting: str, model: nn.Module = ORIGINAL, seeds: int = 3, **more: str) -> Scorecard:
    retrained, *others = RETRAINED[setting][:seeds]
    return evaluate(
        model,
        original=ORIGINAL,
        retrained=retrained,
        retrained_seeds=others,
        split=SPLITS[setting],
        test=TEST,
        **more,
    )


def test_class_setting_has_four_accuracies_on_four_disjoint_parts() -> None:
    found = [row for row in card("class") if row.metric == "accuracy"]
    assert [row.data for row in found] == ["forget", "retain", "forget test", "retain test"]
    parts = Outputs.of(ORIGINAL, CLASS, TEST).data
    assert not set(parts["forget"].ids.tolist()) & set(parts["retain"].ids.tolist())
    assert not set(parts["forget test"].ids.tolist()) & set(parts["retain test"].ids.tolist())
    assert len(parts["forget"]) + len(parts["retain"]) == len(TRAIN)
    assert len(parts["forget test"]) + len(parts["retain test"]) == len(TEST)
    for row in found:
        assert row.original == accuracy(ORIGINAL, parts[row.data])


def test_sample_setting_has_one_test_set() -> None:
    assert card("sample").setting == "sample"
    assert [r.data for r in card("sample") if r.metric == "accuracy"] == ["forget", "retain", "test"]
    assert card("sample")["loss", "test"].unlearned == loss(ORIGINAL, TEST)


def test_the_average_gap_is_the_mean_of_its_parts_and_zero_for_itself() -> None:
    found = card("class", seeds=1)
    parts = [found["accuracy", part] for part in ("forget", "retain", "retain test")]
    gap = found["average gap", "all"]
    # UA = 1 - A_f has the gap of A_f
    assert gap.unlearned == pytest.approx(sum(abs(r.unlearned - r.retrained) for r in parts) / 3)
    assert gap.unlearned > 0.2
    named = zip(("UA", "RA", "TA"), parts, strict=True)
    assert gap.note == ", ".join(f"{name} {100 * abs(r.unlearned - r.retrained):.1f}" for name, r in named)
    same = card("class", clone(RETRAINED["class"][0]), seeds=1)
    assert same["average gap", "all"].unlearned == 0


def test_a_sample_on_both_sides_of_the_split_is_refused() -> None:
    with pytest.raises(ValueError, match="must not share a sample"):
        evaluate(
            ORIGINAL, original=ORIGINAL, retrained=ORIGINAL, split=Split(SAMPLE.forget, TRAIN), test=TEST
        )


def test_a_whole_scorecard_changes_nothing_and_twice_is_the_same() -> None:
    net = clone(ORIGINAL).train()
    before, stream = state(net), torch.get_rng_state()
    first, second = card("class", net), card.__wrapped__("class", net)
    assert first == second
    assert net.training
    assert all(torch.equal(state(net)[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("setting", ["class", "sample"])
def test_every_row_has_its_references_its_range_and_its_floor(setting: str) -> None:
    found = card(setting)
    assert found.seeds == 3
    for row in found:
        assert row.floor is not None
        assert row.floor >= 0
        assert row.low <= row.retrained <= row.high
        assert all(isinstance(v, float) for v in (row.original, row.unlearned, row.retrained))


def test_nothing_is_shown_without_the_retrained_model() -> None:
    with pytest.raises(TypeError, match="retrained"):
        evaluate(ORIGINAL, original=ORIGINAL, split=CLASS, test=TEST)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="original"):
        evaluate(ORIGINAL, retrained=ORIGINAL, split=CLASS, test=TEST)  # type: ignore[call-arg]


def test_one_retrained_model_gives_no_noise_floor_and_says_so() -> None:
    found = card("class", seeds=1)
    assert all(row.floor is None and row.inside is None for row in found)
    assert "1 retrained model: no noise floor" in str(found)


def test_another_retrained_model_is_near_the_floor_the_original_is_not() -> None:
    retrained = trained(CLASS.retain, seed=7)
    js = card("class", retrained)["JS to retrained", "forget"]
    assert js.unlearned < 4 * js.floor < js.original
    assert js.inside == (js.unlearned <= js.high)
    agreement = card("class", ORIGINAL)["agreement", "forget"]
    assert agreement.inside is False
    assert agreement.original < agreement.low


def test_a_retrained_model_is_compared_with_the_others_never_with_itself() -> None:
    outputs = [Outputs.of(m, CLASS, TEST) for m in (ORIGINAL, *RETRAINED["class"])]
    row = evaluate(
        outputs[1],
        original=outputs[0],
        retrained=outputs[1],
        retrained_seeds=outputs[2:],
        split=CLASS,
        test=TEST,
    )["JS to retrained", "forget"]
    assert row.low <= row.unlearned <= row.high
    assert row.low > 0
    with pytest.raises(ValueError, match="`retrained_seeds` must not repeat a model"):
        evaluate(
            *(ORIGINAL,),
            original=ORIGINAL,
            retrained=ORIGINAL,
            retrained_seeds=[ORIGINAL],
            split=CLASS,
            test=TEST,
        )


def test_stored_outputs_give_the_same_card_as_the_models() -> None:
    original, retrained, *seeds = (Outputs.of(m, CLASS, TEST) for m in (ORIGINAL, *RETRAINED["class"]))
    stored = evaluate(
        ORIGINAL, original=original, retrained=retrained, retrained_seeds=seeds, split=CLASS, test=TEST
    )
    assert stored == card("class")


def test_a_model_that_is_its_own_only_reference_is_refused() -> None:
    other = RETRAINED["class"]
    cases = {
        "`retrained` must be another model than `model`": (other[0], ORIGINAL, [other[0]]),
        "`retrained` must be another model than `original`": (other[0], ORIGINAL, [other[1], ORIGINAL]),
    }
    for message, (model, original, (retrained, *seeds)) in cases.items():
        references = {"original": original, "retrained": retrained, "retrained_seeds": seeds}
        for kind in (ValueError, RuntimeError):
            with pytest.raises(kind, match=message):
                evaluate(model, **references, split=CLASS, test=TEST)
    among = card("class", other[0])["JS to retrained", "forget"]
    assert among.unlearned > 0, "among several it is compared with the others"


def joined(*parts: Examples) -> Examples:
    return Examples.of(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))


@pytest.mark.parametrize(
    ("test", "seen"),
    [
        (TRAIN, 100),
        (Examples(TRAIN.x, TRAIN.y, TRAIN.ids + 1000), 100),
        (TRAIN.head(30), 100),
        (Examples(TRAIN.x[::2], TRAIN.y[::2], TRAIN.ids[::2]), 100),
        (joined(TEST.head(20), TRAIN.head(40)), 67),
    ],
)
def test_a_test_set_of_training_samples_is_refused(test: Examples, seen: int) -> None:
    references = {"original": ORIGINAL, "retrained": RETRAINED["class"][0]}
    with pytest.raises(ValueError, match=f"no model has seen; {seen} % of them are training samples"):
        evaluate(ORIGINAL, **references, split=CLASS, test=test)


def test_a_test_set_may_share_single_samples_or_values_that_everybody_has() -> None:
    references = {"original": ORIGINAL, "retrained": RETRAINED["class"][0]}
    evaluate(ORIGINAL, **references, split=CLASS, test=joined(TEST, TRAIN.head(30)))
    few = torch.randint(2, (120, 5), generator=torch.Generator().manual_seed(0)).double()
    common = Examples.of(few, TRAIN.y)
    evaluate(ORIGINAL, **references, split=Split.by_class(common, 1), test=common.head(60))


def test_outputs_of_other_data_are_refused() -> None:
    stored = Outputs.of(ORIGINAL, SAMPLE, TEST)
    with pytest.raises(ValueError, match="`Outputs` must be of `split` and `test`; the samples of `forget`"):
        evaluate(stored, original=ORIGINAL, retrained=RETRAINED["class"][0], split=CLASS, test=TEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retrained": None}, "`retrained` must be of class Module or Outputs; got None"),
        ({"backdoor": (None, 1)}, r"`backdoor\[0\]` must be of class Trigger"),
        ({"backdoor": 3}, "`backdoor` must be of class tuple"),
        ({"split": None}, "`split` must be of class Split"),
        ({"test": None}, "`test` must be of class Examples"),
    ],
)
def test_arguments_of_another_kind_are_named(change: dict, message: str) -> None:
    good = {"original": ORIGINAL, "retrained": RETRAINED["class"][0], "split": CLASS, "test": TEST}
    with pytest.raises(TypeError, match=f"{message}|type"):
        evaluate(ORIGINAL, **(good | change))


def test_small_forget_sets_show_their_interval() -> None:
    row = card("class", RETRAINED["class"][0])["accuracy", "forget"]
    low, high = wilson(round(40 * row.unlearned), 40)
    assert row.note == f"95 %: {100 * low:.1f} to {100 * high:.1f}"


def test_an_attack_that_fails_on_the_original_is_called_no_test() -> None:
    row = card("class", seeds=1)["loss MIA, AUC", "forget, forget test"]
    assert row.note in ("no test: fails on the original", "looks like training data")
    blind = card("sample", seeds=1)["loss MIA, AUC", "forget, test"]
    assert blind.note == "no test: fails on the original"


def test_another_architecture_has_no_weight_distance_but_all_the_rest() -> None:
    found = card("class", nn.Sequential(ORIGINAL))
    metrics = {row.metric for row in found}
    assert "weight distance" not in metrics
    assert metrics | {"weight distance"} == {row.metric for row in card("class")}
    assert found["accuracy", "retain"] == card("class")["accuracy", "retain"]


def test_the_backdoor_row_is_there_when_asked_for() -> None:
    row = card("sample", backdoor=(corner_trigger((5,), 3.0), 0))["backdoor success", "test"]
    assert row.percent
    with pytest.raises(KeyError, match="backdoor success"):
        card("sample")["backdoor success", "test"]


def test_it_prints_as_a_table_and_keeps_its_numbers_in_json_and_csv() -> None:
    found = card("class", name="<finetune>")
    text = str(found)
    assert text.startswith("Scorecard of <finetune>, class setting, against 3 retrained models\n")
    assert max(map(len, text.splitlines())) < 160
    back = json.loads(found.to_json())
    assert [row["unlearned"] for row in back["rows"]] == [row.unlearned for row in found]
    table = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [float(row["original"]) for row in table] == [row.original for row in found]
    assert table[0]["name"] == "<finetune>"
    assert set(found._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_what_is_not_a_number_is_null_in_json() -> None:
    split = Split.by_ids(TRAIN, [3])  # one sample: the attack cannot be cross-validated
    found = evaluate(ORIGINAL, original=ORIGINAL, retrained=RETRAINED["sample"][0], split=split, test=TEST)
    rows = {(r["metric"], r["data"]): r for r in json.loads(found.to_json())["rows"]}
    assert rows["loss MIA, accuracy", "forget, test"]["unlearned"] is None
    assert rows["loss MIA, AUC", "forget, test"]["unlearned"] is not None


def test_the_html_table_has_a_caption_and_header_cells_and_escapes_names() -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[str, str | None]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.seen.append((tag, dict(attrs).get("scope")))

    found, tags = card("class", name="<b>"), Tags()
    tags.feed(found._repr_html_())
    assert tags.seen.count(("caption", None)) == 1
    assert tags.seen.count(("th", "col")) == 8
    assert tags.seen.count(("th", "row")) == len(found.rows)
    assert ("b", None) not in tags.seen


def test_only_keeps_the_metrics_asked_for() -> None:
    small = card("class").only("accuracy", "average gap")
    assert {row.metric for row in small} == {"accuracy", "average gap"}
    with pytest.raises(ValueError, match=r"`metrics` must be among accuracy, .*; got 'acc'"):
        small.only("acc")


def test_importing_the_metrics_loads_no_plotting_or_widget_package() -> None:
    code = (
        "import sys, unlearn_lib.metrics, unlearn_lib.metrics.membership\n"
        "print([m for m in ('matplotlib', 'plotly', 'ipywidgets', 'anywidget') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ROWS = (
    Row("accuracy", "forget", 1.0, 0.25, 0.125, 0.0, 0.25, 0.1, percent=True, note="one of four"),
    Row("JS to retrained", "retain", 0.5, 0.0625, 0.05, 0.04, 0.06, 0.05, "less"),
    Row("agreement", "retain", 0.5, 0.5, 0.75, 0.75, 0.75, None, "more", True),
    Row("loss MIA, accuracy", "all", float("nan"), 2.0, 2.0, 2.0, 2.0, 0.0),
)
TABLE = """
Scorecard of mine, class setting, against 2 retrained models
metric              data    original  retrained            range    mine  noise floor  reading
------------------  ------  --------  ---------  ---------------  ------  -----------  ---------------------
accuracy            forget   100.0 %     12.5 %  0.0 % to 25.0 %  25.0 %       10.0 %  in range; one of four
JS to retrained     retain     0.500      0.050   0.040 to 0.060   0.062        0.050  out of range
agreement           retain    50.0 %     75.0 %                -  50.0 %            -
loss MIA, accuracy  all            -      2.000   2.000 to 2.000   2.000        0.000  in range
"""


def test_the_table_shows_what_the_rows_hold_in_percent_or_three_digits() -> None:
    assert str(Scorecard("mine", "class", 2, ROWS)) == TABLE.strip()


def test_a_value_is_in_range_when_it_is_no_worse_than_the_worst_retrained_model() -> None:
    row = Row("m", "d", 0.0, 0.5, 0.5, 0.4, 0.6, 0.1)
    inside = {
        closer: [replace(row, closer=closer, unlearned=u).inside for u in (0.3, 0.4, 0.6, 0.7)]
        for closer in ("range", "less", "more")
    }
    assert inside == {
        "range": [False, True, True, False],
        "less": [True, True, True, False],
        "more": [False, True, True, True],
    }
    assert Row("m", "d", 0.0, 0.5, 0.5, 0.5, 0.5, None).closer == "range"
    assert not Row("m", "d", 0.0, 0.5, 0.5, 0.5, 0.5, None).percent


def test_json_keeps_all_digits_and_says_whether_a_row_is_in_range() -> None:
    found = json.loads(Scorecard("mine", "class", 2, ROWS).to_json())
    assert (found["name"], found["setting"], found["seeds"]) == ("mine", "class", 2)
    assert [row["inside"] for row in found["rows"]] == [True, False, None, True]
    assert [row["original"] for row in found["rows"]] == [1.0, 0.5, 0.5, None]
    assert found["rows"][0] | {"inside": None} == asdict(ROWS[0]) | {"inside": None}


def test_a_row_is_found_by_metric_and_part_together() -> None:
    found = Scorecard("mine", "class", 2, ROWS)
    assert found["agreement", "retain"] is ROWS[2]
    assert list(found) == list(ROWS)
    for key in (("agreement", "forget"), ("accuracy", "retain")):
        with pytest.raises(KeyError):
            found[key]


def test_the_html_table_holds_the_cells_of_the_text() -> None:
    found = Scorecard("a<b", "class", 2, ROWS)
    html = found._repr_mimebundle_()["text/html"]
    left = ' style="text-align: left"'
    row = f'<tr><th scope="row"{left}>accuracy</th><td{left}>forget</td><td>100.0 %</td>'
    assert html.count(row) == 1
    assert html.count("<td>") == len(ROWS) * 5, "numbers stand to the right"
    assert html.count(f"<td{left}>") == len(ROWS) * 2, "texts to the left"
    assert "a&lt;b" in html
    assert found._repr_mimebundle_()["text/plain"] == str(found)


def test_the_floor_of_a_value_is_the_mean_difference_of_two_retrained_models() -> None:
    parts = Outputs.of(ORIGINAL, CLASS, TEST).data
    a, b, c = (loss(m, parts["retain"]) for m in RETRAINED["class"])
    row = card("class")["loss", "retain"]
    assert row.floor == pytest.approx((abs(a - b) + abs(a - c) + abs(b - c)) / 3)
    assert row.retrained == pytest.approx((a + b + c) / 3)
    assert (row.low, row.high) == (pytest.approx(min(a, b, c)), pytest.approx(max(a, b, c)))
    assert (row.original, row.closer, row.percent) == (loss(ORIGINAL, parts["retain"]), "range", False)


def test_a_distance_is_a_mean_over_the_other_retrained_models() -> None:
    o, *s = (Outputs.of(m, CLASS, TEST) for m in (ORIGINAL, *RETRAINED["class"]))

    def gap(m: Outputs, k: Outputs) -> float:
        return js(m.p("forget"), k.p("forget"))

    row = card("class")["JS to retrained", "forget"]
    each = [(gap(s[i], s[i - 1]) + gap(s[i], s[i - 2])) / 2 for i in range(3)]
    assert row.original == row.unlearned == pytest.approx(sum(gap(o, k) for k in s) / 3)
    assert (row.low, row.high) == (pytest.approx(min(each)), pytest.approx(max(each)))
    assert row.floor == row.retrained == pytest.approx(sum(each) / 3)
    assert row.closer == "less"


def test_each_row_measures_what_it_is_called() -> None:
    found, o, r = (
        card("class", seeds=1),
        *(Outputs.of(m, CLASS, TEST) for m in (ORIGINAL, RETRAINED["class"][0])),
    )
    for part in ("forget", "forget test"):
        shares = [torch.bincount(m.logits[part].argmax(1), minlength=3) / len(m.data[part]) for m in (o, r)]
        assert found["predicted-class TV", part].unlearned == pytest.approx(
            float((shares[0] - shares[1]).abs().sum() / 2)
        )
    p, q = o.p("forget"), r.p("forget")
    assert found["activation distance", "forget"].unlearned == pytest.approx(
        float((p - q).square().sum(1).sqrt().mean())
    )
    assert found["agreement", "retain"].unlearned == pytest.approx(
        float((o.logits["retain"].argmax(1) == r.logits["retain"].argmax(1)).double().mean())
    )
    assert found["log-entropy W1", "forget"].unlearned == log_entropy_w1(p, q)
    assert found["weight distance", "all"].unlearned == weight_distance(ORIGINAL, RETRAINED["class"][0]).total
    attack = loss_attack(ORIGINAL, CLASS, TEST)
    assert found["loss MIA, AUC", "forget, forget test"].unlearned == attack.auc.value
    assert found["loss MIA, accuracy", "forget, forget test"].unlearned == attack.accuracy
    shown = {row.metric for row in found if row.percent}
    assert shown == {"accuracy", "average gap", "agreement", "loss MIA, accuracy"}
    assert {row.metric: row.closer for row in found}["agreement"] == "more"
    assert "predicted-class TV" not in {row.metric for row in card("sample")}
    assert {row.data for row in found if row.metric == "loss"} == set(o.data)


def test_the_backdoor_of_a_card_is_measured_on_the_whole_test_set() -> None:
    trigger = corner_trigger((5,), 3.0)
    row = card("class", backdoor=(trigger, 0))["backdoor success", "test"]
    assert row.original == backdoor_success(ORIGINAL, TEST, trigger, 0)
