"""SISA: isolated models of disjoint shards vote; to forget, redo one shard from the slice of the sample."""

from typing import Any

from unlearn_lib.methods.sisa.ensemble import Ensemble, SisaTrace
from unlearn_lib.methods.sisa.method import sisa, train_sisa
from unlearn_lib.methods.sisa.partition import Partition, partition
from unlearn_lib.methods.sisa.vote import SisaModel, aggregate
from unlearn_lib.moved import renamed

__all__ = [
    "Ensemble",
    "Partition",
    "SisaModel",
    "SisaTrace",
    "aggregate",
    "partition",
    "sisa",
    "train_sisa",
]


def __getattr__(name: str) -> Any:
    return renamed(__name__, name, {"commit": Ensemble.commit})
