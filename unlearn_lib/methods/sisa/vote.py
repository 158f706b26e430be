"""SISA's vote: the models of all shards as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check

__all__ = ["SisaModel", "Votes", "Weights", "aggregate"]

Votes = Literal["soft", "hard"]
Weights = Literal["uniform", "size"] | Sequence[float]

_NO_VOTE = 1e-6  # share written for a class without a vote: a loss stays finite
_TIE = 1e-3  # added to the logit of the winner of a tie


class SisaModel(nn.Module):
    """The vote of the shards' models, as one model: `aggregate` of their outputs.

    A soft vote is a model like any other for every audit: softmax of its outputs is the mean of the shards'
    probabilities. A hard vote has the right arg max, and only vote shares for probabilities.

    Args:
        shards: the models, one a shard; used as they are.
        weights: one a model.
        votes: see `aggregate`.
    """

    def __init__(self, shards: Sequence[nn.Module], weights: Sequence[float], votes: Votes = "soft") -> None:
        super().__init__()
        check.instance("shards", shards, (list, tuple, nn.ModuleList))
        for s, shard in enumerate(shards):
            check.instance(f"shards[{s}]", shard, nn.Module)
        self.weights, self.votes = tuple(check_weights(weights, len(shards))), check_votes(votes)
        self.shards = nn.ModuleList(shards)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [n, k] for inputs [n, ...]."""
        return _aggregate(torch.stack([shard(x) for shard in self.shards]), self.weights, self.votes)


def aggregate(
    outputs: Float[Tensor, "s n k"], weights: Sequence[float], votes: Votes = "soft"
) -> Float[Tensor, "n k"]:
    """One output for S of them: the logarithm of each class's share of the vote.

        soft:  log sum_s w_s softmax_s(x)          hard:  log sum_s w_s [class is arg max_s(x)]

    with weights that sum to one. A hard tie goes to the larger summed softmax, then to the lower class: the
    winner's logit is raised by 0.001. A class without a hard vote gets the share 1e-6 for its logarithm.

    Args:
        outputs: logits of the S models; stored ones make every control an array sum.
        weights: S numbers, zero or more, not all zero.
        votes: "soft" or "hard".

    Raises:
        ValueError: outputs, weights or votes are not as above.
    """
    check.finite("outputs", outputs, "s n k")
    return _aggregate(outputs, check_weights(weights, len(outputs)), check_votes(votes))


def _aggregate(outputs: Tensor, weights: Sequence[float], votes: Votes) -> Tensor:
    w = torch.tensor(weights, dtype=outputs.dtype, device=outputs.device)[:, None, None]
    soft = (outputs.log_softmax(-1) + (w / w.sum()).log()).logsumexp(0)
    if votes == "soft":
        return soft
    count = (w * F.one_hot(outputs.argmax(-1), outputs.shape[-1])).sum(0)
    first = count == count.max(1, keepdim=True).values
    winner = soft.masked_fill(~first, -math.inf).argmax(1, keepdim=True)
    tied = first.sum(1, keepdim=True) > 1
    return (count / w.sum()).clamp_min(_NO_VOTE).log().scatter_add(1, winner, _TIE * tied.to(w.dtype))


def check_weights(weights: Any, shards: int, sizes: Sequence[float] = ()) -> list[float]:
    """One weight a shard; the words are allowed where `sizes` are given."""
    if isinstance(weights, str):
        words = ("uniform", "size") if sizes else ()
        if weights not in words:
            also = '"uniform", "size" or ' if sizes else ""
            raise ValueError(f"`weights` must be {also}{shards} numbers; got {weights!r}.")
        return [1.0] * shards if weights == "uniform" else list(sizes)
    found: list[float] = check.as_tensor("weights", weights).double().flatten().tolist()
    if len(found) != shards or not all(0 <= w < math.inf for w in found) or not any(found):
        raise ValueError(
            f"`weights` must be {shards} finite numbers, zero or more and not all zero; "
            f"got {check.brief(weights)}."
        )
    return found


def check_votes(votes: Any) -> Votes:
    """A way to vote that there is."""
    found: Votes = check.choice("votes", votes, get_args(Votes))
    return found
