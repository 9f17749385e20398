"""Which trainings there are, as data: goals, algorithms, their settings and budgets; and where their records lie."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError
from tesp.storage.files import write_whole

FAMILIES = ("reacher2", "wheeled")
SETS = ("in_distribution", "out_of_distribution")
ALGORITHMS = ("ppo", "sac")

#: Layers of all networks: those of TESP's policy in the preset `small`.
UNITS = (64, 64)

#: Environment steps after which a training ends without having reached its targets, by algorithm.
BUDGETS = {"ppo": 150_000, "sac": 20_000}

#: Environment steps between evaluations. PPO's policy changes only after a round of sampling, which may be longer.
EVERY = 500

#: Evaluations in a row that have to reach a target; the first of them tells after how many steps.
IN_A_ROW = 2


@dataclass(frozen=True)
class Setting:
    """Values of an algorithm's options.

    Attributes:
        copies: Copies of the task that are stepped together.
        options: Stable-Baselines3's options that depart from its defaults.
        normalise: Whether observations, and PPO's rewards, are scaled by their running deviation.
        units: Layers of the networks.
    """

    copies: int
    options: Mapping[str, Any]
    normalise: bool = False
    units: tuple[int, ...] = UNITS


#: What was tried, by algorithm and name.
SETTINGS: dict[str, dict[str, Setting]] = {
    "ppo": {
        "default": Setting(8, {"n_steps": 256, "learning_rate": 3e-4}),
        "normalised": Setting(8, {"n_steps": 128, "learning_rate": 3e-4}, normalise=True),
        "fast": Setting(8, {"n_steps": 128, "learning_rate": 1e-3}, normalise=True),
        "short": Setting(8, {"n_steps": 64, "learning_rate": 1e-3, "gae_lambda": 0.9}, normalise=True),
    },
    "sac": {
        "default": Setting(1, {"learning_rate": 3e-4, "learning_starts": 100}, units=(256, 256)),
        "small": Setting(8, {"learning_rate": 1e-3, "learning_starts": 500, "gradient_steps": 8}),
        "normalised": Setting(8, {"learning_rate": 1e-3, "learning_starts": 500, "gradient_steps": 8}, normalise=True),
        "seldom": Setting(8, {"learning_rate": 1e-3, "learning_starts": 500, "gradient_steps": 2}),
    },
}

#: The setting that tuning chose, by family and algorithm.
CHOSEN = {
    ("reacher2", "ppo"): "fast",
    ("reacher2", "sac"): "small",
    ("wheeled", "ppo"): "fast",
    ("wheeled", "sac"): "small",
}


@dataclass(frozen=True)
class Goal:
    """One task.

    Attributes:
        family: Its family.
        task_set: D′ or D″.
        index: Its place in the set.
        tasks_seed: The seed that the set is drawn with; None: that of the learner's own training.
    """

    family: str
    task_set: str
    index: int
    tasks_seed: int | None = None

    @property
    def name(self) -> str:
        """What its records are called."""
        seed = "" if self.tasks_seed is None else f"-tasks{self.tasks_seed}"
        return f"{self.family}-{self.task_set}{seed}-{self.index}"


@dataclass(frozen=True)
class Job:
    """One training on one task.

    Attributes:
        goal: The task.
        algorithm: ``ppo`` or ``sac``.
        setting: Name of its setting.
        seed: Seed of the training.
        budget: Environment steps that it has at most, rounded up to whole rounds of sampling.
    """

    goal: Goal
    algorithm: str
    setting: str
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """What its record is called."""
        return f"{self.goal.name}-{self.algorithm}-{self.setting}-seed{self.seed}"


#: Task sets and seeds of the goals that all settings are tried on, by family. Nothing is reported of these seeds.
TUNING_GOALS = {
    "reacher2": (("in_distribution", 10), ("out_of_distribution", 11)),
    "wheeled": (("in_distribution", 10),),
}
TUNING_BUDGETS = {"ppo": 60_000, "sac": 10_000}

#: The two settings that were best there, and the goals that these are tried on besides.
FINALISTS = {
    ("reacher2", "ppo"): ("short", "fast"),
    ("reacher2", "sac"): ("small", "normalised"),
    ("wheeled", "ppo"): ("normalised", "fast"),
    ("wheeled", "sac"): ("small", "normalised"),
}
FURTHER_GOALS = {
    "reacher2": (("in_distribution", 12), ("out_of_distribution", 13)),
    "wheeled": (("out_of_distribution", 11),),
}


def reported_jobs(
    families: Iterable[str] = FAMILIES,
    goals: Iterable[int] = range(10),
    sets: Iterable[str] = SETS,
    algorithms: Iterable[str] = ALGORITHMS,
    seeds: Iterable[int] = (0,),
) -> list[Job]:
    """Return the plan: family after family, and within one goal after goal, each in every set by every algorithm."""
    return [
        Job(Goal(family, task_set, index), algorithm, CHOSEN[family, algorithm], seed, BUDGETS[algorithm])
        for family in families
        for seed in seeds
        for index in goals
        for task_set in sets
        for algorithm in algorithms
    ]


def tuning_jobs(families: Iterable[str] = FAMILIES, algorithms: Iterable[str] = ALGORITHMS) -> list[Job]:
    """Return the trainings that settings are chosen by: all settings on some goals, the best two on some more."""
    pairs = [(family, algorithm) for family in families for algorithm in algorithms]
    stages = ((TUNING_GOALS, {pair: SETTINGS[pair[1]] for pair in pairs}), (FURTHER_GOALS, FINALISTS))
    return [
        Job(Goal(family, task_set, 0, tasks_seed), algorithm, setting, 0, TUNING_BUDGETS[algorithm])
        for goals, settings in stages
        for family, algorithm in pairs
        for task_set, tasks_seed in goals[family]
        for setting in settings[family, algorithm]
    ]


def path_of(name: str, folder: Path) -> Path:
    """Return where the record of that name lies."""
    return folder / f"{name}.jsonl"


def write_record(name: str, folder: Path, record: Mapping[str, Any]) -> None:
    """Write a record, a line of JSON, whole or not at all."""
    write_whole(path_of(name, folder), json.dumps(record, separators=(",", ":")) + "\n")


def read_record(name: str, folder: Path) -> dict[str, Any] | None:
    """Return a record; None if there is none yet.

    Raises:
        RunFolderError: It is damaged.
    """
    path = path_of(name, folder)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read ({error}); remove it and it is made anew.") from error


def described(job: Job) -> dict[str, Any]:
    """Return what a record says of its job, flat."""
    own = asdict(job)
    return {**own.pop("goal"), **own}
