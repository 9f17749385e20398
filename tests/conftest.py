import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

from helpers.shapes import check_shapes, forget_calls

# Pictures are drawn without a screen. The engine reads this once, when it is first imported.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")

# A command that runs in this process must not change how its later children see the processor.
os.environ["TESP_CPU_DEVICES"] = "1"

# The tests compile much and compute little. Children inherit this, so that they compute bit for bit the same.
QUICK_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
# As several devices do, and hosts: what JAX's own threads share out is compiled otherwise.
QUICK_TO_COMPILE += " --xla_cpu_multi_thread_eigen=false"
if QUICK_TO_COMPILE not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_TO_COMPILE}".strip()
os.environ |= {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    # Where each operation came from is told nobody here, and finding out takes a tenth of the time.
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
    # Thousands of small programs are compiled sooner than they are found.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}

#: Whose code may run is remembered apart from what the user's own runs have made known.
OWN_STATE = "TESP_STATE" not in os.environ
if OWN_STATE:
    os.environ["TESP_STATE"] = tempfile.mkdtemp(prefix="tesp-state-")

# This must stand before the first import of tesp.
check_shapes()

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from helpers.pictures import leave_figures_blank  # noqa: E402
from tesp.compilation_cache import use_compilation_cache  # noqa: E402

#: Where all processes of a session find what others have compiled. The user's own cache makes the next session quicker;
#: without one, a folder that goes with the session.
CACHE = "JAX_COMPILATION_CACHE_DIR"
TEMPORARY = CACHE not in os.environ and use_compilation_cache() is None
if TEMPORARY:
    os.environ["TESP_COMPILATION_CACHE"] = tempfile.mkdtemp(prefix="tesp-compiled-")
    use_compilation_cache()

import jax  # noqa: E402

pytest_plugins = ["helpers.run_fixtures", "helpers.documents"]

# Tracing makes millions of objects that live long: looking through all of them for cycles takes a tenth of the time.
gc.set_threshold(100_000, 50, 100)

# Compilation makes the first example slow, and the same examples must run everywhere.
hypothesis.settings.register_profile("tesp", deadline=None, derandomize=True, database=None, max_examples=20)
hypothesis.settings.load_profile("tesp")


#: Files that stay in one process, for they share tiny runs and what is compiled for them. They go first, so that the
#: last files to begin are short.
TOGETHER = {
    "clusters": ("test_cluster_sweeps.py", "test_cluster_hosts.py"),
    "documentation": ("test_docs_shell.py", "test_docs.py"),
    "runs": (
        "test_interrupted_runs.py",
        "test_cli.py",
        "test_cli_evaluations.py",
        "test_compare.py",
        "test_details.py",
        "test_loop.py",
        "test_protocol.py",
        "test_runs.py",
        "test_agents.py",
        "test_adapt.py",
        "test_parcels.py",
        "test_worker.py",
        "test_trained.py",
        "test_hub.py",
    ),
}


def pytest_unconfigure():
    if OWN_STATE:
        shutil.rmtree(os.environ["TESP_STATE"], ignore_errors=True)
    if TEMPORARY:
        shutil.rmtree(os.environ["TESP_COMPILATION_CACHE"], ignore_errors=True)


# First, for pytest-xdist looks at the marks in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Share the work among processes file by file."""
    group_of = {file: group for group, files in TOGETHER.items() for file in files}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of.get(item.path.name, item.path.stem)))
    items.sort(key=lambda item: item.path.name not in group_of)


def pytest_collection_finish(session):
    """Refuse to share the work in any other way, which would compile nearly everything in every process."""
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist does not keep the groups of tests together; install the pinned versions.")


#: Memory maps of a process beyond which what was compiled is dropped; Linux allows 65,530.
MOST_MAPS = 30_000


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """Drop what was compiled when it has become much: every program has its memory maps, and the last one crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def checked_shapes():
    """Check the first calls of every function again in every test."""
    forget_calls()


@pytest.fixture(autouse=True)
def blank_pictures(request, monkeypatch):
    """Leave figures blank, but where their looks are tested: drawing them takes longer than a tiny run."""
    if "report" not in request.path.parts and not request.node.get_closest_marker("pictures"):
        leave_figures_blank(monkeypatch)


@pytest.fixture
def float64():
    """Double precision for one test, so that finite differences can tell right from almost right."""
    with jax.enable_x64(True):
        yield
