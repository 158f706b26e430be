"""Relabeling: a short training on the forget samples, each with a wrong label, and some retained ones.

    y'_i    ~  uniform on the classes of D_r other than y_i        for every (x_i, y_i) in D_f
    theta   <- theta - lr * grad CE(theta; {(x_i, y'_i)} + R)      one pass, in batches; R a share of D_r

The wrong labels break what the network knows about D_f, and R holds the rest together. It is the simplest
rival that a method can have. But a retrained model gets many single samples right, and a relabeled one has
been *taught* to get them wrong: it over-forgets, and an attack on the losses sees that.

With batch norm the running statistics move as well, for both parts pass through in train mode.

Differs from the paper:
    No paper claims it as its own. Golatkar et al. compare with training on random labels; Graves et al.
    relabel what is sensitive at random and go on training. *Ours*: labels come from the other classes only,
    drawn by seed and id, so that no sample's label depends on which others are to go; R is a share of D_r;
    one pass, unless the recipe asks for more.

References:
    A. Golatkar, A. Achille, S. Soatto, Eternal Sunshine of the Spotless Net: Selective Forgetting in Deep
    Networks, CVPR 2020, arXiv:1911.04933.
    L. Graves, V. Nagisetty, V. Ganesh, Amnesiac Machine Learning, AAAI 2021, arXiv:2010.10981.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Split, mix
from unlearn_lib.params import clone
from unlearn_lib.train import Recipe, Step, Unlearned, as_run, train

__all__ = ["RelabelTrace", "other_labels", "relabel"]

_LABEL = 5  # what a seed is used for


@dataclass(frozen=True)
class RelabelTrace:
    """What relabeling trained on.

    Args:
        labels: the wrong label of every forget sample, in their order.
        retained: how many retained samples stood beside them.
    """

    labels: Int[Tensor, " n"] = field(repr=False)
    retained: int


@as_run
def relabel(
    model: nn.Module, split: Split, recipe: Recipe, *, share: float = 0.5
) -> Generator[Step, None, Unlearned[RelabelTrace]]:
    """Train a copy of the model on D_f with wrong labels, together with a share of D_r.

    Args:
        model: the trained network; left unchanged.
        split: the request. All of D_f is read, and this share of D_r.
        recipe: its `epochs` are the passes, its `seed` draws labels and R.
        share: of D_r, in [0, 1]; R has the class shares of D_r. At 0 nothing holds the rest together.

    Yields:
        One `Step` per mini-batch.

    Returns:
        The unlearned model, the seconds, and a `RelabelTrace`.

    Raises:
        ValueError: `share` is outside its range, or there is no other class.
        FloatingPointError: it has diverged.

    Example:
        >>> result = ul.run(ul.relabel(model, split, ul.Recipe(lr=0.05), share=0.5))
        >>> 3 in result.trace.labels
        False
    """
    begun = time.perf_counter()
    check.instance("recipe", recipe, Recipe), check.number("share", share, "[0, 1]")
    wrong = replace(check.instance("split", split, Split).forget, y=other_labels(split, recipe.seed))
    R = split.retain.head(round(share * len(split.retain)), recipe.seed)
    model = clone(check.instance("model", model, nn.Module))
    yield from train(model, wrong + R, recipe, phase="relabel")
    return Unlearned(model.eval(), time.perf_counter() - begun, RelabelTrace(wrong.y, len(R)))


def other_labels(split: Split, seed: int) -> Int[Tensor, " n"]:
    """A wrong label for every sample to forget: uniform over the other classes of D_r, drawn by seed and id.

    Raises:
        ValueError: some sample has no other class to go to.
    """
    forget, classes = check.instance("split", split, Split).forget, split.retain.y.unique().tolist()
    others = {own: [label for label in classes if label != own] for own in forget.y.unique().tolist()}
    if lonely := [own for own, rest in others.items() if not rest]:
        raise ValueError(f"`split` must retain a class other than {lonely[0]}; got {classes}.")
    drawn = [
        others[own][mix(seed, _LABEL, i) % len(others[own])]
        for i, own in zip(forget.ids.tolist(), forget.y.tolist(), strict=True)
    ]
    return torch.tensor(drawn, dtype=forget.y.dtype, device=forget.y.device)
