"""What commands share that work on tasks over hosts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from tesp.errors import ConfigurationError

if TYPE_CHECKING:
    from tesp.episodes.executor import Elsewhere


@dataclass(frozen=True)
class HostArguments:
    """Where the tasks are worked on."""

    ray: Annotated[str | None, tyro.conf.arg(metavar="[local|auto|HOST:PORT]")] = None
    """Spread the tasks over hosts by Ray: on this machine (`local`, or nothing), or on a cluster."""
    hosts: int | None = None
    """Hosts at most where --ray is given (by default one on each machine). No result depends on it."""


def elsewhere_of(given: HostArguments, console: Console, learning: bool = True) -> "Elsewhere | None":
    """Return where the tasks are worked on; None for this process.

    Args:
        given: What the command was given.
        console: Where is told what happens to hosts.
        learning: Whether meta-updates will be asked for.

    Raises:
        ConfigurationError: Ray is missing, or an option makes no sense without it.
    """
    if given.ray is None:
        if given.hosts is not None:
            raise ConfigurationError("--hosts is for a Ray cluster; give --ray too, or leave it out.")
        return None
    from tesp.cluster.ray import imported

    # Before all that takes longer to import.
    imported()
    from tesp.cluster.hosts import on_hosts

    return on_hosts(given.ray, given.hosts, console, learning=learning)
