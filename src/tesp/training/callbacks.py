"""What happens beside training: records, progress, and whatever a program of one's own does. They change no result."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tesp.progress import ProgressBar
from tesp.report.words import SIGNS
from tesp.storage.records import append_records
from tesp.storage.run_folder import RunFolder
from tesp.training.settings import ScheduleSettings

Record = dict[str, Any]


class Callback:
    """Told what happens in training. Make a class with those of these methods that are of use.

    They are called in the order `on_start`, then `on_records`, `on_state` and `on_checkpoint` as training goes on,
    `on_end` when it has come to its end or was asked to stop, and `close` in any case. An error in one of them stops
    the training like any other, with its last complete meta-update stored.
    """

    def on_start(self, folder: Path, config: Any, meta_update: int) -> None:
        """Hear that training begins.

        Args:
            folder: The run folder.
            config: The run's configuration.
            meta_update: Meta-updates done before: 0, or more for a run that is resumed.
        """

    def on_records(self, records: Sequence[Record]) -> bool | None:
        """Take records of kind ``train``, ``evaluation`` or ``reference``, as ``records.jsonl`` has them.

        Returns:
            True to ask that training stops. The meta-update is stored as a checkpoint, and `tesp.resume` goes on.
        """

    def on_state(self, meta_update: int) -> None:
        """Hear that the state after so many meta-updates is stored: whatever happens, training goes on from there."""

    def on_checkpoint(self, meta_update: int) -> None:
        """Hear that there is a checkpoint after so many meta-updates."""

    def on_end(self, meta_update: int) -> None:
        """Hear that training has come to its end, or stopped because it was asked to, after so many meta-updates."""

    def close(self) -> None:
        """Write out what is still held; called once, also after an error."""


class WriteRecords(Callback):
    """Appends every record to ``records.jsonl``."""

    def __init__(self, folder: RunFolder):
        self._folder = folder

    def on_records(self, records):
        """Append the records in one write, if the run is still this process's."""
        self._folder.require_locked()
        append_records(self._folder.records, records)


#: Columns that say where a number belongs, or how it was measured, and are no curves themselves.
_NOT_DRAWN = ("meta_update", "seed", "fast_update", "tasks", "episodes_per_task", "dynamics_noise")

#: The same of an evaluation: its twelve rows or more would repeat what the meta-updates tell.
_PLACE = ("environment_steps", "wall_seconds")


def scalars(record: Record) -> dict[str, int | float]:
    """Return the numbers of a training or evaluation record by the names that curves have; lists are left out."""
    group, left_out = record["kind"], _NOT_DRAWN
    if group == "evaluation":
        group += f"/{record['task_set']}/k{record['fast_update']}"
        left_out += _PLACE
    return {
        f"{group}/{name}": value
        for name, value in record.items()
        if isinstance(value, int | float) and name not in left_out
    }


class TimeLeft:
    """How long a run still takes, judging by what it did in this process.

    The first meta-update and the first evaluation contain compilation, so they count only as long as there is no other.
    """

    #: Meta-updates of which the median is taken.
    _LATEST = 5

    def __init__(self, schedule: ScheduleSettings):
        self._schedule = schedule
        self._updates: list[float] = []
        self._evaluations: list[float] = []
        self._before: float | None = None

    def evaluated(self, record: Record) -> None:
        """Take a record of an evaluation."""
        # A run begins with one whose start is not known.
        if self._before is not None:
            self._evaluations.append(record["wall_seconds"] - self._before)
        self._before = record["wall_seconds"]

    def after(self, record: Record) -> float | None:
        """Take a record of a meta-update; return the seconds left, or None while only compilation was measured."""
        self._before = record["wall_seconds"]
        self._updates.append(record["seconds"])
        if len(self._updates) == 1:
            return None
        done, end, every = record["meta_update"], self._schedule.meta_updates, self._schedule.evaluate_every
        evaluations = end // every - done // every + (end % every > 0) + (done % every == 0)
        one_evaluation = median(self._evaluations[1:] or self._evaluations or [0.0])
        return (end - done) * median(self._updates[1:][-self._LATEST :]) + evaluations * one_evaluation


class ShowProgress(Callback):
    """A progress bar in a terminal, plain lines in a pipe."""

    def __init__(self, console: Console, schedule: ScheduleSettings, done: int, name: str):
        self._console, self._total = console, schedule.meta_updates
        self._left = TimeLeft(schedule)
        self._bar = None
        if console.is_interactive or console.is_jupyter:
            self._bar = ProgressBar(console, name, self._total, keep=True, guess=False)
            self._bar.update(done, "compiling …")
            self._bar.start()

    def on_records(self, records):
        """Show the newest meta-update, or the newest evaluation."""
        for record in records:
            if record["kind"] == "train":
                self._show_training(record)
        evaluations = [r for r in records if r["kind"] == "evaluation"]
        if evaluations:
            self._left.evaluated(evaluations[0])
            self._show_evaluation(evaluations)

    def _show_training(self, record):
        speed = record["steps_sampled"] / max(record["seconds"], 1e-9)
        left = self._left.after(record)
        told = "the first contains compilation" if left is None else f"about {left:,.0f} s left"
        status = f"return {record['average_return']:8.2f}  {speed:8,.0f} steps/s  {told}"
        if self._bar is not None:
            self._bar.update(record["meta_update"], status)
            return
        self._console.print(f"meta-update {record['meta_update']:>5}/{self._total}  {status}")

    def _show_evaluation(self, evaluations):
        last = max(r["fast_update"] for r in evaluations)
        shown = {r["task_set"]: r for r in evaluations if r["fast_update"] == last}
        parts = "  ".join(
            f"{sign} {shown[name]['average_return']:8.2f}" for name, sign in SIGNS.items() if name in shown
        )
        done = evaluations[0]["meta_update"]
        self._console.print(f"evaluation after {done} meta-updates and {last} fast-updates:  {parts}")

    def close(self):
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
