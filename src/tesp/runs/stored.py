"""What is stored of a run, read without what it takes to go on with it."""

from tesp.config import Config, from_json
from tesp.errors import ConfigurationError, RunFolderError
from tesp.storage.run_folder import RunFolder


def stored_config(folder: RunFolder) -> Config:
    """Return the configuration of a run.

    Raises:
        RunFolderError: It is damaged.
    """
    try:
        return from_json(folder.read_config())
    except ConfigurationError as error:
        raise RunFolderError(f"{folder.path / 'config.json'} is damaged. {error}") from error
