"""A family made of any Gymnasium environment whose task can be set."""

import inspect
import math
import multiprocessing
import os
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from jaxtyping import Float

from tesp.errors import ConfigurationError, EnvironmentFailedError, describe_error
from tesp.interface import Interface, nested_tuple
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.checks import check_name, check_simulate, checked_count, finite_numbers
from tesp.tasks.drawn_tasks import draw_task_sets
from tesp.tasks.family import Family
from tesp.tasks.gymnasium.spaces import check_spaces
from tesp.tasks.gymnasium.task_wrappers import PlaceEnvironment, TaskEnvironment, check_task_setter, reset_to_task
from tesp.tasks.gymnasium.vector_pool import VectorPool

#: Environments that are stepped one after the other, at most. More give the policy larger batches, and take memory.
MOST_SYNC = 64
#: Control steps after which two tasks should have made some difference.
TRIAL_STEPS = 10


@dataclass(frozen=True)
class GymnasiumFamily(Family):
    """Tasks of a Gymnasium environment, which is told its task before every episode.

    The environment's method ``set_task(task)`` is called before ``reset``, or ``reset(options={task_option: task})``
    sets the task. Observations are a Box of any shape and flattened for the networks; actions a Box with finite bounds,
    to which the policy's [−1, 1] is scaled linearly. Episodes end when the environment ends or truncates them, or after
    ``horizon`` steps. Of ``info`` are used, where they are given: ``success`` or ``is_success``, ``distance_reward``
    (the part of the reward that agents are judged by; else the reward), ``distance``, ``position`` (x and y, for
    drawings), ``healthy``.

    Attributes:
        make_env: Makes one environment when called without arguments, or the identifier of one that is registered with
            Gymnasium. If it takes ``render_mode``, the environment can be filmed.
        sample_tasks: (generator, n, name of the task set) → n tasks, (n, p). The names are ``train`` (D),
            ``in_distribution`` (D′) and ``out_of_distribution`` (D″). It draws from the generator alone.
        name: What the family is called.
        task_option: Name of the option of ``reset`` that takes the task; None if the method ``set_task`` does.
        horizon: H, control steps after which an episode is cut off; None: the environment's own ``max_episode_steps``.
        tasks_per_set: Number of tasks in each of D, D′ and D″.
        vectorization: ``sync`` steps environments one after the other, ``async`` each in a process of its own.
        environments: How many there are at most; 0: 64 if ``sync``, one for every thread or core if ``async``. No
            result depends on it.
        preset_values: Configuration values by preset. Those of ``quick`` go before the small sizes that it has anyway,
            those of ``paper`` before the library's defaults and rounds in steps; other names are presets of their own.

    Raises:
        ConfigurationError: A value is not possible, the environment cannot be made or given a task, its spaces are of
            another kind, or the tasks have another shape.
    """

    make_env: Callable[..., gymnasium.Env] | str
    sample_tasks: Callable[[np.random.Generator, int, str], Any]
    name: str = "gymnasium"
    task_option: str | None = None
    # Once the family is made it is a number, as for every family.
    horizon: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    tasks_per_set: int = 100
    vectorization: str = "sync"
    environments: int = 0
    preset_values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    observation_size: int = field(init=False)
    action_size: int = field(init=False)
    task_size: int = field(init=False)
    _spaces: tuple[tuple[int, ...], Any, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.vectorization not in ("sync", "async"):
            raise ConfigurationError(f"vectorization is {self.vectorization!r}; it must be 'sync' or 'async'.")
        if isinstance(self.environments, bool) or not isinstance(self.environments, Integral) or self.environments < 0:
            raise ConfigurationError(
                f"environments is {self.environments!r}; it must be an integer of at least 1, or 0 to leave it open."
            )
        self._set("tasks_per_set", checked_count("tasks_per_set", self.tasks_per_set))
        if self.horizon is not None:
            self._set("horizon", checked_count("horizon", self.horizon))
        environment = self._made(self._maker())
        try:
            self._look_at(environment)
        finally:
            environment.close()
        self._set("task_size", self._sampled(np.random.default_rng(0), 2, TASK_SETS[0]).shape[1])

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _look_at(self, environment: gymnasium.Env) -> None:
        """Take the sizes of an environment, or refuse it."""
        observation, action = environment.observation_space, environment.action_space
        try:
            check_spaces(observation, action, environment)
            check_task_setter(environment, self.task_option)
        except ConfigurationError as error:
            raise ConfigurationError(f"The family {self.name!r} cannot be made. {error}") from error
        own = environment.spec.max_episode_steps if environment.spec is not None else None
        if self.horizon is None and own is None:
            raise ConfigurationError(
                f"horizon is None, and the environment of the family {self.name!r} has no max_episode_steps of its "
                "own; give the horizon, the number of steps after which an episode is cut off."
            )
        self._set("horizon", own if self.horizon is None else self.horizon)
        assert isinstance(action, gymnasium.spaces.Box)
        self._set("_spaces", (observation.shape, nested_tuple(action.low.tolist()), nested_tuple(action.high.tolist())))
        self._set("observation_size", math.prod(observation.shape or (1,)))
        self._set("action_size", math.prod(action.shape or (1,)))

    @property
    def options(self) -> dict[str, Any]:
        """What ``dataclasses.replace`` may change of this family, JSON-able."""
        return {name: getattr(self, name) for name in ("horizon", "tasks_per_set", "vectorization", "environments")}

    @property
    def interface(self) -> Interface:
        """What an agent sees and does, in the environment's own shapes and units."""
        observation_shape, low, high = self._spaces
        return Interface(observation_shape, low, high, self.task_size, int(self.horizon or 0))

    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″, each from a stream of its own; the same family and seed always give the same tasks.

        Two tasks of D are tried for a few steps, so that an environment that fails does so before anything is stored,
        and one that takes no notice of its task gives a warning.

        Raises:
            ConfigurationError: The seed is negative, ``sample_tasks`` fails or returns something else than
                ``tasks_per_set`` tasks of finite numbers, or the environment fails.
        """
        drawn = draw_task_sets(self.name, seed, self.tasks_per_set, self._sampled)
        self._try_tasks(drawn["train"].tasks)
        return drawn

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, " parameter"]:
        """Draw a task as those of D are."""
        return self._sampled(generator, 1, TASK_SETS[0])[0]

    def simulate(self, count: int, threads: int = 0) -> VectorPool:
        """Make a pool of environments for ``count`` episodes; close it, or let go of it, to close them.

        Args:
            count: Number of episodes of a round.
            threads: How many environments there are if neither ``environments`` nor ``sync`` says it; 0: one per core.

        Raises:
            ConfigurationError: ``count`` is below 1, ``threads`` is negative, or the environments cannot be made.
        """
        check_simulate(count, threads)
        cores = threads or os.cpu_count() or 1
        most = self.environments or (MOST_SYNC if self.vectorization == "sync" else cores)
        # As many as are needed for the same number of turns, so that few are idle in the last one.
        size = math.ceil(count / math.ceil(count / most))
        maker, option = self._maker(), self.task_option
        makers = [partial(_make_place, maker, index, option) for index in range(size)]
        vector = self._vector_environment(makers)
        pool = VectorPool(vector, pass_tasks=True)
        weakref.finalize(pool, vector.close)
        return pool

    def environment(
        self, task: Sequence[float] | np.ndarray | None = None, render_mode: str | None = None
    ) -> gymnasium.Env:
        """Make the environment for one task, truncated at the horizon; its observations and actions are its own.

        Args:
            task: The task of every episode; by default each reset draws one as those of D are. ``reset`` takes another
                in its option ``task`` (or ``task_option``).
            render_mode: Passed on to ``make_env``.

        Raises:
            ConfigurationError: The task is not p finite numbers, the environment cannot be made, or not be rendered.
        """
        checked = None if task is None else self._checked_task(task)
        made = self._made(self._maker(), render_mode)
        wrapped = TaskEnvironment(made, self.task_option, self.draw_task, checked, self._checked_task)
        return gymnasium.wrappers.TimeLimit(wrapped, int(self.horizon or 0))

    def _maker(self) -> Callable[..., gymnasium.Env]:
        """Return what makes an environment, in this process or another."""
        if not isinstance(self.make_env, str):
            return self.make_env
        try:
            # The specification rather than its name: other processes need not have registered it.
            spec = gymnasium.spec(self.make_env)
        except (gymnasium.error.Error, ImportError) as error:
            raise ConfigurationError(
                f"make_env is {self.make_env!r}, which Gymnasium cannot find: {describe_error(error)}. Give a "
                "registered identifier, or a function that makes the environment."
            ) from error
        return partial(_make_registered, spec, self.horizon)

    def _made(self, maker: Callable[..., gymnasium.Env], render_mode: str | None = None) -> gymnasium.Env:
        """Make an environment, or say why it cannot be made."""
        arguments = {} if render_mode is None else {"render_mode": render_mode}
        if arguments and not _takes(maker, "render_mode"):
            raise ConfigurationError(
                f"The environment of the family {self.name!r} cannot be rendered: make_env takes no render_mode. "
                "Let it take one and pass it on to the environment."
            )
        try:
            environment = maker(**arguments)
        except Exception as error:
            raise ConfigurationError(
                f"The environment of the family {self.name!r} cannot be made: {describe_error(error)}."
            ) from error
        if not isinstance(environment, gymnasium.Env):
            raise ConfigurationError(
                f"make_env of the family {self.name!r} returned {environment!r}; it must return a gymnasium.Env."
            )
        return environment

    def _vector_environment(self, makers: list[Callable[[], gymnasium.Env]]) -> SyncVectorEnv | AsyncVectorEnv:
        try:
            if self.vectorization == "sync":
                return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
            return AsyncVectorEnv(makers, context=_start_method(), autoreset_mode=AutoresetMode.DISABLED)
        except Exception as error:
            hint = ""
            if self.vectorization == "async":
                hint = (
                    " A script that trains must do so under `if __name__ == '__main__':`; "
                    "vectorization='sync' does without processes."
                )
            raise ConfigurationError(
                f"{len(makers)} environments of the family {self.name!r} cannot be made: {describe_error(error)}.{hint}"
            ) from error

    def _sampled(
        self, generator: np.random.Generator, count: int, task_set: str
    ) -> Float[np.ndarray, "task parameter"]:
        """Draw tasks, or say what is wrong with them."""
        try:
            given = self.sample_tasks(generator, count, task_set)
            tasks = np.array(given, np.float64)
        except Exception as error:
            raise ConfigurationError(
                f"sample_tasks of the family {self.name!r} failed on the set {task_set!r}: {describe_error(error)}."
            ) from error
        what = f"sample_tasks of the family {self.name!r} returned"
        size = getattr(self, "task_size", None)
        if tasks.ndim != 2 or len(tasks) != count or tasks.shape[1] != (size or max(tasks.shape[1], 1)):
            raise ConfigurationError(
                f"{what} an array of shape {tasks.shape} for {count} tasks of the set {task_set!r}; it must be "
                f"({count}, {'p' if size is None else size}), one row of parameters a task."
            )
        finite = np.isfinite(tasks).all(axis=1)
        if not finite.all():
            raise ConfigurationError(
                f"{what} {tasks[~finite][0].tolist()} in the set {task_set!r}; all parameters must be finite."
            )
        return tasks

    def _checked_task(self, task: Any) -> Float[np.ndarray, " parameter"]:
        try:
            row = np.array(task, np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        if row.shape != (self.task_size,) or not np.isfinite(row).all():
            raise ConfigurationError(
                f"The task {task!r} is not possible; a task of {self.name!r} has {finite_numbers(self.task_size)}."
            )
        return row

    def _try_tasks(self, tasks: Float[np.ndarray, "task parameter"]) -> None:
        """Take the same steps in two tasks, as different as there are, and warn if nothing differs."""
        one, other = tasks[0], tasks[np.argmax(np.sum((tasks - tasks[0]) ** 2, axis=1))]
        environment = PlaceEnvironment(self._made(self._maker()), 0, self.task_option)
        try:
            same = _trial(environment, one) == _trial(environment, other)
        except EnvironmentFailedError as error:
            raise ConfigurationError(
                f"The family {self.name!r} cannot be trained on. {error} It was tried for {TRIAL_STEPS} steps."
            ) from error
        finally:
            environment.close()
        if same and (one != other).any():
            warnings.warn(
                f"The tasks {one.tolist()} and {other.tolist()} of the family {self.name!r} gave the same observations "
                f"and rewards for {TRIAL_STEPS} steps with the same seed and actions. That is right if rewards are "
                "rare; otherwise the environment takes no notice of its task.",
                stacklevel=3,
            )


def _trial(environment: PlaceEnvironment, task: np.ndarray) -> list[bytes]:
    """Return all that is seen in the first steps of an episode, which depends on the task alone."""
    observation, _ = environment.reset(seed=0, options={"tasks": task[None]})
    seen = [np.asarray(observation, np.float64).tobytes()]
    generator, space = np.random.default_rng(0), environment.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    for _ in range(TRIAL_STEPS):
        action = generator.uniform(space.low, space.high).astype(space.dtype)
        observation, reward, terminated, truncated, info = environment.step(action)
        shown = (observation, reward, info.get("distance_reward", 0.0), terminated)
        seen += [np.asarray(part, np.float64).tobytes() for part in shown]
        if terminated or truncated:
            break
    return seen


def _make_registered(spec: EnvSpec, horizon: int | None, render_mode: str | None = None) -> gymnasium.Env:
    return gymnasium.make(spec, max_episode_steps=horizon, render_mode=render_mode)


def _make_place(maker: Callable[[], gymnasium.Env], index: int, task_option: str | None) -> gymnasium.Env:
    return PlaceEnvironment(maker(), index, task_option)


def _start_method() -> str:
    """Return how processes are started: JAX runs threads, and a forked copy of a process with threads may hang.

    A server without threads is forked where there is one. It imports this library, which takes seconds, once for all
    processes.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    multiprocessing.set_forkserver_preload(["__main__", reset_to_task.__module__])
    return "forkserver"


def _takes(maker: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
