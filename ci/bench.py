"""Speed as ratios, measured back to back in one process: ``python ci/bench.py loop``.

Each benchmark compares our code with the bare arithmetic it does, alternating the two and taking medians, so
that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from unlearn_lib.data import Examples

BENCHMARKS: dict[str, Callable[[], None]] = {}


def benchmark(function: Callable[[], None]) -> Callable[[], None]:
    """Register a benchmark under its function's name."""
    BENCHMARKS[function.__name__] = function
    return function


def ratio(
    ours: Callable[[], object],
    bare: Callable[[], object],
    rounds: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float, float]:
    """Median seconds of ours, of the bare version, and the median of their ratios, taken in turn.

    `time.process_time` as the clock counts the seconds that a busy machine gave to this process.
    """
    seconds: list[tuple[float, float]] = []
    ours(), bare()  # warm up
    for turn in range(rounds):
        pair = [0.0, 0.0]
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = clock()
            (ours, bare)[which]()
            pair[which] = clock() - begun
        seconds.append((pair[0], pair[1]))
    a, b = (statistics.median(column) for column in zip(*seconds, strict=True))
    return a, b, statistics.median(x / y for x, y in seconds)


def report(name: str, a: float, b: float, r: float) -> None:
    """One line of result."""
    print(f"{name:44} ours {a * 1e3:8.1f} ms   bare {b * 1e3:8.1f} ms   ratio {r:.3f}", flush=True)


@benchmark
def loop() -> None:
    """The training loop against a bare PyTorch loop: same net, same batches, same optimizer."""
    from unlearn_lib import data, models
    from unlearn_lib.train import Recipe, run, train

    cases = [
        ("digits, mlp, batch 64", "digits", "mlp", 64, 10),
        ("digits, small_cnn, batch 64", "digits", "small_cnn", 64, 2),
    ]
    try:
        data.load("mnist")
        cases.append(("mnist, lenet5, batch 128", "mnist", "lenet5", 128, 1))
    except data.DataError as error:
        print(f"mnist skipped: {error}")
    for label, name, net, size, epochs in cases:
        found = data.load(name)
        examples = found.train.head(12_800)
        recipe = Recipe(batch_size=size, epochs=epochs)

        def ours(found=found, examples=examples, net=net, recipe=recipe) -> None:
            run(train(models.build(net, found.shape, 10), examples, recipe))

        def bare(found=found, examples=examples, net=net, recipe=recipe) -> None:
            model = models.build(net, found.shape, 10).train()
            ready = examples.to("cpu")
            optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr)
            for _ in range(recipe.epochs):
                for rows in torch.randperm(len(ready)).split(recipe.batch_size):
                    loss = torch.nn.functional.cross_entropy(model(ready.x[rows]), ready.y[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

        report(label, *ratio(ours, bare))


@benchmark
def scale() -> None:
    """Scaling uint8 images once, when they are moved, against once per batch."""
    from unlearn_lib import data

    def epoch(examples: Examples) -> None:
        for rows in torch.randperm(len(examples)).split(64):
            examples.batch(rows)

    examples = data.load("digits").train
    for epochs in (1, 3):

        def once(epochs=epochs) -> None:
            ready = examples.to("cpu")
            for _ in range(epochs):
                epoch(ready)

        def per_batch(epochs=epochs) -> None:
            for _ in range(epochs):
                epoch(examples)

        report(f"digits, {epochs} epochs: once (ours), per batch", *ratio(once, per_batch))


@benchmark
def amnesiac() -> None:
    """Recording every update at kept share 0.1 against the plain loop; bytes against the formula."""
    import tempfile

    from unlearn_lib import data, models
    from unlearn_lib.methods.amnesiac import Log, record
    from unlearn_lib.train import Recipe, run, train

    cases = [
        ("digits, mlp, batch 16, Adam", "digits", "mlp", 16, 5),
        ("digits, small_cnn, batch 64, Adam", "digits", "small_cnn", 64, 2),
    ]
    try:
        data.load("mnist")
        cases.append(("mnist, lenet5, batch 64, Adam", "mnist", "lenet5", 64, 1))
    except data.DataError as error:
        print(f"mnist skipped: {error}")
    for label, name, net, size, epochs in cases:
        found = data.load(name)
        examples = found.train.head(6_400)
        recipe = Recipe("adam", 3e-3, batch_size=size, epochs=epochs)

        root = tempfile.TemporaryDirectory()

        def ours(found=found, examples=examples, net=net, recipe=recipe, root=root) -> Log:
            folder = tempfile.mkdtemp(dir=root.name)
            return run(record(models.build(net, found.shape, 10), examples, recipe, folder, keep=0.1))

        def bare(found=found, examples=examples, net=net, recipe=recipe) -> None:
            run(train(models.build(net, found.shape, 10), examples, recipe))

        report(label, *ratio(ours, bare))
        log = ours()
        print(
            f"{'':44} updates {log.nbytes:,} bytes, formula {log.expected_nbytes:,}, "
            f"ratio {log.nbytes / log.expected_nbytes:.4f}; with ledger and model {log.folder.nbytes:,}"
        )
        root.cleanup()


@benchmark
def moments() -> None:
    """The moment pass against a forward pass, and against its own arithmetic: that pass and the bare sums."""
    from scipy.linalg.blas import dsyrk
    from threadpoolctl import threadpool_limits

    from unlearn_lib import data, models
    from unlearn_lib.methods.pgu.moments import moments as measure
    from unlearn_lib.methods.pgu.moments import weighted_layers
    from unlearn_lib.train import evaluating

    cases = [("digits", net) for net in ("mlp", "mlp_bn", "small_cnn", "small_cnn_bn")]
    try:
        data.load("mnist")
        cases.append(("mnist", "lenet5"))
    except data.DataError as error:
        print(f"mnist skipped: {error}")
    for name, net in cases:
        found = data.load(name)
        examples, model = found.train.head(2_048), models.build(net, found.shape, 10)

        def forward(model=model, examples=examples) -> None:
            with evaluating(model):
                for start in range(0, len(examples), 256):
                    model(examples.batch(slice(start, start + 256)).x)

        def ours(model=model, examples=examples) -> dict[str, torch.Tensor]:
            return measure(model, examples).layers

        sums = []
        for layer in weighted_layers(model).values():
            D, columns = layer.weight[0].numel(), len(examples) * _places(model, examples, layer)
            width = min(columns, 2**18 // D)  # 2 MiB of float64
            p, M = (torch.randn(size, dtype=torch.float64).numpy().T for size in ([width, D], [D, D]))
            sums += [(p, M)] * (columns // width)

        def bare(forward=forward, sums=sums) -> None:
            forward()
            for p, M in sums:
                dsyrk(1.0, p, 1.0, M, overwrite_c=True)

        with threadpool_limits(torch.get_num_threads()):  # BLAS counts its threads apart from torch
            for what, other in (("forward", forward), ("forward and bare sums", bare)):
                report(f"{name}, {net}: moments, {what}", *ratio(ours, other, 9, time.process_time))


def _places(model: torch.nn.Module, examples: Examples, layer: torch.nn.Module) -> int:
    """How often a sample meets a layer's weight: once, or at every place of the image."""
    shapes: list[torch.Size] = []
    handle = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    model.eval()(examples.batch(slice(2)).x)
    handle.remove()
    return math.prod(shapes[0][2:])


@benchmark
def pgu() -> None:
    """Projected epochs against plain epochs of the same loss."""
    from unlearn_lib import data, models
    from unlearn_lib.methods.pgu import CLASS, GoalRule, Watched, forget_loss
    from unlearn_lib.methods.pgu import pgu as unlearn
    from unlearn_lib.methods.pgu.moments import moments
    from unlearn_lib.methods.pgu.projection import spectra
    from unlearn_lib.train import run, train

    found = data.load("digits")
    forget = found.train.where(found.train.y == 3)
    never = GoalRule(lambda model, forget: Watched(1.0, 0.0), "never")
    for net in ("mlp", "small_cnn", "small_cnn_bn"):
        model = models.build(net, found.shape, 10)
        retained = spectra(moments(model, found.train).without(model, forget))
        recipe = CLASS.but(epochs=20)

        def projected(model=model, retained=retained, recipe=recipe) -> None:
            run(unlearn(model, retained, forget, recipe, stop=never))

        def plain(net=net, recipe=recipe) -> None:
            run(train(models.build(net, found.shape, 10), forget, recipe, loss_fn=forget_loss))

        report(f"digits, {net}: projected epochs, plain", *ratio(projected, plain))


@benchmark
def unsir() -> None:
    """Noise, impair and repair against one training epoch plus the noise's own passes through the net."""
    from unlearn_lib import data, models
    from unlearn_lib.methods.unsir import UnsirRecipe, retain_subset
    from unlearn_lib.methods.unsir import unsir as unlearn
    from unlearn_lib.methods.unsir.noise import objective
    from unlearn_lib.params import clone, frozen_copy
    from unlearn_lib.train import Recipe, run, train

    cases = [("digits", "small_cnn"), ("digits", "small_cnn_bn")]
    try:
        data.load("mnist")
        cases += [("mnist", "lenet5"), ("mnist", "small_cnn_bn")]
    except data.DataError as error:
        print(f"mnist skipped: {error}")
    for name, net in cases:
        found = data.load(name)
        examples = found.train.head(6_400)
        model = models.build(net, found.shape, 10)
        run(train(model, examples, Recipe("adam", 1e-3, epochs=2)))
        retain = retain_subset(examples, [3], 60)
        recipe = UnsirRecipe.suited_to(model)
        ready, y = examples.to("cpu"), torch.full((recipe.images,), 3)

        def ours(model=model, retain=retain, recipe=recipe) -> None:
            run(unlearn(model, [3], retain, recipe))

        def bare(model=model, recipe=recipe, ready=ready, y=y) -> None:
            frozen, student = frozen_copy(model), clone(model).train()
            noise = torch.randn(recipe.images, *ready.x.shape[1:]).requires_grad_()
            for _ in range(recipe.noise_steps):
                objective(frozen, noise, y, recipe.penalty)[0].backward()
            adam = torch.optim.Adam(student.parameters(), lr=1e-3)
            for rows in torch.randperm(len(ready)).split(recipe.batch_size):
                loss = torch.nn.functional.cross_entropy(student(ready.x[rows]), ready.y[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()

        report(f"{name} ({len(examples)}), {net}", *ratio(ours, bare, rounds=5))


def nothing(number: int) -> int:
    """A job that takes no time, so that what is left is the price of sending it."""
    return number


@benchmark
def jobs() -> None:
    """What a job costs beside its work: here, in two processes, on two Dask workers, and kept on disk."""
    import pickle
    import tempfile
    from functools import partial
    from pathlib import Path

    from unlearn_lib import data, models
    from unlearn_lib.contest.ulira import shadow
    from unlearn_lib.data import mix
    from unlearn_lib.jobs import run_jobs
    from unlearn_lib.metrics.lira import plan
    from unlearn_lib.results import key
    from unlearn_lib.train import Recipe

    def seconds(job: Callable[..., object], *columns: object, **where: object) -> tuple[float, float]:
        """Until the first job has ended, and from there on for each."""
        ended = [time.perf_counter()]
        run_jobs(job, *columns, watch=lambda *_: ended.append(time.perf_counter()), **where)
        return ended[1] - ended[0], (ended[-1] - ended[2]) / (len(ended) - 3)

    def tell(name: str, **where: object) -> None:
        """The least of three rounds, which a busy machine disturbs least."""
        begins, empty = map(
            min, zip(*(seconds(nothing, range(1000), **where) for _ in range(3)), strict=True)
        )
        _, model = map(min, zip(*(seconds(job, inside, seeds, **where) for _ in range(3)), strict=True))
        print(f"{name:12} begins in {begins:5.2f} s   an empty job {empty * 1e3:5.2f} ms   ", end="")
        print(f"a shadow model {model:5.2f} s", flush=True)

    found = data.load("digits").train
    candidates, base = found.head(20, seed=0), found.head(400, seed=1)
    build = partial(models.build, "small_cnn", (1, 8, 8), 10)
    recipe = Recipe("adam", lr=0.003, batch_size=16, epochs=15)
    base = base.without(base.ids[torch.isin(base.ids, candidates.ids)])
    job = partial(shadow, {}, base, candidates, base, build, recipe, 1)
    inside, seeds = plan(8, len(candidates)), [mix(0, t) % 2**31 for t in range(8)]
    print(f"a shadow model's job has {len(pickle.dumps((job, inside[0], 0))):,} bytes, ", end="")
    begun = time.perf_counter()
    key(job)
    print(f"its key takes {(time.perf_counter() - begun) * 1e3:.1f} ms")
    tell("here")
    tell("2 processes", workers=2)
    with tempfile.TemporaryDirectory() as folder:
        once, again = (seconds(nothing, range(1000), keep=folder)[1] for _ in range(2))
        print(f"kept: an empty result is written in {once * 1e3:.2f} ms, found in {again * 1e3:.2f} ms")
        run_jobs(job, inside[:1], seeds[:1], keep=Path(folder) / "one")
        size = sum(path.stat().st_size for path in (Path(folder) / "one").rglob("*.safetensors"))
        print(f"kept: the result of a shadow model with {len(candidates)} candidates has {size:,} bytes")
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        print("Dask is missing, so no cluster")
        return
    quiet = {"dashboard_address": None, "silence_logs": "ERROR"}
    with LocalCluster(2, threads_per_worker=1, **quiet) as cluster, Client(cluster) as client:
        tell("Dask, 2", executor=client.get_executor())


@benchmark
def growth() -> None:
    """How fast each operation's time grows with its size: exponents, beside those that it may have."""
    from growth import OPERATIONS, table

    table(OPERATIONS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.names or BENCHMARKS:
        print(f"{name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}")
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
