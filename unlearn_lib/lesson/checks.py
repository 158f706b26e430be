"""Questions to a learner: predict and compare, exercises, checkpoint quizzes.

Nothing here ever breaks a notebook: an unsolved exercise says so and the next cell runs. Without a front end
a question is printed, with its choices, and counts as not answered.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w
from IPython.display import display

from unlearn_lib.lesson import session
from unlearn_lib.lesson.controls import KeyGuard

__all__ = ["Guess", "Quiz", "compare", "exercise", "predict", "quiz"]

NO_ANSWER = "no answer"
NOT_ATTEMPTED = "not attempted yet"
NOTHING = "your function returned nothing: end it with `return` and the result"


class Question:
    """Radio buttons under a question, and below them what there is to say about the choice."""

    def __init__(self, name: str, question: str, choices: Sequence[str]) -> None:
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
        """The answer; None as long as there is none."""
        value: str | None = self.radio.value
        return value

    def static(self) -> dict[str, str]:
        """The question without a front end."""
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
    """A guess made before the run; `compare` sets it beside the outcome."""

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
    """Set the guess beside what was computed, and record both.

    Args:
        guess: from `predict`.
        outcome: the right one of its choices, as the run computed it.

    Raises:
        ValueError: `outcome` is none of the choices.
    """
    if outcome not in guess.choices:
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
        super().__init__(name, question, list(answers))
        if correct not in answers:
            raise ValueError(f"`correct` must be one of {self.choices}; got {correct!r}.")
        self.answers, self.correct = dict(answers), correct
        self.radio.observe(lambda change: self._explain(change["new"]), "value")

    def _explain(self, answer: str | None) -> None:
        mark = "✓ Right." if answer == self.correct else "✗ Not quite."
        self.said.value = f"{mark} {html.escape(self.answers[answer])}" if answer else ""

    def static(self) -> dict[str, str]:
        """The question, and folded below it every answer with its explanation."""
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


def exercise(name: str, function: Callable[..., Any], checker: Callable[[Any], str | None]) -> str:
    """Check a learner's function, say what differs, and record the status. Never raises for their code.

    Args:
        name: recorded as ``exercise.<name>``.
        function: what the learner wrote, and what must return something; a stub raises NotImplementedError.
        checker: called with the function; returns None (or raises nothing) when all is right, otherwise a
            sentence that says what differs. A failed `assert` in it counts as such a sentence.

    Returns:
        The status: "pass", "not attempted yet", or what differs.
    """
    empty: list[bool] = []  # of every call, whether it returned nothing

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        empty.append(False)
        result = function(*args, **kwargs)
        empty[-1] = result is None
        return result

    try:
        status = checker(watched) or "pass"
    except NotImplementedError:
        status = NOT_ATTEMPTED
    except AssertionError as error:
        status = str(error).partition("\n")[0] or "a check failed, without saying which"
    except Exception as error:  # the learner's own mistake, told to the learner
        status = f"your code raised {type(error).__name__}: {error}"
    if status not in ("pass", NOT_ATTEMPTED) and empty[-1:] == [True] and sum(empty) == 1:
        status = NOTHING  # a None that was accepted before is an answer
    mark = {"pass": "✓", NOT_ATTEMPTED: "…"}.get(status, "✗")
    _say(f"{mark} Exercise {name.replace('_', ' ')}: {status}", f"exercise.{name}", {"status": status})
    return status


def _say(text: str, name: str, values: Mapping[str, str]) -> None:
    """One output: the sentence for the learner, and the result for the runner (see `session.record`)."""
    bundle = {
        session.RESULT_MIME: {"name": name, "values": dict(values)},
        "text/html": f"<p><strong>{html.escape(text)}</strong></p>",
        "text/plain": text,
    }
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
