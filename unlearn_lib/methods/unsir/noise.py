"""Error-maximizing noise: images that a frozen network is sure are *not* of a class (stage 1 of UNSIR)."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Batch, Examples, check_examples, mix
from unlearn_lib.outputs import logits
from unlearn_lib.params import clone
from unlearn_lib.train import Recipe, Step, as_run, train

__all__ = ["Noise", "balanced_penalty", "gaussian", "learn_noise", "norm_matched", "objective"]

SHOWN_STEPS, SHOWN_IMAGES = (0, 5, 10, 20, 40), 16  # what is kept of the noise on its way


@dataclass(frozen=True)
class Noise:
    """The noise of one class, and how it came about.

    Args:
        examples: N_c, B images in network inputs (unclamped), labeled c; their ids are negative.
        ce: CE(f(N_c), c) in nats after 0, 1, ... T_n steps.
        norm: mean of ||N_i|| over the images, likewise.
        shown: steps 0, 5, 10, 20, 40 and T_n, as far as they were made -> the first 16 images.
    """

    examples: Examples = field(repr=False)
    ce: tuple[float, ...]
    norm: tuple[float, ...]
    shown: Mapping[int, Tensor] = field(repr=False)


def objective(
    frozen: nn.Module, N: Float[Tensor, "B ..."], y: Int[Tensor, " B"], penalty: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """J = - CE(f(N), y) + lambda * mean_i ||N_i||^2, to be minimized, and the CE in it, in nats."""
    check.function("frozen", frozen), check.number("penalty", penalty, "[0, inf)")
    check.instance("N", N, Tensor)
    y = check.labels(y).to(N.device)
    ce = F.cross_entropy(frozen(N), y)
    return -ce + penalty * N.flatten(1).square().sum(1).mean(), ce


def balanced_penalty(shape: tuple[int, ...]) -> float:
    """lambda' = 0.1 * 3072 / (C H W): the penalty starts as heavy as the notebook's does on CIFAR-10.

    At the start the mean of ||N_i||^2 is the number of pixels, so lambda = 0.1 means 307 nats at 3x32x32 and
    6.4 at 1x8x8.
    """
    sizes = [check.whole("shape", size, 1) for size in check.instance("shape", shape, (tuple, list))]
    if not sizes:
        raise ValueError("`shape` must be the sizes of one image; got ().")
    return 0.1 * 3072 / math.prod(sizes)


def gaussian(c: int, B: int, like: Tensor, *key: int) -> Examples:
    """B images ~ Normal(0, 1) labeled c, from a stream keyed by `key` and c.

    Args:
        c: the class.
        B: how many, >= 1.
        like: one image; its shape, type and device are taken, its values are not read.
        key: such as a seed.
    """
    check.whole("c", c, 0)
    check.whole("B", B, 1)
    if not check.instance("like", like, Tensor).is_floating_point():
        raise TypeError(
            "`like`, a sample of `retain`, must be of floating point, for noise to take its place; got "
            f"{like.dtype}. No noise can be learned on token ids: `relabel` takes them, or let the net take "
            "embedded inputs."
        )
    stream = torch.Generator().manual_seed(mix(*key, c))
    x = torch.randn(B, *like.shape, generator=stream, dtype=like.dtype)
    ids = -1 - torch.arange(c * B, (c + 1) * B)  # negative: never the id of a real sample
    return Examples(x, torch.full((B,), c), ids).to(like.device)


class _Images(nn.Module):
    """Images as the parameters of a model, so that `train` learns them."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.N = nn.Parameter(x.clone())


@as_run
def learn_noise(
    frozen: nn.Module, start: Examples, steps: int = 40, lr: float = 0.1, penalty: float = 0.1
) -> Generator[Step, None, Noise]:
    """N := argmin J(N), by T_n steps of Adam on the images; no weight changes.

    Args:
        frozen: the network, parameters without gradient. In eval mode its buffers do not change either.
        start: the images to begin with, all labeled with one class c; left unchanged.
        steps: T_n, >= 0.
        lr: lr_n, > 0.
        penalty: lambda, >= 0. The squared norm is a sum over pixels: see `balanced_penalty`.

    Yields:
        One `Step` of phase "noise" per step of Adam: the model is the frozen one, the batch holds the images
        as they now are, `loss` is J and `info` holds `class`, and `ce` and `norm`, before the step.

    Returns:
        The noise of class c.

    Raises:
        ValueError: images of several classes, a class that the net has no output for, or a setting outside
            its range.
        FloatingPointError: the objective is not finite.
    """
    logits(frozen, check_examples("start", start))  # has an output for c, the same each time, or says so
    if len(start.y.unique()) > 1:
        raise ValueError(f"`start` must be of one class; got {start.y.unique().tolist()}.")
    check.whole("steps", steps, 0)
    check.number("lr", lr, "(0, inf)")
    check.number("penalty", penalty, "[0, inf)")
    images, y = _Images(start.x), start.y
    N = images.N
    ce: list[float] = []
    norm: list[float] = []
    shown: dict[int, Tensor] = {}

    def note(value: Tensor) -> None:
        if len(ce) in (*SHOWN_STEPS, steps):
            shown[len(ce)] = N.detach()[:SHOWN_IMAGES].clone()
        ce.append(value.item())
        norm.append(float(_norms(N).mean()))

    def loss_fn(_: nn.Module, __: Batch) -> Tensor:
        J, value = objective(frozen, N, y, penalty)
        note(value)
        return J

    adam = Recipe("adam", lr, batch_size=len(start), epochs=steps)  # one batch an epoch: all the images
    for step in train(images, start, adam, loss_fn=loss_fn, phase="noise"):
        info = {"class": int(y[0]), "ce": ce[-1], "norm": norm[-1]}
        now = Batch(N.detach(), y, start.ids)
        yield step._replace(epoch=1, number=step.epoch, steps=steps, batch=now, model=frozen, info=info)
    with torch.no_grad():  # on a copy: in train mode even a look changes batch norm's statistics
        note(objective(clone(frozen), N, y, penalty)[1])
    return Noise(examples=replace(start, x=N.detach()), ce=tuple(ce), norm=tuple(norm), shown=shown)


def norm_matched(frozen: nn.Module, noise: Noise, images: Examples) -> Noise:
    """`images`, each scaled to the norm of the learned image in its place."""
    if len(check_examples("images", images)) != len(check.instance("noise", noise, Noise).examples):
        raise ValueError(f"`images` must be as many as the noise, {len(noise.examples)}; got {len(images)}.")
    x = images.x * (_norms(noise.examples.x) / _norms(images.x)).reshape(-1, *[1] * (images.x.ndim - 1))
    with torch.no_grad():
        ce = F.cross_entropy(clone(frozen)(x), images.y)
    return Noise(
        examples=replace(images, x=x),
        ce=(ce.item(),),
        norm=noise.norm[-1:],
        shown={0: x[:SHOWN_IMAGES]},
    )


def _norms(N: Tensor) -> Tensor:
    norms: Tensor = N.detach().flatten(1).norm(dim=1)
    return norms
