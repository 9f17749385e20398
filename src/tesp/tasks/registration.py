"""Environments of families that are given by name, as ``gymnasium.make("tesp/Ant-v0")`` makes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tesp.errors import ConfigurationError
from tesp.tasks.environment import FamilyEnvironment
from tesp.tasks.registry import make_family


class NamedEnvironment(FamilyEnvironment):
    """A `FamilyEnvironment` of a family that is given by name.

    Args:
        family: The name of a family, as `make_family` takes it.
        render_mode: None or ``rgb_array``.
        task: The task of all episodes for which ``reset`` is given no other; by default each reset draws one.
        goal: The same by another name, for families of goals.
        **options: The family's options but for the horizon.
    """

    def __init__(
        self,
        family: str,
        render_mode: str | None = None,
        task: Sequence[float] | np.ndarray | None = None,
        goal: Sequence[float] | np.ndarray | None = None,
        **options: Any,
    ):
        if "horizon" in options:
            raise ConfigurationError(
                f"horizon is {options['horizon']!r}; give max_episode_steps to gymnasium.make instead, "
                "which is what truncates an environment's episodes."
            )
        super().__init__(make_family(family, **options), render_mode, task, goal)
