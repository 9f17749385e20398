"""Collecting a whole round: in lockstep where every episode has a simulation, else in a pool of environments."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from time import perf_counter

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from tesp.acting import Seen
from tesp.episodes.budget import Budget, judged, places_of
from tesp.errors import EnvironmentFailedError, NonFiniteError, TespError, describe_error
from tesp.tasks.simulation import EnvironmentPool, PoolTransition, Simulation
from tesp.types import Episodes, PyTree

#: (rows, what is seen there, their noise (row, action)) → actions, and the distributions that they are from. One with
#: an attribute ``remembers`` that is true is told actions and rewards of the steps before.
Act = Callable[[np.ndarray, Seen, np.ndarray], tuple[np.ndarray, PyTree]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Outcomes:
    """What became of the episodes of a round, for people rather than for learning.

    A round that is measured in steps has room for more episodes than it uses; of those not used the length is 0, and
    nothing else means anything.

    Attributes:
        judged: Which episodes averages are over: the first N of every task. How many follow depends on their lengths,
            so a mean over all would be biased. As many for every task.
        average_return: Sum over the episode of the distance reward (control cost left out).
        success: Whether the episode arrived.
        final_distance: Distance to the goal after the last step, metres.
        length: Control steps.
        unhealthy: Whether the body was unhealthy at any step.
        start: Where the body was before the first step, metres.
        position: Where the body was after every step, metres; NaN in the padding.
    """

    judged: Bool[np.ndarray, "task episode"]
    average_return: Float[np.ndarray, "task episode"]
    success: Bool[np.ndarray, "task episode"]
    final_distance: Float[np.ndarray, "task episode"]
    length: Int[np.ndarray, "task episode"]
    unhealthy: Bool[np.ndarray, "task episode"]
    start: Float[np.ndarray, "task episode 2"]
    position: Float[np.ndarray, "task episode step 2"]

    def of_judged(self) -> "Outcomes":
        """Return the outcomes of the judged episodes alone."""
        if self.judged.all():
            return self
        return jax.tree.map(lambda x: x[self.judged].reshape(len(self.judged), -1, *x.shape[2:]), self)


@dataclass
class Stopwatch:
    """Seconds spent, by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, since: float) -> float:
        """Add the time since ``since`` (of ``perf_counter``) to ``name``; return the present."""
        now = perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - since
        return now


def collect(
    simulation: Simulation | EnvironmentPool,
    act: Act,
    tasks: Float[np.ndarray, "task parameter"],
    noise: Float[np.ndarray, "task episode step action"],
    stopwatch: Stopwatch,
    seeds: Int[np.ndarray, " row"] | None = None,
    at_once: int | None = None,
) -> tuple[Episodes, Outcomes]:
    """Sample one round: ``noise.shape[1]`` episodes of every task, of at most ``noise.shape[2]`` steps.

    With ``at_once`` given, it is measured in steps: of the ``noise.shape[1]`` episodes there is room for, so many are
    sampled as `tesp.episodes.budget.Budget` says. The others are not valid anywhere.

    Only episodes that are still running are acted for and stepped. The noise is drawn beforehand, so that no result
    depends on which episodes run together or on how many threads step them.

    Args:
        simulation: One simulation for every task and each of its episodes (or of ``at_once``), task-major; or a pool
            of environments.
        act: The policies of all tasks; told of rows task by task, where row i is of task i // ``noise.shape[1]``.
        tasks: The tasks.
        noise: Standard normal noise of the actions; its shape says how many episodes and steps.
        stopwatch: Gets the seconds of ``physics``, ``acting`` and ``recording``.
        seeds: What the environments of a pool are seeded with, one number for every task and episode; 0, 1, … by
            default. Simulations start the same way every time.
        at_once: N, if the round goes on until every task has N·H steps.

    Returns:
        The padded episodes with axes (task, episode, step, …), and their outcomes.

    Raises:
        NonFiniteError: An action, an observation or a reward became NaN or infinite; it names the task.
    """
    if isinstance(simulation, EnvironmentPool):
        rows = noise.shape[0] * noise.shape[1]
        seeds = np.arange(rows) if seeds is None else seeds
        return _collect_queued(simulation, act, tasks, noise, stopwatch, seeds, at_once or noise.shape[1])
    if at_once is not None:
        return _collect_to_budget(simulation, act, tasks, noise, stopwatch, at_once)
    count, per_task, horizon, actions = noise.shape
    began = perf_counter()
    running = np.arange(count * per_task)
    observation = _begun(simulation.reset, np.repeat(tasks, per_task, axis=0), running, per_task)
    record = _Record(np.array(simulation.positions), horizon, observation.shape[1], actions)
    began = stopwatch.add("physics", began)
    # Time first, so that the noise of one step is contiguous.
    noise = np.moveaxis(noise, 2, 0).reshape(horizon, len(running), actions)
    for t in range(horizon):
        # A slice while it can be: gathering costs more than the rest of the bookkeeping.
        rows = slice(None) if len(running) == noise.shape[1] else running
        action, behaviour = act(running, record.seen(act, t, rows, observation), noise[t, rows])
        _require_finite("action", action, running, per_task, t)
        began = stopwatch.add("acting", began)
        with _blamed(t):
            step = simulation.step(running, action)
        began = stopwatch.add("physics", began)
        _require_finite_step(step, running, per_task, t)
        record.write(t, rows, observation, action, behaviour, step)
        going = ~step.terminated
        observation, running = step.observation[going].astype(np.float32), running[going]
        began = stopwatch.add("recording", began)
        if not running.size:
            break
    result = record.finish(count, per_task, per_task)
    stopwatch.add("recording", began)
    return result


def _collect_to_budget(simulation, act, tasks, noise, stopwatch, at_once) -> tuple[Episodes, Outcomes]:
    """Sample one round in lockstep: a simulation whose episode is over begins the next one that may."""
    count, capacity, horizon, actions = noise.shape
    budget = Budget(count, at_once, capacity, horizon)
    noise = noise.reshape(count * capacity, horizon, actions)
    began = perf_counter()
    row_of, time_of = budget.take(), np.zeros(count * at_once, int)
    observation = _begun(simulation.reset, np.repeat(tasks, at_once, axis=0), row_of, capacity)
    record = _Record(np.full((count * capacity, 2), np.nan), horizon, observation.shape[1], actions)
    record.start[row_of] = simulation.positions
    began = stopwatch.add("physics", began)
    while (ids := np.flatnonzero(row_of >= 0)).size:
        rows, times, seen = row_of[ids], time_of[ids], observation[ids]
        action, behaviour = act(rows, record.seen(act, times, rows, seen), noise[rows, times])
        _require_finite("action", action, rows, capacity, times)
        began = stopwatch.add("acting", began)
        with _blamed(times):
            step = simulation.step(ids, action)
        began = stopwatch.add("physics", began)
        _require_finite_step(step, rows, capacity, times)
        record.write(times, rows, seen, action, behaviour, step)
        observation[ids] = step.observation
        time_of[ids] += 1
        over = step.terminated | (time_of[ids] == horizon)
        row_of[ids[over]], time_of[ids[over]] = -1, 0
        budget.over(rows[over], times[over] + 1)
        following = budget.take()
        began = stopwatch.add("recording", began)
        if following.size:
            fresh = places_of(following, capacity, np.flatnonzero(row_of < 0), at_once)
            row_of[fresh] = following
            observation[fresh] = _begun(simulation.restart, fresh, following, capacity)
            record.start[following] = simulation.positions[fresh]
            began = stopwatch.add("physics", began)
    result = record.finish(count, capacity, at_once)
    stopwatch.add("recording", began)
    return result


def _collect_queued(pool, act, tasks, noise, stopwatch, seeds, at_once) -> tuple[Episodes, Outcomes]:
    """Sample one round in a pool: a place whose episode is over goes on with the next one that may begin."""
    count, per_task, horizon, actions = noise.shape
    budget = Budget(count, at_once, per_task, horizon)
    rows, tasks = count * per_task, np.repeat(tasks, per_task, axis=0)
    noise = noise.reshape(rows, horizon, actions)
    record = _Record(np.full((rows, 2), np.nan), horizon, pool.observation.shape[1], actions)
    row_of, time_of = np.full(pool.size, -1), np.zeros(pool.size, int)
    began = perf_counter()
    first = budget.take(pool.size)
    row_of[: len(first)] = first
    pool.start(np.arange(len(first)), tasks[first], seeds[first])
    while (row_of >= 0).any():
        began = stopwatch.add("physics", began)
        # Policies take their rows in ascending order.
        at = np.flatnonzero(pool.ready & (row_of >= 0))
        at = at[np.argsort(row_of[at])]
        chosen = np.zeros((pool.size, actions), np.float32)
        if not at.size:
            # Nothing that is wanted runs, so environments that begin at their own time need not be waited for.
            pool.start_waiting()
            continue
        first = at[time_of[at] == 0]
        record.start[row_of[first]] = pool.first_position[first]
        _require_finite("observation", pool.observation[first], row_of[first], per_task, -1)
        observation = pool.observation[at].astype(np.float32)
        seen = record.seen(act, time_of[at], row_of[at], observation)
        action, behaviour = act(row_of[at], seen, noise[row_of[at], time_of[at]])
        _require_finite("action", action, row_of[at], per_task, time_of[at])
        chosen[at] = action
        began = stopwatch.add("acting", began)
        done = _rows_of(pool.step(chosen), at)
        began = stopwatch.add("physics", began)
        _require_finite_step(done, row_of[at], per_task, time_of[at])
        record.write(time_of[at], row_of[at], observation, action, behaviour, done)
        time_of[at] += 1
        over = at[done.terminated | done.truncated | (time_of[at] == horizon)]
        budget.over(row_of[over], time_of[over])
        row_of[over], time_of[over] = -1, 0
        idle = np.flatnonzero(row_of < 0)
        following = budget.take(len(idle))
        free = idle[: len(following)]
        row_of[free] = following
        began = stopwatch.add("recording", began)
        if free.size:
            pool.start(free, tasks[following], seeds[following])
    result = record.finish(count, per_task, at_once)
    stopwatch.add("recording", began)
    return result


def _rows_of(step: PoolTransition, places: np.ndarray) -> PoolTransition:
    return PoolTransition(**{entry.name: getattr(step, entry.name)[places] for entry in fields(step)})


class _Record:
    """Arrays of a round under way: time first, then one row per simulation."""

    def __init__(self, start: np.ndarray, horizon: int, observation_size: int, action_size: int):
        def zeros(*shape, dtype: type = np.float32):
            return np.zeros((horizon, len(start), *shape), dtype)

        self.episodes = Episodes(
            observation=zeros(observation_size),
            action=zeros(action_size),
            reward=zeros(),
            distance_reward=zeros(),
            behaviour=(),
            valid=zeros(dtype=bool),
            terminated=zeros(dtype=bool),
            truncated=zeros(dtype=bool),
        )
        self.behaviour: PyTree = None
        self.start = start
        self.position = np.full((horizon, len(start), 2), np.nan)
        self.average_return, self.final_distance = np.zeros(len(start)), np.zeros(len(start))
        self.success, self.unhealthy = np.zeros(len(start), bool), np.zeros(len(start), bool)

    def seen(self, act: Act, t, rows, observation) -> Seen:
        """Return what is seen in ``rows``, a slice or indices, at step t, one for all or one for each."""
        if not getattr(act, "remembers", False):
            return Seen(observation)
        start = np.broadcast_to(t, len(observation)) == 0
        # What stands at t − 1 = −1 is of the last step, which no episode has come to yet that is at its first.
        before = np.where(start[:, None], 0.0, self.episodes.action[t - 1, rows]).astype(np.float32)
        reward = np.where(start, 0.0, self.episodes.reward[t - 1, rows]).astype(np.float32)
        return Seen(observation, before, reward, start)

    def write(self, t, rows, observation, action, behaviour, step):
        """Note what happened to ``rows`` at step t, both as for `seen`."""
        episodes = self.episodes
        if self.behaviour is None:
            shape = self.episodes.reward.shape
            self.behaviour = jax.tree.map(lambda x: np.zeros((*shape, *x.shape[1:]), x.dtype), behaviour)
        for kept, new in zip(jax.tree.leaves(self.behaviour), jax.tree.leaves(behaviour), strict=True):
            kept[t, rows] = new
        episodes.observation[t, rows] = observation
        episodes.action[t, rows] = action
        episodes.reward[t, rows] = step.reward
        episodes.distance_reward[t, rows] = step.distance_reward
        episodes.valid[t, rows] = True
        episodes.terminated[t, rows] = step.terminated
        self.position[t, rows] = step.position
        self.average_return[rows] += step.distance_reward
        self.final_distance[rows] = step.distance
        self.success[rows] |= step.success
        self.unhealthy[rows] |= ~step.healthy

    def finish(self, tasks: int, per_task: int, at_once: int) -> tuple[Episodes, Outcomes]:
        """Return the round, of whose episodes the first ``at_once`` of every task are judged."""
        valid = self.episodes.valid
        rows = np.flatnonzero(valid.any(axis=0))
        last = valid.sum(axis=0)[rows] - 1
        self.episodes.truncated[last, rows] = ~self.episodes.terminated[last, rows]

        def grid(x):
            return x.reshape(tasks, per_task, *x.shape[1:])

        def rows_first(x):
            return grid(np.ascontiguousarray(np.moveaxis(x, 0, 1)))

        outcomes = Outcomes(
            judged=judged(tasks, at_once, per_task),
            average_return=grid(self.average_return),
            success=grid(self.success),
            final_distance=grid(self.final_distance),
            length=grid(self.episodes.valid.sum(axis=0)),
            unhealthy=grid(self.unhealthy),
            start=grid(self.start),
            position=rows_first(self.position),
        )
        episodes = dataclasses.replace(self.episodes, behaviour=self.behaviour)
        return jax.tree.map(rows_first, episodes), outcomes


def _begun(begin, given, rows, per_task) -> Float[np.ndarray, "row observation"]:
    """Begin episodes in a simulation; return their first observations in single precision."""
    with _blamed(-1):
        observation = np.array(begin(given), np.float64)
    _require_finite("observation", observation, rows, per_task, -1)
    return observation.astype(np.float32)


@contextmanager
def _blamed(t: int | Int[np.ndarray, " row"]) -> Iterator[None]:
    """Say at which control step a simulation failed that may be the user's own; t is −1 in a reset."""
    try:
        yield
    except TespError:
        raise
    except (Exception, SystemExit) as error:
        failure = f"The simulation of the family failed: {describe_error(error)}"
        raise EnvironmentFailedError(failure, None, _when(int(np.max(t)))) from error


def _require_finite_step(step, running, per_task, t) -> None:
    _require_finite("observation", step.observation, running, per_task, t)
    _require_finite("reward", step.reward, running, per_task, t)
    if step.distance_reward is not step.reward:
        _require_finite("distance_reward", step.distance_reward, running, per_task, t)


#: Greatest number in single precision, in which everything is kept that networks see.
_GREATEST = float(np.finfo(np.float32).max)


def _require_finite(quantity, values, running, per_task, t) -> None:
    """Raise an error if a value is not finite in single precision, at step t, one for all rows or one for each."""
    # Two reductions over everything are far cheaper than asking entry by entry at every step. NaN is in no range.
    if not values.size or (values.min() >= -_GREATEST and values.max() <= _GREATEST):
        return
    bad = ~(np.abs(values) <= _GREATEST).all(axis=tuple(range(1, values.ndim)))
    step, row = int(np.broadcast_to(t, bad.shape)[bad][0]), int(running[bad][0])
    raise NonFiniteError(quantity, row // per_task, f"{_when(step)} of episode {row % per_task}")


def _when(t: int) -> str:
    return "in the reset" if t < 0 else f"at control step {t}"
