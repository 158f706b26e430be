"""What a net answers: logits, losses and accuracy in eval mode, the same for methods and for metrics.

Measuring changes no weight, buffer, mode, gradient or random stream, and asking the same net twice gives the
same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearn_lib import check
from unlearn_lib.data import Examples, check_examples
from unlearn_lib.params import clone

__all__ = [
    "accuracy",
    "answer",
    "answers",
    "call",
    "device_of",
    "dtype_of",
    "evaluating",
    "inputs",
    "logits",
    "logits_of",
    "loss",
    "losses",
    "predictions",
    "random_generator",
    "reason",
    "require_outputs",
]

_PROBE = 8  # samples that are asked a second time, by themselves


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter."""
    return _first_parameter(model).device


def dtype_of(model: nn.Module) -> torch.dtype:
    """The floating point type of the model's first parameter: what its inputs must be."""
    return _first_parameter(model).dtype


def _first_parameter(model: nn.Module) -> nn.Parameter:
    for p in check.instance("model", model, nn.Module).parameters():
        return p
    raise ValueError("`model` must have a parameter; it has none.")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Eval mode without gradients; afterwards every module is in its earlier mode.

    Never yield from a generator inside this: the state would leak to whoever runs it.
    """
    modes = {module: module.training for module in check.instance("model", model, nn.Module).modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def inputs(model: nn.Module, examples: Examples, rows: Tensor | slice) -> Tensor:
    """These samples as the model takes them: on its device, in its floating point type."""
    return examples.batch(rows, dtype_of(model)).x.to(device_of(model))


def logits(model: nn.Module, examples: Examples, batch_size: int = 1024) -> Float[Tensor, "n k"]:
    """The model's outputs in eval mode, on the CPU, in the order of `examples`.

    Raises:
        ValueError: there are no samples, or `batch_size` is below 1; the model does not give one row of
            logits per sample, has no output for a label, or answers differently when asked again.
        FloatingPointError: an output is a NaN or an infinity, so there is nothing to measure.
    """
    stream = random_generator(device_of(model))
    before = stream.get_state()
    try:
        outputs, first = _asked(model, examples, batch_size)
        with evaluating(model):
            again = answer(model, first).cpu()
        drew = not torch.equal(before, stream.get_state())
    finally:
        stream.set_state(before)
    broken = int((~outputs.isfinite().all(1)).sum())
    if broken:
        raise FloatingPointError(
            f"the model's outputs are not finite for {broken} of {len(outputs)} samples: "
            "its weights are destroyed, so nothing can be measured."
        )
    if drew or not _alike(again, outputs[: len(again)]):
        raise ValueError(
            "`model` in eval mode must give a sample the same answer each time and in every batch; this one "
            "is random (`F.dropout` needs `training=self.training`) or looks at the whole batch (batch norm "
            "without running statistics). No number measured on it would repeat."
        )
    require_outputs(outputs, examples.y)
    return outputs


def answers(model: nn.Module, examples: Examples, batch_size: int = 1024) -> Float[Tensor, "n k"]:
    """`logits` in one pass, unchecked: nothing is asked twice, and any number may come out."""
    return _asked(model, examples, batch_size)[0]


def predictions(source: nn.Module | Tensor, examples: Examples) -> Int[Tensor, " n"]:
    """argmax p(x) for every sample; a tie goes to the lower class.

    Args:
        source: a model, or the logits [n, k] that it gave on `examples`.
        examples: n samples.
    """
    return logits_of(source, examples).argmax(1)


def accuracy(source: nn.Module | Tensor, examples: Examples) -> float:
    """A(S; M) = #{argmax p_M(x) = y} / |S|, in [0, 1], from a model or from its logits on `examples`.

    Example:
        >>> ul.accuracy(model, test) > 0.9
        True
    """
    return float((predictions(source, examples) == examples.y.cpu()).double().mean())


def losses(source: nn.Module | Tensor, examples: Examples) -> Float[Tensor, " n"]:
    """Cross-entropy -log p_y(x) of every sample, in nats, in float64."""
    return F.cross_entropy(logits_of(source, examples).double(), examples.y.cpu(), reduction="none")


def loss(source: nn.Module | Tensor, examples: Examples) -> float:
    """Mean cross-entropy in nats, from a model or from its logits on `examples`."""
    return float(losses(source, examples).mean())


def logits_of(source: nn.Module | Tensor, examples: Examples) -> Float[Tensor, "n k"]:
    """The logits of a model on `examples`, or the given logits if they fit.

    Raises:
        ValueError: there is not one row per sample, no column for a label, or an entry that is not finite.
    """
    check_examples("examples", examples)
    if isinstance(source, nn.Module):
        return logits(source, examples)
    found = check.finite("source", source, "n k").detach().cpu()
    if len(found) != len(examples):
        raise ValueError(
            f"logits must be [{len(examples)}, classes], one row per sample; got {list(found.shape)}."
        )
    require_outputs(found, examples.y)
    return found


def require_outputs(outputs: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> None:
    """Raise `ValueError` unless there is an output for every label."""
    top, k = int(y.max()) if len(y) else -1, outputs.shape[1]
    if top >= k:
        raise ValueError(f"labels must be in 0 ... {k - 1}, because `model` has {k} outputs; got {top}.")


def reason(model: nn.Module, x: Tensor, y: Tensor, error: Exception) -> Exception | None:
    """Why training failed on this batch, in terms of the caller's arguments.

    None if neither the net nor the data is at fault. This is asked only after a failure, so it costs the
    training loop nothing.
    """
    if "Expected more than 1 value per channel" in str(error):
        return ValueError(
            f"`model` has batch norm, which needs two samples in a batch to learn from; got {len(x)}. Ask "
            "for two samples or more, or use larger batches or a net without batch norm."
        )
    try:
        with torch.no_grad():
            outputs = answer(clone(model), x)
        require_outputs(outputs, y)
    except (ValueError, RuntimeError, TypeError) as found:
        return found
    return None


def _asked(model: nn.Module, examples: Examples, batch_size: int) -> tuple[Float[Tensor, "n k"], Tensor]:
    """All answers, on the CPU, and the first few inputs, for asking again."""
    check_examples("examples", examples)
    parts = range(0, len(examples), check.whole("batch_size", batch_size, 1))
    found, first = [], torch.empty(0)
    with evaluating(model):
        for start in parts:
            x = inputs(model, examples, slice(start, start + batch_size))
            found.append(answer(model, x).cpu())
            first = first if start else x[:_PROBE]
    return torch.cat(found), first


def call(model: nn.Module, x: Tensor) -> Any:
    """Whatever the model answers to these inputs in its current mode.

    Raises:
        RuntimeError: it cannot take them.
    """
    check.instance("x", x, Tensor)
    try:
        return model(x)
    except Exception as error:
        whole = (
            "" if x.is_floating_point() else " (Whole numbers are token ids; of measurements pass x.float().)"
        )
        raise RuntimeError(
            f"`model` cannot take a batch of shape {list(x.shape)} and {x.dtype}: {error}{whole}"
        ) from error


def answer(model: nn.Module, x: Tensor) -> Float[Tensor, "n k"]:
    """The model's logits for one batch of inputs in its current mode.

    Raises:
        RuntimeError: it cannot take them.
        ValueError: it answers with something other than one row of logits per sample.
    """
    found = call(model, x)
    if not isinstance(found, Tensor):
        raise ValueError(
            "`model` must answer with one tensor of logits [n, classes]; "
            f"got {check.brief(found) if found is None else f'a {type(found).__name__}'}. "
            "Switch off auxiliary outputs, or wrap the net so that it returns only its logits."
        )
    if found.ndim != 2 or len(found) != len(x) or not found.is_floating_point():
        raise ValueError(
            f"`model` must answer with logits [{len(x)}, classes], one row per sample; "
            f"got {found.dtype} {list(found.shape)}."
        )
    return found


def _alike(a: Tensor, b: Tensor) -> bool:
    """Equal up to the rounding of another batch size, of half precision or of a GPU's short floats."""
    slack = max(1e-2, math.sqrt(torch.finfo(a.dtype).eps))
    return bool((a - b).abs().max() <= slack * max(1e-6, float(b.abs().max())))


def random_generator(device: torch.device) -> torch.Generator:
    """The generator that dropout draws from on this device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    return torch.default_generator
