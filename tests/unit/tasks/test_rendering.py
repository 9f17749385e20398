import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from tesp.errors import TespError
from tesp.tasks.mujoco import rendering
from tesp.tasks.reacher import reacher4
from tesp.tasks.wheeled import wheeled


def test_no_opengl_says_what_to_do(monkeypatch):
    def fail(*_):
        raise mujoco.FatalError("no OpenGL context")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    simulation = wheeled().simulate(1)
    simulation.reset(np.ones((1, 2)))
    with pytest.raises(TespError, match=r"MUJOCO_GL=egl \(install libegl1\) or MUJOCO_GL=osmesa"):
        simulation.render(0)


def test_physics_works_where_rendering_is_switched_off():
    program = """
import numpy as np
from tesp.errors import TespError
from tesp.tasks.registry import make_family
simulation = make_family("wheeled").simulate(1)
simulation.reset(np.ones((1, 2)))
simulation.step(np.arange(1), np.zeros((1, 2)))
try:
    simulation.render(0)
except TespError as error:
    print(error)
"""
    environment = {**os.environ, "MUJOCO_GL": "off", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert "MUJOCO_GL=egl" in result.stdout


def test_rendering_does_not_change_the_simulation():
    family = wheeled()
    states = []
    for draws in (False, True):
        simulation = family.simulate(1)
        simulation.reset(np.ones((1, 2)))
        for _ in range(3):
            simulation.step(np.arange(1), np.full((1, 2), 0.3))
            if draws:
                simulation.render(0)
        states.append(simulation.qpos.copy())
        simulation.close()
    np.testing.assert_array_equal(*states)


def test_a_circle_of_two_metres_fits_the_picture(monkeypatch):
    monkeypatch.setattr(rendering, "BOUNDARY_COLOUR", np.array([0, 1, 0, 1], np.float32))
    monkeypatch.setattr(rendering, "LINE", 0.03)
    simulation = reacher4(boundary_radius=2.0, outer_radius=2.5).simulate(1)
    simulation.reset(np.ones((1, 2)))
    picture = simulation.render(0).astype(int)
    simulation.close()
    green = np.argwhere(2 * picture[..., 1] - picture[..., 0] - picture[..., 2] > 100)
    assert len(green) > 500
    assert green.min() > 0
    assert (green.max(axis=0) < np.array(picture.shape[:2]) - 1).all()
    assert np.ptp(green[:, 1]) > 300
    assert np.ptp(green[:, 0]) > 200
