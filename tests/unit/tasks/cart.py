"""A family made of an MJCF text, whose tasks change the dynamics in many ways."""

import numpy as np

from tesp.tasks.mujoco.family import MJCFFamily

#: A cart that slides with friction loss and carries a pole. ``{…}`` are what tasks change.
CART = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.01" gravity="0 0 {gravity}"/>
  <worldbody>
    <camera name="front" pos="0 -4 0" xyaxes="1 0 0 0 0 1"/>
    <camera name="back" pos="0 4 0" xyaxes="-1 0 0 0 0 1"/>
    <geom name="floor" type="plane" size="3 3 1" pos="0 0 -0.1"/>
    <body name="cart">
      <joint name="slide" type="slide" axis="1 0 0" damping="{damping}"/>
      <joint name="lift" type="slide" axis="0 0 1"/>
      <geom name="box" type="box" size="0.1 0.1 0.1" mass="{cart}" friction="{friction} 0.005 0.0001" condim="3"/>
      <body name="pole">
        <joint name="hinge" axis="0 1 0"/>
        <geom name="pole" type="capsule" fromto="0 0 0 0.1 0 0.5" size="0.02" mass="{pole}" contype="0"
          conaffinity="0"/>
        <site name="tip" pos="0.1 0 0.5"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="slide" gear="{gear}" ctrlrange="-2 1"/>
  </actuator>
  <keyframe>
    <key name="upright" qpos="0 0 0"/>
    <key name="tilted" qpos="0.1 0 0.3"/>
  </keyframe>
</mujoco>
"""
VALUES = {"gravity": -9.81, "damping": 0.2, "friction": 0.5, "cart": 1.0, "pole": 0.5, "gear": 10.0}
MODEL = CART.format(**VALUES)
#: One task: cart's mass, pole's mass, gear, sliding friction, damping, gravity.
NAMES = ("cart", "pole", "gear", "friction", "damping", "gravity")


def rows_of(field, index):
    """Put task parameters into the entries of a model field."""

    def values(tasks, model):
        base = model.opt.gravity if field == "gravity" else getattr(model, field)
        out = np.tile(base, (len(tasks), *[1] * base.ndim))
        for place, parameter in index.items():
            out[(slice(None), *place)] = tasks[:, parameter]
        return out

    return values


DYNAMICS = {
    "body_mass": rows_of("body_mass", {(1,): 0, (2,): 1}),
    "actuator_gear": rows_of("actuator_gear", {(0, 0): 2}),
    "geom_friction": rows_of("geom_friction", {(1, 0): 3}),
    "dof_damping": rows_of("dof_damping", {(0,): 4}),
    "opt.gravity": rows_of("gravity", {(2,): 5}),
}


def draw(generator, count, task_set):
    top = 3.0 if task_set == "out_of_distribution" else 1.0
    factors = generator.uniform(0.5 * top, top, (count, len(NAMES)))
    return factors * np.array([VALUES[name] for name in NAMES])


def observe(state):
    return np.concatenate([state.qpos, state.qvel, state.derived["site_xpos"][:, 0]], axis=1)


def make(**values):
    given = {
        "name": "cart",
        "model": MODEL,
        "observe": observe,
        "reward": lambda state, action: -np.abs(state.qpos[:, 0]) - 0.01 * np.sum(action**2, axis=1),
        "sample_tasks": draw,
        "dynamics": DYNAMICS,
        "derived": ("site_xpos",),
        "substeps": 3,
        "tasks_per_set": 6,
    }
    return MJCFFamily(**{**given, **values})


def some_tasks(count):
    return draw(np.random.default_rng(3), count, "out_of_distribution")


def some_actions(steps, count):
    return np.random.default_rng(4).uniform(-1.5, 1.5, (steps, count, 1))


def rollout(family, tasks, threads=1, steps=25):
    simulation = family.simulate(len(tasks), threads)
    rows = [simulation.reset(tasks)]
    for action in some_actions(steps, len(tasks)):
        rows.append(simulation.step(np.arange(len(tasks)), action).observation)
    return np.array(rows)
