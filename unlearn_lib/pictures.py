"""A folder of everyday pictures as one array: upright, in color, with eight bits and one size.

What other programs leave in a folder is skipped; what cannot be used is named. Files are only read.
"""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.files import DataError

__all__ = ["Folder", "Pictures", "copies", "read"]

# None that Pillow would pass to another program (EPS).
FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
ENDINGS: tuple[str, ...] = (
    "png",
    "apng",
    "jpg",
    "jpeg",
    "jpe",
    "jfif",
    "mpo",
    "bmp",
    "dib",
    "gif",
    "webp",
    "tif",
    "tiff",
)
ENDINGS += ("ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "avif")
# Besides everything whose name begins with a dot: .git, .ipynb_checkpoints, .DS_Store, ._0.png.
CLUTTER = frozenset({"__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
CLUTTER |= {"@eadir", "$recycle.bin", "system volume information", "lost+found"}
VALIDATION = frozenset({"val", "valid", "validation", "dev"})
MOST_PIXELS = 100_000_000  # of one picture; no photograph has more
MOST_BYTES = 2**31  # of all pictures, in memory
UPRIGHT = {  # EXIF orientation -> what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Pictures(NamedTuple):
    """Pictures `x` uint8 [n, 3, height, width], their classes `y` [n], and their files `paths`."""

    x: Tensor
    y: Tensor
    paths: list[Path]

    def where(self, mask: Tensor) -> Pictures:
        """Those for which `mask` [n] is true."""
        paths = [path for path, wanted in zip(self.paths, mask.tolist(), strict=True) if wanted]
        return Pictures(self.x[mask], self.y[mask], paths)


@dataclass(frozen=True)
class Folder:
    """What `read` found.

    Args:
        train: the training pictures; all pictures if there is no folder `test`.
        test: the pictures in the folder `test`; None if there is no such folder.
        classes: names of the class folders, sorted.
        scaled: whether pictures were scaled to one size.
    """

    train: Pictures
    test: Pictures | None
    classes: tuple[str, ...]
    scaled: bool


def read(root: Path, size: int | None = None) -> Folder:
    """The pictures of a folder with one folder per class, or with `train` and `test` folders of that kind.

    Pictures in deeper folders count for their class. All become RGB: gray, palettes and CMYK are converted,
    16 bits are scaled to 8, transparent parts become white, and EXIF's orientation is applied. Animations
    count with their first frame.

    Skipped silently: hidden files and folders, and what other programs leave (`__MACOSX`, `Thumbs.db`).
    Skipped with a warning: files whose ending is not that of a picture, pictures outside the class folders,
    links to folders (they may lead anywhere, even in circles), and a second link to one picture.

    Args:
        root: the folder.
        size: None requires pictures of one size. With a number, pictures are cut to squares and scaled to
            `size` x `size`, unless they have one size and no side is longer than that.

    Raises:
        DataError: there are fewer than two classes, a class has no pictures, train and test have different
            classes, there are several sizes, the pictures do not fit into memory, or one cannot be read. The
            message names the file.
    """
    left_out, root = _LeftOut(), check.path("root", root)
    if size is not None:
        check.whole("size", size, 1)
    try:
        parts, classes = _survey(root, left_out)
    except OSError as error:
        raise DataError(
            f"{_name(error.filename or root)} cannot be read: {error.strerror or error}"
        ) from error
    with _strict():
        found = _decode(root, parts, classes, left_out, size)
    left_out.say()
    return found


def copies(train: Pictures, test: Pictures) -> list[tuple[str, str]]:
    """The test pictures that are also training pictures, pixel by pixel: the files of each pair."""
    check.instance("train", train, Pictures), check.instance("test", test, Pictures)
    known = {_content(x): path for x, path in zip(train.x, train.paths, strict=True)}
    pairs = ((path, known.get(_content(x))) for x, path in zip(test.x, test.paths, strict=True))
    return [(_name(path), _name(other)) for path, other in pairs if other]


def _content(x: Tensor) -> bytes:
    return hashlib.sha256(x.numpy().tobytes()).digest()


# Which files ------------------------------------------------------------------------------------------------


@dataclass
class _LeftOut:
    """What is not used, by reason; one warning at the end tells it all."""

    reasons: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        self.reasons.setdefault(reason, []).append(path)

    def say(self) -> None:
        parts = [f"{reason}: {_some(paths)}" for reason, paths in self.reasons.items()]
        if parts:
            check.warn("; ".join(parts))


Part = dict[str, list[Path]]  # class -> files
Seen = dict[str, tuple[Path, str]]  # where a file really lies -> its first path, and in which class folder


def _survey(root: Path, left_out: _LeftOut) -> tuple[list[Part], tuple[str, ...]]:
    """The files of each class, in one part or in train and test, and the names of the classes."""
    if not os.path.isdir(root):
        raise DataError(
            f"image_folder needs one folder of images per class in {root}: there is no such folder."
        )
    folders = [path for path, is_folder in _entries(root, left_out) if is_folder]
    split = [path for part in ("train", "test") for path in folders if path.name.casefold() == part]
    nested = [path for path in split if any(is_folder for _, is_folder in _entries(path, _LeftOut()))]
    others = [path for path in folders if path not in split]
    if nested and (len(split) > 1 or all(path.name.casefold() in VALIDATION for path in others)):
        if len(nested) < 2:
            raise DataError(
                f"{root} has class folders in {_name(nested[0].name)} only: train and test must both have "
                f"them. Or name {_name(nested[0])} as the folder to hold out a fifth of it for testing."
            )
        for path in others:
            left_out.add("folders beside train and test, which are not used", path)
        seen: Seen = {}
        return (parts := [_classes(path, left_out, seen) for path in split]), _agreed(root, parts)
    return (parts := [_classes(root, left_out, {})]), _agreed(root, parts)


def _classes(root: Path, left_out: _LeftOut, seen: Seen) -> Part:
    found: Part = {}
    for path, is_folder in _entries(root, left_out):
        if is_folder:
            found[path.name] = list(_files(path, str(path), left_out, seen))
        elif _is_picture(path):
            left_out.add("pictures outside the class folders, which have no label", path)
    return found


def _agreed(root: Path, parts: list[Part]) -> tuple[str, ...]:
    """The names of the classes: those with pictures, the same in train and test."""
    for part in parts:
        if empty := [name for name, files in part.items() if not files]:
            raise DataError(
                f"class {', '.join(map(_name, empty))} in {root} has no picture "
                f"({', '.join(ENDINGS)}): put some there, or delete the folder."
            )
    one, *others = (tuple(sorted(part)) for part in parts)
    for other in others:
        if one != other:
            trained, tested = (
                ", ".join(_name(c) for c in a if c not in b) or "none"
                for a, b in ((one, other), (other, one))
            )
            raise DataError(
                f"{root}: train and test must have the same classes; only in train: {trained}, only in test: "
                f"{tested}."
            )
    if len(one) < 2:
        found, remedy = "none", ""
        if one:
            found, inside = f"only {_name(one[0])}", _name(root / one[0])
            remedy = f" If your classes are the folders in there, name {inside} as the folder."
        raise DataError(
            f"image_folder needs one folder of images per class in {root}, for two classes or more; found "
            f"{found}.{remedy}"
        )
    return one


def _files(folder: Path, label: str, left_out: _LeftOut, seen: Seen) -> Iterator[Path]:
    """The pictures in a folder and below, sorted; each file once, however many links lead to it."""
    for path, is_folder in _entries(folder, left_out):
        if is_folder:
            yield from _files(path, label, left_out, seen)
        elif not _is_picture(path):
            left_out.add("files whose ending is not that of a picture", path)
        elif not stat.S_ISREG(path.stat().st_mode):  # a missing target is an error here, with its name
            raise DataError(f"{_name(path)} is not a file.")
        else:
            first, where = seen.setdefault(os.path.realpath(path), (path, label))
            if first is path:
                yield path
            elif where == label:
                left_out.add("second links to a picture", path)
            else:
                raise DataError(
                    f"{_name(path)} and {_name(first)} are one picture: it can have only one label."
                )


def _entries(folder: Path, left_out: _LeftOut) -> list[tuple[Path, bool]]:
    """What is in a folder, sorted, and whether it is a folder; without clutter and links to folders."""
    found = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith(".") or entry.name.casefold() in CLUTTER:
                continue
            is_folder = entry.is_dir()
            if is_folder and (entry.is_symlink() or getattr(entry, "is_junction", bool)()):
                left_out.add("links to folders, which are not followed", Path(entry.path))
                continue
            found.append((Path(entry.path), is_folder))
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.casefold().removeprefix(".") in ENDINGS


# What is in them --------------------------------------------------------------------------------------------


def _decode(
    root: Path, parts: list[Part], classes: tuple[str, ...], left_out: _LeftOut, size: int | None
) -> Folder:
    files = [(path, y) for part in parts for y, name in enumerate(classes) for path in part[name]]
    shapes: dict[tuple[int, int], list[Path]] = {}  # height and width -> files
    as_they_are, scaled = list[np.ndarray](), list[np.ndarray]()
    for path, _ in files:
        picture, animated = _upright(path)
        if animated:
            left_out.add("animations, which count with their first frame", path)
        height, width = picture.height, picture.width
        shapes.setdefault((height, width), []).append(path)
        if size is None and 3 * height * width * len(files) > MOST_BYTES:
            raise DataError(
                f"{_name(path)} has {width}x{height} pixels; {len(files):,} such pictures do not fit into "
                f"memory. {_REMEDY}"
            )
        if len(shapes) == 1 and (size is None or max(height, width) <= size):
            as_they_are.append(np.asarray(picture))
        if size is not None:
            scaled.append(np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)))
    if size is None and len(shapes) > 1:
        listed = [f"{w}x{h} ({len(some)}, such as {_name(some[0])})" for (h, w), some in shapes.items()]
        more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
        raise DataError(
            f"the images in {root} must have one size; found {', '.join(listed[:4])}{more}. {_REMEDY}"
        )
    whole = len(as_they_are) == len(files)
    x = torch.from_numpy(np.stack(as_they_are if whole else scaled)).permute(0, 3, 1, 2).contiguous()
    y, paths = torch.tensor([label for _, label in files]), [path for path, _ in files]
    n = sum(map(len, parts[0].values()))
    train, test = Pictures(x[:n], y[:n], paths[:n]), Pictures(x[n:], y[n:], paths[n:])
    return Folder(train, test if len(parts) > 1 else None, tuple(map(_name, classes)), not whole)


_REMEDY = 'load("image_folder", root, size=32) cuts them to squares and scales them to 32x32.'


def _upright(path: Path) -> tuple[Image.Image, bool]:
    """The picture as RGB, the right way up; and whether it is the first frame of an animation."""
    try:
        formats = [name for name in FORMATS if name in Image.OPEN]
        with Image.open(path, formats=formats) as image:
            if image.format == "PNG":
                image.verify()  # its checksums; a broken one would give wrong pixels
        with Image.open(path, formats=formats) as image:
            animated = image.format != "MPO" and getattr(image, "is_animated", False)  # phones write MPO
            image.load()
            turn = UPRIGHT.get(image.getexif().get(0x0112, 1))
            picture = rgb(image)
            return picture if turn is None else picture.transpose(turn), bool(animated)
    except UnidentifiedImageError as error:
        raise DataError(f"{_name(path)} is not a picture, or of a kind that cannot be read here.") from error
    except Exception as error:  # Pillow raises a dozen kinds of errors for a damaged file
        raise DataError(
            f"{_name(path)} cannot be read as a picture: {error or type(error).__name__}"
        ) from error


def rgb(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel, on white paper where it is transparent.

    Raises:
        ValueError: its values have 32 bits, and nothing says which of them is white.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        bits = getattr(image, "tag_v2", {}).get(258, 16)  # a TIFF may have 12
        top = 2 ** (bits[0] if isinstance(bits, tuple) else bits) - 1
        values = np.asarray(image).astype(np.float64) / top
        if getattr(image, "tag_v2", {}).get(262) == 0:  # a TIFF may count from white
            values = 1 - values
        image = Image.fromarray(np.clip(255 * values + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits and no range that tells what is white; save it with 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


@contextmanager
def _strict() -> Iterator[None]:
    """Pillow refuses what is cut off or huge, whatever its settings, and gives no warnings."""
    Image.init()  # or Pillow knows only a few formats until it meets another
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    try:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MOST_PIXELS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _name(path: Path | str) -> str:
    """A name that can be printed, whatever bytes it has on disk."""
    return os.fsencode(path).decode("utf-8", "replace")


def _some(paths: list[Path]) -> str:
    shown = ", ".join(map(_name, paths[:3]))
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
