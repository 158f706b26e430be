"""DeepObliviate: train block by block, keep every model, retrain a few blocks and stitch the rest."""

from unlearn_lib.methods.deepobliviate.method import (
    Chain,
    ResidualTrace,
    commit,
    deepobliviate,
    stitched,
    train_chain,
)

__all__ = [
    "Chain",
    "ResidualTrace",
    "commit",
    "deepobliviate",
    "stitched",
    "train_chain",
]
