"""Small rounds for the compiled sampler; as a program, one round on however many devices there are.

Run as ``python -m helpers.compiled_rounds results.npz``.
"""

import sys
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from tesp.acting import Acted, Agent
from tesp.adaptation.task_axis import task_mesh
from tesp.distributions import Gaussian
from tesp.episodes.compiled import collect_compiled
from tesp.tasks.compiled_dynamics import CompiledDynamics
from tesp.tasks.reacher import reacher2, reacher4

TASKS, EPISODES, HORIZON = 4, 3, 12
FAMILIES = {2: reacher2(engine="closed-form"), 4: reacher4(engine="closed-form")}


class Linear(Agent):
    """A linear policy with a standard deviation that depends on what it observes; ``own`` is an offset."""

    shared: Any
    own: Any
    by_task: bool = eqx.field(static=True, default=False)

    def act(self, memory, seen, noise):
        weight, offset = self.own if self.by_task else (self.shared, self.own)
        mean = seen.observation @ weight + offset
        behaviour = Gaussian(mean, -0.5 + 0.1 * mean)
        return Acted(behaviour.sample(noise), behaviour, memory)


def mesh():
    return jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("task",))


@dataclass(frozen=True)
class SampledRound:
    links: int
    dynamics: CompiledDynamics
    own_policies: bool
    policy: Any
    embedding: np.ndarray
    tasks: np.ndarray
    noise: np.ndarray

    def simulate(self):
        return FAMILIES[self.links].simulate(TASKS * EPISODES)

    def collect(self, **options):
        return collect_compiled(self.dynamics, self.agents, self.tasks, self.noise, task_mesh(TASKS), **options)[:2]

    @property
    def agents(self):
        if self.own_policies:
            return Linear(None, (self.policy, self.embedding), by_task=True)
        return Linear(self.policy, self.embedding)


def make_round(links, own_policies=False, seed=0):
    """A round in which some episodes arrive: one goal is out of reach, the others are near the start."""
    generator, family = np.random.default_rng(seed), FAMILIES[links]
    shape = (family.observation_size, links)
    policy = generator.normal(0, 0.05, (TASKS, *shape) if own_policies else shape)
    start = family.simulate(1).positions[0]
    tasks = start + np.array([[-0.10, 0.05], [0.5, 0.5], [-0.02, 0.15], [-0.15, 0.1]])
    return SampledRound(
        links=links,
        dynamics=family.simulate(1).compiled,
        own_policies=own_policies,
        policy=policy.astype(np.float32),
        embedding=generator.normal(0, 0.3, (TASKS, links)).astype(np.float32),
        tasks=tasks,
        noise=generator.normal(size=(TASKS, EPISODES, HORIZON, links)).astype(np.float32),
    )


def leaves(result):
    """Episodes and outcomes as a flat dictionary of arrays."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(result)}


def assert_same(expected, found):
    found = leaves(found)
    for name, values in leaves(expected).items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


if __name__ == "__main__":
    np.savez(sys.argv[1], **leaves(make_round(2).collect()))
    sys.stdout.write(f"{task_mesh(TASKS).size}\n")
