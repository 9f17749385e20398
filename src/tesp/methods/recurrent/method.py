"""What methods with a recurrent memory have in common: the belief is what is remembered of the trial so far."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from tesp.errors import NonFiniteError
from tesp.interface import Interface
from tesp.methods.base import Method, Metrics, Plan
from tesp.methods.recurrent.agent import RecurrentAgent
from tesp.methods.recurrent.ppo import Updated
from tesp.methods.recurrent.settings import PPOSettings
from tesp.methods.recurrent.trials import Carried
from tesp.types import Episodes


class RecurrentMethod(Method):
    """A round is one episode; the agent of the next begins with what is remembered of all before.

    Nothing is computed between episodes: what a trial brought stands in the memory, and the belief is what the agent
    carries on. What remains to be said is which networks there are, and how they learn.
    """

    interface: Interface = eqx.field(static=True)
    trial_episodes: int = eqx.field(static=True)

    @property
    def action_size(self) -> int:
        """Entries of an action."""
        return self.interface.action_size

    @property
    def trial_steps(self) -> int:
        """Most steps of a trial."""
        return self.trial_episodes * self.interface.horizon

    @property
    def plan(self) -> Plan:
        """A round for every episode of a trial."""
        return Plan(0, self.trial_episodes - 1, episodes=1)

    def parameters(self, state, evaluated=False):
        """Return networks and scaling."""
        return state.parameters

    def prior(self, parameters, task):
        """Return an empty memory."""
        units = parameters.network.memory.recurrent_weight.shape[0]
        return Carried(jnp.zeros(units), jnp.zeros(self.action_size), parameters.scaling.reward.mean)

    def agent(self, parameters, belief):
        """Return what acts with the memory."""
        return RecurrentAgent(parameters, belief)

    def infer(self, parameters, belief, experience):
        """Return what is remembered after the episode, with its last action and reward, which it has not seen yet."""
        memory, episodes = experience.memory, experience.episodes
        last = jnp.sum(episodes.valid[0]) - 1
        own = Carried(*(x[0] for x in memory))
        return self.agent(parameters, belief).resumed(own, episodes.action[0, last], episodes.reward[0, last])

    def keep(self, belief, experience) -> Episodes:
        """Return the episode: what was remembered before it follows from those before."""
        return experience.episodes


def step_size(settings: PPOSettings, done: int, total: int) -> float:
    """Return Adam's step size at a meta-update: η₀ · (1 + (f − 1) · done / total) with f = `learning_rate_final`."""
    return settings.learning_rate * (1.0 + (settings.learning_rate_final - 1.0) * done / max(total, 1))


def require_finite(updated: Updated, finite: np.ndarray) -> None:
    """Refuse a meta-update in which a number was not finite.

    Args:
        updated: What the epochs gave.
        finite: Of every task, whether what is learned of it is finite.

    Raises:
        NonFiniteError: There is one; names the task if it is one task's.
    """
    if not finite.all():
        raise NonFiniteError("advantage", int(np.argmin(finite)), "before the first epoch")
    for name, value in (*updated.terms._asdict().items(), ("gradient norm", updated.gradient_norm)):
        if not np.isfinite(np.asarray(value)):
            raise NonFiniteError(name.replace("_", " "), None, f"in epoch {int(updated.epochs)}")


def metrics_of(updated: Updated, used: float) -> Metrics:
    """Return the columns of a meta-update's record that PPO has."""
    terms = {name: float(np.asarray(value)) for name, value in updated.terms._asdict().items()}
    return {
        "policy_loss": terms["policy_loss"],
        "value_loss": terms["value_loss"],
        "entropy": terms["entropy"],
        "mean_kl": terms["kl"],
        "clipped_share": terms["clipped"],
        "epochs_run": int(updated.epochs),
        "gradient_norm": float(np.asarray(updated.gradient_norm)),
        "step_size": used,
    }
