"""Tiny runs: their configuration, the command line in this process and in a child, and what a run leaves behind."""

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from helpers.trees import assert_identical
from tesp import cli
from tesp.building import build_family, build_learner
from tesp.config import Config, preset_config, to_json
from tesp.methods.registry import absent_from, entry_of
from tesp.runs import load_run
from tesp.storage.checkpoint import Checkpoints

#: Small enough to run in less than a second once it is compiled.
TINY = {
    # As many as are trained on, so that training and evaluation share what is compiled.
    "tasks_per_set": 4,
    "tasks_per_update": 4,
    "episodes_per_round": 3,
    "buffer_size": 2,
    "horizon": 6,
    "policy_units": (8,),
    "encoder_units": 8,
    "embedding_size": 2,
    "epochs": 2,
    "meta_updates": 4,
    "evaluate_every": 2,
    "checkpoint_every": 1,
}
#: The same of what TESP does not have.
TINY_OF_OTHERS = {"memory_units": 8, "minibatches": 2, "episodes_per_trial": 3} | {
    "latent_size": 2,
    "decoder_units": (4,),
    "belief_updates": 2,
    "belief_batch": 4,
    "prefixes": 3,
    "decoded_steps": 4,
    "replay_trials": 10,
    # So that a run does not depend on how long it will be.
    "learning_rate_final": 1.0,
}
TESTS = Path(__file__).parents[1]


def tiny_values(algorithm: str, values=None) -> dict:
    """Of the values that make a run tiny, or of others, those that a method has and leaves a choice in."""
    left_out = absent_from(algorithm) | entry_of(algorithm).implied.keys()
    return {n: x for n, x in (TINY | TINY_OF_OTHERS if values is None else values).items() if n not in left_out}


def tiny(overrides) -> dict:
    """The values that make a run tiny, of those that the method of ``overrides`` has, and the overrides."""
    return tiny_values(overrides.get("algorithm", "tesp")) | overrides


def tiny_config(family="point", **overrides) -> Config:
    return preset_config(family, "quick", **tiny(overrides))


def options(**overrides) -> list[str]:
    """The options that make `tesp train FAMILY --preset quick` tiny."""
    words = ["--preset", "quick"]
    for name, value in tiny(overrides).items():
        values = value if isinstance(value, tuple) else (value,)
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return words


@dataclass(frozen=True)
class Finished:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one line on stderr, of a command that refused its input."""
        assert self.code == 2, self
        return self.line()

    def line(self) -> str:
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("tesp: "), self.err
        assert self.err.endswith(".\n"), self.err
        return self.err


@functools.cache
def _learner(config: Config):
    return build_learner(config, build_family(config))


def shared_learner(config: Config, _family=None):
    """A learner holds no parameters, so runs that differ in seed or length may share a compiled one."""
    plain = Config(family=config.family)
    return _learner(replace(config, seed=0, preset="paper", schedule=plain.schedule, log=plain.log))


def tesp(*arguments, fresh=False) -> Finished:
    """Run a command in this process, (unless ``fresh``) with the shared compiled learner."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "120"}))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        if not fresh:
            stack.enter_context(mock.patch("tesp.building.build_learner", shared_learner))
        try:
            code = cli.main([str(word) for word in arguments])
        except SystemExit as stopped:
            code = stopped.code
    return Finished(code, out.getvalue(), err.getvalue())


def child(module: str, *arguments) -> subprocess.Popen:
    """Start ``python -m module arguments…``, which computes bit for bit what this process computes."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipe = subprocess.PIPE
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait(process: subprocess.Popen) -> Finished:
    out, err = process.communicate(timeout=300)
    return Finished(process.returncode, out, err)


def lines_of(path: Path) -> list[dict]:
    """The records in a file; the first line of one that a run wrote says whose they are."""
    stored = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [record for record in stored if record["kind"] != "run"]


def records(folder: Path, kind: str | None = None) -> list[dict]:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8")
    assert lines == "" or lines.endswith("\n")
    return [record for record in lines_of(folder / "records.jsonl") if kind in (None, record["kind"])]


def timeless(stored: list[dict]) -> list[dict]:
    """Records without what a clock measured."""
    return [
        {name: value for name, value in record.items() if name != "wall_seconds" and not name.startswith("seconds")}
        for record in stored
    ]


def checkpoint_folders(folder: Path) -> list[str]:
    """Everything in the folder of checkpoints, unfinished ones too."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def state(folder: Path, checkpoint="latest"):
    """Parameters, optimiser state and counters of a checkpoint."""
    with mock.patch("tesp.building.build_learner", shared_learner):
        stored = load_run(folder, checkpoint).state
    return stored._replace(wall_seconds=0.0)


def best(folder: Path) -> int | None:
    """The meta-update of the best checkpoint."""
    return Checkpoints(folder / "checkpoints", read_only=True).best()


def assert_same_run(actual: Path, expected: Path):
    """Two runs ended in the same state, bit for bit, and recorded the same numbers."""
    assert timeless(records(actual)) == timeless(records(expected))
    assert_identical(state(actual), state(expected))
    assert checkpoint_folders(actual) == checkpoint_folders(expected)
    assert best(actual) == best(expected)


def files(folder: Path) -> dict[str, bytes]:
    """All files under a folder, with what is in them; but for locks, which say nothing once they are free."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def any_parameter_differs(one, other) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(not np.array_equal(a, b) for a, b in leaves)


def rewrite_json(path: Path, **changes) -> None:
    """Change some fields of a file of JSON; those that become None are left out."""
    stored = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in stored.items() if value is not None}))


def as_json(config: Config) -> dict:
    return json.loads(to_json(config))
