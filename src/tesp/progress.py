"""How far long work has come: a bar in a terminal, plain lines in a pipe, nothing without a console."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tesp.output import open_console, printable

#: A pipe gets a line whenever a further one of so many equal parts of the work is done.
_LINES = 20


def stderr_if(shown: bool) -> Console | None:
    """Return a console on the standard error stream, or None for no progress."""
    return open_console(stderr=True) if shown else None


def _notebook_line() -> Any:
    """Return a line of output below a notebook's cell that can be changed; None where that is not possible."""
    try:
        from IPython.display import display  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return display({"text/plain": ""}, raw=True, display_id=True)


class ProgressBar:
    """Shows how much of a piece of work is done; use it as a context manager.

    In a terminal it is one line that changes: the description, a bar, ``M of N``, the status, the time that has
    passed and the time that is left. In a notebook it is one line of text that changes. Elsewhere it is at most 20
    lines of plain text without control characters, one for every further twentieth of the work, whatever the status
    says in between. Bars of one console may be nested.

    Args:
        console: Where it is shown; None for nowhere.
        description: What is done, for instance ``"evaluating"``.
        total: How many steps the work has.
        unit: What is counted, for instance ``"task sets"``; stands behind ``M of N``.
        keep: Whether a terminal keeps the bar's last state when the work is over, rather than losing it.
        guess: Whether the time that is left is guessed from the speed so far; otherwise the status says it.
    """

    def __init__(
        self,
        console: Console | None,
        description: str,
        total: int,
        unit: str = "",
        *,
        keep: bool = False,
        guess: bool = True,
    ):
        self._console, self._description, self._total, self._unit = console, printable(description), total, unit
        self._completed, self._lines, self._status = 0, 0, ""
        self._bar: Progress | None = None
        self._notebook: Any = None
        if console is not None and console.is_jupyter:
            self._notebook = _notebook_line()
        elif console is not None and console.is_interactive:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[count]}", markup=False),
                TextColumn("{task.fields[status]}", markup=False),
                TimeElapsedColumn(),
                *([TimeRemainingColumn()] if guess else []),
                console=console,
                transient=not keep,
            )
            self._task = self._bar.add_task(self._description, total=total, count=self._count(), status="")

    def __enter__(self) -> "ProgressBar":
        """Show the bar."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar down, also after an error."""
        self.stop()

    def start(self) -> None:
        """Show the bar; for those that cannot use ``with``."""
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        """Take the bar down. May be called twice."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, n: int = 1, status: str = "") -> None:
        """Count ``n`` more steps as done.

        Args:
            n: How many.
            status: A few words about the newest state; empty to leave them as they are.
        """
        self.update(self._completed + n, status)

    def update(self, completed: int, status: str = "") -> None:
        """Say how many steps are done in all.

        Args:
            completed: How many, 0 … ``total``.
            status: A few words about the newest state; empty to leave them as they are.
        """
        self._completed, self._status = completed, status or self._status
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, count=self._count(), status=self._status)
        elif self._notebook is not None:
            self._notebook.update({"text/plain": self._line()}, raw=True)
        elif self._console is not None:
            self._print_line()

    def _print_line(self) -> None:
        reached = _LINES * self._completed // max(self._total, 1)
        if reached <= self._lines:
            return
        self._lines = reached
        assert self._console is not None
        self._console.print(self._line(), markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        return f"{self._description}: {self._count()}" + (f"  {self._status}" if self._status else "")

    def _count(self) -> str:
        return f"{self._completed} of {self._total} {self._unit}".rstrip()
