"""PGU: unlearning with projected gradients."""

from unlearn_lib.methods.pgu.method import (
    CLASS,
    SAMPLES,
    ProjectedLayer,
    ProjectionTrace,
    Score,
    StopRule,
    ascent_loss,
    bounded,
    forget_loss,
    forgotten,
    matched,
    overtaken,
    pgu,
    retain_dropped,
)

__all__ = [
    "CLASS",
    "SAMPLES",
    "ProjectedLayer",
    "ProjectionTrace",
    "Score",
    "StopRule",
    "ascent_loss",
    "bounded",
    "forget_loss",
    "forgotten",
    "matched",
    "overtaken",
    "pgu",
    "retain_dropped",
]
