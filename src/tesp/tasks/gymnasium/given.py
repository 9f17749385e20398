"""What a user gives to adapt to: an environment, a vector environment, or a function that makes one."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from tesp.errors import ConfigurationError
from tesp.interface import Interface
from tesp.tasks.gymnasium.checked import CheckedEnvironment
from tesp.tasks.gymnasium.spaces import check_same_spaces, wrappers_of
from tesp.tasks.gymnasium.vector_pool import VectorPool

#: At most so many environments are made of a function that makes one.
MOST_COPIES = 8


#: What an environment may be given as.
Environment = gymnasium.Env | VectorEnv | Callable[[], gymnasium.Env | VectorEnv]


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


def warn_of_changing_wrappers(environment: Any) -> None:
    """Warn of wrappers whose running statistics make an environment another one with every step.

    Warns:
        UserWarning: There is one that has not been frozen.
    """
    for wrapper in wrappers_of(environment):
        if isinstance(wrapper, _CHANGING) and wrapper.update_running_mean:
            name = type(wrapper).__name__
            warnings.warn(
                f"The environment is wrapped in {name}, whose statistics go on changing with every step: what an agent "
                "sees, and what it is rewarded with, is not what it was in training. Restore the statistics of the "
                f"training and freeze them (update_running_mean = False), or do without {name}.",
                stacklevel=5,
            )


#: Wrappers that change with every step what an agent sees, and would have to be as they were at the end of training.
_CHANGING = (
    gymnasium.wrappers.NormalizeObservation,
    gymnasium.wrappers.NormalizeReward,
    gymnasium.wrappers.vector.NormalizeObservation,
    gymnasium.wrappers.vector.NormalizeReward,
)


class _Borrowed(CheckedEnvironment):
    """An environment that is not ours to close: some vector environments close theirs when they are forgotten."""

    def close(self) -> None:
        """Leave the environment open."""


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
