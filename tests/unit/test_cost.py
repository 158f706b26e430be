"""Laws of metrics/cost.py."""

from __future__ import annotations

import platform
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Examples, Split
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.unsir import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics import cost as cost_module
from unlearn_lib.metrics.cost import Cost, Counted, counted, hardware, prediction_ratio, priced
from unlearn_lib.train import Recipe, Step, run, train

TENSOR = torch.zeros(7, 5, dtype=torch.float64)
SPLIT = Split.by_class(blobs(), 1)  # 40 to forget, 80 to retain


def test_retraining_reads_each_retained_sample_once_an_epoch() -> None:
    split = counted(SPLIT)
    result, cost = priced(retrain(tiny_net(), split, Recipe(epochs=3, batch_size=32)), split)
    assert (cost.forget_reads, cost.retain_reads, cost.steps) == (0, 3 * 80, 3 * 3)
    assert cost.seconds > 0
    assert "torch threads" in cost.hardware
    plain = run(retrain(tiny_net(), SPLIT, Recipe(epochs=3, batch_size=32)))
    assert all(
        torch.equal(a, b) for a, b in zip(result.model.parameters(), plain.model.parameters(), strict=True)
    )
    assert not result.model.training
    assert 0 <= result.seconds <= cost.seconds


def test_unsir_reads_no_forgotten_sample() -> None:
    split = counted(SPLIT)
    everything = split.forget + split.retain
    kept = retain_subset(everything, [1], 10)
    recipe = UnsirRecipe(images=2, noise_steps=2, batch_size=8, copies=2)
    _, cost = priced(unsir(tiny_net(), [1], kept, recipe), split)
    assert cost.forget_reads == 0
    assert cost.retain_reads == 2 * 20, "20 images in impair, the same 20 in repair"


def test_pgu_reads_no_retained_sample_after_the_request() -> None:
    from unlearn_lib.methods.pgu import forgotten, pgu
    from unlearn_lib.methods.pgu.moments import moments
    from unlearn_lib.methods.pgu.projection import spectra

    split, net = counted(SPLIT), tiny_net()
    run(train(net, SPLIT.forget + SPLIT.retain, Recipe(epochs=2)))
    retained = spectra(moments(net, split.forget + split.retain).without(net, split.forget))
    recipe = Recipe(epochs=2, lr=0.05, batch_size=16)
    _, cost = priced(pgu(net, retained, split.forget, recipe, stop=forgotten()), split)
    assert cost.retain_reads == 0
    assert cost.forget_reads > 0


def test_reads_are_counted_through_every_cut_sum_and_move() -> None:
    split = counted(SPLIT)
    both = split.forget + split.retain
    plain_first = SPLIT.forget.where(SPLIT.forget.ids < 0) + split.retain
    for data in (both, plain_first, split.retain.head(30), split.retain.to("cpu"), both.select([1, 4])):
        assert isinstance(data, Counted)
        assert data.reads is split.forget.reads
    both.batch(torch.tensor([0, 0, 5]))
    split.retain.select([2]).batch(slice(None))
    assert split.forget.reads == {int(both.ids[0]): 2, int(both.ids[5]): 1, 2: 1}


def test_what_was_read_before_the_request_is_not_on_its_bill() -> None:
    split = counted(SPLIT)
    split.retain.batch(slice(None))
    net = tiny_net()
    _, cost = priced(train(net, split.forget, Recipe(epochs=1)), split, stored=123, seconds_before=4.5)
    assert (cost.forget_reads, cost.retain_reads, cost.stored, cost.seconds_before) == (40, 0, 123, 4.5)
    steps = train(net, SPLIT.forget, Recipe())
    with pytest.raises(TypeError, match=r"`split` must come from `counted\(split\)`"):
        priced(steps, SPLIT)
    steps.close()


class Clock(SimpleNamespace):
    """A clock that stands still unless it is told to go on."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(cost_module, "time", found)
    return found


def test_the_seconds_are_those_between_the_first_step_and_the_last(clock: Clock) -> None:
    def tick(step: Step) -> None:
        clock.now += 0.5

    split = counted(SPLIT)
    steps = retrain(tiny_net(), split, Recipe(epochs=3, batch_size=32))
    clock.now += 7
    assert priced(steps, split, watch=[tick])[1].seconds == 9 * 0.5


def test_reads_of_neither_side_are_counted_apart() -> None:
    split = counted(SPLIT)
    reads = split.forget.reads
    others = Counted.by(reads, Examples.of(TENSOR, torch.zeros(7)).select([5, 6]))
    others = replace(others, ids=others.ids + 1000)
    steps = retrain(tiny_net(), split, Recipe(epochs=1, batch_size=40))
    _, cost = priced(steps, split, watch=[lambda step: others.batch(slice(None))])
    assert (cost.forget_reads, cost.retain_reads, cost.other_reads, cost.steps) == (0, 80, 2 * 2, 2)
    assert (cost.stored, cost.seconds_before) == (0, 0)


def test_a_model_that_asks_many_takes_longer_by_the_median_of_the_rounds(clock: Clock) -> None:
    class Slow(nn.Module):
        """A net each call of which takes so many seconds."""

        def __init__(self, *seconds: float) -> None:
            super().__init__()
            self.net, self.seconds = tiny_net(), [s for s in seconds for _ in range(2)]  # `logits` asks twice

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.now += self.seconds.pop(0)
            return self.net(x)

    data = blobs(12)
    assert prediction_ratio(Slow(2, 600, 6, 90, 10), Slow(2, 2, 2, 3, 2), data) == 5  # 1, 300, 3, 30, 5
    assert prediction_ratio(Slow(7), Slow(2), data, rounds=1) == 3.5


@pytest.mark.parametrize("gpu", [None, "Some GPU"])
def test_the_hardware_is_named_with_its_gpu_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, gpu: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: gpu)
    found = hardware()
    assert found.startswith(f"{platform.system()} {platform.machine()}, ")
    assert found.endswith(", Some GPU" if gpu else "torch threads")


def test_a_bill_counts_no_other_reads_unless_it_is_told_of_some() -> None:
    assert Cost(0.0, 0, 0, 0, 0, 0.0, "").other_reads == 0
