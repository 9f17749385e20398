"""What commands that train many runs share: where they are trained, and what they will cost."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class RunningArguments:
    """Where and how many runs are trained."""

    ray: Annotated[str | None, tyro.conf.arg(metavar="[local|auto|HOST:PORT]")] = None
    """Train many runs at once by Ray: on this machine (`local`, or nothing), or on a cluster."""
    cpus_per_run: int | None = None
    """Cores of each run with --ray (by default 1)."""
    max_concurrent: int | None = None
    """Runs at once with --ray (by default as many as there are cores for)."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the plan with what it will cost, which takes a few meta-updates, and train nothing."""


def worker_of(arguments: RunningArguments):
    """Return what trains the runs.

    Raises:
        ConfigurationError: Ray is missing, or an option makes no sense without it.
    """
    from tesp import compare

    if arguments.ray is None:
        for name, value in (("cpus-per-run", arguments.cpus_per_run), ("max-concurrent", arguments.max_concurrent)):
            if value is not None:
                raise ConfigurationError(f"--{name} is for runs by Ray; give --ray too, or leave it out.")
        return compare.one_after_another
    from tesp.cluster.ray import imported
    from tesp.cluster.sweeps import RaySettings, work

    imported()
    cores = 1 if arguments.cpus_per_run is None else arguments.cpus_per_run
    settings = RaySettings(arguments.ray, cores, arguments.max_concurrent)
    return partial(work, settings)
