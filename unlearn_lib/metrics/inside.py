"""Audits that look inside: batch norm's statistics, and what the layers still know and how they drift."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, Split, check_examples
from unlearn_lib.metrics.accuracy import accuracy, forgotten_classes, logits, parts_of_test
from unlearn_lib.outputs import inputs
from unlearn_lib.params import clone

__all__ = [
    "Probe",
    "Recalibration",
    "bn_recalibration",
    "cka",
    "feature_cka",
    "linear_cka",
    "linear_probe",
    "probe_scores",
    "recalibrated",
    "seen_by_layers",
]


Rows = dict[str, Float[Tensor, "n _"]]

# Modules of their own that carry a layer's output on to the next layer.
_CARRIERS = ("activation", "batchnorm", "dropout", "flatten", "instancenorm", "normalization", "pooling")


@dataclass(frozen=True)
class Recalibration:
    """Accuracy before and after batch norm's statistics are measured again, by part of the data."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    model: nn.Module = field(repr=False)


def recalibrated(model: nn.Module, retain: Examples, batch_size: int = 4096) -> nn.Module:
    """A copy whose batch-norm statistics are those of `retain`; weights bit-identical, dropout off.

    One pass over `retain` in its order, in equal batches, with a cumulative average. Without batch norm it is
    a plain copy.

    Raises:
        ValueError: there is one sample per batch, which has no variance.
    """
    check_examples("retain", retain)
    check.whole("batch_size", batch_size, 1)
    twin = clone(model).eval()
    norms = [m for m in twin.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and _tracks(m)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    if norms:
        if min(len(retain), batch_size) < 2:
            raise ValueError("`retain` and `batch_size` must be at least 2: one sample has no variance.")
        with torch.no_grad():
            for rows in torch.arange(len(retain)).tensor_split(math.ceil(len(retain) / batch_size)):
                twin(inputs(twin, retain, slice(int(rows[0]), int(rows[-1]) + 1)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return twin.eval()


def bn_recalibration(
    model: nn.Module, split: Split, test: Examples, *, batch_size: int = 4096
) -> Recalibration:
    """Was the forgetting in the weights, or only in batch norm's statistics?

    If forget accuracy returns after the statistics are measured on retained data, the zero was in the
    statistics. The retrained model barely changes, and a net without batch norm not at all.
    """
    twin = recalibrated(model, check.instance("split", split, Split).retain, batch_size)
    parts = {"forget": split.forget, "retain": split.retain, **parts_of_test(split, test)}
    before, after = ({name: accuracy(m, part) for name, part in parts.items()} for m in (model, twin))
    return Recalibration(before=before, after=after, model=twin)


def seen_by_layers(
    model: nn.Module, data: Examples, batch_size: int = 1024
) -> dict[str, Float[Tensor, "n d"]]:
    """What each linear or convolution layer gets as its input, one row per sample, in the order they ran.

    The first entry is the input itself, the last the penultimate features. Feature maps are averaged to 2x2.
    If a layer is used several times in a pass, all its inputs are side by side in the row.

    Raises:
        ValueError: a layer does not get one row per sample (the message names it), or there is no layer.
    """
    return _watched(model, data, batch_size)[0]


@dataclass(eq=False)
class _Use:
    """One use of a layer: its input, and what its output has become on its way to the next layer."""

    got: Tensor
    given: Tensor = field(init=False)
    output: weakref.ref[Tensor] = field(init=False)
    version: int = field(init=False)

    def gives(self, output: Tensor) -> None:
        """Note its output, or what a module that carries it on has made of it."""
        self.given, self.output, self.version = _rows(output), weakref.ref(output), output._version

    def reaches(self, x: Any) -> bool:
        """Whether `x` is that output, and nothing has been added to it in place."""
        return isinstance(x, Tensor) and self.output() is x and self.version == x._version


@dataclass(frozen=True)
class _Pass:
    """A batch of n samples on its way through a model: the uses of each layer, in the order they ran."""

    n: int
    uses: dict[str, list[_Use]] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, list[tuple[int, int]]]:
        """For every use, how many features it got and gave."""
        return {name: [(u.got.shape[1], u.given.shape[1]) for u in uses] for name, uses in self.uses.items()}


def _watched(model: nn.Module, data: Examples, batch_size: int = 1024) -> tuple[Rows, Rows]:
    """What each layer gets and what it hands on, one row per sample."""
    with _watching(model) as passes:
        logits(model, data, batch_size)  # it asks the first samples again in a last pass of another size
    widths = passes[0].widths
    if not widths:
        raise ValueError("`model` must have a linear or convolution layer that it calls; none was called.")
    for one in passes:
        for name in widths | one.widths:
            rows = {len(x) for use in one.uses.get(name, ()) for x in (use.got, use.given)}
            if rows != {one.n} or widths.get(name) != one.widths[name]:
                raise ValueError(
                    f"layer `{name}` must take one row per sample and be used alike in every batch to be "
                    f"audited; for {one.n} samples it took {sorted(rows) or 'no'} rows."
                )
    whole = passes[:-1]

    def side_by_side(which: str) -> Rows:
        parts = {name: [[getattr(u, which) for u in one.uses[name]] for one in whole] for name in widths}
        return {name: torch.cat([torch.cat(uses, 1) for uses in batches]) for name, batches in parts.items()}

    return side_by_side("got"), side_by_side("given")


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[_Pass]]:
    """Note every pass through the model, by hooks on its layers and on what carries their outputs on."""
    check.instance("model", model, nn.Module)
    layers = {module: name for name, module in model.named_modules() if _is_layer(module)}
    passes: list[_Pass] = []
    on_the_way: list[_Use] = []
    running: list[list[_Use]] = []

    def begin(_: nn.Module, args: tuple[Any, ...]) -> None:
        on_the_way.clear()
        running.clear()
        passes.append(_Pass(len(args[0])))

    def takes(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x: Any = next(iter((*args, *kwargs.values())), None)
        uses = [use for use in on_the_way if use.reaches(x)]
        if module in layers:
            on_the_way[:] = [use for use in on_the_way if use not in uses]
            uses = [_Use(_rows(x))]
            passes[-1].uses.setdefault(layers[module], []).extend(uses)
        running.append(uses)

    def gives(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        uses = running.pop()
        on_the_way.extend(uses if module in layers else ())
        for use in uses if isinstance(output, Tensor) else ():
            use.gives(output)

    hooks = [model.register_forward_pre_hook(begin)]
    for module in model.modules():
        if module in layers or _carries(module):
            hooks.append(module.register_forward_pre_hook(takes, with_kwargs=True))
            hooks.append(module.register_forward_hook(gives))
    try:
        with torch.compiler.set_stance("force_eager"):  # compiled code calls no hook
            yield passes
    finally:
        for hook in hooks:
            hook.remove()


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.modules.conv._ConvNd)


def _carries(module: nn.Module) -> bool:
    kind = type(module)
    family = kind.__module__.removeprefix("torch.nn.modules.")
    return kind is nn.Identity or (family in _CARRIERS and not kind.__name__.startswith("Adaptive"))


def _rows(x: Tensor) -> Float[Tensor, "n d"]:
    """One row per sample, in float64 on the CPU; a copy, because what follows may change `x` in place."""
    x = F.adaptive_avg_pool2d(x, 2) if x.ndim == 4 and min(x.shape[2:]) > 2 else x
    return x.detach().reshape(x.shape[0] if x.ndim else 1, -1).to("cpu", torch.float64, copy=True)


@dataclass(frozen=True)
class Probe:
    """Balanced accuracy of a linear probe, by layer: only the difference from `retrained` counts."""

    original: Mapping[str, float]
    unlearned: Mapping[str, float]
    retrained: Mapping[str, float]


def linear_probe(
    model: nn.Module, *, original: nn.Module, retrained: nn.Module, split: Split, test: Examples
) -> Probe:
    """Can the forgotten class still be read off each layer by a linear classifier?

    Balanced logistic regression, "forgotten class against the rest", is fitted on training features and
    scored by balanced accuracy on test features. The retrained model scores *high* without having seen the
    class, because features are shared, and a model with a masked logit scores exactly like the original.

    Raises:
        ValueError: this is not the class setting.
    """
    models = {"original": original, "unlearned": model, "retrained": retrained}
    return Probe(**{role: probe_scores(m, split, test) for role, m in models.items()})


def probe_scores(model: nn.Module, split: Split, test: Examples) -> dict[str, float]:
    """`linear_probe` for one model: balanced accuracy by layer."""
    classes = torch.tensor(forgotten_classes(check.instance("split", split, Split)))
    if not len(classes):
        raise ValueError("`split` must forget whole classes: a probe needs a class to look for.")
    parts_of_test(split, test)  # raises unless there are samples of both sides
    both = split.forget + split.retain
    fit, judge = seen_by_layers(model, both), seen_by_layers(model, test)
    known, asked = (torch.isin(part.y.cpu(), classes) for part in (both, test))
    return {layer: _probe(fit[layer], known, judge[layer], asked) for layer in fit}


def linear_cka(x: Float[Tensor, "n d"], y: Float[Tensor, "m e"]) -> float:
    """Linear centered kernel alignment of two representations of the same samples, in [0, 1].

        CKA = ‖YᵀX‖_F² / (‖XᵀX‖_F ‖YᵀY‖_F),   X, Y centered

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, arXiv:1905.00414.

    Raises:
        ValueError: the numbers of samples differ, or a representation is the same for all of them.
    """
    for name, part in (("x", x), ("y", y)):
        check.finite(name, part, "n d")
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have a row for each of the same samples; got {len(x)}, {len(y)}.")
    found = _cka(x, y)
    if math.isnan(found):
        raise ValueError("`x` and `y` must each differ from sample to sample; one of them is constant.")
    return found


def cka(model: nn.Module, reference: nn.Module, data: Examples) -> dict[str, float]:
    """Linear CKA, by layer, of what each linear or convolution layer hands on in two models.

    A layer hands on its own output; in a net with shortcuts that is the branch alone. Modules that carry it
    on (activation, norm, dropout, pooling, flattening) are followed up to the next layer or any other module.
    So in a plain `nn.Sequential` this is what the next layer gets. If a layer is used several times in a
    pass, all that it hands on is compared together. NaN if it is constant.

    Raises:
        ValueError: the models share no layer, or a layer does not give one row per sample (the message names
            it).
    """
    a, b = (_watched(m, data)[1] for m in (model, reference))
    shared = [layer for layer in a if layer in b]
    if not shared:
        raise ValueError(f"`model` and `reference` must share a layer; got {[*a]} and {[*b]}.")
    return {layer: _cka(a[layer], b[layer]) for layer in shared}


def feature_cka(model: nn.Module, reference: nn.Module, data: Examples) -> float:
    """Linear CKA of the features that the last layer gets in two models. NaN if they are constant."""
    a, b = (list(seen_by_layers(m, data).values())[-1] for m in (model, reference))
    return _cka(a, b)


def _cka(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> float:
    raw = [part.double() for part in (x, y)]
    x, y = (part - part.mean(0) for part in raw)
    if any(c.norm() <= 1e-12 * part.norm() for c, part in zip((x, y), raw, strict=True)):
        return math.nan  # constant, up to rounding
    return float((y.T @ x).norm() ** 2) / float((x.T @ x).norm() * (y.T @ y).norm())


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
