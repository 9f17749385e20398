"""Programs that outlive a process: where they go, what is mended, and that they are used."""

import json
import os
import subprocess
import sys

import pytest

from tesp import compilation_cache
from tesp.compilation_cache import use_compilation_cache
from tesp.errors import ConfigurationError


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A user's environment, with a cache folder of its own and JAX not started."""
    for name in [*compilation_cache._OPTIONS, compilation_cache._FOLDER, compilation_cache.VARIABLE]:
        # Set first, so that whatever the function under test sets is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(compilation_cache.platformdirs, "user_cache_path", lambda _: tmp_path / "user")
    monkeypatch.delitem(compilation_cache.sys.modules, "jax")
    return monkeypatch


@pytest.mark.usefixtures("fresh")
def test_the_default_lies_in_the_users_cache(tmp_path):
    folder = use_compilation_cache()
    assert folder.parent == tmp_path / "user" / "compiled"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder)
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == 2**28


def test_it_can_be_elsewhere_or_off(fresh, tmp_path):
    fresh.setenv("TESP_COMPILATION_CACHE", "off")
    assert use_compilation_cache() is None
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    fresh.setenv("TESP_COMPILATION_CACHE", str(tmp_path / "mine"))
    assert use_compilation_cache().parent == tmp_path / "mine"


def test_jax_own_choice_holds(fresh):
    fresh.setenv("JAX_COMPILATION_CACHE_DIR", "chosen")
    assert use_compilation_cache() is None
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "chosen"
    assert "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ


def test_a_folder_that_cannot_be_used(fresh, tmp_path):
    (tmp_path / "file").touch()
    fresh.setenv("TESP_COMPILATION_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match=r"TESP_COMPILATION_CACHE = .*below' cannot be used: Not a directory"):
        use_compilation_cache()
    fresh.delenv("TESP_COMPILATION_CACHE")
    fresh.setattr(compilation_cache.platformdirs, "user_cache_path", lambda _: tmp_path / "file")
    assert use_compilation_cache() is None
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.usefixtures("fresh")
def test_halves_are_removed():
    folder = use_compilation_cache()
    for name in ("whole-cache", "whole-atime", "torn-cache", "lost-atime"):
        (folder / name).write_bytes(b"12345678")
    assert use_compilation_cache() == folder
    assert sorted(path.name for path in folder.iterdir()) == [".lockfile", "whole-atime", "whole-cache"]


#: Runs a command and says how many programs were compiled.
COUNTING = """
import json, sys
import jax
compiled = []
jax.monitoring.register_event_listener(
    lambda event, **_: compiled.append(event) if event == "/jax/compilation_cache/cache_misses" else None
)
from tesp.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, len(compiled)]))
"""


def test_the_second_command_of_the_same_shapes_compiles_nothing(run, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment["TESP_COMPILATION_CACHE"] = str(tmp_path / "compiled")

    def adapt(goal):
        words = [sys.executable, "-c", COUNTING, "adapt", str(run), "--goal", *goal, "--film", "none"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        code, count = json.loads(done.stdout.splitlines()[-1])
        assert code == 0
        return count

    assert adapt(["0.5", "0.6"]) > 0
    assert adapt(["-0.4", "0.7"]) == 0
