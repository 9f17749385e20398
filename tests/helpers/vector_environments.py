"""Vector environments that are not Gymnasium's own: they begin episodes when they please."""

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv


class AutomaticResets(VectorEnv):
    """Hides one of Gymnasium's vector environments, so that only its automatic resets are left."""

    def __init__(self, makers, mode):
        self._inside = SyncVectorEnv(makers, autoreset_mode=AutoresetMode(mode))
        self.metadata = {"autoreset_mode": AutoresetMode(mode)}
        self.num_envs = self._inside.num_envs
        for name in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
            setattr(self, name, getattr(self._inside, name))
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        assert "reset_mask" not in (options or {})
        self.resets += 1
        return self._inside.reset(seed=seed, options=options)

    def step(self, actions):
        assert self.action_space.contains(np.asarray(actions))
        return self._inside.step(actions)
