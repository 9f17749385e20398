"""The folder of a run: what lies where, made whole or not at all."""

import contextlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from tesp.errors import BusyError, RunFolderError
from tesp.interface import Interface
from tesp.machine import processor_name
from tesp.storage import identity
from tesp.storage.config_file import read_config
from tesp.storage.files import write_whole
from tesp.storage.interfaces import interface_from
from tesp.storage.records import Record, read_records, write_records
from tesp.storage.strict_json import dumps, read_json
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks import family_files

#: Packages that results depend on.
PACKAGES = ("tesp", "jax", "jaxlib", "equinox", "optax", "mujoco", "gymnasium", "orbax-checkpoint", "numpy")
#: A run is not started with less free space than this, bytes.
_LEAST_FREE = 64 * 2**20


class RunFolder:
    """Paths and files of one run.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._lock: FileLock | None = None
        self._locked_file: tuple[int, int] | None = None

    @property
    def records(self) -> Path:
        """JSON lines: what the run measured."""
        return self.path / "records.jsonl"

    @property
    def evaluations(self) -> Path:
        """JSON lines: what `tesp evaluate` measured with this run."""
        return self.path / "evaluations.jsonl"

    @property
    def adaptations(self) -> Path:
        """JSON lines: what `tesp adapt` measured with this run."""
        return self.path / "adaptations.jsonl"

    @property
    def details(self) -> Path:
        """JSON lines: every task by itself and the learned rates, as `tesp plot` measured them."""
        return self.path / "details.jsonl"

    @property
    def scores(self) -> Path:
        """JSON lines: what single tasks returned after each number of episodes, as comparisons measured it."""
        return self.path / "scores.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, one subfolder each."""
        return self.path / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run has come to its first checkpoint."""
        return any(self.checkpoints.glob("[0-9n]*"))

    @property
    def start(self) -> Path:
        """The learner that training began from, if it was given one."""
        return self.path / "start.safetensors"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def figures(self) -> Path:
        """Figures."""
        return self.path / "figures"

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        config: dict[str, Any],
        task_sets: dict[str, TaskSet],
        interface: Interface | None = None,
        family: str = "",
        also: Callable[[Path], object] | None = None,
    ) -> "RunFolder":
        """Make the folder of a new run with its configuration, task sets, versions and what its agents see and do.

        All of them carry the run's identity. The folder is prepared beside its place and moved there when it is whole.
        Where ``family`` is ``FILE.py:NAME``, a copy of that file is kept too. ``also`` writes what else belongs to it.

        Raises:
            RunFolderError: The folder exists, its parent cannot be written, or the disk is full.
        """
        folder = cls(path)
        try:
            if folder.path.exists():
                raise RunFolderError(
                    f"{folder.path} exists already. Continue it with `tesp resume {folder.path}`, or give another "
                    "folder with --output."
                )
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            _require_space(folder.path.parent)
            prepared = Path(tempfile.mkdtemp(prefix=f".{folder.path.name[:40]}-", dir=folder.path.parent))
        except OSError as error:
            raise RunFolderError(
                f"The run folder {folder.path} cannot be made: {error.strerror}. Give a folder that you may write "
                "to with --output."
            ) from error
        try:
            _fill(prepared, config, task_sets, interface)
            family_files.store_copy(family, prepared)
            if also is not None:
                also(prepared)
            prepared.chmod(0o755)
            prepared.rename(folder.path)
            family_files.remember(family, folder.path)
        except BaseException as error:
            shutil.rmtree(prepared, ignore_errors=True)
            if isinstance(error, OSError):
                raise RunFolderError(
                    f"The run folder {folder.path} cannot be written: {error.strerror}. Nothing was left behind; "
                    "free some space or give another folder with --output."
                ) from error
            raise
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Return the folder of an existing run.

        Raises:
            RunFolderError: It does not exist or is not a run folder.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise RunFolderError(f"There is no run folder {folder.path}; `tesp list` shows the runs there are.")
        for name in ("config.json", "tasks.json"):
            if not (folder.path / name).is_file():
                raise RunFolderError(
                    f"{folder.path} is not a run folder: it has no {name}. Give a folder that `tesp train` made."
                )
        return folder

    def require_no_links(self) -> None:
        """Refuse to write where a symbolic link inside the folder leads elsewhere.

        Raises:
            RunFolderError: There is one among what the run writes.
        """
        inside = [self.checkpoints, self.figures, self.tensorboard, self.path / "export", self.path / "wandb"]
        entries = [*self.path.iterdir(), *(path for place in inside for path in place.glob("*"))]
        for link in filter(Path.is_symlink, entries):
            raise RunFolderError(
                f"{link} is a symbolic link, and nothing is written through one. Put what it points to in its place."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunFolderError: Another process trains it, it holds symbolic links, or nothing can be locked there.
        """
        self.require_no_links()
        self._acquire()
        try:
            yield
        finally:
            assert self._lock is not None
            self._lock.release()
            self._lock = None

    def require_locked(self) -> None:
        """Make sure that this process still holds the run, before something is written into it.

        Raises:
            RunFolderError: The folder is gone, or somebody has removed the lock and another process trains the run now.
        """
        if not self.records.is_file():
            raise RunFolderError(
                f"{self.records} is gone, so training has stopped. Put the folder back where it was, then "
                f"`tesp resume {self.path}`."
            )
        if self._lock is not None and self._lock_identity() != self._locked_file:
            self._acquire()

    def _acquire(self) -> None:
        lock = FileLock(self.path / ".lock", blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                f"Another process is training {self.path}. Wait for it or stop it, then try again."
            ) from error
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RunFolderError(
                f"{self.path} cannot be locked against a second process that trains it: {reason}. Put the run on a "
                "file system that has locks, or free what is missing."
            ) from error
        self._lock, self._locked_file = lock, self._lock_identity()

    def _lock_identity(self) -> tuple[int, int] | None:
        try:
            found = (self.path / ".lock").stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def read_config(self) -> dict[str, Any]:
        """Return the stored configuration, as JSON has it. The family's file is the copy in the folder.

        Raises:
            RunFolderError: It is damaged.
        """
        return read_config(self.path)

    @property
    def identity(self) -> str | None:
        """What all parts of the run carry; None for a run of version 0.1."""
        return identity.identity_beside(self.path / "config.json")

    def lengthen(self, meta_updates: int) -> None:
        """Change the length of the run in its stored configuration."""
        path = self.path / "config.json"
        stored = read_json(path)
        stored["schedule"] = {**stored.get("schedule", {}), "meta_updates": meta_updates}
        write_whole(path, dumps(stored, 2) + "\n")

    def read_versions(self) -> dict[str, Any] | None:
        """Return the versions that the run began with, or None if they are not known."""
        try:
            stored = read_json(self.path / "versions.json")
        except RunFolderError:
            return None
        return {name: value for name, value in stored.items() if name != identity.FIELD}

    def write_versions(self) -> None:
        """Store the versions of this process, with which the run begins."""
        own = {} if self.identity is None else {identity.FIELD: self.identity}
        write_whole(self.path / "versions.json", dumps({**own, **versions()}, 2) + "\n")

    def versions_differ(self) -> bool:
        """Tell whether packages that results depend on are of other versions than the run began with."""
        before, now = self.read_versions() or {}, versions()
        return any(before.get(name) != now[name] for name in ("python", "system", *PACKAGES))

    def read_interface(self) -> Interface | None:
        """Return what agents of the run see and do, or None if the run does not say.

        Raises:
            RunFolderError: The file is damaged, or another run's.
        """
        path = self.path / "interface.json"
        if not path.is_file():
            return None
        stored = read_json(path)
        identity.require_identity(path, stored.pop(identity.FIELD, None))
        try:
            return interface_from(stored)
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged: {error}. Restore it or remove it.") from error

    def read_task_sets(self) -> dict[str, TaskSet]:
        """Return the stored task sets.

        Raises:
            RunFolderError: Their file is damaged, or another run's.
        """
        path = self.path / "tasks.json"
        stored = read_json(path, _StoredTasks)
        identity.require_identity(path, stored.run)
        rows = {name: _as_rows(getattr(stored, name)) for name in TASK_SETS}
        sizes = {tasks.shape[1:] for tasks in rows.values()}
        interface = self.read_interface()
        if interface is not None:
            sizes.add((interface.task_size,))
        if len(sizes) > 1 or not all(map(_are_tasks, rows.values())):
            raise RunFolderError(
                f"{path} is damaged: every task set needs one task or more, all of as many finite parameters as the "
                "run's tasks have. Restore it."
            )
        return {name: TaskSet(name, tasks) for name, tasks in rows.items()}

    def read_records(self) -> list[Record]:
        """Return all records; a last line that was torn by a crash is left out.

        Raises:
            RunFolderError: Another line is damaged, or the file is another run's.
        """
        return read_records(self.records, empty=True)

    def keep_records(self, keep: Callable[[Record], bool]) -> None:
        """Drop the records for which ``keep(record)`` is false, in one atomic replacement of the file."""
        write_records(self.records, [record for record in self.read_records() if keep(record)])


@dataclass(frozen=True)
class _StoredTasks:
    train: list[list[float]]
    in_distribution: list[list[float]]
    out_of_distribution: list[list[float]]
    run: str | None = None


def _as_rows(rows: list[list[float]]) -> np.ndarray:
    """Return rows as an array; one that cannot be a set of tasks if they are of several lengths."""
    return np.array(rows, np.float64) if len({len(row) for row in rows}) == 1 else np.empty(0)


def _are_tasks(rows: np.ndarray) -> bool:
    """Tell whether an array is a set of tasks that networks can be told of: they compute in single precision."""
    return rows.ndim == 2 and bool((np.abs(rows) <= np.finfo(np.float32).max).all())


def _fill(folder: Path, config: dict[str, Any], task_sets: dict[str, TaskSet], interface: Interface | None) -> None:
    """Write what every run begins with."""
    parts = {
        "config": config,
        "tasks": {name: task_set.tasks.tolist() for name, task_set in task_sets.items()},
        "versions": versions(),
    }
    if interface is not None:
        parts["interface"] = asdict(interface)
    own = {identity.FIELD: identity.new_identity()}
    for name, part in parts.items():
        text = dumps({**own, **part}, None if name == "tasks" else 2)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    write_records(folder / "records.jsonl", [])


def versions() -> dict[str, str]:
    """Return what results depend on besides the configuration: versions, and on what they are computed."""
    import jax  # Slow to import, and whoever only reads a folder has no need of it.

    packages = _packages()
    devices = jax.devices()
    machine = {"processor": processor_name(), "devices": f"{len(devices)} × {devices[0].device_kind}"}
    commit = _commit()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        **packages,
        **machine,
        **({"commit": commit} if commit else {}),
    }


@cache
def _packages() -> dict[str, str]:
    """Return the versions of the packages that results depend on; reading them takes a tenth of a second."""
    return {name: metadata.version(name) for name in PACKAGES}


@cache
def _commit() -> str | None:
    """Return the commit of the library's own source, if it is run from a repository; with ``-dirty`` if it differs."""
    source = Path(__file__).parents[3]
    if not (source / ".git").exists():
        return None
    command = ["git", "-C", str(source), "describe", "--always", "--abbrev=40", "--dirty"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return told.stdout.strip() or None
    return None


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise RunFolderError(
            f"The disk of {folder} is full: {free / 2**20:.0f} MB are free and a run needs at least "
            f"{_LEAST_FREE / 2**20:.0f} MB. Free some space or give another folder with --output."
        )
