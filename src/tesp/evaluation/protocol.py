"""How a meta-learner is judged: k = 0…K fast-updates on all tasks of D, D′ and D″."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from tesp.episodes.collect import Outcomes, Stopwatch, collect
from tesp.episodes.executor import Disturbance, Executor, LocalExecutor
from tesp.episodes.rollout import Adaptation, Learner
from tesp.errors import LocatedError
from tesp.numerics import with_usual_numerics
from tesp.task_sets import TASK_SETS, TaskSet, told
from tesp.tasks.family import Family
from tesp.types import PyTree

#: Separates the randomness of evaluation from that of training.
_EVALUATION = 0x7E57

#: What is told of how the returns of single tasks are spread, in per cent of the tasks.
QUANTILES = (0, 5, 25, 50, 75, 95, 100)


class Evaluator:
    """Evaluates parameters on the task sets of a run, always the same way.

    Every evaluation uses K fast-updates on every task with the run's own numbers of episodes, and fresh noise
    that depends only on the seed, the meta-update, the task set, the task and the round.
    """

    def __init__(
        self,
        learner: Learner,
        family: Family,
        task_sets: dict[str, TaskSet],
        seed: int,
        threads: int = 0,
        executor: Executor | None = None,
    ):
        self.learner, self.family, self.task_sets = learner, family, task_sets
        self._seed = seed
        # Task sets of one size share their simulations.
        self._executor = executor or LocalExecutor(
            learner, family.horizon, lambda count: family.simulate(count, threads)
        )

    @with_usual_numerics
    def evaluate(
        self,
        parameters: PyTree,
        meta_update: int,
        dynamics_noise: float = 0.0,
        on_task_set: Callable[[str], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Return one row per task set and number of fast-updates, without the run's own columns.

        Args:
            parameters: The meta-learner.
            meta_update: How many meta-updates it has had; part of what determines the noise.
            dynamics_noise: σ of the noise N(0, σ²) added to the state after every control step, in the warm-up round
                and all others. Different σ scale the same noise.
            on_task_set: Called with the name of every task set that is done, to show progress.

        Raises:
            ConfigurationError: σ is negative or not finite, or the family offers no dynamics noise.
            NonFiniteError: An action, an observation or a gradient became NaN or infinite; names task and task set.
        """
        rows = []
        for index, name in enumerate(TASK_SETS):
            key = evaluation_key(self._seed, meta_update, name)
            try:
                adaptation = self._adapt(parameters, name, key, dynamics_noise, (self._seed, meta_update, index))
            except LocatedError as error:
                raise error.at(f"in the set {name}") from error
            rows += [{"task_set": name, "dynamics_noise": dynamics_noise, **row} for row in summarise(adaptation)]
            if on_task_set is not None:
                on_task_set(name)
        return rows

    @with_usual_numerics
    def evaluate_tasks(self, parameters: PyTree, meta_update: int) -> list[dict[str, Any]]:
        """Return what every task returned by itself; one row per task set and number of fast-updates.

        Args:
            parameters: The meta-learner.
            meta_update: As for `evaluate`, of which the ``average_return`` is the mean over tasks.

        Raises:
            NonFiniteError: As for `evaluate`.
        """
        rows = []
        for index, name in enumerate(TASK_SETS):
            key = evaluation_key(self._seed, meta_update, name)
            try:
                adaptation = self._adapt(parameters, name, key, 0.0, (self._seed, meta_update, index))
            except LocatedError as error:
                raise error.at(f"in the set {name}") from error
            rows += [{"task_set": name, **row} for row in returns_of_tasks(adaptation)]
        return rows

    def _adapt(self, parameters: PyTree, name: str, key, dynamics_noise: float, noise_seed) -> Adaptation:
        return self._executor.adapt(
            parameters,
            self.task_sets[name].tasks,
            key,
            keep_rounds=False,
            disturbance=Disturbance(dynamics_noise, (_EVALUATION, *noise_seed)),
        )


def evaluation_key(seed: int, meta_update: int, task_set: str) -> PRNGKeyArray:
    """Return the randomness of one task set's evaluation.

    Args:
        seed: The run's seed.
        meta_update: Meta-updates that the parameters have had.
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
    """
    key = jax.random.fold_in(jax.random.key(seed), _EVALUATION)
    return jax.random.fold_in(jax.random.fold_in(key, meta_update), TASK_SETS.index(task_set))


def summarise(adaptation: Adaptation) -> list[dict[str, Any]]:
    """Return one row for every round after k = 0…K fast-updates.

    ``average_return`` is the mean over tasks and episodes of the sum over the episode of the distance reward
    (the control cost is left out), and ``average_return_quantiles`` are those of the tasks' means over episodes. The
    row of k = 0 also has the return of the warm-up round, if there is one.
    """
    rows = []
    for result in adaptation.rounds:
        if result.fast_update >= 0:
            spread = {"average_return_quantiles": _quantiles_over_tasks(result.outcomes)}
            rows.append({"fast_update": result.fast_update, **outcome_columns(result.outcomes), **spread})
    if adaptation.rounds[0].fast_update < 0:
        rows[0]["warm_up_return"] = mean_return(adaptation.rounds[0].outcomes)
    return rows


def returns_of_tasks(adaptation: Adaptation) -> list[dict[str, Any]]:
    """Return one row for every round after k = 0…K fast-updates, with the returns of all tasks.

    ``average_return`` and ``success_rate`` are lists: for every task the mean over its episodes. ``episodes_used`` and
    ``steps_used`` are what was sampled of a task in the rounds before, the warm-up included; the mean over tasks.
    """
    rows, episodes, steps = [], 0.0, 0.0
    for result in adaptation.rounds:
        judged = result.outcomes.of_judged()
        if result.fast_update >= 0:
            rows.append(
                {
                    "fast_update": result.fast_update,
                    "episodes_used": episodes,
                    "steps_used": steps,
                    "average_return": judged.average_return.mean(axis=1).tolist(),
                    "success_rate": judged.success.mean(axis=1).tolist(),
                }
            )
        length = result.outcomes.length
        episodes += float((length > 0).sum(axis=1).mean())
        steps += float(length.sum(axis=1).mean())
    return rows


def mean_return(outcomes: Outcomes) -> float:
    """Return the mean of the average return over tasks and judged episodes."""
    return float(outcomes.of_judged().average_return.mean())


def _quantiles_over_tasks(outcomes: Outcomes) -> dict[str, float]:
    per_task = outcomes.of_judged().average_return.mean(axis=1)
    found = np.percentile(per_task, QUANTILES)
    return {str(name): float(value) for name, value in zip(QUANTILES, found, strict=True)}


def outcome_columns(outcomes: Outcomes) -> dict[str, Any]:
    """Return the columns of a record that describe the judged episodes of a round."""
    outcomes = outcomes.of_judged()
    per_task = outcomes.average_return.mean(axis=1)
    return {
        "average_return": float(per_task.mean()),
        "average_return_std": float(per_task.std()),
        "success_rate": float(outcomes.success.mean()),
        "final_distance": float(outcomes.final_distance.mean()),
        "episode_length": float(outcomes.length.mean()),
        "unhealthy_rate": float(outcomes.unhealthy.mean()),
        "tasks": len(per_task),
        "episodes_per_task": outcomes.average_return.shape[1],
    }


def stand_still(family: Family, task_set: TaskSet, threads: int = 0, dynamics_noise: float = 0.0) -> dict[str, Any]:
    """Return the columns of an agent that never acts: one episode of zero actions on every task."""
    return outcome_columns(standing_still(family, task_set, threads, dynamics_noise))


def standing_still(family: Family, task_set: TaskSet, threads: int = 0, dynamics_noise: float = 0.0) -> Outcomes:
    """Return what becomes of an agent that never acts: one episode of zero actions on every task."""
    count = len(task_set.tasks)
    simulation = family.simulate(count, threads)
    if dynamics_noise:
        simulation.disturb(dynamics_noise, (_EVALUATION,))
    noise = np.zeros((count, 1, family.horizon, family.action_size), np.float32)

    def act(_rows, _seen, step_noise):
        return step_noise, ()

    try:
        _, outcomes = collect(simulation, act, task_set.tasks, noise, Stopwatch())
    except LocatedError as error:
        on_task = "" if error.task is None else f" on the task {told(task_set.tasks[error.task])}"
        raise error.at(f"standing still{on_task}, in the set {task_set.name}") from error
    return outcomes
