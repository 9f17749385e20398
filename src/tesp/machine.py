"""What this machine is."""

import os
import platform
from pathlib import Path


def processor_name() -> str:
    """Return the processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return told or platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Return the bytes of memory that this process may use at most; None if the system does not say.

    In a container, or under a job scheduler, that is the least limit of its control groups.
    """
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        there = 0
    return min([*([there] if there > 0 else []), *group_limits()], default=None)


def group_limits(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the limits of memory of this process's control groups and those around them, in bytes.

    Args:
        groups: The file that names the groups of the process (`cgroups(7)`): ``0::/a/b`` in version 2,
            ``4:memory:/a/b`` in version 1.
        mounted: Where the groups are mounted.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        kinds, _, path = line.partition(":")[2].partition(":")
        if kinds not in ("", "memory"):
            continue
        root, name = (mounted / "memory", "memory.limit_in_bytes") if kinds else (mounted, "memory.max")
        # A container sees its own group as the root, and the path outside of it leads nowhere.
        for group in [Path(path.strip("/")), *Path(path.strip("/")).parents]:
            try:
                text = (root / group / name).read_text(encoding="utf-8").strip()
            except OSError:
                continue
            # "max" is none.
            if text.isascii() and text.isdigit():
                limits.append(int(text))
    return limits
