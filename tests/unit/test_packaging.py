"""What is published: a wheel that runs where nothing else of the repository is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that a wheel of the library was installed to, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    subprocess.run(list(map(str, build)), check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("tesp-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, timeout=120)
    return folder / "site"


def run(installed, *words, cwd):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_it_is_imported_from_there(installed, tmp_path):
    program = "import tesp, sys; print(tesp.__file__, tesp.__version__, 'jax' in sys.modules)"
    told = run(installed, "-c", program, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(str(installed / "tesp" / "__init__.py"))
    assert told.stdout.endswith("False\n")


def test_its_commands_run(installed, tmp_path):
    listed = run(installed, "-m", "tesp", "list", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    for family in ("point", "wheeled", "ant", "reacher2", "reacher4"):
        assert family in listed.stdout
    version = run(installed, "-m", "tesp", "--version", cwd=tmp_path)
    assert version.stdout.startswith("tesp ")


def test_it_holds_all_that_is_no_module(installed):
    package = ROOT / "src" / "tesp"
    others = {
        path.relative_to(package)
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert {Path("py.typed"), Path("__init__.pyi")} <= others
    assert {path for path in others if not (installed / "tesp" / path).is_file()} == set()
