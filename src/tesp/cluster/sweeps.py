"""Many runs at once on a cluster: each is a task of Ray, and whatever is lost goes on elsewhere."""

import contextlib
import re
import secrets
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from tesp import runs
from tesp.bounds import Settings, require_at_least
from tesp.cluster.board import Board
from tesp.cluster.parcels import Packer, Parcel, unpack
from tesp.cluster.ray import LOCAL, Cluster, UnfitError, connect, first_line, versions
from tesp.cluster.worker import WAITING, Begun, Failed, Finished, News, Order, Refused, Trained, Unseen, trained
from tesp.config import Config
from tesp.devices import usable_cores
from tesp.errors import ConfigurationError, RunFolderError, TespError
from tesp.storage.files import write_whole
from tesp.storage.run_folder import RunFolder

#: How often in a row a run may be lost without one more meta-update before it counts as failed.
_LOSSES = 3
#: Seconds between two looks for news. While Ray waits for them itself, it makes a Ctrl-C of every signal.
_TICK = 0.05
#: How many runs wait at Ray, besides one for every run that is under way: what is wanted makes clusters grow.
_AHEAD = 8
#: Seconds without a run that is trained after which that is said.
_PATIENCE = 60.0
#: How a machine or a process was lost, by what Ray calls it.
_LOSS_OF = {
    "NodeDiedError": "its machine is gone",
    "WorkerCrashedError": "its process ended",
    "OutOfMemoryError": "its machine had too little memory",
    "ObjectLostError": "its machine is gone",
    "OwnerDiedError": "its process ended",
}
#: What a run's folder holds of an error that nobody foresaw.
_DETAILS = "error.txt"


@dataclass(frozen=True)
class RaySettings(Settings):
    """Where a sweep runs, and how much of it at once.

    Attributes:
        address: ``local`` for this machine, ``auto`` or ``HOST:PORT`` for a cluster that runs.
        cpus_per_run: Cores of each run.
        max_concurrent: How many runs there are at once at most; None for as many as there are cores for.
    """

    address: str = LOCAL
    cpus_per_run: int = 1
    max_concurrent: int | None = None

    def __post_init__(self):
        require_at_least(self, 1, "cpus_per_run")
        if self.max_concurrent is not None:
            require_at_least(self, 1, "max_concurrent")
        if self.address == LOCAL and self.cpus_per_run > usable_cores():
            raise ConfigurationError(
                f"cpus_per_run = {self.cpus_per_run} is not possible on this machine, which has {usable_cores()} "
                "cores; give fewer, or the address of a cluster."
            )


def work(
    settings: RaySettings, folders: Mapping[Path, Config], output: Path, console: Console | None = None
) -> dict[Path, str]:
    """Bring runs to their ends on a cluster; return why those failed that did.

    Each run is a process of its own, with so many single-threaded devices as it has cores. A machine that sees the
    folder ``output`` under the same path works in it; from any other one a run's changes are brought back after every
    meta-update. A run whose machine or process is lost goes on elsewhere from its last stored state.

    Args:
        settings: Where.
        folders: The configurations by the folders of their runs, inside ``output``. Finished ones are skipped, and
            those that are begun go on.
        output: A folder that holds all of them, in which no other process works.
        console: Where is shown how it goes; by default nowhere.

    Raises:
        ConfigurationError: Ray is missing, there is no cluster at the address, or no machine of it fits.
    """
    done = {folder for folder in folders if folder.exists() and runs.is_finished(folder)}
    ends = {folder.relative_to(output).as_posix(): config.schedule.meta_updates for folder, config in folders.items()}
    board = Board(console, ends, {folder.relative_to(output).as_posix() for folder in done})
    waiting = deque(_Run(folder, config, output) for folder, config in folders.items() if folder not in done)
    if not waiting:
        return {}
    with _marked(output) as (mark, marked), connect(settings.address) as cluster:
        where = "on this machine" if cluster.address == LOCAL else f"at {cluster.address}"
        board.say(f"Ray {where}: {cluster.cores():g} cores, {settings.cpus_per_run} for each run")
        with board:
            return _Sweep(cluster, settings, board, mark, marked).work(waiting)


@contextlib.contextmanager
def _marked(output: Path) -> Iterator[tuple[Path, str]]:
    """Leave a file in the folder by which machines know it as long as the sweep is under way."""
    mark, marked = output.absolute() / ".sweep", secrets.token_hex(16)
    write_whole(mark, marked)
    try:
        yield mark, marked
    finally:
        mark.unlink(missing_ok=True)


class _Run:
    """A run of a sweep that is not finished.

    Attributes:
        folder: Where it lies.
        config: What is trained.
        name: Its folder's path within the sweep's.
        losses: How often it was lost since its last meta-update.
        running: Whether it is trained somewhere.
        held: Holds the lock of its folder while it is trained in another one.
    """

    def __init__(self, folder: Path, config: Config, output: Path):
        self.folder, self.config, self.name = folder, config, folder.relative_to(output).as_posix()
        self.losses, self.running, self.held = 0, False, contextlib.ExitStack()


@dataclass(frozen=True)
class _Lost:
    """A machine or a process ended before the run did."""

    reason: str


class _Sweep:
    """The driver's side of a sweep."""

    def __init__(self, cluster: Cluster, settings: RaySettings, board: Board, mark: Path, marked: str):
        self._cluster, self._settings, self._board = cluster, settings, board
        self._mark, self._marked, self._versions = mark, marked, versions()
        # A process for every run, since what JAX computes on is chosen once. Ray's own attempts would know no lock.
        self._task = cluster.ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(trained)
        self._active: dict[Any, _Run] = {}
        self._refused: dict[str, str] = {}
        self._travels = False
        self._finished: list[_Run] = []
        self._idle_since, self._told = time.monotonic(), False
        self._failed: dict[Path, str] = {}

    def work(self, waiting: deque[_Run]) -> dict[Path, str]:
        """Bring the runs to their ends."""
        try:
            while waiting or self._active:
                if more := bool(waiting) and len(self._active) < self._most():
                    self._submit(waiting.popleft())
                heard, again = self._listen()
                waiting.extendleft(again)
                if not (heard or more):
                    time.sleep(_TICK)
        finally:
            for run in self._active.values():
                run.held.close()
        for run in self._finished:
            if not runs.is_finished(run.folder):
                self._fail(run, f"{run.folder} does not show the end that it came to; the same command goes on.")
        return self._failed

    def _most(self) -> int:
        if self._settings.max_concurrent is not None:
            return self._settings.max_concurrent
        return 2 * int(self._cluster.cores() // self._settings.cpus_per_run) + _AHEAD

    def _submit(self, run: _Run) -> None:
        try:
            if not run.folder.exists():
                runs.begin(run.config, run.folder)
            contents = Packer(run.folder).pack() if self._travels else None
        except TespError as error:
            self._fail(run, str(error))
            return
        order = Order(
            name=run.name.replace("/", "-"),
            folder=str(run.folder.absolute()),
            mark=str(self._mark),
            marked=self._marked,
            cores=self._settings.cpus_per_run,
            versions=self._versions,
            contents=contents,
        )
        fitting = {"ray.io/node-id": f"!in({', '.join(self._refused)})"} if self._refused else None
        options = {
            "num_cpus": self._settings.cpus_per_run,
            "name": run.name,
            "label_selector": fitting,
            # News that nobody has taken yet make a machine wait.
            "_generator_backpressure_num_objects": WAITING,
        }
        self._active[self._task.options(**options).remote(order)] = run

    def _listen(self) -> tuple[bool, list[_Run]]:
        """Take what is new; return whether there was anything, and the runs that have to be given out again."""
        streams = list(self._active)
        if not streams:
            return False, []
        ready, _ = self._cluster.ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        again = [run for stream in ready if (run := self._take(stream)) is not None]
        self._watch()
        self._board.show()
        return bool(ready), again

    def _take(self, stream: Any) -> _Run | None:
        """Take the next news of an attempt; return its run if there has to be another one."""
        run = self._active[stream]
        try:
            news = self._cluster.ray.get(next(stream))
        except (StopIteration, self._cluster.ray.exceptions.RayError) as error:
            news = self._explained(error)
        if isinstance(news, Begun | Trained | Parcel):
            try:
                self._goes_on(run, news)
                return None
            except RunFolderError as error:
                self._cluster.ray.cancel(stream, force=True)
                news = Failed(str(error))
        del self._active[stream]
        run.running = False
        run.held.close()
        return run if self._ends(run, news) else None

    def _watch(self) -> None:
        """Say, once, if no machine has taken a run for a while."""
        if any(run.running for run in self._active.values()) or not self._active:
            self._idle_since = time.monotonic()
        elif time.monotonic() > self._idle_since + _PATIENCE and not self._told:
            self._told = True
            cores = self._settings.cpus_per_run
            self._board.say(
                f"no machine has begun with a run for {_PATIENCE:.0f} s: waiting for one with {cores} free cores"
            )

    def _goes_on(self, run: _Run, news: Begun | Trained | Parcel) -> None:
        if isinstance(news, Begun):
            if news.travels:
                run.held.enter_context(RunFolder(run.folder).locked())
            run.running = True
            self._board.begun(run.name, news.machine, news.meta_update)
        elif isinstance(news, Trained):
            run.losses = 0
            self._board.trained(run.name, news.meta_update, news.average_return)
        else:
            unpack(news, run.folder)

    def _ends(self, run: _Run, news: News | _Lost) -> bool:
        """Take the last news of an attempt; say whether there has to be another one."""
        if isinstance(news, Finished):
            self._finished.append(run)
            self._board.finished(run.name)
            return False
        if isinstance(news, Failed):
            self._fail(run, news.reason, news.details)
            return False
        if isinstance(news, Unseen) and not self._travels:
            self._travels = True
            self._board.say(f"A machine does not see {self._mark.parent}: runs there are brought back as they grow.")
        if isinstance(news, Refused):
            self._refuse(news)
        if isinstance(news, _Lost):
            run.losses += 1
            if run.losses >= _LOSSES:
                self._fail(run, f"lost {_LOSSES} times in a row, at last so: {news.reason}")
                return False
            self._board.lost(run.name, news.reason)
        return True

    def _refuse(self, news: Refused) -> None:
        """Give a machine no more runs.

        Raises:
            UnfitError: No other one is left.
        """
        if news.node not in self._refused:
            self._refused[news.node] = news.reason
            self._board.say(f"left out: {news.reason}")
        if self._cluster.working_nodes() <= self._refused.keys():
            raise UnfitError(news.reason)

    def _fail(self, run: _Run, reason: str, details: str = "") -> None:
        self._failed[run.folder] = reason
        if details and run.folder.is_dir():
            write_whole(run.folder / _DETAILS, details)
        self._board.failed(run.name, reason)

    def _explained(self, error: Exception) -> Refused | _Lost:
        """Say whether a machine cannot do it, or was lost."""
        if isinstance(error, self._cluster.ray.exceptions.RayTaskError):
            # What goes wrong with a run comes as news: this is the machine's.
            told = str(error).strip()
            machine = found[1] if (found := re.search(r"ip=([\w.:]+)", told)) else ""
            reason = f"The machine {machine} cannot train a run: {told.splitlines()[-1].rstrip('.')}."
            node = next((node for node, address in self._cluster.nodes().items() if address == machine), None)
            return _Lost(reason) if node is None else Refused(node, reason)
        name = type(error).__name__
        return _Lost(_LOSS_OF.get(name, f"{name}: {first_line(error)}"))
