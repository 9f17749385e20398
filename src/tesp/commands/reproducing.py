"""The command that trains a run again."""

import shlex
from typing import Any

from tesp.config import Config, preset_config, values_of
from tesp.tasks.family_files import shown


def reproducing_command(config: Config) -> str:
    """Return ``tesp train …`` with every option that differs from the preset's, quoted for a shell.

    Raises:
        ConfigurationError: The family or its preset is not known in this process.
    """
    preset = preset_config(config.family_reference, config.preset, config.algorithm)
    words = ["tesp", "train", shown(config.family_reference), "--preset", config.preset]
    if config.algorithm != Config.algorithm:
        words += ["--algorithm", config.algorithm]
    words += ["--seed", str(config.seed)]
    before = values_of(preset)
    for name, value in values_of(config).items():
        if value != before[name] and name not in ("family", "family_file", "seed"):
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
