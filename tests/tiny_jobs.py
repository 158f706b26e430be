"""Small jobs for the tests of jobs, where any process can import them."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tests.toys import blobs, tiny_net
from unlearn_lib.train import Recipe, run, train


class Found(NamedTuple):
    """What a job found."""

    weights: Tensor
    share: float
    names: dict[int, list[str]]


def trained(seed: int) -> Found:
    """Train a small net; its last weights."""
    net = tiny_net(seed=seed)
    net.insert(3, torch.nn.Dropout(0.2))  # so that the random stream of the process matters
    run(train(net, blobs(n=30), Recipe(epochs=1, batch_size=5, lr=0.05, seed=seed)))
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    return Found(weights, 1 / (seed + 3), {seed: ["ä", "b"]})


def told(folder: Path, seed: int) -> Found:
    """The same, leaving a file behind."""
    (folder / f"{seed} {uuid.uuid4().hex}").touch()
    return trained(seed)


def fragile(folder: Path, seed: int) -> Found:
    """The same, but the job of seed 2 ends its process with SIGKILL, the first time."""
    if seed == 2 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return told(folder, seed)


def deadly(seed: int) -> Found:
    """The same, but the job of seed 2 ends its process every time."""
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return trained(seed)


def wrong(seed: int, factor: float) -> float:
    """The reciprocal of the seed."""
    return factor / seed


def leaves(seed: int) -> int:
    """Wants to end the process."""
    raise SystemExit(seed)


def waits(folder: Path, seed: int) -> int:
    """Says that it has begun, and takes its time."""
    (folder / f"begun {seed} {os.getpid()}").touch()
    time.sleep(3600 if seed else 0)
    return seed


def threads() -> int:
    """How many threads torch has."""
    return torch.get_num_threads()


def shadow(inside: Tensor, seed: int) -> torch.nn.Module:
    """A shadow model of `blobs(n=12)`, which forgets nothing."""
    net = tiny_net(seed=seed % 100)
    run(train(net, blobs(n=12).where(inside), Recipe(epochs=1, batch_size=3, seed=seed % 100)))
    return net


def runs(folder: Path) -> list[int]:
    """The seeds of the jobs that left a file, repeats included."""
    return sorted(int(path.name.split()[0]) for path in folder.iterdir())


def same_bytes(a: list[Found], b: list[Found]) -> bool:
    """Whether two lists of results are one, byte by byte."""
    return [x.weights.numpy().tobytes() for x in a] == [x.weights.numpy().tobytes() for x in b] and [
        (x.share.hex(), x.names) for x in a
    ] == [(x.share.hex(), x.names) for x in b]
