"""Learners that were trained and come with the package, each a file with a card that says what it can do.

A name such as ``tesp/reacher2`` stands for one wherever the file of a learner may be given. A file or folder of that
name goes before it.
"""

import os
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError, did_you_mean

#: What names of learners that come with the package begin with, and how their files end.
PREFIX, ENDING = "tesp/", ".safetensors"

_SHELF = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all learners that come with the package."""
    return sorted(PREFIX + path.stem for path in _SHELF.glob(f"*{ENDING}"))


def is_name(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is read as the name of a learner of the package: it begins as one and leads nowhere."""
    return os.fspath(path).startswith(PREFIX) and not Path(path).exists()


def located(path: str | os.PathLike[str]) -> Path:
    """Return where the file of a learner lies: in the package if ``path`` is the name of one, else at ``path``.

    Raises:
        RunFolderError: There is no learner of that name.
    """
    if not is_name(path):
        return Path(path)
    name = os.fspath(path)
    if name not in names():
        raise RunFolderError(
            f"There is no trained learner {name!r}{did_you_mean(name, names())}, and nothing lies there; "
            "`tesp list --trained` shows all."
        )
    return _SHELF / f"{name.removeprefix(PREFIX)}{ENDING}"


def card(name: str) -> str:
    """Return the card of a learner of the package, as Markdown.

    Raises:
        RunFolderError: There is no learner of that name.
    """
    return located(name).with_suffix(".md").read_text(encoding="utf-8")


def front_matter(text: str) -> dict[str, Any]:
    """Return what the head of a card says, between its first two lines of dashes."""
    import yaml  # Only whoever reads cards needs it.

    return yaml.safe_load(text.split("---\n")[1])
