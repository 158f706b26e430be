"""How fast an operation's time grows with its size: exponents, fitted on log-log scales.

Each operation says what it is asked for 1, 2, 4 and 8 times as much of, and the exponent that its mathematics
asks for. More than a tenth above that is marked. CPU seconds, so that a busy machine disturbs little.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from unlearn_lib.data import Examples, Split, keyed_order
from unlearn_lib.methods.amnesiac import Log, amnesiac, record
from unlearn_lib.methods.deepobliviate import deepobliviate, train_chain
from unlearn_lib.methods.layers import Layers, random_scores
from unlearn_lib.methods.pgu.moments import moments
from unlearn_lib.methods.pgu.projection import spectrum
from unlearn_lib.methods.sisa import partition, sisa, train_sisa
from unlearn_lib.metrics.lira import Margins, gaussian_klom, lira, plan
from unlearn_lib.metrics.membership import auc, loss_mia
from unlearn_lib.metrics.scorecard import evaluate
from unlearn_lib.models import build
from unlearn_lib.train import Recipe, run, train

SLACK = 0.1
SORT = 1.1  # n log n at these sizes
FACTORS = (1, 2, 4, 8)


class Operation(NamedTuple):
    """What is measured.

    Args:
        what: is done.
        per: the unit of its size.
        least: the smallest size.
        prepare: makes, for a size, what is timed; itself not timed.
        allowed: the exponent that the mathematics asks for.
    """

    what: str
    per: str
    least: int
    prepare: Callable[[int], Callable[[], object]]
    allowed: float = 1.0


def seconds(timed: Callable[[], object], rounds: int = 3) -> float:
    """The median CPU seconds of a call, without Python's searches for garbage, which come when they like."""
    found = []
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        begun = time.process_time()
        timed()
        found.append(time.process_time() - begun)
        gc.enable()
    return statistics.median(found)


def exponent(sizes: list[int], times: list[float]) -> float:
    """The slope of log(time) over log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def table(operations: list[Operation]) -> bool:
    """Measure and print, a line an operation; whether none grows faster than it may."""
    fine = True
    gc.freeze()  # what is imported is no garbage
    warnings.simplefilter("ignore")  # of tiny blocks and shards
    print(f"{'operation':38} {'per':20} {'sizes':>14}   {'first':>9} {'last':>9}   exponent  allowed")
    for what, per, least, prepare, allowed in operations:
        sizes = [least * factor for factor in FACTORS]
        times = [seconds(prepare(size)) for size in sizes]
        found = exponent(sizes, times)
        above = found > allowed + SLACK
        fine &= not above
        first, last = (f"{1e3 * each:6.1f} ms" for each in (times[0], times[-1]))
        mark = "  <- more than it may" if above else ""
        span = f"{sizes[0]}-{sizes[-1]}"
        print(
            f"{what:38} {per:20} {span:>14}   {first} {last}   {found:8.2f}  {allowed:7.1f}{mark}", flush=True
        )
    return fine


# What is measured ---------------------------------------------------------------------------------------


def samples(n: int, width: int = 8) -> Examples:
    """Normal inputs [n, 1, width, 1] of ten classes."""
    x = torch.randn(n, 1, width, 1, generator=torch.Generator().manual_seed(0))
    return Examples.of(x, torch.arange(n) % 10)


def net(width: int = 8, hidden: int = 8) -> nn.Module:
    """A small net for `samples`."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def folder() -> str:
    """A new one, that goes when the process ends."""
    return tempfile.mkdtemp(dir=ROOT.name)


ROOT = tempfile.TemporaryDirectory(prefix="growth")
PLAIN = Recipe(batch_size=2)


def margins(models: int, n: int) -> Margins:
    """Of models that saw half of the candidates each."""
    inside = plan(models, n)
    return Margins(inside + torch.randn(models, n, dtype=torch.float64), inside)


def log_of(updates: int) -> tuple[nn.Module, Log]:
    """Of this many updates, in five epochs."""
    model, data = net(), samples(updates * 2 // 5)
    return model, run(record(model, data, PLAIN.but(epochs=5), folder(), keep=0.1))


def training_a_chain(blocks: int) -> Callable[[], object]:
    data = samples(2 * blocks)
    return lambda: run(train_chain(net(), data, PLAIN, blocks, folder()))


def forgetting_in_a_chain(blocks: int) -> Callable[[], object]:
    chain = run(train_chain(net(), samples(2 * blocks), PLAIN, blocks, folder()))
    return lambda: run(deepobliviate(chain, chain.members[0][:1]))


def training_an_ensemble(shards: int) -> Callable[[], object]:
    data = samples(10 * shards)
    cells = partition(data, shards, 2)
    return lambda: run(train_sisa(net(), data, PLAIN, cells, folder()))


def forgetting_in_an_ensemble(shards: int) -> Callable[[], object]:
    data = samples(10 * shards)
    ensemble = run(train_sisa(net(), data, PLAIN, partition(data, shards, 2), folder()))
    return lambda: run(sisa(ensemble, [0]))


def recording(updates: int) -> Callable[[], object]:
    return lambda: log_of(updates)


def opening_a_log(updates: int) -> Callable[[], object]:
    log = log_of(updates)[1]
    return lambda: Log(log.folder.root)


def reading_a_log(updates: int) -> Callable[[], object]:
    log = log_of(updates)[1]
    return lambda: [entry for entry, *_ in log.stream(log.entries)]


def forgetting_one_of_a_log(updates: int) -> Callable[[], object]:
    ids, (model, log) = iter(range(1000)), log_of(updates)
    return lambda: run(amnesiac(model, [next(ids)], log))


def forgetting_some_of_a_log(touched: int) -> Callable[[], object]:
    model, log = log_of(2000)
    return lambda: run(amnesiac(model, range(touched), log, purge=False))


def attack(shadows: int, n: int) -> Callable[[], object]:
    known, asked = margins(shadows, n), margins(8, n)
    return lambda: lira(known, asked)


def klom(n: int) -> Callable[[], object]:
    ours, theirs = margins(8, n).phi, margins(8, n).phi
    return lambda: gaussian_klom(ours, theirs)


def scorecard(n: int) -> Callable[[], object]:
    split, test = Split.by_class(samples(n), 3), samples(n)
    test = Examples(test.x.flip(0) + 1, test.y, test.ids)
    nets = [build("mlp", (1, 8, 1), 10, seed=seed) for seed in range(3)]
    return lambda: evaluate(nets[0], split, original=nets[1], retrained=nets[2], test=test)


def loss_attack(n: int) -> Callable[[], object]:
    members, others = torch.rand(2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return lambda: loss_mia(members, others)


def ranking(n: int) -> Callable[[], object]:
    members, others = torch.rand(2, n, generator=torch.Generator().manual_seed(0))
    return lambda: auc(members, others)


def dealing(n: int) -> Callable[[], object]:
    data = samples(n, 1)
    return lambda: partition(data, 10, 5)


def choosing(n: int) -> Callable[[], object]:
    data = samples(n, 1)
    return lambda: (data.without(range(0, n, 2)), data.head(n // 2), keyed_order(data.ids, 0))


def training(n: int) -> Callable[[], object]:
    data = samples(n)
    return lambda: run(train(net(), data, Recipe(batch_size=16)))


def training_wide(hidden: int) -> Callable[[], object]:
    data = samples(256, 64)
    return lambda: run(train(net(64, hidden), data, Recipe("adam", batch_size=64)))


def moments_of_samples(n: int) -> Callable[[], object]:
    model, data = net(64), samples(n, 64)
    return lambda: moments(model, data)


def moments_of_width(width: int) -> Callable[[], object]:
    model, data = net(width), samples(1024, width)
    return lambda: moments(model, data)


def eigenvectors(width: int) -> Callable[[], object]:
    p = torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return lambda: spectrum(p @ p.T)


def largest(width: int) -> Callable[[], object]:
    layers = Layers({"w": (width,)})
    scores = random_scores(layers, 0)[None]
    return lambda: layers.top(scores, {"w": 0.1})


OPERATIONS = [
    Operation("training a chain", "block", 15, training_a_chain),
    Operation("forgetting one sample of a chain", "block", 15, forgetting_in_a_chain),
    Operation("training an ensemble", "shard", 8, training_an_ensemble),
    Operation("forgetting one sample of it", "shard", 8, forgetting_in_an_ensemble),
    Operation("recording", "update", 250, recording),
    Operation("opening a log", "update", 1000, opening_a_log),
    Operation("reading a log", "update", 1000, reading_a_log),
    Operation("forgetting one sample of a log", "update", 500, forgetting_one_of_a_log),
    Operation("trying to forget some of a log", "touched sample", 50, forgetting_some_of_a_log),
    Operation("U-LiRA's attack", "candidate", 1000, lambda n: attack(32, n), SORT),
    Operation("U-LiRA's attack", "shadow model", 64, lambda shadows: attack(shadows, 500)),
    Operation("KLoM", "sample", 10_000, klom, SORT),
    Operation("scorecard", "sample", 1000, scorecard),
    Operation("loss attack", "sample", 5000, loss_attack, SORT),
    Operation("AUC", "sample", 20_000, ranking, SORT),
    Operation("dealing into shards and slices", "sample", 10_000, dealing),
    Operation("choosing samples", "sample", 20_000, choosing, SORT),
    Operation("training", "sample", 500, training),
    Operation("training", "hidden unit", 256, training_wide),
    Operation("moments", "sample", 4000, moments_of_samples),
    Operation("moments", "width", 256, moments_of_width, 2),
    Operation("eigenvectors", "width", 100, eigenvectors, 3),
    Operation("the largest entries", "width", 50_000, largest),
]


def main() -> int:
    """Measure every operation, or those whose name holds an argument."""
    torch.set_num_threads(1)
    chosen = [one for one in OPERATIONS if all(word in f"{one.what} {one.per}" for word in sys.argv[1:])]
    return 0 if table(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
