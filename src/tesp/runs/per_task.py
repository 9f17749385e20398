"""Every task by itself: what it returned, where the agent went, what its embedding became; and the learned rates."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from rich.console import Console

from tesp.acting import Agent
from tesp.episodes.collect import Outcomes
from tesp.episodes.rollout import RoundResult
from tesp.errors import ConfigurationError, LocatedError
from tesp.evaluation.protocol import evaluation_key
from tesp.numerics import with_usual_numerics
from tesp.progress import ProgressBar
from tesp.runs.run import Run
from tesp.storage.records import write_records
from tesp.task_sets import TASK_SETS
from tesp.tasks.simulation import EnvironmentPool, Simulation

#: Metres within which the last distance of an episode must be that of its end from the task, if the task is a goal.
_SAME_PLACE = 1e-3


@with_usual_numerics
def evaluate_per_task(run: Run, tasks: int = 0, console: Console | None = None) -> list[dict[str, Any]]:
    """Adapt to tasks of D, D′ and D″ one by one, and store what came of each in the run's ``details.jsonl``.

    The randomness is that of `Run.evaluate`, so with all tasks the mean of ``average_return`` over a task set is the
    ``average_return`` of its evaluation. The file is replaced as a whole.

    Args:
        run: The run with one of its checkpoints.
        tasks: How many tasks of each set, from the first (0: all).
        console: Where is shown how many of the task sets are done; by default nowhere.

    Returns:
        The stored records: kind ``task`` for every task, then kind ``rates`` for every array of learned rates.

    Raises:
        ConfigurationError: ``tasks`` is negative.
        NonFiniteError: An action, an observation or a gradient became NaN or infinite; names task and task set.
    """
    if tasks < 0:
        raise ConfigurationError(f"tasks = {tasks} is not possible; give 1 or more, or 0 for all tasks.")
    records, simulations = [], {}
    with ProgressBar(console, "adapting", len(TASK_SETS), "task sets") as bar:
        for name in TASK_SETS:
            chosen = run.task_sets[name].tasks[: tasks or None]
            count = len(chosen) * run.learner.sampling.episodes_per_round
            if count not in simulations:
                simulations[count] = run.family.simulate(count, run.config.schedule.threads)
            records += _task_records(run, simulations[count], name, chosen)
            bar.advance(status=name)
    records += _described(run)
    write_records(run.folder.details, records)
    return records


def _described(run: Run) -> list[dict[str, Any]]:
    """Return what the method says of its parameters; ``kind`` first, then whose they are."""
    method = run.learner.method
    fresh = method.parameters(method.init(jax.random.key(run.config.seed)))
    return [{"kind": r["kind"], **_identity(run), **r} for r in method.describe(run.parameters, fresh)]


class _Rounds:
    """What is kept of the rounds while an adaptation goes on: far less than their episodes."""

    def __init__(self, run: Run):
        self._run = run
        self.outcomes: dict[int, Outcomes] = {}
        self.first_embedding: np.ndarray | None = None
        self.last_embedding: np.ndarray | None = None

    def note(self, result: RoundResult, _agents: Agent) -> None:
        """Keep what became of a round's judged episodes, and the first and last embedding after the warm-up."""
        self.outcomes[result.fast_update] = result.outcomes.of_judged()
        if result.fast_update >= 0:
            self.last_embedding = np.asarray(self._run.learner.represent(self._run.parameters, result.belief))
        if result.fast_update == 0:
            self.first_embedding = self.last_embedding


def _task_records(
    run: Run, simulation: Simulation | EnvironmentPool, name: str, tasks: Float[np.ndarray, "task parameter"]
) -> list[dict[str, Any]]:
    kept = _Rounds(run)
    key = evaluation_key(run.config.seed, run.state.meta_update, name)
    try:
        run.learner.adapt(
            run.parameters, simulation, tasks, run.family.horizon, key, keep_rounds=False, on_round=kept.note
        )
    except LocatedError as error:
        raise error.at(f"in the set {name}") from error
    common = {
        "kind": "task",
        **_identity(run),
        "task_set": name,
        "boundary_radius": run.family.options.get("boundary_radius"),
        "is_goal": _are_goals(tasks, kept.outcomes[max(kept.outcomes)]),
    }
    return [{**common, **_one_task(kept, tasks, index)} for index in range(len(tasks))]


def _identity(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "family": config.family,
        "algorithm": config.algorithm,
        "seed": config.seed,
        "meta_update": run.state.meta_update,
    }


def _one_task(kept: _Rounds, tasks: np.ndarray, index: int) -> dict[str, Any]:
    rounds = [outcomes for k, outcomes in sorted(kept.outcomes.items()) if k >= 0]
    warm_up, last = kept.outcomes.get(-1), rounds[-1]
    returns = last.average_return[index]
    median = int(np.argsort(returns, kind="stable")[(len(returns) - 1) // 2])
    path = last.position[index, median, : last.length[index, median]]
    located = bool(np.isfinite(path).all())
    return {
        "index": index,
        "task": tasks[index].tolist(),
        "average_return": [float(outcomes.average_return[index].mean()) for outcomes in rounds],
        "success_rate": [float(outcomes.success[index].mean()) for outcomes in rounds],
        "warm_up_return": None if warm_up is None else float(warm_up.average_return[index].mean()),
        "start": last.start[index, median].round(3).tolist() if located else None,
        "path": path.round(3).tolist() if located else None,
        "path_return": float(returns[median]),
        "embedding": {
            "before": _embedding(kept.first_embedding, index),
            "after": _embedding(kept.last_embedding, index),
        },
    }


def _are_goals(tasks: np.ndarray, outcomes: Outcomes) -> bool:
    """Tell whether the tasks are goals in the plane: the distances are those of the episodes' ends from them."""
    if tasks.shape[1] != 2:
        return False
    end = np.take_along_axis(outcomes.position, outcomes.length[..., None, None] - 1, axis=2)[:, :, 0]
    apart = np.hypot(*np.moveaxis(end - tasks[:, None], -1, 0))
    return bool(np.allclose(apart, outcomes.final_distance, rtol=0.0, atol=_SAME_PLACE))


def _embedding(embeddings: np.ndarray | None, index: int) -> list[float] | None:
    if embeddings is None or embeddings.shape[1] == 0:
        return None
    return [float(f"{x:.6g}") for x in embeddings[index]]
