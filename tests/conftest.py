import os
import sys
from pathlib import Path

from jaxtyping import install_import_hook

# Pictures are drawn without a screen. The engine reads this once, when it is first imported.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")

# Under test every annotated shape is checked. This must stand before the first import of tesp.
install_import_hook("tesp", "beartype.beartype")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

pytest_plugins = ["helpers.run_fixtures", "helpers.documents"]

jax.config.update("jax_numpy_dtype_promotion", "strict")
# The tests compile much and compute little.
jax.config.update("jax_disable_most_optimizations", True)

# Compilation makes the first example slow, and the same examples must run everywhere.
hypothesis.settings.register_profile("tesp", deadline=None, derandomize=True, database=None, max_examples=20)
hypothesis.settings.load_profile("tesp")


#: Files that take longest. Several processes share the work file by file, and the last ones to begin should be short.
LONGEST = ("test_docs_shell.py", "test_docs.py", "test_agents.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


#: Memory maps of a process beyond which what was compiled is dropped; Linux allows 65,530.
MOST_MAPS = 30_000


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """Drop what was compiled when it has become much: every program has its memory maps, and the last one crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture
def float64():
    """Double precision for one test, so that finite differences can tell right from almost right."""
    with jax.enable_x64(True):
        yield
