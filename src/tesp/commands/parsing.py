"""What all commands share: their arguments are dataclasses, from which options and help are made."""

from pathlib import Path
from typing import Annotated

import tyro

Folder = Annotated[Path, tyro.conf.Positional]


def parse(kind, arguments: list[str], program: str, description: str | None = None):
    """Return an instance of the dataclass ``kind``, or print help or the error and exit."""
    return tyro.cli(kind, args=arguments, prog=program, description=description)
