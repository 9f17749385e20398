"""``tesp compare``."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from tesp.bounds import all_together
from tesp.commands.parsing import for_help, options_in, plain, with_value, without_options
from tesp.commands.running import RunningArguments, worker_of
from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class CompareArguments:
    """Train several methods alike on several seeds, then write one table and one figure."""

    algorithms: tuple[str, ...] = ("tesp", "maml", "meta-sgd", "adapt-sv")
    """The methods; the oracle always joins them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The seeds."""
    preset: str = "quick"
    """The family's preset that every method starts from."""
    equal_experience: bool = False
    """Give methods without a warm-up round as many more episodes in their first round."""
    evaluation_episodes: tuple[int, ...] = (1, 2, 5, 10, 25)
    """Numbers of episodes per round, besides that of training, with which the trained runs are evaluated; none: no
    other."""
    output: Path | None = None
    """Folder of the comparison; by default runs/compare-FAMILY-PRESET."""
    on: tyro.conf.OmitArgPrefixes[RunningArguments] = field(default_factory=RunningArguments)
    """Where and how the runs are trained."""


def run(arguments: list[str], console: Console) -> None:
    """Train several methods alike."""
    from tesp import compare
    from tesp.config import preset_config, refuse_options
    from tesp.methods.registry import absent_from, entry_of

    if not arguments or (arguments[0].startswith("-") and not set(arguments) & {"-h", "--help"}):
        raise ConfigurationError("`tesp compare` needs the name of a family first, for instance `tesp compare point`.")
    family, *options = arguments if not arguments[0].startswith("-") else ["FAMILY", *arguments]
    description = (
        "Train several methods alike on several seeds. Takes the options of `tesp train` too, for all methods; "
        "`tesp train FAMILY --help` lists them."
    )
    program = f"tesp compare {family}"
    chosen, others = tyro.cli(
        CompareArguments,
        args=with_value(options, "--ray", "local"),
        prog=program,
        description=description,
        return_unknown_args=True,
    )
    if not (chosen.algorithms and chosen.seeds):
        raise ConfigurationError("`tesp compare` needs one algorithm and one seed or more.")
    words = {word.partition("=")[0].replace("--no-", "--") for word in others}
    if words & {"--algorithm", "--seed"}:
        raise ConfigurationError("`tesp compare` takes --algorithms and --seeds, not --algorithm and --seed.")
    if words & {"--buffer", "--adapt-policy", "--fast-update", "--fixed-rate", "--extra-episodes"}:
        raise ConfigurationError(
            "`tesp compare` takes ablations by name (--algorithms tesp tesp-v1 …) and --equal-experience instead of "
            "--extra-episodes."
        )
    algorithms = compare.with_oracle(chosen.algorithms)
    given = options_in(others)
    for name in given:
        if all(name in absent_from(algorithm) for algorithm in algorithms):
            refuse_options(algorithms[0], [name])
    configs = []
    for algorithm in algorithms:
        # An option holds for all methods that have it; what a method's name stands for, no option changes.
        words = without_options(others, absent_from(algorithm) | entry_of(algorithm).implied.keys())
        default = for_help(preset_config(family, chosen.preset, algorithm))
        with all_together():
            parsed = tyro.cli(tyro.conf.OmitArgPrefixes[type(default)], args=words, prog=program, default=default)
        config = plain(parsed)
        if chosen.equal_experience:
            config = compare.at_equal_experience(config)
        configs += [dataclasses.replace(config, seed=seed) for seed in dict.fromkeys(chosen.seeds)]
    work = worker_of(chosen.on)
    output = chosen.output or compare.default_output(family, chosen.preset)
    console.print(f"folder of the comparison: {output}", markup=False)
    if chosen.on.dry_run:
        from tesp.estimating import show_plan

        folders = compare.folders_of(configs, output)
        compare.check(folders)
        show_plan(folders, output, console)
        return
    for path in compare.compare(configs, output, console, work, episodes=chosen.evaluation_episodes):
        console.print(f"written: {path}", markup=False)
