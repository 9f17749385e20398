"""Learning curves as numbers: runs grouped by algorithm, then mean and band over seeds."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from tesp import trust
from tesp.errors import ConfigurationError
from tesp.report.records import RunRecords

#: What a learning curve can be drawn against, and the field of an evaluation that holds it.
FIELDS = {
    "meta_updates": "meta_update",
    "environment_steps": "environment_steps",
    "wall_seconds": "wall_seconds",
}

#: The field of a meta-update's record that holds how much of it this one took.
TAKEN = {"environment_steps": "steps_sampled", "wall_seconds": "seconds"}

#: Resamples of a bootstrap, and the seed that makes its result the same every time.
RESAMPLES, RESAMPLING_SEED = 9999, 0


@dataclass(frozen=True)
class Curve:
    """Return against training, over the seeds of one algorithm; every array has one entry per evaluation.

    Attributes:
        x: Meta-updates, environment steps or seconds; the mean over seeds.
        mean: Average return in metre·steps, the mean over seeds.
        low: Lower edge of the band; equal to ``mean`` for a single seed.
        high: Upper edge of the band.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class TrainingRounds:
    """Returns of the rounds of training, the mean over the seeds of one algorithm.

    Attributes:
        x: Where each meta-update began, in what `FIELDS` counts; the mean over seeds, (meta-update,).
        returns: By the fast-updates before the round (−1 for the warm-up round): average return of the tasks that were
            drawn for the meta-update, in metre·steps, (meta-update,).
    """

    x: np.ndarray
    returns: dict[int, np.ndarray]


def group_runs(runs: Sequence[RunRecords]) -> dict[str, list[RunRecords]]:
    """Return the runs of each algorithm, algorithms in the order of their first run.

    Raises:
        RunFolderError: A run has no evaluation.
        ConfigurationError: There is no run, the runs are of several families, or runs of one algorithm share
            a seed or differ in K.
    """
    if not runs:
        raise ConfigurationError("There is no run to draw; give at least one run folder.")
    groups: dict[str, list[RunRecords]] = {}
    families: dict[str, str] = {}
    for run in runs:
        families.setdefault(run.first["family"], run.name)
        groups.setdefault(run.first["algorithm"], []).append(run)
    if len(families) > 1:
        found = ", ".join(f"{family!r} (run {name!r})" for family, name in families.items())
        raise ConfigurationError(f"The runs are of several families: {found}; draw one figure per family.")
    for algorithm, members in groups.items():
        _check_group(algorithm, members)
    return groups


def curve(runs: Sequence[RunRecords], task_set: str, x: str, band: str) -> Curve:
    """Return the curve of one algorithm on one task set, after K fast-updates.

    Only the meta-updates that every seed was evaluated at are kept: otherwise a seed that ends early would
    make the mean jump.

    Args:
        runs: The algorithm's runs, one per seed.
        task_set: D, D′ or D″ by its name in the records.
        x: A key of ``FIELDS``.
        band: ``range`` for the least and the greatest seed, ``bootstrap`` for `bootstrap_interval`.
    """
    points = [_points(run, task_set, x) for run in runs]
    shared = sorted(set.intersection(*(set(found) for found in points)))
    # (seed, evaluation, x or return)
    values = np.array([[found[update] for update in shared] for found in points], float)
    values = values.reshape(len(runs), len(shared), 2)
    returns = values[..., 1]
    if band == "range":
        low, high = returns.min(axis=0), returns.max(axis=0)
    else:
        low, high = bootstrap_interval(returns)
    return Curve(values[..., 0].mean(axis=0), returns.mean(axis=0), low, high)


def training_rounds(runs: Sequence[RunRecords], x: str) -> TrainingRounds | None:
    """Return what the rounds of an algorithm's training returned, at the meta-updates that every seed has recorded.

    A meta-update samples with the parameters from before it, so that is where its returns belong: they stand beside the
    evaluation of the same parameters.

    Args:
        runs: The algorithm's runs, one per seed.
        x: A key of ``FIELDS``.

    Returns:
        The returns; None if there are none.
    """
    found = [_rounds(run, x) for run in runs]
    shared = sorted(set.intersection(*(set(rounds) for rounds in found)))
    if not shared:
        return None
    count = len(found[0][shared[-1]]) - 1
    kept = [update for update in shared if all(len(rounds[update]) == count + 1 for rounds in found)]
    if not kept:
        return None
    # (seed, meta-update, x or round)
    values = np.array([[rounds[update] for update in kept] for rounds in found], float).mean(axis=0)
    first = runs[0].fast_updates + 1 - count
    return TrainingRounds(values[:, 0], {first + place: values[:, 1 + place] for place in range(count)})


def _rounds(run: RunRecords, x: str) -> dict[int, list[float]]:
    """Return x and the returns of the rounds by meta-update; of one that was done twice the later ones."""
    found = {}
    for record in run.records.get("train", []):
        end, took = record.get(FIELDS[x]), 1 if x == "meta_updates" else record.get(TAKEN[x], 0.0)
        if end is not None and record.get("round_returns"):
            found[record["meta_update"]] = [end - took, *record["round_returns"]]
    return found


def bootstrap_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % percentile bootstrap interval of the mean over seeds; the value itself for one seed.

    Seeds are drawn with replacement, ``RESAMPLES`` times. With few seeds the interval is too narrow: it can never
    leave the range of the seeds, and of two or three seeds it *is* their range, since a resample of nothing but the
    least seed has a probability above 2.5 % (1/2² and 1/3³).

    Args:
        values: (seed, …).
    """
    if len(values) < 2 or values.size == 0:
        mean = values.mean(axis=0)
        return mean, mean
    generator = np.random.default_rng(RESAMPLING_SEED)
    # The values lie in one sample: what is drawn is a whole seed, with all of its evaluations.
    with warnings.catch_warnings():
        # What was not recorded is NaN, and so is its interval.
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        found = scipy.stats.bootstrap(
            (values,), np.mean, axis=0, n_resamples=RESAMPLES, method="percentile", vectorized=True, rng=generator
        )
    return found.confidence_interval.low, found.confidence_interval.high


def _check_group(algorithm: str, runs: Sequence[RunRecords]) -> None:
    seeds: dict[int, str] = {}
    for run in runs:
        seed = run.first["seed"]
        if seed in seeds:
            raise ConfigurationError(
                f"Runs {seeds[seed]!r} and {run.name!r} of {algorithm!r} both have seed {seed}, so a band "
                "over seeds would count it twice; give one of them."
            )
        seeds[seed] = run.name
    counts = {run.fast_updates: run.name for run in runs}
    if len(counts) > 1:
        found = ", ".join(f"{count} (run {name!r})" for count, name in counts.items())
        raise ConfigurationError(
            f"Runs of {algorithm!r} were evaluated after different numbers of fast-updates: {found}; draw "
            "runs with the same number."
        )
    for run in runs[1:]:
        one, other = _settings(runs[0]), _settings(run)
        different = sorted({path[-1] for path in one.keys() | other.keys() if one.get(path) != other.get(path)})
        if different:
            raise ConfigurationError(
                f"Runs {runs[0].name!r} and {run.name!r} of {algorithm!r} differ in {', '.join(different)}, not in the "
                "seed alone, so their mean would mean nothing; draw them one by one."
            )


#: What runs of one kind may differ in: the seed, and what no result depends on.
_WITHOUT_EFFECT = frozenset(
    ("seed", "threads", "checkpoint_every", "keep_checkpoints", "tensorboard", "wandb", "wandb_project")
)


def _settings(run: RunRecords) -> dict[tuple[str, ...], Any]:
    """Return what determines a run but for its seed, by where it stands."""
    flat = _by_path(run.config)
    if isinstance(file := flat.get(("family_file",)), str):
        # Every run has a copy of its own.
        flat["family_file",] = trust.digest_of(Path(file).parent)
    # An option of a method may have any name.
    return {path: value for path, value in flat.items() if path[0] == "method" or path[-1] not in _WITHOUT_EFFECT}


def _by_path(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested groups by the names of the groups and their own."""
    found: dict[tuple[str, ...], Any] = {}
    for name, value in values.items():
        found |= _by_path(value, (*path, name)) if isinstance(value, Mapping) else {(*path, name): value}
    return found


def _points(run: RunRecords, task_set: str, x: str) -> dict[int, tuple[float, float]]:
    last = run.fast_updates
    return {
        meta_update: (float(record[FIELDS[x]]), float(record["average_return"]))
        for (meta_update, found, fast_update), record in run.evaluations().items()
        if found == task_set and fast_update == last
    }
