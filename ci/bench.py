"""Speed as ratios, measured back to back in one process: ``python ci/bench.py loop``.

Each benchmark compares our code with the bare arithmetic it does, alternating the two and taking medians, so
that a busy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

BENCHMARKS: dict[str, Callable[[], None]] = {}


def benchmark(function: Callable[[], None]) -> Callable[[], None]:
    """Register a benchmark under its function's name."""
    BENCHMARKS[function.__name__] = function
    return function


def ratio(
    ours: Callable[[], object], bare: Callable[[], object], rounds: int = 15
) -> tuple[float, float, float]:
    """Median seconds of ours, of the bare version, and the median of their ratios, taken in turn."""
    seconds: list[tuple[float, float]] = []
    ours(), bare()  # warm up
    for turn in range(rounds):
        pair = [0.0, 0.0]
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            (ours, bare)[which]()
            pair[which] = time.perf_counter() - begun
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
    from unlearn_lib.data import Examples

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
