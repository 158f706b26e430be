"""Methods take float64 nets on stored integers, compiled nets, classes in any form; or give a reason."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import nn

from unlearn_lib.data import Examples, Scale, Split
from unlearn_lib.methods.amnesiac import amnesiac, record
from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.methods.partial import ascent, first_reaching, label_flip, wrong_labels
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.sisa import partition, sisa, train_sisa
from unlearn_lib.methods.unsir import UnsirRecipe, gaussian_noise, retain_subset, unsir, unsir_but
from unlearn_lib.methods.unsir.noise import balanced_penalty, gaussian, learn_noise, norm_matched
from unlearn_lib.metrics import inside
from unlearn_lib.metrics.baselines import mask_logits
from unlearn_lib.metrics.divergence import untrained_twin, weight_distance
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.outputs import logits
from unlearn_lib.params import clone, state
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, run, train

STREAM = torch.Generator().manual_seed(0)
Y = torch.arange(60) % 4
X = (40 * Y[:, None, None, None] + torch.randint(40, (60, 1, 4, 4), generator=STREAM)).to(torch.uint8)
DATA = Examples.of(X, Y, Scale.of(X))
SPLIT = Split.by_class(DATA, 3)
RECIPE = Recipe(lr=0.05, batch_size=15, epochs=2)
NOISY = UnsirRecipe(images=4, noise_steps=2)


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))


def folder() -> Folder:
    return Folder(tempfile.mkdtemp())


def chained(model: nn.Module) -> nn.Module:
    chain = run(train_chain(model, DATA, RECIPE, 3, folder()))
    return run(deepobliviate(chain, chain.members[1][:1], stop_block=2)).model


def voted(model: nn.Module) -> nn.Module:
    return run(sisa(run(train_sisa(model, DATA, RECIPE, partition(DATA, 2, 1), folder())), [3])).model


def undone(model: nn.Module) -> nn.Module:
    model = clone(model)
    return run(amnesiac(model, [3], run(record(model, DATA, RECIPE, folder(), keep=0.5)))).model


METHODS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DeepObliviate": chained,
    "SISA": voted,
    "amnesiac": undone,
    "label flip": lambda m: run(label_flip(m, SPLIT, RECIPE, keep=0.5, lambda_r=1.0)).model,
    "ascent": lambda m: run(ascent(m, SPLIT, RECIPE, keep=0.5, lambda_r=1.0, target=0.0)).model,
    "fine-tuning": lambda m: run(finetune(m, SPLIT.retain, RECIPE, 3)).model,
    "gradient ascent": lambda m: run(gradient_ascent(m, SPLIT.forget, RECIPE, 2)).model,
    "retraining": lambda m: run(retrain(m, SPLIT, RECIPE)).model,
    "UNSIR": lambda m: run(unsir(m, [3], SPLIT.retain, NOISY)).model,
    "UNSIR, Gaussian": lambda m: run(gaussian_noise(m, [3], SPLIT.retain, NOISY)).model,
}


def trained(model: nn.Module) -> nn.Module:
    run(train(model, DATA, RECIPE.but(epochs=40)))
    return model


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_float64_net_takes_stored_integers(method) -> None:
    found = method(trained(net().double()))
    assert all(p.dtype == torch.float64 and p.isfinite().all() for p in found.parameters())
    near, exact = (method(trained(net().to(kind))) for kind in (torch.float32, torch.float64))
    assert weight_distance(near, exact.float()).total < 1e-2, "as in single precision, up to its rounding"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_compiled_net_is_unlearned_as_the_net_that_it_is(method) -> None:
    plain = method(trained(net()))
    before = state(compiled := torch.compile(trained(net()), backend="eager"))
    found = method(compiled)
    x = SPLIT.forget.to("cpu").x
    with torch.no_grad():
        torch.testing.assert_close(found(x), plain(x))
    assert all(torch.equal(before[name], value) for name, value in state(compiled).items())


def pruned() -> nn.Module:
    model = net()
    torch.nn.utils.prune.l1_unstructured(model[1], "weight", amount=0.5)
    return model


def weight_normed() -> nn.Module:
    model = net()
    with pytest.warns(FutureWarning):
        torch.nn.utils.weight_norm(model[1])
    return model


@pytest.mark.parametrize("make", [pruned, weight_normed])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_net_whose_weights_are_computed_is_copied_and_unlearned(method, make) -> None:
    model = trained(make())
    before = state(model)
    assert not torch.equal(logits(method(model), DATA), logits(model, DATA))
    assert all(torch.equal(before[name], value) for name, value in state(model).items())


def test_metrics_take_compiled_and_float64_nets() -> None:
    other = retrain(net(), SPLIT, RECIPE)
    retrained = run(other).model
    unseen = Examples(X.flip(3) // 2, Y, torch.arange(60), DATA.scale)
    for model in (torch.compile(trained(net()), backend="eager"), trained(net().double())):
        card = evaluate(model, original=clone(model), retrained=retrained, split=SPLIT, test=unseen)
        assert all(math.isfinite(row.unlearned) for row in card)
        twin = untrained_twin(model)
        assert weight_distance(twin, model).total > 0.1
        inside.bn_recalibration(model, SPLIT, unseen)
        pair = {"original": model, "retrained": retrained}
        assert inside.linear_probe(model, **pair, split=SPLIT, test=unseen).unlearned
        assert mask_logits(model, 3)


CLASSES = {
    "a tensor": torch.tensor([3]),
    "an array": np.array([3]),
    "a set": {3},
    "a tuple": (3,),
    "a range": range(3, 4),
    "whole numbers of NumPy": [np.int64(3)],
}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_unsir_takes_classes_in_any_form(classes) -> None:
    model = trained(net())
    found, wanted = (run(unsir(model, c, retain_subset(DATA, c, 5), NOISY)) for c in (classes, [3]))
    assert found.trace.classes == (3,)
    assert weight_distance(found.model, wanted.model).total == 0


NORMED = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 4))
TUPLE = type("Tuple", (nn.Sequential,), {"forward": lambda self, x: (nn.Sequential.forward(self, x), x)})
START = gaussian(3, 4, torch.zeros(1, 4, 4))

REASONS: dict[str, tuple[Callable[[], Any], str]] = {
    "one class by itself": (lambda: unsir(net(), 3, SPLIT.retain), r"write \[3\]"),
    "a fraction of a class": (lambda: unsir(net(), [1.0], SPLIT.retain), "must be a whole number; got 1.0"),
    "a mask of classes": (lambda: unsir(net(), DATA.y == 3, SPLIT.retain), "got a mask of yes and no"),
    "a class too high": (lambda: unsir(net(), [9], SPLIT.retain), r"among 0 ... 3; got 9"),
    "no class": (lambda: unsir(net(), [], SPLIT.retain), "must name at least one class"),
    "no model": (lambda: unsir(None, [3], SPLIT.retain), "`model` must be of class Module; got None"),
    "no recipe": (lambda: unsir(net(), [3], SPLIT.retain, 5), "`recipe` must be of class UnsirRecipe"),
    "no retained images": (lambda: unsir(net(), [3], None), "`retain` must be of class Examples"),
    "a tuple for UNSIR": (lambda: unsir(TUPLE(*net()), [3], SPLIT.retain), "one tensor of logits"),
    "a tuple to flip": (lambda: label_flip(TUPLE(*net()), SPLIT, RECIPE, keep=1), "one tensor of logits"),
    "one noise image, C": (
        lambda: unsir_but(NORMED, [3], SPLIT.retain, NOISY.but(images=1), defects="C"),
        "`images` must be at least 2 to learn noise in train mode",
    ),
    "one sample to ascend on": (
        lambda: gradient_ascent(NORMED, DATA.select([0]), RECIPE),
        "needs two samples in a batch",
    ),
    "images=2.5": (lambda: UnsirRecipe(images=2.5), "`images` must be a whole number; got 2.5"),
    "images=True": (lambda: UnsirRecipe(images=True), "`images` must be a whole number; got True"),
    "noise_lr=nan": (lambda: UnsirRecipe(noise_lr=math.nan), "`noise_lr` must be positive and finite"),
    "penalty=inf": (lambda: UnsirRecipe(penalty=math.inf), "`penalty` must be zero or more"),
    "seed=x": (lambda: UnsirRecipe(seed="x"), "`seed` must be a whole number"),
    "defects=D": (lambda: unsir_but(NORMED, [3], SPLIT.retain, defects="D"), '`defects` must be "A"'),
    "retain_subset of one class": (lambda: retain_subset(DATA, 1, 2), r"`classes` must be several .* \[1\]"),
    "retain_subset of halves": (lambda: retain_subset(DATA, [1], 2.5), "`per_class` must be a whole number"),
    "target=5": (lambda: label_flip(net(), SPLIT, RECIPE, keep=1, target=5), r"`target` must be in \[0, 1\]"),
    "target=nan": (lambda: ascent(net(), SPLIT, RECIPE, keep=1, target=math.nan), r"`target` must be in"),
    "steps=1.5": (lambda: ascent(net(), SPLIT, RECIPE, keep=1, steps=1.5), "`steps` must be a whole number"),
    "steps=0": (lambda: label_flip(net(), SPLIT, RECIPE, keep=1, steps=0), "`steps` must be at least 1"),
    "no split": (lambda: ascent(net(), None, RECIPE, keep=1), "`split` must be of class Split; got None"),
    "lambda_r=nan": (lambda: ascent(net(), SPLIT, RECIPE, keep=1, lambda_r=math.nan), "`lambda_r` must"),
    "cap=log": (lambda: ascent(net(), SPLIT, RECIPE, keep=1, cap="log"), "`cap` must be positive"),
    "cap=nan": (lambda: ascent(net(), SPLIT, RECIPE, keep=1, cap=math.nan), "`cap` must be"),
    "no forget set": (lambda: gradient_ascent(net(), None, RECIPE), "`forget` must be of class Examples"),
    "half a step": (lambda: finetune(net(), DATA, RECIPE, 1.5), "`steps` must be a whole number"),
    "retraining nothing": (lambda: retrain(None, SPLIT, RECIPE), "`initial` must be of class Module"),
    "noise of two classes": (lambda: learn_noise(net(), DATA.head(8)), "`start` must be of one class"),
    "noise of a ninth class": (lambda: learn_noise(net(), gaussian(9, 4, START.x[0])), "4 outputs; got 9"),
    "half a step of noise": (lambda: learn_noise(net(), START, 1.5), "`steps` must be a whole number"),
    "penalty of no shape": (lambda: balanced_penalty((0, 8)), "`shape` must be at least 1"),
    "no noise image": (lambda: gaussian(3, 0, START.x[0]), "`B` must be at least 1"),
    "noise like integers": (
        lambda: gaussian(3, 4, X[0]),
        "`like`, a sample of `retain`, must be of floating point",
    ),
    "matched to fewer": (
        lambda: norm_matched(net(), run(learn_noise(net(), START, 1)), gaussian(3, 3, START.x[0])),
        "`images` must be as many as the noise, 4; got 3",
    ),
    "no wrong label": (lambda: wrong_labels(torch.tensor([2]), torch.tensor([2]), 0), "other than the true"),
    "first_reaching(nan)": (lambda: first_reaching([0.5], math.nan), r"`target` must be in \[0, 1\]"),
}


@pytest.mark.parametrize(("call", "message"), REASONS.values(), ids=REASONS)
def test_what_a_method_cannot_do_is_said_with_the_reason(call, message) -> None:
    def use() -> None:
        found = call()
        if isinstance(found, Generator):
            run(found)

    with pytest.raises((ValueError, TypeError), match=f"{message}|violates type hint|Type-check error"):
        use()
