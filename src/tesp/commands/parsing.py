"""What all commands share: their arguments are dataclasses, from which options and help are made."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tesp.bounds import all_together

if TYPE_CHECKING:
    from tesp.config import Config

Folder = Annotated[Path, tyro.conf.Positional]

Trust = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(
        help="Run the family's file in the folder although your own training did not write it there. Read it first."
    ),
]

Oracles = Annotated[
    tyro.conf.UseAppendAction[tuple[Path, ...]],
    tyro.conf.arg(
        help="The run of the oracle that frames the results, or a folder of runs; again for every further seed. By "
        "default one of the same tasks beside each run, if any."
    ),
]


def parse(kind, arguments: list[str], program: str, description: str | None = None):
    """Return an instance of the dataclass ``kind``, or print help or the error and exit."""
    with all_together():
        return tyro.cli(kind, args=arguments, prog=program, description=description)


def with_commas_split(words: Sequence[str], *options: str) -> list[str]:
    """Return the words of a command line with ``0.5,-0.7`` as two words behind some options."""
    found: list[str] = []
    inside = False
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            inside = name in options
            found += [name, *value.split(",")] if inside and equals else [word]
        else:
            found += [part for part in word.split(",") if part] if inside else [word]
    return found


def with_value(words: Sequence[str], option: str, value: str) -> list[str]:
    """Return the words of a command line with a value behind an option that may be given without one.

    A word that is a path, whether it exists or not, is what the command is about, and not the option's.
    """
    found = list(words)
    for place, word in reversed(list(enumerate(words))):
        following = words[place + 1 : place + 2]
        if word == option and (not following or following[0].startswith("-") or _is_path(following[0])):
            found.insert(place + 1, value)
    return found


def _is_path(word: str) -> bool:
    return Path(word).exists() or word.endswith(".toml") or ("/" in word and "://" not in word)


def options_in(words: Sequence[str]) -> list[str]:
    """Return the names of fields that words of a command line set."""
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [word.removeprefix("--").removeprefix("no-").replace("-", "_") for word in given]


def without_options(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the words of a command line without those that set the given fields."""
    kept, skipping = [], False
    for word in words:
        if word.startswith("--"):
            skipping = options_in([word])[0] in names
        if not skipping:
            kept.append(word)
    return kept


def for_help(config: "Config") -> "Config":
    """Return a configuration of a kind whose options are those that its method has; `plain` turns it back."""
    from tesp.methods.registry import entry_of

    method = _without(config.method, entry_of(config.algorithm).absent)
    kind = _derived(type(config), {"method": (type(method), method)})
    return kind(**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)} | {"method": method})


def plain(given: Any) -> Any:
    """Return what was parsed by a kind of `for_help` as the configuration that it stands for."""
    if not dataclasses.is_dataclass(given):
        return given
    kind: Any = getattr(type(given), "plain_kind", type(given))
    return kind(**{f.name: plain(getattr(given, f.name)) for f in dataclasses.fields(kind)})


def _without(given: Any, absent: frozenset[str]) -> Any:
    values = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    changed: dict[str, tuple[Any, Any]] = {}
    for f in dataclasses.fields(given):
        if dataclasses.is_dataclass(values[f.name]):
            values[f.name] = _without(values[f.name], absent)
            changed[f.name] = (type(values[f.name]), values[f.name])
        elif f.name in absent:
            changed[f.name] = (tyro.conf.Suppress[f.type], values[f.name])
    return _derived(type(given), changed)(**values)


def _derived(kind: type, changed: dict[str, tuple[Any, Any]]) -> type:
    """Return a dataclass that differs in some fields' types and defaults alone."""
    fields = [(n, annotation, dataclasses.field(default=default)) for n, (annotation, default) in changed.items()]
    names = {"plain_kind": kind, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True, namespace=names)
