"""The right answers to the exercises of lesson 02: stop reading if you want to find them yourself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unlearn_lib.classroom.checks import Case, Exercise, differs, numbers

__all__ = ["norm_matched", "objective", "samples"]

Stream = np.random.Generator
Array = np.ndarray


def _log_p(logits: Array, c: int) -> float:
    return float((logits[:, c] - np.log(np.exp(logits).sum(1))).mean())


def _norms(images: Array) -> Array:
    return np.asarray(np.linalg.norm(images.reshape(len(images), -1), axis=1))


def _objective(logits: Array, images: Array, c: int, penalty: float) -> float:
    return _log_p(logits, c) + penalty * float((_norms(images) ** 2).mean())


def _objective_cases(draw: Stream) -> Iterator[Case]:
    for n, k, c, penalty, shape in (
        (5, 4, 2, 0.1, (1, 3, 3)),
        (5, 4, 2, 0.0, (1, 3, 3)),
        (1, 3, 0, 1.0, (3, 2, 4)),
        (7, 10, 9, 0.5, (2, 4, 3)),
    ):
        size = f"{n} images of shape {shape} and {k} classes, c = {c} and λ = {penalty}"
        yield Case((draw.normal(size=(n, k)), draw.normal(size=(n, *shape)), c, penalty), size)


objective = Exercise(
    _objective,
    _objective_cases,
    mistakes={
        "the cross-entropy has the wrong sign": lambda z, x, c, p: p * (_norms(x) ** 2).mean() - _log_p(z, c),
        "the penalty has the wrong sign": lambda z, x, c, p: _log_p(z, c) - p * (_norms(x) ** 2).mean(),
        "the penalty is the squared norm, not the norm": lambda z, x, c, p: (
            _log_p(z, c) + p * _norms(x).mean()
        ),
        "sum over the pixels, do not average": lambda z, x, c, p: _log_p(z, c) + p * (x**2).mean(),
        "average over the images, do not sum": lambda z, x, c, p: _log_p(z, c) + p * (x**2).sum(),
        "the cross-entropy: average over the images too": lambda z, x, c, p: (
            len(z) * _log_p(z, c) + p * (_norms(x) ** 2).mean()
        ),
        "take the logarithm of the softmax, not the logit": lambda z, x, c, p: (
            z[:, c].mean() + p * (_norms(x) ** 2).mean()
        ),
    },
)


def _matched(images: Array, learned: Array) -> Array:
    return np.asarray(images * (_norms(learned) / _norms(images)).reshape(-1, 1, 1, 1))


def _matched_cases(draw: Stream) -> Iterator[Case]:
    for n, shape in ((6, (3, 4, 4)), (1, (1, 2, 5)), (4, (4, 1, 3))):
        images, learned = draw.normal(size=(n, *shape)), draw.normal(size=(n, *shape)) + 0.5
        yield Case((images, learned * 5 * draw.random((n, 1, 1, 1))), f"{n} images of shape {shape}")
    learned = draw.normal(size=(3, 1, 2, 2))
    learned[1] = 0
    yield Case((draw.normal(size=learned.shape), learned), "three learned images, one of them black")


def _judge_matched(got: Any, case: Case, right: Array) -> str | None:
    said = differs(got, right, case)
    found = numbers(got)
    if said is None or found.shape != right.shape:
        return said
    if np.allclose(_norms(found), _norms(right), rtol=1e-4):
        return "the norms match, but only the size of each image may change"
    if np.isclose(np.linalg.norm(found), np.linalg.norm(right)):
        return "the images match together, but not one by one"
    wanted, given = (np.round(_norms(one), 2).tolist() for one in (right, found))
    return f"for {case} the norms {wanted} are right; got {given}"


norm_matched = Exercise(
    _matched,
    _matched_cases,
    _judge_matched,
    mistakes={
        "the images to scale are the first argument": lambda x, n: (
            n * (_norms(x) / (_norms(n) + 1e-99)).reshape(-1, 1, 1, 1)
        )
    },
    in_place=(0,),
)


def _samples(noise: Mapping[int, Array], copies: int = 1) -> list[tuple[Array, int]]:
    return [(image, c) for c, images in noise.items() for image in images for _ in range(copies)]


def _samples_cases(draw: Stream) -> Iterator[Case]:
    for sizes, copies in (({0: 4, 2: 4, 7: 4}, (2,)), ({3: 1, 1: 5}, (3,)), ({5: 2, 6: 3}, ())):
        noise = {c: draw.normal(size=(n, 3, 2, 2)) for c, n in sizes.items()}
        yield Case((noise, *copies))


def _judge_samples(got: Any, case: Case, right: list[tuple[Array, int]]) -> str | None:
    noise, copies = (*case.arguments, 1)[:2]
    found = list(got)
    sizes = " and ".join(str(len(images)) for images in noise.values())
    if len(found) != len(right):
        asked = f"classes with {sizes} images, copies = {copies}"
        return f"{asked}: {len(right)} samples are right; got {len(found)}"
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in found):
        return "each sample must be a pair: the image, then its label"
    if any(np.ndim(label) for _, label in found):
        return "each sample must be a pair: the image, then its label. Is yours the other way round?"
    if silent := set(noise) - {int(label) for _, label in found}:
        return f"no sample is labeled {sorted(silent)}: whose noise is it?"
    images = [(image, c) for c, all_of_it in noise.items() for image in all_of_it]
    counts, strange, wrong = Counter[int](), 0, 0
    for image, label in found:
        place = next((i for i, (one, _) in enumerate(images) if differs(image, one, case) is None), None)
        if place is None:
            strange += 1
            continue
        counts[place] += 1
        wrong += images[place][1] != label
    if strange:
        return f"{strange} samples hold images that are not among the noise"
    if wrong:
        return f"{wrong} samples carry the label of another class"
    even = all(counts[place] == copies for place in range(len(images)))
    return None if even else f"every image must occur {_times(copies)}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


samples = Exercise(_samples, _samples_cases, _judge_samples)
