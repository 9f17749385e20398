"""Compiled programs that outlive the process: a second command with the same shapes compiles nothing."""

import contextlib
import hashlib
import importlib
import os
import platform
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from tesp.errors import ConfigurationError

#: Where compiled programs are kept, or ``off``.
VARIABLE = "TESP_COMPILATION_CACHE"
#: JAX's own variable of the same meaning. Where it is set, the user has chosen.
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
#: Bytes that the folder may hold when a process starts; beyond, what was not used for longest goes.
_SIZE = 2**28
_OPTIONS = {
    # With a bound of its own JAX reads the time of last use of every program before it keeps another one, in a lock
    # that all processes share: a tenth of a second where there are 2,000 of them.
    "JAX_COMPILATION_CACHE_MAX_SIZE": -1,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0,
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
}

#: Seconds after which a program is no longer being written.
_SETTLED = 60.0
#: How a program begins that was compressed as zstd; zlib is the other possibility.
_ZSTD = b"\x28\xb5\x2f\xfd"

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
        _tidy(folder)
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
    """Return a name for the kind of this processor: its architecture and a digest of what it can do.

    The digest also covers how the folder is kept, for earlier revisions remove what this one keeps.
    """
    able = ["without a bound of JAX's own", platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        able += [next((line for line in lines if line.startswith(("flags", "Features"))), "")]
    return f"{platform.machine()}-{hashlib.sha256(' '.join(able).encode()).hexdigest()[:12]}"


def _tidy(folder: Path) -> None:
    """Remove what is torn, and what was not used for longest as long as there is too much.

    JAX does not write atomically, so a process that was killed and a full disk leave half of a program, over which JAX
    would stumble at every start. What was written since the last time is looked at; the time of a file of no content
    says when that was. Another process that is at it already is left to it.
    """
    looked_at, kept = folder / ".looked-at", []
    settled = time.time() - _SETTLED
    with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / ".lockfile", blocking=False):
        since = looked_at.stat().st_mtime if looked_at.exists() else 0.0
        for entry in [entry for entry in os.scandir(folder) if "-" in entry.name]:
            # Another process may have removed it, and elsewhere than on Linux one that reads it keeps it.
            with contextlib.suppress(OSError):
                info = entry.stat()
                new = since <= info.st_mtime < settled
                if not entry.name.endswith("-cache") or (new and not _is_whole(Path(entry.path).read_bytes())):
                    os.unlink(entry.path)
                else:
                    kept.append((max(info.st_atime, info.st_mtime), info.st_size, entry.path))
        excess = sum(size for _, size, _ in kept) - _SIZE
        for _, size, path in sorted(kept):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                excess -= size
        looked_at.touch()
        os.utime(looked_at, (settled, settled))


def _is_whole(program: bytes) -> bool:
    """Return whether what JAX compressed can be decompressed to its end; it takes zstd where that is installed."""
    try:
        stream = _zstd() if program.startswith(_ZSTD) else zlib.decompressobj()
        stream.decompress(program)
    except Exception:
        # Every library has an error of its own. What it cannot read JAX cannot read either.
        return False
    return stream.eof


def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd").ZstdDecompressor()
    except ImportError:
        return importlib.import_module("zstandard").ZstdDecompressor().decompressobj()
