"""Learning rates over a run: those of torch, step for step, over one run or over all blocks of a chain."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unlearn_lib as ul
from tests.toys import blobs, tiny_net
from unlearn_lib import store
from unlearn_lib.data import Batch
from unlearn_lib.schedule import rate
from unlearn_lib.train import train

DATA = blobs(40)


def of_torch(schedule: str, lr: float, steps: int) -> list[float]:
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    lrs = torch.optim.lr_scheduler
    scheduler: Any = (
        lrs.CosineAnnealingLR(sgd, T_max=steps)
        if schedule == "cosine"
        else lrs.OneCycleLR(sgd, max_lr=lr, total_steps=steps, cycle_momentum=False)
    )
    found = []
    for step in range(steps):
        found.append(float(sgd.param_groups[0]["lr"]))
        sgd.step()
        if step < steps - 1:
            scheduler.step()
    return found


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 10, 100, 333])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_every_rate_is_that_of_torch(schedule: Any, steps: int) -> None:
    ours = [rate(schedule, 0.3, step, steps) for step in range(steps)]
    assert ours == pytest.approx(of_torch(schedule, 0.3, steps), rel=1e-9, abs=1e-12)
    assert max(ours) <= 0.3
    assert rate("one_cycle", 0.3, 0, 10 / 3) == 0.3  # a part of a chain may be at its top where it begins


class Falling(nn.Module):
    """Its loss is its only weight, so that a step of plain SGD lowers that by the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w.expand(len(x), 3)


def falling(model: nn.Module, batch: Batch) -> Tensor:
    return model.get_parameter("w") * 1


def rates(recipe: ul.Recipe, data: ul.Examples = DATA, **options: Any) -> list[float]:
    model, found = Falling(), [0.0]
    for step in train(model, data, recipe, loss_fn=falling, **options):
        found.append(float(step.model.get_parameter("w").detach()))
    return [before - after for before, after in itertools.pairwise(found)]


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_run_follows_its_schedule_to_the_end(schedule: Any) -> None:
    recipe = ul.Recipe(lr=0.3, batch_size=10, epochs=3, schedule=schedule)
    assert rates(recipe) == pytest.approx(of_torch(schedule, 0.3, 12), rel=1e-9, abs=1e-12)
    assert rates(recipe.but(schedule="constant")) == pytest.approx([0.3] * 12)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step")
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_one_schedule_goes_over_all_blocks_of_a_chain(schedule: Any) -> None:
    recipe = ul.Recipe(lr=0.3, batch_size=10, epochs=2, schedule=schedule, schedule_over="chain")
    parts = [rates(recipe, part=(k, 3)) for k in (1, 2, 3)]
    assert list(itertools.chain(*parts)) == pytest.approx(of_torch(schedule, 0.3, 24), rel=1e-9, abs=1e-12)
    alone = recipe.but(schedule_over="run")
    assert rates(alone, part=(2, 3)) == pytest.approx(of_torch(schedule, 0.3, 8), rel=1e-9, abs=1e-12)


def test_deleted_samples_move_no_rate_unless_an_epoch_has_fewer_steps() -> None:
    recipe = ul.Recipe(lr=0.3, batch_size=10, epochs=3, schedule="cosine")
    assert rates(recipe, DATA.without([1, 2, 3])) == rates(recipe)  # still four steps an epoch
    fewer = rates(recipe, DATA.without(range(10)))
    assert (len(fewer), fewer[::3]) == (
        9,
        pytest.approx(rates(recipe)[::4]),
    )  # epochs begin with the same rates


def test_a_chain_with_one_schedule_is_retrained_with_the_rates_it_had(tmp_path: Path) -> None:
    recipe = ul.Recipe(lr=0.1, batch_size=5, epochs=2, schedule="one_cycle", schedule_over="chain")
    whole = ul.run(ul.train_chain(tiny_net(), blobs(60), recipe, 4, tmp_path / "whole"))
    result = ul.run(ul.deepobliviate(whole, [], restart=2))
    assert result.trace.reason == "identical"
    first = ul.run(
        ul.train_chain(tiny_net(), blobs(60), recipe.but(schedule_over="run"), 4, tmp_path / "each")
    )
    assert not all(torch.equal(value, first.state(1)[name]) for name, value in whole.state(1).items())


def test_sisa_spreads_one_schedule_over_the_stages_of_a_shard(tmp_path: Path) -> None:
    recipe = ul.Recipe(lr=0.1, batch_size=5, epochs=3, schedule="cosine", schedule_over="chain")
    cells = ul.partition(DATA, 1, 2)
    ensemble = ul.run(ul.train_sisa(tiny_net(), DATA, recipe, cells, tmp_path))
    net = tiny_net()
    for r, epochs in ((1, 2), (2, 2)):
        part = DATA.select(torch.cat(cells.cells[0][:r]))
        ul.run(train(net, part, recipe.but(epochs=epochs), block=r - 1, part=(r, 2)))
    assert all(torch.equal(value, ensemble.state(2)[name]) for name, value in net.state_dict().items())


def test_fine_tuning_for_some_steps_goes_through_its_whole_schedule() -> None:
    recipe = ul.Recipe(lr=0.5, batch_size=10, epochs=50, schedule="cosine")
    net = tiny_net()
    a, b = (ul.run(ul.finetune(net, DATA, r, steps=8)).model for r in (recipe, recipe.but(epochs=2)))
    twin = ul.run(ul.finetune(net, DATA, recipe.but(epochs=2))).model
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name])
        assert torch.equal(value, twin.state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": ("spin",)}, '`augment` must be "flip" or "crop"'),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\); got 1\.0"),
    ],
)
def test_a_field_outside_its_range_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ul.Recipe().but(**changes)


def test_pgu_refuses_a_schedule_beside_its_own() -> None:
    model, split = tiny_net(), ul.Split.by_class(DATA, 1)
    retained = ul.spectra(ul.moments(model, DATA).without(model, split.forget))
    with pytest.raises(ValueError, match=r"`recipe\.schedule` must be .*'cosine'\. .*`last_lr`"):
        ul.run(ul.pgu(model, retained, split.forget, ul.Recipe(schedule="cosine"), stop=ul.forgotten()))


# The recipe on disk ---------------------------------------------------------------------------------------

KNOWN = ["optimizer", "lr", "momentum", "weight_decay", "batch_size", "epochs", "seed"]  # to version 0.1
FULL = ul.Recipe(
    "adam",
    lr=0.01,
    batch_size=5,
    schedule="cosine",
    schedule_over="chain",
    augment=("flip", "crop"),
    label_smoothing=0.1,
    autocast="bfloat16",
)


def test_a_recipe_goes_to_json_and_back() -> None:

    for recipe in (FULL, ul.Recipe(), ul.Recipe(schedule="one_cycle")):
        assert ul.Recipe(**json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert list(ul.Recipe().to_dict()) == KNOWN
    assert hash(ul.Recipe(augment=["flip"])) == hash(ul.Recipe(augment=("flip",)))  # type: ignore[arg-type]


def test_a_store_opens_with_its_recipe_and_names_the_field_that_differs(tmp_path: Path) -> None:
    recipe = ul.Recipe(batch_size=5, schedule="cosine")
    ul.run(ul.train_chain(tiny_net(), DATA, recipe, 2, tmp_path / "chain"))
    assert ul.run(ul.train_chain(tiny_net(), DATA, recipe, 2, tmp_path / "chain")).recipe == recipe
    with pytest.raises(store.StoreError, match="schedule: stored 'cosine', now 'constant'"):
        ul.run(ul.train_chain(tiny_net(), DATA, ul.Recipe(batch_size=5), 2, tmp_path / "chain"))
    ul.run(ul.record(tiny_net(), DATA, ul.Recipe(), tmp_path / "log", keep=1))
    with pytest.raises(store.StoreError, match=r"another recipe: augment: stored \(\), now \['flip'\]\."):
        next(ul.record(tiny_net(), DATA, ul.Recipe(augment=("flip",)), tmp_path / "log", keep=1))


# Loss and precision ---------------------------------------------------------------------------------------


def test_label_smoothing_is_that_of_torch_in_the_default_loss_alone() -> None:
    recipe = ul.Recipe(lr=0.1, batch_size=40, label_smoothing=0.2)
    ours, theirs = tiny_net(), tiny_net()
    (step,) = train(ours, DATA, recipe)
    loss = nn.functional.cross_entropy(theirs(step.batch.x), step.batch.y, label_smoothing=0.2)
    assert step.loss == loss.item()
    plain = nn.functional.cross_entropy(tiny_net()(step.batch.x), step.batch.y).item()
    assert plain != step.loss
    (own,) = train(tiny_net(), DATA, recipe, loss_fn=lambda m, b: nn.functional.cross_entropy(m(b.x), b.y))
    assert own.loss == plain


def test_autocast_runs_the_forward_pass_in_bfloat16_and_keeps_parameters() -> None:
    seen: list[torch.dtype] = []
    net = tiny_net().float()
    net.register_forward_hook(lambda *parts: seen.append(parts[2].dtype))
    data = ul.Examples.of(DATA.x.float(), DATA.y)
    ul.run(train(net, data, ul.Recipe(lr=0.1, batch_size=10, autocast="bfloat16")))
    assert seen == [torch.bfloat16] * 4
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    ul.run(train(net, data, ul.Recipe(batch_size=40)))
    assert seen[4:] == [torch.float32]
