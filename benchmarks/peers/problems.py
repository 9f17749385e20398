"""The two problems as plain Gymnasium environments whose task can be set; what every peer is trained on.

Nothing but NumPy and Gymnasium, old or new, is needed here, for each peer has an interpreter of its own.
"""

import gymnasium
import numpy as np
from gymnasium import spaces

HORIZON = 100

#: Half the side of the square of goals, the length of a step along one axis, and what is arrived along each axis.
HALF_SIDE, STEP_LENGTH, ARRIVAL = 0.5, 0.1, 0.01

#: Target velocities of the half cheetah in m/s, the weight of ‖a‖² in its reward, and the seconds of a control step.
VELOCITIES, ACTION_COST = (0.0, 3.0), 0.05

#: Seed of the tasks that evaluations are on, and how many there are. No training draws with this seed.
EVALUATION_SEED, EVALUATION_TASKS = 20170711, 40


class Navigation(gymnasium.Env):
    """The 2-D navigation of MAML's published code, `maml_examples/point_env_randgoal.py` under `normalize`.

    x ← x + 0.1·clip(a, −1, 1) from x = 0;  reward −‖x − g‖₂ (not its square) after the step;  the episode ends by
    itself where |x₁ − g₁| < 0.01 and |x₂ − g₂| < 0.01: a square, no circle. Goals g are uniform in [−0.5, 0.5]².
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def set_task(self, task):
        """Set the goal (x, y) of the episodes from now on."""
        self._goal = np.array(task, np.float64)

    @staticmethod
    def draw_tasks(generator, count):
        """Draw goals, (count, 2)."""
        return generator.uniform(-HALF_SIDE, HALF_SIDE, (count, 2))

    def reset(self, *, seed=None, options=None):
        """Put the point at the origin."""
        super().reset(seed=seed)
        self._position = np.zeros(2)
        return self._position.copy(), {}

    def step(self, action):
        """Move the point."""
        self._position = self._position + STEP_LENGTH * np.clip(action, -1.0, 1.0)
        from_goal = self._position - self._goal
        reward = -float(np.hypot(from_goal[0], from_goal[1]))
        arrived = bool(abs(from_goal[0]) < ARRIVAL and abs(from_goal[1]) < ARRIVAL)
        return self._position.copy(), reward, arrived, False, {}


class HalfCheetahVelocity(gymnasium.Wrapper):
    """Gymnasium's HalfCheetah with the reward −|v − v*| − 0.05·‖a‖², started at rest; v* is uniform in 0 … 3 m/s."""

    def __init__(self):
        known = gymnasium.envs.registry
        version = "HalfCheetah-v5" if "HalfCheetah-v5" in known else "HalfCheetah-v4"
        super().__init__(gymnasium.make(version, reset_noise_scale=0.0, disable_env_checker=True))

    def set_task(self, task):
        """Set the target velocity (v*,) of the episodes from now on."""
        self._target = float(task[0])

    @staticmethod
    def draw_tasks(generator, count):
        """Draw target velocities, (count, 1)."""
        return generator.uniform(*VELOCITIES, (count, 1))

    def step(self, action):
        """Advance by one control step."""
        action = np.clip(action, -1.0, 1.0)
        observation, _, _, _, info = self.env.step(action)
        reward = -abs(info["x_velocity"] - self._target) - ACTION_COST * float(np.sum(np.square(action)))
        return observation, float(reward), False, False, {}


#: What makes an environment of each problem, with `set_task` and `draw_tasks`.
PROBLEMS = {"navigation": Navigation, "half-cheetah-velocity": HalfCheetahVelocity}


def evaluation_tasks(environment) -> np.ndarray:
    """Return the tasks that every peer is evaluated on, (task, parameter)."""
    return environment.draw_tasks(np.random.default_rng(EVALUATION_SEED), EVALUATION_TASKS)


class Trial(gymnasium.Wrapper):
    """Episodes of one task as one long episode, for a recurrent agent that is to be RL² (Duan et al. 2016).

    The observation is (s_t, a_(t−1), r_(t−1), d_t): d_t is 1 at the first step of an episode, where a_(t−1) and
    r_(t−1) are the last ones of the episode before. Ends with `terminated`, for nothing follows a trial; `info` then
    holds the returns of its episodes as ``episode_returns``.

    Args:
        environment: An environment with `set_task` and `draw_tasks`.
        episodes: Episodes of a trial.
        tasks: Tasks that the trials are of, in turn; None draws one for each.
        seed: Seed of the tasks that are drawn.
    """

    def __init__(self, environment, episodes=2, tasks=None, seed=0):
        super().__init__(environment)
        self._episodes, self._tasks, self._trials = episodes, tasks, 0
        self._generator = np.random.default_rng(seed)
        size = environment.observation_space.shape[0] + environment.action_space.shape[0] + 2
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Begin a trial of the next task with nothing remembered."""
        if self._tasks is None:
            task = self.env.draw_tasks(self._generator, 1)[0]
        else:
            task = self._tasks[self._trials % len(self._tasks)]
        self.env.set_task(task)
        self._trials, self._returns = self._trials + 1, []
        return self._begin(np.zeros(self.env.action_space.shape), 0.0, seed), {}

    def step(self, action):
        """Go on with the trial, into its next episode where one has ended."""
        action = np.clip(action, -1.0, 1.0)
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self._returns[-1] += reward
        self._steps += 1
        if not (terminated or truncated or self._steps == HORIZON):
            return self._seen(observation, action, reward, False), reward, False, False, {}
        if len(self._returns) < self._episodes:
            return self._begin(action, reward), reward, False, False, {}
        seen = self._seen(observation, action, reward, False)
        return seen, reward, True, False, {"episode_returns": list(self._returns)}

    def _begin(self, action, reward, seed=None):
        observation, _ = self.env.reset(seed=seed)
        self._returns.append(0.0)
        self._steps = 0
        return self._seen(observation, action, reward, True)

    @staticmethod
    def _seen(observation, action, reward, first):
        return np.concatenate([observation, action, [reward, first]]).astype(np.float32)
