"""Data in memory: `Examples` with stable ids, the `Split` of an unlearning request, and `load(name)`.

At the size of a lesson the whole data set fits in memory, where indexing a tensor is several times faster
than a `DataLoader`. Every sample keeps its `id` through every cut, so that we always know who was in a batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from unlearn_lib import check, files, pictures
from unlearn_lib.check import Ids
from unlearn_lib.files import DataError
from unlearn_lib.gather import gathered

__all__ = [
    "Batch",
    "DataError",
    "Dataset",
    "Examples",
    "Scale",
    "Split",
    "check_examples",
    "is_path",
    "keyed",
    "keyed_order",
    "load",
    "mix",
    "names",
]


_TOKENS = (torch.int64, torch.int32)  # what nets look up


class Batch(NamedTuple):
    """One mini-batch: inputs [b, ...], labels [b], sample ids [b]; or one sample, without the b."""

    x: Tensor
    y: Tensor
    ids: Tensor

    def __repr__(self) -> str:
        if not self.y.ndim:
            return f"Batch(a sample of {list(self.x.shape)}, label {int(self.y)}, id {int(self.ids)})"
        return f"Batch({_samples(self.x)})"

    def split(self, sizes: list[int]) -> Iterator[Batch]:
        """The batch in consecutive parts of these sizes: views, nothing is copied."""
        return map(Batch, *(column.split(sizes) for column in self))


def _samples(x: Tensor) -> str:
    return f"{len(x):,} sample{'s' * (len(x) != 1)} of {list(x.shape[1:])}"


@dataclass(frozen=True)
class Scale:
    """What turns stored integers into network inputs: ``(x - mean) / std``, per channel.

    Args:
        mean: one value per channel, in stored units (0 to 255 for images, 0 to 16 for digits).
        std: one positive value per channel, in stored units.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, interval in (("mean", "(-inf, inf)"), ("std", "(0, inf)")):
            values = check.instance(name, getattr(self, name), (tuple, list))
            found = tuple(check.number(f"{name}[{c}]", value, interval) for c, value in enumerate(values))
            object.__setattr__(self, name, found)
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "`mean` and `std` must have one value per channel each; "
                f"got {len(self.mean)} and {len(self.std)}."
            )

    @classmethod
    def of(cls, x: Shaped[Tensor, "n c *hw"]) -> Scale:
        """The scale that gives `x` mean 0 and standard deviation 1 in each channel."""
        if check.finite("x", x).ndim < 2 or not x.numel():
            raise ValueError(f"`x` must have shape [n, channels, ...] and hold values; got {list(x.shape)}.")
        values = x.transpose(0, 1).flatten(1).to(torch.float64)
        std = values.std(1, correction=0)
        return cls(tuple(values.mean(1).tolist()), tuple(torch.where(std > 0, std, 1.0).tolist()))

    def __call__(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Stored units to network inputs of this dtype."""
        mean, std = self._columns(x, dtype)
        return (x.to(dtype) - mean) / std

    def undo(self, x: Tensor) -> Tensor:
        """Network inputs back to stored units, for display."""
        mean, std = self._columns(x)
        return x * std + mean

    def _columns(self, x: Tensor, dtype: torch.dtype | None = None) -> Iterator[Tensor]:
        dtype = dtype or check.instance("x", x, Tensor).dtype
        shape = (-1, *[1] * (check.instance("x", x, Tensor).ndim - 2))
        if len(self.mean) not in (1, x.shape[1]):
            raise ValueError(
                f"the scale has {len(self.mean)} channels; it does not fit samples of {list(x.shape[1:])}."
            )
        return (torch.tensor(v, dtype=dtype, device=x.device).reshape(shape) for v in (self.mean, self.std))


@dataclass(frozen=True)
class Examples(torch.utils.data.Dataset[Batch]):
    """Labeled samples, frozen.

    Only labels that training and every metric treat alike are accepted: a class, whole and >= 0. A
    `DataLoader` over them gives batches of (x, y, ids).

    Args:
        x: inputs [n, ...]: floating point, finite; uint8 with a `scale`; or token ids in int64 or int32, for
            a net that looks them up, which stay whole numbers.
        y: labels [n], whole and >= 0; of any dtype, kept as int64.
        ids: sample ids [n], whole, unique; of any integer dtype, kept as int64. They survive every cut.
        scale: how stored uint8 values become network inputs; None if `x` is already what the net takes.

    Raises:
        ValueError: lengths differ, a label is not a class, ids repeat, `x` holds a NaN or an infinity, uint8
            has no scale, or `x` is of a type that no net takes.
        TypeError: not tensors.

    Example:
        >>> ul.Examples.of([[0.5, 1.5], [2.5, 3.5]], [0, 1]).ids
        tensor([0, 1])
    """

    x: Shaped[Tensor, "n ..."]
    y: Tensor
    ids: Tensor
    scale: Scale | None = None

    made_by: ClassVar[str] = (
        "`Examples.of_dataset({0})` makes them from a data set, a DataLoader or a pair (x, y)."
    )

    def __post_init__(self) -> None:
        x = check.instance("x", self.x, Tensor, remedy="`Examples.of` also takes arrays and lists.")
        if x.ndim < 2:
            raise ValueError(
                f"`x` must have shape [n, ...], a vector or an image per sample; got {list(x.shape)}."
            )
        if self.scale is not None:
            check.instance("scale", self.scale, Scale)
        y, ids = check.labels(self.y), check.column("ids", self.ids)
        object.__setattr__(self, "y", y.to(x.device))
        object.__setattr__(self, "ids", ids.to(x.device))
        if not len(x) == len(y) == len(ids):
            raise ValueError(f"`x`, `y` and `ids` must be equally long; got {len(x)}, {len(y)}, {len(ids)}.")
        if len(ids.unique()) != len(ids):
            raise ValueError("`ids` must be unique; at least one id occurs twice.")
        if x.dtype == torch.uint8 and self.scale is None:
            raise ValueError(f"`x` of {x.dtype} needs a `scale`, which turns it into network inputs.")
        if not (x.is_floating_point() or self.scale or x.dtype in _TOKENS) or x.dtype.is_complex:
            raise ValueError(
                f"`x` must be floating point, bytes with a `scale`, or token ids in int64; got {x.dtype}."
            )
        if x.is_floating_point() and not x.isfinite().all():
            rows = ~x.flatten(1).isfinite().all(1)
            raise ValueError(
                f"`x` must be finite; {int(rows.sum())} samples are not, the first has id "
                f"{int(self.ids[rows][0])}."
            )

    @classmethod
    def of(cls, x: Any, y: Any, scale: Scale | None = None) -> Examples:
        """Samples numbered 0, 1, 2, ... in the order given; `x` and `y` are tensors, arrays or lists.

        Raises:
            ValueError: as for `Examples`; or `x` are pictures whose channels come last.
        """
        inputs = check.as_tensor("x", x)
        if _channels_come_last(inputs):
            raise ValueError(
                f"`x` must have shape [n, channels, height, width]; got {list(inputs.shape)}. "
                "Write `x.permute(0, 3, 1, 2)`."
            )
        return cls(inputs, check.labels(y), torch.arange(inputs.shape[0] if inputs.ndim else 0), scale)

    @classmethod
    def of_dataset(cls, source: Any, scale: Scale | None = None) -> Examples:
        """Your own data set, read once from first sample to last and numbered 0, 1, 2, ...; a `Subset` anew.

        Its transforms are applied once: what they return at that moment is kept for good. Random augmentation
        would be frozen into the samples, so it causes a warning: pass the data set without it.

        Args:
            source: a data set of pairs (input, label), or of mappings with such a pair: a torch `Dataset`, a
                list, a generator, whatever has `__len__` and `__getitem__` or can be iterated; a
                `DataLoader`, whose order is ignored; or a pair of tensors, arrays or lists. Samples (x, y,
                ids) of `Examples` and `numbered` count as pairs. Inputs are tensors, arrays, lists of numbers
                or PIL images, one per sample, all of one shape; channels come before height and width. Whole
                numbers other than bytes count as token ids and stay as they are. Bytes are scaled: of token
                ids in uint8 make ``x.long()`` first.
            scale: of uint8 inputs; by default the one that gives each channel mean 0 and deviation 1.

        Raises:
            TypeError: `source` is not a data set, its samples are not pairs, or an input is several tensors.
            ValueError: it is empty, its inputs differ in shape or have their channels last, or a label is
                not a class.

        Example:
            >>> mine = torch.utils.data.TensorDataset(torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]))
            >>> len(ul.Examples.of_dataset(mine))
            6
        """
        if isinstance(source, cls):
            return source
        x, y = gathered(source)
        if x.dtype == torch.uint8 and scale is None:
            scale = Scale.of(x)
        return cls.of(x, y, scale)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        classes = len(self.y.unique())
        return f"Examples({_samples(self.x)}, {classes} class{'es' * (classes != 1)})"

    def __getitem__(self, row: int) -> Batch:
        """One sample: its network input, its label, its id."""
        if not 0 <= check.whole("row", row) < len(self):
            raise IndexError(f"`row` must be in 0 ... {len(self) - 1}; got {row}.")
        return Batch(*(column[0] for column in self.batch(slice(row, row + 1))))

    def __add__(self, other: Examples) -> Examples:  # type: ignore[override]  # torch joins data sets loosely
        check_examples("other", other, least=0)
        if self.x.shape[1:] != other.x.shape[1:]:
            raise ValueError(
                "only samples of one shape can be joined; "
                f"got {list(self.x.shape[1:])} and {list(other.x.shape[1:])}."
            )
        if self.scale != other.scale:
            raise ValueError("only samples of one scale can be joined.")
        x, y, ids = (torch.cat([getattr(e, name) for e in (self, other)]) for name in ("x", "y", "ids"))
        return Examples(x, y, ids, self.scale)

    def batch(self, rows: Tensor | slice, dtype: torch.dtype | None = None) -> Batch:
        """The rows as a mini-batch of network inputs of this dtype (see `to`).

        Raises:
            TypeError: `rows` are not row numbers.
            IndexError: there is no such row.
        """
        if not isinstance(rows, Tensor | slice) or (isinstance(rows, Tensor) and rows.is_floating_point()):
            raise TypeError(f"`rows` must be a slice or whole numbers in a tensor; got {check.brief(rows)}.")
        try:
            x = self.x[rows]
        except IndexError as error:
            raise IndexError(f"`rows` must be rows of these {len(self)} samples: {error}") from error
        return Batch(self._inputs(x, dtype), self.y[rows], self.ids[rows])

    def where(self, mask: Any) -> Examples:
        """The samples where `mask` is true, in their order.

        Args:
            mask: one boolean per sample: a tensor, an array or a list.

        Raises:
            ValueError: the mask has the wrong length.
            TypeError: `mask` is not boolean.
        """
        mask = check.mask("mask", mask, len(self)).to(self.ids.device)
        return replace(self, x=self.x[mask], y=self.y[mask], ids=self.ids[mask])

    def select(self, ids: Ids) -> Examples:
        """The samples with these ids, in the order of this set.

        Raises:
            ValueError: an id is not in this set.
            TypeError: these are not ids, but a mask (which is for `where`), a single number or fractions.
        """
        return self.where(self.rows(ids))

    def without(self, ids: Ids) -> Examples:
        """All samples except those with these ids, in the order of this set."""
        return self.where(~self.rows(ids))

    def rows(self, ids: Ids) -> Bool[Tensor, " n"]:
        """True where a sample's id is one of `ids`.

        Raises:
            ValueError: an id is not in this set.
        """
        wanted = check.ids(ids).to(self.ids.device)
        unknown = wanted[~torch.isin(wanted, self.ids)]
        if len(unknown):
            last = len(self) - 1
            in_order = last >= 0 and int(self.ids.min()) == 0 and int(self.ids.max()) == last
            remedy = f" Its ids are 0 ... {last}: `of_dataset` numbers a Subset anew." if in_order else ""
            raise ValueError(
                f"`ids` must be ids of this set of {len(self)} samples; {len(unknown)} are not, "
                f"among them {unknown[:5].tolist()}.{remedy}"
            )
        return torch.isin(self.ids, wanted)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Examples:
        """Network inputs on `device`, scaled once (see `ci/bench.py scale` for why not per batch).

        Args:
            device: to move to.
            dtype: of the inputs, usually that of the net; None leaves floating point as it is and scales
                stored integers to float32. Token ids stay whole numbers.

        Raises:
            ValueError: there is no such device here, or `dtype` is not a floating-point type.
        """
        if dtype is not None and not check.instance("dtype", dtype, torch.dtype).is_floating_point:
            raise ValueError(f"`dtype` must be one of floating point, for network inputs; got {dtype}.")
        x = self._inputs(self.x.to(check.device("device", device)), dtype)
        if x is self.x:
            return self
        return replace(self, x=x, y=self.y.to(device), ids=self.ids.to(device), scale=None)

    def _inputs(self, x: Tensor, dtype: torch.dtype | None) -> Tensor:
        if self.scale:
            return self.scale(x, dtype or torch.float32)
        return x if dtype is None or not x.is_floating_point() else x.to(dtype)

    def head(self, n: int, seed: int = 0) -> Examples:
        """`n` samples with the class shares of the whole, chosen by keyed order; all if there are fewer."""
        if check.whole("n", n, 0) >= len(self):
            return self
        order = keyed_order(self.ids, seed)
        rank = torch.empty(len(self))
        for label in self.y.unique():
            rows = order[self.y[order] == label]
            rank[rows] = (torch.arange(len(rows)) + 0.5) / len(rows)  # every class fills at the same pace
        mask = torch.zeros(len(self), dtype=torch.bool)
        mask[rank.argsort(stable=True)[:n]] = True
        return self.where(mask)


def _channels_come_last(x: Tensor) -> bool:
    """Whether these are surely pictures [n, h, w, channels]; maps of features [n, 64, 3, 3] are not."""
    if x.ndim != 4:
        return False
    _n, h, w, channels = x.shape
    if x.dtype == torch.uint8:
        return channels in (1, 3, 4) and h not in (1, 3, 4)
    return channels == 3 and min(h, w) > 4


def check_examples(name: str, value: Any, *, least: int = 1) -> Examples:
    """The value, if it is `Examples` with at least this many samples.

    Raises:
        TypeError: it is something else.
        ValueError: it has fewer samples.
    """
    found = check.instance(name, value, Examples)
    if len(found) < least:
        wanted = "one sample" if least == 1 else f"{least} samples"
        raise ValueError(f"`{name}` must hold at least {wanted}; got {len(found) or 'none'}.")
    return found


def keyed_order(ids: Int[Tensor, " n"], *key: int) -> Int[Tensor, " n"]:
    """A shuffled order of the rows that survives deletion.

    Every id gets a pseudo-random number computed from the key and the id alone, and the rows are sorted by
    it. So removing ids leaves the relative order of the others unchanged, as no ordinary shuffle does. The
    number is splitmix64 (Steele, Lea, Flood, OOPSLA 2014), a bijection, so there are no ties.
    """
    return torch.from_numpy(np.argsort(keyed(ids, *key))).to(check.instance("ids", ids, Tensor).device)


def keyed(ids: Int[Tensor, " n"], *key: int) -> np.ndarray:
    """A pseudo-random 64-bit number for every id, from the key and the id alone."""
    if check.instance("ids", ids, Tensor).is_floating_point():
        raise TypeError(f"`ids` must be whole numbers; got {check.brief(ids)}.")
    return _splitmix64(ids.cpu().numpy().astype(np.uint64) ^ np.uint64(mix(*key)))


def mix(*key: int) -> int:
    """One 64-bit number from several, for seeding: (0, 1) and (1, 0) give unrelated numbers.

    A part may itself be such a number; larger or negative ones count by their low 64 bits.
    """
    mixed = np.zeros((), np.uint64)
    for part in key:
        mixed = _splitmix64(mixed ^ np.uint64(check.whole("key", part) % 2**64))
    return int(mixed)


def _splitmix64(z: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


@dataclass(frozen=True)
class Split:
    """An unlearning request as two sets: the samples to forget and those to retain.

    Example:
        >>> split = ul.Split.by_class(data, 3)
        >>> len(split.forget) + len(split.retain) == len(data)
        True
    """

    forget: Examples
    retain: Examples

    made_by: ClassVar[str] = "`Split.by_class(data, 3)` and `Split.by_ids(data, ids)` make one."

    def __post_init__(self) -> None:
        for name in ("forget", "retain"):
            if not len(check_examples(name, getattr(self, name), least=0)):
                raise ValueError(f"`{name}` must hold at least one sample; the request leaves it empty.")
        both = self.forget.ids[torch.isin(self.forget.ids.cpu(), self.retain.ids.cpu())]
        if len(both):
            raise ValueError(
                f"`forget` and `retain` must not share a sample; {len(both)} ids are in both, "
                f"among them {both[:5].tolist()}."
            )

    @classmethod
    def by_ids(cls, data: Examples, ids: Ids) -> Split:
        """Forget the samples with these ids.

        Raises:
            ValueError: an id is not in `data`, or one side would be empty.
        """
        mask = check_examples("data", data).rows(ids)
        return cls(data.where(mask), data.where(~mask))

    @classmethod
    def by_class(cls, data: Examples, *classes: int | Ids) -> Split:
        """Forget every sample of these classes: ``by_class(data, 2, 3)`` or ``by_class(data, [2, 3])``.

        Raises:
            ValueError: a class is not in `data`, or one side would be empty.
            TypeError: `classes` are not whole numbers.
        """
        present = check_examples("data", data).y.unique().tolist()
        if len(classes) == 1 and isinstance(classes[0], Iterable) and getattr(classes[0], "ndim", True):
            classes = check.classes(classes[0])
        wanted = check.classes(classes) if classes else ()
        for label in wanted:
            if label not in present:
                raise ValueError(f"`classes` must be among {present}; got {label}.")
        mask = torch.isin(data.y, torch.tensor(wanted, dtype=data.y.dtype, device=data.y.device))
        return cls(data.where(mask), data.where(~mask))


@dataclass(frozen=True)
class Dataset:
    """Training and test samples, the names of the classes, and where they came from.

    Raises:
        ValueError: there is no sample, a label has no name, or samples differ in shape.
        TypeError: a part is not `Examples`, or a name is not a string.

    Example:
        >>> ul.Dataset("mine", data, test, tuple("0123456789"), "handwriting").shape
        (1, 8, 8)
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        check.fields(self)
        object.__setattr__(self, "classes", tuple(self.classes))
        for part in ("train", "test"):
            top = int(check_examples(part, getattr(self, part)).y.max())
            if top >= len(self.classes):
                raise ValueError(f"`classes` must name every label; {part} has {top}, got {self.classes}.")
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            shapes = [list(part.x.shape[1:]) for part in (self.train, self.test)]
            raise ValueError(f"`train` and `test` must hold samples of one shape; got {shapes}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, such as (1, 8, 8)."""
        return tuple(self.train.x.shape[1:])


def load(
    name: str | Path, root: str | Path | None = None, *, download: bool = False, size: int | None = None
) -> Dataset:
    """Load a data set by name; only `download=True` may use the network.

    Args:
        name: one of `names()`, or the path of a folder of images, short for ``load("image_folder", path)``.
            "digits" (8x8 handwritten digits) comes with scikit-learn.
        root: folder of the files; default `$UNLEARN_DATA`, else `~/.cache/unlearn_lib`. For "image_folder",
            a folder with one folder of images per class, or with `train` and `test` folders of that kind; see
            `pictures.read`.
        download: fetch missing files through torchvision.
        size: of the pictures of "image_folder". None requires them to have one size; a number scales them to
            `size` x `size`, unless they have one size and no side is longer than that.

    Returns:
        Training samples with ids 0 ... n-1, and test samples numbered likewise.

    Raises:
        DataError: the name is unknown, or files are missing or damaged; the message says which files, where
            it looked, and how to get them.
        ValueError: both a path and a `root` are given, or `size` is out of range.

    Example:
        >>> len(ul.load("digits").classes)
        10
    """
    check.flag("download", download)
    if size is not None:
        check.whole("size", size, 1, 4096)
    if is_path(name):
        if root is not None:
            raise ValueError(f"`root` must be None where `name` is itself a path; got {check.brief(root)}.")
        name, root = "image_folder", name
    if not isinstance(name, str) or name not in names():
        raise DataError(
            f"`name` must be one of {', '.join(names())}, or the path of a folder of images; got {name!r}."
        )
    given = root if root is not None else os.environ.get("UNLEARN_DATA")
    folder = check.path("root", given or Path.home() / ".cache" / "unlearn_lib").expanduser()
    if name == "image_folder":
        return _image_folder(name, folder.absolute(), size)
    return _digits(name) if name == "digits" else _published(name, folder, download)


def names() -> list[str]:
    """The data sets that `load` knows."""
    return ["digits", *_TORCHVISION, "location30", "image_folder"]


def is_path(name: Any) -> bool:
    """Whether `load` reads this as the path of a folder of images."""
    if isinstance(name, str) and name in names():
        return False
    return isinstance(name, Path) or (
        isinstance(name, str) and ("/" in name or os.sep in name or os.path.isdir(name))
    )


def _digits(name: str) -> Dataset:
    library = find_spec("sklearn")  # its file is enough: to import the library takes a second
    assert library
    assert library.origin
    table = np.loadtxt(Path(library.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    found = torch.from_numpy(table.astype(np.uint8))
    x, y = found[:, :-1].reshape(-1, 1, 8, 8), found[:, -1].long()
    source = "scikit-learn's optical digits, real handwriting, embedded (no download)"
    return _held_out(name, x, y, tuple("0123456789"), source)


def _location30(name: str, root: Path) -> Dataset:
    path = root / "location30" / "location30.npz"
    if not path.is_file():
        raise DataError(
            f"location30 is missing: looked for {path}. Set UNLEARN_DATA to a folder that holds "
            "location30/location30.npz with arrays x [5010, 446] of 0/1 and y [5010] of 0..29; "
            "there is no download (README, section Data)."
        )
    x, y = files.location30(path)
    return _held_out(name, x, y, tuple(f"profile {k}" for k in range(30)), str(path), Scale((0.0,), (1.0,)))


_TORCHVISION = {  # name -> torchvision's class, and its files
    "mnist": ("MNIST", "MNIST/raw/*-ubyte or *-ubyte.gz (4 files)"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST/raw/*-ubyte or *-ubyte.gz (4 files)"),
    "svhn": ("SVHN", "train_32x32.mat, test_32x32.mat (2 files)"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py/ (7 files) or cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "cifar-100-python/ (3 files) or cifar-100-python.tar.gz"),
}


def _published(name: str, root: Path, download: bool) -> Dataset:
    if name == "location30":
        return _location30(name, root)
    from torchvision import datasets

    known, needed = _TORCHVISION[name]
    published = getattr(datasets, known)

    def read() -> files.Arrays:
        if name in ("mnist", "fashion_mnist"):
            return files.mnist(name, root, published)
        return files.svhn(root, published) if name == "svhn" else files.cifar(root, published)

    try:
        try:
            found = read()
        except files.MissingError:
            if not download:
                raise
            for part in ("train", "test"):
                published(str(root), download=True, **({"split": part} if name == "svhn" else {}))
            found = read()
    except Exception as error:  # a download can fail in a dozen ways
        raise DataError(
            f"{name} is missing or damaged: {error}. Looked in {root}: set UNLEARN_DATA to a folder that has "
            f'{needed}, or call load("{name}", download=True) once online.'
        ) from error
    scale = Scale.of(found.x[:10_000])
    train, test = Examples.of(found.x, found.y, scale), Examples.of(found.x_test, found.y_test, scale)
    return Dataset(name, train, test, found.classes, str(root))


def _image_folder(name: str, root: Path, size: int | None) -> Dataset:
    found = pictures.read(root, size)
    source = f"{root}, scaled to {size}x{size}" if found.scaled else str(root)
    train, test = found.train, found.test
    if test is None:
        train, test = _fifths(train, found.classes, root)
    copies = pictures.copies(train, test)
    if copies:
        (one, other), n = copies[0], len(copies)
        check.warn(
            f"{n} test picture{'s are' if n > 1 else ' is'} in the training set too, such as {one}, which is "
            f"{other}: tests of memorization mean little on them."
        )
    scale = Scale.of(train.x)
    return Dataset(
        name, Examples.of(train.x, train.y, scale), Examples.of(test.x, test.y, scale), found.classes, source
    )


def _fifths(
    whole: pictures.Pictures, classes: tuple[str, ...], root: Path
) -> tuple[pictures.Pictures, pictures.Pictures]:
    """A fifth of every class for testing, at least one picture; the same on every machine."""
    ids, test = torch.arange(len(whole.y)), torch.zeros(len(whole.y), dtype=torch.bool)
    for label, name in enumerate(classes):
        mine = keyed_order(ids[whole.y == label], 0)
        if len(mine) < 2:
            raise DataError(
                f"class {name} in {root} has only one picture: it needs one for training and one for testing."
            )
        test[ids[whole.y == label][mine[: math.ceil(0.2 * len(mine))]]] = True
    return whole.where(~test), whole.where(test)


def _held_out(
    name: str,
    x: Tensor,
    y: Tensor,
    classes: tuple[str, ...],
    source: str,
    scale: Scale | None = None,
    share: float = 0.2,
) -> Dataset:
    """For data without an official split: the test set is the same stratified fifth on every machine."""
    whole = Examples.of(x, y, scale or Scale.of(x))
    test = whole.head(math.ceil(share * len(whole)), seed=0)
    train = whole.without(test.ids)
    return Dataset(
        name,
        Examples.of(train.x, train.y, whole.scale),
        Examples.of(test.x, test.y, whole.scale),
        classes,
        source,
    )
