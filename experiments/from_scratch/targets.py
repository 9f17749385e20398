"""What a trained learner reaches on a task after its rounds of adaptation: what the others are to reach."""

import hashlib
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jobs import Goal
from single_task import return_of

import tesp
from tesp.building import build_family
from tesp.tasks.family import Family

#: Adaptations to one task, which differ in the seed of their sampling; a target is their mean.
ADAPTATIONS = 10


class Adapting:
    """A trained learner with its family, as the library adapts and judges it.

    Attributes:
        family: Its family, with the options and the horizon of its training.
        digest: What tells its parameters from others.
    """

    def __init__(self, learner: str | Path):
        """Load a learner: the name of one that comes with the package, its file, or the folder of a run.

        Raises:
            TespError: There is none.
        """
        # Of a run the last learner, like those that come with the package.
        self._learner = tesp.load(learner, "latest")
        self.family: Family = build_family(self._learner.config)
        leaves = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(self._learner.parameters)]
        self.digest = hashlib.sha256(b"".join(leaves)).hexdigest()[:16]

    def task(self, goal: Goal) -> np.ndarray:
        """Return a task's parameters."""
        seed = self._learner.config.seed if goal.tasks_seed is None else goal.tasks_seed
        return self.family.sample_task_sets(seed)[goal.task_set].tasks[goal.index]

    def target(self, goal: Goal) -> dict[str, Any]:
        """Return the record of what the learner does on a task: with the N of its training, a half and a quarter of it.

        ``rounds`` is the mean return of the sampled episodes after k = 0…K fast-updates, ``deterministic`` the return
        of the mode of the last policy, and ``steps`` the environment steps of all rounds before the one after k = 0…K
        fast-updates, the warm-up included. All are lists over adaptations, and ``fewer`` has the same with fewer
        episodes, by their number.
        """
        task, most = self.task(goal), self._learner.config.sampling.episodes_per_round
        fewer = {str(count): self._adaptations(task, count) for count in (most // 2, most // 4)}
        whole = {"kind": "target", "learner": self.digest, "task": task.round(4).tolist(), "episodes": most}
        return {**whole, **self._adaptations(task, most), "fewer": fewer}

    def _adaptations(self, task: np.ndarray, episodes: int) -> dict[str, list[Any]]:
        environment, simulation = self.family.environment(task), self.family.simulate(episodes, threads=1)
        columns: dict[str, list[Any]] = {"rounds": [], "deterministic": [], "steps": [], "cpu_seconds": []}
        for seed in range(ADAPTATIONS):
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tesp.AdaptationWarning)
                agent = self._learner.adapt_to_task(simulation, task, episodes=episodes, seed=seed)
            columns["cpu_seconds"].append(round(time.process_time() - began, 3))
            judged = [past.outcomes.of_judged().average_return.mean() for past in agent.history]
            used = np.cumsum([past.environment_steps for past in agent.history])
            columns["rounds"].append([round(float(x), 3) for x in judged[1:]])
            columns["steps"].append(used[:-1].tolist())
            reached = return_of(lambda seen, agent=agent: agent.predict(seen, deterministic=True)[0], environment)
            columns["deterministic"].append(round(reached, 3))
        return columns


def goals_of(target: dict[str, Any]) -> dict[str, float]:
    """Return what is to be reached: the mean return of the mode of the policy, and of its sampled episodes."""
    return {
        "deterministic": float(np.mean(target["deterministic"])),
        "sampled": float(np.mean([rounds[-1] for rounds in target["rounds"]])),
    }
