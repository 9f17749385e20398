"""An earlier revision of the project, checked out for as long as it is measured."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measuring import MeasurementError, output_of


def commit_of(revision: str) -> str:
    """Return the commit that a revision names.

    Raises:
        ConfigurationError: There is no such revision, or no git.
    """
    from tesp.errors import ConfigurationError

    try:
        found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except OSError as error:
        raise ConfigurationError("git was not found; leave --before out.") from error
    if found.returncode:
        raise ConfigurationError(f"There is no revision {revision!r} in this repository; see `git log`.")
    return found.stdout.strip()


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """Check a revision out beside the working tree, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp()).resolve()
    root = folder / "before"
    try:
        made = _git("worktree", "add", "--detach", "--quiet", str(root), commit_of(revision))
        if made.returncode:
            raise MeasurementError(f"The revision {revision} cannot be checked out: {made.stderr.strip()}.")
        yield root
    finally:
        _git("worktree", "remove", "--force", str(root))
        shutil.rmtree(folder, ignore_errors=True)


def require_import(root: Path, environment: Mapping[str, str]) -> None:
    """Make sure that it is the old code that will be measured."""
    program = "import json, tesp; print(json.dumps(tesp.__file__))"
    if not Path(output_of([sys.executable, "-c", program], environment)).resolve().is_relative_to(root):
        raise MeasurementError("Python imports tesp from elsewhere than the earlier revision; it was not measured.")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
