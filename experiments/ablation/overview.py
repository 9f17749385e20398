"""The ablation in short, for the documentation: a table holds all methods of a family, in whole numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from analysis import (
    SETS,
    by_variant,
    common_time,
    compared,
    gained,
    grouped,
    last_shared,
    last_within,
    markdown,
    pairs,
    total,
)
from stored import AblationRun, load_all
from variants import LETTERS, NO_PENALTY, letters_of

from tesp.report import words

#: What the rows of gains are called, by how the analysis calls them.
GAINS = {"alone": "{} alone", "as": "{} added last", "together": "all together"}

#: The variants of a family by method.
Family = dict[str, dict[str, list[AblationRun]]]


def families(records: Path) -> dict[str, Family]:
    """Return the finished runs of a folder by family, method and variant."""
    found: dict[str, Family] = {}
    for (family, method), runs in grouped(load_all(records)).items():
        found.setdefault(family, {})[method] = by_variant(compared(runs))
    return found


def at_equal_updates(family: Family) -> str:
    """Return the returns of all variants at the last meta-update that all have, and what a meta-update costs."""
    rows = [["method + additions", "seeds", *SETS.values(), "CPU-s"]]
    for method, variants in family.items():
        end = last_shared([run for members in variants.values() for run in members])
        for variant, members in variants.items():
            cost = np.mean([total(run) / len(run.seconds) for run in members])
            cells = [_mean([run.returns[end][name, run.fast_updates] for run in members]) for name in SETS]
            rows.append([_name(method, variant), _seeds(members), *cells, words.number(float(cost), 1)])
    return markdown(rows)


def at_equal_seconds(family: Family, method: str = "tesp") -> str:
    """Return the returns of a method's variants after the time that the cheapest of them needs for its whole run."""
    variants = family[method]
    seconds = common_time(variants)
    rows = [[f"at {seconds:.0f} CPU-s", "seeds", *SETS.values(), "meta-updates by then"]]
    for variant, members in variants.items():
        reached = [last_within(run, seconds) for run in members]
        read = list(zip(members, reached, strict=True))
        cells = [_mean([run.returns[update][name, run.fast_updates] for run, update in read]) for name in SETS]
        rows.append([_name(method, variant), _seeds(members), *cells, _mean(reached)])
    return markdown(rows)


def complete(found: dict[str, Family]) -> str:
    """Return what the methods reach with all additions that they can have, D / D′ / D″ and the number of seeds."""
    rows = [["", *(f"{words.method(method)} + {' + '.join(letters)}" for method, letters in LETTERS.items())]]
    for name, family in found.items():
        end = last_shared([run for variants in family.values() for members in variants.values() for run in members])
        cells = []
        for method, letters in LETTERS.items():
            members = family[method][letters]
            cells.append(f"{_three([run.returns[end] for run in members], members)} ({len(members)})")
        rows.append([name, *cells])
    return markdown(rows)


def at_a_time(found: dict[str, Family], chosen: Sequence[str], method: str = "tesp") -> str:
    """Return `at_equal_seconds` of a few variants in all families, as D / D′ / D″."""
    rows = [["", "CPU-s", *(_name(method, variant) for variant in chosen)]]
    for name, family in found.items():
        seconds = common_time(family[method])
        cells = [
            _three([run.returns[last_within(run, seconds)] for run in members], members)
            for members in (family[method][variant] for variant in chosen)
        ]
        rows.append([name, f"{seconds:.0f}", *cells])
    return markdown(rows)


def gains(family: Family) -> str:
    """Return what every addition gains in every method, as D / D′ / D″ and the number of seeds."""
    cells: dict[str, dict[str, str]] = {}
    for method, variants in family.items():
        asked = {_gain(name): pair for name, pair in pairs(method).items()}
        if NO_PENALTY in variants:
            asked["the penalty η"] = (LETTERS[method], NO_PENALTY)
        for name, (more, less) in asked.items():
            if found := gained(variants, more, less):
                means = [float(np.mean([each[task_set] for each in found])) for task_set in SETS]
                cells.setdefault(name, {})[method] = f"{' / '.join(map(signed, means))} ({len(found)})"
    order = sorted(cells, key=lambda name: (name != _gain("all together"), "η" in name))
    rows = [["gain", *map(words.method, family)]]
    return markdown([*rows, *([name, *(cells[name].get(method, "–") for method in family)] for name in order)])


def _gain(name: str) -> str:
    first, second = name.split()[:2]
    return GAINS[second].format(first)


def _name(method: str, variant: str) -> str:
    whole = " + ".join([words.method(method), *letters_of(variant)])
    if variant == NO_PENALTY:
        return f"{whole}, η = 0"
    return f"**{whole}**" if variant == LETTERS[method] else whole


def _seeds(members: Sequence[AblationRun]) -> str:
    return ", ".join(str(seed) for seed in sorted(run.seed for run in members))


def _three(rows: Sequence[dict[tuple[str, int], float]], runs: Sequence[AblationRun]) -> str:
    """Return the means after K fast-updates as D / D′ / D″."""
    read = list(zip(rows, runs, strict=True))
    return " / ".join(_mean([row[name, run.fast_updates] for row, run in read]) for name in SETS)


def _mean(values: Sequence[float]) -> str:
    return words.number(float(np.mean(values)), 0)


def signed(value: float) -> str:
    """Return a difference with its sign; what rounds to nothing has none."""
    text = f"{value:+.0f}"
    return "0" if text[1:] == "0" else text.replace("-", "−")
