"""Families that stand in a Python file of the user's own, given as ``path/to/my_family.py:my_family``."""

import hashlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from tesp.errors import ConfigurationError
from tesp.tasks.base import Family

#: What was imported, by the file's resolved path: a file is run once in a process.
_MODULES: dict[Path, ModuleType] = {}


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
    """
    file, attribute = _split(reference)
    module = _import(_find(file, reference))
    if not attribute or not hasattr(module, attribute):
        raise ConfigurationError(
            f"{module.__file__} defines no family {attribute!r}; give FILE.py:NAME with a name that it defines: "
            f"{', '.join(_offered(module)) or 'there is none yet'}."
        )
    return getattr(module, attribute)


def describe_error(error: BaseException) -> str:
    """Return the kind of an error in code that is not ours, its message, and the line where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('.')}{where}"


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


def _import(path: Path) -> ModuleType:
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
    _MODULES[path] = module
    return module


def _offered(module: ModuleType) -> list[str]:
    """Return the names of families, and of what may make some, that a file defines itself."""

    def is_own(value: Any) -> bool:
        made_here = getattr(value, "__module__", None) == module.__name__
        maker = inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, Family))
        return isinstance(value, Family) or (maker and made_here)

    return [name for name, value in vars(module).items() if not name.startswith("_") and is_own(value)]
