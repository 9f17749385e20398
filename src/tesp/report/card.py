"""The card of a trained learner: what it learned, how, what it returns with what certainty, and what it is not for.

Markdown with a head in YAML, in the form of the model cards of Hugging Face, so that a hub can list and search it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tesp.errors import ConfigurationError
from tesp.interface import Interface
from tesp.report import words
from tesp.report.records import RunRecords, read_run
from tesp.report.results import Estimate, Result, can_succeed, results_of_run
from tesp.storage.records import read_records
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS, TaskSet


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        run: The run's records, with one evaluation: that of the learner.
        interface: What its agents see and do.
        task_sets: D, D′ and D″.
        versions: Versions that the run began with.
        steps: Environment steps sampled for training.
        cpu_seconds: CPU seconds of all meta-updates; NaN if the records do not say.
        meta_update: Meta-updates that the learner had.
    """

    run: RunRecords
    interface: Interface
    task_sets: Mapping[str, TaskSet]
    versions: Mapping[str, Any]
    steps: int
    cpu_seconds: float
    meta_update: int


def facts_of(path: Path, meta_update: int) -> CardFacts:
    """Return what is to be said of the learner that a run had after a number of meta-updates.

    Raises:
        RunFolderError: The folder is not a run's, or is damaged.
        ConfigurationError: This learner was not evaluated on all three task sets, or its spaces are not known.
    """
    folder, run = RunFolder.open(path), read_run(path)
    interface = folder.read_interface()
    if interface is None:
        raise ConfigurationError(f"{path} is a run of version 0.1, which does not say what its agents see; train anew.")
    later = [row for row in read_records(folder.evaluations, empty=True) if row.get("dynamics_noise", 0) == 0]
    evaluated = [*run.records.get("evaluation", []), *later]
    rows = [row for row in evaluated if row["meta_update"] == meta_update]
    if {row["task_set"] for row in rows} != set(TASK_SETS):
        raise ConfigurationError(
            f"The learner of {path} after {meta_update} meta-updates was not evaluated on all task sets; "
            f"`tesp evaluate {path} --checkpoint {meta_update}` does that."
        )
    trained = [row for row in run.records.get("train", []) if row["meta_update"] <= meta_update]
    return CardFacts(
        RunRecords(run.name, run.config, {**run.records, "evaluation": rows}),
        interface,
        folder.read_task_sets(),
        folder.read_versions() or {},
        int(rows[-1]["environment_steps"]),
        sum(float(row.get("seconds_cpu", math.nan)) for row in trained) if trained else math.nan,
        meta_update,
    )


def card(facts: CardFacts, name: str, command: str, license_name: str = "mit") -> str:
    """Return the card as Markdown.

    Args:
        facts: What it says.
        name: What the learner is called, and what `tesp.load` is given in the example.
        command: What trains it again.
        license_name: Identifier of the licence, as SPDX writes it in lower case.
    """
    results = results_of_run(facts.run)
    parts = [_head(facts, name, license_name, results), f"# {name}", _summary(facts, results), _use(facts, name)]
    parts += [
        "## Returns",
        _returns(facts, results),
        "## Tasks",
        _tasks(facts),
        "## Training",
        _training(facts, command),
    ]
    parts += ["## Limits", _limits(facts), "## Licence", f"{license_name.upper()}."]
    return "\n\n".join(parts) + "\n"


def _head(facts: CardFacts, name: str, license_name: str, results: Sequence[Result]) -> str:
    config = facts.run.config
    measured = [
        {
            "task": {"type": "reinforcement-learning", "name": "meta-reinforcement-learning"},
            "dataset": {"name": f"{config['family']}, {words.SHORT[result.task_set]}", "type": result.task_set},
            "metrics": [
                {
                    "type": "mean_return",
                    "value": round(result.average_return.mean, 2),
                    "low": _or_none(result.average_return.low),
                    "high": _or_none(result.average_return.high),
                }
            ],
        }
        for result in results
        if result.last
    ]
    head = {
        "license": license_name,
        "library_name": "tesp",
        "tags": ["meta-reinforcement-learning", "reinforcement-learning", config["family"], config["algorithm"]],
        "model-index": [{"name": name, "results": measured}],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def _summary(facts: CardFacts, results: Sequence[Result]) -> str:
    config = facts.run.config
    ends = [f"{words.number(r.average_return.mean, 1)} on {words.SIGNS[r.task_set]}" for r in results if r.last]
    told = ", and is told the task" if facts.run.is_oracle else ""
    return (
        f"A learner trained by {words.method(config['algorithm'])} on the family `{config['family']}`{told}. "
        f"After {words.fast_updates(facts.run.fast_updates)} it returns {', '.join(ends)}, in the mean of "
        f"{results[-1].count} tasks each."
    )


def _use(facts: CardFacts, name: str) -> str:
    if facts.run.is_oracle:
        return f"```sh\ntesp adapt {name} --goal {_example(facts)}\n```"
    return (
        "```python\nimport tesp\n\n"
        f'learner = tesp.load("{name}")\n'
        "agent = learner.adapt(env)  # a Gymnasium environment with these spaces, whatever its task is\n"
        "action, _ = agent.predict(observation)\n```\n\n"
        f"or, on a task of the family: `tesp adapt {name} --goal {_example(facts)}`."
    )


def _example(facts: CardFacts) -> str:
    return " ".join(f"{x:.2g}" for x in facts.task_sets["in_distribution"].tasks[0])


def _returns(facts: CardFacts, results: Sequence[Result]) -> str:
    reaches = can_succeed(results)
    rows = ["| task set | agent | return | 95 % interval |", "|---|---|---:|---:|"]
    if reaches:
        rows = [f"{rows[0]} success |", f"{rows[1]}---:|"]
    count = results[-1].count
    for result in results:
        framed = result.fast_update is None
        who = result.method if framed else words.agent(result.fast_update or 0)
        if result.count != count:
            who += f" ({result.count} tasks)"
        cells = [words.SHORT[result.task_set], who, words.number(result.average_return.mean, 1)]
        cells.append(_interval(result.average_return))
        if reaches:
            cells.append(words.percent(result.estimates["success_rate"].mean))
        rows.append(f"| {' | '.join(cells)} |")
    episodes = facts.run.first.get("episodes_per_task")
    said = "Sums of the reward over an episode; greater is better. "
    if facts.run.in_metres:
        said = "Sums of the distance reward over an episode: minus metres, step by step, for the paper's families. "
    said += f"Means over {count} tasks of each set"
    return (
        "\n".join(rows)
        + f"\n\n{said}{f', {episodes} episodes each' if episodes else ''}; the intervals are over tasks."
    )


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return "–"
    return f"[{words.number(estimate.low, 1)}, {words.number(estimate.high, 1)}]"


def _tasks(facts: CardFacts) -> str:
    lines = [
        f"An agent sees {facts.interface.observation_size} numbers and does {facts.interface.action_size}, for at most "
        f"{facts.interface.horizon} steps. A task is {facts.interface.task_size} "
        f"number{'' if facts.interface.task_size == 1 else 's'}, which the agent is "
        f"{'told' if facts.run.is_oracle else 'never told'}:",
        "",
        "| task set | tasks | from | to | norm |",
        "|---|---:|---|---|---|",
    ]
    for name, title in words.SHORT.items():
        tasks = facts.task_sets[name].tasks
        low, high = ("(" + ", ".join(f"{x:.3g}" for x in ends) + ")" for ends in (tasks.min(0), tasks.max(0)))
        norms = np.linalg.norm(tasks, axis=1)
        norm = f"{norms.min():.3g} to {norms.max():.3g}"
        lines.append(f"| {title} | {len(tasks)} | {low} | {high} | {norm} |".replace("-", "−"))
    return "\n".join(lines)


def _training(facts: CardFacts, command: str) -> str:
    cost = "" if math.isnan(facts.cpu_seconds) else f", {facts.cpu_seconds:,.0f} seconds of processor time"
    known = ", ".join(f"{p} {facts.versions[p]}" for p in ("tesp", "python", "jax", "mujoco") if p in facts.versions)
    begun = f" Begun with {known}." if known else ""
    return f"```sh\n{command}\n```\n\n{facts.meta_update} meta-updates, {facts.steps:,} environment steps{cost}.{begun}"


def _limits(facts: CardFacts) -> str:
    rounds = facts.run.fast_updates + 1
    episodes = facts.run.first.get("episodes_per_task", 0)
    first = f"- It needs to try: by default {rounds} rounds of {episodes} episodes or more before it is adapted."
    if facts.run.is_oracle or facts.run.fast_updates == 0:
        first = "- It does not learn from what it tries."
    return "\n".join(
        [
            first,
            "- Observations and actions must have the meaning, order and scale of the training, and episodes about its "
            "length.",
            "- On tasks from outside the training distribution (D″) it is worse, and further out worse still.",
            "- It was trained in simulation alone and with one seed, and was never tried on a real body.",
        ]
    )
