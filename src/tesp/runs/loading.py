"""Load what was trained."""

import os

from tesp import building, trained
from tesp.agents.adapting import MetaLearner, Origin
from tesp.config import Config
from tesp.runs.run import Run
from tesp.runs.states import load_state
from tesp.runs.stored import stored_config
from tesp.storage.checkpoint import Checkpoints
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS
from tesp.tasks import family_files
from tesp.tasks.family import Family
from tesp.trust import allow


def load_run(path: str | os.PathLike[str], checkpoint: str | int = "best", *, trust: bool = False) -> Run:
    """Load a trained run.

    Args:
        path: The run folder.
        checkpoint: ``"best"`` (highest return on D′), ``"latest"``, or a number of meta-updates.
        trust: Whether the folder's copy of a family's file may be run although your own training did not write it.

    Raises:
        RunFolderError: The folder is not a run's, or has no such checkpoint.
        UntrustedError: The run has a family's file that would have to be run without your consent.
    """
    folder = opened(path, trust)
    config = stored_config(folder, with_family=True)
    family = stored_family(config)
    learner = building.build_learner(config, family)
    state = load_state(folder, config, learner, checkpoint)
    return Run(folder, config, family, folder.read_task_sets(), learner, state)


def load(path: str | os.PathLike[str], checkpoint: str | int = "best", *, trust: bool = False) -> MetaLearner:
    """Load a trained meta-learner, to adapt it to an environment of your own.

    Args:
        path: The folder of a run, a file that ``tesp export`` or `MetaLearner.save` wrote, or the name of a learner
            that comes with the package, such as ``tesp/reacher2``; ``tesp list --trained`` shows all.
        checkpoint: Which checkpoint of a run: ``"best"`` (highest return on D′), ``"latest"``, or a number of
            meta-updates. A file holds one.
        trust: As for `load_run`. No code is run for a learner of one of the library's methods, whatever its family.

    Raises:
        RunFolderError: It is none of them, is damaged, or has no such checkpoint.
        UntrustedError: As for `load_run`.
    """
    path = trained.located(path)
    if path.is_file():
        return MetaLearner.load(path)
    folder = opened(path, trust)
    config = stored_config(folder, with_family=True)
    # The family itself is not needed, so that a learner can be used where its family does not exist.
    interface = folder.read_interface() or building.build_family(config).interface
    learner = building.build_learner(config, interface)
    state = load_state(folder, config, learner, checkpoint)
    parameters = learner.method.parameters(state.method, evaluated=True)
    return MetaLearner(config, interface, parameters, learner, Origin(folder.identity, state.meta_update))


def opened(path: str | os.PathLike[str], trust: bool) -> RunFolder:
    """Return the folder of a run, whose copy of a family's file may be run if ``trust``.

    Raises:
        RunFolderError: It is not a run's.
    """
    folder = RunFolder.open(path)
    if trust:
        allow(folder.path)
    return folder


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Tell whether a run was trained and evaluated to its end.

    Raises:
        RunFolderError: The folder is not a run's, or is damaged.
    """
    folder = RunFolder.open(path)
    config = stored_config(folder)
    if not folder.checkpoints.is_dir():
        return False
    checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints, read_only=True)
    end = config.schedule.meta_updates
    try:
        trained = checkpoints.latest() == end and checkpoints.has_score(end)
    finally:
        checkpoints.close()
    return trained and evaluations_at(folder, end) == rows_of_an_evaluation(config)


def rows_of_an_evaluation(config: Config) -> int:
    """Return how many records a whole evaluation has."""
    return len(TASK_SETS) * (config.method.last_round + 1)


def evaluations_at(folder: RunFolder, meta_update: int | None) -> int:
    """Return how many records there are of the evaluation after a number of meta-updates."""
    return sum(r["kind"] == "evaluation" and r["meta_update"] == meta_update for r in folder.read_records())


def stored_family(config: Config) -> Family:
    """Make the family of a run, from the folder's copy of its file if it has one; warn if the file has changed."""
    family = building.build_family(config)
    family_files.warn_if_changed(config.family_reference)
    return family
