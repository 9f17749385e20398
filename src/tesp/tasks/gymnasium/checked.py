"""What a user's environment returns, checked and brought into one form in one place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from tesp.errors import EnvironmentFailedError, TespError, describe_error, shown
from tesp.tasks.gymnasium.infos import UselessError, flag_of, number_of, read_info


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
                raise UselessError(f"reset returned {shown(returned)}, which is no pair of observation and info")
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
                raise UselessError(
                    f"step returned {shown(returned)}, not observation, reward, terminated, truncated and info"
                )
            observation, reward, terminated, truncated, info = returned
            return (
                self._observation(observation),
                number_of("the reward", reward),
                flag_of("terminated", terminated),
                flag_of("truncated", truncated),
                read_info(info),
            )
        except (Exception, SystemExit) as error:
            raise self._blame(error) from (None if isinstance(error, UselessError) else error)

    def _observation(self, observation: Any) -> np.ndarray:
        space = self.observation_space
        if type(observation) is np.ndarray and observation.dtype.kind == "f" and observation.shape == space.shape:
            return observation
        try:
            found = np.asarray(observation)
        except ValueError:
            found = np.array(None)
        if found.dtype.kind not in "fiub":
            raise UselessError(f"the observation is {shown(observation)}, which is no array of real numbers")
        if found.shape != space.shape:
            raise UselessError(f"the observation has the shape {found.shape}, and its space has {space.shape}")
        return found

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            raise self._blame(error) from (None if isinstance(error, UselessError) else error)

    def _blame(self, error: BaseException) -> BaseException:
        if isinstance(error, TespError):
            return error
        return self._failed(str(error) if isinstance(error, UselessError) else describe_error(error))

    def _failed(self, reason: str) -> EnvironmentFailedError:
        place = f"at control step {self._steps - 1}" if self._steps else "in a reset"
        told = f"{place} of an episode of {task}" if (task := self.told()) else place
        return EnvironmentFailedError(f"The environment {self.env} failed: {reason}", None, told)
