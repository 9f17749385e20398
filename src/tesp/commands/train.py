"""``tesp train``."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tesp.commands.elsewhere import HostArguments, elsewhere_of
from tesp.commands.parsing import Trust, for_help, options_in, parse, plain, with_value
from tesp.commands.showing import finish
from tesp.errors import ConfigurationError


def run(arguments: list[str], console: Console) -> None:
    """Meta-train."""
    from tesp import config as configuration
    from tesp.methods.registry import absent_from

    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="paper")
    first.add_argument("--algorithm", default="tesp")
    if not arguments or arguments[0].startswith("-"):
        if set(arguments) & {"-h", "--help"}:
            arguments = ["point", *arguments]
        else:
            raise ConfigurationError(
                "`tesp train` needs the name of a family first, for instance `tesp train point --preset quick`; "
                "`tesp list` shows all."
            )
    family, *options = arguments
    chosen = first.parse_known_args(options)[0]
    default = for_help(configuration.preset_config(family, chosen.preset, chosen.algorithm))
    configuration.refuse_options(
        chosen.algorithm, [x for x in options_in(options) if x in absent_from(chosen.algorithm)]
    )

    @dataclass(frozen=True)
    class TrainArguments:
        config: tyro.conf.OmitArgPrefixes[type(default)] = default  # pyright: ignore[reportInvalidTypeForm]
        """Everything that determines the result."""
        output: Path | None = None
        """The run folder to make; by default runs/FAMILY-ALGORITHM-PRESET-seedSEED."""
        start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
        """A run, or a file of a trained learner, whose parameters training begins with instead of fresh ones."""
        trust: Trust = False
        on: tyro.conf.OmitArgPrefixes[HostArguments] = field(default_factory=HostArguments)
        """Where the tasks are worked on."""

    options = with_value(options, "--ray", "local")
    parsed = parse(TrainArguments, options, f"tesp train {family}", "Meta-train on a family of tasks.")
    config = plain(parsed.config)
    # Only now: this imports JAX, which no misspelt option should wait for.
    from tesp import runs

    elsewhere = elsewhere_of(parsed.on, console)
    run = runs.train(config, parsed.output, console, start=parsed.start, trust=parsed.trust, elsewhere=elsewhere)
    finish(run.folder.path, console)
