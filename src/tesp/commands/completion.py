"""``tesp completion``: what TAB completes in a shell."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
from rich.console import Console

from tesp.commands.parsing import parse

#: Commands that take the options of a configuration, and what else they take.
_OF_CONFIGURATIONS = {"train": ("--output", "--from", "--trust", "--ray", "--hosts"), "compare": ()}
_SHELLS = ("bash", "zsh", "fish")
#: Commands whose first word is a family.
_OF_FAMILIES = ("train", "compare", "render")
_ARGUMENTS = {
    "resume": "resume:ResumeArguments",
    "evaluate": "evaluate:EvaluateArguments",
    "adapt": "adapt:AdaptArguments",
    "compare": "compare:CompareArguments",
    "sweep": "sweep:SweepArguments",
    "plot": "plot:PlotArguments",
    "render": "render:RenderArguments",
    "report": "report:ReportArguments",
    "export": "export:ExportArguments",
    "card": "card:CardArguments",
    "push": "push:PushArguments",
    "pull": "pull:PullArguments",
    "list": "listing:ListArguments",
    "completion": "completion:CompletionArguments",
}


#: How tyro marks what is no option, and flags without a ``--no-`` form.
_SUPPRESSED, _POSITIONAL, _UNPAIRED = (
    get_args(marked)[1]
    for marked in (tyro.conf.Suppress[int], tyro.conf.Positional[int], tyro.conf.FlagCreatePairsOff[int])
)


@dataclass(frozen=True)
class CompletionArguments:
    """Write a script for a shell with which TAB completes commands, options and their values.

    For bash: `tesp completion bash > ~/.local/share/bash-completion/completions/tesp`. For zsh: `tesp completion zsh >
    ~/.tesp-completion`, and `source ~/.tesp-completion` in .zshrc. For fish: `tesp completion fish >
    ~/.config/fish/completions/tesp.fish`.
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """The shell."""


def run(arguments: list[str], console: Console) -> None:
    """Write the script."""
    parsed = parse(CompletionArguments, arguments, "tesp completion")
    console.print(script(parsed.shell).rstrip())


def script(shell: str) -> str:
    """Return the script for a shell: ``bash``, ``zsh`` or ``fish``."""
    if shell == "fish":
        return _fish()
    # zsh runs functions that were written for bash.
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + _bash()


def options() -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the options of every command, each with the values that it may have; none where they are not a few."""
    found = {}
    for command in ("train", *_ARGUMENTS):
        own = _of_fields(_kind(command)) if command in _ARGUMENTS else {}
        if command in _OF_CONFIGURATIONS:
            own |= _of_configurations() | dict.fromkeys(_OF_CONFIGURATIONS[command], ())
        found[command] = own | {"--help": ()}
    return found


def _kind(command: str) -> Any:
    module, _, name = _ARGUMENTS[command].partition(":")
    return getattr(import_module(f"tesp.commands.{module}"), name)


def _of_configurations() -> dict[str, tuple[str, ...]]:
    from tesp.config import Config
    from tesp.methods.registry import METHODS, entry_of

    found = _of_fields(Config)
    for kind in {entry_of(name).kind for name in METHODS}:
        found |= _of_fields(kind)
    return found


def _of_fields(kind: Any) -> dict[str, tuple[str, ...]]:
    from tesp.methods.registry import METHODS
    from tesp.presets import merged

    found: dict[str, tuple[str, ...]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if _SUPPRESSED in marks or _POSITIONAL in marks:
            continue
        if dataclasses.is_dataclass(plain):
            found |= _of_fields(plain)
            continue
        option = f"--{name.replace('_', '-')}"
        choices = {"preset": tuple(merged({})), "algorithm": tuple(METHODS), "algorithms": tuple(METHODS)}
        found[option] = choices.get(name, tuple(map(str, get_args(plain))) if get_origin(plain) is Literal else ())
        aliases = [alias for mark in marks for alias in getattr(mark, "aliases", None) or ()]
        found |= dict.fromkeys(aliases, found[option])
        if plain is bool and tyro.conf.FlagCreatePairsOff not in marks and _UNPAIRED not in marks:
            found[f"--no-{option[2:]}"] = ()
    return found


def _families() -> str:
    from tesp.tasks.registry import families

    return " ".join(families())


def _bash() -> str:
    commands = options()
    # An option of the same name has the same values everywhere.
    values = {name: chosen for of_command in commands.values() for name, chosen in of_command.items() if chosen}
    lines = [
        "# Completion of tesp for bash, and for zsh after bashcompinit.",
        "_tesp() {",
        "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} words=",
        "  if [ $COMP_CWORD -eq 1 ]; then",
        f'    words="{" ".join(commands)} --help --version"',
        "  else",
        '    case "$before" in',
        *(f'      {name}) words="{" ".join(chosen)}" ;;' for name, chosen in sorted(values.items())),
        "    esac",
        '    if [ -z "$words" ]; then',
        '      case "$command" in',
        *(f'        {name}) words="{" ".join(sorted(given))}" ;;' for name, given in commands.items()),
        "      esac",
        '      case "$COMP_CWORD $command" in',
        f'        {" | ".join(_quoted(_OF_FAMILIES))}) words="$words {_families()}" ;;',
        f'        "2 completion") words="{" ".join(_SHELLS)}" ;;',
        "      esac",
        "    fi",
        "  fi",
        '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "}",
        "complete -o default -F _tesp tesp",
    ]
    return "\n".join(lines) + "\n"


def _quoted(commands) -> list[str]:
    return [f'"2 {command}"' for command in commands]


def _fish() -> str:
    commands: Mapping[str, Mapping[str, tuple[str, ...]]] = options()
    lines = [
        "# Completion of tesp for fish.",
        f'complete -c tesp -n __fish_use_subcommand -f -a "{" ".join(commands)}"',
        "complete -c tesp -n __fish_use_subcommand -l version",
        f'complete -c tesp -n "__fish_seen_subcommand_from {" ".join(_OF_FAMILIES)}" -a "{_families()}"',
        'complete -c tesp -n "__fish_seen_subcommand_from completion" -f -a "' + " ".join(_SHELLS) + '"',
    ]
    for command, given in commands.items():
        for name, chosen in sorted(given.items()):
            values = f' -x -a "{" ".join(chosen)}"' if chosen else ""
            lines.append(f'complete -c tesp -n "__fish_seen_subcommand_from {command}" -l {name[2:]}{values}')
    return "\n".join(lines) + "\n"
