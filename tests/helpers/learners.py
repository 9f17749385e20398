"""A learner small enough to compile in seconds, on the point simulation."""

import copy
import dataclasses
from functools import cache

import jax
import numpy as np

from helpers.point import PointSimulation
from tesp.adaptation.meta_update import optimiser
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.episodes.rollout import Learner
from tesp.methods.gradient.method import GradientMethod
from tesp.methods.gradient.tesp import TESP
from tesp.sampling import SamplingSettings

GOALS = np.array([[0.3, 0.1], [-0.2, 0.4], [0.1, -0.5], [-0.3, -0.3]])
HORIZON, STEP_SIZE = 6, 1e-3
ALGORITHM = TESP(2, 2, 2, (4,), 3, 0.01)


def make_learner(algorithm=ALGORITHM, fast=None, meta=None, extra_episodes=False, buffer_size=3, **sampling) -> Learner:
    """Four tasks, five episodes a round, three in the buffer, two fast-updates, four epochs; other values by name."""
    method = GradientMethod(
        algorithm,
        FastUpdateSettings(**{"fast_updates": 2, **(fast or {})}),
        MetaUpdateSettings(**{"epochs": 4, "judge_last_epoch": True, "kl_bound": 10.0, **(meta or {})}),
        buffer_size=buffer_size,
        extra_episodes=extra_episodes,
    )
    return Learner(method, SamplingSettings(**{"tasks_per_update": len(GOALS), "episodes_per_round": 5, **sampling}))


def with_options(learner, fast=None, meta=None) -> Learner:
    """A learner that shares all that is compiled for sampling and fast-updates, which these options leave alone."""
    other = copy.copy(learner)
    method = learner.method
    changed = dataclasses.replace(method.fast, **(fast or {})), dataclasses.replace(method.meta, **(meta or {}))
    other.method = dataclasses.replace(method, fast=changed[0], meta=changed[1])
    return other


@cache
def fresh():
    """Parameters and optimiser state."""
    parameters = jax.jit(ALGORITHM.init)(jax.random.key(0))
    return parameters, jax.jit(optimiser().init)(parameters)


def adapt(learner, parameters, seed=0, goals=GOALS, ids=None, simulation=None):
    body, key = simulation or PointSimulation(), jax.random.key(seed)
    return learner.adapt(parameters, body, goals, HORIZON, key, ids, keep_beliefs=True)


def meta_update(learner, parameters, state, adaptation, step_size=STEP_SIZE, progress=0.0):
    return learner.method.optimised(parameters, state, adaptation.trials, step_size, progress)


def first_meta_updates(learner, count):
    """Adaptation and result of the last of ``count`` meta-updates."""
    parameters, state = fresh()
    for update in range(count):
        adaptation = adapt(learner, parameters, seed=update)
        updated = meta_update(learner, parameters, state, adaptation)
        parameters, state = updated.parameters, updated.optimiser_state
    return adaptation, updated
