"""Files that appear when they are whole, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    # Shortened, for the name itself may be as long as names can be.
    beside = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all, making its folder if need be."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
