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
#: JAX's own size limit, and the value that means there is none.
_LIMIT, _NO_LIMIT = "JAX_COMPILATION_CACHE_MAX_SIZE", -1
#: Bytes. The size limit is enforced when a process starts: the programs that were not used for longest are removed.
_SIZE = 2**28
_OPTIONS = {
    # To enforce a limit of its own, JAX reads the time of last use of all programs before it stores another one, under
    # a lock that all processes share: a tenth of a second where there are 2,000 programs.
    _LIMIT: _NO_LIMIT,
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
    and removed at any time. Where ``JAX_COMPILATION_CACHE_MAX_SIZE`` is set, JAX limits its size, in another folder;
    elsewhere this function limits it to 256 MiB.

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
    limited_by_jax = os.environ.get(_LIMIT, str(_NO_LIMIT)) != str(_NO_LIMIT)
    # JAX's own limit needs the time of last use of every program, and what has none would make it fail.
    folder = chosen.absolute() / f"{_processor()}-{'lru' if limited_by_jax else 'v2'}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not limited_by_jax:
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
    """Return a name for the kind of this processor: its architecture and a digest of what it can do."""
    able = [platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        able += [next((line for line in lines if line.startswith(("flags", "Features"))), "")]
    return f"{platform.machine()}-{hashlib.sha256(' '.join(able).encode()).hexdigest()[:12]}"


def _tidy(folder: Path) -> None:
    """Remove torn programs, and enforce the size limit.

    JAX does not write atomically: a process that is killed and a full disk leave part of a program, which JAX would
    compile again in every process, and never replace. Only what was written since the last time is read; the time of
    an empty file says when that was. If another process is tidying already, or nothing can be locked there, nothing is
    done.
    """
    looked_at, now = folder / ".looked-at", time.time()
    settled = now - _SETTLED
    lock = filelock.FileLock(folder / ".lockfile", blocking=False)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError, NotImplementedError):
        return
    with lock:
        since = looked_at.stat().st_mtime if looked_at.exists() else 0.0
        if since > now:
            # The clock was set back.
            since = 0.0
        kept, failed = [], False
        for entry in list(os.scandir(folder)):
            if not entry.name.endswith("-cache"):
                continue
            try:
                info = entry.stat()
                if since <= info.st_mtime < settled and not _is_whole(Path(entry.path).read_bytes()):
                    os.unlink(entry.path)
                else:
                    kept.append((max(info.st_atime, info.st_mtime), info.st_size, entry.path))
            except FileNotFoundError:
                # The folder may be removed at any time.
                continue
            except OSError:
                # Elsewhere than on Linux a file that another process reads cannot be removed.
                failed = True
        excess = sum(size for _, size, _ in kept) - _SIZE
        for _, size, path in sorted(kept):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
                excess -= size
        if not failed:
            # The file may belong to another user of a shared folder.
            with contextlib.suppress(OSError):
                looked_at.touch()
                os.utime(looked_at, (settled, settled))


def _is_whole(program: bytes) -> bool:
    """Return whether what JAX compressed, as zstd or zlib, can be decompressed and nothing follows it."""
    try:
        stream = _zstd() if program.startswith(_ZSTD) else zlib.decompressobj()
    except ImportError:
        # It is for the environments that have zstd to tell.
        return True
    try:
        stream.decompress(program)
    except Exception:
        # Every library has an error of its own.
        return False
    return stream.eof and not stream.unused_data


def _zstd() -> Any:
    """Return a decompressor of the library that JAX takes too."""
    try:
        return importlib.import_module("compression.zstd").ZstdDecompressor()
    except ImportError:
        return importlib.import_module("zstandard").ZstdDecompressor().decompressobj()
