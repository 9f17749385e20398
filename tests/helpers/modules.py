"""Scripts as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def loaded(path: Path, name: str) -> ModuleType:
    """Run a script as a module of a name of its own, for others may have one that is called like its file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses and pickles look for it.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
