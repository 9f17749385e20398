"""How JAX sees the processor: one place, chosen before JAX starts, never by importing the library."""

import os

#: Set to a number to choose how many CPU devices the command line makes; 1 switches the sharding off.
VARIABLE = "TESP_CPU_DEVICES"
_SINGLE_THREADED = "--xla_cpu_multi_thread_eigen=false"


def use_all_cores() -> None:
    """Make one single-threaded CPU device per core, over which tasks are sharded.

    For many small products this is faster than one device with many threads. Importing ``tesp`` does not call
    this; the command line does. In a program of your own call it before JAX computes anything. It does nothing
    where ``XLA_FLAGS`` already speaks of CPU devices or threads, and has no effect on accelerators.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" in flags or "xla_cpu_multi_thread_eigen" in flags:
        return
    count = int(os.environ.get(VARIABLE) or len(os.sched_getaffinity(0)))
    if count > 1:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count} {_SINGLE_THREADED}".strip()
