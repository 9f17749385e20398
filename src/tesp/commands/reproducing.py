"""The command that trains a run again."""

import dataclasses
import shlex
from typing import Any

from tesp.config import Config, preset_config


def reproducing_command(config: Config) -> str:
    """Return ``tesp train …`` with every option that differs from the preset's, quoted for a shell.

    Raises:
        ConfigurationError: The family or its preset is not known in this process.
    """
    preset = preset_config(config.family_reference, config.preset, config.algorithm)
    words = ["tesp", "train", config.family_reference, "--preset", config.preset]
    if config.algorithm != Config.algorithm:
        words += ["--algorithm", config.algorithm]
    words += ["--seed", str(config.seed)]
    before = _fields(preset)
    for name, value in _fields(config).items():
        if value != before[name] and name != "seed":
            words += option(name, value)
    return shlex.join(words)


def option(name: str, value: Any) -> list[str]:
    """Return the words that set a field on the command line."""
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    if isinstance(value, str):
        # A text that begins with a dash would be taken for an option if it stood alone.
        return [f"--{dashed}={value}"] if value.startswith("-") else [f"--{dashed}", value]
    return [f"--{dashed}", *map(str, value if isinstance(value, tuple | list) else (value,))]


def _fields(config: Config) -> dict[str, Any]:
    """Return the fields of all groups, flat, but for the family's, which is no option."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if name not in ("family", "family_file")}
