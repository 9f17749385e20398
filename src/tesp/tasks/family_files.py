"""Families that stand in a Python file of the user's own, given as ``path/to/my_family.py:my_family``."""

import hashlib
import importlib.util
import inspect
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from tesp.errors import ConfigurationError, describe_error

#: What was imported and the file's contents then, by its resolved path: a file is run once in a process.
_MODULES: dict[Path, tuple[ModuleType, bytes]] = {}

#: A run's copy of the file that defines its family, and the copy's SHA-256 in the format of ``sha256sum``.
_COPY, _DIGEST = "family.py", "family.sha256"


class FamilyFileWarning(UserWarning):
    """A family's file is not where it was, or not what it was, when the run that names it began."""


def is_reference(name: str) -> bool:
    """Tell whether a family is given by a file: ``FILE.py:NAME``, or ``FILE.py`` where the name was forgotten."""
    return _split(name)[0].endswith(".py")


def parts(name: str) -> tuple[str | None, str]:
    """Return the file of a family, as an absolute path, and what it is called there; None and the name for others.

    Folders, records and tables use the latter alone. A path that leads nowhere stays as it
    is, so that the error names what was given.
    """
    file, attribute = _split(name)
    if not attribute:
        return None, name
    path = Path(file).expanduser()
    return str(path.resolve()) if path.is_file() else file, attribute


def load(reference: str) -> Any:
    """Return what a file calls NAME, after importing the file if this process has not yet.

    A relative path counts from the working directory. Where an absolute path leads nowhere, as in a run that was
    brought from another machine, a file of the same name in the working directory is taken.

    Args:
        reference: ``FILE.py:NAME``.

    Raises:
        ConfigurationError: There is no such file, importing it fails, or it does not define the name.

    Warns:
        FamilyFileWarning: The file in the working directory was taken.
    """
    file, attribute = _split(reference)
    path = _find(file, reference)
    if Path(file).expanduser().is_absolute() and not Path(file).expanduser().is_file():
        # Said of one line of the caller, so that Python shows it once in a process.
        warnings.warn(
            f"The family {attribute!r} is taken from {path}, since there is no file {file}. If that is another file, "
            "put the right one back.",
            FamilyFileWarning,
            stacklevel=2,
        )
    module, _ = _import(path)
    if not attribute or not hasattr(module, attribute):
        raise ConfigurationError(
            f"{module.__file__} defines no family {attribute!r}; give FILE.py:NAME with a name that it defines: "
            f"{', '.join(_offered(module)) or 'there is none yet'}."
        )
    return getattr(module, attribute)


def store_copy(reference: str, folder: Path) -> None:
    """Write a family's file as this process imported it, and its SHA-256, into a folder; nothing for other families.

    Raises:
        ConfigurationError: There is no such file, or importing it fails.
        OSError: The folder cannot be written.
    """
    if not is_reference(reference):
        return
    _, contents = _import(_find(_split(reference)[0], reference))
    (folder / _COPY).write_bytes(contents)
    (folder / _DIGEST).write_text(f"{_sha256(contents)}  {_COPY}\n", encoding="utf-8")


def check_copy(reference: str, folder: Path) -> None:
    """Compare a family's file with the copy that `store_copy` wrote; folders without one are not checked.

    Compared is what this process imported, which the file may no longer be.

    Raises:
        ConfigurationError: There is no such file, or importing it fails; says where the copy is.

    Warns:
        FamilyFileWarning: The file is another than the one that was copied.
    """
    copy, digest = folder / _COPY, folder / _DIGEST
    if not is_reference(reference) or not digest.is_file():
        return
    try:
        path = _find(_split(reference)[0], reference)
        _, contents = _import(path)
    except ConfigurationError as error:
        hint = f" A copy of the file as it was when the run began lies in {copy}." if copy.is_file() else ""
        raise ConfigurationError(f"{error}{hint}") from None
    if _sha256(contents) not in digest.read_text(encoding="utf-8", errors="replace").split():
        warnings.warn(
            f"{path} is not what it was when the run {folder} began, so the run's tasks and environments may not be "
            f"what they were. The file as it was lies in {copy}.",
            FamilyFileWarning,
            stacklevel=2,
        )


def _sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def _split(reference: str) -> tuple[str, str]:
    file, colon, attribute = reference.rpartition(":")
    return (file, attribute) if colon and file.endswith(".py") else (reference, "")


def _find(file: str, reference: str) -> Path:
    given = Path(file).expanduser()
    places = [given] if not given.is_absolute() else [given, Path(given.name)]
    for place in places:
        if place.is_file():
            return place.resolve()
    looked = " and ".join(str(place.absolute()) for place in dict.fromkeys(places))
    raise ConfigurationError(
        f"The family {reference!r} cannot be found: there is no file {looked}. Give the path of the file, from the "
        "working directory or absolute; for a stored run, put the file back or correct `family_file` in its "
        "config.json."
    )


def _import(path: Path) -> tuple[ModuleType, bytes]:
    if path in _MODULES:
        return _MODULES[path]
    name = f"tesp_family_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What lies beside the file can be imported, as if the file were run; at the end, so that it hides nothing.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        contents = path.read_bytes()
        spec.loader.exec_module(module)
    except ConfigurationError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise ConfigurationError(
            f"{path} cannot be imported: {describe_error(error)}. Mend the file; `python {path}` shows the whole error."
        ) from error
    # Processes that environments run in cannot import the module by its made-up name.
    cloudpickle.register_pickle_by_value(module)
    _MODULES[path] = module, contents
    return _MODULES[path]


def _offered(module: ModuleType) -> list[str]:
    """Return the names of families, and of what may make some, that a file defines itself."""
    from tesp.tasks.family import Family

    def is_own(value: Any) -> bool:
        made_here = getattr(value, "__module__", None) == module.__name__
        maker = inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, Family))
        return isinstance(value, Family) or (maker and made_here)

    return [name for name, value in vars(module).items() if not name.startswith("_") and is_own(value)]
