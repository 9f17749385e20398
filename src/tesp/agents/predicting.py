"""Acting outside of training: from observations in the environment's units to actions in them."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from tesp.acting import Acted, Agent, Seen
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.interface import Interface
from tesp.numerics import with_usual_numerics
from tesp.tasks.gymnasium.spaces import to_bounds
from tesp.types import PyTree


class Remembered(NamedTuple):
    """What `Predictor.predict` returns as the state of an agent with memory, to be passed to the next call.

    Attributes:
        memory: What the agent remembers, with leading axis ``row``.
        action: Its action as sampled, in [−1, 1] unless clipped, (row, action).
    """

    memory: PyTree
    action: Float[np.ndarray, "row action"]


def bounds_in_single_precision(
    interface: Interface,
) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
    """Return the least and the greatest action, rounded towards the inside: the bounds may be of double precision."""
    low, high = (np.ravel(x).astype(np.float64) for x in (interface.action_low, interface.action_high))
    up, down = low.astype(np.float32), high.astype(np.float32)
    return (
        np.where(up < low, np.nextafter(up, np.float32(np.inf)), up),
        np.where(down > high, np.nextafter(down, np.float32(-np.inf)), down),
    )


class Predictor:
    """Acts like a model of Stable-Baselines3.

    Attributes:
        goes_on: For agents with memory: whether an episode begins with what the one before it has left, which its
            ``state`` and ``reward`` tell, so that the agent goes on adapting. Otherwise every episode begins with what
            was remembered at the end of the adaptation; within an episode it remembers in either case.
    """

    def __init__(self, agent: Agent, interface: Interface, seed: int):
        self.agent, self._interface = agent, interface
        self.goes_on = False
        self._low, self._high = (np.ravel(x).astype(np.float64) for x in (interface.action_low, interface.action_high))
        self._bounds = bounds_in_single_precision(interface)
        self._action_shape = np.shape(interface.action_low)
        self._generator = np.random.default_rng(seed)

    @with_usual_numerics
    def predict(
        self,
        observation: np.ndarray,
        state: tuple | None = None,
        episode_start: Bool[np.ndarray, " row"] | None = None,
        deterministic: bool = False,
        reward: Float[np.ndarray, " row"] | float | None = None,
    ) -> tuple[np.ndarray, tuple | None]:
        """Return the action for an observation, and the state, as Stable-Baselines3's models do.

        Args:
            observation: One observation, or several along a first axis.
            state: For agents with memory what the call before returned, or None where all episodes begin; the others
                pass it through.
            episode_start: Which of several episodes begin now; by default none, or all where ``state`` is None.
            deterministic: The mode of the agent's distribution instead of a sample from it.
            reward: For agents with memory the reward of the step before; not asked for where all episodes begin, unless
                the agent ``goes_on`` and a ``state`` is given: then it is the last one of the episode before.

        Returns:
            The action in the environment's units, within its bounds, with the first axis of the observation; and
            the state.

        Raises:
            ConfigurationError: The observation has another shape than in training, or an agent with memory is not told
                the reward.
            NonFiniteError: The observation is NaN or infinite.
        """
        shape = self._interface.observation_shape
        given = np.asarray(observation, np.float32)
        many = given.ndim == len(shape) + 1
        if given.shape[many:] != shape:
            raise ConfigurationError(
                f"The observation has the shape {given.shape}; it must be {shape}, or several along a first axis."
            )
        if not np.isfinite(given).all():
            raise NonFiniteError("observation")
        rows = given.reshape(-1, self._interface.observation_size)
        noise = np.zeros((len(rows), len(self._low)), np.float32)
        if not deterministic:
            noise = self._generator.standard_normal(noise.shape).astype(np.float32)
        memory, seen = (), Seen(rows)
        if self.agent.remembers:
            memory, seen = self._remembered(rows, state, episode_start, reward)
        acted = jax.tree.map(np.asarray, _act(self.agent, memory, seen, noise))
        if deterministic and not hasattr(acted.behaviour, "mode"):
            raise ConfigurationError(
                f"deterministic = True is not possible: a {type(acted.behaviour).__name__}, which the agent acts by, "
                "has no mode. Leave it out."
            )
        action = np.asarray(acted.behaviour.mode() if deterministic else acted.action, np.float64)
        bounded = to_bounds(np.clip(action, -1.0, 1.0), self._low, self._high)
        following = Remembered(acted.memory, action.astype(np.float32)) if self.agent.remembers else state
        bounded = np.clip(bounded.astype(np.float32), *self._bounds)
        return bounded.reshape(given.shape[: int(many)] + self._action_shape), following

    def _remembered(self, rows, state, episode_start, reward) -> tuple[PyTree, Seen]:
        """Return what the agent remembers and is told in every row."""
        count = len(rows)
        if episode_start is None:
            begins = np.full(count, state is None)
        else:
            begins = np.array(np.broadcast_to(episode_start, count), bool) | (state is None)
        before = None if state is None else Remembered(*state)
        if reward is None and (not begins.all() or (self.goes_on and before is not None)):
            raise ConfigurationError(
                "reward is None, but the agent has memory, which the reward of the step before belongs to; give it."
            )
        memory = action = None
        if begins.any():
            memory = self._begun(count, before if self.goes_on else None, reward)
            action = np.zeros((count, len(self._low)), np.float32)
        if before is not None:

            def kept(fresh, old):
                return np.where(begins.reshape(-1, *(1,) * (np.ndim(old) - 1)), fresh, old)

            memory = before.memory if memory is None else jax.tree.map(kept, memory, before.memory)
            action = before.action if action is None else kept(action, before.action)
        told = np.where(begins, 0.0, 0.0 if reward is None else reward).astype(np.float32)
        return memory, Seen(rows, action, told, begins)

    def _begun(self, count: int, before: Remembered | None, reward) -> PyTree:
        """Return what episodes begin with: what was left of the ones before, if they are to go on."""
        if before is None:
            keys = jax.random.split(jax.random.key(int(self._generator.integers(2**32))), count)
            return jax.tree.map(np.asarray, _start(self.agent, keys))
        rewards = np.broadcast_to(np.asarray(reward, np.float32), count)
        return jax.tree.map(np.asarray, _resumed(self.agent, before.memory, before.action, rewards))


@jax.jit
def _act(agent: Agent, memory: PyTree, seen: Seen, noise: Float[Array, "row action"]) -> Acted:
    return jax.vmap(agent.act)(memory, seen, noise)


@jax.jit
def _start(agent: Agent, keys: Key[Array, " row"]) -> PyTree:
    return jax.vmap(agent.start)(keys)


@jax.jit
def _resumed(agent: Agent, memory: PyTree, action: Float[Array, "row action"], reward: Float[Array, " row"]) -> PyTree:
    return jax.vmap(agent.resumed)(memory, action, reward)
