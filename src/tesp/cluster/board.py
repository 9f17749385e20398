"""How far all runs of a sweep are: one live table in a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tesp.progress import ProgressBar
from tesp.report.words import number

#: Lines of a terminal that the table leaves free, for its frame, its last line and the prompt.
_FREE = 7
#: Seconds between two pictures of the table.
_MOMENT = 0.25
#: What is shown first where a terminal has too few lines for all.
_ORDER = ("running", "failed", "waiting", "done")


@dataclass
class _Row:
    end: int
    state: str = "waiting"
    machine: str = ""
    done: int = 0
    average_return: float | None = None


class Board:
    """Shows how far the runs of a sweep are; use it as a context manager.

    In a terminal it is a table that changes, one line a run, those that run first. Elsewhere there is a line when a run
    begins, is lost or ends, and at most twenty lines for all meta-updates together.

    Args:
        console: Where it is shown; None for nowhere.
        ends: Meta-updates of every run, by its name.
        done: Names of those that are finished already.
    """

    def __init__(self, console: Console | None, ends: Mapping[str, int], done: set[str]):
        self._console = console
        self._rows = {name: _Row(end) for name, end in ends.items()}
        for name in done:
            self._rows[name] = _Row(ends[name], "done", done=ends[name])
        self._before = self._done()
        self._since: float | None = None
        self._shown = 0.0
        self._live: Live | None = None
        self._bar: ProgressBar | None = None
        if console is not None and console.is_interactive and not console.is_jupyter:
            self._live = Live(console=console, auto_refresh=False, get_renderable=self._table)
        else:
            self._bar = ProgressBar(console, "sweep", sum(ends.values()), "meta-updates")

    def __enter__(self) -> "Board":
        """Show it."""
        if self._live is not None:
            self._live.start()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave its last state, also after an error."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
        if self._bar is not None:
            self._bar.stop()

    def show(self) -> None:
        """Bring it up to date, if that was not done a moment ago."""
        if self._live is not None and time.monotonic() > self._shown + _MOMENT:
            self._live.refresh()
            self._shown = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._done(), self._summary())

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if self._console is not None:
            self._console.print(text, markup=False)

    def begun(self, name: str, machine: str, meta_update: int) -> None:
        """Take note that a run is trained on a machine, from a meta-update on."""
        row = self._rows[name]
        # What another session has done, or has to be done again, says nothing of the pace.
        self._before += meta_update - row.done
        row.state, row.machine, row.done = "running", machine, meta_update
        self._event(f"{name}: {f'goes on after {meta_update} meta-updates' if meta_update else 'begins'} on {machine}")

    def trained(self, name: str, meta_update: int, average_return: float) -> None:
        """Take note of a meta-update that is done."""
        row = self._rows[name]
        row.done, row.average_return = meta_update, average_return
        self._since = self._since or time.monotonic()

    def lost(self, name: str, reason: str) -> None:
        """Take note that a run waits again, for its machine or process is lost."""
        row = self._rows[name]
        row.state, machine, row.machine = "waiting", row.machine, ""
        where = f" on {machine} after {row.done} meta-updates" if machine else ""
        self.say(f"{name}: lost{where} ({reason}); it goes on elsewhere")

    def finished(self, name: str) -> None:
        """Take note that a run has come to its end."""
        row = self._rows[name]
        row.state, row.done = "done", row.end
        self._event(f"{name}: done")

    def failed(self, name: str, reason: str) -> None:
        """Take note that a run cannot come to its end."""
        self._rows[name].state = "failed"
        self.say(f"{name}: failed: {reason}")

    def _event(self, text: str) -> None:
        if self._live is None:
            self.say(text)

    def _done(self) -> int:
        return sum(row.done for row in self._rows.values())

    def _summary(self) -> str:
        counts = Counter(row.state for row in self._rows.values())
        told = [f"{counts['done']} of {len(self._rows)} runs done"]
        told += [f"{counts[state]} {state}" for state in ("running", "failed") if counts[state]]
        left = self._seconds_left()
        return ", ".join(told) + ("" if left is None else f"; {_spoken(left)} left")

    def _seconds_left(self) -> float | None:
        """Return how long it takes at the pace so far, or None while there is none."""
        # The clock began with the end of the first.
        done = self._done() - self._before - 1
        if self._since is None or done < 2:
            return None
        open_ = sum(row.end - row.done for row in self._rows.values() if row.state != "failed")
        return open_ * (time.monotonic() - self._since) / done

    def _table(self) -> Table:
        table = Table(caption=self._summary(), caption_justify="left")
        for header in ("run", "state", "on", "meta-updates", "return"):
            table.add_column(header, justify="right" if header in ("meta-updates", "return") else "left")
        rows = sorted(self._rows.items(), key=lambda item: _ORDER.index(item[1].state))
        room = max((self._console.height if self._console else 0) - _FREE, 3)
        shown = rows if len(rows) <= room else rows[: room - 1]
        for name, row in shown:
            value = "" if row.average_return is None else number(row.average_return, 2)
            table.add_row(name, row.state, row.machine, f"{row.done} of {row.end}", value)
        if len(shown) < len(rows):
            others = Counter(row.state for _, row in rows[len(shown) :])
            table.add_row("…", ", ".join(f"{count} more {state}" for state, count in others.items()))
        return table


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
