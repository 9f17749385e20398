"""Records: JSON lines that say what a run measured, read and written in one place."""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError
from tesp.storage.files import write_whole
from tesp.storage.identity import identity_beside, require_identity
from tesp.storage.strict_json import dumps, loads

#: One line of a records file.
Record = dict[str, Any]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_count(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, dict) for x in value)


def _are_named_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_points(value: Any) -> bool:
    return isinstance(value, list) and all(map(_are_numbers, value))


def _are_embeddings(value: Any) -> bool:
    return isinstance(value, dict) and all(value.get(name) is None or _are_numbers(value[name]) for name in value)


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_IDENTITY = {"family": _is_text, "algorithm": _is_text, "seed": _is_count, "meta_update": _is_count}
_PROGRESS = {"environment_steps": _is_number, "wall_seconds": _is_number}

#: What each kind of record must hold before anything is made of it, and of what kind; others are read as they are.
FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "train": {"meta_update": _is_count},
    "reference": {"reference": _is_text, "family": _is_text, "task_set": _is_text, "average_return": _is_number},
    "evaluation": {
        **_IDENTITY,
        "task_set": _is_text,
        "fast_update": _is_count,
        **dict.fromkeys(("average_return", "average_return_std", "success_rate"), _is_number),
        **dict.fromkeys(("final_distance", "episode_length"), _is_number),
        **_PROGRESS,
    },
    "task": {
        **_IDENTITY,
        "task_set": _is_text,
        "task": _are_numbers,
        "is_goal": _is_flag,
        "average_return": _are_numbers,
        "start": _or_null(_are_numbers),
        "path": _or_null(_are_points),
        "embedding": _are_embeddings,
    },
    "scores": {
        **_IDENTITY,
        "task_set": _is_text,
        "episodes_per_round": _is_count,
        "as_trained": _is_flag,
        "fast_update": _is_count,
        **dict.fromkeys(("average_return", "success_rate"), _are_numbers),
        **dict.fromkeys(("episodes_used", "steps_used", "environment_steps"), _is_number),
    },
    "reference_scores": {"reference": _is_text, **_IDENTITY, "task_set": _is_text, "average_return": _are_numbers},
    "rates": {
        **_IDENTITY,
        "layer": _is_text,
        "learned": _is_flag,
        "entries": _is_count,
        "quantiles": _are_named_numbers,
        **dict.fromkeys(("negative", "at_bound"), _is_number),
        **dict.fromkeys(("bound", "initial_rate"), _or_null(_is_number)),
    },
    "adaptation": {
        "goal": _are_numbers,
        "fast_update": _is_count,
        "average_return": _is_number,
        "success_rate": _is_number,
        "episodes": _are_objects,
        "start": _or_null(_are_numbers),
    },
}

#: Fields of any kind that need not be there, and what they are if they are.
_ELSEWHERE: dict[str, Callable[[Any], bool]] = {
    **_IDENTITY,
    **dict.fromkeys(("task_set", "adaptation_id"), _is_text),
    **dict.fromkeys(("environment_steps", "wall_seconds", "seconds", "seconds_cpu", "seconds_meta_update"), _is_number),
    **dict.fromkeys(("final_distance", "episode_length", "dynamics_noise", "warm_up_return"), _is_number),
    **dict.fromkeys(("tasks", "episodes_per_task", "steps_sampled", "boundary_radius", "step_size"), _is_number),
    "round_returns": _are_numbers,
    "average_return_quantiles": _are_named_numbers,
}

#: Of a meta-update the same for what the training writes itself; a method's metrics are its own.
_OF_THE_LOOP = {
    name: _ELSEWHERE[name]
    for name in (
        *_IDENTITY,
        *_PROGRESS,
        "seconds",
        "seconds_cpu",
        "seconds_meta_update",
        "round_returns",
        "steps_sampled",
    )
}

#: Kinds whose numbers are measurements: null stands for one that is no number.
_MEASURED = ("train", "reference", "evaluation", "adaptation")


def read_records(path: str | Path, empty: bool = False) -> list[Record]:
    """Return the records of a file of JSON lines, in the order of writing.

    A process that is killed while it writes leaves a last line without its end. Such a line is left out; any other line
    that cannot be read is an error, since then the file was damaged by something else. A measurement that is null was
    not a number, and is NaN here.

    Args:
        path: The file, for instance ``runs/NAME/records.jsonl``.
        empty: Whether there may be no record, or no file.

    Raises:
        RunFolderError: A line is not a record, the file is another run's, is missing or holds no record; names the line
            and the field.
    """
    path = Path(path)
    if not path.is_file():
        if empty:
            return []
        raise RunFolderError(f"{path} does not exist; give the file or folder of a run that has been started.")
    lines = path.read_bytes().split(b"\n")[:-1]
    found = [(number, _parsed(line, path, number)) for number, line in enumerate(lines, 1) if line.strip()]
    headers = [value for _, value in found if isinstance(value, dict) and value.get("kind") == "run"]
    if found:
        # Two processes that began a file at once have both said whose it is.
        for name in {str(header.get("run")) for header in headers} or {None}:
            require_identity(path, name)
        found = [(number, value) for number, value in found if value not in headers]
    if not found and not empty:
        raise RunFolderError(f"{path} holds no record yet; wait until the run has written its first one.")
    return [_checked(value, path, number) for number, value in found]


def append_records(path: Path, records: Iterable[Record]) -> None:
    """Append records to a file, all of them in one write, after its last whole line.

    A new file begins with the identity of the run in whose folder it lies.

    Raises:
        OSError: The file cannot be written, is a symbolic link, or its folder is gone.
    """
    text = "".join(map(_line, records))
    # Several processes may evaluate one run: each write lands as a whole behind those of the others.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o644), "rb+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end and (whole := _end_of_whole_lines(file, end)) < end:
            file.truncate(whole)
            end = whole
        file.write(((_header(path) if end == 0 else "") + text).encode())


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace a file of records by another, whole or not at all."""
    write_whole(path, _header(path) + "".join(map(_line, records)))


def _line(record: Record) -> str:
    return dumps(record) + "\n"


def _header(path: Path) -> str:
    identity = identity_beside(path)
    return _line({"kind": "run", "run": identity}) if identity is not None else ""


def _end_of_whole_lines(file, end: int) -> int:
    """Return where the last whole line ends: what a crash tore would grow together with the next record."""
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return end
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _parsed(line: bytes, path: Path, number: int) -> Any:
    try:
        return loads(line)
    except ValueError as error:
        raise RunFolderError(
            f"Line {number} of {path} is not a record; remove the line or restore the file."
        ) from error


def _checked(record: Any, path: Path, number: int) -> Record:
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise RunFolderError(
            f'Line {number} of {path} is not a record (a JSON object with a "kind"); remove the line or '
            "restore the file."
        )
    where = f"Line {number} of {path}, of kind {record['kind']!r},"
    fields = FIELDS.get(record["kind"], {})
    if missing := [name for name in fields if name not in record]:
        raise RunFolderError(f"{where} lacks {', '.join(missing)}; it was written by another version or by hand.")
    if record["kind"] in _MEASURED:
        record = {name: _measured(name, x) for name, x in record.items()}
    elsewhere = _OF_THE_LOOP if record["kind"] == "train" else _ELSEWHERE
    for name, fits in {**elsewhere, **fields}.items():
        if name in record and not fits(record[name]) and not (record[name] is None and name not in fields):
            raise RunFolderError(
                f"{where} holds something else than it should in {name}; remove the line or restore the file."
            )
    return record


def _measured(name: str, value: Any) -> Any:
    if name in ("start", "goal", "episodes"):
        return value
    if isinstance(value, list):
        return [math.nan if x is None else x for x in value]
    if isinstance(value, dict):
        return {inner: math.nan if x is None else x for inner, x in value.items()}
    return math.nan if value is None else value
