"""The identity of a run: a random name that all its parts carry, so that none is taken for another run's."""

import secrets
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError
from tesp.storage.strict_json import loads

#: What it is called in every part.
FIELD = "run"


def new_identity() -> str:
    """Return an identity that no other run has."""
    return secrets.token_hex(16)


def identity_of(config: Any) -> str | None:
    """Return the identity that a run's configuration carries; None where it carries none, as before version 0.2."""
    found = config.get(FIELD) if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def identity_beside(path: Path) -> str | None:
    """Return the identity of the run in whose folder a file lies; None if it has none or cannot be read."""
    try:
        return identity_of(loads((path.parent / "config.json").read_bytes()))
    except (OSError, ValueError):
        return None


def require_identity(path: Path, found: Any) -> None:
    """Refuse a part of a run that carries another identity than the configuration in its folder.

    Args:
        path: The part, in the folder of the run.
        found: The identity that it carries, or None.

    Raises:
        RunFolderError: They differ.
    """
    if (path.parent / "config.json").is_file():
        require_same(path, found, identity_beside(path))


def require_same(path: Path, found: Any, wanted: str | None) -> None:
    """Refuse a part of a run that carries another identity than it should.

    Raises:
        RunFolderError: They differ.
    """
    if found != wanted:
        raise RunFolderError(f"{path} was written by another run than its config.json. Put the run's own back.")
