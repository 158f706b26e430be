"""Laws of metrics/cost.py (evaluation, M24)."""

from __future__ import annotations

import pytest
import torch

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.unsir import UnsirRecipe, retain_subset, unsir
from unlearn_lib.metrics.cost import Counted, counted, prediction_ratio, priced
from unlearn_lib.train import Recipe, run, train

SPLIT = Split.by_class(blobs(), 1)  # 40 to forget, 80 to retain


def test_m24_retraining_reads_every_retained_sample_once_an_epoch_and_no_forgotten_one() -> None:
    split = counted(SPLIT)
    result, cost = priced(retrain(tiny_net(), split, Recipe(epochs=3, batch_size=32)), split)
    assert (cost.forget_reads, cost.retain_reads, cost.steps) == (0, 3 * 80, 3 * 3)
    assert cost.seconds > 0
    assert "torch threads" in cost.hardware
    plain = run(retrain(tiny_net(), SPLIT, Recipe(epochs=3, batch_size=32)))
    assert all(
        torch.equal(a, b) for a, b in zip(result.model.parameters(), plain.model.parameters(), strict=True)
    )


def test_m24_unsir_reads_no_forgotten_sample() -> None:
    split = counted(SPLIT)
    everything = split.forget + split.retain
    kept = retain_subset(everything, [1], 10)
    recipe = UnsirRecipe(images=2, noise_steps=2, batch_size=8, copies=2)
    _, cost = priced(unsir(tiny_net(), [1], kept, recipe), split)
    assert cost.forget_reads == 0
    assert cost.retain_reads == 2 * 20, "20 images in impair, the same 20 in repair"


def test_m24_pgu_reads_no_retained_sample_after_the_request() -> None:
    from unlearn_lib.methods.pgu import forgotten, pgu
    from unlearn_lib.moments import moments
    from unlearn_lib.projection import spectra

    split, net = counted(SPLIT), tiny_net()
    run(train(net, SPLIT.forget + SPLIT.retain, Recipe(epochs=2)))
    retained = spectra(moments(net, split.forget + split.retain).without(net, split.forget))
    recipe = Recipe(epochs=2, lr=0.05, batch_size=16)
    _, cost = priced(pgu(net, retained, split.forget, recipe, stop=forgotten()), split)
    assert cost.retain_reads == 0
    assert cost.forget_reads > 0


def test_m24_reads_are_counted_through_every_cut_sum_and_move() -> None:
    split = counted(SPLIT)
    both = split.forget + split.retain
    plain_first = SPLIT.forget.where(SPLIT.forget.ids < 0) + split.retain
    for data in (both, plain_first, split.retain.head(30), split.retain.to("cpu"), both.select([1, 4])):
        assert isinstance(data, Counted)
        assert data.reads is split.forget.reads
    both.batch(torch.tensor([0, 0, 5]))
    split.retain.select([2]).batch(slice(None))
    assert split.forget.reads == {int(both.ids[0]): 2, int(both.ids[5]): 1, 2: 1}


def test_m24_what_was_read_before_the_request_is_not_on_its_bill() -> None:
    split = counted(SPLIT)
    split.retain.batch(slice(None))
    net = tiny_net()
    _, cost = priced(train(net, split.forget, Recipe(epochs=1)), split, stored=123, seconds_before=4.5)
    assert (cost.forget_reads, cost.retain_reads, cost.stored, cost.seconds_before) == (40, 0, 123, 4.5)
    with pytest.raises(TypeError, match=r"`split` must come from `counted\(split\)`"):
        priced(train(net, SPLIT.forget, Recipe()), SPLIT)


def test_a_model_that_asks_many_takes_longer_to_predict() -> None:
    class Council(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = torch.nn.ModuleList(tiny_net() for _ in range(20))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([member(x) for member in self.members]).mean(0)

    data = blobs(3_000)
    assert prediction_ratio(Council(), tiny_net(), data) > 2
    assert 0.3 < prediction_ratio(tiny_net(), tiny_net(), data) < 3
