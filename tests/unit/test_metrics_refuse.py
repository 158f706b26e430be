"""Metrics refuse what is no measurement: NaN, classes that do not exist, probabilities that are none."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.jobs import JobsError
from unlearn_lib.metrics import accuracy as acc
from unlearn_lib.metrics import backdoor, baselines, cost, divergence, fitted_attacks, lira
from unlearn_lib.metrics import membership as mia
from unlearn_lib.metrics import relearn as again
from unlearn_lib.metrics import subspaces as sub
from unlearn_lib.train import Recipe, run

DATA, NET = blobs(30), tiny_net()
SPLIT = Split.by_class(DATA, 1)
P = torch.full((6, 3), 1 / 3, dtype=torch.float64)
Y = torch.arange(6) % 3
SCORES, INF = torch.linspace(0, 1, 6), torch.full((6,), inf)
PHI = torch.linspace(-1, 1, 16).reshape(8, 2)
SHADOWS = lira.Margins(PHI, lira.plan(8, 2))
NO_P, NAN_P = 3 * P, torch.full((6, 3), nan, dtype=torch.float64)
CORNER = backdoor.corner_trigger((5,), 1.0)

REFUSED: dict[str, Callable[[], Any]] = {
    "wilson(1.5, 3)": lambda: acc.wilson(1.5, 3),
    "wilson(4, 3)": lambda: acc.wilson(4, 3),
    "wilson(1, 0)": lambda: acc.wilson(1, 0),
    "wilson(z=nan)": lambda: acc.wilson(1, 3, z=nan),
    "wilson(z=0)": lambda: acc.wilson(1, 3, z=0),
    "accuracy of NaN": lambda: acc.accuracy(torch.full((30, 3), nan), DATA),
    "accuracy of too few rows": lambda: acc.accuracy(torch.zeros(29, 3), DATA),
    "accuracy of a list": lambda: acc.accuracy([1, 2], DATA),
    "confusion without a column": lambda: acc.confusion(torch.zeros(30, 2), DATA),
    "parts_of_test(None)": lambda: acc.parts_of_test(SPLIT, None),
    "forgotten_classes(None)": lambda: acc.forgotten_classes(None),
    "auc of NaN": lambda: mia.auc(torch.tensor([nan, 1.0]), SCORES),
    "auc of 2-D scores": lambda: mia.auc(SCORES[:, None], SCORES[:, None]),
    "auc of none": lambda: mia.auc(SCORES[:0], SCORES),
    "roc of NaN": lambda: mia.roc(SCORES, torch.tensor([nan])),
    "tpr_at_fpr(nan)": lambda: mia.tpr_at_fpr(SCORES, SCORES, nan),
    "tpr_at_fpr of NaN": lambda: mia.tpr_at_fpr(SCORES * nan, SCORES, 0.5),
    "attack_accuracy of NaN": lambda: mia.attack_accuracy(SCORES * nan, SCORES),
    "attack_accuracy of infinities": lambda: mia.attack_accuracy(SCORES, INF),
    "attack_accuracy of other features": lambda: mia.attack_accuracy(torch.ones(5, 2), torch.ones(5, 3)),
    "attack_accuracy(splits=1)": lambda: mia.attack_accuracy(SCORES, SCORES, splits=1),
    "attack_accuracy(seed=-1)": lambda: mia.attack_accuracy(SCORES, SCORES, seed=-1),
    "loss_mia of infinities": lambda: mia.loss_mia(SCORES, INF),
    "loss_mia of one infinity": lambda: mia.loss_mia(SCORES, INF[:1]),
    "reading(nan)": lambda: mia.Auc(0.5, 0.1).reading(nan),
    "js of no probabilities": lambda: divergence.js(NO_P, P),
    "js of NaN": lambda: divergence.js(P, NAN_P),
    "js of other samples": lambda: divergence.js(P, P[:5]),
    "js of none": lambda: divergence.js(P[:0], P[:0]),
    "agreement of NaN": lambda: divergence.agreement(NAN_P, P),
    "agreement of other classes": lambda: divergence.agreement(P[:, :2], P),
    "predicted_class_tv of NaN": lambda: divergence.predicted_class_tv(NAN_P, P),
    "predicted_class_tv of none": lambda: divergence.predicted_class_tv(P[:0], P),
    "predicted_class_tv of other classes": lambda: divergence.predicted_class_tv(P[:, :2], P),
    "activation_distance of logits": lambda: divergence.activation_distance(5 * P, P),
    "entropy of negative numbers": lambda: divergence.entropy(-P),
    "log_entropy_w1 of logits": lambda: divergence.log_entropy_w1(5 * P, P),
    "zrf of NaN": lambda: divergence.zrf(NAN_P, [P]),
    "zrf without teachers": lambda: divergence.zrf(P, []),
    "zrf of one tensor of teachers": lambda: divergence.zrf(P, P),
    "probabilities of NaN": lambda: divergence.probabilities(NAN_P),
    "temperature nan": lambda: divergence.probabilities(P, nan),
    "temperature inf": lambda: divergence.probabilities(P, inf),
    "weight_distance of another net": lambda: divergence.weight_distance(NET, nn.Linear(5, 3)),
    "untrained_twin(seed=1.5)": lambda: divergence.untrained_twin(NET, 1.5),
    "untrained_twin(None)": lambda: divergence.untrained_twin(None),
    "Judged of logits": lambda: fitted_attacks.Judged(5 * P, Y),
    "Judged with a label too high": lambda: fitted_attacks.Judged(P, Y + 1),
    "Judged with too few labels": lambda: fitted_attacks.Judged(P, Y[:5]),
    "Judged of nobody": lambda: fitted_attacks.Judged(P[:0], Y[:0]),
    "modified_entropy with a negative label": lambda: fitted_attacks.modified_entropy(P, Y - 1),
    "entropy_mia of tensors": lambda: fitted_attacks.entropy_mia(P, P, P),
    "efficacy_mia(limit=0)": lambda: fitted_attacks.efficacy_mia(*[fitted_attacks.Judged(P, Y)] * 3, limit=0),
    "poison to class 99": lambda: backdoor.poison(DATA, [1], 99, CORNER),
    "poison to class -1": lambda: backdoor.poison(DATA, [1], -1, CORNER),
    "poison to class 1.5": lambda: backdoor.poison(DATA, [1], 1.5, CORNER),
    "poison without a trigger": lambda: backdoor.poison(DATA, [1], 1, None),
    "poison of a mask": lambda: backdoor.poison(DATA, DATA.y == 1, 1, CORNER),
    "success at class 99": lambda: backdoor.backdoor_success(NET, DATA, CORNER, 99),
    "success at class -1": lambda: backdoor.backdoor_success(NET, DATA, CORNER, -1),
    "success at class nan": lambda: backdoor.backdoor_success(NET, DATA, CORNER, nan),
    "a trigger at entry 77": lambda: backdoor.Trigger((5,), (77,), 1.0),
    "a trigger at entry -1": lambda: backdoor.Trigger((5,), (-1,), 1.0),
    "a trigger without entries": lambda: backdoor.Trigger((5,), (), 1.0),
    "a trigger of NaN": lambda: backdoor.Trigger((5,), (0,), nan),
    "a trigger of no shape": lambda: backdoor.Trigger((), (0,), 1.0),
    "corner_trigger of two dimensions": lambda: backdoor.corner_trigger((5, 5), 1.0),
    "edge_trigger of infinity": lambda: backdoor.edge_trigger((5,), inf),
    "edge_trigger(shape=5)": lambda: backdoor.edge_trigger(5, 1.0),
    "mask_logits(99)": lambda: baselines.mask_logits(NET, 99),
    "mask_logits(1.5)": lambda: baselines.mask_logits(NET, 1.5),
    "mask_logits()": lambda: baselines.mask_logits(NET),
    "mask_logits(value=nan)": lambda: baselines.mask_logits(NET, 1, value=nan),
    "uniform_output(None)": lambda: baselines.uniform_output(None),
    "counted(None)": lambda: cost.counted(None),
    "priced with negative bytes": lambda: cost.priced(iter(()), cost.counted(SPLIT), stored=-1),
    "prediction_ratio(rounds=0)": lambda: cost.prediction_ratio(NET, NET, DATA, rounds=0),
    "margins of NaN": lambda: lira.margins(torch.full((3, 2), nan), torch.zeros(3).long()),
    "margins with a label too high": lambda: lira.margins(torch.zeros(3, 2), torch.tensor([0, 1, 5])),
    "margins with too few labels": lambda: lira.margins(torch.zeros(3, 2), torch.tensor([0, 1])),
    "margins(clip=0)": lambda: lira.margins(torch.zeros(3, 2), torch.tensor([0, 1, 1]), clip=0),
    "Margins of NaN": lambda: lira.Margins(PHI * nan, SHADOWS.inside),
    "Margins of two shapes": lambda: lira.Margins(PHI, SHADOWS.inside[:4]),
    "lira_scores of other examples": lambda: lira.lira_scores(SHADOWS, PHI[:, :1]),
    "lira_scores(floor=0)": lambda: lira.lira_scores(SHADOWS, PHI, floor=0),
    "lira without an outsider": lambda: lira.lira(SHADOWS, lira.Margins(PHI, PHI == PHI)),
    "gaussian_klom of NaN": lambda: lira.gaussian_klom(PHI * nan, PHI),
    "gaussian_klom of one model": lambda: lira.gaussian_klom(PHI[:1], PHI),
    "gaussian_klom of other examples": lambda: lira.gaussian_klom(PHI, PHI[:, :1]),
    "gaussian_klom(floor=-1)": lambda: lira.gaussian_klom(PHI, PHI, floor=-1),
    "plan(1.5 models)": lambda: lira.plan(1.5, 3),
    "plan(seed=x)": lambda: lira.plan(4, 3, seed="x"),
    "mini_ulira(shadows=3)": lambda: lira.mini_ulira(lambda i, s: NET, DATA, shadows=3),
    "mini_ulira(shadows=4.0)": lambda: lira.mini_ulira(lambda i, s: NET, DATA, shadows=4.0),
    "mini_ulira(None)": lambda: lira.mini_ulira(None, DATA),
    "shadow_models(workers=-1)": lambda: lira.shadow_models(abs, 4, 4, 2, workers=-1),
    "shadow_models(executor=3)": lambda: lira.shadow_models(abs, 4, 4, 2, executor=3),
    "RelearnTime(0)": lambda: again.RelearnTime(0),
    "RelearnTime(1.5)": lambda: again.RelearnTime(1.5),
    "a relearn curve of NaN": lambda: again.RelearnCurve((nan,), (0.2,)),
    "a relearn curve of two lengths": lambda: again.RelearnCurve((0.1,), ()),
    "time(nan)": lambda: again.RelearnCurve((0.1,), (0.2,)).time(nan),
    "time(1.5)": lambda: again.RelearnCurve((0.1,), (0.2,)).time(1.5),
    "time(alpha=1)": lambda: again.RelearnCurve((0.1,), (0.2,)).time(0.5, 1.0),
    "time_to_loss(nan)": lambda: again.RelearnCurve((0.1,), (0.2,)).time_to_loss(nan),
    "relearn(cap=0)": lambda: run(again.relearn(NET, DATA, DATA, Recipe(), cap=0)),
    "relearn(cap=1.5)": lambda: run(again.relearn(NET, DATA, DATA, Recipe(), cap=1.5)),
    "relearn in no epoch": lambda: run(again.relearn(NET, DATA, DATA, Recipe(epochs=0))),
    "relearn of no probe": lambda: run(again.relearn(NET, DATA, None, Recipe())),
    "anamnesis_index of numbers": lambda: again.anamnesis_index(3, 4),
    "principal_angles of other lengths": lambda: sub.principal_angles(torch.eye(3), torch.eye(4)),
    "principal_angles of too many": lambda: sub.principal_angles(torch.eye(3)[:2], torch.eye(3)[:2]),
    "principal_angles of NaN": lambda: sub.principal_angles(torch.eye(3) * nan, torch.eye(3)),
    "survival of zeros": lambda: sub.survival(torch.zeros(2, 3), torch.eye(3)),
    "survival of another size": lambda: sub.survival(torch.ones(2, 4), torch.eye(3)),
    "survival of NaN": lambda: sub.survival(torch.full((2, 3), nan), torch.eye(3)),
    "movable of zeros": lambda: sub.movable(torch.zeros(3, 3), torch.eye(3)),
    "along without a square": lambda: sub.along(torch.ones(3, 2), torch.eye(3)),
    "leak of a negative energy": lambda: sub.leak(torch.tensor([1.0, -1.0])),
    "drift of NaN": lambda: sub.drift(P, NAN_P),
    "drift of other samples": lambda: sub.drift(P, P[:5]),
    "drift of none": lambda: sub.drift(P[:0], P[:0]),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_a_metric_refuses_what_is_no_measurement(call: Callable[[], Any]) -> None:
    with pytest.raises(
        (ValueError, TypeError, FloatingPointError), match=r"must|not finite|violat|Type-check"
    ):
        call()


def test_infinite_scores_have_a_rank() -> None:
    assert mia.auc(INF, SCORES).value == 1
    assert mia.auc(-INF, SCORES).value == 0


def test_a_net_that_is_random_in_eval_mode_is_noticed_by_every_audit() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3).double()

        def forward(self, x):
            return self.layer(nn.functional.dropout(x))

    net, before = Noisy(), torch.get_rng_state()
    from unlearn_lib.metrics import inside
    from unlearn_lib.metrics.scorecard import Outputs

    pair = {"original": NET, "retrained": NET, "split": SPLIT, "test": DATA}
    uses: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: acc.accuracy(net, DATA),
        "losses": lambda: acc.losses(net, DATA),
        "loss attack": lambda: mia.loss_attack(net, SPLIT, DATA),
        "backdoor": lambda: backdoor.backdoor_success(net, DATA, CORNER, 1),
        "relearning": lambda: run(again.relearn(net, DATA, DATA, Recipe())),
        "U-LiRA": lambda: lira.mini_ulira(lambda inside, seed: net, DATA, shadows=4, targets=2),
        "features": lambda: inside.seen_by_layers(net, DATA),
        "probe": lambda: inside.linear_probe(net, **pair),
        "CKA": lambda: inside.cka(NET, net, DATA),
        "scorecard": lambda: Outputs.of(net, SPLIT, DATA),
        "prediction time": lambda: cost.prediction_ratio(net, NET, DATA),
    }
    for name, use in uses.items():
        with pytest.raises((ValueError, JobsError), match="the same answer each time"):
            use()
        assert torch.equal(before, torch.get_rng_state()), f"{name} moved the global random stream"
