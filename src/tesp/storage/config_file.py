"""The configuration in a run's folder, as JSON has it."""

from pathlib import Path
from typing import Any

from tesp import trust
from tesp.errors import RunFolderError
from tesp.storage.identity import FIELD
from tesp.storage.strict_json import read_json


def _is_reference(family: str) -> bool:
    """Tell whether a family's name would lead to a file: of a stored run nothing but the copy is ever run."""
    return family.endswith(".py") or ".py:" in family


#: What every configuration has, whatever its method and its version.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("family", "preset", "algorithm"), (str,)),
    "family_file": (str, type(None)),
    "seed": (int,),
    **dict.fromkeys(("task", "sampling", "method", "schedule", "log"), (dict,)),
}


def read_config(folder: Path) -> dict[str, Any]:
    """Return the stored configuration of a run. The family's file is the copy in the folder: no other is ever run.

    Raises:
        RunFolderError: It is damaged.
    """
    stored = read_json(folder / "config.json")
    if wrong := [name for name, kinds in _KINDS.items() if name in stored and type(stored[name]) not in kinds]:
        raise RunFolderError(
            f"{folder / 'config.json'} is damaged: it holds something else than it should in {', '.join(wrong)}. "
            "Restore it."
        )
    if _is_reference(stored.get("family", "")):
        raise RunFolderError(
            f"{folder / 'config.json'} is damaged: its family is {stored['family']!r}, which names no family. "
            "Restore it."
        )
    if isinstance(original := stored.get("family_file"), str):
        stored["family_file"] = trust.copy_in(folder, original)
    return {name: value for name, value in stored.items() if name != FIELD}
