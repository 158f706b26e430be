"""What the campaigns do to stores: jobs that can be stopped at any moment and started again.

``job(folder, drive) -> digest`` trains, forgets and commits in a folder; started again it goes on where it
was. However often it was stopped, the digest of what it leaves is that of one undisturbed run.
"""

from __future__ import annotations

import functools
import hashlib
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_lib import models
from unlearn_lib.data import Examples
from unlearn_lib.methods.amnesiac import Log, amnesiac, record
from unlearn_lib.methods.deepobliviate import method as chains
from unlearn_lib.methods.deepobliviate import train_chain
from unlearn_lib.methods.deepobliviate.chain import cut_into_blocks
from unlearn_lib.methods.pgu.moments import load_moments, moments, save_moments
from unlearn_lib.methods.sisa import method as shards
from unlearn_lib.params import snapshot
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import Recipe, Step, run, train

__all__ = ["JOBS", "Drive", "digest", "loop", "run", "slowly"]

Drive = Callable[[Generator[Step, None, Any]], Any]
Job = Callable[[Path, Drive], str]

torch.set_num_threads(1)
warnings.simplefilter("ignore")


def blobs(n: int = 120, classes: int = 3, features: int = 5) -> Examples:
    """Gaussian blobs in float64."""
    stream = torch.Generator().manual_seed(0)
    centers = 3 * torch.randn(classes, features, generator=stream, dtype=torch.float64)
    y = torch.arange(n) % classes
    return Examples.of(centers[y] + torch.randn(n, features, generator=stream, dtype=torch.float64), y)


def net() -> nn.Module:
    """A net with dropout, so that the random stream matters."""
    model = models.build("mlp", (5,), 3, seed=0).double()
    model.insert(3, nn.Dropout(0.2))  # type: ignore[operator]
    return model


DATA, RECIPE = blobs(), Recipe(epochs=2, batch_size=5, lr=0.05, momentum=0.5)
BLOCKS = cut_into_blocks(DATA, 8, RECIPE.seed)
REQUESTS: tuple[list[int], ...] = (BLOCKS[2][:2].tolist(), BLOCKS[5][:1].tolist())
STOP = {ids[0]: stop for ids, stop in zip(REQUESTS, (5, 8), strict=True)}  # the last block retrained


def slowly(steps: Generator[Step, None, Any]) -> Any:
    """Run with a pause after each step, in which to be killed."""
    return run(steps, [lambda _: time.sleep(0.002)])


def loop(steps: Generator[Step, None, Any]) -> Any:
    """Step through a run as a notebook's ``for`` does: a stop here leaves it suspended."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        time.sleep(0.0005)


def digest(*parts: Any) -> str:
    """A digest of tensors by name, or of what `repr` gives."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict) and all(isinstance(value, Tensor) for value in part.values()):
            for name in sorted(part):
                total.update(name.encode() + part[name].detach().cpu().contiguous().numpy().tobytes())
        else:
            total.update(repr(part).encode())
    return total.hexdigest()[:16]


def _of_stages(found: Any) -> str:
    return digest(
        *(found.state(k) for k in range(found.blocks + 1)), [block.tolist() for block in found.members]
    )


def chain(folder: Path, drive: Drive) -> str:
    """Train a chain, and let it forget twice."""

    def opened() -> Any:
        return drive(train_chain(net(), DATA, RECIPE, 8, Folder(folder)))

    for ids in REQUESTS:
        found = opened()
        if not set(ids) <= set(found.forgotten):
            done = drive(chains.deepobliviate(found, ids, stop_block=STOP.get(ids[0], 8)))
            found.commit(done.trace)
    return _of_stages(opened())


def ensemble(folder: Path, drive: Drive) -> str:
    """Train a SISA ensemble, and let it forget twice."""

    def opened() -> Any:
        cells = shards.partition(DATA, 3, 3)
        return drive(shards.train_sisa(net(), DATA, RECIPE.but(epochs=3), cells, Folder(folder)))

    for ids in REQUESTS:
        found = opened()
        if not set(ids) <= set(found.forgotten):
            found.commit(drive(shards.sisa(found, ids)).trace)
    return _of_stages(opened())


@functools.cache
def trained() -> nn.Module:
    """The net of the log and of the moments."""
    model = net()
    run(train(model, DATA, RECIPE))
    return model


def log(folder: Path, drive: Drive) -> str:
    """Record a training run, then undo and purge two requests."""
    try:
        found = Log(folder)
    except StoreError as error:
        if "`record` makes one" not in str(error):
            raise
        found = drive(record(net(), DATA, RECIPE, folder, keep=0.3))
    for ids in REQUESTS:
        drive(amnesiac(trained(), ids, found))
    found = Log(folder)
    values = [(entry.key, entry.ids, entry.undone, entry.file is None) for entry in found.entries]
    stored = [digest({"S": S, "U": U}) for _, S, U in found.stream(found.entries)]
    return digest(snapshot(found.current(trained())), values, stored)


def sums(folder: Path, drive: Drive) -> str:
    """Measure moments, then subtract two requests."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "moments.safetensors"
    if not path.exists():
        save_moments(path, moments(trained(), DATA, batch_size=7))
    for ids in REQUESTS:
        found = load_moments(path)
        if set(ids) & set(found.ids.tolist()):
            save_moments(path, found.without(trained(), DATA.select(ids), batch_size=3))
    found = load_moments(path)
    return digest(found.layers, found.ids.tolist(), found.model)


JOBS: dict[str, Job] = {"chain": chain, "ensemble": ensemble, "log": log, "moments": sums}


def work(name: str, folder: Path) -> None:
    """A process to be killed from outside."""
    JOBS[name](folder, slowly)
