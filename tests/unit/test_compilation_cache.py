"""Programs that outlive a process: where they go, what is mended, and that they are used."""

import json
import os
import subprocess
import sys
import time
import zlib

import filelock
import pytest
import zstandard

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
    assert int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == -1


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


def keep(folder, name, program=b"", *, seconds_ago=0.0, read=None):
    """Put a program there as JAX does, written and last read that many seconds ago."""
    path = folder / f"{name}-cache"
    path.write_bytes(program)
    now = time.time()
    os.utime(path, (now - (seconds_ago if read is None else read), now - seconds_ago))
    return path


def looked_at(seconds_ago):
    """The folder, as if what is there had last been looked at that many seconds ago."""
    folder = use_compilation_cache()
    os.utime(folder / ".looked-at", (0, time.time() - seconds_ago))
    return folder


def kept(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("compress", [zlib.compress, zstandard.compress], ids=["zlib", "zstd"])
def test_what_is_torn_is_removed(compress):
    folder = looked_at(1000)
    whole = compress(os.urandom(500) + bytes(500))
    keep(folder, "whole", whole, seconds_ago=300)
    for length in (0, 3, 10, 200, len(whole) - 1):
        keep(folder, f"torn{length}", whole[:length], seconds_ago=200)
    # Some process may just be writing it.
    keep(folder, "begun", whole[:200], seconds_ago=10)
    keep(folder, "followed", whole + b"x", seconds_ago=200)
    assert use_compilation_cache() == folder
    assert kept(folder) == ["begun-cache", "whole-cache"]


@pytest.mark.usefixtures("fresh")
def test_only_what_is_new_is_looked_at(monkeypatch):
    folder = looked_at(1000)
    read = []
    monkeypatch.setattr(compilation_cache, "_is_whole", lambda program: read.append(program) or True)
    keep(folder, "from before", b"from before", seconds_ago=2000)
    keep(folder, "old", b"old", seconds_ago=200)
    keep(folder, "new", b"new", seconds_ago=10)
    use_compilation_cache()
    assert read == [b"old"]
    use_compilation_cache()
    assert read == [b"old"]
    monkeypatch.setattr(compilation_cache, "_SETTLED", 0.0)
    use_compilation_cache()
    assert read == [b"old", b"new"]


@pytest.mark.usefixtures("fresh")
def test_after_the_clock_was_set_back_everything_is_looked_at():
    folder = looked_at(-500)
    torn = keep(folder, "torn", b"", seconds_ago=2000)
    use_compilation_cache()
    assert not torn.exists()


def test_what_could_not_be_removed_is_looked_at_again(fresh):
    folder = looked_at(1000)
    torn = keep(folder, "torn", b"", seconds_ago=200)

    def refuse(path):
        raise PermissionError(13, "another process reads it", path)

    with fresh.context() as patch:
        patch.setattr(compilation_cache.os, "unlink", refuse)
        use_compilation_cache()
    assert torn.exists()
    use_compilation_cache()
    assert not torn.exists()


def test_programs_of_a_compression_that_is_not_installed_are_left_alone(fresh):
    folder = looked_at(1000)
    program = keep(folder, "program", zstandard.compress(b"")[:-1], seconds_ago=200)

    def missing(name):
        raise ImportError(name)

    with fresh.context() as patch:
        patch.setattr(compilation_cache.importlib, "import_module", missing)
        use_compilation_cache()
    assert program.exists()


def test_a_limit_of_jax_is_left_to_jax(fresh):
    """In a folder of its own, for what is stored without one lacks the time of last use."""
    unlimited = use_compilation_cache()
    fresh.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000000")
    fresh.delenv("JAX_COMPILATION_CACHE_DIR")
    limited = use_compilation_cache()
    assert limited != unlimited
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "1000000"
    (limited / "program-atime").write_bytes(b"12345678")
    torn = keep(limited, "program", b"", seconds_ago=200)
    assert use_compilation_cache() == limited
    assert torn.exists()


@pytest.mark.usefixtures("fresh")
def test_what_was_not_used_for_longest_goes(monkeypatch):
    folder = looked_at(1000)
    monkeypatch.setattr(compilation_cache, "_SIZE", 3 * len(zlib.compress(b"")))
    keep(folder, "read lately", zlib.compress(b""), seconds_ago=900, read=1)
    for name, seconds in {"oldest": 800, "older": 700, "old": 600, "new": 500}.items():
        keep(folder, name, zlib.compress(b""), seconds_ago=seconds, read=1000)
    use_compilation_cache()
    assert kept(folder) == ["new-cache", "old-cache", "read lately-cache"]


@pytest.mark.usefixtures("fresh")
def test_another_process_that_tidies_up_is_left_to_it():
    folder = looked_at(1000)
    torn = keep(folder, "torn", b"", seconds_ago=100)
    with filelock.FileLock(folder / ".lockfile"):
        assert use_compilation_cache() == folder
    assert torn.exists()
    use_compilation_cache()
    assert not torn.exists()


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


#: Compiles one program, and says how often it was found and whether it computes what it should.
ONE = """
import jax
found = []
jax.monitoring.register_event_listener(
    lambda event, **_: found.append(event) if event == "/jax/compilation_cache/cache_hits" else None
)
print(jax.jit(lambda x: 2 * x + 1)(3.0), len(found))
"""


def test_a_torn_program_that_jax_meets_is_compiled_again(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

    def computed():
        return subprocess.run([sys.executable, "-c", ONE], env=environment, capture_output=True, text=True, check=True)

    assert computed().stdout.startswith("7.0 0")
    assert not computed().stdout.startswith("7.0 0")
    for path in tmp_path.glob("*-cache"):
        path.write_bytes(path.read_bytes()[:-20])
    torn = computed()
    assert torn.stdout.startswith("7.0 0")
    assert "Error reading persistent compilation cache entry" in torn.stderr
