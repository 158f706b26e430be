"""Machine unlearning, one executable lesson per paper, on one small library.

    import unlearn_lib as ul

    data = ul.Examples.of_dataset(my_dataset)
    result = ul.run(ul.unsir(model, [3], ul.retain_subset(data, [3], per_class=100)))

What a user needs is here; each name is imported when it is first asked for. The examples in docstrings share
a stage: the handwritten `digits` with their samples `data` and `test`; `model`, a net that has learned them;
`initial`, the same net before; the `recipe` of its training; a `split`, to forget class 3; and an empty
`folder`.

Imports inside point one way: ``data, params <- train, store <- methods <- metrics <- contest <- classroom <-
lessons <- command``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unlearn_lib import moved as moved

if TYPE_CHECKING:
    from unlearn_lib.data import Dataset as Dataset
    from unlearn_lib.data import Examples as Examples
    from unlearn_lib.data import Split as Split
    from unlearn_lib.data import load as load
    from unlearn_lib.gather import numbered as numbered
    from unlearn_lib.methods.amnesiac import Log as Log
    from unlearn_lib.methods.amnesiac import amnesiac as amnesiac
    from unlearn_lib.methods.amnesiac import record as record
    from unlearn_lib.methods.amnesiac import recording as recording
    from unlearn_lib.methods.deepobliviate import chaining as chaining
    from unlearn_lib.methods.deepobliviate import deepobliviate as deepobliviate
    from unlearn_lib.methods.deepobliviate import train_chain as train_chain
    from unlearn_lib.methods.finetune import finetune as finetune
    from unlearn_lib.methods.finetune import gradient_ascent as gradient_ascent
    from unlearn_lib.methods.partial import ascent as ascent
    from unlearn_lib.methods.partial import label_flip as label_flip
    from unlearn_lib.methods.pgu import forgotten as forgotten
    from unlearn_lib.methods.pgu import pgu as pgu
    from unlearn_lib.methods.pgu.moments import moments as moments
    from unlearn_lib.methods.pgu.projection import spectra as spectra
    from unlearn_lib.methods.relabel import relabel as relabel
    from unlearn_lib.methods.retrain import retrain as retrain
    from unlearn_lib.methods.sisa import sisa as sisa
    from unlearn_lib.methods.sisa import train_sisa as train_sisa
    from unlearn_lib.methods.sisa.partition import partition as partition
    from unlearn_lib.methods.unsir import UnsirRecipe as UnsirRecipe
    from unlearn_lib.methods.unsir import retain_subset as retain_subset
    from unlearn_lib.methods.unsir import unsir as unsir
    from unlearn_lib.metrics.scorecard import evaluate as evaluate
    from unlearn_lib.models import build as build
    from unlearn_lib.outputs import accuracy as accuracy
    from unlearn_lib.train import Recipe as Recipe
    from unlearn_lib.train import Step as Step
    from unlearn_lib.train import Unlearned as Unlearned
    from unlearn_lib.train import run as run

__version__ = "0.2.0"

_WHERE = {
    "data": ("Dataset", "Examples", "Split", "load"),
    "gather": ("numbered",),
    "methods.amnesiac": ("Log", "amnesiac", "record", "recording"),
    "methods.deepobliviate": ("chaining", "deepobliviate", "train_chain"),
    "methods.finetune": ("finetune", "gradient_ascent"),
    "methods.partial": ("ascent", "label_flip"),
    "methods.pgu": ("forgotten", "pgu"),
    "methods.pgu.moments": ("moments",),
    "methods.pgu.projection": ("spectra",),
    "methods.relabel": ("relabel",),
    "methods.retrain": ("retrain",),
    "methods.sisa": ("sisa", "train_sisa"),
    "methods.sisa.partition": ("partition",),
    "methods.unsir": ("UnsirRecipe", "retain_subset", "unsir"),
    "metrics.scorecard": ("evaluate",),
    "models": ("build",),
    "outputs": ("accuracy",),
    "train": ("Recipe", "Step", "Unlearned", "run"),
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"unlearn_lib has no {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f"unlearn_lib.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
