"""A lesson as one object: its sizes for each data set, what it needs of the data, what its last cell asserts.

`lessons/NAME/sizes.py` makes it, and `session.begin` takes it. On data on which nobody measured the lesson,
such as a folder of yours, it gets the sizes of the data that are most alike, cut down to fit what is there:
the number of samples, of all and of each class, and the shape of one. These sizes promise nothing, because
nobody knows how well a method forgets there. So the last cell asserts only what must hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from torch import Tensor

from unlearn_lib import check, data, models
from unlearn_lib.data import Dataset
from unlearn_lib.train import Recipe

__all__ = ["FOLDER_PIXELS", "MOST_PIXELS", "CommonSizes", "Lesson", "Needs", "Presets", "Room"]

FOLDER_PIXELS = 32  # a side, of images of a folder that are larger
MOST_PIXELS = 64  # a side: the nets of the lessons are made for small images
MOST_FEATURES = 10_000
SMALL = 12  # pixels a side below which LeNet-5 has nothing to look at
PUBLISHED = {"digits": 1_437, "mnist": 60_000, "cifar10": 50_000, "location30": 4_008}  # training samples
LIKE = {"fashion_mnist": "mnist", "svhn": "cifar10", "cifar100": "cifar10", "location30": "digits"}
LIKE |= {"image_folder": "cifar10"}

T = TypeVar("T")
L = TypeVar("L")


@dataclass(frozen=True, kw_only=True)
class CommonSizes:
    """What every lesson sizes; each adds fields of its own.

    Args:
        model: a name for `models.build`.
        train: number of training samples; None means all.
        test: number of test samples; None means all.
        recipe: how to train; the session puts its seed in.
    """

    model: str
    train: int | None = None
    test: int | None = None
    recipe: Recipe

    def __post_init__(self) -> None:
        check.choice("model", self.model, models.MODELS)
        check.instance("recipe", self.recipe, Recipe)


S = TypeVar("S", bound=CommonSizes)


@dataclass(frozen=True, kw_only=True)
class Presets(Generic[T]):
    """One for each preset: sizes of a lesson, or limits of its last cell.

    Args:
        quick: runs in CI in seconds.
        lesson: runs in a classroom on two cores.
        full: gives the figures quoted in the README.
        full_on_cuda: on a GPU, in place of `full`.
    """

    quick: T
    lesson: T
    full: T
    full_on_cuda: T | None = None

    @classmethod
    def alike(cls, one: T) -> Presets[T]:
        """The same for every preset."""
        return cls(quick=one, lesson=one, full=one)

    def at(self, preset: str, *, cuda: bool = False) -> T:
        """The one of this preset.

        Raises:
            ValueError: there is no such preset.
        """
        check.choice("preset", preset, ("quick", "lesson", "full"))
        found: T = getattr(self, preset)
        return self.full_on_cuda if cuda and preset == "full" and self.full_on_cuda is not None else found


@dataclass(frozen=True, kw_only=True)
class Needs:
    """How many training samples a lesson needs.

    Args:
        samples: in all, at least.
        each: of each class, at least.
        wanted: of each class, where there are so many: a preset that has fewer samples is raised to them.
        classes: how many, at least.
    """

    samples: int
    each: int
    wanted: int
    classes: int = 3

    def __post_init__(self) -> None:
        check.fields(self)


@dataclass(frozen=True)
class Room:
    """What the data leave room for.

    Args:
        n: number of training samples.
        counts: how many of each class there is, in no order.
        shape: of one sample.
    """

    n: int
    counts: Tensor
    shape: tuple[int, ...]

    def net(self, name: str) -> str:
        """The net of this name, or one that can take such samples."""
        normed = name.endswith("_bn") or name == "resnet18"
        if len(self.shape) == 1:
            return "mlp_bn" if normed else "mlp"
        if min(self.shape[1:]) < SMALL and name.startswith("lenet5"):
            return "small_cnn"
        return name

    def noise(self, amount: float) -> float:
        """Noise to add to images; vectors have details enough of their own."""
        return 0.0 if len(self.shape) == 1 else amount


@dataclass(frozen=True, kw_only=True)
class Lesson(Generic[S, L]):
    """A lesson.

    Args:
        name: that of its shelf, `lessons/NAME`.
        sizes: by the data sets on which it was measured.
        small: a size that takes seconds: all that the lesson shows is there, but nothing is forgotten well.
        needs: how many samples it needs.
        fit: what else depends on the data: ``fit(sizes, room)`` gets sizes with a net, numbers of samples and
            a batch size that fit, and makes those of the lesson fit as well.
        defaults: the parameters of its notebook that decide results, with the values at which the limits
            hold, beside seed 0.
        limits: thresholds that its last cell asserts at the defaults, by data set.
        no_limits: such as promise nothing.
    """

    name: str
    sizes: Mapping[str, Presets[S]]
    small: S
    needs: Needs
    fit: Callable[[S, Room], S]
    defaults: Mapping[str, Any]
    limits: Mapping[str, Presets[L]]
    no_limits: L

    def __post_init__(self) -> None:
        check.text("name", self.name)
        check.function("fit", self.fit)
        check.choice("sizes", "digits", self.sizes, remedy="They come without a download.")

    @check.arguments
    def measured(self, dataset: Dataset) -> bool:
        """Whether the sizes were measured on these data, all of them."""
        return dataset.name in self.sizes and len(dataset.train) == PUBLISHED[dataset.name]

    def presets(self, name: str) -> Presets[S]:
        """The sizes for this data set, or those for the one that is most like it.

        Raises:
            ValueError: it is none of `data.names()`.
        """
        check.choice("name", name, data.names())
        return self.sizes.get(name) or self.sizes[LIKE[name]]

    @check.arguments
    def sizes_for(self, dataset: Dataset, preset: str, *, cuda: bool = False) -> S:
        """The sizes as they are where they were measured, else made to fit the data.

        Args:
            dataset: all of it.
            preset: "quick", "lesson" or "full".
            cuda: whether it runs on a GPU.

        Raises:
            ValueError: the data are too few or too large for this lesson; says what it needs.
        """
        if self.measured(dataset):
            return self.presets(dataset.name).at(preset, cuda=cuda)
        sizes = self.presets(self._alike(dataset)).at(preset)
        counts = self._checked(dataset)
        n = len(dataset.train)
        if sizes.train:
            n = min(n, max(sizes.train, self.needs.wanted * len(counts)))
        left = dataset.train.head(n).y.bincount()
        room = Room(n, left[left > 0], dataset.shape)
        fitting = replace(
            sizes,
            model=room.net(sizes.model),
            train=n,
            test=min(sizes.test or sys.maxsize, len(dataset.test)),
            recipe=sizes.recipe.but(batch_size=max(2, min(sizes.recipe.batch_size, n // 12))),
        )
        return self.fit(fitting, room)

    @check.arguments
    def limits_for(self, dataset: Dataset, preset: str, *, cuda: bool = False) -> L:
        """The limits as they were measured; such as promise nothing where they were not."""
        found = self.limits.get(dataset.name) if self.measured(dataset) else None
        return found.at(preset, cuda=cuda) if found else self.no_limits

    def _alike(self, dataset: Dataset) -> str:
        """The data set with presets that is most like this one."""
        if len(dataset.shape) == 1:
            return "location30"
        if min(dataset.shape[1:]) < SMALL:
            return "digits"
        if dataset.name in {*self.sizes, *LIKE} - {"image_folder"}:
            return dataset.name
        return "mnist" if dataset.shape[0] == 1 else "cifar10"

    def _checked(self, dataset: Dataset) -> Tensor:
        """The number of training samples of each class there is, where they suffice for this lesson."""
        shape, needs = dataset.shape, self.needs
        if len(shape) not in (1, 3):
            raise ValueError(
                f"`dataset` must hold images or vectors; one sample of {dataset.name} has {list(shape)}."
            )
        if len(shape) == 1 and shape[0] > MOST_FEATURES:
            raise ValueError(
                f"`dataset` must hold vectors of at most {MOST_FEATURES:,} values in the lessons; "
                f"those of {dataset.name} have {shape[0]:,}."
            )
        if max(shape) > MOST_PIXELS and len(shape) == 3:
            raise ValueError(
                f"`dataset` must hold images of at most {MOST_PIXELS}x{MOST_PIXELS} pixels in the lessons, "
                f"whose nets are small; those of {dataset.name} have {shape[2]}x{shape[1]}."
            )
        counts = dataset.train.y.bincount(minlength=len(dataset.classes))
        tested = dataset.test.y.bincount(minlength=len(dataset.classes))
        present = counts > 0
        if int(present.sum()) < needs.classes:
            raise ValueError(
                f"`dataset` must have at least {needs.classes} classes in this lesson"
                f"{', for one of them is to be forgotten' if needs.classes > 2 else ''}; {dataset.name} has "
                f"{int(present.sum())}."
            )
        if len(dataset.train) < needs.samples or bool(
            (present & ((counts < needs.each) | (tested < 2))).any()
        ):
            raise ValueError(
                f"`dataset` must have at least {needs.samples} training samples in this lesson, {needs.each} "
                f"of each class, and 2 test samples of each; {dataset.name} has {len(dataset.train)}, in its "
                f"smallest class {int(counts[present].min())}, and for testing "
                f"{int(tested[present].min())} of some class."
            )
        return counts[present]
