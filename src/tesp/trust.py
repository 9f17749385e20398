"""Whose code may run. Of a stored run it is only the copy of its family's file in its own folder, and with consent.

Consent is that this user's own training wrote the copy, which is remembered outside the folders of runs, or that
`allow` was called for the folder.
"""

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

import platformdirs

from tesp.errors import UntrustedError

#: Where it is remembered what this user's own training wrote; by default the user's state folder.
VARIABLE = "TESP_STATE"

#: What the copy is called in a run's folder.
COPY = "family.py"

#: Copies in the folders of stored runs, and the files that they were made of.
_OF_RUNS: dict[Path, str] = {}

#: Copies that the user has consented to in this process.
_ALLOWED: set[Path] = set()

_log = logging.getLogger(__name__)


def sha256(contents: bytes) -> str:
    """Return the SHA-256 of contents as hexadecimal digits."""
    return hashlib.sha256(contents).hexdigest()


def digest_of(folder: Path) -> str | None:
    """Return the SHA-256 of the copy in a run's folder; None if there is none."""
    copy = folder / COPY
    return sha256(copy.read_bytes()) if copy.is_file() else None


def copy_in(folder: Path, original: str) -> str:
    """Return the path of the copy in a stored run's folder, which is what is run of it.

    Args:
        folder: The run's folder.
        original: The file that the copy was made of, as the run's configuration names it.
    """
    copy = (folder / COPY).resolve()
    _OF_RUNS[copy] = original
    return str(copy)


def original_of(file: Path) -> str | None:
    """Return the file that a copy in a stored run's folder was made of, as the run says; None for other files."""
    return _OF_RUNS.get(file)


def allow(folder: Path) -> None:
    """Consent to running the copy in a run's folder, in this process."""
    _ALLOWED.add((folder / COPY).resolve())


def consented(copy: Path, contents: bytes) -> Path:
    """Say that the copy in a stored run's folder is run, and return the file beside which lies what it needs.

    Raises:
        UntrustedError: The user has not consented.
    """
    own = _recalled(copy, sha256(contents))
    if own is None and copy not in _ALLOWED:
        raise UntrustedError(
            f"{copy.parent} has code of its own, {copy}, which your own training did not write there. Read it, and "
            "give --trust (in Python trust=True) if it may be run."
        )
    _log.info("running the code of %s, %s", copy, "as you allow" if own is None else "which your own training wrote")
    # What a foreign folder names beside its own copy is not what was consented to.
    return copy if own is None else Path(own)


def shown(file: str) -> str:
    """Return the path by which a user knows a file: what a run's copy was made of, as long as both are the same."""
    original = _OF_RUNS.get(Path(file))
    return original if original is not None and is_same(Path(original), Path(file)) else file


def is_same(one: Path, other: Path) -> bool:
    """Tell whether two files can be read and are the same."""
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def remember(file: Path, digest: str, original: str) -> None:
    """Remember that this user's own training wrote a file of code.

    Where nothing can be remembered, consent must be given for each command.

    Args:
        file: The file.
        digest: SHA-256 of its contents.
        original: The file that it was copied from, beside which lies what the code needs.
    """
    entry = _entry(file)
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = entry.with_suffix(f".{os.getpid()}")
        content = {"file": str(file.resolve()), "sha256": digest, "original": original}
        beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
        beside.replace(entry)


def _recalled(file: Path, digest: str) -> str | None:
    """Return what a file was copied from if this user's own training wrote these contents at this place, else None."""
    try:
        found = json.loads(_entry(file).read_bytes())
        return found["original"] if (found["file"], found["sha256"]) == (str(file.resolve()), digest) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _entry(file: Path) -> Path:
    chosen = os.environ.get(VARIABLE)
    state = Path(chosen).expanduser() if chosen else platformdirs.user_state_path("tesp")
    return state / "trusted" / f"{hashlib.sha256(str(file.resolve()).encode()).hexdigest()}.json"
