"""Token ids as inputs: a text classifier that looks them up goes through every method and metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unlearn_lib as ul
from unlearn_lib.methods.pgu.moments import load_moments, moments, save_moments
from unlearn_lib.methods.unsir.controls import no_noise
from unlearn_lib.outputs import losses
from unlearn_lib.params import Params, clone, state
from unlearn_lib.train import train

STREAM = torch.Generator().manual_seed(0)
Y = torch.arange(90) % 3
WORDS = torch.randint(12, (90, 8), generator=STREAM) + 6 * Y[:, None]  # of 24 words; every class has its own
DATA = ul.Examples.of_dataset(torch.utils.data.TensorDataset(WORDS, Y))
TEST, TRAIN = DATA.head(24), DATA.without(DATA.head(24).ids)
SPLIT = ul.Split.by_class(TRAIN, 1)
RECIPE = ul.Recipe(lr=0.5, epochs=6, batch_size=16)


class Bag(nn.Module):
    """The mean of the words' vectors, and a linear head."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.words, self.head = nn.EmbeddingBag(24, 8, sparse=sparse), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    net = Bag()
    ul.run(train(net, TRAIN, RECIPE))
    return net.eval()


def same(a: Params, b: Params) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def undone(model: nn.Module, folder: Path) -> nn.Module:
    log = ul.run(ul.record(Bag(), TRAIN, RECIPE, folder, keep=0.5))
    return ul.run(ul.amnesiac(log.current(model), SPLIT.forget.ids, log)).model


def chained(model: nn.Module, folder: Path) -> nn.Module:
    chain = ul.run(ul.train_chain(Bag(), TRAIN, RECIPE, 3, folder))
    return ul.run(ul.deepobliviate(chain, TRAIN.ids[:2])).model


def voted(model: nn.Module, folder: Path) -> nn.Module:
    ensemble = ul.run(ul.train_sisa(Bag(), TRAIN, RECIPE, ul.partition(TRAIN, 2, 1), folder))
    return ul.run(ul.sisa(ensemble, TRAIN.ids[:2])).model


def projected(model: nn.Module, folder: Path) -> nn.Module:
    save_moments(folder / "moments", moments(model, TRAIN))
    retained = ul.spectra(load_moments(folder / "moments").without(model, SPLIT.forget))
    return ul.run(ul.pgu(model, retained, SPLIT.forget, RECIPE, stop=ul.forgotten(0.1))).model


METHODS: dict[str, Callable[[nn.Module, Path], nn.Module]] = {
    "retrain": lambda model, _: ul.run(ul.retrain(Bag(), SPLIT, RECIPE)).model,
    "finetune": lambda model, _: ul.run(ul.finetune(model, SPLIT.retain, RECIPE)).model,
    "gradient ascent": lambda model, _: ul.run(ul.gradient_ascent(model, SPLIT.forget, RECIPE, 2)).model,
    "relabel": lambda model, _: ul.run(ul.relabel(model, SPLIT, RECIPE)).model,
    "label flip": lambda model, _: ul.run(ul.label_flip(model, SPLIT, RECIPE, keep=0.3)).model,
    "ascent": lambda model, _: ul.run(ul.ascent(model, SPLIT, RECIPE, keep=0.3, lambda_r=1.0)).model,
    "UNSIR without noise": lambda model, _: ul.run(no_noise(model, [1], SPLIT.retain)).model,
    "amnesiac": undone,
    "DeepObliviate": chained,
    "SISA": voted,
    "PGU": projected,
}


def test_token_ids_stay_whole_numbers_wherever_they_are_moved() -> None:
    assert (DATA.x.dtype, DATA.to("cpu", torch.float64).x.dtype) == (torch.int64, torch.int64)
    assert DATA.batch(slice(2), torch.bfloat16).x.equal(WORDS[:2])
    assert ul.Examples.of(WORDS.int(), Y).to("cpu").x.dtype == torch.int32


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_takes_token_ids(
    method: Callable[[nn.Module, Path], nn.Module], model: nn.Module, tmp_path: Path
) -> None:
    before = state(model)
    found = method(model, tmp_path)
    assert torch.isfinite(losses(found, TEST)).all()
    assert same(before, state(model))


def test_a_net_that_knows_words_learns_and_is_audited(model: nn.Module) -> None:
    assert ul.accuracy(model, TEST) > 0.8
    retrained = ul.run(ul.retrain(Bag(), SPLIT, RECIPE)).model
    result = ul.run(ul.relabel(model, SPLIT, RECIPE))
    card = ul.evaluate(result.model, SPLIT, test=TEST, original=model, retrained=retrained)
    assert card["accuracy", "forget"].retrained == 0


def test_pgu_lets_the_words_stand_still_and_keeps_what_the_rest_gets(model: nn.Module) -> None:
    full = moments(model, TRAIN)
    assert list(full.layers) == ["head.weight"]
    retained = ul.spectra(full.without(model, SPLIT.forget))
    options: dict[str, Any] = {"stop": ul.forgotten(0.0), "energy": 1.0}
    found = ul.run(ul.pgu(model, retained, SPLIT.forget, RECIPE, **options)).model
    assert torch.equal(found.get_parameter("words.weight"), model.get_parameter("words.weight"))
    torch.testing.assert_close(found(SPLIT.retain.x), model(SPLIT.retain.x), rtol=0, atol=1e-4)


def test_sparse_gradients_of_words_are_recorded_too(tmp_path: Path) -> None:
    dense, sparse = Bag(), Bag(sparse=True)
    for name, net in (("dense", dense), ("sparse", sparse)):
        log = ul.run(ul.record(net, TRAIN, RECIPE, tmp_path / name, keep=1))
        ul.run(ul.amnesiac(net, TRAIN.ids[:3], log))
    torch.testing.assert_close(state(clone(dense)), state(clone(sparse)))


def test_noise_cannot_be_learned_on_token_ids_and_a_remedy_is_named(model: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"torch\.int64\. No noise .*`relabel` takes them.*embedded inputs"):
        ul.run(ul.unsir(model, [1], SPLIT.retain))


def test_a_net_that_wants_measurements_says_what_whole_numbers_are() -> None:
    net = ul.build("mlp", (8,), 3)
    with pytest.raises(RuntimeError, match=r"torch\.int64: .*token ids; of measurements pass x\.float\(\)"):
        ul.run(train(net, TRAIN, RECIPE))
    with pytest.raises(RuntimeError, match=r"torch\.int64: .*not in the valid range"):
        ul.run(train(Bag(), ul.Examples.of(WORDS + 4, Y), RECIPE))
