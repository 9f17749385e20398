"""Gymnasium's vector environments as a pool in which episodes run one after the other."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from jaxtyping import Bool, Float, Int

from tesp.errors import ConfigurationError, EnvironmentFailedError, NonFiniteError
from tesp.interface import Interface
from tesp.tasks.gymnasium.checked import POSITION, CheckedEnvironment
from tesp.tasks.simulation import EnvironmentPool, PoolTransition

#: At most so many environments are made of a function that makes one.
MOST_COPIES = 8

#: Keys of ``info`` either of which says that an episode has succeeded.
SUCCESS_KEYS = ("success", "is_success")


#: What an environment may be given as.
Environment = gymnasium.Env | VectorEnv | Callable[[], gymnasium.Env | VectorEnv]


class VectorPool(EnvironmentPool):
    """The sub-environments of a Gymnasium vector environment.

    Gymnasium's own vector environments, and any with automatic resets switched off, begin an episode when they are
    asked: ``reset(seed=[…], options={"reset_mask": …, "tasks": …})``. Any other keeps to its automatic resets: it is
    ready again after the step, or the one after it, in which its last episode ends.

    From ``info`` are read, where they are given: ``success`` or ``is_success``, ``distance_reward`` (else the reward),
    ``distance`` (m), ``position`` (x and y, m) and ``healthy``.

    Args:
        environment: The vector environment; who made it closes it.
        pass_tasks: Whether the option ``tasks``, (num_envs, parameter), is passed on to ``reset``. If not, the task is
            whatever the environment is.

    Raises:
        ConfigurationError: Observations or actions are no boxes, or actions are unbounded.
    """

    def __init__(self, environment: VectorEnv, pass_tasks: bool = False):
        observation, action = environment.single_observation_space, environment.single_action_space
        check_spaces(observation, action)
        assert isinstance(action, gymnasium.spaces.Box)
        self._environment, self._pass_tasks = environment, pass_tasks
        self._low, self._high = action.low.ravel().astype(np.float64), action.high.ravel().astype(np.float64)
        self._space = environment.action_space
        mode = environment.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        own = isinstance(environment.unwrapped, SyncVectorEnv | AsyncVectorEnv)
        self._on_demand = own or self._mode is AutoresetMode.DISABLED
        self.size = environment.num_envs
        self.observation = np.zeros((self.size, int(np.prod(observation.shape or (1,)))))
        self.ready = np.zeros(self.size, bool)
        self.first_position = np.full((self.size, 2), np.nan)
        self._seeds = np.zeros(self.size, np.int64)
        self._tasks: np.ndarray | None = None
        self._ended = np.ones(self.size, bool)
        # Where episodes begin at the environment's own time: which places wait for a new one.
        self._waiting = np.zeros(self.size, bool)
        self._begun = False
        #: Told how many episodes begin whenever some do.
        self.on_start: Callable[[int], None] | None = None

    def start(
        self,
        places: Int[np.ndarray, " started"],
        tasks: Float[np.ndarray, "started parameter"],
        seeds: Int[np.ndarray, " started"],
    ) -> None:
        """Begin a new episode at the given places, or note that one is wanted where the environment decides when."""
        if self._tasks is None:
            self._tasks = np.zeros((self.size, tasks.shape[1]))
        self._tasks[places], self._seeds[places] = tasks, seeds
        if self.on_start is not None:
            self.on_start(len(places))
        if self._on_demand or not self._begun:
            self._reset(places)
            return
        # An episode that was cut off from outside runs on there, unwatched, until the environment ends it.
        self.ready[places] = False
        same_step = self._mode is AutoresetMode.SAME_STEP
        # After a step that reset them at once, the first observation is here already.
        here = places[self._ended[places]] if same_step else places[:0]
        self.ready[here], self._ended[here] = True, False
        self._waiting[np.setdiff1d(places, here)] = True

    def start_waiting(self) -> None:
        """Reset the whole vector environment, where it would otherwise begin at its own time."""
        waiting = np.flatnonzero(self._waiting)
        self._begun = False
        self._reset(waiting)
        self._waiting[:] = False

    def _reset(self, places: np.ndarray) -> None:
        # A list of seeds is what all vector environments of Gymnasium take, though the annotation does not say so.
        seed: Any = [None] * self.size
        for place in places.tolist():
            seed[place] = int(self._seeds[place])
        options: dict[str, Any] = {"tasks": self._tasks} if self._pass_tasks else {}
        mask = np.zeros(self.size, bool)
        mask[places] = True
        if self._begun:
            options["reset_mask"] = mask
        observation, info = self._environment.reset(seed=seed, options=options or None)
        # The first reset is of all, whether an episode is wanted there or not.
        fresh = mask if self._begun else np.ones(self.size, bool)
        self.observation[fresh] = _rows(observation, self.size)[fresh]
        self.first_position[fresh] = _positions(info, self.size)[fresh]
        self._ended[fresh], self._begun = False, True
        self.ready = self.ready & ~fresh | mask

    def step(self, actions: Float[np.ndarray, "place action"]) -> PoolTransition:
        """Advance all sub-environments by one step, with actions in [−1, 1] scaled to the bounds of theirs.

        Raises:
            NonFiniteError: An action is NaN or infinite.
        """
        valid = self.ready.copy()
        if not np.isfinite(actions[valid]).all():
            raise NonFiniteError("action")
        if self._on_demand and self._ended.any():
            # All sub-environments are stepped, and one whose episode is over must not be.
            idle = np.flatnonzero(self._ended)
            self._reset(idle)
            self.ready[idle] = False
        clipped = np.clip(np.where(valid[:, None], actions, 0.0), -1.0, 1.0)
        shaped = (
            to_bounds(clipped, self._low, self._high)
            .reshape(self._space.shape or (self.size,))
            .astype(self._space.dtype)
        )
        observation, reward, terminated, truncated, info = self._environment.step(shaped)
        rows, first = _rows(observation, self.size), _positions(info, self.size)
        over = np.asarray(terminated, bool) | np.asarray(truncated, bool)
        self.observation = rows
        if self._mode is AutoresetMode.SAME_STEP and "final_obs" in info:
            rows = rows.copy()
            for place in np.flatnonzero(over):
                rows[place] = np.ravel(info["final_obs"][place])
        result = self._transition(rows, np.asarray(reward, float), terminated, truncated, info, valid)
        began = self._follow(valid, over)
        self.first_position[began] = first[began]
        return result

    def _follow(self, valid: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Note which episodes ended; return at which places one began by itself, or will once it is wanted."""
        reset_here = np.zeros_like(over)
        if not self._on_demand:
            reset_here = over if self._mode is AutoresetMode.SAME_STEP else self._ended & ~over
        began = self._waiting & reset_here
        self.ready = (valid & ~over) | began
        self._waiting &= ~began
        self._ended = over & ~began
        return reset_here

    def _transition(self, rows, reward, terminated, truncated, info, valid) -> PoolTransition:
        over = np.asarray(terminated, bool) | np.asarray(truncated, bool)
        # Where a step ended an episode and began the next, what it tells of the end stands apart.
        last = info.get("final_info") if self._mode is AutoresetMode.SAME_STEP else None

        def of_the_step(read: Callable[[Mapping[str, Any]], np.ndarray]) -> np.ndarray:
            if not last:
                return read(info)
            ended = over.reshape(-1, *(1,) * (read(info).ndim - 1))
            return np.where(ended, read(last), read(info))

        def told(key: str, otherwise: Any, kind: type) -> np.ndarray:
            return of_the_step(lambda infos: _told(infos, key, otherwise, self.size)).astype(kind)

        return PoolTransition(
            observation=rows,
            reward=reward,
            distance_reward=told("distance_reward", reward, float),
            distance=told("distance", np.nan, float),
            position=of_the_step(lambda infos: _positions(infos, self.size)),
            terminated=np.asarray(terminated, bool),
            truncated=np.asarray(truncated, bool) & ~np.asarray(terminated, bool),
            success=np.logical_or.reduce([told(key, False, bool) for key in SUCCESS_KEYS]),
            healthy=told("healthy", True, bool),
            valid=valid,
        )

    def close(self) -> None:
        """Close the vector environment."""
        self._environment.close()


def check_spaces(
    observation: gymnasium.Space, action: gymnasium.Space, environment: gymnasium.Env | None = None
) -> None:
    """Refuse spaces that no policy of this library can see or act in.

    Args:
        observation: The space of observations.
        action: The space of actions.
        environment: The environment, if it is known: its wrappers say what would help.

    Raises:
        ConfigurationError: One of them is no box, or actions are unbounded or not real numbers.
    """
    if not isinstance(observation, gymnasium.spaces.Box):
        raise ConfigurationError(
            f"The observation space is {observation}; it must be a Box. Flatten others with "
            "gymnasium.wrappers.FlattenObservation."
        )
    if not isinstance(action, gymnasium.spaces.Box) or not np.issubdtype(action.dtype, np.floating):
        raise ConfigurationError(f"The action space is {action}; it must be a Box of real numbers.")
    if not action.is_bounded():
        clips = any(isinstance(wrapper, gymnasium.wrappers.ClipAction) for wrapper in _wrappers(environment))
        help_ = (
            "Leave ClipAction out: actions are always inside the bounds of what it wraps."
            if clips
            else ("Give it some with gymnasium.wrappers.TransformAction(env, lambda action: action, Box(low, high)).")
        )
        raise ConfigurationError(f"The action space is {action}; its bounds must be finite. {help_}")


def _wrappers(environment: Any) -> Iterator[Any]:
    """Yield an environment's wrappers, outermost first, and the environment itself."""
    while environment is not None:
        yield environment
        environment = environment.env if isinstance(environment, gymnasium.Wrapper | VectorWrapper) else None


#: Wrappers that change with every step what an agent sees, and would have to be as they were at the end of training.
_CHANGING = (
    gymnasium.wrappers.NormalizeObservation,
    gymnasium.wrappers.NormalizeReward,
    gymnasium.wrappers.vector.NormalizeObservation,
    gymnasium.wrappers.vector.NormalizeReward,
)


def warn_of_changing_wrappers(environment: Any) -> None:
    """Warn of wrappers whose running statistics make an environment another one with every step.

    Warns:
        UserWarning: There is one that has not been frozen.
    """
    for wrapper in _wrappers(environment):
        if isinstance(wrapper, _CHANGING) and wrapper.update_running_mean:
            name = type(wrapper).__name__
            warnings.warn(
                f"The environment is wrapped in {name}, whose statistics go on changing with every step: what an agent "
                "sees, and what it is rewarded with, is not what it was in training. Restore the statistics of the "
                f"training and freeze them (update_running_mean = False), or do without {name}.",
                stacklevel=5,
            )


def to_bounds(
    action: Float[np.ndarray, "*batch action"], low: Float[np.ndarray, " action"], high: Float[np.ndarray, " action"]
) -> Float[np.ndarray, "*batch action"]:
    """Scale actions linearly from [−1, 1] to [low, high]."""
    return np.clip(low + (action + 1.0) * 0.5 * (high - low), low, high)


def spaces_of(interface: Interface) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Return an unbounded observation space and the action space of what an agent sees and does."""
    low, high = np.array(interface.action_low, np.float32), np.array(interface.action_high, np.float32)
    observation = gymnasium.spaces.Box(-np.inf, np.inf, interface.observation_shape, np.float64)
    return observation, gymnasium.spaces.Box(low, high, dtype=np.float32)


class _Borrowed(CheckedEnvironment):
    """An environment that is not ours to close: some vector environments close theirs when they are forgotten."""

    def close(self) -> None:
        """Leave the environment open."""


def vectorised(env: Any, episodes: int) -> tuple[VectorEnv, bool]:
    """Return a vector environment of what a user gives, and whether it was made here.

    Args:
        env: An environment, a vector environment, or a function that makes one.
        episodes: How many episodes a round has; no more environments are made, and no more than `MOST_COPIES`.

    Raises:
        ConfigurationError: It is something else, or the function fails.
    """
    if isinstance(env, VectorEnv):
        warn_of_changing_wrappers(env)
        return env, False
    if isinstance(env, gymnasium.Env):
        warn_of_changing_wrappers(env)
        return SyncVectorEnv([lambda: _Borrowed(env)], autoreset_mode=AutoresetMode.DISABLED), False
    made = _made(env)
    warn_of_changing_wrappers(made)
    if isinstance(made, VectorEnv):
        return made, True
    # As many as are needed for the same number of turns, so that few are idle in the last one.
    copies, count = [made], math.ceil(episodes / math.ceil(episodes / MOST_COPIES))
    try:
        while len(copies) < count:
            copies.append(_made(env))
        if len({id(copy.unwrapped) for copy in copies}) < count:
            raise ConfigurationError(
                "env() returned the same environment twice; it must make a new one every time it is called. Give the "
                "environment itself if there is only one."
            )
    except BaseException:
        for copy in copies:
            copy.close()
        raise
    makers = [partial(CheckedEnvironment, copy) for copy in copies]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED), True


def _made(make: Any) -> Any:
    if not callable(make):
        raise ConfigurationError(
            f"env is {make!r}; it must be a gymnasium.Env, a gymnasium.vector.VectorEnv, or a "
            "function without arguments that makes one. If it is an identifier, give gymnasium.make(identifier)."
        )
    try:
        made = make()
    except Exception as error:
        raise ConfigurationError(
            f"env() failed: {type(error).__name__}: {error}. It must make an environment."
        ) from error
    if not isinstance(made, gymnasium.Env | VectorEnv):
        raise ConfigurationError(f"env() returned {made!r}; it must return a gymnasium.Env or VectorEnv.")
    return made


class EnvironmentOf:
    """An environment as a pool, for a `with`: what was made here is closed in the end, what was given stays open.

    Raises:
        ConfigurationError: It cannot be made, or its spaces are not those of the training.
    """

    def __init__(self, env: Environment, interface: Interface, episodes: int):
        self._vector, self._own = vectorised(env, episodes)
        try:
            check_same_spaces(self._vector, interface)
            self._pool = VectorPool(self._vector)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> VectorPool:
        return self._pool

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._vector.close()


def _same_box(one: gymnasium.spaces.Box, other: gymnasium.spaces.Box) -> bool:
    return one.shape == other.shape and np.allclose(one.low, other.low) and np.allclose(one.high, other.high)


def check_same_spaces(vector: VectorEnv, interface: Interface) -> None:
    """Refuse an environment that agents of another one can neither see nor act in.

    Raises:
        ConfigurationError: Observations have another shape, or actions another shape or other bounds.
    """
    observation, action = vector.single_observation_space, vector.single_action_space
    trained = spaces_of(interface)
    fits = isinstance(observation, gymnasium.spaces.Box) and observation.shape == trained[0].shape
    if not fits or not isinstance(action, gymnasium.spaces.Box) or not _same_box(action, trained[1]):
        raise ConfigurationError(
            "The environment's spaces are not those of the training: it has observations "
            f"{observation} and actions {action}; the meta-learner has observations of shape "
            f"{interface.observation_shape} (any bounds) and actions {trained[1]}. Wrap the environment so that they "
            "agree, for instance with gymnasium.wrappers.RescaleAction."
        )


def _rows(observation: Any, size: int) -> Float[np.ndarray, "place observation"]:
    return np.array(observation, np.float64).reshape(size, -1)


def _told(info: Mapping[str, Any], key: str, otherwise: Any, size: int) -> np.ndarray:
    """Return one number a place of what ``info`` tells; ``otherwise`` where a place tells nothing."""
    default = np.array(np.broadcast_to(np.asarray(otherwise), (size,)))
    values, told = _numbers(info, key, size, ())
    return np.where(told, values, default)


def _positions(info: Mapping[str, Any], size: int) -> Float[np.ndarray, "place 2"]:
    """Return the first two entries of the positions that ``info`` tells; NaN where a place tells none."""
    values, told = _numbers(info, POSITION, size, (2,))
    return np.where(told[:, None], values, np.nan)


def _numbers(
    info: Mapping[str, Any], key: str, size: int, shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "place *shape"], Bool[np.ndarray, " place"]]:
    """Return what ``info`` tells under a key, with a row a place, and which places told it.

    Raises:
        EnvironmentFailedError: A place tells something else; names the key. Environments that were made here do not:
            they are checked one by one.
    """
    given, found = info.get(key), np.zeros((size, *shape))
    if given is None:
        return found, np.zeros(size, bool)
    try:
        told = np.array(np.broadcast_to(np.asarray(info.get(f"_{key}", True), bool), (size,)))
        if len(given) != size:
            raise ValueError
        values = np.asarray(given) if isinstance(given, np.ndarray) else np.array([*given, None], object)[:-1]
        if values.dtype == np.dtype(object):
            told &= np.array([value is not None for value in values])
            for place in np.flatnonzero(told):
                found[place] = _read(np.asarray(values[place])[None], shape)[0]
        else:
            found[:] = _read(values, shape)
    except (TypeError, ValueError) as error:
        text = " ".join(repr(given).split())
        raise EnvironmentFailedError(
            f"info[{key!r}] of the vector environment is {text if len(text) <= 80 else text[:77] + '…'}; it must hold "
            f"{'a number' if not shape else 'two numbers or more'} for each of the {size} environments, or None"
        ) from error
    return found, told


def _read(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the leading entries of rows of real numbers, or refuse them."""
    if values.dtype.kind not in "fiub" or values.ndim != 1 + len(shape) or (shape and values.shape[1] < shape[0]):
        raise ValueError
    return (values[:, : shape[0]] if shape else values).astype(float)
