"""``tesp pull``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tesp.commands.parsing import parse


@dataclass(frozen=True)
class PullArguments:
    """Fetch a learner from a repository on Hugging Face."""

    repository: Annotated[str, tyro.conf.Positional]
    """USER/NAME."""
    output: Path | None = None
    """File to write, NAME.safetensors; by default it stays in the cache of Hugging Face's package."""
    revision: str | None = None
    """A branch, a tag or a commit; by default the newest."""


def run(arguments: list[str], console: Console) -> None:
    """Fetch a learner."""
    from tesp import hub

    parsed = parse(PullArguments, arguments, "tesp pull")
    path = hub.pull(parsed.repository, parsed.output, revision=parsed.revision)
    console.print(f"fetched: {path}", markup=False)
