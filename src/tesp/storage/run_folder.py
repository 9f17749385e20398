"""The folder of a run: what lies where, made whole or not at all."""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from tesp.errors import RunFolderError
from tesp.interface import Interface
from tesp.storage.files import json_lines, written_beside
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks import family_files

_PACKAGES = ("tesp", "jax", "jaxlib", "equinox", "optax", "mujoco", "gymnasium", "orbax-checkpoint", "numpy")
#: A run is not started with less free space than this, bytes.
_LEAST_FREE = 64 * 2**20


class RunFolder:
    """Paths and files of one run.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

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
    def checkpoints(self) -> Path:
        """Checkpoints, one subfolder each."""
        return self.path / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run has come to its first checkpoint."""
        return any(self.checkpoints.glob("[0-9]*"))

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
        config: str,
        task_sets: dict[str, TaskSet],
        interface: Interface | None = None,
        family: str = "",
    ) -> "RunFolder":
        """Make the folder of a new run with its configuration, task sets, versions and what its agents see and do.

        It is prepared beside its place and moved there when it is whole. Where ``family`` is ``FILE.py:NAME``, a copy
        of that file is kept too.

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
            prepared = Path(tempfile.mkdtemp(prefix=f".{folder.path.name}-", dir=folder.path.parent))
        except OSError as error:
            raise RunFolderError(
                f"The run folder {folder.path} cannot be made: {error.strerror}. Give a folder that you may write "
                "to with --output."
            ) from error
        try:
            _fill(prepared, config, task_sets, interface)
            family_files.store_copy(family, prepared)
            prepared.chmod(0o755)
            prepared.rename(folder.path)
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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunFolderError: Another process trains it.
        """
        try:
            with FileLock(self.path / ".lock", blocking=False):
                yield
        except Timeout as error:
            raise RunFolderError(
                f"Another process is training {self.path}. Wait for it or stop it, then try again."
            ) from error

    def read_config(self) -> str:
        """Return the stored configuration, JSON."""
        return (self.path / "config.json").read_text(encoding="utf-8", errors="replace")

    def read_versions(self) -> dict[str, str] | None:
        """Return the versions that the run began with, or None if they are not known."""
        try:
            return json.loads((self.path / "versions.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def read_interface(self) -> Interface | None:
        """Return what agents of the run see and do, or None if the run does not say.

        Raises:
            RunFolderError: The file is damaged.
        """
        path = self.path / "interface.json"
        if not path.is_file():
            return None
        try:
            return Interface.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError) as error:
            raise RunFolderError(f"{path} is damaged: {error}. Restore it or remove it.") from error

    def read_task_sets(self) -> dict[str, TaskSet]:
        """Return the stored task sets.

        Raises:
            RunFolderError: Their file is damaged.
        """
        path = self.path / "tasks.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            return {name: TaskSet(name, np.array(stored[name], np.float64, ndmin=2)) for name in TASK_SETS}
        except (ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{path} is damaged: it does not hold the task sets {', '.join(TASK_SETS)}. Restore it."
            ) from error

    def read_records(self) -> list[dict[str, Any]]:
        """Return all records; a last line that was torn by a crash is left out.

        Raises:
            RunFolderError: Another line is damaged.
        """
        return [record for _, record in json_lines(self.records)]

    def keep_records(self, keep) -> None:
        """Drop the records for which ``keep(record)`` is false, in one atomic replacement of the file."""
        lines = [json.dumps(record) + "\n" for record in self.read_records() if keep(record)]
        write_whole(self.records, "".join(lines))


def _fill(folder: Path, config: str, task_sets: dict[str, TaskSet], interface: Interface | None) -> None:
    """Write what every run begins with."""
    tasks = {name: task_set.tasks.tolist() for name, task_set in task_sets.items()}
    texts = {"config": config, "tasks": json.dumps(tasks) + "\n", "versions": json.dumps(versions(), indent=2) + "\n"}
    if interface is not None:
        texts["interface"] = json.dumps(asdict(interface), indent=2) + "\n"
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / "records.jsonl").touch()


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all, making its folder if need be."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def append_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Append records to a file of JSON lines, all of them in one write, after its last whole line."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    _cut_torn_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _cut_torn_line(path: Path) -> None:
    """Remove a last line that a crash tore; it would grow together with the next record."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def versions() -> dict[str, str]:
    """Return the versions of Python, the operating system's name and the packages that results depend on."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "system": platform.system(), **packages}


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise RunFolderError(
            f"The disk of {folder} is full: {free / 2**20:.0f} MB are free and a run needs at least "
            f"{_LEAST_FREE / 2**20:.0f} MB. Free some space or give another folder with --output."
        )
