"""The training loop, its randomness, and `run`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.toys import blobs, tiny_net
from unlearn_lib import params
from unlearn_lib.data import keyed_order
from unlearn_lib.train import Recipe, cross_entropy, evaluating, pick_device, run, train

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05)


def trained(recipe=RECIPE, *, net=None, data=None, watch=(), **options):
    net = net or tiny_net()
    run(train(net, blobs() if data is None else data, recipe, **options), watch)
    return params.state(net)


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def bare_loop(recipe):
    """Slow twin: the textbook loop."""
    net, data = tiny_net().train(), blobs()
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe.lr)
    for epoch in range(1, recipe.epochs + 1):
        for rows in keyed_order(data.ids, recipe.seed, 0, epoch).split(recipe.batch_size):
            loss = nn.functional.cross_entropy(net(data.x[rows]), data.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return params.state(net)


def test_the_loop_equals_the_textbook_loop_bit_for_bit():
    assert same(trained(), bare_loop(RECIPE))


def test_two_runs_are_bit_identical_and_another_seed_is_another_run():
    assert same(trained(), trained())
    assert not same(trained(), trained(RECIPE.but(seed=1)))


def test_watching_changes_no_bit_of_the_result():
    def nosy(step):
        torch.rand(3)
        with evaluating(step.model):
            step.model(step.batch.x)

    assert same(trained(), trained(watch=[nosy]))


def test_training_leaves_the_global_stream_alone_and_does_not_depend_on_it():
    def with_dropout():
        return nn.Sequential(nn.Linear(5, 8).double(), nn.Dropout(0.5), nn.Linear(8, 3).double())

    torch.manual_seed(0)
    first = with_dropout()
    second = params.clone(first)
    state = torch.get_rng_state()
    a = trained(net=first)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert same(a, trained(net=second, watch=[lambda step: torch.rand(7)]))


def test_deleting_a_sample_keeps_the_order_of_the_others():
    def order(data):
        seen = []
        run(train(tiny_net(), data, RECIPE), [lambda step: seen.extend(step.batch.ids.tolist())])
        return seen

    whole = blobs()
    assert [i for i in order(whole) if i not in (3, 50)] == order(whole.without([3, 50]))


def test_every_sample_is_seen_once_an_epoch_and_steps_are_counted():
    steps = []
    trained(watch=[steps.append], data=blobs(50))
    assert [(s.epoch, s.number, s.steps) for s in steps] == [(e, n, 4) for e in (1, 2) for n in (1, 2, 3, 4)]
    for epoch in (1, 2):
        assert sorted(i for s in steps if s.epoch == epoch for i in s.batch.ids.tolist()) == list(range(50))


def test_a_last_batch_of_one_joins_the_one_before():
    sizes = []
    trained(watch=[lambda s: sizes.append(len(s.batch.y))], data=blobs(49))
    assert sizes == [16, 16, 17] * 2


def test_an_observer_changes_no_bit_and_sees_the_change_of_each_step():
    deltas = []

    def observe(batch, delta):
        deltas.append(delta)

    before = params.snapshot(tiny_net())
    after = trained(on_update=observe)
    assert same(after, trained())
    total = {name: sum(d[name] for d in deltas) for name in before}
    assert all(torch.allclose(after[n], before[n] + total[n], atol=1e-12) for n in before)


def test_what_an_editor_returns_replaces_the_change():
    before = params.state(tiny_net())
    assert same(trained(on_update=lambda batch, delta: params.scale(delta, 0.0)), before)


@pytest.mark.parametrize(
    "recipe", [RECIPE, RECIPE.but(momentum=0.9), RECIPE.but(optimizer="adam", weight_decay=0.1)]
)
def test_the_edit_acts_on_the_update_so_its_guarantee_survives_every_optimizer(recipe):
    def freeze_first(batch, delta):
        return {n: d * 0 if n.startswith("1.") else d for n, d in delta.items()}

    before, after = params.state(tiny_net()), trained(recipe, on_update=freeze_first)
    assert torch.equal(before["1.weight"], after["1.weight"])
    assert not torch.equal(before["3.weight"], after["3.weight"])


def test_a_loss_that_is_not_finite_stops_the_run_naming_phase_epoch_and_step():
    calls = []

    def explode(model, batch):
        calls.append(1)
        return cross_entropy(model, batch) * (torch.nan if len(calls) == 11 else 1)

    with pytest.raises(FloatingPointError, match=r"the loss is nan in phase 'repair', epoch 2, step 3"):
        trained(loss_fn=explode, phase="repair")


def test_no_data_and_no_trainable_parameter_are_refused():
    with pytest.raises(ValueError, match="`data` must hold at least one sample"):
        trained(data=blobs().where(torch.zeros(120, dtype=torch.bool)))
    with pytest.raises(ValueError, match="no trainable parameter"):
        trained(net=tiny_net().requires_grad_(False))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lr", 0.0),
        ("lr", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("batch_size", 0),
        ("epochs", -1),
    ],
)
def test_a_recipe_refuses_values_outside_their_range(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must .*; got {value}"):
        Recipe(**{field: value})


def test_momentum_with_adam_is_refused():
    with pytest.raises(ValueError, match="`momentum` is a setting of SGD"):
        Recipe(optimizer="adam", momentum=0.9)


def test_evaluating_restores_every_module_even_after_an_error():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    net[1].eval()
    inside = []
    with pytest.raises(RuntimeError), evaluating(net):  # noqa: PT012 - the state inside is the point
        inside += [net[0].training, torch.is_grad_enabled()]
        raise RuntimeError
    assert inside == [False, False]
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert torch.is_grad_enabled()


def test_run_returns_the_result_of_a_method():
    def method():
        yield from train(tiny_net(), blobs(), RECIPE)
        return "done"

    assert run(method()) == "done"


def test_a_run_that_has_ended_is_not_run_again():
    steps = train(tiny_net(), blobs(), RECIPE)
    run(steps)
    with pytest.raises(RuntimeError, match="`steps` has been run already"):
        run(steps)


def test_frozen_batch_norm_keeps_its_statistics_and_free_batch_norm_learns():
    def net(frozen: bool):
        model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
        model[:2].requires_grad_(not frozen)
        return model

    for frozen in (True, False):
        model = net(frozen)
        before = {name: b.clone() for name, b in model.named_buffers()}
        run(train(model, blobs(), RECIPE))
        assert all(torch.equal(b, before[name]) for name, b in model.named_buffers()) == frozen


def test_the_device_asked_for_is_the_device():
    assert pick_device("cpu").type == "cpu"


def test_the_default_recipe_is_an_epoch_of_plain_gradient_descent():
    assert Recipe() == Recipe("sgd", 0.1, 0.0, 0.0, 64, 1, 0)
    assert Recipe().to_dict() == {
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "batch_size": 64,
        "epochs": 1,
        "seed": 0,
    }
    least = Recipe(lr=1e-9, batch_size=1, epochs=0, seed=-3)
    assert same(trained(least), params.state(tiny_net())), "no epoch, no step"


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (
            RECIPE.but(momentum=0.5, weight_decay=0.1),
            lambda p: torch.optim.SGD(p, 0.05, 0.5, weight_decay=0.1),
        ),
        (
            RECIPE.but(optimizer="adam", weight_decay=0.1),
            lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.1),
        ),
    ],
    ids=["SGD", "Adam"],
)
def test_the_optimizer_is_torchs_own_with_the_recipes_numbers(recipe, make):
    net, data = tiny_net().train(), blobs()
    optimizer = make(net.parameters())
    for epoch in (1, 2):
        for rows in keyed_order(data.ids, 0, 0, epoch).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.x[rows]), data.y[rows]).backward()
            optimizer.step()
    assert same(trained(recipe), params.state(net))


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        *((50, 16, [16, 16, 16, 2]), (49, 16, [16, 16, 17]), (32, 16, [16, 16]), (17, 16, [17])),
        *((16, 16, [16]), (5, 16, [5]), (1, 16, [1]), (3, 2, [3]), (3, 1, [1, 1, 1]), (1, 1, [1])),
    ],
)
def test_batches_are_full_but_the_last_and_no_last_one_is_alone(n, size, sizes):
    steps = []
    run(train(tiny_net(), blobs(n), Recipe(batch_size=size)), [steps.append])
    assert [len(step.batch.y) for step in steps] == sizes
    assert {step.steps for step in steps} == {len(sizes)}


@pytest.mark.parametrize("times", [1, 2])
def test_an_order_of_ones_own_is_kept_with_its_repeats(times):
    seen, asked = [], []

    def backwards(ids, epoch):
        asked.append(epoch)
        return torch.arange(len(ids)).flip(0).repeat(times)

    trained(data=blobs(20), order=backwards, watch=[lambda s: seen.extend(s.batch.ids.tolist())])
    assert seen == list(range(19, -1, -1)) * times * 2
    assert asked == [1, 2]


def test_an_order_that_gives_no_row_is_refused():
    with pytest.raises(ValueError, match="`order` must give at least one row; it gives none in epoch 1"):
        trained(order=lambda ids, epoch: ids[:0])


def test_order_and_dropout_are_keyed_by_seed_and_block():
    def ids(**options):
        steps = []
        run(train(tiny_net(), blobs(), RECIPE, **options), [steps.append])
        return [step.batch.ids.tolist() for step in steps]

    assert ids() == ids(block=0) != ids(block=1)
    data, expected = blobs(), []
    for epoch in (1, 2):
        expected += [data.ids[rows].tolist() for rows in keyed_order(data.ids, 0, 3, epoch).split(16)]
    assert ids(block=3) == expected

    def with_dropout(seed=0, **options):
        net = tiny_net()
        net.insert(3, nn.Dropout(0.5))
        everything = Recipe(batch_size=120, seed=seed)  # one batch: in any order
        return trained(everything, net=net, order=lambda ids, _: torch.arange(len(ids)), **options)

    assert same(with_dropout(), with_dropout(block=0))
    assert not same(with_dropout(), with_dropout(block=1))
    assert not same(with_dropout(), with_dropout(seed=1))


def test_a_step_shows_the_loss_before_it_and_the_phase_that_was_named():
    net, steps, everything = tiny_net(), [], blobs().batch(slice(None))
    first = cross_entropy(params.clone(net), everything).item()
    run(train(net, blobs(), Recipe(batch_size=120)), [steps.append])
    assert steps[0].loss == pytest.approx(first)
    assert (steps[0].phase, steps[0].model is net, dict(steps[0].info)) == ("train", True, {})
    assert net.training


def test_every_watcher_sees_every_step_in_turn():
    seen = []
    run(
        train(tiny_net(), blobs(32), Recipe(batch_size=16)),
        [lambda s: seen.append(("a", s.number)), lambda s: seen.append(("b", s.number))],
    )
    assert seen == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_cuda_then_mps_then_the_processor(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device().type == best
    with pytest.raises(ValueError, match="`device` must be"):
        pick_device("gpu")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"loss_fn": lambda m, b: None}, "`loss_fn` must give one number"),
        ({"loss_fn": lambda m, b: torch.tensor(1.0)}, "`loss_fn` .* got a number without gradient"),
        ({"loss_fn": lambda m, b: m(b.x).sum(1)}, "`loss_fn` must give one number"),
        ({"on_update": lambda b, u: 5}, "`on_update` must return an update"),
        ({"on_update": lambda b, u: {}}, "`on_update` must return an update"),
        ({"on_update": lambda b, u: {k: v[:1] for k, v in u.items()}}, "`on_update` must keep the shape"),
        ({"order": lambda ids, epoch: torch.tensor([0, 999])}, "`order` must be in 0 ... 119; got 999"),
        ({"order": lambda ids, epoch: torch.tensor([], dtype=torch.int64)}, "`order` must give at least one"),
        ({"order": lambda ids, epoch: ids == 1}, "`order` must be whole numbers.* mask"),
    ],
)
def test_what_a_function_of_the_caller_gives_is_checked(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        run(train(tiny_net(), blobs(), Recipe(batch_size=16), **wrong))


@pytest.mark.parametrize("driver", [run, list])
def test_a_stop_in_the_middle_of_no_grad_leaves_gradients_on(driver):
    def stopped(batch, delta):
        torch.set_grad_enabled(False)  # as when the interrupt comes before `no_grad` can end
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver(train(tiny_net(), blobs(), Recipe(), on_update=stopped))
    assert torch.is_grad_enabled()
