"""One training by Stable-Baselines3 on one task, until it is as good as the trained learner or its budget is spent."""

import time
from typing import Any

import numpy as np
import torch
from jobs import EVERY, IN_A_ROW, SETTINGS, Job, Setting
from single_task import SingleTask, return_of
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from tesp.tasks.family import Family

CLASSES = {"ppo": PPO, "sac": SAC}


class Judge(BaseCallback):
    """Evaluates the deterministic policy now and then, and ends the training once it has reached what it is to reach.

    Args:
        family: The family.
        task: The task.
        least: The return that is to be reached.
        every: Environment steps between evaluations, at least.
    """

    def __init__(self, family: Family, task: np.ndarray, least: float, every: int = EVERY):
        super().__init__()
        self._environment, self._least, self._every = family.environment(task), least, every
        self.steps: list[int] = []
        self.returns: list[float] = []
        self.cpu_seconds: list[float] = []
        self.seconds: list[float] = []

    @property
    def reached(self) -> bool:
        """Whether the last evaluations are good enough."""
        last = self.returns[-IN_A_ROW:]
        return len(last) == IN_A_ROW and min(last) >= self._least

    def _on_training_start(self) -> None:
        self._last, self._cpu, self._wall = 0, -time.process_time(), -time.perf_counter()

    def _on_rollout_start(self) -> None:
        # Here what was sampled before has been learned from.
        if self.num_timesteps - self._last >= self._every:
            self._evaluate()

    def _on_step(self) -> bool:
        return not self.reached

    def _on_training_end(self) -> None:
        if not self.reached and self.num_timesteps > self._last:
            self._evaluate()

    def _evaluate(self) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        self._last = self.num_timesteps
        scale = self.model.get_vec_normalize_env()

        def act(seen: np.ndarray) -> np.ndarray:
            seen = seen.astype(np.float32)
            return self.model.predict(seen if scale is None else scale.normalize_obs(seen), deterministic=True)[0]

        self.steps.append(self.num_timesteps)
        self.returns.append(round(return_of(act, self._environment), 3))
        self.cpu_seconds.append(round(self._cpu + cpu, 1))
        self.seconds.append(round(self._wall + wall, 1))
        # Evaluations are not part of the training.
        self._cpu -= time.process_time() - cpu
        self._wall -= time.perf_counter() - wall


def made(algorithm: str, setting: Setting, family: Family, task: np.ndarray, seed: int) -> BaseAlgorithm:
    """Return an untrained model with its environment."""
    environment = SingleTask(family, task, setting.copies)
    gamma = setting.options.get("gamma", 0.99)
    if setting.normalise:
        environment = VecNormalize(environment, norm_reward=algorithm == "ppo", gamma=gamma)
    # The fused form of Adam computes the same in less time.
    policy = {"net_arch": list(setting.units), "optimizer_kwargs": {"fused": True}}
    options = {"gamma": gamma, **setting.options}
    return CLASSES[algorithm]("MlpPolicy", environment, policy_kwargs=policy, seed=seed, device="cpu", **options)


def train(job: Job, family: Family, task: np.ndarray, least: float) -> dict[str, Any]:
    """Train until a return is reached twice in a row or the budget is spent; return the record of its evaluations.

    Args:
        job: What is trained.
        family: The family, with the horizon of the learner that it is compared to.
        task: The task.
        least: The return.
    """
    torch.set_num_threads(1)
    model = made(job.algorithm, SETTINGS[job.algorithm][job.setting], family, task, job.seed)
    judge = Judge(family, task, least)
    model.learn(job.budget, callback=judge)
    columns = ("steps", "returns", "cpu_seconds", "seconds")
    return {"reached": judge.reached, **{name: getattr(judge, name) for name in columns}}
