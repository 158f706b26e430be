"""Questions to a learner: predict and compare, exercises, checkpoint quizzes.

Nothing here ever breaks a notebook: an unsolved exercise says so and the next cell runs. Without a front end
a question is printed, with its choices, and counts as not answered.
"""

from __future__ import annotations

import functools
import html
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import ipywidgets as w
import numpy as np
import torch
from IPython.display import display
from torch import Tensor

from unlearn_lib import check
from unlearn_lib.classroom import session
from unlearn_lib.classroom.panels.controls import KeyGuard

__all__ = [
    "Case",
    "Exercise",
    "Guess",
    "Quiz",
    "compare",
    "differs",
    "exercise",
    "numbers",
    "predict",
    "quiz",
]

NO_ANSWER = "no answer"
NOT_ATTEMPTED = "not attempted yet"
NOTHING = "your function returned nothing: end it with `return` and the result"
FEW = 8  # numbers that a sentence can show
TOLERANCE = 1e-5  # relative to the largest entry: float32 will do


class Question:
    """Radio buttons under a question, with a comment on the choice below them."""

    def __init__(self, name: str, question: str, choices: Sequence[str]) -> None:
        check.text("name", name), check.text("question", question)
        check.fit("choices", choices, Sequence[str])
        if len(choices) < 2 or len(set(choices)) != len(choices):
            raise ValueError(f"`choices` must be at least two different answers; got {list(choices)}.")
        self.name, self.question, self.choices = name, question, list(choices)
        self.radio = w.RadioButtons(
            options=self.choices,
            index=None,
            description="Your answer",
            layout={"width": "auto"},
            style={"description_width": "initial"},
        )
        self.said = w.HTML()
        self.said.add_class("unlearn-status")
        title = w.HTML(f"<strong>{html.escape(question)}</strong>")
        self.box = w.VBox([KeyGuard(), title, self.radio, self.said])
        self.box.add_class("unlearn-panel")
        self.box.add_class("unlearn-question")

    @property
    def value(self) -> str | None:
        """The answer; None until there is one."""
        value: str | None = self.radio.value
        return value

    def static(self) -> dict[str, str]:
        """The question as shown without a front end."""
        items = "".join(f"<li>{html.escape(c)}</li>" for c in self.choices)
        return {
            "text/html": f"<p><strong>{html.escape(self.question)}</strong></p><ul>{items}</ul>",
            "text/plain": f"{self.question} {' / '.join(self.choices)}",
        }

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return (
            self.static() if session.HEADLESS else {**self.static(), **self.box._repr_mimebundle_(**kwargs)}
        )


class Guess(Question):
    """A guess made before the run; `compare` shows it beside the outcome."""

    def __init__(self, name: str, question: str, choices: Sequence[str]) -> None:
        super().__init__(name, question, choices)
        self.said.value = "Commit to an answer, then run the next cell."
        self.radio.observe(
            lambda c: setattr(self.said, "value", f"Noted: {html.escape(c['new'] or '')}"), "value"
        )


def predict(name: str, question: str, choices: Sequence[str]) -> Guess:
    """Ask for a guess before the run, and show the question.

    Args:
        name: the guess is recorded as ``prediction.<name>``.
        question: one sentence.
        choices: the possible answers; the outcome must be one of them.

    Returns:
        The guess, for `compare`.
    """
    guess = Guess(name, question, choices)
    display(guess)  # type: ignore[no-untyped-call]
    return guess


def compare(guess: Guess, outcome: str) -> None:
    """Show the guess beside the computed answer, and record both.

    Args:
        guess: from `predict`.
        outcome: which of its choices the run has shown to be right.

    Raises:
        ValueError: `outcome` is none of the choices.
    """
    if outcome not in check.instance("guess", guess, Guess).choices:
        raise ValueError(f"`outcome` must be one of {guess.choices}; got {outcome!r}.")
    said = {
        None: "You made no guess: choose above, then run this cell again.",
        outcome: "✓ As you guessed.",
    }.get(guess.value, f"✗ You guessed: {guess.value}.")
    found = {"guess": guess.value or NO_ANSWER, "outcome": outcome}
    _say(f"{guess.question} Computed: {outcome}. {said}", f"prediction.{guess.name}", found)


class Quiz(Question):
    """A checkpoint question; choosing an answer explains it."""

    def __init__(self, name: str, question: str, answers: Mapping[str, str], correct: str) -> None:
        super().__init__(name, question, list(check.instance("answers", answers, Mapping)))
        if correct not in answers:
            raise ValueError(f"`correct` must be one of {self.choices}; got {correct!r}.")
        self.answers, self.correct = dict(answers), correct
        self.radio.observe(lambda change: self._explain(change["new"]), "value")

    def _explain(self, answer: str | None) -> None:
        mark = "✓ Right." if answer == self.correct else "✗ Not quite."
        self.said.value = f"{mark} {html.escape(self.answers[answer])}" if answer else ""

    def static(self) -> dict[str, str]:
        """The question, with every answer and its explanation folded below it."""
        found = super().static()
        items = "".join(
            f"<li>{'✓' if answer == self.correct else '✗'} {html.escape(answer)}: {html.escape(why)}</li>"
            for answer, why in self.answers.items()
        )
        found["text/html"] += f"<details><summary>Answer</summary><ul>{items}</ul></details>"
        return found


def quiz(name: str, question: str, answers: Mapping[str, str], correct: str) -> Quiz:
    """Ask a checkpoint question, and show it.

    Args:
        name: of the question.
        question: one sentence.
        answers: each with the explanation that choosing it brings.
        correct: the right one.
    """
    asked = Quiz(name, question, answers, correct)
    display(asked)  # type: ignore[no-untyped-call]
    return asked


def exercise(name: str, function: Any, checker: Any) -> str:
    """Check a learner's function, say what differs, and record the status. Never raises for errors in it.

    The function works on copies: whatever it does to its arguments, those of the checker stay as they were.

    Args:
        name: recorded as ``exercise.<name>``.
        function: what the learner wrote. It must return something; a stub raises NotImplementedError.
        checker: called with the function, which it must ask at least once; returns None (or raises nothing)
            when all is right, otherwise a sentence that says what differs. A failed `assert` in it counts as
            such a sentence. `exercises.py` on the shelf of a lesson has one for each of its exercises.

    Returns:
        The status: "pass", "not attempted yet", or what differs.

    Raises:
        TypeError: `function` or `checker` is no function, or `checker` returned anything but a sentence.
        ValueError: `checker` passed a function that it never asked.
    """
    check.text("name", name)
    check.function("function", function)
    check.function("checker", checker)
    answer = Answer(function, getattr(checker, "in_place", ()))
    try:
        status = checker(answer)
    except NotImplementedError:
        status = NOT_ATTEMPTED
    except (Exception, SystemExit) as error:  # the learner's own mistake, told to the learner
        status = _told(error, answer)
    else:
        if status is None and not answer.returned:
            raise ValueError("`checker` must call the function at least once; it returned without a call.")
        if status is not None and not (isinstance(status, str) and status):
            raise TypeError(f"`checker` must return None or a sentence; got {check.brief(status)}.")
        status = status or "pass"
    if status not in ("pass", NOT_ATTEMPTED) and answer.returned[-1:] == [False]:
        status = NOTHING if answer.returned.count(False) == 1 else status  # one accepted before is an answer
    mark = {"pass": "✓", NOT_ATTEMPTED: "…"}.get(status, "✗")
    _say(f"{mark} Exercise {name.replace('_', ' ')}: {status}", f"exercise.{name}", {"status": status})
    return status


def _told(error: BaseException, answer: Answer) -> str:
    """What went wrong, in a sentence for the learner."""
    said = str(error).partition("\n")[0]
    if (
        error not in answer.raised
    ):  # in the checker: it found a difference, or cannot make sense of the answer
        if isinstance(error, AssertionError):
            return said or "a check failed, without saying which"
        return f"the answer cannot be checked ({type(error).__name__}: {said}): is it of the right kind?"
    where = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"your code raised {type(error).__name__}: {said}{where}"


class Answer:
    """A learner's function, called with copies of the arguments, and the results of the calls.

    Args:
        function: what the learner wrote.
        in_place: numbers of the arguments that it may change.

    Raises:
        AssertionError: when called: the function has changed another argument.
    """

    def __init__(self, function: Callable[..., Any], in_place: Collection[int] = ()) -> None:
        functools.update_wrapper(self, function)
        self.function, self.in_place = function, in_place
        self.returned: list[bool] = []  # of every call, whether it returned anything
        self.raised: list[BaseException] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns."""
        given, by_name = copied(arguments), copied(named)
        self.returned.append(True)
        try:
            result = self.function(*given, **by_name)
        except BaseException as error:
            self.raised.append(error)
            raise
        self.returned[-1] = result is not None
        for place, (before, after) in enumerate(zip(arguments, given, strict=True)):
            if place not in self.in_place and not unchanged(before, after):
                self.returned[-1] = True  # that is not what is wrong
                raise AssertionError(
                    f"your function changes its argument {self._name(place)}, which the caller still needs: "
                    "work on a copy of it"
                )
        return result

    def _name(self, place: int) -> str:
        try:
            return f"`{list(inspect.signature(self.function).parameters)[place]}`"
        except (TypeError, ValueError, IndexError):
            return f"number {place + 1}"


def copied(value: Any) -> Any:
    """A copy of arrays, tensors and built-in containers of them; anything else is passed on as it is."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(copied(item) for item in value)
    return value


def unchanged(before: Any, after: Any) -> bool:
    """Whether a copy still holds what it was copied from, bit for bit."""
    if isinstance(before, Tensor | np.ndarray):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        return _bytes(before) == _bytes(after)
    if type(before) is dict:
        return before.keys() == after.keys() and all(unchanged(before[key], after[key]) for key in before)
    if type(before) in (list, tuple):
        return len(before) == len(after) and all(map(unchanged, before, after))
    return type(before) is not set or before == after


def _bytes(value: Any) -> bytes:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return bytes(value.tobytes())


class Case(NamedTuple):
    """The arguments of one call and, where useful, words for them, such as "the reference itself"."""

    arguments: tuple[Any, ...]
    words: str = ""

    def __str__(self) -> str:
        return self.words or ", ".join(map(_shown, self.arguments))


@dataclass(frozen=True)
class Exercise:
    """The right answer, the cases that tell it from wrong ones, and what to say about typical mistakes.

    A checker for `exercise`. Arrays come as NumPy's or, with `tensors`, as torch's; an answer that cannot
    work with these gets the others. The first case is asked again at the end, so a function that remembers
    what it was asked before fails.

    Args:
        right: the reference. Answers are compared with it unless `judge` asks something else of them.
        cases: first a few that a message can show, then others that only a general answer gets right; they
            are drawn from the same random numbers at every check.
        judge: ``judge(got, case, right)`` returns None, or a sentence that says what is wrong; `right` is the
            reference's answer. It gets answers as they are.
        mistakes: sentences for typical wrong answers, which are functions like the reference.
        in_place: numbers of the arguments that an answer may change, because it returns what they become.
        tensors: whether arrays come as tensors first.
    """

    right: Callable[..., Any]
    cases: Callable[[np.random.Generator], Iterable[Case]]
    judge: Callable[[Any, Case, Any], str | None] = lambda got, case, right: differs(got, right, case)
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    in_place: Collection[int] = ()
    tensors: bool = False

    def __post_init__(self) -> None:
        for name in ("right", "cases", "judge"):
            check.function(name, getattr(self, name))
        check.instance("mistakes", self.mistakes, Mapping)

    def __call__(self, function: Callable[..., Any]) -> str | None:
        """The first thing that is wrong, or None."""
        answer = function if isinstance(function, Answer) else Answer(function, self.in_place)
        failed: Exception | None = None
        for tensors in (self.tensors, not self.tensors):
            try:
                return self._check(answer, tensors)
            except Exception as error:
                if error not in answer.raised or isinstance(error, NotImplementedError):
                    raise
                failed = failed or error  # perhaps it needs arrays of the other kind
        assert failed is not None
        raise failed

    def _check(self, answer: Answer, tensors: bool) -> str | None:
        asked = list(self.cases(np.random.default_rng(0)))
        for case in [*asked, asked[0]]:
            right = self.right(*copied(case.arguments))
            try:
                got = answer(*(_as_kind(one, tensors) for one in case.arguments))
            except Exception as error:
                error.add_note(f"for {case}")
                raise
            if said := self.judge(got, case, right):
                known = (
                    sentence for sentence, one in self.mistakes.items() if self._is(answer, one, tensors)
                )
                return next(known, said)
        return None

    def _is(self, answer: Answer, mistake: Callable[..., Any], tensors: bool) -> bool:
        """Whether an answer makes this mistake and no other."""
        try:
            for case in self.cases(np.random.default_rng(0)):
                got = answer(*(_as_kind(one, tensors) for one in case.arguments))
                if differs(got, mistake(*copied(case.arguments)), case):
                    return False
        except Exception:
            return False
        return True


def _as_kind(value: Any, tensors: bool) -> Any:
    """The value with the arrays inside it as tensors or as NumPy arrays."""
    if isinstance(value, np.ndarray) and tensors:
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor) and not tensors:
        return value.detach().clone().numpy()
    if type(value) is dict:
        return {key: _as_kind(item, tensors) for key, item in value.items()}
    return type(value)(_as_kind(item, tensors) for item in value) if type(value) in (list, tuple) else value


def numbers(value: Any, *, booleans: bool = False) -> np.ndarray:
    """An answer as an array of float64, from numbers, arrays or tensors, or lists of them.

    Raises:
        AssertionError: it is made of something else; the sentence is for the learner.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).resolve_neg().numpy()
    elif type(value) in (list, tuple):
        parts = [numbers(one, booleans=booleans) for one in value]
        if len({part.shape for part in parts}) > 1:
            raise AssertionError(f"the answer must be made of numbers, in equal rows; got {_shown(value)}")
        value = np.array(parts, float)
    elif isinstance(value, Real | Decimal) and not isinstance(value, bool):
        value = float(value)
    found = np.asarray(value) if isinstance(value, np.ndarray | np.generic | float | bool) else np.array("")
    if found.dtype.kind not in ("iufb" if booleans else "iuf"):
        raise AssertionError(f"the answer must be made of numbers; got {_shown(value)}")
    return found.astype(float)


def differs(got: Any, right: Any, case: Case, exact: bool = False) -> str | None:
    """How an answer differs from the right one, or None.

    Args:
        got: the answer: numbers, arrays or tensors, or lists of them. float32 is precise enough.
        right: what it should be.
        case: what was asked.
        exact: to the last bit.
    """
    found, wanted = numbers(got), numbers(right)
    if found.shape != wanted.shape:
        return f"for {case} {_form(wanted)} is right; got {_form(found)}"
    near = 0 if exact else TOLERANCE * max(1.0, float(np.abs(wanted).max(initial=0)))
    far = ~(np.abs(found - wanted) <= near)  # NaN is far
    if not far.any():
        return None
    if wanted.size <= FEW:
        return f"for {case} {_shown(wanted)} is right; got {_shown(found)}"
    place = tuple(int(i) for i in np.unravel_index(int(far.argmax()), far.shape))
    wrong = f"{int(far.sum())} of {wanted.size} entries are wrong"
    return f"for {case} {wrong}; at {list(place)} {wanted[place]:.4g} is right, got {found[place]:.4g}"


def _form(value: np.ndarray) -> str:
    return f"an array of shape {value.shape}" if value.ndim else "one number"


def _shown(value: Any) -> str:
    """A few numbers as they are, many by their shape."""
    if isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) <= FEW:
        return _shown(value.tolist())
    if isinstance(value, Tensor | np.ndarray):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if type(value) in (list, tuple) and len(value) <= FEW:
        return f"({', '.join(map(_shown, value))})"
    if type(value) is dict and len(value) <= FEW:
        return "{" + ", ".join(f"{key!r}: {_shown(item)}" for key, item in value.items()) + "}"
    return check.brief(value)


def _say(text: str, name: str, values: Mapping[str, str]) -> None:
    """One output: the sentence for the learner, and the result for the runner (see `session.record`)."""
    bundle = {
        session.RESULT_MIME: {"name": name, "values": dict(values)},
        "text/html": f"<p><strong>{html.escape(text)}</strong></p>",
        "text/plain": text,
    }
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
