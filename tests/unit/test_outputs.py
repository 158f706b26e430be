"""What a net answers, and nets whose answers cannot be measured."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib import data, models
from unlearn_lib.data import Examples, Scale
from unlearn_lib.outputs import (
    accuracy,
    answers,
    device_of,
    dtype_of,
    inputs,
    logits,
    losses,
    require_outputs,
)
from unlearn_lib.train import Recipe, run, train


class Wrapped(nn.Module):
    """A linear net whose answer is changed by a function."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(5, 3).double(), change

    def forward(self, x):
        return self.change(self.linear(x))


UNMEASURABLE = {
    "dropout that is always on": lambda out: F.dropout(out, 0.1),
    "noise": lambda out: out + 0.01 * torch.randn_like(out),
    "batch statistics": lambda out: F.batch_norm(out, None, None, training=True),
}


@pytest.mark.parametrize("change", UNMEASURABLE.values(), ids=UNMEASURABLE)
def test_a_net_that_answers_otherwise_when_asked_again_is_refused(change):
    net = Wrapped(change)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="must give a sample the same answer each time"):
        logits(net, blobs(20))
    assert torch.equal(before, torch.get_rng_state()), "the global random stream has moved"


ANSWERS = {
    "a tuple": (lambda out: (out, out), "one tensor of logits"),
    "nothing": (lambda out: None, "one tensor of logits.*got None"),
    "one number a sample": (lambda out: out[:, 0], r"logits \[\d+, classes\]"),
    "classes": (lambda out: out.argmax(1), r"logits \[\d+, classes\]"),
    "too few outputs": (
        lambda out: out[:, :2],
        "`model` has 2 outputs; got 2",
    ),
}


@pytest.mark.parametrize(("change", "message"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_no_logits_is_named_in_measuring_and_in_training(change, message):
    with pytest.raises(ValueError, match=message):
        logits(Wrapped(change), blobs(20))
    with pytest.raises(ValueError, match=message):
        run(train(Wrapped(change), blobs(20), Recipe()))


def test_samples_that_the_net_cannot_take_are_named_with_their_shape():
    for use in (
        lambda: logits(tiny_net(features=4), blobs(9)),
        lambda: run(train(tiny_net(4), blobs(9), Recipe())),
    ):
        with pytest.raises(RuntimeError, match=r"cannot take a batch of shape \[9, 5\]"):
            use()


def test_one_sample_for_batch_norm_is_said_in_the_terms_of_the_request():
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="needs two samples in a batch to learn from; got 1"):
        run(train(net, blobs(9).select([0]), Recipe()))


def test_an_error_of_the_callers_own_loss_is_passed_on_as_it_is():
    def loss(model, batch):
        raise TypeError("my own mistake")

    with pytest.raises(TypeError, match="my own mistake"):
        run(train(tiny_net(), blobs(9), Recipe(), loss_fn=loss))


def test_a_float64_net_learns_the_digits_and_float64_inputs_fit_a_float32_net():
    digits = data.load("digits").train.head(200)
    net = models.build("mlp", (1, 8, 8), 10).double()
    run(train(net, digits, Recipe(epochs=20)))
    assert accuracy(net, digits) > 0.5
    assert logits(net, digits).dtype == torch.float64
    assert logits(tiny_net().float(), blobs(9)).dtype == torch.float32


def test_logits_do_not_depend_on_the_size_of_the_batches():
    net, examples = tiny_net(), blobs(23)
    assert torch.equal(logits(net, examples), net(examples.x).detach())
    torch.testing.assert_close(logits(net, examples, 4), logits(net, examples))


def test_an_empty_set_has_no_logits():
    with pytest.raises(ValueError, match="`examples` must hold at least one sample; got none"):
        logits(tiny_net(), Examples(torch.zeros(0, 5), torch.zeros(0), torch.zeros(0).long()))


def test_answers_that_differ_by_a_hundredth_are_rounding_and_by_more_are_chance():
    class Jumping(nn.Module):
        """Answers larger by this share when it is asked the second time."""

        def __init__(self, share):
            super().__init__()
            self.linear, self.share, self.calls = nn.Linear(5, 3).double(), share, 0

        def forward(self, x):
            self.calls += 1
            return self.linear(x) * (1 + self.share * (self.calls > 1))

    torch.testing.assert_close(logits(net := Jumping(0.009), blobs(8)), net.linear(blobs(8).x).detach())
    with pytest.raises(ValueError, match="must give a sample the same answer each time"):
        logits(Jumping(0.0115), blobs(8))


def test_losses_and_accuracy_are_those_of_the_logits():
    net, examples = tiny_net(), blobs(23)
    found = logits(net, examples)
    by_hand = -found.softmax(1)[torch.arange(23), examples.y].log()
    torch.testing.assert_close(losses(net, examples), by_hand)
    assert accuracy(net, examples) == float((found.argmax(1) == examples.y).sum()) / 23
    assert losses(net.float(), examples).dtype == torch.float64


def test_an_output_that_is_not_finite_is_counted_by_sample():
    net = Wrapped(lambda out: torch.where(torch.arange(len(out))[:, None] < 2, torch.nan, out))
    with pytest.raises(FloatingPointError, match="not finite for 2 of 7 samples"):
        logits(net, blobs(7))


def test_there_is_an_output_for_every_label():
    two = torch.zeros(2, 2)
    require_outputs(two, torch.tensor([0, 1]))
    require_outputs(two[:0], torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\.\. 1, .* got 2"):
        require_outputs(two, torch.tensor([0, 2]))


def test_a_net_has_the_type_and_device_of_its_first_parameter():
    net = nn.Sequential(nn.Linear(2, 2).half(), nn.Linear(2, 2))
    assert (dtype_of(net), device_of(net).type) == (torch.float16, "cpu")
    with pytest.raises(ValueError, match="`model` must have a parameter"):
        device_of(nn.ReLU())


def test_stored_integers_reach_the_net_scaled_and_in_its_own_type():
    stored = Examples.of(torch.full((3, 1), 3, dtype=torch.uint8), [0, 1, 0], Scale((1.0,), (4.0,)))
    for net in (nn.Linear(1, 2), nn.Linear(1, 2).double()):
        found = inputs(net, stored, slice(1, 3))
        assert (found.tolist(), found.dtype) == ([[0.5], [0.5]], net.weight.dtype)


def test_answers_are_the_outputs_of_every_sample_whatever_they_are():
    net = Wrapped(lambda out: torch.where(torch.arange(len(out))[:, None] < 2, torch.nan, out))
    found, examples = answers(net, blobs(30)), blobs(30)
    assert found.isnan().any(1).tolist() == [True, True] + [False] * 28
    torch.testing.assert_close(found[2:], net.linear(examples.x[2:]).detach())
    assert torch.equal(answers(tiny_net(), examples), logits(tiny_net(), examples))
