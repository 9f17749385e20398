"""Gymnasium's vector environments as a pool in which episodes run one after the other."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from jaxtyping import Float, Int

from tesp.errors import NonFiniteError
from tesp.tasks.gymnasium.infos import positions_of_all, told_by_all
from tesp.tasks.gymnasium.spaces import check_spaces, to_bounds
from tesp.tasks.simulation import EnvironmentPool, PoolTransition

#: Keys of ``info`` either of which says that an episode has succeeded.
SUCCESS_KEYS = ("success", "is_success")


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
        self.first_position[fresh] = positions_of_all(info, self.size)[fresh]
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
        rows, first = _rows(observation, self.size), positions_of_all(info, self.size)
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
            return of_the_step(lambda infos: told_by_all(infos, key, otherwise, self.size)).astype(kind)

        return PoolTransition(
            observation=rows,
            reward=reward,
            distance_reward=told("distance_reward", reward, float),
            distance=told("distance", np.nan, float),
            position=of_the_step(lambda infos: positions_of_all(infos, self.size)),
            terminated=np.asarray(terminated, bool),
            truncated=np.asarray(truncated, bool) & ~np.asarray(terminated, bool),
            success=np.logical_or.reduce([told(key, False, bool) for key in SUCCESS_KEYS]),
            healthy=told("healthy", True, bool),
            valid=valid,
        )

    def close(self) -> None:
        """Close the vector environment."""
        self._environment.close()


def _rows(observation: Any, size: int) -> Float[np.ndarray, "place observation"]:
    return np.array(observation, np.float64).reshape(size, -1)
