"""Pictures of engine simulations, with the goal and the training area's boundary drawn into the scene."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import copy
import itertools
import math

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from tesp.errors import TespError

#: Size of pictures in pixels; a model's own offscreen buffer may be smaller.
WIDTH, HEIGHT = 640, 480

GOAL_COLOUR = np.array([0.86, 0.20, 0.22, 1.0], np.float32)
BOUNDARY_COLOUR = np.array([0.45, 0.50, 0.58, 1.0], np.float32)

#: Pieces that the circle is drawn with, and half their thickness in metres.
SEGMENTS = 64
LINE = 0.008


def make_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """Return a renderer of pictures of a model; sizes in pixels.

    Raises:
        TespError: There is no OpenGL to render with; it says what to install.
    """
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as error:  # each OpenGL back end fails in a way of its own
        raise TespError(
            f"No OpenGL context for rendering could be made ({type(error).__name__}: {error}). On a "
            "machine without a screen set MUJOCO_GL=egl (install libegl1) or MUJOCO_GL=osmesa "
            "(install libosmesa6) before Python starts, or call tesp.use_offscreen_rendering() first of all."
        ) from error


class SceneRenderer:
    """Draws states of one model. What it adds to the scene is not in the model.

    Attributes:
        model: The copy of the model that is drawn; its fields may be changed before a picture.
    """

    def __init__(self, model: mujoco.MjModel):
        self.model = copy.copy(model)
        visual = self.model.vis.global_
        self._renderer = make_renderer(self.model, min(HEIGHT, visual.offheight), min(WIDTH, visual.offwidth))

    def image(
        self,
        data: mujoco.MjData,
        camera: int | str | mujoco.MjvCamera,
        goal: Float[np.ndarray, "2"] | None = None,
        boundary_radius: float | None = None,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Draw one state.

        Args:
            data: The state, with ``mj_forward`` done.
            camera: The index or name of a camera of the model, −1 for a free one, or a free camera of one's own.
            goal: The goal (x, y) in metres; None to draw none.
            boundary_radius: Radius of the circle about the origin, in metres; None to draw none.
        """
        self._renderer.update_scene(data, camera)
        if goal is not None:
            _add_goal(self._renderer.scene, goal)
        if boundary_radius is not None:
            _add_circle(self._renderer.scene, boundary_radius)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()


def _add_goal(scene: mujoco.MjvScene, goal: np.ndarray) -> None:
    sphere, pole = mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CAPSULE
    for shape, size, height in ((sphere, (0.07, 0, 0), 0.5), (pole, (0.012, 0.25, 0), 0.25)):
        geom = _next_geom(scene)
        centre = np.array([goal[0], goal[1], height])
        mujoco.mjv_initGeom(geom, shape, np.array(size, float), centre, np.eye(3).ravel(), GOAL_COLOUR)


def _add_circle(scene: mujoco.MjvScene, radius: float) -> None:
    angles = np.linspace(0.0, 2 * math.pi, SEGMENTS + 1)
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full_like(angles, LINE)], axis=1)
    capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
    for start, end in itertools.pairwise(points):
        geom = _next_geom(scene)
        mujoco.mjv_initGeom(geom, capsule, np.zeros(3), np.zeros(3), np.eye(3).ravel(), BOUNDARY_COLOUR)
        mujoco.mjv_connector(geom, capsule, LINE, start, end)


def _next_geom(scene: mujoco.MjvScene) -> mujoco.MjvGeom:
    scene.ngeom += 1
    return scene.geoms[scene.ngeom - 1]
