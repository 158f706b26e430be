"""Hostile files: pictures and folders that no program should leave behind, and damaged data files.

python ci/campaign.py files --n 300 --seed 0

Each case makes a fresh folder with something wrong in it and loads it. It is held where the result is as if
the trouble were not there, where a warning names it, or where a `DataError` names the file. It has failed
where another error comes out, where the error names nothing, or where the trouble gets into the data in
silence.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import os
import shutil
import signal
import struct
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unlearn_lib.data import DataError, Dataset, load

Case = Callable[[Path, np.random.Generator], str]  # makes the trouble; returns the name it must be called by
LIMIT = 30  # seconds a case
CLASSES, EACH = ("cat", "dog"), 6


def picture(draw: np.random.Generator, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> Image.Image:
    """Noise, different each time."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    values = draw.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return (
        Image.fromarray(values.squeeze(), mode=None)
        if channels < 4
        else Image.frombytes(mode, size, values.tobytes())
    )


def pets(root: Path, draw: np.random.Generator) -> None:
    """A folder with nothing wrong in it."""
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(EACH):
            picture(draw).save(root / name / f"{i}.png")


# What other programs leave: as if it were not there ---------------------------------------------------------


def clutter_folder(root: Path, draw: np.random.Generator) -> str:
    name = draw.choice([".ipynb_checkpoints", ".git", "__MACOSX", ".Trash-1000", "@eaDir", ".thumbnails"])
    where = root / draw.choice(["", "cat", "dog"]) / str(name)
    where.mkdir()
    picture(draw).save(where / "0-checkpoint.png")
    return str(name)


def clutter_file(root: Path, draw: np.random.Generator) -> str:
    name = str(draw.choice([".DS_Store", "Thumbs.db", "._0.png", "desktop.ini", ".hidden.jpg", "notes.txt"]))
    (root / str(draw.choice(CLASSES)) / name).write_bytes(draw.bytes(40))
    return name


def link_to_folder(root: Path, draw: np.random.Generator) -> str:
    target = [root, root / "cat", root / "cat" / "loop", root.parent, Path("/")][draw.integers(5)]
    os.symlink(target, root / str(draw.choice(CLASSES)) / "loop")
    return "loop"


def link_to_class(root: Path, draw: np.random.Generator) -> str:
    os.symlink(root / "cat", root / "loop")
    return "loop"


def link_to_picture(root: Path, draw: np.random.Generator) -> str:
    os.symlink(root / "cat/0.png", root / "cat" / "loop.png")
    return "loop.png"


# Refused, by name -------------------------------------------------------------------------------------------


def two_labels(root: Path, draw: np.random.Generator) -> str:
    os.symlink(root / "cat/0.png", root / "dog" / "loop.png")
    return "loop.png"


def link_to_nothing(root: Path, draw: np.random.Generator) -> str:
    os.symlink(root / "gone.png", root / "cat" / "loop.png")
    return "loop.png"


def cut_off(root: Path, draw: np.random.Generator) -> str:
    ending = str(draw.choice(["png", "jpg", "bmp", "gif", "tif", "webp", "ppm"]))
    data = io.BytesIO()
    picture(draw, size=(64, 64)).resize((16, 16)).save(data, Image.registered_extensions()[f".{ending}"])
    whole = data.getvalue()
    (root / "cat" / f"z.{ending}").write_bytes(whole[: int(draw.integers(0, max(1, len(whole) * 3 // 4)))])
    return f"z.{ending}"


def garbled_png(root: Path, draw: np.random.Generator) -> str:
    path = root / "cat" / "0.png"
    data = bytearray(path.read_bytes())
    data[int(draw.integers(8, len(data) - 12))] ^= int(draw.integers(1, 256))
    path.write_bytes(bytes(data))
    return "0.png"


def no_picture(root: Path, draw: np.random.Generator) -> str:
    content = [
        b"",
        b"<html>404</html>",
        draw.bytes(500),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ]
    (root / "cat" / "z.png").write_bytes(content[draw.integers(4)])
    return "z.png"


def bomb(root: Path, draw: np.random.Generator) -> str:
    side = int(draw.choice([11_000, 30_000, 60_000]))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (root / "cat" / "z.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return "z.png"


def other_size(root: Path, draw: np.random.Generator) -> str:
    size = (int(draw.integers(1, 16)), int(draw.integers(17, 40)))
    picture(draw, size=size).save(root / "dog" / "z.png")
    return "z.png"


def unclear_range(root: Path, draw: np.random.Generator) -> str:
    kind = [np.float32, np.int32][draw.integers(2)]
    Image.fromarray(draw.random((16, 16)).astype(kind)).save(root / "cat" / "z.tif")
    return "z.tif"


def lone(root: Path, draw: np.random.Generator) -> str:
    (root / "one").mkdir()
    picture(draw).save(root / "one" / "0.png")
    return "class one"


def empty_class(root: Path, draw: np.random.Generator) -> str:
    (root / "none").mkdir()
    return "none"


def unlike_classes(root: Path, draw: np.random.Generator) -> str:
    shutil.copytree(root, root / "train")
    for name in CLASSES:
        shutil.rmtree(root / name)
    pets(root / "test", draw)
    (root / "test" / "dog").rename(root / "test" / "mouse")
    return "mouse"


def test_without_labels(root: Path, draw: np.random.Generator) -> str:
    shutil.copytree(root, root / "train")
    for name in CLASSES:
        shutil.rmtree(root / name)
    (root / "test").mkdir()
    picture(draw).save(root / "test" / "0.png")
    return "test"


def pipe(root: Path, draw: np.random.Generator) -> str:
    os.mkfifo(root / "cat" / "z.png")
    return "z.png"


AS_IF_NOT_THERE = [clutter_folder, clutter_file, link_to_folder, link_to_class, link_to_picture]
REFUSED = [two_labels, link_to_nothing, cut_off, garbled_png, no_picture, bomb, other_size, unclear_range]
REFUSED += [lone, empty_class, unlike_classes, test_without_labels, pipe]


# Read correctly ---------------------------------------------------------------------------------------------


def look(draw: np.random.Generator) -> str:
    """A picture of black and white halves in some format and depth; loaded, it must have them too."""
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 255
    kind = str(draw.choice(["exif", "16 bits", "palette", "alpha", "gray", "cmyk", "one bit", "animation"]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, i in itertools.product(CLASSES, range(3)):
            (root / name).mkdir(exist_ok=True)
            path, image = root / name / str(i), Image.fromarray(half)
            if kind == "exif":
                turn = int(draw.integers(1, 9))
                back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[turn]  # Image.Transpose
                exif = Image.Exif()
                exif[0x0112] = turn
                ending = str(draw.choice(["jpg", "png", "tif", "webp"]))
                stored = image.convert("RGB") if back is None else image.convert("RGB").transpose(back)
                stored.save(f"{path}.{ending}", exif=exif, **({"lossless": True} if ending == "webp" else {}))
            elif kind == "16 bits":
                Image.fromarray(half.astype(np.uint16) * 257).save(f"{path}.{draw.choice(['png', 'tif'])}")
            elif kind == "palette":
                image.convert("RGB").quantize(8).save(f"{path}.{draw.choice(['png', 'gif'])}")
            elif kind == "alpha":  # what is transparent has another color below
                below = np.stack([0 * half, 0 * half, 0 * half, 255 - half], -1)
                Image.frombytes("RGBA", (16, 16), below.tobytes()).save(f"{path}.png")
            elif kind == "animation":
                image.save(f"{path}.gif", save_all=True, append_images=[Image.fromarray(255 - half)])
            elif kind == "cmyk":
                image.convert("RGB").convert("CMYK").save(f"{path}.tif")
            else:
                image.convert({"gray": "L", "one bit": "1"}[kind]).save(f"{path}.png")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that all are alike
            x = load("image_folder", root).train.x.float()
    right = x.shape[1:] == (3, 16, 16) and bool((x[:, :, :7] > 250).all() and (x[:, :, 9:] < 5).all())
    return "" if right else f"{kind}: read wrongly"


# Published files --------------------------------------------------------------------------------------------


def mnist_files(root: Path, draw: np.random.Generator, place: str = "MNIST/raw") -> list[Path]:
    """The four files with some made-up images."""
    raw = root / place
    raw.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, n in (("train", 40), ("t10k", 20)):
        x, y = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", x), ("labels-idx1", y)):
            sizes = b"".join(struct.pack(">I", s) for s in values.shape)
            paths.append(raw / f"{part}-{kind}-ubyte.gz")
            paths[-1].write_bytes(
                gzip.compress(struct.pack(">I", 2048 + values.ndim) + sizes + values.tobytes())
            )
    return paths


def published(draw: np.random.Generator) -> str:
    """The files of MNIST, plain or compressed, in one of their places; mostly one of them is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = mnist_files(root, draw, str(draw.choice(["MNIST/raw", "MNIST", "."])))
        if draw.random() < 0.5:
            for i, path in enumerate(paths):
                paths[i] = path.with_suffix("")
                paths[i].write_bytes(gzip.decompress(path.read_bytes()))
                path.unlink()
        victim = paths[draw.integers(4)]
        data = victim.read_bytes()
        harm = str(draw.choice(["none", "cut", "longer", "gone", "garbled head", "empty", "exchanged"]))
        if harm == "gone":
            victim.unlink()
        elif harm == "exchanged":
            other = paths[(paths.index(victim) + 2) % 4]
            victim.write_bytes(other.read_bytes())
        else:
            cut = int(draw.integers(1, len(data)))
            changed = {"none": data, "cut": data[:cut], "longer": data + draw.bytes(9), "empty": b""}
            victim.write_bytes(changed.get(harm, draw.bytes(8) + data[8:]))
        try:
            found = load("mnist", root)
        except DataError as error:
            named = victim.name.removesuffix(".gz") in str(error)
            named |= harm == "exchanged" and "labels" in str(error)
            return "" if harm != "none" and named else f"mnist, {harm}: {error}"
        return "" if harm == "none" and len(found.train) == 40 else f"mnist, {harm}: accepted"


# The campaign -----------------------------------------------------------------------------------------------


def judged(make: Case, draw: np.random.Generator) -> str:
    """What went wrong with this case, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pets"
        pets(root, draw)
        name = make(root, draw)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                found: Dataset = load("image_folder", root)
            except DataError as error:
                return "" if name in str(error) else f"{make.__name__}: refused without its name: {error}"
        if any(name in str(one.message) for one in said):
            return ""
        untouched = len(found.train) + len(found.test) == EACH * len(CLASSES) and found.classes == CLASSES
        return "" if make in AS_IF_NOT_THERE and untouched else f"{make.__name__} ({name}): in silence"


def late(number: int, frame: Any) -> None:
    """Reading a pipe would wait for ever."""
    raise TimeoutError("no answer")


def main(arguments: list[str]) -> int:
    """Run it; 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=300, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(options.seed)
    kinds: list[Any] = [*AS_IF_NOT_THERE, *REFUSED, look, look, look, published, published, published]
    kinds = [kind for kind in kinds if hasattr(os, "mkfifo") or kind is not pipe]
    wrong: Counter[str] = Counter()
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, late)
    for i in range(options.n):
        kind = kinds[i % len(kinds)]
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            said = kind(draw) if kind in (look, published) else judged(kind, draw)
        except Exception as error:  # an accident: what the campaign looks for
            said = f"{kind.__name__}: {type(error).__name__}: {error}"
        if said:
            print(said[:200])
            wrong[kind.__name__] += 1
    failed = sum(wrong.values())
    print(f"tried {options.n}, held {options.n - failed}, failed {failed}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
