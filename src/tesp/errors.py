"""Errors that speak to the person who caused them."""

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class TespError(Exception):
    """Base of every error this library raises on purpose.

    The message is one sentence that names the value, what is allowed and what to do. The command line
    prints it and ends with exit code 2, or 1 for `NonFiniteError`, which no input is to blame for.
    """


class ConfigurationError(TespError):
    """A value in the configuration, or an argument, is not possible.

    It is no ``ValueError``: the parser of the command line would print those in its own way.
    """


class RunFolderError(TespError):
    """A run folder is missing, already exists, is incomplete or belongs to something else."""


class UntrustedError(RunFolderError):
    """A run would execute code that this user has not consented to."""


class NonFiniteError(TespError, FloatingPointError):
    """A state, a loss or a parameter became NaN or infinite.

    Attributes:
        quantity: What became non-finite, for instance ``"observation"``.
        task: Index of the task, or None if no single task is to blame.
    """

    def __init__(self, quantity: str, task: int | None = None, detail: str = ""):
        self.quantity = quantity
        self.task = task
        self.detail = detail
        where = "" if task is None else f" in task {task}"
        super().__init__(f"{quantity} became NaN or infinite{where}{f' ({detail})' if detail else ''}.")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return what an error says after a name that is not known: the nearest one, and all there are."""
    names = list(known)
    return f"{nearest(word, names)}; known are: {', '.join(names) or 'none'}"


def nearest(word: object, known: Iterable[str]) -> str:
    """Return the name that was probably meant, as an error says it; nothing where none is near."""
    found = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def describe_error(error: BaseException) -> str:
    """Return the kind of an error in code that is not ours, its message, and the line where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('.')}{where}"
