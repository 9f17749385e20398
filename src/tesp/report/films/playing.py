"""Playing one episode for a film: what was seen, where the agent was and what it had earned, step by step."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from tesp.errors import ConfigurationError, TespError

#: What a film shows: the pictures that the environment renders, or the agent's path in the plane.
View = Literal["body", "plane"]

_ADVICE = (
    "On a machine without a screen, install libegl1 and set MUJOCO_GL=egl before Python starts, or call "
    "tesp.use_offscreen_rendering() first of all."
)

#: Steps after which an episode is cut off if the environment does not end it.
MOST_STEPS = 1000

#: Metres within which the told distances must be those from the task, if it is to be marked as a goal.
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Stage:
    """An agent at one point of its adaptation.

    Attributes:
        title: What stands above its panel, for instance ``after 1 fast-update``.
        act: Maps an observation to an action, both in the environment's own units.
        remembers: Whether it has memory: ``act`` then takes the observation, the state that it returned last (None
            where an episode begins) and the reward of the step before, and returns the action and the state.
    """

    title: str
    act: Callable[..., Any]
    remembers: bool = False


@dataclass
class Episode:
    """One episode, with an entry for the reset and one more for every step.

    Attributes:
        title: The stage's title.
        size: Width and height of the pictures, in pixels.
        pictures: The compressed pictures of the view ``body``; empty for the view ``plane``.
        positions: The agent's positions (x, y) in metres, from the reset to the last step that told one; a moment that
            told none has the next one that was told. Empty if the environment tells none.
        distances: What the environment told along with positions: pairs of a position and a distance, in metres.
        returns: Sum of the distance rewards so far, or of the rewards where the environment has no others.
        goal: The goal (x, y) in metres, if there is one.
        success: Whether the environment said that the agent arrived.
    """

    title: str
    size: tuple[int, int] = (0, 0)
    pictures: list[bytes] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    distances: list[tuple[np.ndarray, float]] = field(default_factory=list)
    returns: list[float] = field(default_factory=lambda: [0.0])
    goal: np.ndarray | None = None
    success: bool = False

    @property
    def length(self) -> int:
        """Steps that were taken."""
        return len(self.returns) - 1

    def picture(self, moment: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the picture after ``moment`` steps."""
        width, height = self.size
        return np.frombuffer(zlib.decompress(self.pictures[moment]), np.uint8).reshape(height, width, 3)

    def look(self, environment: gymnasium.Env, width: int) -> None:
        """Add the picture that the environment shows now, scaled to ``width`` pixels.

        Raises:
            TespError: The environment renders no RGB image.
        """
        seen = rendered(environment)
        # H.264 stores colours for blocks of 2 × 2 pixels, so sizes are even.
        self.size = (width, 2 * round(width * seen.shape[0] / seen.shape[1] / 2))
        scaled = Image.fromarray(seen).resize(self.size, Image.Resampling.LANCZOS)
        # A film holds some thousand pictures at once.
        self.pictures.append(zlib.compress(scaled.tobytes(), 1))

    def note(self, info: dict[str, Any]) -> None:
        """Take down where the agent is, where the goal is and whether it arrived."""
        position, distance, goal = info.get("position"), info.get("distance"), info.get("goal")
        if position is not None and np.shape(position) == (2,) and np.isfinite(position).all():
            place = np.array(position, float)
            # Environments of others often tell nothing at the reset.
            self.positions += [place] * (len(self.returns) - len(self.positions))
            if distance is not None and np.shape(distance) == () and np.isfinite(distance):
                self.distances.append((place, float(distance)))
        if goal is not None and np.shape(goal) == (2,):
            self.goal = np.array(goal, float)
        self.success = bool(info.get("success", False))

    def mark(self, task: np.ndarray) -> None:
        """Mark the task as the goal if no goal was told and the task is a place in the plane.

        It is one if it has two parameters and all distances that were told are ‖position − task‖₂, within a millimetre.
        """
        if self.goal is not None or task.shape != (2,) or not self.distances:
            return
        apart = (abs(math.dist(place, task) - distance) for place, distance in self.distances)
        if max(apart) <= _SAME_PLACE:
            self.goal = task


class Player:
    """Plays episodes of several stages in one environment, every one from the same seed.

    Attributes:
        view: What is recorded; ``body`` becomes ``plane`` where nothing can be rendered.
        hint: One sentence about why that happened and what to install; None if it did not.

    Args:
        environment: The environment; for ``body`` with ``render_mode="rgb_array"``.
        view: What is to be recorded.
        seed: Seed of every reset.
        width: Width of the pictures in pixels, even.
        task: The task, (p,), which is marked where it is a goal in the plane (`Episode.mark`); None for none.
    """

    def __init__(
        self,
        environment: gymnasium.Env,
        view: View,
        seed: int,
        width: int,
        task: np.ndarray | None = None,
    ):
        self._environment, self._seed, self._width, self._task = environment, seed, width, task
        self.view: View = view
        self.hint: str | None = None
        self._rendered = False
        self._failure: Exception | None = None

    def draw_plane_after(self, failure: Exception) -> None:
        """Record the plane from now on, because the body could not be rendered."""
        self.view, self._failure = "plane", failure
        self.hint = f"The plane is drawn instead of the body. {reason(failure)}"

    def play(self, stage: Stage) -> Episode:
        """Play one episode.

        Raises:
            TespError: Nothing can be rendered, and the environment does not tell positions either.
            ConfigurationError: The view is ``plane`` and the environment does not tell positions.
        """
        episode = Episode(stage.title)
        observation, info = self._environment.reset(seed=self._seed)
        episode.note(info)
        self._look(episode)
        ended, state, reward = False, None, None
        while not ended and episode.length < MOST_STEPS:
            if stage.remembers:
                action, state = stage.act(observation, state, reward)
            else:
                action = stage.act(observation)
            observation, reward, terminated, truncated, info = self._environment.step(action)
            episode.returns.append(episode.returns[-1] + float(info.get("distance_reward", reward)))
            episode.note(info)
            self._look(episode)
            ended = terminated or truncated
        if self._task is not None:
            episode.mark(self._task)
        return episode

    def _look(self, episode: Episode) -> None:
        if self.view == "body":
            try:
                episode.look(self._environment, self._width)
                self._rendered = True
                return
            except Exception as error:  # every simulator's renderer fails in a way of its own
                # What has worked before fails for another reason than a missing library.
                if self._rendered:
                    raise TespError(f"The environment could not be rendered. {reason(error)}") from error
                self.draw_plane_after(error)
        if episode.length and not episode.positions:
            raise self._nothing_to_draw() from self._failure

    def _nothing_to_draw(self) -> TespError:
        untold = f"the infos of {self._environment} hold no position (x, y)"
        if self._failure is None:
            return ConfigurationError(
                f"The view 'plane' is not possible: {untold}. Let them hold one, or choose the view 'body' on a "
                "machine that can render it."
            )
        why = reason(self._failure)
        return TespError(f"The environment could not be rendered. {why} The plane cannot be drawn instead: {untold}.")


def rendered(environment: gymnasium.Env) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture that the environment shows now.

    Raises:
        TespError: It is no RGB image. Whatever else the renderer raises passes through.
    """
    seen = np.asarray(environment.render())
    if seen.ndim != 3 or seen.shape[2] != 3 or seen.dtype != np.uint8:
        raise TespError(
            f"The environment rendered an array of shape {seen.shape} and type {seen.dtype}; a film needs RGB "
            "images (height, width, 3) of type uint8. Give an environment with render_mode='rgb_array'."
        )
    return seen


def reason(failure: Exception) -> str:
    """Return why nothing could be rendered and, where the library has not said it itself, what to install."""
    if isinstance(failure, TespError):
        return str(failure)
    return f"{type(failure).__name__}: {' '.join(str(failure).split()).rstrip('.')}. {_ADVICE}"


def extent(episodes: list[Episode], least: float, most: float) -> float:
    """Return half the side of a square about the origin that holds all paths and goals, in metres.

    Args:
        episodes: The episodes.
        least: It is never smaller than this.
        most: Nor larger than this: who runs away leaves the picture, or nothing else could be seen.
    """
    points = [point for episode in episodes for point in episode.positions]
    points += [episode.goal for episode in episodes if episode.goal is not None]
    needed = 1.08 * max((float(np.abs(point).max()) for point in points), default=0.0)
    return math.ceil(10 * min(max(needed, least), most)) / 10
