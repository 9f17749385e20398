"""The five families of this library as Gymnasium environments, for ``gymnasium.make("tesp/Ant-v0")``."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from tesp.errors import ConfigurationError
from tesp.tasks.environment import FamilyEnvironment
from tesp.tasks.registry import make_family

#: Gymnasium environments and the families they are made of.
ENVIRONMENTS = {
    "tesp/Point-v0": "point",
    "tesp/Wheeled-v0": "wheeled",
    "tesp/Ant-v0": "ant",
    "tesp/Reacher2-v0": "reacher2",
    "tesp/Reacher4-v0": "reacher4",
}

#: The families' default horizons. Asking the families would compile the models of all of them at the library's import.
HORIZONS = {"point": 100, "wheeled": 200, "ant": 200, "reacher2": 200, "reacher4": 200}


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


def register_environments() -> None:
    """Register the families with Gymnasium, for instance ``tesp/Ant-v0``; calling it again does nothing.

    Keyword arguments of ``gymnasium.make`` are the family's options, but for the horizon: that is
    ``max_episode_steps``, after which episodes are truncated.
    """
    for identifier, name in ENVIRONMENTS.items():
        if identifier not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point=f"{NamedEnvironment.__module__}:{NamedEnvironment.__name__}",
                max_episode_steps=HORIZONS[name],
                kwargs={"family": name},
            )
