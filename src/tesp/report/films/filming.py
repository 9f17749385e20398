"""A film of one task: every stage of an agent plays an episode, and all are shown side by side."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from tesp.errors import ConfigurationError
from tesp.progress import ProgressBar
from tesp.report import words
from tesp.report.films.panels import Page, panel_width
from tesp.report.films.playing import Episode, Player, Stage, View, extent
from tesp.report.films.writing import check_suffix, write_film
from tesp.tasks.drawing import HALF_WIDTH

#: How long a film shows the end, in seconds, and its speed if the environment names none.
HOLD = 1.0
FRAMES_PER_SECOND = 20

#: Drawings of the plane reach no further than this from the origin, in metres.
MOST_HALF_WIDTH = 3.0


@dataclass(frozen=True)
class Film:
    """A film that was written.

    Attributes:
        path: Where it lies.
        view: What it shows, ``body`` or ``plane``.
        hint: If the body could not be rendered: why, and what to install. Else None.
        returns: The return of every stage's episode.
        frames: Number of frames.
    """

    path: Path
    view: View
    hint: str | None
    returns: tuple[float, ...]
    frames: int


def stages_of(agent: Any) -> list[Stage]:
    """Return the stages of an adapted agent: before adaptation, after the warm-up round, after each fast-update.

    An agent that was adapted further has stages of its last adaptation only; one that was loaded has none.

    Args:
        agent: A `tesp.AdaptedAgent`: its ``stages`` act as it did in each of the last rounds of its ``history``.
    """
    rounds = agent.history[len(agent.history) - len(agent.stages) :]
    return [
        _stage(_title(number, done.fast_update), stage)
        for number, (stage, done) in enumerate(zip(agent.stages, rounds, strict=True))
    ]


def _title(number: int, fast_update: int) -> str:
    if number == 0 and fast_update <= 0:
        return "before adaptation"
    return words.agent(fast_update) if fast_update else "after the warm-up round"


def _stage(title: str, agent: Any) -> Stage:
    if agent.agent.remembers:
        return Stage(title, partial(_act_with_memory, agent), remembers=True)
    return Stage(title, partial(_act, agent))


def _act(agent: Any, observation: Any) -> Any:
    return agent.predict(observation, deterministic=True)[0]


def _act_with_memory(agent: Any, observation: Any, state: Any, reward: float | None) -> tuple[Any, Any]:
    return agent.predict(observation, state, deterministic=True, reward=reward)


def film(
    make_environment: Callable[[str | None], gymnasium.Env],
    stages: Sequence[Stage],
    path: str | os.PathLike[str],
    *,
    view: str = "body",
    seed: int = 0,
    heading: str = "",
    boundary_radius: float | None = None,
    task: Sequence[float] | np.ndarray | None = None,
    console: Console | None = None,
) -> Film:
    """Film one episode of every stage, side by side and at the same time.

    Above a panel stands the stage's title, below it the step and the return so far: the sum of the infos'
    ``distance_reward``, or of the rewards where there is none. An episode that is over shows its last picture, one that
    does not end is cut off after 1000 steps, and the film ends a second after the last one. It runs at the
    environment's ``render_fps``, for the families of this library in real time.

    Where nothing can be rendered (no OpenGL, or an environment that takes no ``render_mode``), the path in the plane is
    drawn from the infos' ``position``, and the film's ``hint`` says why. The goal in it is the infos' ``goal``. Without
    one it is ``task``, if that has two parameters and every ``distance`` of the infos is ‖position − task‖₂, within a
    millimetre.

    Args:
        make_environment: Makes the environment with the given ``render_mode``, for instance
            ``lambda mode: family.environment(task, mode)``. It is closed afterwards. If it cannot be made for
            ``rgb_array``, it is made with None.
        stages: The agents, in the order of their panels.
        path: Where to write; ``.mp4`` or ``.gif``.
        view: ``body``: what the environment renders. ``plane``: the path in the plane, which needs no renderer.
        seed: Seed of every stage's reset.
        heading: A line above all panels.
        boundary_radius: Radius of the circle in drawings of the plane, in metres.
        task: The task's parameters (p,), to mark it where it is a goal; (x, y) in metres then.
        console: Where progress is shown; by default nowhere.

    Raises:
        ConfigurationError: The suffix or the view is not possible, or there is no stage.
        TespError: Nothing can be rendered and there are no positions either, or the film cannot be written. What the
            environment raises when it is made or stepped without being rendered passes through.
    """
    path = check_suffix(path)
    if view not in ("body", "plane"):
        raise ConfigurationError(f"view is {view!r}; it must be 'body' or 'plane'.")
    if not stages:
        raise ConfigurationError("There is nothing to film; give one stage or more.")
    environment, failure = _made(make_environment, view)
    try:
        speed = float(environment.metadata.get("render_fps") or FRAMES_PER_SECOND)
        marked = None if task is None else np.array(task, float)
        player = Player(environment, view, seed, panel_width(len(stages)), marked)
        if failure is not None:
            player.draw_plane_after(failure)
        with ProgressBar(console, "filming", len(stages), "episodes") as bar:
            episodes = []
            for stage in stages:
                episodes.append(player.play(stage))
                bar.advance()
    finally:
        environment.close()
    page = Page(episodes, heading, boundary_radius, extent(episodes, HALF_WIDTH, MOST_HALF_WIDTH))
    count = page.length + 1 + round(HOLD * speed)
    write_film(path, _frames(page, count, console), speed)
    return Film(path, player.view, player.hint, _returns(episodes), count)


def _made(
    make_environment: Callable[[str | None], gymnasium.Env], view: View
) -> tuple[gymnasium.Env, Exception | None]:
    """Make the environment, and say why it could not be made to be rendered."""
    if view == "plane":
        return make_environment(None), None
    try:
        return make_environment("rgb_array"), None
    except Exception as error:  # some make their renderer at once, others take no render mode
        failure = error
    # If rendering was not to blame, this fails for the same reason again.
    return make_environment(None), failure


def _frames(page: Page, count: int, console: Console | None) -> Iterator[np.ndarray]:
    # In a pipe the lines of the episodes, which take longer, are enough.
    shown = console if console is not None and console.is_interactive else None
    with ProgressBar(shown, "writing", count, "frames") as bar:
        for step in range(count):
            yield page.frame(step)
            bar.advance()


def _returns(episodes: list[Episode]) -> tuple[float, ...]:
    return tuple(episode.returns[-1] for episode in episodes)
