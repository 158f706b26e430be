"""Right and wrong answers to the exercises of lesson 02; a wrong one with words of what it must be told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


def log_p(logits: Any, c: int) -> Any:
    return logits[:, c] - np.log(np.exp(logits).sum(1))


def squares(images: Any) -> Any:
    return (images**2).sum((1, 2, 3))


def objective_in_torch(logits: Any, images: Any, c: int, penalty: float) -> Any:
    z, x = torch.as_tensor(logits), torch.as_tensor(images)
    return -F.cross_entropy(z, torch.full((len(z),), c)) + penalty * x.flatten(1).square().sum(1).mean()


def objective_of_tensors(logits: Any, images: Any, c: int, penalty: float) -> Any:
    return logits.log_softmax(1)[:, c].mean() + penalty * images.square().sum((1, 2, 3)).mean()


def objective_in_a_loop(logits: Any, images: Any, c: int, penalty: float) -> float:
    total = 0.0
    for row, image in zip(logits.tolist(), images, strict=True):
        total += row[c] - math.log(sum(math.exp(z) for z in row))
        total += penalty * sum(pixel * pixel for pixel in image.flatten().tolist())
    return total / len(logits)


def objective_squares_in_place(logits: Any, images: Any, c: int, penalty: float) -> Any:
    images **= 2
    return log_p(logits, c).mean() + penalty * images.sum((1, 2, 3)).mean()


def norms(x: Any) -> Any:
    return np.linalg.norm(x.reshape(len(x), -1), axis=1)


def rows(x: Any) -> Any:
    return np.asarray(x).reshape(-1, 1, 1, 1)


def matched_in_a_loop(images: Any, learned: Any) -> Any:
    return np.stack(
        [x * (np.linalg.norm(n) / np.linalg.norm(x)) for x, n in zip(images, learned, strict=True)]
    )


def matched_in_place(images: Any, learned: Any) -> Any:
    images *= rows(norms(learned) / norms(images))
    return images


def matched_in_torch(images: Any, learned: Any) -> Any:
    x, n = torch.as_tensor(images), torch.as_tensor(learned)
    return x * (n.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1))[:, None, None, None]


def matched_tensors(images: Any, learned: Any) -> Any:
    size = learned.flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)
    return images.mul_(size.view(-1, 1, 1, 1))


def scales_learned(images: Any, learned: Any) -> Any:
    learned /= 1.0001
    return images * rows(norms(learned) / norms(images))


def returns_learned_in_place(images: Any, learned: Any) -> Any:
    images[:] = learned
    return images


def by_generator(noise: Any, copies: int = 1) -> Any:
    for c, images in noise.items():
        for image in images:
            for _ in range(copies):
                yield image, c


def in_torch(noise: Any, copies: int = 1) -> Any:
    return [
        (image, torch.tensor(c))
        for c, images in noise.items()
        for image in torch.as_tensor(images).repeat_interleave(copies, 0)
    ]


def whole_copies(noise: Any, copies: int = 1) -> Any:
    found: list[Any] = []
    for c in noise:
        found += [[image.astype(np.float32), np.int64(c)] for image in noise[c]] * copies
    return found


def published(noise: Any, copies: int = 1) -> Any:
    found: list[Any] = []
    for images in noise.values():
        for i in range(len(images[0])):
            found += [(images[i], 0)] * copies
    return found


def pops(noise: Any, copies: int = 1) -> Any:
    return [(image, c) for c in list(noise) for image in noise.pop(c) for _ in range(copies)]


def pairs(noise: Any, copies: int = 1) -> list[tuple[Any, int]]:
    return [(image, c) for c, images in noise.items() for image in images for _ in range(copies)]


ANSWERS: dict[str, Any] = {
    "objective": {
        "right": {
            "in a loop": objective_in_a_loop,
            "torch": objective_in_torch,
            "tensors only": objective_of_tensors,
            "norms": lambda z, x, c, p: log_p(z, c).mean() + p * (norms(x) ** 2).mean(),
            "float32": lambda z, x, c, p: log_p(np.float32(z), c).mean() + p * squares(np.float32(x)).mean(),
            "all pixels by images": lambda z, x, c, p: log_p(z, c).sum() / len(z) + p * (x**2).sum() / len(x),
        },
        "wrong": {
            "the sign of CE": (lambda z, x, c, p: p * squares(x).mean() - log_p(z, c).mean(), "wrong sign"),
            "the sign of the penalty": (
                lambda z, x, c, p: log_p(z, c).mean() - p * squares(x).mean(),
                "penalty",
            ),
            "the norm": (lambda z, x, c, p: log_p(z, c).mean() + p * norms(x).mean(), "not the norm"),
            "mean of pixels": (lambda z, x, c, p: log_p(z, c).mean() + p * (x**2).mean(), "do not average"),
            "sum over images": (lambda z, x, c, p: log_p(z, c).mean() + p * (x**2).sum(), "do not sum"),
            "CE summed": (lambda z, x, c, p: log_p(z, c).sum() + p * squares(x).mean(), "average over"),
            "the logit": (lambda z, x, c, p: z[:, c].mean() + p * squares(x).mean(), "softmax"),
            "the probability": (
                lambda z, x, c, p: np.exp(log_p(z, c)).mean() + p * squares(x).mean(),
                "is right; got",
            ),
            "c ignored": (lambda z, x, c, p: log_p(z, 2).mean() + p * squares(x).mean(), "c = 0|is right"),
            "λ ignored": (lambda z, x, c, p: log_p(z, c).mean() + 0.1 * squares(x).mean(), "λ = 0.0"),
            "no penalty": (lambda z, x, c, p: log_p(z, c).mean(), "is right; got"),
            "softmax over the images": (
                lambda z, x, c, p: (z[:, c] - np.log(np.exp(z).sum(0))[c]).mean() + p * squares(x).mean(),
                "is right; got",
            ),
            "a constant more": (
                lambda z, x, c, p: log_p(z, c).mean() + p * squares(x).mean() + 0.01,
                "is right; got",
            ),
            "each image by itself": (lambda z, x, c, p: log_p(z, c) + p * squares(x), "one number is right"),
            "squares in place": (objective_squares_in_place, "changes its argument `images`"),
            "nothing": (lambda z, x, c, p: None, "returned nothing"),
        },
    },
    "norm_matched": {
        "right": {
            "in a loop": matched_in_a_loop,
            "in place": matched_in_place,
            "torch": matched_in_torch,
            "tensors, in place": matched_tensors,
            "float32": lambda x, n: np.float32(x) * rows(np.float32(norms(n) / norms(x))),
            "unit images first": lambda x, n: x / rows(norms(x)) * rows(norms(n)),
            "root of squares": lambda x, n: x * np.sqrt(rows(squares(n) / squares(x))),
        },
        "wrong": {
            "all together": (
                lambda x, n: x * np.linalg.norm(n) / np.linalg.norm(x),
                "not one by one",
            ),
            "the sign": (lambda x, n: -x * rows(norms(n) / norms(x)), "only the size"),
            "the learned images": (lambda x, n: n, "only the size"),
            "the learned images, in place": (returns_learned_in_place, "only the size"),
            "as they are": (lambda x, n: x, "are right; got"),
            "ratio of squares": (lambda x, n: x * rows(squares(n) / squares(x)), "are right; got"),
            "the inverse": (lambda x, n: x * rows(norms(x) / norms(n)), "are right; got|raised"),
            "unit images": (lambda x, n: x / rows(norms(x)), "are right; got"),
            "by channel": (
                lambda x, n: (
                    x
                    * np.linalg.norm(n, axis=(2, 3), keepdims=True)
                    / np.linalg.norm(x, axis=(2, 3), keepdims=True)
                ),
                "only the size",
            ),
            "standard deviations": (lambda x, n: x * rows(n.std((1, 2, 3)) / x.std((1, 2, 3))), "are right"),
            "sums": (lambda x, n: x * rows(np.abs(n).sum((1, 2, 3)) / np.abs(x).sum((1, 2, 3))), "are right"),
            "mirrored": (lambda x, n: x[:, :, ::-1] * rows(norms(n) / norms(x)), "only the size"),
            "clipped": (lambda x, n: x * rows(np.minimum(norms(n) / norms(x), 1)), "are right"),
            "a constant more": (lambda x, n: x * rows(norms(n) / norms(x)) + 0.1, "are right"),
            "flat": (lambda x, n: (x * rows(norms(n) / norms(x))).reshape(len(x), -1), "shape"),
            "changes the other": (scales_learned, "changes its argument `learned`"),
            "nothing": (lambda x, n: None, "returned nothing"),
        },
    },
    "samples": {
        "right": {
            "yield": by_generator,
            "torch": in_torch,
            "class by class": whole_copies,
            "backwards": lambda noise, copies=1: pairs(noise, copies)[::-1],
        },
        "wrong": {
            "as published": (published, "24 samples are right; got 18"),
            "labels of zero": (
                lambda n, copies=1: [(x, 0) for x, _ in pairs(n, copies)],
                "no sample is labeled",
            ),
            "no copies": (lambda n, copies=1: pairs(n, 1), "24 samples are right; got 12"),
            "first images only": (
                lambda n, copies=1: [(n[c][0], c) for _, c in pairs(n, copies)],
                "must occur 2 times",
            ),
            "labels turned around": (
                lambda n, copies=1: [
                    (x, c) for (x, _), (_, c) in zip(pairs(n, copies), pairs(n, copies)[::-1], strict=True)
                ],
                "label of another class",
            ),
            "numbers of the classes": (
                lambda n, copies=1: [(x, sorted(n).index(c)) for x, c in pairs(n, copies)],
                "no sample is labeled",
            ),
            "label first": (lambda n, copies=1: [(c, x) for x, c in pairs(n, copies)], "the other way round"),
            "images alone": (lambda n, copies=1: [x for x, _ in pairs(n, copies)], "must be a pair"),
            "transposed": (
                lambda n, copies=1: [(x.transpose(0, 2, 1), c) for x, c in pairs(n, copies)],
                "not among the noise",
            ),
            "one channel": (lambda n, copies=1: [(x[:1], c) for x, c in pairs(n, copies)], "not among"),
            "a constant more": (lambda n, copies=1: [(x + 0.1, c) for x, c in pairs(n, copies)], "not among"),
            "copies shared unevenly": (
                lambda n, copies=1: [p for i, p in enumerate(pairs(n, 1)) for _ in range(copies + (-1) ** i)],
                "must occur|are right",
            ),
            "two copies, whatever is asked": (
                lambda n, copies=1: pairs(n, 2),
                "18 samples are right; got 12",
            ),
            "takes the noise apart": (pops, "changes its argument `noise`"),
            "a number": (lambda n, copies=1: 24, "right kind"),
            "nothing": (lambda n, copies=1: None, "returned nothing"),
        },
    },
}
