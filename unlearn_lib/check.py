"""The checks at the public door: an error names the argument, the rule and the value.

Each function takes the name of an argument and its value. It returns the value in the form that the library
works with, or raises `TypeError` for the wrong kind of thing and `ValueError` for a value out of range.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import operator
import re
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import wraps
from numbers import Real
from pathlib import Path
from reprlib import Repr
from types import GeneratorType, NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, jaxtyped
from torch import Tensor

__all__ = [
    "Ids",
    "arguments",
    "as_tensor",
    "brief",
    "changed",
    "choice",
    "classes",
    "column",
    "device",
    "fields",
    "finite",
    "fit",
    "flag",
    "function",
    "ids",
    "instance",
    "labels",
    "mask",
    "number",
    "path",
    "probabilities",
    "tensor",
    "text",
    "warn",
    "whole",
]

Ids = Iterable[int] | Tensor | np.ndarray
T = TypeVar("T")
D = TypeVar("D", bound=Any)
P = ParamSpec("P")
_SPOKEN = {"(0, inf)": "be positive and finite", "[0, inf)": "be zero or more, and finite"}
_SPOKEN |= {"(-inf, inf)": "be finite", "[0, inf]": "be zero or more"}
_OF_SAMPLES = (
    "With a mask write `data.ids[mask]` for the ids of these samples, or `data.where(mask)` for the samples."
)
_INSIDE = (__package__, "contextlib", "jaxtyping", "beartype")  # their frames may lie between two of ours
_OF_CLASSES = "With a mask over the classes write `mask.nonzero().flatten()`."


class _Repr(Repr):
    """Python's own short repr, with `brief` for the tensors in a list or tuple."""

    def repr_Tensor(self, value: Any, level: int) -> str:  # noqa: N802 - Repr looks it up by this name
        return brief(value)

    repr_ndarray = repr_Tensor


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 60


def brief(value: Any) -> str:
    """The value in about 60 characters at most; a tensor or an array by its dtype and shape."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        return f"{type(value).__name__} of {value.dtype} {list(value.shape)}"
    if isinstance(value, str | int | float | bool | complex | list | tuple | dict | set) or value is None:
        return _REPR.repr(value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__name__")):
        return f"{value.__name__}"
    if isinstance(value, Tensor | np.generic | Generator) and not isinstance(value, GeneratorType):
        return f"{value}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def warn(message: str, kind: type[Warning] = UserWarning) -> None:
    """Warn of the first line outside this package that led here, through however many of its frames."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, kind, stacklevel=level)


# Single values ------------------------------------------------------------------------------------------


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, least <= value <= most. Integers of NumPy and torch count, booleans do not.

    With a lower bound it is a size, or a seed for others to use, and must fit in int64.
    """
    if _is_bool(value):
        raise TypeError(f"`{name}` must be a whole number; got {brief(value)}.")
    try:
        found = operator.index(value)
    except (TypeError, ValueError) as error:  # torch's own TypeError speaks of tensors
        raise TypeError(f"`{name}` must be a whole number; got {brief(value)}.") from error
    if (least is not None and found < least) or (most is not None and found > most):
        rule = f"be in {least} ... {most}" if most is not None else f"be at least {least}"
        rule = "be zero or more" if (least, most) == (0, None) else rule
        raise ValueError(f"`{name}` must {rule}; got {brief(found)}.")
    if least is not None and most is None and found >= 2**63:
        raise ValueError(f"`{name}` must fit in int64; got {brief(found)}.")
    return found


def number(name: str, value: Any, interval: str = "(-inf, inf)") -> float:
    """A real number in an interval such as "[0, 1)"; never a NaN, and not infinite where "inf" is open.

    A whole number beyond int64, which torch cannot take, counts as infinite.
    """
    if _is_bool(value) or isinstance(value, str | bytes) or (isinstance(value, Tensor) and value.ndim):
        raise TypeError(f"`{name}` must be a number; got {brief(value)}.")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be a number; got {brief(value)}.") from error
    if isinstance(value, int) and abs(value) >= 2**63:
        found = math.copysign(math.inf, found)
    low, high = map(float, interval[1:-1].split(","))
    above = found >= low if interval[0] == "[" else found > low
    below = found <= high if interval[-1] == "]" else found < high
    if not (above and below):  # a NaN is neither
        raise ValueError(f"`{name}` must {_SPOKEN.get(interval, f'be in {interval}')}; got {brief(value)}.")
    return found


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely behaves like them."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {brief(value)}.")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string; got {brief(value)}.")
    if not value:
        raise ValueError(f"`{name}` must not be empty.")
    return value


def choice(name: str, value: T, among: Collection[T], *, remedy: str = "") -> T:
    """One of these values."""
    try:
        known = value in among and not (_is_bool(value) and all(one is not value for one in among))
    except (TypeError, RuntimeError, ValueError):  # not hashable, or many values
        known = False
    if not known:
        *most, last = [f'"{one}"' if isinstance(one, str) else f"{one}" for one in among] or ["left out"]
        listed = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"`{name}` must be {listed}; got {brief(value)}.{remedy and f' {remedy}'}")
    return value


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], *, remedy: str = "") -> T:
    """A value of this class (or one of these). A class may say in `made_by` how one is had."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(one.__name__ for one in kinds)
        way = f" {remedy}" if remedy else _way(name, kinds)
        raise TypeError(f"`{name}` must be of class {names}; got {brief(value)}.{way}")
    return value


def _way(name: str, kinds: Collection[Any]) -> str:
    """How the first of these classes that says so is made."""
    said: list[str] = [one.made_by for one in kinds if hasattr(one, "made_by")]
    return f" {said[0]}".format(name) if said else ""


def function(name: str, value: Any) -> Any:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"`{name}` must be a function; got {brief(value)}.")
    return value


def path(name: str, value: Any) -> Path:
    """A path, as a string or a `Path`."""
    if not isinstance(value, str | Path) or not str(value):
        raise TypeError(f"`{name}` must be a path, as a string or a Path; got {brief(value)}.")
    return Path(value)


def device(name: str, value: Any) -> torch.device:
    """A device that this machine has, as a name or a `torch.device`."""
    instance(name, value, (str, torch.device))
    try:
        found = torch.device(value)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'`{name}` must be "cpu", or a "cuda" or "mps" that this machine has; got {brief(value)}.'
        ) from error
    return found


# Many values --------------------------------------------------------------------------------------------


def ids(value: Any, name: str = "ids") -> Int[Tensor, " m"]:
    """Sample ids as a sorted int64 tensor without repeats, on the CPU.

    Args:
        value: whole numbers: a list, set, range or other iterable, a NumPy array or a tensor.
        name: of the argument.

    Raises:
        TypeError: a mask, a single number, strings or fractions. A mask is refused rather than read as the
            ids 0 and 1, and so are repeated zeros and ones, which only a mask would have.
        ValueError: an id does not fit in int64.
    """
    found = _integers(name, value)
    unique: Tensor = found.unique()
    if len(unique) < len(found) and {*unique.tolist()} <= {0, 1}:
        raise TypeError(_no_mask(name, _OF_SAMPLES))
    return unique


def classes(value: Any, name: str = "classes") -> tuple[int, ...]:
    """Class labels, whole and >= 0, in the order given, each once; at least one, and not a mask."""
    if isinstance(value, set | frozenset):
        value = sorted(value)
    named = _integers(name, value, _OF_CLASSES).tolist()
    found = tuple(dict.fromkeys(named))
    if not found:
        raise ValueError(f"`{name}` must name at least one class; got none.")
    if len(found) < len(named) and {*found} <= {0, 1}:
        raise TypeError(_no_mask(name, _OF_CLASSES))
    for one in found:
        whole(name, one, 0)
    return found


def labels(value: Any, name: str = "y") -> Int[Tensor, " n"]:
    """Labels [n] as int64: whole and >= 0. Any dtype whose values are whole is converted."""
    found = as_tensor(name, value)
    if found.ndim != 1:
        remedy = " For one-hot rows use `y.argmax(1)`." if found.ndim == 2 and found.shape[1] > 1 else ""
        remedy = " Flatten it: `y.flatten()`." if found.ndim == 2 and found.shape[1] == 1 else remedy
        raise ValueError(
            f"`{name}` must have shape [n], one label per sample; got {list(found.shape)}.{remedy}"
        )
    if found.is_complex():
        raise TypeError(f"`{name}` must hold whole numbers; got {found.dtype}.")
    if found.is_floating_point():
        finite(name, found)
        bad = found[(found != found.trunc()) | (found.abs() >= 2**63)]
        if len(bad):
            raise ValueError(f"`{name}` must hold whole numbers that fit in int64; got {bad[0].item()}.")
    y: Tensor = found.long()
    if found.dtype == torch.uint64 and bool((y < 0).any()):
        raise ValueError(f"`{name}` must fit in int64; got {int(y.min()) + 2**64}.")
    if len(y) and int(y.min()) < 0:
        raise ValueError(
            f"`{name}` must be zero or more; {int((y < 0).sum())} labels are not, the smallest is "
            f"{int(y.min())}. (torch ignores -100 in training; metrics would not.)"
        )
    return y


def column(name: str, value: Any) -> Int[Tensor, " n"]:
    """Whole numbers [n] as int64, in the order given, repeats allowed; not a mask."""
    return _integers(name, value)


def mask(name: str, value: Any, n: int) -> Bool[Tensor, " n"]:
    """A boolean mask over n samples: a tensor, an array or a list of booleans."""
    found = as_tensor(name, value)
    if found.dtype != torch.bool:
        raise TypeError(
            f"`{name}` must be a boolean mask; got {brief(value)}. With ids write `data.select(ids)`."
        )
    if tuple(found.shape) != (n,):
        raise ValueError(f"`{name}` must have shape [{n}], one entry per sample; got {list(found.shape)}.")
    return found


def tensor(name: str, value: Any, shape: str = "") -> Tensor:
    """A tensor of numbers with a shape such as "n k" ("" takes any); infinities are allowed, NaN is not."""
    found: Tensor = instance(name, value, Tensor, remedy="`torch.as_tensor` makes one.")
    if found.dtype == torch.bool:
        raise TypeError(f"`{name}` must hold numbers; got {brief(value)}.")
    if shape and found.ndim != len(shape.split()):
        raise ValueError(f"`{name}` must have shape [{', '.join(shape.split())}]; got {list(found.shape)}.")
    if found.is_floating_point() and bool(found.isnan().any()):
        raise ValueError(f"`{name}` must not hold NaN; {int(found.isnan().sum())} of its values are.")
    return found


def finite(name: str, value: Any, shape: str = "") -> Tensor:
    """A tensor of finite numbers with a shape such as "n k" ("" takes any)."""
    found = tensor(name, value, shape)
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise ValueError(f"`{name}` must be finite; {int((~found.isfinite()).sum())} of its values are not.")
    return found


def probabilities(name: str, value: Any) -> Float[Tensor, "n k"]:
    """Rows of probabilities [n, k]: in [0, 1], with each row summing to 1."""
    found = finite(name, value, "n k")
    if not found.is_floating_point():
        raise TypeError(f"`{name}` must hold probabilities; got {found.dtype}.")
    sums = found.double().sum(1)
    slack = 64 * math.sqrt(found.shape[1]) * torch.finfo(found.dtype).eps
    if len(found) and (float(found.min()) < -slack or float((sums - 1).abs().max()) > max(slack, 1e-6)):
        worst = sums[(sums - 1).abs().argmax()]
        raise ValueError(
            f"`{name}` must hold probabilities: rows in [0, 1] that sum to 1; the smallest entry is "
            f"{float(found.min()):.4g}, the worst sum {float(worst):.4g}. For logits use the softmax."
        )
    return found


def _integers(name: str, value: Any, remedy: str = _OF_SAMPLES) -> Int[Tensor, " m"]:
    """int64 [m] on the CPU; refuses masks, single numbers, strings, fractions and what int64 cannot hold."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind == "O":
            return _integers(name, value.tolist(), remedy)
        if value.dtype.kind not in "iub" and value.size:
            raise TypeError(f"`{name}` must be whole numbers; got {brief(value)}.")
        value = torch.as_tensor(np.asarray(value) if value.size else np.zeros(value.shape, np.int64))
    if isinstance(value, Tensor):
        if not value.ndim:
            one = value.item()
            raise TypeError(f"`{name}` must be several whole numbers; got the single {one}: write [{one}].")
        if value.dtype == torch.bool:
            raise TypeError(_no_mask(name, remedy))
        if value.ndim != 1:
            raise ValueError(f"`{name}` must have shape [m]; got {list(value.shape)}.")
        if value.dtype.is_complex or (value.is_floating_point() and len(value)):
            raise TypeError(f"`{name}` must be whole numbers; got {value.dtype}.")
        found: Tensor = value.detach().cpu().long()
        if value.dtype == torch.uint64 and len(found) and int(found.min()) < 0:
            raise ValueError(f"`{name}` must fit in int64; got {int(found.min()) + 2**64}.")
        return found
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        single = isinstance(value, int) and not isinstance(value, bool)
        remedy = f": write [{value!r}]" if single else ""
        raise TypeError(f"`{name}` must be several whole numbers; got {brief(value)}{remedy}.")
    entries = list(value)
    if any(_is_bool(one) for one in entries):
        raise TypeError(_no_mask(name, remedy))
    if all(type(one) is int for one in entries):  # by far the most common case, and the quickest
        numbers = entries
    else:
        numbers = [whole(f"{name}[{i}]", one) for i, one in enumerate(entries)]
    for one in numbers:
        if not -(2**63) <= one < 2**63:
            raise ValueError(f"`{name}` must fit in int64; got {brief(one)}.")
    return torch.tensor(numbers, dtype=torch.int64)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool)


def _no_mask(name: str, remedy: str) -> str:
    return f"`{name}` must be whole numbers; got a mask of yes and no. {remedy}"


def as_tensor(name: str, value: Any) -> Tensor:
    """As a tensor, from a tensor, an array or a list of numbers."""
    if isinstance(value, Tensor):
        return value
    try:
        found: Tensor = torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"`{name}` must be a tensor, an array or a list of numbers; got {brief(value)}."
        ) from error
    return found


# By annotation ------------------------------------------------------------------------------------------


def arguments(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator that checks every argument against its annotation before the function runs.

    For functions, such as charts, whose many arguments have no rule but their type.
    """
    signature = inspect.signature(function)
    hints: dict[str, Any] = {}

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if not hints:  # only at the first call: an annotation may name what its module defines further down
            hints.update(get_type_hints(function))
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kind = signature.parameters[name].kind
            if name in hints and kind is not inspect.Parameter.VAR_KEYWORD:
                for one in value if kind is inspect.Parameter.VAR_POSITIONAL else [value]:
                    fit(name, one, hints[name])
        return function(*args, **kwargs)

    return checked


def fields(made: Any) -> None:
    """Check the fields of a dataclass against their annotations; for its `__post_init__`."""
    hints = get_type_hints(type(made))
    for one in dataclasses.fields(made):
        fit(one.name, getattr(made, one.name), hints[one.name])


def changed(made: D, changes: Mapping[str, Any]) -> D:
    """A dataclass with some of its fields changed."""
    for name in changes:
        choice("changes", name, [one.name for one in dataclasses.fields(made)])
    return dataclasses.replace(made, **changes)


def fit(name: str, value: T, hint: Any) -> T:
    """The value, if it is what the annotation says, down to the entries of a collection.

    A list passes for a tuple, an array for a sequence, and a whole number for a float. The entries of an
    iterator are not checked, because that would use it up.
    """
    _fit(name, value, hint)
    return value


def _fit(name: str, value: Any, hint: Any) -> None:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return
    if origin in (Union, UnionType):
        _fit_one_of(name, value, hint, parts)
    elif origin is Literal:
        choice(name, value, parts)
    elif hint in (bool, int):
        flag(name, value) if hint is bool else whole(name, value)
    elif hint is float:
        if isinstance(value, bool) or not (isinstance(value, Real) or _is_scalar(value)):
            raise TypeError(f"`{name}` must be a number; got {brief(value)}.")
    elif origin is None:
        with jaxtyped("context"):  # the sizes n and k of this shape are its own
            fits = isinstance(value, hint)
        if not fits:
            raise TypeError(f"`{name}` must be {_spell(hint)}; got {brief(value)}.{_way(name, [hint])}")
    elif issubclass(origin, Mapping):
        for key, one in instance(name, value, Mapping).items():
            _fit(f"{name}[{key!r}]", one, parts[1])
    elif issubclass(Sequence, origin) or issubclass(origin, Sequence):  # list, tuple, Iterable and between
        _fit_many(name, value, hint, parts)
    elif origin is Callable:
        function(name, value)
    else:
        instance(name, value, origin)


def _fit_one_of(name: str, value: Any, hint: Any, options: tuple[Any, ...]) -> None:
    left = [one for one in options if one is not NoneType]
    if value is None and len(left) < len(options):
        return
    if len(left) == 1:  # then that one's own message is better
        _fit(name, value, left[0])
        return
    for one in left:
        with suppress(TypeError, ValueError):
            _fit(name, value, one)
            return
    raise TypeError(f"`{name}` must be {_spell(hint)}; got {brief(value)}.")


def _fit_many(name: str, value: Any, hint: Any, parts: tuple[Any, ...]) -> None:
    if isinstance(value, Tensor | np.ndarray):
        if value.ndim and value.dtype not in (bool, torch.bool) and _has(value, parts[0]):
            return
        raise TypeError(f"`{name}` must be {_spell(hint)}; got {brief(value)}.")
    sorts = (str, bytes) if get_origin(hint) in (Iterable, Collection) else (str, bytes, Mapping, Set)
    if isinstance(value, sorts) or not isinstance(value, Iterable):
        raise TypeError(f"`{name}` must be {_spell(hint)}; got {brief(value)}.")
    if not isinstance(value, Collection):
        return
    entries = list(value)
    fixed = get_origin(hint) is tuple and parts[-1:] != (...,)
    if fixed and len(entries) != len(parts):
        raise ValueError(f"`{name}` must have {len(parts)} entries; got {brief(value)}.")
    for i, one in enumerate(entries):
        _fit(f"{name}[{i}]", one, parts[i] if fixed else parts[0])


def _has(value: Tensor | np.ndarray, entry: Any) -> bool:
    """Whether an array of this dtype can hold such entries; a row of a matrix counts as one entry."""
    kind = value.dtype.kind if isinstance(value, np.ndarray) else "if"[value.is_floating_point()]
    return kind in {str: "UO", int: "iuO"}.get(entry, "iufO")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.ndim and not value.is_complex()


def _spell(hint: Any) -> str:
    """An annotation in words, with its names stripped of their modules."""
    if isinstance(hint, type) and not get_args(hint):
        return "a string" if hint is str else f"of class {hint.__name__}"
    return re.sub(r"\b\w+\.", "", str(hint))
