"""Statistics of scores of several runs on many tasks, after Agarwal et al. (2021), with intervals for nested tasks.

A score matrix is X of shape (run, task). Tasks are **nested** in runs here: every seed draws its own, so column j of
two runs is not one task, and all tasks of a row share one training. Intervals therefore come from a bootstrap in two
stages: runs with replacement, and then, within every run that was drawn, its tasks with replacement. A resample of
single columns would take the scores of one training for independent.

Sources: Agarwal, Schwarzer, Castro, Courville and Bellemare, *Deep reinforcement learning at the edge of the
statistical precipice*, NeurIPS 2021; Davison and Hinkley, *Bootstrap methods and their application*, 1997, section 3.8.
"""

import numpy as np
import scipy
from jaxtyping import Float, Int

#: Resamples of the bootstrap, and the seed that makes its result the same every time.
RESAMPLES, RESAMPLING_SEED = 2000, 0

#: Ends of the intervals, in per cent.
ENDS = (2.5, 97.5)


def interquartile_mean(scores: np.ndarray, axis: int | None = None) -> np.ndarray | float:
    """Return the mean of the middle half of the scores.

    IQM(x) = mean of x_(⌊n/4⌋+1) … x_(n−⌊n/4⌋), with x_(1) ≤ … ≤ x_(n) the scores in order

    Args:
        scores: n scores along ``axis``, or in all, in any unit.
        axis: Which.
    """
    return scipy.stats.trim_mean(scores, 0.25, axis)


def interquartile_mean_interval(scores: Float[np.ndarray, "run task"]) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the interquartile mean over runs and tasks.

    It is the percentile interval of `RESAMPLES` resamples in two stages. Of a single run only tasks are drawn, so it
    says nothing about other seeds of training then.
    """
    drawn = scores.ravel()[resampled(*scores.shape)]
    low, high = np.percentile(interquartile_mean(drawn, axis=1), ENDS)
    return float(low), float(high)


def mean_interval(values: Float[np.ndarray, "run task ..."]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % intervals of the means over runs and tasks, from the same resamples.

    Args:
        values: With any further axes, which the result has too.
    """
    runs, tasks, *rest = values.shape
    drawn = resampled(runs, tasks)
    # How often each entry is drawn: a mean over a resample is then one product.
    weights = np.apply_along_axis(np.bincount, 1, drawn, minlength=runs * tasks) / (runs * tasks)
    means = weights @ values.reshape(runs * tasks, -1)
    low, high = np.percentile(means, ENDS, axis=0)
    return low.reshape(rest), high.reshape(rest)


def resampled(runs: int, tasks: int) -> Int[np.ndarray, "resample entry"]:
    """Return which entries of a flat score matrix each resample holds: as many runs, and of each as many tasks."""
    generator = np.random.default_rng(RESAMPLING_SEED)
    rows = generator.integers(runs, size=(RESAMPLES, runs, 1))
    columns = generator.integers(tasks, size=(RESAMPLES, runs, tasks))
    return (rows * tasks + columns).reshape(RESAMPLES, -1)


def improvement(x: Float[np.ndarray, "run task"], y: Float[np.ndarray, "run task"]) -> Float[np.ndarray, "run task"]:
    """Return of every task whether X does better than Y there: 1, or 0, or ½ where both do as well.

    Its mean is the probability of improvement P(X > Y) + ½ P(X = Y). Agarwal et al. compare all runs of X with all of
    Y on each task (the Mann–Whitney statistic); here only runs of one seed have the same tasks, so each task is
    compared once.

    Args:
        x: Scores of X.
        y: Scores of Y, of the same seeds in the same order and on the same tasks.
    """
    return (x > y) + 0.5 * (x == y)


def performance_profile(
    scores: Float[np.ndarray, "run task"], thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, "run task threshold"]:
    """Return of every score whether it is above each threshold τ.

    Its mean over runs and tasks is the performance profile F(τ) = share of scores above τ.
    """
    return (scores[..., None] > thresholds).astype(float)
