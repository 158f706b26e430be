"""The baselines: fine-tuning on what is retained, gradient ascent on what is not."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib.data import Split
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.metrics.accuracy import accuracy, loss
from unlearn_lib.params import clone, state
from unlearn_lib.train import Recipe, Step, run, train

RECIPE = Recipe(lr=0.05, batch_size=16, epochs=2)
SPLIT = Split.by_class(blobs(), 1)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = tiny_net()
    run(train(model, blobs(), RECIPE.but(epochs=10)))
    return clone(model).eval()


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = state(a), state(b)
    return all(torch.equal(left[name], right[name]) for name in left)


def test_fine_tuning_is_training_on_the_retain_set_from_where_the_model_stands(trained: nn.Module) -> None:
    twin = clone(trained)
    run(train(twin, SPLIT.retain, RECIPE))
    assert same(run(finetune(trained, SPLIT.retain, RECIPE)).model, twin)


def test_one_step_of_ascent_is_plain_gradient_ascent_on_the_loss(trained: nn.Module) -> None:
    everything = RECIPE.but(batch_size=len(SPLIT.forget), epochs=1)
    after = state(run(gradient_ascent(trained, SPLIT.forget, everything)).model)
    twin = clone(trained)
    nn.functional.cross_entropy(twin(SPLIT.forget.x), SPLIT.forget.y).backward()
    for name, p in twin.named_parameters():
        assert torch.allclose(after[name], p + RECIPE.lr * p.grad, atol=1e-12)


def test_ascent_raises_the_forget_loss_and_fine_tuning_keeps_the_rest(
    trained: nn.Module,
) -> None:
    ascended = run(gradient_ascent(trained, SPLIT.forget, RECIPE.but(epochs=1))).model
    assert loss(ascended, SPLIT.forget) > loss(trained, SPLIT.forget)
    tuned = run(finetune(trained, SPLIT.retain, RECIPE)).model
    assert accuracy(tuned, SPLIT.retain) >= accuracy(trained, SPLIT.retain)


@pytest.mark.parametrize("method", [finetune, gradient_ascent])
def test_a_number_of_steps_is_kept_to_the_step_across_epochs(trained: nn.Module, method: object) -> None:
    seen: list[Step] = []
    run(method(trained, SPLIT.retain, RECIPE, steps=7), [seen.append])  # 80 samples: 5 steps an epoch
    assert [(step.epoch, step.number) for step in seen][-2:] == [(2, 1), (2, 2)]
    assert len(seen) == 7
    assert same(run(method(trained, SPLIT.retain, RECIPE, steps=0)).model, trained)
    whole, as_steps = (run(method(trained, SPLIT.retain, RECIPE, steps=n)).model for n in (None, 10))
    assert same(whole, as_steps)


@pytest.mark.parametrize("method", [finetune, gradient_ascent])
def test_the_argument_stays_two_runs_agree_and_the_result_is_in_eval_mode(
    trained: nn.Module, method: object
) -> None:
    before, begun = clone(trained), time.perf_counter()
    a, b = (run(method(trained, SPLIT.forget, RECIPE)) for _ in range(2))
    assert same(a.model, b.model)
    assert same(trained, before)
    assert not a.model.training
    assert 0 <= a.seconds <= time.perf_counter() - begun
    assert not same(a.model, trained)


@pytest.mark.parametrize("method", [finetune, gradient_ascent])
def test_a_negative_number_of_steps_and_an_empty_set_are_refused(trained: nn.Module, method: object) -> None:
    with pytest.raises(ValueError, match="`steps` must be zero or more; got -1"):
        run(method(trained, SPLIT.forget, RECIPE, steps=-1))
    nothing = SPLIT.forget.where(SPLIT.forget.y == 2)
    with pytest.raises(ValueError, match="must hold at least one sample"):
        run(method(trained, nothing, RECIPE))


def test_ascent_that_diverges_is_stopped_by_name(trained: nn.Module) -> None:
    with pytest.raises(FloatingPointError, match="phase 'ascent'"):
        run(gradient_ascent(trained, SPLIT.forget, RECIPE.but(lr=1e200, epochs=50)))
