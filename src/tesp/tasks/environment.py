"""One simulation of a family as a Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.tasks.goal_family import GoalFamily, distance_to_goal
from tesp.tasks.registry import make_family

#: Bound of the observation space. Physics never comes near it, and the space's range stays representable.
OBSERVATION_BOUND = float(np.finfo(np.float32).max)


class FamilyEnvironment(gymnasium.Env[np.ndarray, np.ndarray]):
    """One simulation of a family; a task is the goal (x, y) in metres.

    Actions lie in [−1, 1]; the goal is not observed. An episode is terminated on arrival (and where the
    family ends it when unhealthy). It is truncated by Gymnasium's ``TimeLimit``, which ``gymnasium.make``
    adds; an environment constructed directly has no horizon.

    The ``info`` of ``reset`` and ``step`` holds ``distance`` (m), ``goal`` (m), ``success`` and ``healthy``;
    that of ``step`` also ``distance_reward``.

    Args:
        family: A family of goals, or its name.
        render_mode: None or ``rgb_array``.
        **options: The family's options, if it is given by name.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (declared so by Gymnasium)

    def __init__(self, family: str | GoalFamily, render_mode: str | None = None, **options: Any):
        self._family = _goal_family(family, options)
        if render_mode not in (None, "rgb_array"):
            raise ConfigurationError(f"render_mode is {render_mode!r}; it must be None or 'rgb_array'.")
        self.render_mode = render_mode
        self._simulation = self._family.simulate(1, threads=1)
        self._ids = np.arange(1)
        self._is_reset = False
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._family.action_size,), np.float32)
        self.observation_space = gymnasium.spaces.Box(
            -OBSERVATION_BOUND, OBSERVATION_BOUND, (self._family.observation_size,), np.float64
        )

    @property
    def family(self) -> GoalFamily:
        """The family that the environment belongs to."""
        return self._family

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " observation"], dict[str, Any]]:
        """Start an episode, deterministic but for the goal.

        Args:
            seed: Seed of the goals that are drawn from now on.
            options: ``{"goal": (x, y)}`` in metres. Without it the goal is drawn
                uniformly from the training area.

        Returns:
            The first observation, and the info.

        Raises:
            ConfigurationError: An option is unknown, or the goal is not two finite numbers.
        """
        super().reset(seed=seed)
        goal = _given_goal(options or {})
        if goal is None:
            goal = self._draw_goal()
        observation = self._simulation.reset(goal[None])[0]
        self._is_reset = True
        distance = float(distance_to_goal(self._simulation.positions, goal[None])[0])
        success = distance < self._family.arrival
        return observation, {"distance": distance, "success": success, "goal": goal, "healthy": True}

    def step(
        self, action: Float[np.ndarray, " action"]
    ) -> tuple[Float[np.ndarray, " observation"], float, bool, bool, dict[str, Any]]:
        """Advance by one control step; the action is clipped to [−1, 1].

        Raises:
            gymnasium.error.ResetNeeded: The environment has not been reset yet.
            ConfigurationError: The action has the wrong size.
            NonFiniteError: The action is not finite, or the physics broke down.
        """
        if not self._is_reset:
            raise gymnasium.error.ResetNeeded("Call reset before step.")
        done = self._simulation.step(self._ids, np.asarray(action)[None])
        info = {
            "distance_reward": float(done.distance_reward[0]),
            "distance": float(done.distance[0]),
            "success": bool(done.success[0]),
            "goal": self._simulation.goals[0],
            "healthy": bool(done.healthy[0]),
        }
        return done.observation[0], float(done.reward[0]), bool(done.terminated[0]), False, info

    def render(self) -> np.ndarray:
        """Return an RGB image of the simulation with its goal marked.

        Raises:
            ConfigurationError: The environment was not made with ``render_mode="rgb_array"``.
            TespError: There is no OpenGL to render with.
        """
        if self.render_mode is None:
            raise ConfigurationError('render_mode is None; make the environment with render_mode="rgb_array".')
        return self._simulation.render(0)

    def close(self) -> None:
        """Free the renderer."""
        self._simulation.close()

    def _draw_goal(self) -> Float[np.ndarray, "2"]:
        """Draw a goal uniformly by area from the training area: ρ² and the angle are uniform."""
        area = self._family.training_area
        radius = np.sqrt(self.np_random.uniform(area.inner**2, area.outer**2))
        angle = self.np_random.uniform(0.0, 2 * np.pi)
        return radius * np.array([np.cos(angle), np.sin(angle)])


def _goal_family(family: str | GoalFamily, options: dict[str, Any]) -> GoalFamily:
    if "horizon" in options:
        raise ConfigurationError(
            f"horizon is {options['horizon']!r}; give max_episode_steps to gymnasium.make instead, "
            "which is what truncates an environment's episodes."
        )
    if not isinstance(family, str):
        if options:
            raise ConfigurationError(
                f"Options {', '.join(options)} were given along with a family; give them to the family."
            )
        return family
    made = make_family(family, **options)
    if not isinstance(made, GoalFamily):
        raise ConfigurationError(
            f"The tasks of the family {family!r} are not goals; it needs an environment of its own."
        )
    return made


def _given_goal(options: dict[str, Any]) -> Float[np.ndarray, "2"] | None:
    unknown = sorted(set(options) - {"goal"}, key=str)
    if unknown:
        raise ConfigurationError(f"reset has no option {unknown[0]!r}; its only option is 'goal'.")
    if options.get("goal") is None:
        return None
    try:
        goal = np.array(options["goal"], dtype=np.float64)
    except (TypeError, ValueError):
        goal = np.empty(0)
    if goal.shape != (2,) or not np.isfinite(goal).all():
        raise ConfigurationError(f"goal is {options['goal']!r}; it must be two finite numbers (x, y) in metres.")
    return goal
