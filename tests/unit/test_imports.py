"""What importing costs: nothing that is not needed, and no side effects."""

import json
import os
import subprocess
import sys

import pytest

import tesp

#: Says which heavy packages are loaded, what became of the environment and which handlers the root logger has.
SAY = """
import json, logging, os, sys
heavy = ("jax", "equinox", "mujoco", "matplotlib", "scipy", "torch", "tensorboardX", "orbax", "wandb")
print(json.dumps([[name for name in heavy if name in sys.modules], dict(os.environ), len(logging.root.handlers)]))
"""


def after(code):
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", code + SAY], env=environment, capture_output=True, text=True, check=True
    )
    loaded, then, handlers = json.loads(done.stdout.splitlines()[-1])
    return loaded, {name: then[name] for name in then if environment.get(name) != then[name]}, handlers


def test_importing_the_package_loads_nothing_heavy_and_changes_nothing():
    loaded, changed, handlers = after("import tesp\n")
    assert loaded == []
    assert changed == {}
    assert handlers == 0


def test_importing_everything_changes_nothing():
    loaded, changed, handlers = after("from tesp import *\n")
    assert "jax" in loaded
    assert {name for name in changed if name.startswith(("TESP", "MUJOCO", "XLA", "JAX"))} == set()
    assert handlers == 0


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["train", "ant", "--presett", "quick"], ["train", "point", "--help"]], ids=" ".join
)
def test_what_needs_no_learner_loads_none(words, tmp_path):
    code = f"""
import os
os.chdir({str(tmp_path)!r})
from tesp.cli import main
try:
    main({words!r})
except SystemExit:
    pass
"""
    assert after(code)[0] == []


def test_every_public_name_can_be_had():
    for name in tesp.__all__:
        assert getattr(tesp, name) is not None
    assert set(tesp.__all__) <= set(dir(tesp))
