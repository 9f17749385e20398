"""One task of a family as Stable-Baselines3 wants it, and how every agent is judged on it."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from tesp.tasks.family import Family
from tesp.tasks.simulation import Simulation

#: From an observation to an action.
Act = Callable[[np.ndarray], np.ndarray]


class SingleTask(VecEnv):
    """Copies of one task, stepped together and begun again as episodes end; what `family.environment` does, n times.

    Observations and rewards are rounded to single precision, as they are where the library trains. An episode that the
    horizon cuts off is told as ``TimeLimit.truncated``, so that its last state keeps a value.

    Args:
        family: The family.
        task: The task.
        count: How many copies.
    """

    def __init__(self, family: Family, task: np.ndarray, count: int):
        simulation = family.simulate(count, threads=1)
        assert isinstance(simulation, Simulation)
        self._simulation, self._horizon = simulation, family.horizon
        self._tasks, self._ids = np.tile(np.asarray(task, np.float64), (count, 1)), np.arange(count)
        self._steps = np.zeros(count, int)
        # Asked for by the base class, and nothing is ever rendered.
        self.render_mode = None
        super().__init__(
            count,
            gymnasium.spaces.Box(-np.inf, np.inf, (family.observation_size,), np.float32),
            gymnasium.spaces.Box(-1.0, 1.0, (family.action_size,), np.float32),
        )

    def reset(self) -> np.ndarray:
        """Begin all episodes; return the first observations, (copy, observation)."""
        self._steps[:] = 0
        return self._simulation.reset(self._tasks).astype(np.float32)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the step that follows, (copy, action)."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Return observations, rewards, which episodes ended, and for these how and with what observation."""
        done = self._simulation.step(self._ids, self._actions)
        self._steps += 1
        ends = done.terminated | (self._steps >= self._horizon)
        seen = done.observation.astype(np.float32)
        infos: list[dict[str, Any]] = [{} for _ in self._ids]
        if ends.any():
            ended = np.flatnonzero(ends)
            for i in ended:
                truncated = not done.terminated[i]
                infos[i] = {"terminal_observation": seen[i].copy(), "TimeLimit.truncated": truncated}
            seen[ended] = self._simulation.restart(ended)
            self._steps[ended] = 0
        return seen, done.reward.astype(np.float32), ends, infos

    def close(self) -> None:
        """Free what is held besides memory."""
        self._simulation.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, once for every copy."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the copies have no attributes of their own."""
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: the copies have no methods of their own."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Say that no copy is wrapped."""
        return [False for _ in self._get_indices(indices)]


def return_of(act: Act, environment: gymnasium.Env) -> float:
    """Return the sum of the distance reward over one episode, in metre·steps.

    The tasks begin in one state and have no noise, so all episodes of a deterministic agent are the same one.

    Args:
        act: The agent.
        environment: The task, with its horizon.
    """
    observation, _ = environment.reset(seed=0)
    total, over = 0.0, False
    while not over:
        observation, _, terminated, truncated, info = environment.step(act(observation))
        total += info["distance_reward"]
        over = terminated or truncated
    return total
