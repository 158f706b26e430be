"""How far the unlearned model is from the retrained one: in its outputs, and in its weights.

The functions take softmax outputs ``p, q`` [n, k] (`probabilities` of stored logits), so nothing here runs a
model. No distance means anything by itself: compare it with the noise floor, the distance between two
retrained models that differ only by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.params import frozen_copy, tensors

__all__ = [
    "WeightDistance",
    "activation_distance",
    "agreement",
    "entropy",
    "js",
    "js_each",
    "log_entropy",
    "log_entropy_w1",
    "predicted_class_tv",
    "probabilities",
    "untrained_twin",
    "weight_distance",
    "zrf",
]

TINY = 1e-12  # entropies below this, in nats, count as this: a one-hot output has log-entropy -27.6

Probabilities = Float[Tensor, "n k"]


def probabilities(logits: Float[Tensor, "n k"], temperature: float = 1.0) -> Probabilities:
    """softmax(logits / temperature) in float64. A high temperature flattens the output."""
    check.number("temperature", temperature, "(0, inf)")
    return (check.finite("logits", logits, "n k").detach().cpu().double() / temperature).softmax(1)


def activation_distance(p: Probabilities, q: Probabilities) -> float:
    """mean ‖p(x) - q(x)‖₂, in [0, √2]: a distance of *softmax outputs*, despite its name.

    References:
        Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023, arXiv:2205.08096 (authors' code).
    """
    _require_pair(p, q)
    return float((p - q).norm(dim=1).mean())


def js(p: Probabilities, q: Probabilities, *, legacy: bool = False) -> float:
    """Mean Jensen-Shannon divergence in nats, in [0, ln 2]: `js_each`, averaged."""
    return float(js_each(p, q, legacy=legacy).mean())


def js_each(p: Probabilities, q: Probabilities, *, legacy: bool = False) -> Float[Tensor, " n"]:
    """Jensen-Shannon divergence of every sample, in nats.

        JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m),   m = (p + q) / 2

    Args:
        p, q: distributions, one per row; a term of probability 0 contributes 0.
        legacy: the formula in circulation, only for comparison: its divergence swaps the arguments and its
            mean divides by n K, so it is ½ [KL(m‖p) + KL(m‖q)] / K, compressed towards 0 and without the
            bound ln 2 (infinite where p or q is 0). It is in the authors' code of bad teaching and of
            selective synaptic dampening, and so in published ZRF values.

    Raises:
        ValueError: these are not probabilities, or not for the same samples and classes.
    """
    _require_pair(p, q)
    m = (p + q) / 2
    if check.flag("legacy", legacy):
        return (_kl(m, p) + _kl(m, q)) / 2 / p.shape[1]
    return ((_kl(p, m) + _kl(q, m)) / 2).clamp(0, math.log(2))  # rounding may leave the interval


def agreement(p: Float[Tensor, "n k"], q: Float[Tensor, "n k"]) -> float:
    """Share of samples for which both models predict the same class; takes logits too. Ignores confidence."""
    _same_shape(*(check.tensor(name, r, "n k") for name, r in (("p", p), ("q", q))))
    return float((p.argmax(1) == q.argmax(1)).double().mean())


def predicted_class_tv(p: Float[Tensor, "n k"], q: Float[Tensor, "m k"]) -> float:
    """½ Σ_c |share_p(c) - share_q(c)| over predicted classes, in [0, 1]: where do forgotten images go?

    Takes logits too. Only marginals are compared, so two models may disagree on every image and score 0.
    """
    for name, r in (("p", p), ("q", q)):
        if not len(check.tensor(name, r, "n k")):
            raise ValueError(f"`{name}` must hold at least one sample's outputs; got none.")
    if p.shape[1] != q.shape[1]:
        raise ValueError(f"`p` and `q` must be of the same classes; got {p.shape[1]}, {q.shape[1]}.")
    shares = [torch.bincount(r.argmax(1), minlength=r.shape[1]).double() / len(r) for r in (p, q)]
    return float((shares[0] - shares[1]).abs().sum() / 2)


def entropy(p: Probabilities) -> Float[Tensor, " n"]:
    """H(p) = -Σ p log p in nats, in [0, ln K]; a term of probability 0 contributes 0."""
    check.probabilities("p", p)
    return -torch.xlogy(p, p).sum(1)


def log_entropy(p: Probabilities) -> Float[Tensor, " n"]:
    """log H(p(x)), with H at least 1e-12: .834 for a uniform output at K = 10, -27.6 for a one-hot one."""
    return entropy(p).clamp(min=TINY).log()


def log_entropy_w1(p: Probabilities, q: Probabilities) -> float:
    """Wasserstein-1 distance between the distributions of log H under two models, in log-nats.

    The quantitative form of PGU's histogram. Both sides are treated alike; the authors' code drops NaNs
    (p log p at 0) and renormalizes only one side, so its two histograms cannot be compared.
    """
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(log_entropy(p).numpy(), log_entropy(q).numpy()))


def zrf(p: Probabilities, teachers: Sequence[Probabilities]) -> float:
    """Zero Retrain Forgetting: 1 - mean JS between the model and untrained teachers, in [1 - ln 2, 1].

    It rewards flat outputs. A one-hot output against a uniform teacher at K = 10 gives .474, so *any*
    confident model, the retrained one included, is far below 1: compare with the retrained model's value,
    never with 1.

    Args:
        p: the model's outputs on the forget set.
        teachers: outputs of untrained networks of the same architecture (`untrained_twin`), 3 or more.

    References:
        Chundawat et al., arXiv:2205.08096 (the authors' code, with the JS that `js_each` calls legacy).
    """
    if not len(check.instance("teachers", teachers, (list, tuple))):
        raise ValueError("`teachers` must hold at least one teacher's outputs; got none.")
    return 1 - sum(js(p, q) for q in teachers) / len(teachers)


def untrained_twin(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy with fresh random weights and buffers, in eval mode: the teacher of ZRF.

    Every module resets what it owns (`reset_parameters`). What no module resets would keep its trained value,
    so it is refused. The global random stream is left untouched.

    Raises:
        ValueError: no module resets a parameter or a buffer; the message names it and its module.
    """
    twin = frozen_copy(model)
    device = next((p.device for p in twin.parameters()), torch.device("cpu"))
    everything = [*twin.cpu().named_parameters(), *twin.named_buffers()]
    left = {name: value for name, value in everything if value.is_floating_point()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(check.whole("seed", seed, -(2**63), 2**64 - 1))
        for value in left.values():
            value.fill_(math.nan)  # whatever stays NaN has not been reset
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                _reset(module, reset)
            elif list(module.parameters(recurse=False)):
                raise ValueError(
                    f"`{type(module).__name__}` has no `reset_parameters`; build the twin yourself."
                )
    for name, value in left.items():
        if value.isnan().any():
            module = twin.get_submodule(name.rpartition(".")[0])
            raise ValueError(
                f"`{name}` would keep its trained value: no `reset_parameters` of `{type(module).__name__}` "
                "resets it. Build the twin yourself, from fresh layers."
            )
    return twin.to(device)


def _reset(module: nn.Module, reset: Callable[[], Any]) -> None:
    try:
        reset()
    except Exception as error:
        raise ValueError(
            f"`reset_parameters` of `{type(module).__name__}` fails ({error}); build the twin yourself."
        ) from error


@dataclass(frozen=True)
class WeightDistance:
    """Relative distance between parameters.

    Args:
        total: √(Σ‖Δ‖² / Σ‖θ_ref‖²).
        layers: ‖θ_l - θ_l^ref‖₂ / ‖θ_l^ref‖₂ by module (weight and bias together).
    """

    total: float
    layers: Mapping[str, float]


def weight_distance(model: nn.Module, reference: nn.Module) -> WeightDistance:
    """How far the parameters are from those of `reference`, relative to its norm. Buffers do not count.

    Minima differ by seed, so two retrained models are already far apart: neither "close to the retrained
    model" nor "far from the original" proves forgetting. Always read it beside that floor.

    Raises:
        ValueError: the parameters differ in names or shapes.
    """
    own, other = (
        {n: p for n, p in tensors(m).items() if isinstance(p, nn.Parameter)} for m in (model, reference)
    )
    if {n: p.shape for n, p in own.items()} != {n: p.shape for n, p in other.items()}:
        raise ValueError("`model` and `reference` must have parameters of the same names and shapes.")
    sums: dict[str, tuple[float, float]] = {}
    for name, p in own.items():
        layer, ref = name.rpartition(".")[0] or name, other[name].detach().cpu().double()
        moved, size = sums.get(layer, (0.0, 0.0))
        delta = p.detach().cpu().double() - ref
        sums[layer] = moved + float(delta.square().sum()), size + float(ref.square().sum())
    layers = {layer: _ratio(*pair) for layer, pair in sums.items()}
    total = _ratio(*map(sum, zip(*sums.values(), strict=True)))
    return WeightDistance(total=total, layers=layers)


def _ratio(moved: float, size: float) -> float:
    return math.sqrt(moved / size) if size else (math.inf if moved else 0.0)


def _kl(p: Probabilities, q: Probabilities) -> Float[Tensor, " n"]:
    # 0 log (0 / q) = 0, and p log (p / 0) is infinite
    return (torch.xlogy(p, p) - torch.where(p > 0, p * q.log(), 0.0)).sum(1)


def _require_pair(p: Tensor, q: Tensor) -> None:
    _same_shape(*(check.probabilities(name, r) for name, r in (("p", p), ("q", q))))


def _same_shape(p: Tensor, q: Tensor) -> None:
    if p.shape != q.shape or not len(p):
        raise ValueError(
            f"`p` and `q` must be [n, classes] over the same samples; got {list(p.shape)}, {list(q.shape)}."
        )
