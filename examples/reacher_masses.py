"""A reacher whose links weigh something else in every task: `tesp train examples/reacher_masses.py:reacher_masses`.

An arm of two links hangs in a vertical plane. Its joints are held by soft servos: the heavier the links, the further
below the commanded angles they sag. A task is a goal for the fingertip and a factor for the mass of each link, neither
of which is observed. In D and D′ the factors lie between 0.5 and 1.5; in D″ both links are lighter than any of
training, or both are heavier.
"""

from pathlib import Path

import numpy as np

from tesp import MJCFFamily

#: Goals lie between these distances from the shoulder, in metres; the arm is 0.9 m long.
NEAREST, FURTHEST = 0.4, 0.8

#: The fingertip has arrived when it is nearer to the goal than this (m) and all joints are slower than this (rad/s).
ARRIVAL, STILL = 0.08, 2.0

#: Mass factors, from … to; those of D″ come from either of two ranges.
MASSES = (0.5, 1.5)
LIGHTER, HEAVIER = (0.25, 0.45), (1.6, 2.2)

#: What the preset `quick` has besides the small sizes of every family of this kind.
QUICK = {"learning_rate_schedule": "linear", "early_loss_weight": 0.3, "embedding_penalty": 0.02, "horizon": 50}


def fingertip(state):
    """Return the fingertip's x and z in the arm's plane, (n, 2) in metres."""
    return state.derived["site_xpos"][:, state.model.site("fingertip").id][:, [0, 2]]


def distance(state):
    """Return the fingertip's distance to the goal, (n,) in metres."""
    return np.linalg.norm(fingertip(state) - state.task[:, :2], axis=1)


def observe(state):
    """Return cosines and sines of the angles, angular velocities and the fingertip, but not the task."""
    return np.concatenate([np.cos(state.qpos), np.sin(state.qpos), state.qvel, fingertip(state)], axis=1)


def reward(state, action):
    """Return −distance − 0.001·‖action‖², (n,)."""
    return -distance(state) - 0.001 * np.sum(action**2, axis=1)


def arrived(state):
    """Tell where the fingertip rests at the goal, (n,)."""
    return (distance(state) < ARRIVAL) & (np.abs(state.qvel) < STILL).all(axis=1)


def link_masses(tasks, model):
    """Return the masses of all bodies, (n, bodies) in kg: the last two, the links, times the task's factors."""
    masses = np.tile(model.body_mass, (len(tasks), 1))
    masses[:, 1:] *= tasks[:, 2:]
    return masses


def goal_sites(tasks, model):
    """Return the places of all sites, (n, sites, 3) in metres, with the one that marks the goal where the goal is."""
    places = np.tile(model.site_pos, (len(tasks), 1, 1))
    places[:, model.site("goal").id, [0, 2]] = tasks[:, :2]
    return places


def sample_tasks(generator, count, task_set):
    """Draw goals (x, z) in a ring about the shoulder and two mass factors, (count, 4)."""
    radius = np.sqrt(generator.uniform(NEAREST**2, FURTHEST**2, count))
    angle = generator.uniform(-np.pi, np.pi, count)
    goals = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    factors = generator.uniform(*MASSES, (count, 2))
    if task_set == "out_of_distribution":
        heavy = generator.uniform(size=(count, 1)) < 0.5
        factors = np.where(heavy, generator.uniform(*HEAVIER, (count, 2)), generator.uniform(*LIGHTER, (count, 2)))
    return np.concatenate([goals, factors], axis=1)


def reacher_masses(horizon: int = 100, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family."""
    return MJCFFamily(
        name="reacher-masses",
        model=Path(__file__).with_suffix(".xml"),
        observe=observe,
        reward=reward,
        terminated=arrived,
        sample_tasks=sample_tasks,
        dynamics={"body_mass": link_masses, "site_pos": goal_sites},
        derived=("site_xpos",),
        success=arrived,
        task_reward=lambda state, _: -distance(state),
        distance=distance,
        position=fingertip,
        preset_values={"quick": QUICK},
        horizon=horizon,
        tasks_per_set=tasks_per_set,
    )
