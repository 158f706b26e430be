"""Stores damaged at random: each must be refused, naming the file, or work exactly as before.

A store that has already forgotten once is damaged: a bit flipped, a digit edited, a file cut short, deleted,
exchanged with another, overwritten by another, by its own earlier state or by the file of another store. Then
it is opened, and forgets again. Right is a `StoreError` that names the file, or the digest of the undamaged
store (where the damaged file is not needed, or is replaced). Anything else has been accepted in silence.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from campaigns import _jobs
from campaigns._jobs import JOBS, run

from unlearn_lib.store import StoreError

Damage = Callable[[random.Random, list[Path], Path, Path], set[str]]


def flip(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """One bit."""
    path = chance.choice(files)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return {path.name}


def digit(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """One digit, of the manifest or, if there is none, of a header."""
    path = next((path for path in files if path.suffix == ".json"), None) or chance.choice(files)
    data = bytearray(path.read_bytes())
    end = len(data) if path.suffix == ".json" else 8 + int.from_bytes(data[:8], "little")
    place = chance.choice([m.start() for m in re.finditer(rb"[0-9]", data[:end]) if m.start() >= 8])
    data[place] = chance.choice([d for d in b"0123456789" if d != data[place]])
    path.write_bytes(data)
    return {path.name}


def truncate(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """Cut short, as by a full disk or a broken download."""
    path = chance.choice(files)
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])
    return {path.name}


def delete(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """Not the manifest: a folder without one is a new folder."""
    path = chance.choice([path for path in files if path.suffix != ".json"])
    path.unlink()
    return {path.name}


def swap(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """Swap two files."""
    a, b = chance.sample([path for path in files if path.suffix != ".json"], 2)
    x, y = a.read_bytes(), b.read_bytes()
    a.write_bytes(y), b.write_bytes(x)
    return {a.name, b.name}


def copy(chance: random.Random, files: list[Path], *_: Path) -> set[str]:
    """One file over another."""
    a, b = chance.sample([path for path in files if path.suffix != ".json"], 2)
    a.write_bytes(b.read_bytes())
    return {a.name}


def stale(chance: random.Random, files: list[Path], earlier: Path, _: Path) -> set[str]:
    """A file from before the request under its current name, or the whole manifest from then."""
    return _foreign(chance, files, earlier)


def foreign(chance: random.Random, files: list[Path], _: Path, other: Path) -> set[str]:
    """A file from another store."""
    return _foreign(chance, files, other)


def _foreign(chance: random.Random, files: list[Path], source: Path) -> set[str]:
    pairs = [(path, found) for path in files for found in source.iterdir() if _stem(path) == _stem(found)]
    changed = [(a, b) for a, b in pairs if a.read_bytes() != b.read_bytes()]
    a, b = chance.choice(changed)
    a.write_bytes(b.read_bytes())
    return {a.name}


def _stem(path: Path) -> str:
    return re.sub(r"([-.]g?\d+)?(-\d+)?\.safetensors$", "", path.name)


DAMAGES: tuple[Damage, ...] = (flip, digit, truncate, delete, swap, copy, stale, foreign)
SINGLE: tuple[Damage, ...] = (flip, digit, truncate)  # of a store that is one file


def main(arguments: list[str]) -> int:
    """Returns 0 if no damage was accepted in silence."""
    parser = argparse.ArgumentParser(prog="campaign.py corruptions", description=__doc__)
    parser.add_argument("--n", type=int, default=266, help="corruptions")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance, counts, requests = random.Random(options.seed), collections.Counter[str](), _jobs.REQUESTS
    with tempfile.TemporaryDirectory() as folder:
        root, wanted = Path(folder), {}
        for name, job in JOBS.items():
            for place, ids in (("earlier", ()), ("now", requests[:1]), ("other", ([7],))):
                _jobs.REQUESTS = ids
                job(root / f"{name} {place}", run)
        _jobs.REQUESTS = requests
        for name in JOBS:
            shutil.copytree(root / f"{name} now", root / f"{name} whole")
            wanted[name] = JOBS[name](root / f"{name} whole", run)
        for number in range(options.n):
            name = list(JOBS)[number % len(JOBS)]
            damage = chance.choice(SINGLE if name == "moments" else DAMAGES)
            place = root / f"damaged {number}"
            shutil.copytree(root / f"{name} now", place)
            files = sorted(path for path in place.iterdir() if path.name != ".lock")
            hurt = damage(chance, files, root / f"{name} earlier", root / f"{name} other")
            what = _outcome(name, place, wanted[name], hurt)
            counts[what.split(":")[0]] += 1
            if what.split(":")[0] not in ("refused", "unharmed"):
                print(f"{number} {name}, {damage.__name__} {sorted(hurt)}: {what:.300}")
            shutil.rmtree(place, ignore_errors=True)
    held = counts["refused"] + counts["unharmed"]
    print(f"{dict(counts)}")
    print(f"tried {options.n}; held {held}; failed {options.n - held}")
    return int(held < options.n)


def _outcome(name: str, folder: Path, wanted: str, hurt: set[str]) -> str:
    try:
        found = JOBS[name](folder, run)
    except StoreError as error:
        named = any(file in str(error) for file in hurt)
        return f"refused: {error}" if named else f"refused without the name: {error}"
    except Exception as error:  # an accident from deep inside
        return f"accident: {type(error).__name__}: {error}"
    return "unharmed" if found == wanted else "accepted in silence"
