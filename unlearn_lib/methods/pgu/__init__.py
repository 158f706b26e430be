"""PGU: unlearning with projected gradients."""

from unlearn_lib.methods.pgu.controls import ascent_loss, pgu_but
from unlearn_lib.methods.pgu.loss import bounded, forget_loss
from unlearn_lib.methods.pgu.method import CLASS, SAMPLES, ProjectedLayer, ProjectionTrace, pgu
from unlearn_lib.methods.pgu.stopping import (
    GoalRule,
    Watched,
    forgotten,
    matched,
    overtaken,
    retain_dropped,
)

__all__ = [
    "CLASS",
    "SAMPLES",
    "GoalRule",
    "ProjectedLayer",
    "ProjectionTrace",
    "Watched",
    "ascent_loss",
    "bounded",
    "forget_loss",
    "forgotten",
    "matched",
    "overtaken",
    "pgu",
    "pgu_but",
    "retain_dropped",
]
