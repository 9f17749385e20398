"""Errors that speak to the person who caused them."""

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Self


class TespError(Exception):
    """Base of every error this library raises on purpose.

    The message is one sentence that names the value, what is allowed and what to do. The command line
    prints it and ends with exit code 2, or 1 for `NonFiniteError` and `RunsFailedError`, which no input is to blame
    for.
    """


class ConfigurationError(TespError):
    """A value in the configuration, or an argument, is not possible.

    It is no ``ValueError``: the parser of the command line would print those in its own way.
    """


class RunFolderError(TespError):
    """A run folder is missing, already exists, is incomplete or belongs to something else."""


class BusyError(RunFolderError):
    """Another process works on a run, or on a folder of runs."""


class RunsFailedError(TespError):
    """Some of several runs failed; the others were trained. The command line ends with exit code 1."""


class UntrustedError(RunFolderError):
    """A run would execute code that this user has not consented to."""


class LocatedError(TespError):
    """Something went wrong at a place that is told from the inside out: step, episode, round, meta-update.

    Attributes:
        what: What went wrong.
        task: Index of the task, or None if no single task is to blame.
        detail: Where, as far as it is known.
    """

    def __init__(self, what: str, task: int | None = None, detail: str = ""):
        self.what, self.task, self.detail = what, task, detail
        where = "" if task is None else f" in task {task}"
        super().__init__(f"{self._said()}{where}{f' ({detail})' if detail else ''}.")

    def _said(self) -> str:
        return self.what

    def at(self, place: str, task: int | None = None) -> Self:
        """Return the same error with one more place, and with another number of the task if one is given."""
        detail = ", ".join(part for part in (self.detail, place) if part)
        return type(self)(self.what, self.task if task is None else task, detail)

    def __reduce__(self):
        # Other processes make it again of what it was made of, not of its message.
        return type(self), (self.what, self.task, self.detail)


class NonFiniteError(LocatedError, FloatingPointError):
    """A state, a loss or a parameter became NaN or infinite.

    Attributes:
        quantity: What became non-finite, for instance ``"observation"``.
        task: Index of the task, or None if no single task is to blame.
        detail: Where, as far as it is known.
    """

    def __init__(self, quantity: str, task: int | None = None, detail: str = ""):
        self.quantity = quantity
        super().__init__(quantity, task, detail)

    def _said(self) -> str:
        return f"{self.quantity} became NaN or infinite"


class EnvironmentFailedError(LocatedError):
    """An environment or a family of the user's raised an error, or returned what nobody can use."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return what an error says after a name that is not known: the nearest one, and all there are."""
    names = list(known)
    return f"{nearest(word, names)}; known are: {', '.join(names) or 'none'}"


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the name that was probably meant, as an error says it; nothing where none is near."""
    found = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def shown(value: object, most: int = 60) -> str:
    """Return a value as an error shows it: on one line, and shortened, for it may be anything."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # Whoever can be anything may fail at this too; Python itself refuses to write out very long integers.
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def describe_error(error: BaseException) -> str:
    """Return the kind of an error in code that is not ours, its message, and the line where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('.')}{where}"
