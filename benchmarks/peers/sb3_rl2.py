"""RL² with sb3-contrib: RecurrentPPO on trials of two episodes, whose observation holds what happened before."""

import numpy as np
import torch
from problems import EVALUATION_TASKS, HORIZON, PROBLEMS, Trial, evaluation_tasks
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from timing import Watch, arguments

TRIALS, EPISODES = 40, 2


def last_returns(model, normalised, make):
    """Return the mean return of the last episode of one trial of each evaluation task, with actions drawn."""
    tasks = evaluation_tasks(make())
    trials = DummyVecEnv([lambda task=task: Trial(make(), EPISODES, [task]) for task in tasks])
    observation, state, returns = trials.reset(), None, [None] * EVALUATION_TASKS
    starts = np.ones(EVALUATION_TASKS, bool)
    while None in returns:
        seen = normalised.normalize_obs(observation)
        action, state = model.predict(seen, state, starts, deterministic=False)
        observation, _, starts, infos = trials.step(action)
        for index, info in enumerate(infos):
            if returns[index] is None and "episode_returns" in info:
                returns[index] = info["episode_returns"][-1]
    return float(np.mean(returns))


class Measure(BaseCallback):
    """Between two rollouts everything that was sampled has been learned from: tells the watch, and evaluates."""

    def __init__(self, watch, make):
        super().__init__()
        self._watch, self._make = watch, make

    def _on_rollout_start(self):
        if not self.num_timesteps:
            return
        self._watch.updated(self.num_timesteps)
        if self._watch.due:
            with self._watch.evaluation(self.num_timesteps) as found:
                found.append(last_returns(self.model, self.training_env, self._make))

    def _on_step(self):
        return not self._watch.over


def main():
    """Train until the watch says that it is enough."""
    given = arguments(__doc__)
    torch.set_num_threads(1)
    make, watch = PROBLEMS[given.problem], Watch(given)
    trials = [lambda k=k: Trial(make(), EPISODES, seed=[given.seed, k]) for k in range(TRIALS)]
    model = RecurrentPPO(
        "MlpLstmPolicy",
        VecNormalize(DummyVecEnv(trials), gamma=0.97),
        n_steps=EPISODES * HORIZON,
        batch_size=TRIALS * EPISODES * HORIZON // 2,
        n_epochs=8,
        learning_rate=1e-3,
        gamma=0.97,
        gae_lambda=0.9,
        clip_range=0.2,
        ent_coef=0.001,
        max_grad_norm=1.0,
        policy_kwargs={"lstm_hidden_size": 64, "net_arch": [64], "shared_lstm": True, "enable_critic_lstm": False},
        seed=given.seed,
        device="cpu",
    )
    model.learn(10**9, callback=Measure(watch, make))


if __name__ == "__main__":
    main()
