"""Laws of metrics/accuracy.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.oracles import accuracy_slow
from tests.toys import blobs, tiny_net
from unlearn_lib import models
from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.accuracy import (
    accuracy,
    confusion,
    forgotten_classes,
    logits,
    loss,
    parts_of_test,
    per_class_accuracy,
    predictions,
    wilson,
)
from unlearn_lib.params import state
from unlearn_lib.train import Recipe, run, train


def noisy_net() -> nn.Sequential:
    """Batch norm and dropout: everything that an audit could disturb or be disturbed by."""
    net = tiny_net()
    net.insert(2, nn.BatchNorm1d(32).double())
    net.insert(4, nn.Dropout(0.5))
    return net


def test_accuracy_is_exact_with_a_ragged_last_batch() -> None:
    data, net = blobs(n=50), tiny_net()
    slow = accuracy_slow(net, data.x, data.y)
    for batch_size in (1, 7, 49, 50, 1024):
        outputs = logits(net, data, batch_size)
        assert outputs.shape == (50, 3)
        assert accuracy(outputs, data) == slow
    assert 0 < slow < 1


def test_a_constant_model_scores_the_class_share() -> None:
    data = blobs(n=50)  # 17, 17 and 16 samples
    constant = torch.tensor([0.0, 0.0, 1.0]).expand(50, 3)
    assert accuracy(constant, data) == 16 / 50
    assert per_class_accuracy(constant, data).tolist() == [0, 0, 1]
    assert confusion(constant, data).tolist() == [[0, 0, 17], [0, 0, 17], [0, 0, 16]]


def test_the_mode_of_every_module_is_restored() -> None:
    net = noisy_net().train()
    net[2].eval()
    before = [m.training for m in net.modules()]
    accuracy(net, blobs())
    assert [m.training for m in net.modules()] == before


def test_measuring_changes_no_weight_buffer_gradient_or_random_stream() -> None:
    net, data = noisy_net().train(), blobs()
    net(data.x).sum().backward()
    before, gradients = state(net), [p.grad.clone() for p in net.parameters() if p.grad is not None]
    streams = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the global stream
    first = logits(net, data)
    assert all(torch.equal(state(net)[name], value) for name, value in before.items())
    assert gradients
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert np.random.get_state()[1].tolist() == streams[1]  # noqa: NPY002
    assert torch.equal(logits(net, data), first), "twice gives the same bits"
    assert not first.requires_grad


def test_stored_logits_and_the_model_give_the_same_numbers() -> None:
    net, data = tiny_net(), blobs()
    stored = logits(net, data)
    assert accuracy(net, data) == accuracy(stored, data)
    assert loss(net, data) == loss(stored, data)
    assert torch.equal(predictions(net, data), stored.argmax(1))
    by_hand = -stored.softmax(1)[torch.arange(len(data)), data.y].log().mean()
    assert loss(stored, data) == pytest.approx(float(by_hand))


def test_confusion_counts_every_sample_once_and_its_diagonal_is_the_accuracy() -> None:
    net, data = tiny_net(), blobs()
    counts = confusion(net, data)
    assert counts.sum() == len(data)
    assert counts.sum(1).tolist() == torch.bincount(data.y).tolist()
    assert counts.diag().sum() / len(data) == pytest.approx(accuracy(net, data))


def test_a_class_without_samples_has_no_accuracy_rather_than_zero() -> None:
    net, data = tiny_net(), blobs()
    assert per_class_accuracy(net, data.where(data.y != 1)).isnan().tolist() == [False, True, False]


def test_stored_integers_are_scaled_as_in_training(digits) -> None:
    net = models.build("mlp", digits.shape, 10)
    run(train(net, digits.train, Recipe(epochs=3)))
    assert accuracy(net, digits.test) == accuracy(net, digits.test.to("cpu")) > 0.8


def test_none_of_51_still_allows_seven_percent() -> None:
    low, high = wilson(0, 51)
    assert low == 0
    assert high == pytest.approx(0.0700, abs=5e-5)
    assert wilson(51, 51) == pytest.approx((1 - high, 1))
    # Wilson's ends are where the score test is just significant: |k/n - p| = z sqrt(p (1 - p) / n)
    for p in wilson(13, 40):
        assert abs(13 / 40 - p) == pytest.approx(1.959964 * (p * (1 - p) / 40) ** 0.5)


def test_the_class_setting_is_when_no_sample_of_a_forgotten_class_stays() -> None:
    data = blobs()
    by_class = Split.by_class(data, 1, 2)
    assert forgotten_classes(by_class) == (1, 2)
    parts = parts_of_test(by_class, data)
    assert list(parts) == ["forget test", "retain test"]
    assert set(parts["forget test"].y.tolist()) == {1, 2}
    assert set(parts["retain test"].y.tolist()) == {0}
    by_ids = Split.by_ids(data, range(10))
    assert forgotten_classes(by_ids) == ()
    assert list(parts_of_test(by_ids, data)) == ["test"]


def test_errors_name_the_thing_the_rule_and_the_value() -> None:
    data, net = blobs(), tiny_net()
    with pytest.raises(ValueError, match=r"`examples` must hold at least one sample; got none\."):
        logits(net, data.where(data.y > 5))
    with pytest.raises(ValueError, match=r"`batch_size` must be at least 1; got 0\."):
        logits(net, data, 0)
    with pytest.raises(ValueError, match=r"logits must be \[120, classes\].*got \[2, 3\]"):
        accuracy(torch.zeros(2, 3), data)
    with pytest.raises(ValueError, match=r"got k = 3, n = 2\."):
        wilson(3, 2)
    with pytest.raises(
        ValueError, match=r"`test` must hold samples of the retained classes; forgotten are \(1,\)"
    ):
        parts_of_test(Split.by_class(data, 1), data.where(data.y == 1))
    with torch.no_grad():
        net[1].weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"not finite for 120 of 120 samples"):
        accuracy(net, data)


def test_samples_keep_their_order() -> None:
    data = blobs(n=30)
    flipped = Examples(data.x.flip(0), data.y.flip(0), data.ids.flip(0))
    torch.testing.assert_close(logits(tiny_net(), flipped, 7), logits(tiny_net(), data, 7).flip(0))


def test_wilson_needs_a_trial_and_no_more_successes_than_trials() -> None:
    for k, n in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match=f"got k = {k}, n = {n}"):
            wilson(k, n)
    low, high = wilson(0, 1)
    assert (low, high) == (0, pytest.approx(1.959964**2 / (1 + 1.959964**2)))
    assert wilson(1, 1).high == 1
    narrow = wilson(5, 10, z=1.0)
    assert narrow == pytest.approx((0.5 - 0.5 / 11**0.5, 0.5 + 0.5 / 11**0.5))


def test_a_tie_goes_to_the_lower_class() -> None:
    data = blobs(n=3)
    assert predictions(torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]), data).tolist() == [
        0,
        1,
        0,
    ]


def test_a_class_forgotten_in_part_makes_the_sample_setting() -> None:
    data = blobs(n=12)
    mixed = Split.by_ids(data, [0, 3, 6, 9, 1])  # all of class 0, one of class 1
    assert forgotten_classes(mixed) == ()
    with pytest.raises(ValueError, match="samples of the forgotten classes; forgotten are"):
        parts_of_test(Split.by_class(data, 1), data.where(data.y != 1))
