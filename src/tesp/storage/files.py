"""Files that appear when they are whole, or not at all, and lines that a crash may have torn."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; move it into place afterwards, or remove it after an error.

    The path given has the ending of ``path``, since many formats are chosen by it, and begins with a dot. No two
    writers are given the same one, so the last to finish wins and none ever moves what another has half-written.

    Args:
        path: The file, which may exist; its folder is made if needed.

    Raises:
        OSError: The folder cannot be made, or nothing can be moved there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield what each line of a file of JSON lines holds, with its number from 1; nothing where there is no file.

    A process that is killed while it writes leaves a last line without its end. Such a line is left out; any other
    line that cannot be read is an error, since then the file was damaged by something else.

    Args:
        path: The file, for instance ``runs/NAME/records.jsonl``.

    Raises:
        RunFolderError: A line is not JSON; names it.
    """
    ended = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    for number, line in enumerate(ended, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise RunFolderError(
                    f"Line {number} of {path} is not a record; remove the line or restore the file."
                ) from error
