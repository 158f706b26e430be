"""SISA: isolated models of disjoint shards vote; to forget, redo one shard from the slice of the sample."""

from unlearn_lib.methods.sisa.method import (
    Ensemble,
    Partition,
    SisaModel,
    SisaTrace,
    aggregate,
    commit,
    partition,
    sisa,
    train_sisa,
)

__all__ = [
    "Ensemble",
    "Partition",
    "SisaModel",
    "SisaTrace",
    "aggregate",
    "commit",
    "partition",
    "sisa",
    "train_sisa",
]
