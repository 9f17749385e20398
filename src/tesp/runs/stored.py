"""What is stored of a run, read without what it takes to go on with it."""

import json

from tesp.config import Config, from_json
from tesp.errors import ConfigurationError, RunFolderError
from tesp.methods.registry import METHODS
from tesp.storage.run_folder import RunFolder
from tesp.tasks import family_files


def stored_config(folder: RunFolder, with_family: bool = False) -> Config:
    """Return the configuration of a run.

    Args:
        folder: The run.
        with_family: Whether the file of the run's family may be imported, which may register the run's method.

    Raises:
        RunFolderError: It is damaged, or its method is not known.
    """
    text = folder.read_config()
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    name = stored.get("algorithm") if isinstance(stored, dict) else None
    if isinstance(stored, dict) and isinstance(name, str) and name not in METHODS:
        if with_family and stored.get("family_file"):
            family_files.load(f"{stored['family_file']}:{stored.get('family')}")
        if name not in METHODS:
            raise RunFolderError(
                f"{folder.path} was trained with the algorithm {name!r}, which is not known here; known are: "
                f"{', '.join(METHODS)}. Call tesp.register_method first, in the same process."
            )
    try:
        return from_json(text)
    except ConfigurationError as error:
        raise RunFolderError(f"{folder.path / 'config.json'} is damaged. {error}") from error
