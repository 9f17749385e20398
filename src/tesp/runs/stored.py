"""What is stored of a run, read without what it takes to go on with it."""

from dataclasses import replace
from pathlib import Path

from tesp.config import Config, from_dict, of_today
from tesp.errors import ConfigurationError, RunFolderError
from tesp.methods.registry import METHODS
from tesp.report.records import RunRecords, read_run
from tesp.storage.run_folder import RunFolder
from tesp.tasks import family_files


def stored_config(folder: RunFolder, with_family: bool = False) -> Config:
    """Return the configuration of a run.

    Args:
        folder: The run.
        with_family: Whether the copy of the family's file may be run, which may register the run's method.

    Raises:
        RunFolderError: It is damaged, or its method is not known.
        UntrustedError: The copy of the family's file is needed, and the user has not consented to running it.
    """
    stored = folder.read_config()
    name = stored.get("algorithm")
    if isinstance(name, str) and name not in METHODS:
        if with_family and stored.get("family_file"):
            family_files.load(f"{stored['family_file']}:{stored.get('family')}")
        if name not in METHODS:
            raise RunFolderError(
                f"{folder.path} was trained with the algorithm {name!r}, which is not known here; known are: "
                f"{', '.join(METHODS)}. Call tesp.register_method first, in the same process."
            )
    try:
        return from_dict(stored)
    except ConfigurationError as error:
        raise RunFolderError(f"{folder.path / 'config.json'} is damaged. {error}") from error


def run_of_today(folder: Path) -> RunRecords:
    """Return the run that a folder holds, with its configuration as `tesp.config.of_today` has it.

    Raises:
        RunFolderError: As `tesp.report.records.read_run`.
    """
    run = read_run(folder)
    return replace(run, config=of_today(run.config))
