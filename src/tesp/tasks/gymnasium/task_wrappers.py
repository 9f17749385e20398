"""Gymnasium environments whose task is set at every reset."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from tesp.errors import ConfigurationError
from tesp.task_sets import told
from tesp.tasks.gymnasium.checked import CheckedEnvironment


def reset_to_task(
    environment: gymnasium.Env,
    task: np.ndarray,
    task_option: str | None,
    seed: int | None,
    options: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Start an episode of a task.

    Args:
        environment: The environment.
        task: The task, (p,).
        task_option: Name of the option of ``reset`` that takes the task; None if the method ``set_task`` does.
        seed: Seed of the reset.
        options: Other options of the reset.

    Returns:
        What ``reset`` returns.
    """
    own = np.array(task, np.float64)
    if task_option is None:
        environment.get_wrapper_attr("set_task")(own)
    else:
        options = {**options, task_option: own}
    return environment.reset(seed=seed, options=options or None)


class PlaceEnvironment(CheckedEnvironment):
    """A sub-environment of a vector environment, which takes its own row of the option ``tasks`` at a reset.

    Args:
        environment: The environment.
        index: Its place in the vector environment.
        task_option: As in `reset_to_task`.
    """

    def __init__(self, environment: gymnasium.Env, index: int, task_option: str | None):
        super().__init__(environment)
        self._index, self._task_option = index, task_option
        self._task: np.ndarray | None = None

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Start an episode of the task ``options["tasks"][index]``."""
        others = dict(options or {})
        self._task = np.array(others.pop("tasks")[self._index], np.float64)
        return reset_to_task(self.env, self._task, self._task_option, seed, others)

    def told(self) -> str:
        """Say of what task the episode is."""
        return "" if self._task is None else f"the task {told(self._task)}"


class TaskEnvironment(gymnasium.Wrapper):
    """An environment for one task, or for tasks that are drawn; nothing else about it is changed.

    ``reset`` takes another task for one episode in its option ``task`` (or the environment's own option, if the task is
    set by one). Its ``info`` holds the task.

    Args:
        environment: The environment.
        task_option: As in `reset_to_task`.
        draw: Draws a task.
        task: The task of all episodes for which no other is given; by default each reset draws one.
        check: Returns a task as an array (p,), or raises a ConfigurationError.
    """

    def __init__(
        self,
        environment: gymnasium.Env,
        task_option: str | None,
        draw: Callable[[np.random.Generator], np.ndarray],
        task: np.ndarray | None,
        check: Callable[[Any], np.ndarray],
    ):
        super().__init__(environment)
        self._task_option, self._draw, self._task, self._check = task_option, draw, task, check
        self._generator = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seed of the environment, and of the tasks that are drawn from now on.
            options: The environment's own, and ``task``.

        Raises:
            ConfigurationError: The task is not as many finite numbers as it must be.
        """
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        others = dict(options or {})
        given = others.pop(self._task_option or "task", None)
        if given is not None:
            task = self._check(given)
        else:
            task = self._draw(self._generator) if self._task is None else self._task
        observation, info = reset_to_task(self.env, task, self._task_option, seed, others)
        return observation, {"task": task.copy(), **info}


def check_task_setter(environment: gymnasium.Env, task_option: str | None) -> None:
    """Refuse an environment that no task can be given to.

    Raises:
        ConfigurationError: There is neither a name of an option nor a method ``set_task``.
    """
    if task_option is not None:
        return
    if not environment.has_wrapper_attr("set_task") or not callable(environment.get_wrapper_attr("set_task")):
        raise ConfigurationError(
            f"The environment {environment} has no method set_task(task); give it one, for instance in a "
            "gymnasium.Wrapper, or give task_option, the name of the option of reset that takes the task."
        )
