"""States of runs, by their checkpoints."""

import os

from tesp.config import Config
from tesp.episodes.rollout import Learner
from tesp.errors import ConfigurationError, RunFolderError
from tesp.runs.stored import stored_config
from tesp.storage.checkpoint import Checkpoints, TrainingState, state_like
from tesp.storage.run_folder import RunFolder


def load_state(folder: RunFolder, config: Config, learner: Learner, which: str | int) -> TrainingState:
    """Return the state of one of a run's checkpoints.

    Raises:
        RunFolderError: There is no such checkpoint, or it is damaged.
    """
    checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints, read_only=True)
    try:
        like = state_like(learner.method)
        return checkpoints.restore(like, checkpoint_number(checkpoints, which, folder))
    finally:
        checkpoints.close()


def checkpoint_numbers(path: str | os.PathLike[str]) -> list[int]:
    """Return the meta-updates of all checkpoints of a run, ascending.

    Raises:
        RunFolderError: The folder is not a run's, or has no checkpoint.
    """
    folder = RunFolder.open(path)
    checkpoints = Checkpoints(folder.checkpoints, stored_config(folder).schedule.keep_checkpoints, read_only=True)
    try:
        checkpoint_number(checkpoints, "latest", folder)
        return checkpoints.steps()
    finally:
        checkpoints.close()


def checkpoint_number(checkpoints: Checkpoints, which: str | int, folder: RunFolder) -> int:
    """Return the meta-update of the best, the latest or a given checkpoint.

    Raises:
        RunFolderError: There is none yet.
        ConfigurationError: It is called otherwise.
    """
    if which == "best":
        which = number if (number := checkpoints.best()) is not None else "latest"
    if which == "latest":
        number = checkpoints.latest()
        if number is None:
            raise RunFolderError(f"{folder.path} has no checkpoint yet; `tesp resume {folder.path}` starts it again.")
        return number
    try:
        return int(which)
    except ValueError:
        raise ConfigurationError(
            f"There is no checkpoint {which!r}; give best, latest or a number of meta-updates."
        ) from None
