"""Stills of the bodies, like Figure 3 of the paper: one labelled picture for every family."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import os
from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from tesp.errors import ConfigurationError, TespError
from tesp.report.films.panels import PAPER, write_centred
from tesp.report.films.playing import View, reason, rendered
from tesp.report.films.writing import check_suffix
from tesp.storage.files import written_beside
from tesp.tasks.drawing import draw_plane
from tesp.tasks.family import Family
from tesp.tasks.goals.goals import Goals
from tesp.tasks.mujoco.engine import Body
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.rendering import SceneRenderer
from tesp.tasks.simulation import Simulation

#: Most stills in a row, and the size of one in pixels.
MOST_COLUMNS = 4
TILE = (480, 360)

_MARGIN, _LABEL = 12, 40


@dataclass(frozen=True)
class Pose:
    """How a family's body is shown.

    Attributes:
        joints: Generalised positions that differ from the start, by joint; radians, or metres for slides.
        goal: The goal (x, y) in metres.
        middle: What the camera looks at, (x, y, z) in metres.
        distance: From the camera to it, in metres.
        azimuth: Direction in which the camera looks, in degrees from the x-axis.
        elevation: How steeply it looks up, in degrees; negative for down.
    """

    joints: tuple[tuple[str, float], ...]
    goal: tuple[float, float]
    middle: tuple[float, float, float]
    distance: float
    azimuth: float = 90.0
    elevation: float = -35.0


_POSES = {
    "wheeled": Pose((("heading", 0.7),), (0.45, 0.42), (0.16, 0.12, 0.18), 1.35),
    "ant": Pose((("hip1", 0.25), ("hip2", -0.2), ("hip3", 0.25), ("hip4", -0.2)), (0.5, 0.45), (0.15, 0.12, 0.2), 1.55),
    "reacher2": Pose((("joint1", 0.35), ("joint2", 0.95)), (0.35, 1.0), (0.45, 0.42, 0.1), 2.9, elevation=-42.0),
    "reacher4": Pose(
        (("joint1", 0.1), ("joint2", 0.55), ("joint3", 0.75), ("joint4", 0.6)),
        (0.2, 1.0),
        (0.48, 0.42, 0.1),
        2.9,
        elevation=-42.0,
    ),
}


def draw_stills(families: Sequence[Family], path: str | os.PathLike[str], view: View = "body") -> str | None:
    """Draw one still for every family, with its name below, into one figure.

    The bodies of the paper are shown in a pose of their own, any other family as its environment renders its start.
    Where there is no OpenGL, the plane is drawn for families of goals.

    Args:
        families: The families, in the order of their stills.
        path: Where to; ``.png``.
        view: ``body``, or ``plane``, which needs no renderer and is for families of goals only.

    Returns:
        None, or one sentence: why a body could not be rendered and what to install.

    Raises:
        ConfigurationError: The suffix is another than ``.png``, there is no family, or the view is ``plane`` and a
            family's tasks are no goals in the plane.
        TespError: A family's body cannot be rendered, and its tasks are no goals in the plane.
    """
    path = check_suffix(path, (".png",))
    if not families:
        raise ConfigurationError("There is nothing to draw; give one family or more.")
    images, first_hint = [], None
    for family in families:
        # MuJoCo may abort the process at the second attempt to render.
        image, hint = _still(family, "plane" if first_hint else view)
        images.append(image)
        first_hint = first_hint or hint
    labels = [family.name for family in families]
    if len(labels) > 1:
        labels = [f"({chr(ord('a') + number)}) {label}" for number, label in enumerate(labels)]
    figure = _arrange(images, labels)
    with written_beside(path) as beside:
        figure.save(beside, "PNG", optimize=True)
    return first_hint


def _arrange(images: list[np.ndarray], labels: list[str]) -> Image.Image:
    columns = min(len(images), MOST_COLUMNS)
    width, height = TILE
    rows = -(-len(images) // columns)
    size = (columns * (width + _MARGIN) + _MARGIN, rows * (height + _LABEL) + _MARGIN)
    figure = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(figure)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        row, column = divmod(number, columns)
        x, y = _MARGIN + column * (width + _MARGIN), _MARGIN + row * (height + _LABEL)
        scale = min(width / image.shape[1], height / image.shape[0])
        fitted = Image.fromarray(image).resize(
            (round(scale * image.shape[1]), round(scale * image.shape[0])), Image.Resampling.LANCZOS
        )
        figure.paste(fitted, (x + (width - fitted.width) // 2, y + (height - fitted.height) // 2))
        write_centred(draw, label, (x + width / 2, y + height + _LABEL / 2 - _MARGIN / 2), width, size=20)
    return figure


def _still(family: Family, view: View) -> tuple[np.ndarray, str | None]:
    if view == "plane":
        if family.goals is not None:
            return _plane(family, family.goals), None
        raise ConfigurationError(
            f"The view 'plane' is not possible for a still of {family.name!r}: its tasks are no goals in the plane. "
            "Choose the view 'body' on a machine that can render it."
        )
    pose = _POSES.get(family.name)
    try:
        if isinstance(family, MJCFFamily) and family.goals is not None and pose is not None:
            return _posed(family.body, family.goals, pose), None
        return _start(family), None
    except Exception as error:  # every simulator's renderer fails in a way of its own
        if family.goals is None:
            raise TespError(f"The body of {family.name!r} could not be rendered. {reason(error)}") from error
        return _plane(family, family.goals), f"The plane is drawn instead of the body. {reason(error)}"


def _posed(body: Body, goals: Goals, pose: Pose) -> np.ndarray:
    model = body.model
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    for joint, value in pose.joints:
        data.joint(joint).qpos[0] = value
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance = pose.middle, pose.distance
    camera.azimuth, camera.elevation = pose.azimuth, pose.elevation
    renderer = SceneRenderer(model)
    try:
        return renderer.image(data, camera, np.array(pose.goal), goals.boundary_radius)
    finally:
        renderer.close()


def _start(family: Family) -> np.ndarray:
    environment = family.environment(None, "rgb_array")
    try:
        environment.reset(seed=0)
        return rendered(environment)
    finally:
        environment.close()


def _plane(family: Family, goals: Goals) -> np.ndarray:
    simulation = family.simulate(1, threads=1)
    assert isinstance(simulation, Simulation)
    goal = np.array([0.6, 0.5])
    simulation.reset(goal[None])
    return draw_plane(simulation.positions[0], goal, goals.boundary_radius)
