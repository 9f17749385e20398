"""How JAX sees the processor: one place, chosen before JAX starts, never by importing the library."""

import os
import sys

from tesp.errors import ConfigurationError

#: Set to a number to choose how many CPU devices the command line makes; 1 switches the sharding off.
VARIABLE = "TESP_CPU_DEVICES"
_SINGLE_THREADED = "--xla_cpu_multi_thread_eigen=false"


def use_all_cores() -> None:
    """Make one single-threaded CPU device per core, over which tasks are sharded.

    For many small products this is faster than one device with many threads. Importing ``tesp`` does not call
    this; the command line does. In a program of your own call it before JAX computes anything. It does nothing
    where ``XLA_FLAGS`` already speaks of CPU devices or threads, and has no effect on accelerators.

    Raises:
        ConfigurationError: The environment variable ``TESP_CPU_DEVICES`` is not a positive number.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" in flags or "xla_cpu_multi_thread_eigen" in flags:
        return
    count = _device_count()
    # Whoever asks for one device where there are more cores gets JAX's own threads.
    if count > 1 or usable_cores() == 1:
        ours = f"--xla_force_host_platform_device_count={count} {_SINGLE_THREADED}"
        os.environ["XLA_FLAGS"] = f"{flags} {ours}".strip()


def use_cores(count: int) -> None:
    """Make ``count`` single-threaded CPU devices, whatever the environment says: of a process that was given so many.

    Call it before JAX computes anything. It changes the environment, which children inherit.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    others = [
        x for x in flags if not x.startswith(("--xla_force_host_platform_device_count", "--xla_cpu_multi_thread"))
    ]
    os.environ |= {
        VARIABLE: str(count),
        "OMP_NUM_THREADS": str(count),
        "XLA_FLAGS": " ".join([*others, f"--xla_force_host_platform_device_count={count}", _SINGLE_THREADED]),
    }


def usable_cores() -> int:
    """Return how many cores this process may use; elsewhere than on Linux how many there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _device_count() -> int:
    given = os.environ.get(VARIABLE)
    if given is None:
        return usable_cores()
    if not given.isdecimal() or int(given) < 1:
        raise ConfigurationError(f"{VARIABLE} is {given!r}; it must be a whole number of at least 1.")
    return int(given)
