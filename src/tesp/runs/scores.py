"""What single tasks return after each number of episodes: what comparisons at equal experience are made of."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console

from tesp import building
from tesp.config import Config
from tesp.episodes.executor import LocalExecutor
from tesp.evaluation.protocol import Evaluator, standing_still
from tesp.methods.base import Method
from tesp.progress import ProgressBar
from tesp.runs.loading import stored_family
from tesp.runs.run import Run
from tesp.runs.stored import stored_config
from tesp.storage.records import read_records, write_records
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.checks import checked_count

#: N of the evaluations that methods are compared by, besides the run's own N.
EPISODES = (1, 2, 5, 10, 25)


def checked_episodes(episodes: Sequence[int]) -> list[int]:
    """Return numbers of episodes that a run can be evaluated with.

    Raises:
        ConfigurationError: One is no integer of at least 1.
    """
    return [checked_count("evaluation_episodes", number) for number in episodes]


def score(run: Run, episodes: Sequence[int] = EPISODES, console: Console | None = None) -> list[dict[str, Any]]:
    """Evaluate a run with several numbers of episodes per round, and store what every task returned.

    The tasks are those that the run is evaluated on in training, and so is the randomness: with the run's own N the
    mean over tasks is the ``average_return`` of that evaluation. The file ``scores.jsonl`` is replaced as a whole.

    Args:
        run: The run with one of its checkpoints.
        episodes: Every N, besides the run's own. A method that leaves no choice, and one that has nothing to adapt, is
            evaluated with its own alone.
        console: Where is shown how many of them are done; by default nowhere.

    Returns:
        The stored records: kind ``reference_scores`` for standing still, then kind ``scores``.

    Raises:
        ConfigurationError: A number of episodes is not possible.
        NonFiniteError: An action, an observation or a gradient became NaN or infinite; names task and task set.
    """
    config = run.config
    identity = {name: getattr(config, name) for name in ("family", "algorithm", "seed")}
    identity["meta_update"] = run.state.meta_update
    task_sets = {
        name: TaskSet(name, found.tasks[: config.schedule.evaluation_tasks or None])
        for name, found in run.task_sets.items()
    }
    records = []
    for name in TASK_SETS:
        returns = standing_still(run.family, task_sets[name], config.schedule.threads).average_return[:, 0]
        told = {"reference": "stand_still", "task_set": name, "average_return": returns.tolist()}
        records.append({"kind": "reference_scores", **identity, **told})
    numbers = _numbers(config, run.learner.method, checked_episodes(episodes))
    with ProgressBar(console, "evaluating", len(numbers), "numbers of episodes") as bar:
        for number in numbers:
            own = {"episodes_per_round": number, "as_trained": number == config.sampling.episodes_per_round}
            own["environment_steps"] = run.state.environment_steps
            rows = _evaluator(run, task_sets, number).evaluate_tasks(run.parameters, run.state.meta_update)
            records += [{"kind": "scores", **identity, **own, **row} for row in rows]
            bar.advance(status=f"{run.folder.path.name}, {number} per round")
    run.folder.require_no_links()
    write_records(run.folder.scores, records)
    return records


def _evaluator(run: Run, task_sets: dict[str, TaskSet], episodes: int) -> Evaluator:
    simulate = partial(run.family.simulate, threads=run.config.schedule.threads)
    executor = LocalExecutor(run.learner, run.family.horizon, simulate, episodes)
    return Evaluator(run.learner, run.family, task_sets, run.config.seed, executor=executor)


def is_scored(path: str | os.PathLike[str], episodes: Sequence[int] = EPISODES) -> bool:
    """Tell whether a finished run has scores of its last state, with all these numbers of episodes.

    Raises:
        RunFolderError: The folder is not a run's, or is damaged.
    """
    folder = RunFolder.open(path)
    stored = [r for r in read_records(folder.scores, empty=True) if r["kind"] == "scores"]
    config = stored_config(folder)
    there = {r["episodes_per_round"] for r in stored if r["meta_update"] == config.schedule.meta_updates}
    if not there or there >= {*episodes}:
        return bool(there)
    method = building.build_method(config, folder.read_interface() or stored_family(config))
    return there >= {*_numbers(config, method, episodes)}


def _numbers(config: Config, method: Method, episodes: Sequence[int]) -> list[int]:
    own, plan = config.sampling.episodes_per_round, method.plan
    chosen = plan.episodes is None and plan.last > plan.first
    return sorted({own, *episodes}) if chosen else [own]
