"""A learner that samples compiled rounds adapts as one that samples step by step."""

import jax
import numpy as np
import pytest

from helpers.learners import make_learner
from helpers.trees import assert_close
from tesp.episodes.rollout import Learner
from tesp.methods.gradient.adapt_sv import AdaptSV
from tesp.methods.gradient.maml import MAML
from tesp.methods.gradient.tesp import TESP
from tesp.tasks.closed_form.arm import ArmEngine
from tesp.tasks.mujoco.simulation import MJCFSimulation
from tesp.tasks.reacher import reacher2

FAMILY = reacher2(engine="closed-form", horizon=12)
# Two goals beside the start, so that some episodes arrive.
GOALS = np.array([[1.62, 0.02], [0.5, 0.9], [1.69, -0.1], [-0.3, -0.3]])
EPISODES = 5


class StepByStep(MJCFSimulation):
    @property
    def compiled(self):
        return None


def simulate(kind):
    return kind(FAMILY.body, ArmEngine(FAMILY.body, len(GOALS) * EPISODES, 1))


@pytest.fixture(scope="module", params=["shared policy", "own policies", "extra episodes"])
def learner(request) -> Learner:
    if request.param == "own policies":
        return make_learner(MAML(8, 2, (4,), 0.05))
    if request.param == "extra episodes":
        return make_learner(AdaptSV(8, 2, 2, (4,), 0.05), extra_episodes=True)
    return make_learner(TESP(8, 2, 2, (4,), 3, 0.05))


def test_same_adaptation(learner):
    parameters = jax.jit(learner.method.algorithm.init)(jax.random.key(0))
    done = {
        kind: learner.adapt(parameters, simulate(kind), GOALS, FAMILY.horizon, jax.random.key(1), keep_beliefs=True)
        for kind in (MJCFSimulation, StepByStep)
    }
    compiled, stepped = done.values()
    assert set(compiled.stopwatch.seconds) == {"sampling", "fast_updates"}
    assert set(stepped.stopwatch.seconds) == {"physics", "acting", "recording", "fast_updates"}
    assert_close(compiled.progress.belief.adapted, stepped.progress.belief.adapted, rtol=1e-4, atol=1e-5)
    lengths = set()
    for one, two in zip(compiled.rounds, stepped.rounds, strict=True):
        assert one.fast_update == two.fast_update
        lengths |= set(np.ravel(one.outcomes.length).tolist())
        np.testing.assert_array_equal(one.outcomes.length, two.outcomes.length)
        np.testing.assert_allclose(one.outcomes.average_return, two.outcomes.average_return, rtol=1e-4)
        assert one.round is not None
        assert two.round is not None
        assert_close(one.round, two.round, rtol=1e-3, atol=1e-3)
    assert min(lengths) < FAMILY.horizon == max(lengths), "some episodes must end early and some must not"


def test_noise_in_the_dynamics_is_sampled_step_by_step():
    simulation = FAMILY.simulate(2)
    assert simulation.compiled is not None
    simulation.disturb(0.1, (0,))
    assert simulation.compiled is None
    simulation.disturb(0.0, (0,))
    assert simulation.compiled is not None
