"""What every lesson begins with, `begin`, and how it shows pictures and records results.

A notebook cell holds neither sizes nor switches: the sizes stand on the shelf of the lesson, and the one
switch between a live notebook and a run without a front end is `HEADLESS`.
"""

from __future__ import annotations

import atexit
import base64
import html
import io
import json
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeGuard

import torch
from IPython.display import display
from plotly.basedatatypes import BaseFigure
from torch import nn

from unlearn_lib import check, data, models
from unlearn_lib.classroom.charts import STILL_TYPES, View, still
from unlearn_lib.classroom.lesson import FOLDER_PIXELS, L, Lesson, S
from unlearn_lib.classroom.versions import versions_in_words
from unlearn_lib.data import Dataset
from unlearn_lib.metrics.table import escaped
from unlearn_lib.store import Folder, StoreError
from unlearn_lib.train import Recipe, pick_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HEADLESS", "RESULT_MIME", "Counter", "Session", "begin", "picture", "record", "show", "tell"]

HEADLESS = os.environ.get("UNLEARN_HEADLESS") == "1"
RESULT_MIME = "application/vnd.unlearn.result+json"
PLOTLY_MIME = "application/vnd.plotly.v1+json"
MAX_THREADS = {"quick": 1, "lesson": 1, "full": 4}  # small nets lose time to a second thread


@dataclass(frozen=True, kw_only=True)
class Session(Generic[S, L]):
    """What `begin` set up: pass its parts on, never change them.

    Args:
        lesson: which one.
        preset: "quick", "lesson" or "full".
        sizes: of this lesson, preset and data set: ``session.sizes.blocks``.
        limits: what its last cell may assert, where it is `tuned`.
        recipe: how to train, with the seed of this session.
        dataset: cut to the sizes of the preset; ids stay those of the whole set.
        device: where to compute.
        seed: of weights, order and choice.
        folder: an empty temporary folder for stores; removed when Python ends.
        measured: whether the sizes were tried on these data; where not, they promise nothing.
    """

    lesson: Lesson[S, L]
    preset: str
    sizes: S
    limits: L
    recipe: Recipe
    dataset: Dataset
    device: torch.device
    seed: int
    folder: Path
    measured: bool = True

    def build(self, seed: int | None = None) -> nn.Module:
        """A fresh, untrained model: the same weights at every call, unless another seed is given."""
        shape, classes = self.dataset.shape, len(self.dataset.classes)
        seed = self.seed if seed is None else seed
        return models.build(self.sizes.model, shape, classes, seed=seed, device=self.device)

    def classes(self, value: Any, name: str = "forget_class", *, most: int | None = None) -> list[int]:
        """The classes to forget, checked against the data before anything is trained.

        Args:
            value: the number of one class, or of several.
            name: of the parameter.
            most: as many as this lesson can take; None: as many as leave two.

        Returns:
            Each once, in the order given.

        Raises:
            TypeError: not whole numbers.
            ValueError: none; too many; one that the data do not have, or have no sample of.
        """
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        found = check.classes(value if several else [check.whole(name, value)], name)
        known = self.dataset.classes
        listed = ", ".join(c if c[:1] == str(i) else f"{i} ({c})" for i, c in enumerate(known[:12]))
        for one in found:
            if not 0 <= one < len(known):
                raise ValueError(
                    f"`{name}` must be in 0 ... {len(known) - 1}; got {one}. The classes of "
                    f"{self.dataset.name} are {listed}{', ...' if len(known) > 12 else ''}."
                )
            for part in ("train", "test"):
                if not bool((getattr(self.dataset, part).y == one).any()):
                    raise ValueError(
                        f"`{name}` must be a class with samples; {self.dataset.name} has no {part} sample of "
                        f"class {one} at preset {self.preset}. Take another class, or a larger preset."
                    )
        if most is not None and len(found) > most:
            raise ValueError(
                f"`{name}` must be {'one class' if most == 1 else f'at most {most} classes'} in this "
                f"lesson; got {list(found)}. Other lessons take several."
            )
        if len(found) > len(known) - 2:
            raise ValueError(
                f"`{name}` must leave at least two classes, or there is nothing to tell apart; got "
                f"{list(found)} of {len(known)}."
            )
        return list(found)

    def output(self, value: Any, name: str = "export") -> Path:
        """The folder that results go to, made if need be; the temporary one where the value is empty.

        Raises:
            TypeError: no path.
            ValueError: nothing can be written there.
        """
        if value == "":
            return self.folder
        folder = check.path(name, value).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(
                f"`{name}` must be a folder to write into; got {folder}: {error.strerror}."
            ) from error
        return folder

    def tuned(self, **given: Any) -> bool:
        """Are these the parameters that the sizes were chosen and measured with: seed 0 and the defaults?

        What the last cell of a lesson asserts there is a regression test; elsewhere it asserts only what must
        hold.
        """
        return self.measured and self.seed == 0 and given == self.lesson.defaults


def begin(
    lesson: Lesson[S, L],
    *,
    preset: Any = "lesson",
    dataset: Any = "digits",
    seed: Any = 0,
    device: str | None = None,
    root: str | Path | None = None,
) -> Session[S, L]:
    """Set up a lesson, and say on screen with what: versions, device, preset, sizes, source of the data.

    Sets torch's number of threads (one; at preset "full" `OMP_NUM_THREADS`, never more than four) and nothing
    else: no random stream is seeded, for training owns its randomness. Never downloads. In Google Colab it
    switches third-party widgets on, which Colab demands (untested there).

    Args:
        lesson: the `LESSON` of a shelf, such as that of `unlearn_lib.lessons.unsir`.
        preset: "quick", "lesson" or "full".
        dataset: one of `data.names()`, or the path of a folder of images, with one folder a class. Where this
            lesson was never measured on these data, its sizes are derived from them (see `Lesson`); images
            of a folder that are larger than 32x32, or of several sizes, are scaled to 32x32.
        seed: a whole number, zero or more.
        device: "cpu", "cuda" or "mps"; None picks the best there is.
        root: folder of the data; default `$UNLEARN_DATA` (see `data.load`).

    Raises:
        ValueError: no such preset or data set (the message lists the right ones), no such device, `seed` out
            of its range, or the data are too few or too large for this lesson.
        TypeError: `lesson` is no lesson, or `seed` no whole number.
        DataError: the files of the data set are missing or damaged.
    """
    check.instance("lesson", lesson, Lesson)
    if not data.is_path(dataset):
        _choose("dataset", dataset, data.names(), "; or the path of a folder of images")
    _choose("preset", preset, MAX_THREADS)
    seed = check.whole("seed", seed, 0, 2**31 - 1)  # scikit-learn takes little more
    where = pick_device(device)
    whole = data.load(dataset, root, size=FOLDER_PIXELS)
    on_gpu = where.type == "cuda"
    sizes = lesson.sizes_for(whole, preset, cuda=on_gpu)
    torch.set_num_threads(min(MAX_THREADS[preset], torch.get_num_threads()))
    if "google.colab" in sys.modules:
        sys.modules["google.colab"].output.enable_custom_widget_manager()
    train, test = (
        part.head(n or sys.maxsize) for part, n in ((whole.train, sizes.train), (whole.test, sizes.test))
    )
    session = Session(
        lesson=lesson,
        preset=preset,
        sizes=sizes,
        limits=lesson.limits_for(whole, preset, cuda=on_gpu),
        recipe=sizes.recipe.but(seed=seed),
        dataset=replace(whole, train=train, test=test),
        device=where,
        seed=seed,
        folder=_temporary_folder(),
        measured=lesson.measured(whole),
    )
    sys.stdout.write(_summary(session) + "\n")
    return session


def _temporary_folder() -> Path:
    """An empty folder of this process, removed when it ends; of processes that were killed, by the next one.

    What a living process uses is locked by it, and so left alone; so is what belongs to another user, and
    whatever else has such a name.
    """
    for old in Path(tempfile.gettempdir()).glob("unlearn-session-*"):
        with suppress(OSError, StoreError):
            status, lock = old.lstat(), (old / ".lock").lstat()
            mine = not hasattr(os, "getuid") or status.st_uid == lock.st_uid == os.getuid()
            ours = stat.S_ISDIR(status.st_mode) and {p.name for p in old.iterdir()} <= {".lock", "stores"}
            if mine and ours:
                with Folder(old).locked(take_over=False) as held:
                    dead = held.writable
                if dead:
                    shutil.rmtree(old, ignore_errors=True)
    folder = Folder(tempfile.mkdtemp(prefix="unlearn-session-"))
    alive = ExitStack()
    alive.enter_context(folder.locked())
    atexit.register(shutil.rmtree, folder.root, ignore_errors=True)
    atexit.register(alive.close)
    stores = folder / "stores"
    stores.mkdir(mode=0o700)
    return stores


def _choose(name: str, value: Any, among: Collection[str], more: str = "") -> None:
    if not isinstance(value, str) or value not in among:
        raise ValueError(f"`{name}` must be one of {', '.join(among)}{more}; got {value!r}.")


def _summary(session: Session[S, L]) -> str:
    found, recipe = session.dataset, session.recipe
    names = [f.name for f in fields(session.sizes) if f.name not in ("train", "test", "recipe", "tuned")]
    sizes = [f"{name} {getattr(session.sizes, name)}" for name in names]
    shape = "x".join(map(str, found.shape))
    counts = f"{len(found.train):,} training and {len(found.test):,} test samples of {shape}"
    return "\n".join(
        [
            f"versions: {versions_in_words()}",
            f"device:   {session.device}, {torch.get_num_threads()} thread(s), seed {session.seed}",
            f"preset:   {session.preset}{'' if session.measured else ', fitted to these data'}: "
            f"{', '.join(sizes)}; "
            f"{recipe.optimizer} with step {recipe.lr}, batch {recipe.batch_size}, epochs {recipe.epochs}",
            f"data:     {found.name}, {counts}; {found.source}",
        ]
    )


def show(fig: View | Figure | BaseFigure, *, alt: str | None = None) -> None:
    """Display a figure with an alternative text that survives in JupyterLab and in HTML pages.

    A plotly figure stays interactive in a live notebook; headless it becomes a picture (see `picture`).

    Args:
        fig: a matplotlib or plotly figure, or a `View`, which brings its own text.
        alt: what there is to see, in more than 15 characters; for those who cannot see the figure.

    Raises:
        ValueError: `alt` is too short, or missing.
        TypeError: `fig` is no figure.
    """
    if isinstance(fig, View):
        alt = alt or fig.alt
        fig = fig.figure
    bundle = live(fig, alt) if isinstance(fig, BaseFigure) and not HEADLESS else picture(fig, alt)
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
    if "matplotlib.pyplot" in sys.modules and _of_matplotlib(fig):
        sys.modules["matplotlib.pyplot"].close(fig)  # or the cell's end would show it again, without alt


@check.arguments
def tell(*found: str) -> None:
    """Say what the run showed, as prose between the cells: paragraphs from `lesson.findings`."""
    text = "\n\n".join(found)
    display({"text/markdown": text, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]


class Counter:
    """A line on screen that counts: ``counter(3, 33, "SISA")``; the last call stays."""

    def __init__(self) -> None:
        self.line = display({"text/plain": "0"}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    @check.arguments
    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Show how many of how many are done."""
        check.whole("done", done, 0, total)
        words = f"{done} of {total}" + (f": {what}" if what and done < total else " done" * (done == total))
        if self.line is not None:  # there is a front end
            self.line.update({"text/plain": words}, raw=True)


def _of_matplotlib(fig: Any) -> TypeGuard[Figure]:
    """Whether matplotlib made this figure; where it was never imported, it did not."""
    return "matplotlib.figure" in sys.modules and isinstance(fig, sys.modules["matplotlib.figure"].Figure)


def live(fig: BaseFigure, alt: str | None) -> dict[str, Any]:
    """The live form of a plotly figure.

    No image/png in it: JupyterLab would show that, without alt text, until the mouse enters it. And no mode
    bar: one of its buttons would send the chart away.
    """
    chart = {**json.loads(fig.to_json()), "config": {"displayModeBar": False}}
    return {PLOTLY_MIME: chart, "text/plain": _checked(alt)}


def picture(fig: Figure | BaseFigure, alt: str | None) -> dict[str, str]:
    """The static form of a figure: a bundle of HTML with alternative text, PNG and plain text.

    A plotly figure is drawn again by `charts.still`; one that it does not know needs kaleido and a browser,
    and without them the text and a note take its place.

    Raises:
        ValueError: `alt` has 15 characters or fewer.
        TypeError: `fig` is no figure.
    """
    alt = _checked(alt)
    text = html.escape(alt, quote=True)
    if isinstance(fig, BaseFigure) and {trace.type for trace in fig.data} <= STILL_TYPES:
        fig = still(fig)
    if _of_matplotlib(fig):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100, facecolor="white")
        png = buffer.getvalue()
    elif isinstance(fig, BaseFigure):
        try:
            png = fig.to_image("png")
        except Exception as error:  # no kaleido, no browser, or one that does not answer: many kinds
            note = f"No picture of this chart: {type(error).__name__}. It is drawn in a live notebook."
            caption = f"<figcaption>{escaped(alt)}<br>{html.escape(note)}</figcaption>"
            return {"text/html": f"<figure>{caption}</figure>", "text/plain": f"{alt} ({note})"}
    else:
        raise TypeError(f"`fig` must be a matplotlib or plotly figure; got {type(fig).__name__}.")
    code = base64.b64encode(png).decode()
    image = f'<img alt="{text}" src="data:image/png;base64,{code}">'
    return {
        "text/html": f"<figure>{image}<figcaption>{escaped(alt)}</figcaption></figure>",
        "image/png": code,
        "text/plain": alt,
    }


def _checked(alt: str | None) -> str:
    if not isinstance(alt, str) or len(alt.strip()) <= 15:
        raise ValueError(f"`alt` must tell in more than 15 characters what there is to see; got {alt!r}.")
    return alt


def record(name: str, **values: Any) -> None:
    """Show a result, and hand it to the runner, which collects it as ``name.key`` in its report.

    Args:
        name: "prediction.*", "exercise.*" (with `status`), or the name of a measurement, such as "accuracy".
        values: numbers, words, truth values, or lists and dicts of them; tensors and arrays become lists.

    Raises:
        ValueError: no name, no values, or a number that is not finite.
        TypeError: a value that JSON does not know.
    """
    if not check.instance("name", name, str) or not values:
        raise ValueError(f"`record` needs a name and at least one value; got {name!r} and {values}.")
    plain = {key: _plain(f"{name}.{key}", value) for key, value in values.items()}
    words = (
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in plain.items()
    )
    bundle = {RESULT_MIME: {"name": name, "values": plain}, "text/plain": f"{name}: {', '.join(words)}"}
    display(bundle, raw=True)  # type: ignore[no-untyped-call]


def _plain(name: str, value: Any) -> Any:
    """The value as JSON knows it."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"`{name}` must be finite; got {value}.")
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if callable(getattr(value, "tolist", None)):  # tensors, arrays and their scalars
        return _plain(name, value.tolist())
    raise TypeError(
        f"`{name}` must be a number, a word, or lists and dicts of them; got {type(value).__name__}."
    )
