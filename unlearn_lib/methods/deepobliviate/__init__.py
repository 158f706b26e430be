"""DeepObliviate: train block by block, keep every model, retrain a few blocks and stitch the rest."""

from typing import Any

from unlearn_lib.methods.deepobliviate.chain import Chain, ResidualTrace, chaining, train_chain
from unlearn_lib.methods.deepobliviate.controls import deepobliviate_but
from unlearn_lib.methods.deepobliviate.decay import TrendRule
from unlearn_lib.methods.deepobliviate.method import deepobliviate, stitched
from unlearn_lib.moved import renamed

__all__ = [
    "Chain",
    "ResidualTrace",
    "TrendRule",
    "chaining",
    "deepobliviate",
    "deepobliviate_but",
    "stitched",
    "train_chain",
]


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"commit": Chain.commit})
