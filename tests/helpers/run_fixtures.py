"""Fixtures of tests that need a run; a plugin of pytest, named in the top conftest."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest

from helpers import running
from tesp.tasks import family_files
from tesp.training.callbacks import WriteRecords


@dataclass(frozen=True)
class Reference:
    """A tiny run of the point that nothing interrupted.

    Attributes:
        path: Its folder; tests must not change it.
        finished: What the command said.
        events: In their order: ``"compiled"`` for everything XLA compiled, and the records as they were written.
    """

    path: Path
    finished: running.Finished
    events: list


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Reference:
    folder = tmp_path_factory.mktemp("runs") / "reference"
    events = []

    def listen(event, _duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append("compiled")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WriteRecords, "on_records", noting(WriteRecords.on_records, events))
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            finished = running.tesp("train", "point", *running.options(), "--output", folder, fresh=True)
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
    return Reference(folder, finished, events)


def noting(on_records, events):
    def note(self, records):
        events.extend(records)
        on_records(self, records)

    return note


@pytest.fixture
def run(reference, tmp_path) -> Path:
    """A copy of the reference run, to be changed at will."""
    return Path(shutil.copytree(reference.path, tmp_path / "run"))


@pytest.fixture
def own_families(tmp_path, monkeypatch):
    """A file with two families, in a folder with a space in its name."""
    monkeypatch.setattr(family_files, "_MODULES", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my code" / "own_families.py"
    path.parent.mkdir()
    path.write_text("from tesp.tasks.point import PointFamily\nown = PointFamily(horizon=9)\nwheeled = own\n")
    return path
