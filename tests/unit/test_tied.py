"""Tied weights: one tensor is one tensor, whatever its names, for every method."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.toys import blobs
from unlearn_lib.data import Split
from unlearn_lib.methods.amnesiac import amnesiac, record
from unlearn_lib.methods.deepobliviate import method as chains
from unlearn_lib.methods.deepobliviate import train_chain
from unlearn_lib.methods.finetune import finetune, gradient_ascent
from unlearn_lib.methods.layers import Layers
from unlearn_lib.methods.partial import ascent, label_flip
from unlearn_lib.methods.retrain import retrain
from unlearn_lib.methods.sisa import method as shards
from unlearn_lib.methods.sisa import partition
from unlearn_lib.methods.unsir import UnsirRecipe, unsir
from unlearn_lib.metrics.divergence import weight_distance
from unlearn_lib.params import add, assign, clone, gradients, l1, scale, snapshot, state, subtract
from unlearn_lib.store import Folder
from unlearn_lib.train import Recipe, run, train

DATA = blobs()
SPLIT = Split.by_class(DATA, 2)
PLAIN = Recipe(lr=0.05, batch_size=10, epochs=2)


class Once(nn.Module):
    """A net that uses one parameter `w` in two layers: what tied nets are compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.bias = nn.Parameter(torch.full((6,), 0.1))

    def second(self, h: Tensor) -> Tensor:
        return F.linear(h, self.a.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.a(self.first(x).relu()).relu()).relu())


class Tied(Once):
    """The same net, with the weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(6, 6)
        self.b.weight, self.b.bias = self.a.weight, self.bias
        del self.bias

    def second(self, h: Tensor) -> Tensor:
        return self.b(h)


class Transposed(Once):
    """The same, with a parameter that is the transpose of the weight, in the same memory."""

    t: nn.Parameter

    def second(self, h: Tensor) -> Tensor:
        return h @ self.t + self.bias


def made(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().double()


def transposed() -> nn.Module:
    """`double` gives each parameter memory of its own, so the view is made afterwards."""
    net = made(Once)
    net.__class__ = Transposed
    net.t = nn.Parameter(net.a.weight.detach().T)
    return net


TIED: dict[str, Callable[[], nn.Module]] = {
    "one parameter in two modules": lambda: made(Tied),
    "a transposed view": transposed,
}
PLAIN = Recipe(lr=0.1, batch_size=10, epochs=4)


def learned(net: nn.Module) -> nn.Module:
    run(train(net, DATA, PLAIN))
    return net


def chained(net: nn.Module, folder: Folder) -> nn.Module:
    chain = run(train_chain(net, DATA, PLAIN, 4, folder))
    done = run(chains.deepobliviate(chain, chain.members[0][:1], stop_block=2))
    new = chain.commit(done.trace)
    assert done.trace.T < 4, "the rest is stitched"
    torch.testing.assert_close(state(new.model()), state(done.model))
    return new.model()


def voted(net: nn.Module, folder: Folder) -> nn.Module:
    ensemble = run(shards.train_sisa(net, DATA, PLAIN, partition(DATA, 2, 2), folder))
    done = run(shards.sisa(ensemble, [5]))
    return ensemble.commit(done.trace).checkpoint(done.trace.shards[0])


def undone(net: nn.Module, folder: Folder, keep: float) -> nn.Module:
    log = run(record(net, DATA, PLAIN, folder, keep=keep))
    return run(amnesiac(net, [5], log)).model


METHODS: dict[str, Callable[[nn.Module, Folder], nn.Module]] = {
    "DeepObliviate": chained,
    "SISA": voted,
    "amnesiac": lambda net, folder: undone(net, folder, 1),
    "partial amnesiac": lambda net, folder: undone(net, folder, 0.3),
    "label flip": lambda net, _: run(label_flip(learned(net), SPLIT, PLAIN, keep=0.3)).model,
    "ascent": lambda net, _: run(ascent(learned(net), SPLIT, PLAIN, keep=0.3, rank="update")).model,
    "fine-tuning": lambda net, _: run(finetune(learned(net), SPLIT.retain, PLAIN)).model,
    "gradient ascent": lambda net, _: run(gradient_ascent(learned(net), SPLIT.forget, PLAIN, 3)).model,
    "retraining": lambda net, _: run(retrain(net, SPLIT, PLAIN)).model,
    "UNSIR": lambda net, _: (
        run(unsir(learned(net), [2], SPLIT.retain, UnsirRecipe(images=8, noise_steps=3))).model
    ),
}


# Adam keeps moments of its own for each of two parameters, even in the same memory.
CASES = [(how, name) for how in TIED for name in METHODS if (how, name) != ("a transposed view", "UNSIR")]


@pytest.mark.parametrize(("how", "name"), CASES)
def test_a_method_treats_a_tied_weight_as_the_one_tensor_that_it_is(how, name, tmp_path) -> None:
    tied, method = TIED[how], METHODS[name]
    ours, once = (method(net, Folder(tmp_path / type(net).__name__)) for net in (tied(), made(Once)))
    assert l1(subtract(snapshot(once), snapshot(learned(made(Once))))) > 0.1, "the method did something"
    with torch.no_grad():
        torch.testing.assert_close(ours(DATA.x), once(DATA.x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tied", TIED.values(), ids=TIED)
def test_a_tied_weight_is_counted_once_in_arithmetic_and_in_layers(tied) -> None:
    ours, once = tied(), made(Once)
    for count in (lambda m: l1(snapshot(m)), lambda m: l1(state(m)), lambda m: Layers.of(m).n):
        assert count(ours) == pytest.approx(count(once))
    other, reference = clone(ours), clone(once)
    for net in (other, reference):
        assign(net, add(snapshot(net), scale(snapshot(net), 0.1)))
    assert weight_distance(other, ours).total == pytest.approx(weight_distance(reference, once).total)
    for net in (ours, once):
        F.cross_entropy(net(DATA.x), DATA.y).backward()
    assert l1(gradients(ours)) == pytest.approx(l1(gradients(once)))


@pytest.mark.parametrize("tied", TIED.values(), ids=TIED)
def test_a_clone_is_tied_as_its_model_is_and_shares_nothing_with_it(tied) -> None:
    net = tied()
    twin, before = clone(net), state(net)
    with torch.no_grad():
        twin.a.weight.add_(1)
    second = twin.b.weight if isinstance(twin, Tied) else twin.t.T
    assert torch.equal(second, twin.a.weight)
    assert all(torch.equal(before[name], value) for name, value in state(net).items())


def test_one_tensor_takes_its_value_under_any_of_its_names_but_not_two_values() -> None:
    net, value = made(Tied), torch.ones(6, 6).double()
    assign(net, {"b.weight": value})
    assert torch.equal(net.a.weight, value)
    assign(net, net.state_dict())
    before = state(net)
    with pytest.raises(ValueError, match=r"`a.weight` and `b.weight` are one tensor .* got two values"):
        assign(net, {"last.bias": torch.ones(3).double(), "a.weight": 2 * value, "b.weight": 3 * value})
    assert all(torch.equal(before[name], found) for name, found in state(net).items()), "nothing is written"


def test_tensors_that_share_only_a_part_of_their_entries_are_refused() -> None:
    net, whole = nn.Module(), torch.arange(6.0)
    net.a, net.b = nn.Parameter(whole[:4]), nn.Parameter(whole[2:])
    with pytest.raises(ValueError, match=r"`b` and `a` share a part of their entries"):
        snapshot(net)
    net.b = nn.Parameter(whole[4:])
    assert set(snapshot(net)) == {"a", "b"}, "neighbors in one memory are tensors of their own"
    net.c = nn.Parameter(whole)
    assert set(snapshot(net)) == {"c"}, "a tensor stands for its parts"
    net.c.requires_grad_(False)
    with pytest.raises(ValueError, match="share a part of their entries"):
        snapshot(net)


def test_arithmetic_takes_parameters_of_the_same_names_only() -> None:
    with pytest.raises(ValueError, match=r"`a` and `b` must have the same names; .*'w'"):
        add({"v": torch.ones(1)}, {"v": torch.ones(1), "w": torch.ones(1)})
