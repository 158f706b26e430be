"""Audits that look inside: batch norm's statistics, what the layers still know and drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib.data import Examples, Split
from unlearn_lib.metrics.accuracy import accuracy, forgotten_classes, logits, parts_of_test
from unlearn_lib.metrics.subspaces import Drift, drift
from unlearn_lib.outputs import answers
from unlearn_lib.params import clone
from unlearn_lib.train import device_of

__all__ = [
    "Probe",
    "Recalibration",
    "bn_recalibration",
    "cka",
    "linear_cka",
    "linear_probe",
    "probe_scores",
    "recalibrated",
    "retained_drift",
    "seen_by_layers",
]


@dataclass(frozen=True)
class Recalibration:
    """Accuracy before and after batch norm's statistics were taken anew, by part of the data."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    model: nn.Module = field(repr=False)


def recalibrated(model: nn.Module, retain: Examples, batch_size: int = 4096) -> nn.Module:
    """A copy whose batch-norm statistics are those of `retain`; weights bit-identical, dropout off.

    One pass in the order of `retain` in equal batches, cumulative average. Without batch norm: a plain copy.
    """
    twin = clone(model).eval()
    norms = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and _tracks(m)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    if norms:
        with torch.no_grad():
            for rows in torch.arange(len(retain)).tensor_split(math.ceil(len(retain) / batch_size)):
                twin(retain.batch(rows).x.to(device_of(twin)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return twin.eval()


def bn_recalibration(
    model: nn.Module, split: Split, test: Examples, *, batch_size: int = 4096
) -> Recalibration:
    """Was the forgetting in the weights, or only in batch norm's statistics?

    If forget accuracy returns after the statistics are taken from retained data, the zero was statistics. The
    retrained model barely changes, a net without batch norm not at all.
    """
    twin = recalibrated(model, split.retain, batch_size)
    parts = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
    before, after = ({name: accuracy(m, part) for name, part in parts.items()} for m in (model, twin))
    return Recalibration(before, after, twin)


def seen_by_layers(
    model: nn.Module, data: Examples, batch_size: int = 1024
) -> dict[str, Float[Tensor, "n d"]]:
    """What each linear or convolution layer gets as its input, one row per sample.

    The first entry is the input itself, the last the penultimate features. Feature maps are averaged to 2x2.
    """
    return _watched(model, data, batch_size)[0]


def _watched(
    model: nn.Module, data: Examples, batch_size: int = 1024
) -> tuple[dict[str, Float[Tensor, "n d"]], Float[Tensor, "n k"]]:
    """What every layer gets, and the logits, in one pass."""
    kept: dict[str, list[Tensor]] = {}

    def keep(name: str) -> object:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach()
            x = F.adaptive_avg_pool2d(x, 2) if x.ndim == 4 and min(x.shape[2:]) > 2 else x
            kept.setdefault(name, []).append(x.flatten(1).cpu().double())

        return hook

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)}
    hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]  # type: ignore[arg-type]
    try:
        outputs = answers(model, data, batch_size)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in kept.items()}, outputs


@dataclass(frozen=True)
class Probe:
    """Balanced accuracy of a linear probe, by layer: only the difference to `retrained` speaks."""

    original: Mapping[str, float]
    unlearned: Mapping[str, float]
    retrained: Mapping[str, float]


def linear_probe(
    model: nn.Module, *, original: nn.Module, retrained: nn.Module, split: Split, test: Examples
) -> Probe:
    """Can the forgotten class still be read off each layer by a linear classifier?

    Balanced logistic regression, "forgotten class against rest", fit on training features, scored by balanced
    accuracy on test features. The retrained model scores *high* without having seen the class (features are
    shared), and a model with a masked logit scores exactly as the original.

    Raises:
        ValueError: not the class setting.
    """
    return Probe(*(probe_scores(m, split, test) for m in (original, model, retrained)))


def probe_scores(model: nn.Module, split: Split, test: Examples) -> dict[str, float]:
    """`linear_probe` of one model: balanced accuracy by layer."""
    classes = torch.tensor(forgotten_classes(split))
    if not len(classes):
        raise ValueError("`split` must forget whole classes: a probe needs a class to look for.")
    both = split.forget + split.retain
    fit, judge = seen_by_layers(model, both), seen_by_layers(model, test)
    return {
        layer: _probe(fit[layer], torch.isin(both.y, classes), judge[layer], torch.isin(test.y, classes))
        for layer in fit
    }


def retained_drift(model: nn.Module, original: nn.Module, retain: Examples) -> Drift:
    """Largest and mean |Δlogit| against the original on retained data: 0 for a model that did nothing."""
    return drift(logits(original, retain), logits(model, retain))


def linear_cka(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> float:
    """Linear centered kernel alignment of two representations of the same samples, in [0, 1].

        CKA = ‖YᵀX‖_F² / (‖XᵀX‖_F ‖YᵀY‖_F),   X, Y centered

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, arXiv:1905.00414.
    """
    x, y = (part.double() - part.double().mean(0) for part in (x, y))
    norm = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((y.T @ x).norm() ** 2) / norm if norm else math.nan


def cka(model: nn.Module, reference: nn.Module, data: Examples) -> dict[str, float]:
    """Linear CKA of what each layer hands on in two models: what the next layer sees, or the logits."""
    a, b = _handed_on(model, data), _handed_on(reference, data)
    return {layer: linear_cka(a[layer], b[layer]) for layer in a if layer in b}


def _handed_on(model: nn.Module, data: Examples) -> dict[str, Float[Tensor, "n d"]]:
    seen, outputs = _watched(model, data)
    return dict(zip(seen, [*list(seen.values())[1:], outputs.double()], strict=True))


def _probe(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    mean, std = x.mean(0), x.std(0)
    std = torch.where(std > 0, std, 1.0)
    probe = LogisticRegression(class_weight="balanced", max_iter=2000)
    probe.fit(((x - mean) / std).numpy(), y.numpy())
    called: np.ndarray = probe.predict(((x_test - mean) / std).numpy())
    return float(balanced_accuracy_score(y_test.numpy(), called))


def _tracks(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    return bool(norm.track_running_stats)
