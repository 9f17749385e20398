"""Compiled programs that outlive the process: a second command with the same shapes compiles nothing."""

import contextlib
import hashlib
import os
import platform
import sys
from pathlib import Path

import filelock
import platformdirs

from tesp.errors import ConfigurationError

#: Where compiled programs are kept, or ``off``.
VARIABLE = "TESP_COMPILATION_CACHE"
#: JAX's own variable of the same meaning. Where it is set, the user has chosen.
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
#: Beyond this many bytes, what was not used for longest goes. A bound also makes JAX lock the folder whenever it reads
#: or writes, so that no process finds half of what another one is writing.
_SIZE = 2**28
_OPTIONS = {
    "JAX_COMPILATION_CACHE_MAX_SIZE": _SIZE,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0,
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
}

#: Folders that this module has set: they are no choice of the user's.
_CHOSEN: set[str] = set()


def use_compilation_cache() -> Path | None:
    """Let JAX keep what it compiles in a folder, and look there first.

    Importing ``tesp`` does not call this; the command line does. In a program of your own call it before JAX computes
    anything. Where JAX's own variable ``JAX_COMPILATION_CACHE_DIR`` is set, it does nothing.

    The folder is ``TESP_COMPILATION_CACHE``, by default one of the user's cache folder, and in it one for every kind
    of processor: programs use all instructions of the one that they were compiled on. It may be shared by processes
    and removed at any time.

    Returns:
        The folder, or None where this function keeps nothing: with ``TESP_COMPILATION_CACHE=off``, if the user's cache
        folder cannot be written, or where JAX's own variable is set.

    Raises:
        ConfigurationError: The folder in ``TESP_COMPILATION_CACHE`` cannot be written.
    """
    given = os.environ.get(VARIABLE, "")
    if given.lower() == "off" or os.environ.get(_FOLDER, "") not in ("", *_CHOSEN):
        return None
    chosen = Path(given).expanduser() if given else platformdirs.user_cache_path("tesp") / "compiled"
    folder = chosen.absolute() / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _mend(folder)
    except OSError as error:
        if not given:
            return None
        reason = error.strerror or error
        raise ConfigurationError(
            f"The folder {VARIABLE} = {given!r} cannot be used: {reason}. Give one that you may write to, or `off`."
        ) from error
    options = {_FOLDER: str(folder), **{name: value for name, value in _OPTIONS.items() if name not in os.environ}}
    _CHOSEN.add(str(folder))
    os.environ.update({name: str(value) for name, value in options.items()})
    if "jax" in sys.modules:
        # It has read the environment already.
        import jax

        for name, value in options.items():
            jax.config.update(name.lower(), value)
    return folder


def _processor() -> str:
    """Return a name for the kind of this processor: its architecture and a digest of what it can do."""
    able = [platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        able += [next((line for line in lines if line.startswith(("flags", "Features"))), "")]
    return f"{platform.machine()}-{hashlib.sha256(' '.join(able).encode()).hexdigest()[:12]}"


def _mend(folder: Path) -> None:
    """Remove what a process that was killed, or a full disk, left half-written.

    JAX writes a program to ``KEY-cache`` and then the time of its last use to ``KEY-atime``, without replacing files
    atomically: one without the other is not whole, and JAX would stumble over it for ever.
    """
    with filelock.FileLock(folder / ".lockfile", timeout=10):
        files = {path.name for path in folder.iterdir()}
        for name in files:
            key, _, kind = name.rpartition("-")
            other = {"cache": f"{key}-atime", "atime": f"{key}-cache"}.get(kind)
            if other is not None and other not in files:
                (folder / name).unlink(missing_ok=True)
