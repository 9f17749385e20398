"""Run folders that travel: what has changed in one, and putting it into another so that it can always be resumed."""

import contextlib
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tesp.errors import RunFolderError
from tesp.storage.files import written_beside

#: Put down first and taken up last: records may go beyond a stored state, and never the other way round.
_RECORDS = "records.jsonl"
_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Parcel:
    """What has changed in a run folder. A part is a file, or a checkpoint with all its files.

    Attributes:
        parts: For every part by its path within the folder: its files by their paths within the part; a part that is a
            file has one, whose path is empty.
        gone: Parts that are there no more.
    """

    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


class Packer:
    """Packs what has changed in a run folder since it packed last; the first time everything.

    Whoever calls it makes sure that nobody writes there meanwhile.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._packed: dict[str, tuple] = {}

    def pack(self) -> Parcel:
        """Return what has changed."""
        parts = _parts(self._folder)
        states = {name: _state(files) for name, files in parts.items()}
        changed = [name for name, state in states.items() if self._packed.get(name) != state]
        gone = tuple(sorted(self._packed.keys() - states.keys()))
        self._packed = states
        return Parcel({name: {own: path.read_bytes() for own, path in parts[name].items()} for name in changed}, gone)


def unpack(parcel: Parcel, folder: Path) -> None:
    """Put a parcel into a run folder, part by part, each whole or not at all.

    The order is such that the folder can be resumed wherever this ends: records first, then states, and last goes what
    is there no more.

    Raises:
        RunFolderError: A path leads out of the folder.
        OSError: Something cannot be written.
    """
    paths = [*parcel.gone, *(str(PurePosixPath(name, own)) for name, files in parcel.parts.items() for own in files)]
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise RunFolderError(f"{path!r} leads out of the run folder {folder}; nothing was written.")
    folder.mkdir(parents=True, exist_ok=True)
    for remnant in folder.glob(".incoming-*"):
        shutil.rmtree(remnant, ignore_errors=True)
    for name in sorted(parcel.parts, key=_turn):
        files = parcel.parts[name]
        if list(files) == [""]:
            with written_beside(folder / name) as beside:
                beside.write_bytes(files[""])
        else:
            _put_folder(files, folder / name, folder / f".incoming-{secrets.token_hex(8)}")
    for name in parcel.gone:
        place = folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def _put_folder(files: dict[str, bytes], place: Path, beside: Path) -> None:
    new, old = beside / "new", beside / "old"
    for own, content in files.items():
        path = new / own
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        place.rename(old)
    new.rename(place)
    shutil.rmtree(beside)


def _turn(name: str) -> tuple[bool, bool, str]:
    return name != _RECORDS, name.startswith(f"{_CHECKPOINTS}/"), name


def _parts(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the files of every part; what begins with a dot, or is not whole yet, is none."""
    found: dict[str, dict[str, Path]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and ".orbax-checkpoint-tmp" not in name]
        for name in names:
            path = Path(parent, name)
            within = path.relative_to(folder)
            inside = within.parts[0] == _CHECKPOINTS and len(within.parts) > 2
            if not name.startswith(".") or inside:
                part = Path(*within.parts[:2]) if inside else within
                own = within.relative_to(part).as_posix()
                found.setdefault(part.as_posix(), {})["" if own == "." else own] = path
    return found


def _state(files: dict[str, Path]) -> tuple:
    """Return what differs when one of the files has been written again."""
    states = {own: path.stat() for own, path in files.items()}
    return tuple((own, x.st_size, x.st_mtime_ns, x.st_ino) for own, x in sorted(states.items()))
