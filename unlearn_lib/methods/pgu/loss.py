"""The loss of PGU: it lets go of what is forgotten, where gradient ascent would push on without end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch

__all__ = ["bounded", "forget_loss"]


def bounded(p: Float[Tensor, " *n"], offset: float = 0.05) -> Float[Tensor, " *n"]:
    """L1 = -log(1 - (p - o)), in nats, for a probability p of the label.

    In [-log(1 + o), -log o]. It pushes hardest on what is memorized (slope 1/(1 + o - p)) and stops by itself
    where the label is forgotten; gradient ascent on the cross-entropy does the opposite of both.
    """
    check.number("offset", offset, "[0, 1)"), check.instance("p", p, Tensor)
    return -torch.log1p(offset - p)


def forget_loss(
    model: nn.Module, batch: Batch, offset: float = 0.05, w1: float = 1.0, w2: float = 0.2
) -> Float[Tensor, ""]:
    """L = w1 mean(-log(1 - (p_y - o))) + w2 mean(sum_c p_c log p_c).

    Its optimum is "almost never y, otherwise uniform". That is *not* how a retrained model behaves, so
    without a stop rule it forgets too much. Other constants: ``partial(forget_loss, offset=0.1)``.

    Args:
        model: gives logits [b, K].
        batch: with the labels to forget.
        offset: o > 0 bounds the loss; 0 does not.
        w1: weight of the first term.
        w2: weight of the second, the negative entropy.
    """
    check.number("offset", offset, "[0, 1)")
    check.function("model", model), check.instance("batch", batch, Batch)
    check.number("w1", w1, "[0, inf)"), check.number("w2", w2, "[0, inf)")
    log_p = F.log_softmax(model(batch.x), 1)
    p_y = log_p.gather(1, batch.y[:, None]).exp()
    negative_entropy = (log_p.exp() * log_p).sum(1)
    return w1 * bounded(p_y, offset).mean() + w2 * negative_entropy.mean()
