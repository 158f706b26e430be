"""Samples as small pictures, and a grid of them to choose from."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.check import Ids
from unlearn_lib.classroom.assets import asset
from unlearn_lib.classroom.charts import View, dollars
from unlearn_lib.classroom.words import amount
from unlearn_lib.data import Examples, check_examples

__all__ = ["Thumbnails", "image_array", "image_url", "top_of"]


def image_array(x: Tensor, top: float) -> np.ndarray:
    """One sample as an image of bytes, `top` being full intensity; one channel is drawn as dark ink.

    A sample that is not an image, such as Location-30's 446 bits, is folded into a square.
    """
    check.number("top", top, "(0, inf)")
    values = check.finite("x", x).detach().cpu().double().numpy()
    if values.ndim == 1:
        side = math.ceil(math.sqrt(len(values)))
        values = np.pad(values, (0, side * side - len(values))).reshape(1, side, side)
    scaled = (255 * np.clip(values / top, 0, 1)).round().astype(np.uint8)
    return 255 - scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)


def image_url(x: Tensor, top: float) -> str:
    """One sample as a data URL: a PNG inside its own address."""
    buffer = io.BytesIO()
    Image.fromarray(image_array(x, top)).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def top_of(examples: Examples) -> float:
    """Full intensity: 255 for photographs, 16 for the digits."""
    return max(float(check_examples("examples", examples).x.max()), 1e-9)


class Thumbnails(anywidget.AnyWidget):
    """A grid of buttons with the samples' pictures; `value` holds the ids of those pressed.

    Args:
        examples: what to choose from, in this order; keep it to a hundred or two.
        description: name of the control.
        classes: names of the classes, for the labels.
        value: ids that are chosen at the start.
        multiple: False lets a click replace the choice.
        label: what a screen reader says of a picture.

    Raises:
        ValueError: there is no sample, a label has no name, or a choice is not among the samples.
        TypeError: a choice that is not made of ids, such as a mask.
    """

    description = traitlets.Unicode("").tag(sync=True)
    images: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    labels: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ids: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    value: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    multiple = traitlets.Bool(True).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    _esm = asset("thumbnails.js")
    _css = asset("thumbnails.css")

    def __init__(
        self,
        examples: Examples,
        description: str,
        classes: Sequence[str],
        *,
        value: Ids = (),
        multiple: bool = True,
        label: str = "sample {id}, class {name}",
        **traits: Any,
    ) -> None:
        check.flag("multiple", multiple)
        check.text("description", description), check.fit("classes", classes, Sequence[str])
        try:
            check.text("label", label).format(id=0, name="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"`label` must be a text with {{id}} and {{name}} alone; got {label!r}."
            ) from error
        self.classes, self.label = classes, label
        super().__init__(description=description, multiple=multiple, **traits)
        self.show(examples)
        examples.rows(value)
        self.value = check.column("value", value).tolist()

    def show(self, examples: Examples) -> None:
        """Offer these samples instead; chosen ones that are not among them are dropped."""
        top, self.examples = top_of(examples), examples
        if (most := int(examples.y.max())) >= len(self.classes):
            raise ValueError(f"`classes` must name every label; the samples have {most}, got {self.classes}.")
        ids, labels = examples.ids.tolist(), [self.classes[int(k)] for k in examples.y]
        with self.hold_sync():
            self.ids, self.labels = ids, labels
            self.names = [self.label.format(id=i, name=k) for i, k in zip(ids, labels, strict=True)]
            self.images = [image_url(x, top) for x in examples.x]
            self.value = [i for i in self.value if i in set(ids)]

    @traitlets.validate("value")
    def _among(self, proposal: dict[str, Any]) -> list[int]:
        """Ids of the samples shown, not a mask, whether set by the page or from Python."""
        try:
            self.examples.rows(proposal["value"])
        except (TypeError, ValueError) as error:  # what traitlets raises for a value that a trait cannot have
            raise traitlets.TraitError(str(error)) from error
        return list(map(int, proposal["value"]))

    @classmethod
    def of_classes(
        cls, examples: Examples, description: str, classes: Sequence[str], value: Ids, **traits: Any
    ) -> Thumbnails:
        """One picture per class, for choosing classes: `value` holds their numbers."""
        numbers = torch.arange(len(classes))
        present = set(check_examples("examples", examples).y.tolist())
        if missing := [name for k, name in enumerate(classes) if k not in present]:
            raise ValueError(f"`classes` must have a sample each; there is none of {missing}.")
        rows = [int((examples.y == k).nonzero()[0, 0]) for k in numbers]
        samples = Examples(examples.x[rows], numbers, numbers, examples.scale)
        return cls(samples, description, classes, value=value, label="class {name}", **traits)

    def view(self) -> View:
        """The grid as a picture, for a page without a front end."""
        from matplotlib.figure import Figure

        shown, columns, top = min(len(self.ids), 60), 20, top_of(self.examples)
        rows = math.ceil(shown / columns)
        figure = Figure(figsize=(9, 0.72 * rows), layout="constrained")
        ax = figure.subplots()
        ax.axis("off")
        for place in range(shown):
            y, x = divmod(place, columns)
            pixels = image_array(self.examples.x[place], top)
            box = (x - 0.38, x + 0.38, y + 0.4, y - 0.28)
            ax.imshow(
                pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=box, aspect="auto"
            )
            mark = "✓ " if self.ids[place] in self.value else ""
            ax.text(x, y - 0.32, dollars(mark + self.labels[place]), fontsize=7, ha="center", va="bottom")
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.55, -0.65))
        chosen = [name for i, name in zip(self.ids, self.names, strict=True) if i in self.value]
        alt = f"{self.description}: {amount(shown, 'picture')}, {len(chosen)} of them chosen."
        return View(figure, alt, {"chosen": "; ".join(chosen) or "none"})
