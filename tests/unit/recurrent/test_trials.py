"""Whole trials: how episodes are joined, what the memory reads of them, and how it is scaled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import random_episodes, with_garbage
from helpers.trees import assert_identical
from tesp.methods.recurrent.trials import Moments, Scaling, Trial, fresh_scaling, inputs_of, joined, measured

STEPS, LENGTHS = 4, (2, 4, 1)


def rounds(seed=0):
    """Three episodes of a task, one after the other."""
    return [random_episodes(seed + n, 1, steps=STEPS, lengths=length) for n, length in enumerate(LENGTHS)]


def test_a_trial_has_the_steps_of_its_episodes_one_after_the_other():
    episodes = rounds()
    trial = joined(episodes)
    for name in ("observation", "action", "reward"):
        parts = [getattr(x, name)[0, :length] for x, length in zip(episodes, LENGTHS, strict=True)]
        found = getattr(trial, name)
        np.testing.assert_array_equal(found[: sum(LENGTHS)], np.concatenate(parts))
        assert not np.any(found[sum(LENGTHS) :])
    np.testing.assert_array_equal(trial.valid, np.arange(3 * STEPS) < sum(LENGTHS))
    np.testing.assert_array_equal(np.flatnonzero(trial.start), [0, 2, 6])
    means = [x.behaviour.mean[0, :length] for x, length in zip(episodes, LENGTHS, strict=True)]
    np.testing.assert_array_equal(trial.behaviour.mean[: sum(LENGTHS)], np.concatenate(means))


@pytest.mark.parametrize("garbage", [np.nan, 1e30])
def test_what_stands_in_the_padding_of_episodes_reaches_no_trial(garbage):
    assert_identical(joined(with_garbage(rounds(), garbage)), joined(rounds()))


def test_the_memory_is_told_what_came_before_across_episodes():
    trial = joined(rounds())
    scaling = fresh_scaling(3)._replace(reward=Moments(jnp.array(0.5), jnp.array(4.0)))
    read = inputs_of(scaling, trial)
    seen, action, reward, start = read[:, :3], read[:, 3:5], read[:, 5], read[:, 6]
    np.testing.assert_allclose(seen, trial.observation, rtol=1e-6)
    np.testing.assert_array_equal(action[1:], np.clip(trial.action[:-1], -1.0, 1.0))
    np.testing.assert_allclose(reward[1:], (trial.reward[:-1] - 0.5) / 2.0, rtol=1e-6)
    assert not np.any(action[0])
    assert reward[0] == 0.0, "before the first step no reward is better or worse than others"
    np.testing.assert_array_equal(start, trial.start)


class TestScaling:
    def trials(self, seed, shift):
        rng = np.random.default_rng(seed)
        valid = np.arange(6) < rng.integers(1, 7, (5, 1))
        observation, reward = shift + rng.normal(size=(5, 6, 3)), 3.0 * rng.normal(size=(5, 6)) - shift
        nothing = np.zeros((5, 6))
        return Trial(*map(jnp.asarray, (observation, nothing, reward, nothing, nothing > 0, valid))), jnp.asarray(
            2.0 * reward
        )

    def test_is_that_of_all_that_was_seen(self, float64):
        """Means over meta-updates; each counts the same, however many steps it has."""
        scaling, means, squares = fresh_scaling(3), [], []
        for update in range(4):
            trial, returns = self.trials(update, 10.0 * update)
            scaling = measured(scaling, trial, returns)
            seen = trial.observation[trial.valid]
            means.append(seen.mean(axis=0))
            squares.append((seen**2).mean(axis=0))
        mean, square = np.mean(means, axis=0), np.mean(squares, axis=0)
        np.testing.assert_allclose(scaling.observation.mean, mean)
        np.testing.assert_allclose(scaling.observation.variance, square - mean**2)
        np.testing.assert_allclose(scaling.returns.mean, 2.0 * scaling.reward.mean)
        np.testing.assert_allclose(scaling.returns.variance, 4.0 * scaling.reward.variance)
        assert scaling.updates == 4.0

    def test_forgets_what_is_long_past(self):
        trial, returns = self.trials(0, 5.0)
        scaling = fresh_scaling(3)._replace(updates=jnp.array(1e6))
        seen = np.asarray(trial.observation[trial.valid])
        np.testing.assert_allclose(measured(scaling, trial, returns).observation.mean, seen.mean(axis=0) / 100, 1e-5)

    def test_is_bounded_and_never_divides_by_zero(self):
        moments = Moments(jnp.zeros(2), jnp.array([0.0, 1.0]))
        np.testing.assert_array_equal(moments.scaled(jnp.array([5.0, -30.0])), [10.0, -10.0])
        assert moments.scaled(jnp.zeros(2)).tolist() == [0.0, 0.0]

    def test_a_fresh_one_leaves_all_as_it_is(self):
        x = jnp.array([1.0, -2.0, 3.0])
        np.testing.assert_allclose(fresh_scaling(3).observation.scaled(x), x, rtol=1e-6)
        assert isinstance(jax.tree.map(jnp.shape, fresh_scaling(3)), Scaling)
