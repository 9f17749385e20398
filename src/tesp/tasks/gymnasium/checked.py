"""What a user's environment returns, checked and brought into one form in one place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from tesp.errors import EnvironmentFailedError, TespError, describe_error

#: Entries of ``info`` that are read, and what each of them is.
FLAGS, NUMBERS, POSITION = ("success", "is_success", "healthy"), ("distance_reward", "distance"), "position"


class CheckedEnvironment(gymnasium.Wrapper):
    """An environment whose errors say where they happened, and which returns nothing that cannot be used.

    Of ``info`` stays what is read, each entry of one kind: flags as bool, numbers as float, positions as arrays of two.
    So nothing depends on how many environments are stepped side by side, or on which of them comes first.
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        # A vector environment writes into the metadata of its first environment.
        self.metadata = dict(env.metadata)
        self._steps = 0

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; what `reset` does once it is watched."""
        return self.env.reset(seed=seed, options=options)

    def told(self) -> str:
        """Say of what task the episode is, where that is known."""
        return ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            EnvironmentFailedError: The environment failed or returned what cannot be used.
        """
        self._steps = 0
        with self._blamed():
            returned = self.begin(seed, options)
            if not (isinstance(returned, tuple) and len(returned) == 2):
                raise _UselessError(f"reset returned {_shown(returned)}, which is no pair of observation and info")
            observation, info = returned
            return self._observation(observation), read_info(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            EnvironmentFailedError: As for `reset`.
        """
        self._steps += 1
        try:
            returned = self.env.step(action)
            if not (isinstance(returned, tuple) and len(returned) == 5):
                raise _UselessError(
                    f"step returned {_shown(returned)}, not observation, reward, terminated, truncated and info"
                )
            observation, reward, terminated, truncated, info = returned
            return (
                self._observation(observation),
                _number("the reward", reward),
                _flag("terminated", terminated),
                _flag("truncated", truncated),
                read_info(info),
            )
        except (Exception, SystemExit) as error:
            raise self._blame(error) from (None if isinstance(error, _UselessError) else error)

    def _observation(self, observation: Any) -> np.ndarray:
        space = self.observation_space
        if type(observation) is np.ndarray and observation.dtype.kind == "f" and observation.shape == space.shape:
            return observation
        try:
            found = np.asarray(observation)
        except ValueError:
            found = np.array(None)
        if found.dtype.kind not in "fiub":
            raise _UselessError(f"the observation is {_shown(observation)}, which is no array of real numbers")
        if found.shape != space.shape:
            raise _UselessError(f"the observation has the shape {found.shape}, and its space has {space.shape}")
        return found

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            raise self._blame(error) from (None if isinstance(error, _UselessError) else error)

    def _blame(self, error: BaseException) -> BaseException:
        if isinstance(error, TespError):
            return error
        return self._failed(str(error) if isinstance(error, _UselessError) else describe_error(error))

    def _failed(self, reason: str) -> EnvironmentFailedError:
        place = f"at control step {self._steps - 1}" if self._steps else "in a reset"
        told = f"{place} of an episode of {task}" if (task := self.told()) else place
        return EnvironmentFailedError(f"The environment {self.env} failed: {reason}", None, told)


class _UselessError(Exception):
    """Something was returned that cannot be used."""


def read_info(info: Any) -> dict[str, Any]:
    """Return what is read of an ``info``, each entry of one kind; an entry that is None is not told.

    Raises:
        _UselessError: It is no dictionary, or an entry is of another kind; names it.
    """
    if not isinstance(info, Mapping):
        raise _UselessError(f"info is {_shown(info)}, which is no dictionary")
    found: dict[str, Any] = {}
    for key in (*FLAGS, *NUMBERS, POSITION):
        value = info.get(key)
        if value is not None:
            read = _flag if key in FLAGS else _number if key in NUMBERS else _position
            found[key] = read(f"info[{key!r}]", value)
    return found


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    array = _array(value)
    if array.shape != () or array.dtype.kind not in "fiub":
        raise _UselessError(f"{name} is {_shown(value)}, which is no real number")
    return float(array)


def _flag(name: str, value: Any) -> bool:
    if type(value) is bool:
        return value
    array = _array(value)
    if array.shape != () or array.dtype.kind not in "fiub" or array not in (0, 1):
        raise _UselessError(f"{name} is {_shown(value)}, which is neither true nor false")
    return bool(array)


def _position(name: str, value: Any) -> np.ndarray:
    array = _array(value)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "fiub":
        raise _UselessError(f"{name} is {_shown(value)}, which is no list of two numbers or more")
    return array[:2].astype(np.float64)


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        return np.array(None)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
