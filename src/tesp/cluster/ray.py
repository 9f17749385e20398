"""Finding and starting Ray, in one place: what is installed, where it listens, who may talk to it."""

import contextlib
import importlib
import logging
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tesp.devices import usable_cores
from tesp.errors import ConfigurationError, TespError
from tesp.storage.run_folder import PACKAGES

#: What stands for this machine alone, in place of an address.
LOCAL = "local"
#: The versions of Ray that this library is written for, the last one excluded.
_LEAST, _BELOW = (2, 60), (3,)
#: Bytes of shared memory for what travels between processes of a Ray that is started here, unless told otherwise.
STORE = 2**28
#: Seconds until an address that does not answer is given up.
_PATIENCE = 5.0

#: For a Ray that is started here. The first makes Ray listen on the loopback interface alone, on every system: nothing
#: outside this machine can reach it. A token keeps other users of the machine out.
_OF_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
#: For every process of Ray: nothing is told to Ray's makers, and no device is hidden or shown.
_ALWAYS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class UnfitError(ConfigurationError):
    """A machine has other versions of what results depend on."""


@dataclass(frozen=True)
class Cluster:
    """A Ray that this process is connected to.

    Attributes:
        ray: The module.
        address: Where it is; ``local`` for one of this machine alone.
    """

    ray: Any
    address: str

    def nodes(self) -> dict[str, str]:
        """Return the machines that are there now: their addresses by their identifiers."""
        return {node["NodeID"]: node["NodeManagerAddress"] for node in self.ray.nodes() if node["Alive"]}

    def working_nodes(self) -> set[str]:
        """Return the identifiers of the machines that have cores for runs."""
        return {node["NodeID"] for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}

    def cores(self) -> float:
        """Return how many cores all machines have together that are there now."""
        return self.ray.cluster_resources().get("CPU", 0.0)


@contextlib.contextmanager
def connect(address: str | None = None, store: int = STORE) -> Iterator[Cluster]:
    """Start Ray on this machine, or join one that runs; leave it as it was found.

    A Ray that is started here has as many cores as this process may use, listens on the loopback interface only, takes
    orders only from who knows a token that is drawn for it, and ends with the context. Importing Ray, and nothing
    else of it, is what a program may have done before.

    Args:
        address: ``local`` or None for this machine, ``auto`` for a Ray that was started on this machine before, or the
            ``HOST:PORT`` of a cluster's head.
        store: Bytes of shared memory of a Ray that is started here.

    Raises:
        ConfigurationError: Ray is not installed, is of a version that does not fit, or cannot be reached or started.
    """
    local = address in (None, LOCAL)
    with _environment(_ALWAYS | (_OF_LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32)} if local else {})):
        ray = imported()
        if ray.is_initialized():
            raise ConfigurationError("This process is connected to Ray already; end that with ray.shutdown() first.")
        with contextlib.ExitStack() as stack:
            reread_environment()
            stack.enter_context(_replaced("ray._private.worker", "print_to_stdstream", _say_nothing))
            if local:
                _start(ray, store, stack)
            else:
                assert address is not None
                require_answer(address)
                _join(ray, address)
            stack.callback(ray.shutdown)
            yield Cluster(ray, LOCAL if local else str(address))


def imported() -> Any:
    """Return the module ``ray``.

    Raises:
        ConfigurationError: It is not installed, or is of a version that does not fit.
    """
    try:
        found = metadata.version("ray")
        module = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigurationError(
            "Ray is not installed, and --ray needs it; install it with `pip install 'tesp[ray]'`, or leave --ray out."
        ) from error
    numbers = tuple(map(int, re.findall(r"\d+", found)[:2]))
    if not _LEAST <= numbers < _BELOW:
        wanted = f"{'.'.join(map(str, _LEAST))} or newer, below {'.'.join(map(str, _BELOW))}"
        raise ConfigurationError(
            f"Ray {found} is installed, and tesp needs {wanted}; install that with `pip install 'tesp[ray]'`."
        )
    return module


def versions() -> dict[str, str]:
    """Return the versions here of all that results depend on, and of Ray, without importing any of it."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: metadata.version(name) for name in ("ray", *PACKAGES)}}


def require_fitting(driver: Mapping[str, str], machine: str) -> None:
    """Refuse to compute here what the driver asks for, if a version differs.

    Args:
        driver: What `versions` returned there.
        machine: What this machine is called.

    Raises:
        UnfitError: It differs; names what, here and there.
    """
    own = versions()
    differing = [
        f"{name} {own.get(name, 'none')} (not {there})" for name, there in driver.items() if own.get(name) != there
    ]
    if differing:
        raise UnfitError(
            f"The machine {machine} has {', '.join(differing)}, and results depend on it. Install there what is "
            "installed where the command was given."
        )


def _start(ray: Any, store: int, stack: contextlib.ExitStack) -> None:
    folder = _own_folder()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
        _begin(ray, store, folder)
    except Exception as error:
        raise ConfigurationError(f"Ray cannot be started on this machine: {first_line(error)}.") from error
    listening = {node["NodeManagerAddress"] for node in ray.nodes()}
    if not listening <= {"127.0.0.1", "::1"}:
        ray.shutdown()
        raise TespError(f"Ray would listen on {', '.join(listening)}, beyond this machine; it was stopped.")


def _begin(ray: Any, store: int, folder: Path, attempts: int = 2) -> None:
    """Start Ray; once more if its own limit of half a minute was too short, as it is where all cores are busy."""
    try:
        # Where a program has imported Ray before, the switch in the environment comes too late.
        with _replaced("ray._private.ray_constants", "ENABLE_RAY_CLUSTER", False), _signals_kept(), fork_allowed():
            ray.init(
                address=LOCAL,
                num_cpus=usable_cores(),
                object_store_memory=store,
                include_dashboard=False,
                _temp_dir=str(folder / "ray"),
                **_QUIETLY,
            )
    except Exception as error:
        ray.shutdown()
        if attempts < 2 or "timed out" not in str(error):
            raise
        _begin(ray, store, folder, attempts - 1)


def _own_folder() -> Path:
    """Make a folder for Ray's sockets and logs; remove those of processes that were killed.

    It is of this user alone, as Ray's own are not, and its path is short, for that of a socket may have 100 characters.
    """
    place = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())
    for remnant in place.glob("tesp-ray-*"):
        owner = remnant.name.split("-")[2]
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(remnant, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"tesp-ray-{os.getpid()}-", dir=place))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Another user's.
        return True
    return True


def _join(ray: Any, address: str) -> None:
    try:
        with _signals_kept():
            ray.init(address=address, **_QUIETLY)
    except Exception as error:
        if address == "auto" and isinstance(error, ConnectionError):
            raise ConfigurationError(
                "No Ray runs on this machine that --ray auto could join. Start one with `ray start --head`, or give "
                "local or HOST:PORT."
            ) from error
        if "Version mismatch" in str(error):
            found = re.findall(r"(Ray|Python): (\S+)", str(error))
            there, here = (" and ".join(map(" ".join, pair)) for pair in (found[:2], found[2:]))
            raise ConfigurationError(
                f"The cluster at {address} has {there}, and here are {here}; install the same on both sides."
            ) from error
        raise ConfigurationError(
            f"The Ray at {address} cannot be joined: {first_line(error)}. If it wants a token, give its own in "
            "RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token; docs/cluster.md says how."
        ) from error


def require_answer(address: str) -> None:
    """Refuse what Ray would wait for a minute.

    Raises:
        ConfigurationError: It is no address of a cluster's head, or nothing answers there.
    """
    if address in (LOCAL, "auto"):
        return
    if "://" in address:
        raise ConfigurationError(
            f"--ray {address} is not possible: the command talks to the cluster itself, not to a server in between. "
            "Give HOST:PORT of its head, on one of its machines."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise ConfigurationError(
            f"--ray {address} is not possible; give local, auto, or HOST:PORT of a cluster's head."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"Nothing answers at --ray {address}: {first_line(error)}. Give HOST:PORT of a running cluster's head, as "
            "`ray start --head` showed it."
        ) from error


#: Ray says nothing on this process's streams, and leaves the root logger alone.
_QUIETLY = {"log_to_driver": False, "logging_level": logging.ERROR}


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of Ray says, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    # The last one Ray sets by itself.
    before = {name: os.environ.get(name) for name in (*values, "PYTHONBREAKPOINT")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _replaced(module: str, name: str, value: Any) -> Iterator[None]:
    """Replace what Ray has no option for, where it is called so."""
    inside: Any = importlib.import_module(module)
    if not hasattr(inside, name):
        yield
        return
    before = getattr(inside, name)
    setattr(inside, name, value)
    try:
        yield
    finally:
        setattr(inside, name, before)


def _say_nothing(*_: Any, **__: Any) -> None:
    """Show nothing of what Ray prints when a machine is lost: whoever works there says so in its own words."""


@contextlib.contextmanager
def fork_allowed() -> Iterator[None]:
    """Let Ray start its processes where JAX has started threads: what it forks becomes another program at once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        yield


def reread_environment() -> None:
    """Let Ray read the environment again, which it does once in a process."""
    inside: Any = importlib.import_module("ray._raylet")
    inside.Config.initialize("")
    inside.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo that Ray handles SIGTERM by itself."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Only the main thread has handlers.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, before)
