"""Laws of metrics/fitted_attacks.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import modified_entropy_slow
from unlearn_lib.metrics.fitted_attacks import Judged, efficacy_mia, entropy_mia, modified_entropy

ROWS = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def judged(n: int, seed: int, sure: float = 2.0) -> Judged:
    stream = torch.Generator().manual_seed(seed)
    p = (sure * torch.randn(n, 5, generator=stream, dtype=torch.float64)).softmax(1)
    return Judged(p, torch.randint(5, (n,), generator=stream))


def test_modified_entropy_of_the_known_rows() -> None:
    assert modified_entropy(ROWS, LABELS).tolist() == pytest.approx([0.1622, 2.1409], abs=5e-5)


def test_the_circulated_version_gives_both_rows_the_same() -> None:
    assert modified_entropy(ROWS, LABELS, legacy=True).tolist() == pytest.approx([1.6248, 1.6248], abs=6e-5)


def test_finite_where_the_true_class_has_probability_zero_or_one() -> None:
    p = torch.eye(3, dtype=torch.float64)
    right, wrong = modified_entropy(p, torch.arange(3)), modified_entropy(p, torch.arange(3).roll(1))
    assert right.tolist() == [0, 0, 0]
    assert wrong.isfinite().all()
    assert wrong.min() > 50


def test_a_row_does_not_depend_on_the_rest_of_its_batch() -> None:
    part = judged(20, 0)
    alone = torch.cat([modified_entropy(part.p[i : i + 1], part.y[i : i + 1]) for i in range(20)])
    assert torch.equal(modified_entropy(part.p, part.y), alone)
    circulated = torch.cat(
        [modified_entropy(part.p[i : i + 1], part.y[i : i + 1], legacy=True) for i in range(20)]
    )
    assert not torch.allclose(modified_entropy(part.p, part.y, legacy=True), circulated)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_modified_entropy_equals_the_loop_oracle(seed: int) -> None:
    part = judged(6, seed)
    slow = [modified_entropy_slow(p.tolist(), int(y)) for p, y in zip(part.p, part.y, strict=True)]
    assert modified_entropy(part.p, part.y).tolist() == pytest.approx(slow, rel=1e-9)


def test_about_half_is_flagged_when_all_share_one_distribution() -> None:
    # one attack's threshold is where it happens to be, so the mean over 12 independent draws is tested
    entropies, efficacies = [], []
    for seed in range(12):
        parts = [judged(n, 100 * seed + i) for i, n in enumerate((200, 150, 100))]
        entropies.append(entropy_mia(*parts).called_member)
        efficacies.append([v.called_member for v in efficacy_mia(*parts).values()])
    assert np.mean(entropies) == pytest.approx(0.5, abs=0.15)
    means = np.mean(efficacies, axis=0)[1:]  # "correctness" is one bit: all or nothing
    assert means.tolist() == pytest.approx([0.5] * 4, abs=0.15)


def test_what_looks_like_training_data_is_called_a_member() -> None:
    retain, test = judged(300, 0, sure=20.0), judged(200, 1, sure=1.0)
    assert entropy_mia(retain, test, judged(100, 2, sure=20.0)).called_member > 0.8
    assert entropy_mia(retain, test, judged(100, 3, sure=1.0)).called_member < 0.2
    found = efficacy_mia(retain, test, judged(100, 2, sure=20.0))
    assert found["entropy"].called_member > 0.8


def test_the_two_directions_are_complementary_by_name() -> None:
    parts = judged(80, 0), judged(60, 1), judged(40, 2)
    for verdict in (entropy_mia(*parts), *efficacy_mia(*parts).values()):
        assert verdict.called_member + verdict.called_non_member == 1


def test_constant_scores_do_not_crash() -> None:
    flat = [
        Judged(torch.full((n, 5), 0.2, dtype=torch.float64), torch.zeros(n, dtype=torch.long))
        for n in (30, 20, 10)
    ]
    assert entropy_mia(*flat).called_member in (0.0, 1.0)
    assert set(efficacy_mia(*flat)) == {
        "correctness",
        "confidence",
        "entropy",
        "modified entropy",
        "probabilities",
    }


def test_groups_are_of_one_size_however_many_retained_samples_there_are() -> None:
    many, test, forget = judged(1000, 0), judged(50, 1), judged(30, 2)
    rows = torch.arange(50) * 20
    assert efficacy_mia(many, test, forget) == efficacy_mia(many[rows], test, forget)
    assert efficacy_mia(many, test, forget, limit=10) != efficacy_mia(many, test, forget)


def test_the_support_vector_machine_is_the_published_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    class Machine:
        def __init__(self, **settings: object) -> None:
            made.append(settings)

        def fit(self, x: np.ndarray, y: np.ndarray) -> Machine:
            made.append((len(x), y.sum(), y[: len(y) // 2].min()))
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.zeros(len(x))

    monkeypatch.setattr("sklearn.svm.SVC", Machine)
    efficacy_mia(judged(1500, 0), judged(1200, 1), judged(5, 2))
    assert made == [{"C": 3, "kernel": "rbf", "gamma": "auto"}, (2000, 1000, 1)] * 5
    made.clear()
    efficacy_mia(judged(30, 0), judged(40, 1), judged(5, 2))
    assert made[1] == (60, 30, 1)


def test_samples_are_picked_evenly_spread() -> None:
    many, test, forget = judged(10, 0), judged(3, 1), judged(30, 2)
    assert efficacy_mia(many, test, forget) == efficacy_mia(many[torch.tensor([0, 3, 6])], test, forget)


def test_the_five_features_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Machine:
        def __init__(self, **settings: object) -> None: ...

        def fit(self, x: np.ndarray, y: np.ndarray) -> Machine:
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            seen.append(x)
            return np.arange(len(x)) % 2

    monkeypatch.setattr("sklearn.svm.SVC", Machine)
    found = efficacy_mia(judged(6, 0), judged(6, 1), Judged(ROWS, LABELS))
    assert [v.called_member for v in found.values()] == [0.5] * 5
    features = dict(zip(found, seen, strict=True))
    h = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    assert features["correctness"].tolist() == [[1], [0]]
    assert features["confidence"].tolist() == [[0.7], [0.2]]
    assert features["entropy"] == pytest.approx(np.array([[h], [h]]))
    assert features["modified entropy"] == pytest.approx(np.array([[0.1622], [2.1409]]), abs=5e-5)
    assert features["probabilities"].tolist() == ROWS.tolist()


def test_the_entropy_attack_weighs_both_groups_alike() -> None:
    # unbalanced, one that calls everybody a member would be right ten times in eleven
    sure, unsure = judged(200, 0, sure=3.0), judged(20, 1, sure=1.0)
    assert entropy_mia(sure, unsure, judged(200, 2, sure=1.0)).called_member < 0.5
