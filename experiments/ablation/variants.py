"""What the ablation switches on and off, as data: three additions, and the sets of them that each method has."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any


@dataclass(frozen=True)
class Addition:
    """One addition to the preset `quick`.

    Attributes:
        words: What it is, for people.
        option: The field of the configuration that switches it.
        on: The field's value with the addition.
        off: Its value without.
    """

    words: str
    option: str
    on: Any
    off: Any


#: Both values are always given, so that an edited preset never changes what a variant's name means. Without A the step
#: size of the preset, which is also where A begins, falls linearly to zero, as A's ceiling does.
ADDITIONS = {
    "A": Addition("a step size that finds itself", "learning_rate_schedule", "adaptive", "linear"),
    "B": Addition("a loss on every round", "early_loss_weight", 0.3, 0.0),
    "C": Addition("a modulated policy", "conditioning", "modulate", "concatenate"),
}

NONE = "none"
#: The full set of TESP without the penalty of the embedding.
NO_PENALTY = "ABC-no-penalty"

#: The additions that a method can have; without an embedding there is nothing to modulate the policy by.
LETTERS = {"tesp": "ABC", "meta-sgd": "AB", "adapt-sv": "ABC"}


def _subsets(letters: str) -> list[str]:
    sizes = range(len(letters) + 1)
    return ["".join(chosen) or NONE for size in sizes for chosen in combinations(letters, size)]


#: The variants of every method, as rows of a table.
VARIANTS = {
    "tesp": (*_subsets("ABC"), NO_PENALTY),
    "meta-sgd": tuple(_subsets("AB")),
    "adapt-sv": (NONE, "A", "B", "C", "ABC"),
}

#: The names of all variants.
NAMES = VARIANTS["tesp"]


def letters_of(variant: str) -> str:
    """Return the additions that a variant has, each a letter."""
    return "" if variant == NONE else variant.partition("-")[0]


def options_of(method: str, variant: str) -> dict[str, Any]:
    """Return the configuration values that make a variant of a method."""
    has = letters_of(variant)
    additions = ((letter, ADDITIONS[letter]) for letter in LETTERS[method])
    values = {addition.option: addition.on if letter in has else addition.off for letter, addition in additions}
    return values | ({"embedding_penalty": 0.0} if variant == NO_PENALTY else {})


def rank(method: str, variant: str) -> int:
    """Return how soon a variant is to be run: 0 all and none, 1 single additions, 2 pairs, 3 without the penalty."""
    if variant == NO_PENALTY:
        return 3
    return 0 if variant in (NONE, LETTERS[method]) else len(variant)


def variant_of(config: Mapping[str, Any]) -> str | None:
    """Return the variant that a stored configuration is of, or None if it is of none."""
    fields = flat(config)
    method = fields["algorithm"]
    # A variant that gives more values is told apart by them, so it is asked first.
    asked = sorted(VARIANTS.get(method, ()), key=lambda variant: -len(options_of(method, variant)))
    for variant in asked:
        if all(name in fields and fields[name] == value for name, value in options_of(method, variant).items()):
            return variant
    return None


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration without its groups."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        fields |= flat(value) if isinstance(value, Mapping) else {name: value}
    return fields
