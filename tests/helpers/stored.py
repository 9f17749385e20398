"""Records as a run writes them, with returns that can be computed by hand."""

import json
from pathlib import Path

import numpy as np

from tesp.report.records import RunRecords

TASK_SETS = ("train", "in_distribution", "out_of_distribution")


def reference(task_set="train", average_return=-150.0, family="wheeled"):
    return {
        "kind": "reference",
        "reference": "stand_still",
        "family": family,
        "task_set": task_set,
        "average_return": average_return,
    }


REFERENCES = [reference(task_set, -150.0 - i) for i, task_set in enumerate(TASK_SETS)]


def evaluation(meta_update, fast_update, average_return, *, task_set="train", **other):
    return {
        "kind": "evaluation",
        "family": "wheeled",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": meta_update,
        "task_set": task_set,
        "fast_update": fast_update,
        "average_return": average_return,
        "average_return_std": 4.0,
        "success_rate": 0.25,
        "final_distance": 0.5,
        "episode_length": 180.0,
        "unhealthy_rate": 0.0,
        "tasks": 100,
        "environment_steps": 1000 * meta_update,
        "wall_seconds": 10.0 * meta_update,
    } | other


def evaluations(*meta_updates, last=1, shift=0.0, **other):
    """Return = −100 + meta_update + 10·fast_update + shift, on all three task sets."""
    return [
        evaluation(m, k, -100.0 + m + 10 * k + shift, task_set=task_set, **other)
        for m in meta_updates
        for task_set in TASK_SETS
        for k in range(last + 1)
    ]


def trained(meta_update, round_returns=(-90.0, -80.0, -70.0), **other):
    """A meta-update that took 1000 steps and 10 seconds, by default with a warm-up round and one fast-update."""
    return {
        "kind": "train",
        "meta_update": meta_update,
        "environment_steps": 1000 * meta_update,
        "wall_seconds": 10.0 * meta_update,
        "steps_sampled": 1000,
        "seconds": 10.0,
        "round_returns": list(round_returns),
    } | other


def adaptation(fast_update, *, goal=(0.5, 0.5), adaptation_id="first", episodes=2, **other):
    return {
        "kind": "adaptation",
        "adaptation_id": adaptation_id,
        "family": "wheeled",
        "goal": list(goal),
        "fast_update": fast_update,
        "average_return": -12.34,
        "success_rate": 0.5,
        "final_distance": 0.1,
        "episodes": [
            {"average_return": -10.0 * (i + 1), "success": i == 0, "position": [[0.1 * i, 0.2], [0.3, 0.4]]}
            for i in range(episodes)
        ],
        "boundary_radius": 1.1,
        "start": [0.0, 0.0],
    } | other


def task(index=0, task_set="train", goal=(0.5, 0.5), average_return=(-30.0, -10.0), **other):
    return {
        "kind": "task",
        "family": "wheeled",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": 25,
        "task_set": task_set,
        "boundary_radius": 1.1,
        "is_goal": True,
        "index": index,
        "task": list(goal),
        "average_return": list(average_return),
        "success_rate": [0.0] * len(average_return),
        "warm_up_return": -33.0,
        "start": [0.0, 0.0],
        "path": [[0.1, 0.2], [0.3, 0.4]],
        "path_return": -9.0,
        "embedding": {"before": [0.1 * index, 0.0, 0.0], "after": [float(index), 2.0 * index, 0.0]},
    } | other


def tasks(count=4, **other):
    """As many tasks a set, with goals around the origin; D″ lies outside."""
    found = []
    for task_set in TASK_SETS:
        radius = 1.3 if task_set == "out_of_distribution" else 0.7
        for index in range(count):
            angle = 2 * np.pi * (index + 0.25) / count
            goal = (radius * np.cos(angle), radius * np.sin(angle))
            found.append(task(index, task_set, goal, (-30.0, -10.0 - index), **other))
    return found


def scores(method, episodes, *, seeds=(0, 1), last=2, warm_up=0, as_trained=False, shift=0.0, tasks=4, **other):
    """The return of task j is −40 + 10·k + N + j + seed + shift, on all three task sets; the success rate is k/4."""
    return [
        {
            "kind": "scores",
            "family": "wheeled",
            "algorithm": method,
            "seed": seed,
            "meta_update": 25,
            "task_set": task_set,
            "episodes_per_round": episodes,
            "as_trained": as_trained,
            "fast_update": k,
            "episodes_used": float((k + warm_up) * episodes),
            "steps_used": 100.0 * (k + warm_up) * episodes,
            "environment_steps": 25_000 + 2000 * seed,
            "average_return": [-40.0 + 10 * k + episodes + j + seed + shift for j in range(tasks)],
            "success_rate": [k / 4] * tasks,
        }
        | other
        for seed in seeds
        for task_set in TASK_SETS
        for k in range(last + 1)
    ]


def still_scores(seed=0, method="tesp", tasks=4):
    """What standing still returns on every task: −60 − seed."""
    own = {"family": "wheeled", "algorithm": method, "seed": seed, "meta_update": 25, "reference": "stand_still"}
    return [
        {"kind": "reference_scores", **own, "task_set": task_set, "average_return": [-60.0 - seed] * tasks}
        for task_set in TASK_SETS
    ]


def write_scores(folder: Path, records) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "scores.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def rates(layer="GRU bias", **other):
    return {
        "kind": "rates",
        "family": "wheeled",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": 25,
        "layer": layer,
        "learned": True,
        "entries": 1200,
        "quantiles": {"0": -0.2, "5": -0.05, "25": -0.01, "50": 0.002, "75": 0.01, "95": 0.06, "100": 0.3},
        "negative": 0.25,
        "at_bound": 0.04,
        "bound": 0.1,
        "initial_rate": 0.001,
    } | other


def as_read(record):
    """Return a record as it is read: what was not a number is stored as null and read as NaN."""
    return {name: np.nan if name == "final_distance" and x is None else x for name, x in record.items()}


def read(records, name="run", **config) -> RunRecords:
    """Return the run that the records would be read as."""
    by_kind = {}
    for record in map(as_read, records):
        by_kind.setdefault(record["kind"], []).append(record)
    return RunRecords(name, config, by_kind)


def write_run(folder: Path, records, torn="", **config) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"family": "wheeled"} | config))
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + torn)
    return folder
