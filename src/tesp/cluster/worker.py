"""What a machine of a cluster does for a sweep: it trains one run to its end and says how far it is."""

import contextlib
import hashlib
import queue
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tesp.cluster.parcels import Packer, Parcel, unpack
from tesp.cluster.ray import UnfitError, require_fitting
from tesp.compilation_cache import use_compilation_cache
from tesp.devices import use_cores
from tesp.errors import BusyError, TespError, describe_error
from tesp.training.callbacks import Callback

#: Seconds that a run waits for the process that trained it on a machine that was given up: it may not know that yet,
#: and a shared disk keeps the lock of a machine that is gone for a minute and a half.
_PATIENCE = 180.0
#: News that wait for the driver; while there are so many, the training waits.
WAITING = 4


@dataclass(frozen=True)
class Order:
    """What a machine is told.

    Attributes:
        name: What the run is called; no path.
        folder: Where it lies for the driver, an absolute path.
        mark: A file of the driver's, by which a machine sees whether a path leads to the same place for it.
        marked: What stands in that file.
        cores: How many cores the run may use.
        versions: What the driver has installed.
        contents: The run, for a machine that does not see the driver's folder; None if it is not known to be needed.
    """

    name: str
    folder: str
    mark: str
    marked: str
    cores: int
    versions: dict[str, str]
    contents: Parcel | None = None


@dataclass(frozen=True)
class Refused:
    """The machine cannot do it, for other versions are installed there."""

    node: str
    reason: str


@dataclass(frozen=True)
class Unseen:
    """The machine does not see the driver's folder, and needs the run's contents."""


@dataclass(frozen=True)
class Begun:
    """Training begins.

    Attributes:
        machine: Where.
        meta_update: After how many meta-updates.
        travels: Whether it lies in another folder than the driver's, and its changes come as parcels.
    """

    machine: str
    meta_update: int
    travels: bool


@dataclass(frozen=True)
class Trained:
    """One more meta-update is done.

    Attributes:
        meta_update: How many are done.
        average_return: Of its last round.
        seconds: How long it took.
    """

    meta_update: int
    average_return: float
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The run cannot be trained to its end.

    Attributes:
        reason: In one sentence.
        details: Where in the code, if nobody foresaw it.
    """

    reason: str
    details: str = ""


@dataclass(frozen=True)
class Finished:
    """The run is trained to its end."""


News = Refused | Unseen | Begun | Trained | Parcel | Failed | Finished
Tell = Callable[[News], None]


def trained(order: Order) -> Iterator[News]:
    """Train a run to its end, from wherever it is; yield what happens. The process does nothing else."""
    import ray

    machine = ray.util.get_node_ip_address()
    try:
        require_fitting(order.versions, machine)
    except UnfitError as error:
        yield Refused(ray.get_runtime_context().get_node_id(), str(error))
        return
    travels = not _sees(order)
    if travels and order.contents is None:
        yield Unseen()
        return
    use_cores(order.cores)
    use_compilation_cache()
    with _copy(order) if travels else contextlib.nullcontext(Path(order.folder)) as folder:
        yield from in_thread(lambda tell: _train(order, folder, _Telling(machine, folder if travels else None, tell)))


def _sees(order: Order) -> bool:
    try:
        return Path(order.mark).read_text(encoding="utf-8") == order.marked
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def _copy(order: Order) -> Iterator[Path]:
    """Give a folder of this machine with the run in it; what attempts that were cut short have left is removed."""
    assert order.contents is not None
    # The same for whoever drives the sweep, so that what is left of one that was killed is found by the next.
    sweep = hashlib.sha256(order.folder.encode()).hexdigest()
    prefix = f"tesp-{order.name[:60]}-{sweep[:16]}-"
    for remnant in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(Timeout, OSError), FileLock(remnant / ".lock", blocking=False):
            shutil.rmtree(remnant, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        unpack(order.contents, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def in_thread(work: Callable[[Tell], None]) -> Iterator[News]:
    """Do work in a thread of its own; yield what it tells, and at last `Finished` or `Failed`."""
    news: queue.Queue[News] = queue.Queue(WAITING)

    def run() -> None:
        try:
            work(news.put)
            news.put(Finished())
        except TespError as error:
            news.put(Failed(str(error)))
        except BaseException as error:
            news.put(Failed(f"{describe_error(error)}.", traceback.format_exc()))

    threading.Thread(target=run, daemon=True).start()
    while True:
        yield (last := news.get())
        if isinstance(last, Finished | Failed):
            return


def _train(order: Order, folder: Path, telling: "_Telling") -> None:
    from tesp import runs  # Imports JAX, which must find the cores chosen.

    since = time.monotonic()
    while True:
        try:
            runs.resume(folder, threads=order.cores, callbacks=[telling], trust=True)
            return telling.send()
        except BusyError:
            if time.monotonic() > since + _PATIENCE:
                raise
            time.sleep(0.5)


class _Telling(Callback):
    """Tells the driver what happens, and sends what changes in a folder that it does not see."""

    def __init__(self, machine: str, travelling: Path | None, tell: Tell):
        self._machine, self._travels, self._tell = machine, travelling is not None, tell
        self._packer = None if travelling is None else Packer(travelling)
        if self._packer is not None:
            self._packer.pack()

    def on_start(self, folder: Path, config: Any, meta_update: int) -> None:
        self._tell(Begun(self._machine, meta_update, self._travels))

    def on_records(self, records: Sequence[dict[str, Any]]) -> None:
        for record in records:
            if record["kind"] == "train":
                self._tell(Trained(record["meta_update"], record["average_return"], record["seconds"]))

    def on_state(self, meta_update: int) -> None:
        self.send()

    def on_checkpoint(self, meta_update: int) -> None:
        self.send()

    def send(self) -> None:
        """Send what has changed."""
        if self._packer is not None:
            self._tell(self._packer.pack())
