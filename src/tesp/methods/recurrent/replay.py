"""The trials that a belief is learned from: the newest ones, in arrays of a fixed size."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from tesp.errors import ConfigurationError
from tesp.methods.recurrent.elbo import Picked
from tesp.methods.recurrent.trials import Trial

#: Entries that an array may have; what fits the memory is checked elsewhere.
_MOST = 2**62


class Replay(NamedTuple):
    """The newest trials of a run, on the host.

    Attributes:
        trials: With leading axis ``place``; places that have no trial yet are all zero.
        filled: Places that have one.
        next: Where the next one goes; the oldest makes room.
    """

    trials: Trial
    filled: int
    next: int


def empty_replay(places: int, steps: int, observation: int, action: int) -> Replay:
    """Return a replay with room for so many trials of at most ``steps`` steps; it needs no memory before the first.

    Raises:
        ConfigurationError: It would have more entries than an array can.
    """
    if places * steps * max(observation, action) > _MOST:
        raise ConfigurationError(
            f"A replay of replay_trials = {places:,} trials of {steps:,} steps is more than any memory holds; give "
            "fewer, or a shorter horizon."
        )

    def room(*entries: int, kind: type = np.float32):
        return np.broadcast_to(kind(0), (places, steps, *entries))

    flag = room(kind=np.bool_)
    return Replay(Trial(room(observation), room(action), room(), (), flag, flag), 0, 0)


def added(replay: Replay, trials: Trial) -> Replay:
    """Return a replay with more trials; the given one stays what it is.

    Args:
        replay: The replay.
        trials: With leading axis ``task``; of more than there is room for, the last ones.
    """
    places = len(replay.trials.valid)
    new = trials._replace(behaviour=())
    count = min(len(trials.valid), places)
    where = (replay.next + np.arange(count)) % places

    def put(old, x):
        following = np.array(old)
        following[where] = np.asarray(x)[-count:]
        return following

    stored = jax.tree.map(put, replay.trials, new)
    return Replay(stored, min(replay.filled + count, places), int((replay.next + count) % places))


def drawn(replay: Replay, shape: tuple[int, int], generator: np.random.Generator) -> Trial:
    """Draw trials with replacement; leading axes ``shape``."""
    places = generator.integers(replay.filled, size=shape)
    return jax.tree.map(lambda x: x[places], replay.trials)


def picked(
    lengths: Int[np.ndarray, "*batch"], prefixes: int, steps: int, latent: int, generator: np.random.Generator
) -> Picked:
    """Draw, for every trial, prefixes and steps with replacement, and the noise of its latents."""

    def among(count: int) -> Int[np.ndarray, "*batch picked"]:
        share = generator.random((*lengths.shape, count))
        return np.minimum((share * lengths[..., None]).astype(np.int32), lengths[..., None] - 1).astype(np.int32)

    noise: Float[np.ndarray, "*batch prefix latent"] = generator.standard_normal((*lengths.shape, prefixes, latent))
    return Picked(among(prefixes), among(steps), noise.astype(np.float32))
