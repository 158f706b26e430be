"""What every lesson begins with, `start`, and how it shows pictures and records results.

A notebook cell holds neither sizes nor switches: the sizes of every lesson stand in `PRESETS`, and the one
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
import platform
import shutil
import sys
import tempfile
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from IPython.display import display
from matplotlib.figure import Figure
from plotly.basedatatypes import BaseFigure
from torch import nn

from unlearn_lib import data, models
from unlearn_lib.data import Dataset
from unlearn_lib.lesson.charts import STILL_TYPES, View, still
from unlearn_lib.train import Recipe, pick_device

__all__ = ["HEADLESS", "PRESETS", "RESULT_MIME", "Session", "picture", "record", "show", "start"]

HEADLESS = os.environ.get("UNLEARN_HEADLESS") == "1"
RESULT_MIME = "application/vnd.unlearn.result+json"
PLOTLY_MIME = "application/vnd.plotly.v1+json"
MAX_THREADS = {"quick": 1, "lesson": 1, "full": 4}  # small nets lose time to a second thread

# Sizes by lesson, data set and preset: quick runs in CI in seconds, lesson in a classroom on two cores,
# full gives the figures quoted in the text. `train` and `test` are numbers of samples, None means all.
# Lesson 00: `points` in the plane, some `mislabeled`; `noise` added to images, `forget` of them, `poisoned`
# ones with a mark; `tuning` epochs, `seeds` of retrained models.
# Lesson 01: `forget` samples out of block `block`; `poisoned` samples in block `poisoned_block`.
# Lesson 03: the class stands in `batches` of every epoch; `seeds` repeat a claim; `sgd`, `flip`, `ascent` are
# learning rates; one of `shares` moves in a partial step, `steps` at most.
# Lesson 02: `normed` is the net with batch norm; `per_class` retain images; `recipe_changes` of UNSIR;
# `rates` and `penalties` of the grid, `runs` (seeds) of the contest, `modes` of the published bug; `kept` is
# what the no-noise control must keep (without and with batch norm), `gap` that of Gaussian noise to UNSIR,
# `limits` the most forget accuracy and the most loss of retain accuracy (likewise; 1: nothing is promised:
# on a subset of CIFAR-10 the class returns with batch norm, and ResNet-18 has not been measured).
# Lesson 05: `noise` added to the inputs; of `train` samples `validation` decide when to stop, `forget` and
# `poisoned` are to go; `seeds` of every contestant; U-LiRA: `shadows`, `base`, `candidates`.
# Lesson 04: `noise` added to the inputs; `step` is the learning rate of unlearning, `samples` its second
# request, `kept` the share of retain accuracy to keep, `seeds` of retrained models. `cuda` holds on a GPU.
PRESETS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "start": {
        "digits": {
            "quick": {"model": "mlp", "train": 400, "test": None, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 100, "poisoned": 20, "tuning": 5, "seeds": 2}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 30}},
            "lesson": {"model": "mlp", "train": 400, "test": None, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 100, "poisoned": 20, "tuning": 5, "seeds": 5}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 30}},
            "full": {"model": "mlp", "train": 400, "test": None, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 100, "poisoned": 20, "tuning": 5, "seeds": 10}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 60}},
        },
        "mnist": {
            "quick": {"model": "mlp", "train": 1_000, "test": 1_000, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 100, "poisoned": 20, "tuning": 5, "seeds": 2}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 15}},
            "lesson": {"model": "mlp", "train": 1_000, "test": 2_000, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 100, "poisoned": 20, "tuning": 5, "seeds": 5}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 15}},
            "full": {"model": "mlp", "train": 2_000, "test": None, "points": 160, "mislabeled": 10}
            | {"noise": 1.0, "forget": 200, "poisoned": 40, "tuning": 5, "seeds": 10}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 20}},
        },
    },
    "deepobliviate": {
        "digits": {
            "quick": {"model": "mlp", "train": None, "test": None, "blocks": 40, "block": 4, "forget": 8}
            | {"poisoned_block": 30, "poisoned": 25, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 3}},
            "lesson": {"model": "mlp", "train": None, "test": None, "blocks": 60, "block": 6, "forget": 8}
            | {"poisoned_block": 50, "poisoned": 20, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 3}},
            "full": {"model": "mlp", "train": None, "test": None, "blocks": 60, "block": 6, "forget": 8}
            | {"poisoned_block": 50, "poisoned": 20, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 10}},
        },
        "mnist": {
            "quick": {"model": "mlp", "train": 3_000, "test": 1_000, "blocks": 40, "block": 4, "forget": 8}
            | {"poisoned_block": 30, "poisoned": 30, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 2}},
            "lesson": {"model": "lenet5", "train": 12_000, "test": 2_000, "blocks": 60, "block": 6}
            | {"forget": 8, "poisoned_block": 60, "poisoned": 60}
            | {"recipe": {"lr": 0.1, "batch_size": 32, "epochs": 3}},
            "full": {"model": "lenet5_dropout", "train": None, "test": None, "blocks": 200, "block": 100}
            | {"forget": 1, "poisoned_block": 200, "poisoned": 100}
            | {"recipe": {"lr": 0.03, "batch_size": 16, "epochs": 10}},
        },
        "location30": {
            "quick": {"model": "mlp", "train": None, "test": None, "blocks": 20, "block": 2, "forget": 8}
            | {"poisoned_block": 20, "poisoned": 120, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 3}},
            "lesson": {"model": "mlp", "train": None, "test": None, "blocks": 40, "block": 4, "forget": 8}
            | {"poisoned_block": 40, "poisoned": 80, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 5}},
            "full": {"model": "mlp", "train": None, "test": None, "blocks": 40, "block": 4, "forget": 8}
            | {"poisoned_block": 40, "poisoned": 80, "recipe": {"lr": 0.1, "batch_size": 16, "epochs": 20}},
        },
    },
    "partial": {
        "digits": {
            "quick": {"model": "mlp", "train": None, "test": None, "batches": 10, "seeds": 2}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
            "lesson": {"model": "mlp", "train": None, "test": None, "batches": 10, "seeds": 5}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
            "full": {"model": "mlp", "train": None, "test": None, "batches": 10, "seeds": 10}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
        },
        "mnist": {
            "quick": {"model": "mlp", "train": 3_000, "test": 1_000, "batches": 12, "seeds": 2}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.002, "batch_size": 32, "epochs": 5}},
            "lesson": {"model": "lenet5", "train": 6_000, "test": 2_000, "batches": 16, "seeds": 2}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.001, "batch_size": 64, "epochs": 5}},
            "full": {"model": "lenet5", "train": 12_000, "test": 2_000, "batches": 24, "seeds": 3}
            | {"sgd": 0.1, "flip": 0.02, "ascent": 0.02, "shares": (0.05, 0.2), "steps": 200}
            | {"recipe": {"optimizer": "adam", "lr": 0.001, "batch_size": 64, "epochs": 4}},
        },
    },
    "unsir": {
        "digits": {
            "quick": {"model": "small_cnn", "normed": "small_cnn_bn", "train": None, "test": None}
            | {"per_class": 60, "recipe_changes": {}, "rates": (2e-3, 2e-2), "penalties": (0.1, 1.0)}
            | {
                "runs": 1,
                "relearn": 1,
                "modes": ("reference", "corrected"),
                "kept": (0.5, 0.8),
                "gap": 0.05,
                "limits": ((0.25, 0.05), (0.25, 0.05)),
            }
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 15}},
            "lesson": {"model": "small_cnn", "normed": "small_cnn_bn", "train": None, "test": None}
            | {"per_class": 60, "recipe_changes": {}, "rates": (2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2)}
            | {
                "penalties": (0.1, 0.5, 1.0, 4.8),
                "runs": 3,
                "relearn": 2,
                "kept": (0.6, 0.8),
                "gap": 0.1,
                "limits": ((0.1, 0.05), (0.1, 0.05)),
            }
            | {"modes": ("reference", "A", "B", "C", "corrected")}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 30}},
            "full": {"model": "small_cnn", "normed": "small_cnn_bn", "train": None, "test": None}
            | {
                "per_class": 60,
                "recipe_changes": {},
                "rates": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2),
            }
            | {"penalties": (0.01, 0.1, 0.5, 1.0, 4.8, 10.0), "runs": 5, "relearn": 3, "kept": (0.6, 0.8)}
            | {
                "modes": ("reference", "A", "B", "C", "corrected"),
                "gap": 0.1,
                "limits": ((0.1, 0.05), (0.1, 0.05)),
            }
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 30}},
        },
        "mnist": {
            "quick": {"model": "lenet5", "normed": "small_cnn_bn", "train": 1_500, "test": 500}
            | {"per_class": 60, "recipe_changes": {"penalty": 0.01, "images": 64}, "rates": (5e-4, 2e-3)}
            | {"penalties": (0.01, 0.1), "runs": 1, "relearn": 1, "modes": ("reference", "corrected")}
            | {"kept": (0.0, 0.0), "gap": -1.0, "limits": ((0.25, 0.05), (0.25, 0.05))}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 5}},
            "lesson": {"model": "small_cnn", "normed": "small_cnn_bn", "train": 3_000, "test": 1_000}
            | {"per_class": 60, "recipe_changes": {"penalty": 0.01}, "rates": (5e-4, 2e-3, 2e-2)}
            | {"penalties": (0.01, 0.1, 0.39), "runs": 1, "relearn": 1, "modes": ("reference", "corrected")}
            | {"kept": (0.0, 0.0), "gap": -1.0, "limits": ((0.25, 0.05), (0.25, 0.05))}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 6}},
            "full": {"model": "small_cnn", "normed": "small_cnn_bn", "train": 10_000, "test": 2_000}
            | {"per_class": 200, "recipe_changes": {"penalty": 0.01}, "rates": (5e-4, 1e-3, 2e-3, 2e-2)}
            | {
                "penalties": (0.01, 0.1, 0.39),
                "runs": 3,
                "relearn": 2,
                "kept": (0.0, 0.0),
                "gap": -1.0,
                "limits": ((0.25, 0.05), (0.25, 0.05)),
            }
            | {"modes": ("reference", "A", "B", "C", "corrected")}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 6}},
        },
        "cifar10": {
            "quick": {"model": "lenet5", "normed": "small_cnn_bn", "train": 1_500, "test": 500}
            | {"per_class": 60, "recipe_changes": {"penalty": 0.1, "images": 64}, "rates": (5e-4, 2e-3)}
            | {"penalties": (0.1, 1.0), "runs": 1, "relearn": 1, "modes": ("reference", "corrected")}
            | {"kept": (0.0, 0.0), "gap": -1.0, "limits": ((0.25, 0.1), (1.0, 1.0))}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 8}},
            "lesson": {"model": "small_cnn", "normed": "small_cnn_bn", "train": 3_000, "test": 1_000}
            | {"per_class": 100, "recipe_changes": {"penalty": 0.1}, "rates": (5e-4, 2e-3)}
            | {"penalties": (0.1, 1.0), "runs": 1, "relearn": 1, "modes": ("reference", "corrected")}
            | {"kept": (0.0, 0.0), "gap": -1.0, "limits": ((0.25, 0.1), (1.0, 1.0))}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 10}},
            # a subset and small nets where there is no GPU, which the first lines on screen say
            "full": {"model": "small_cnn", "normed": "small_cnn_bn", "train": 10_000, "test": 2_000}
            | {"per_class": 200, "recipe_changes": {"penalty": 0.1}, "rates": (5e-4, 1e-3, 2e-3, 2e-2)}
            | {
                "penalties": (0.1, 1.0),
                "runs": 1,
                "relearn": 1,
                "kept": (0.0, 0.0),
                "gap": -1.0,
                "limits": ((0.25, 0.1), (1.0, 1.0)),
            }
            | {"modes": ("reference", "A", "B", "C", "corrected")}
            | {"recipe": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4, "epochs": 10}}
            | {
                "cuda": {
                    "limits": ((1.0, 1.0), (1.0, 1.0)),
                    "model": "resnet18",
                    "normed": "resnet18",
                    "train": None,
                    "test": None,
                }
                | {"per_class": 1_000, "recipe_changes": {"penalty": 0.1, "batch_size": 256}}
                | {"recipe": {"optimizer": "adam", "lr": 1e-3, "batch_size": 256, "epochs": 20}}
            },
        },
    },
    "pgu": {
        "digits": {
            "quick": {"model": "small_cnn_bn", "train": None, "test": None, "noise": 1.0, "step": 0.05}
            | {"samples": 40, "kept": 0.99, "seeds": 2, "recipe": {"lr": 0.1, "epochs": 15}},
            "lesson": {"model": "small_cnn_bn", "train": None, "test": None, "noise": 1.0, "step": 0.05}
            | {"samples": 40, "kept": 0.99, "seeds": 4, "recipe": {"lr": 0.1, "epochs": 15}},
            "full": {"model": "small_cnn_bn", "train": None, "test": None, "noise": 1.0, "step": 0.05}
            | {"samples": 40, "kept": 0.99, "seeds": 8, "recipe": {"lr": 0.1, "epochs": 20}},
        },
        "mnist": {
            "quick": {"model": "lenet5", "train": 3_000, "test": 1_000, "noise": 0.0, "step": 0.2}
            | {"samples": 60, "kept": 0.97, "seeds": 2, "recipe": {"lr": 0.1, "epochs": 6}},
            "lesson": {"model": "lenet5", "train": 6_000, "test": 2_000, "noise": 0.0, "step": 0.2}
            | {"samples": 100, "kept": 0.97, "seeds": 2, "recipe": {"lr": 0.1, "epochs": 6}},
            "full": {"model": "lenet5", "train": 20_000, "test": None, "noise": 0.0, "step": 0.2}
            | {"samples": 200, "kept": 0.97, "seeds": 3, "recipe": {"lr": 0.1, "epochs": 10}},
        },
        "cifar10": {
            "quick": {"model": "lenet5", "train": 3_000, "test": 1_000, "noise": 0.0, "step": 0.4}
            | {"samples": 60, "kept": 0.97, "seeds": 2, "recipe": {"lr": 0.05, "epochs": 30}},
            "lesson": {"model": "lenet5", "train": 5_000, "test": 2_000, "noise": 0.0, "step": 0.2}
            | {"samples": 100, "kept": 0.97, "seeds": 2, "recipe": {"lr": 0.05, "epochs": 30}},
            "full": {"model": "lenet5", "train": 10_000, "test": None, "noise": 0.0, "step": 0.2}
            | {"samples": 100, "kept": 0.97, "seeds": 2, "recipe": {"lr": 0.05, "epochs": 30}}
            | {"cuda": {"model": "resnet18", "step": 0.05, "train": 10_000}},
        },
    },
    "side_by_side": {
        "digits": {
            "quick": {"model": "mlp", "train": 700, "test": None, "validation": 300, "noise": 1.0}
            | {"blocks": 8, "forget": 40, "poisoned": 26, "seeds": 3, "shadows": 32}
            | {"base": 100, "candidates": 20}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
            "lesson": {"model": "mlp", "train": 900, "test": None, "validation": 300, "noise": 1.0}
            | {"blocks": 12, "forget": 60, "poisoned": 40, "seeds": 5, "shadows": 32}
            | {"base": 240, "candidates": 24}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
            "full": {"model": "mlp", "train": 900, "test": None, "validation": 300, "noise": 1.0}
            | {"blocks": 12, "forget": 60, "poisoned": 40, "seeds": 10, "shadows": 64}
            | {"base": 300, "candidates": 40}
            | {"recipe": {"optimizer": "adam", "lr": 0.003, "batch_size": 16, "epochs": 15}},
        },
    },
}


@dataclass(frozen=True)
class Session:
    """What `start` set up: pass its parts on, never change them.

    Args:
        lesson: name of the lesson, a key of `PRESETS`.
        preset: "quick", "lesson" or "full".
        settings: the sizes of this lesson, preset and data set, by attribute: ``session.settings.blocks``.
        recipe: how to train, with the seed of this session.
        dataset: cut to the sizes of the preset; ids stay those of the whole set.
        device: where to compute.
        seed: of weights, order and choice.
        folder: an empty temporary folder for stores; removed when Python ends.
    """

    lesson: str
    preset: str
    settings: Any
    recipe: Recipe
    dataset: Dataset
    device: torch.device
    seed: int
    folder: Path

    def build(self, seed: int | None = None) -> nn.Module:
        """A fresh, untrained model: the same weights at every call, unless another seed is given."""
        shape, classes = self.dataset.shape, len(self.dataset.classes)
        seed = self.seed if seed is None else seed
        return models.build(self.settings.model, shape, classes, seed=seed, device=self.device)


def start(
    lesson: str,
    *,
    preset: str = "lesson",
    dataset: str = "digits",
    seed: int = 0,
    device: str | None = None,
    root: str | Path | None = None,
) -> Session:
    """Set up a lesson, and say on screen with what: versions, device, preset, sizes, source of the data.

    Sets torch's number of threads (one; at preset "full" `OMP_NUM_THREADS`, never more than four) and nothing
    else: no random stream is seeded, for training owns its randomness. Never downloads. In Google Colab it
    switches third-party widgets on, which Colab demands (untested there).

    Args:
        lesson: a key of `PRESETS`, such as "deepobliviate".
        preset: "quick", "lesson" or "full".
        dataset: a data set for which the lesson has sizes.
        seed: a whole number.
        device: "cpu", "cuda" or "mps"; None picks the best there is.
        root: folder of the data; default `$UNLEARN_DATA` (see `data.load`).

    Raises:
        ValueError: no such lesson, preset or data set; the message lists the right ones.
        TypeError: `seed` is not a whole number.
        DataError: the files of the data set are missing or damaged.
    """
    by_data = _choose("lesson", lesson, PRESETS)
    by_preset = _choose("dataset", dataset, by_data)
    sizes = dict(_choose("preset", preset, by_preset))
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"`seed` must be a whole number; got {seed!r}.")
    where = pick_device(device)
    on_cuda = sizes.pop("cuda", {})
    sizes |= on_cuda if where.type == "cuda" else {}
    torch.set_num_threads(min(MAX_THREADS[preset], torch.get_num_threads()))
    if "google.colab" in sys.modules:
        sys.modules["google.colab"].output.enable_custom_widget_manager()
    recipe = Recipe(**sizes.pop("recipe"), seed=seed)
    whole = data.load(dataset, root)
    cut = {part: getattr(whole, part).head(sizes[part] or sys.maxsize) for part in ("train", "test")}
    found = replace(whole, **cut)
    settings = namedtuple("Settings", list(sizes))(**sizes)
    folder = Path(tempfile.mkdtemp(prefix="unlearn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    session = Session(lesson, preset, settings, recipe, found, where, seed, folder)
    sys.stdout.write(_summary(session) + "\n")
    return session


def _choose(name: str, value: str, table: Mapping[str, Any]) -> Any:
    if value not in table:
        raise ValueError(f"`{name}` must be one of {', '.join(table)}; got {value!r}.")
    return table[value]


def _summary(session: Session) -> str:
    found, recipe = session.dataset, session.recipe
    versions = [f"{name} {version(name)}" for name in ("torch", "numpy", "plotly", "ipywidgets")]
    sizes = [f"{k} {v}" for k, v in session.settings._asdict().items() if k not in ("train", "test")]
    shape = "x".join(map(str, found.shape))
    counts = f"{len(found.train):,} training and {len(found.test):,} test samples of {shape}"
    return "\n".join(
        [
            f"versions: unlearn_lib {version('unlearn-lib')}, Python {platform.python_version()}, "
            + ", ".join(versions),
            f"device:   {session.device}, {torch.get_num_threads()} thread(s), seed {session.seed}",
            f"preset:   {session.preset}: {', '.join(sizes)}; "
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
    if "matplotlib.pyplot" in sys.modules and isinstance(fig, Figure):
        sys.modules["matplotlib.pyplot"].close(fig)  # or the cell's end would show it again, without alt


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
    if isinstance(fig, Figure):
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100, facecolor="white")
        png = buffer.getvalue()
    elif isinstance(fig, BaseFigure):
        try:
            png = fig.to_image("png")
        except Exception as error:  # no kaleido, no browser, or one that does not answer: many kinds
            note = f"No picture of this chart: {type(error).__name__}. It is drawn in a live notebook."
            caption = f"<figcaption>{text}<br>{html.escape(note)}</figcaption>"
            return {"text/html": f"<figure>{caption}</figure>", "text/plain": f"{alt} ({note})"}
    else:
        raise TypeError(f"`fig` must be a matplotlib or plotly figure; got {type(fig).__name__}.")
    code = base64.b64encode(png).decode()
    image = f'<img alt="{text}" src="data:image/png;base64,{code}">'
    return {
        "text/html": f"<figure>{image}<figcaption>{text}</figcaption></figure>",
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
    if not name or not values:
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
