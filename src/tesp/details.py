"""Every task by itself: what it returned, where the agent went, what its embedding became; and the learned rates."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from rich.console import Console

from tesp.episodes.collect import Outcomes
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.evaluation.protocol import evaluation_key
from tesp.interaction import RoundResult
from tesp.progress import ProgressBar
from tesp.runs import Run
from tesp.task_sets import TASK_SETS
from tesp.tasks.simulation import EnvironmentPool, Simulation
from tesp.training.run_folder import write_whole
from tesp.types import PyTree

#: Shares of the rates, in per cent, below which the stored quantiles lie.
QUANTILES = (0, 5, 25, 50, 75, 95, 100)

#: Metres within which the last distance of an episode must be that of its end from the task, if the task is a goal.
_SAME_PLACE = 1e-3


def details(run: Run, tasks: int = 0, console: Console | None = None) -> list[dict[str, Any]]:
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
    records += list(_rate_records(run))
    write_whole(run.folder.details, "".join(json.dumps(record) + "\n" for record in records))
    return records


class _Rounds:
    """What is kept of the rounds while an adaptation goes on: far less than their episodes."""

    def __init__(self):
        self.outcomes: dict[int, Outcomes] = {}
        self.first_embedding: np.ndarray | None = None
        self.last_embedding: np.ndarray | None = None

    def note(self, result: RoundResult, _policy: PyTree) -> None:
        """Keep what became of a round's judged episodes, and the first and last embedding after the warm-up."""
        assert result.round is not None
        self.outcomes[result.fast_update] = result.outcomes.of_judged()
        if result.fast_update >= 0:
            self.last_embedding = np.asarray(result.round.embedding)
        if result.fast_update == 0:
            self.first_embedding = self.last_embedding


def _task_records(
    run: Run, simulation: Simulation | EnvironmentPool, name: str, tasks: Float[np.ndarray, "task parameter"]
) -> list[dict[str, Any]]:
    kept = _Rounds()
    key = evaluation_key(run.config.seed, run.state.meta_update, name)
    try:
        run.learner.adapt(
            run.parameters, simulation, tasks, run.family.horizon, key, keep_rounds=False, on_round=kept.note
        )
    except NonFiniteError as error:
        place = f"{error.detail}, in the set {name}" if error.detail else f"in the set {name}"
        raise NonFiniteError(error.quantity, error.task, place) from error
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


def _rate_records(run: Run) -> Iterator[dict[str, Any]]:
    algorithm, bound = run.learner.algorithm, run.config.fast.rate_bound
    # A fresh meta-learner says what the rates began with, whatever the algorithm makes of the configured rate.
    fresh = algorithm.init(jax.random.key(run.config.seed)).rates
    rates, beginnings = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (run.parameters.rates, fresh))
    for (path, leaf), (_, beginning) in zip(rates, beginnings, strict=True):
        values = np.asarray(leaf, np.float64).ravel()
        quantiles = np.percentile(values, QUANTILES)
        yield {
            "kind": "rates",
            **_identity(run),
            "layer": _layer(run.parameters.rates, path),
            "learned": algorithm.learned_rates,
            "entries": len(values),
            "quantiles": {str(q): float(f"{x:.6g}") for q, x in zip(QUANTILES, quantiles, strict=True)},
            "negative": float(np.mean(values < 0)),
            "at_bound": float(np.mean(np.abs(values) >= np.float32(bound))),
            "bound": bound,
            "initial_rate": float(f"{np.mean(np.asarray(beginning, np.float64)):.6g}"),
        }


def _layer(tree: PyTree, path: tuple[Any, ...]) -> str:
    """Return a name for people of a leaf of the rates, such as ``GRU input weight`` or ``hidden layer 2 bias``."""
    words: list[str] = []
    part: Any = tree
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            words.append(key.name)
            part = getattr(part, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            # Parts of several kinds are called by their kind, those of one kind are counted.
            kinds = {type(child) for child in part}
            part = part[key.idx]
            words.append(type(part).__name__ if len(kinds) > 1 else f"layer {key.idx + 1}")
        else:
            words.append(str(key.key))
            part = part[key.key]
    if not words:
        return "all parameters" if np.ndim(part) == 0 else "adapted vector"
    names = {
        "TaskEncoder": "encoder",
        "Policy": "policy",
        "ModulatedPolicy": "policy",
        "gru": "GRU",
        "output": "output layer",
    }
    return " ".join(names[word] if word in names else word.replace("_", " ") for word in words)
