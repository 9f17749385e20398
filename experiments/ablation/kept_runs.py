"""What single runs reached, as tables, from the records that are kept of them in `experiments/records`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from analysis import LATE, markdown, mean_and_range
from overview import signed
from stored import AblationRun, seconds_of
from variants import flat

from tesp.report import words
from tesp.report.records import ARCHIVED, RunRecords, read_archived

RECORDS = Path(__file__).parents[1] / "records"

#: The preset `quick` of the point.
POINT = tuple(f"leads/point-tesp-quick-seed{seed}" for seed in (0, 1, 2))
#: The arm for long, without the loss on every round and with it.
LOSS = {
    "A and C": "leads/reacher2-tesp-small-without-early-loss-seed10",
    "A, B and C": "leads/reacher2-tesp-seed10-first-step-4e-3",
}
#: Runs of the preset `small` of the arm of two links, and with a bound below which no σ falls.
BOUNDED = {
    "no bound": "leads/reacher2-small-tesp-std0-seed10",
    "σ ≥ 0.3": "leads/reacher2-small-tesp-std0.3-seed10",
}
#: Half as long, with a step size that is lowered over the last third; without a bound on σ and with one.
SETTLED = (
    *(f"leads/reacher2-small-tesp-settle-seed{seed}" for seed in (10, 11, 12)),
    *(f"leads/reacher2-small-meta-sgd-settle-seed{seed}" for seed in (10, 11)),
    "leads/reacher2-small-maml-settle-seed10",
    "leads/reacher2-small-adapt-sv-settle-seed10",
    "leads/reacher2-small-meta-sgd-settle-std0.5-seed10",
    "leads/reacher2-small-maml-settle-std0.5-seed10",
)
#: With the bound, and a longer average of the parameters; on the arm and on wheeled.
LONGER = (
    "leads/reacher2-small-tesp-settle-std0.5-average0.97-seed10",
    "leads/reacher2-small-meta-sgd-150-seed10",
    "leads/reacher2-small-meta-sgd-settle-std0.5-average0.97-seed11",
    *(f"leads/reacher2-small-maml-150-seed{seed}" for seed in (10, 11)),
    *(f"leads/reacher2-small-adapt-sv-150-seed{seed}" for seed in (10, 11)),
    "leads/wheeled-small-meta-sgd-150-seed10",
)
#: The preset `small` as it is now: as these, but with 120 meta-updates instead of 150.
SMALL = (
    "leads/reacher2-small-meta-sgd-120-seed12",
    *(f"leads/reacher2-small-maml-120-seed{seed}" for seed in (10, 12)),
    *(f"leads/reacher2-small-adapt-sv-120-seed{seed}" for seed in (10, 12)),
    "leads/wheeled-small-tesp-120-seed10",
)


#: The paper's methods, and the line that frames them.
COMPARED = ("tesp", "maml", "meta-sgd", "adapt-sv", words.ORACLE)


@dataclass(frozen=True)
class Run:
    """The records of one run.

    Attributes:
        config: Its configuration.
        tasks: Tasks of each set that it was evaluated on.
        returns: Average return after K fast-updates, by meta-update and task set.
        seconds: CPU seconds of all meta-updates.
    """

    config: Mapping[str, Any]
    tasks: int
    returns: dict[int, dict[str, float]]
    seconds: float

    @property
    def best(self) -> list[float]:
        """The highest return on each set, each at its own time."""
        return [max(row[name] for row in self.returns.values()) for name in words.TASK_SETS]

    @property
    def late(self) -> list[float]:
        """The mean return on each set over the last quarter of the run, its first evaluation included."""
        begin = (1 - LATE) * max(self.returns)
        return [float(np.mean([row[s] for m, row in self.returns.items() if m >= begin])) for s in words.TASK_SETS]

    @property
    def last(self) -> list[float]:
        """The return on each set at the end."""
        return list(self.returns[max(self.returns)].values())


def load(name: str) -> Run:
    """Read the stored records of a run."""
    run = _stored(name)
    found = run.evaluations()
    last = max(fast_update for _, _, fast_update in found)
    returns: dict[int, dict[str, float]] = {}
    for update in sorted({update for update, _, _ in found}):
        # An evaluation that was interrupted lacks some.
        if all((update, name, last) in found for name in words.TASK_SETS):
            returns[update] = {name: found[update, name, last]["average_return"] for name in words.TASK_SETS}
    seconds = sum(row["seconds_cpu"] for row in run.records["train"])
    return Run(run.config, run.records["evaluation"][-1]["tasks"], returns, seconds)


def _stored(name: str) -> RunRecords:
    return read_archived(RECORDS / f"{name}{ARCHIVED}")


def adaptation(names: Sequence[str]) -> str:
    """Return the table of what fast-updates are worth at the end of runs, as means over them."""
    stored = [_stored(name).records for name in names]
    rows = []
    for task_set, title in words.SHORT.items():
        still = [row["average_return"] for each in stored for row in each["reference"] if row["task_set"] == task_set]
        ends = [_end(each["evaluation"], task_set) for each in stored]
        after = [[row["average_return"] for row in rounds] for rounds in zip(*ends, strict=True)]
        last = [rounds[-1] for rounds in ends]
        success, distance = (float(np.mean([row[x] for row in last])) for x in ("success_rate", "final_distance"))
        means = [words.number(float(np.mean(values)), 1) for values in (still, *after)]
        rows.append([title, *means, words.percent(success), words.number(distance, 3)])
    ks = [f"k = {k}" for k in range(len(rows[0]) - 4)]
    return markdown([["task set", "standing still", *ks, "success", "distance (m)"], *rows])


def _end(evaluations: Sequence[dict[str, Any]], task_set: str) -> list[dict[str, Any]]:
    """Return the last evaluation on a task set, by the number of fast-updates."""
    end = max(row["meta_update"] for row in evaluations)
    found = [row for row in evaluations if (row["meta_update"], row["task_set"]) == (end, task_set)]
    return sorted(found, key=lambda row: row["fast_update"])


def course(name: str) -> str:
    """Return the table of a run's evaluations."""
    returns = load(name).returns
    rows = [[str(update), *(words.number(x, 1) for x in row.values())] for update, row in returns.items()]
    return markdown([["meta-updates", *words.SIGNS.values()], *rows])


def beside(names: Mapping[str, str]) -> str:
    """Return the table of the evaluations of several runs side by side, each under a title."""
    runs = {title: load(name).returns for title, name in names.items()}
    updates = sorted({update for returns in runs.values() for update in returns})
    cells = [[_three(list(r[update].values()), 0) if update in r else "–" for r in runs.values()] for update in updates]
    return markdown([["meta-updates", *runs], *([str(u), *row] for u, row in zip(updates, cells, strict=True))])


def bounded() -> str:
    """Return the table of `BOUNDED`."""
    runs = {name: load(path) for name, path in BOUNDED.items()}
    rows = [[name, _three(run.best), _three(run.late), _shares(run), _three(run.last, 0)] for name, run in runs.items()]
    return markdown([["", "best", "mean of the last quarter", "share", "last"], *rows])


def settled() -> str:
    """Return the table of `SETTLED`."""
    rows = [[*_names(run), _bound(run), str(run.tasks), *_read(run)] for run in map(load, SETTLED)]
    return markdown([["method", "seed", "least σ", "tasks", "best", "mean of the last quarter", "share"], *rows])


def longer(names: Sequence[str]) -> str:
    """Return the table of runs that differ in nothing but method, family and seed."""
    rows = [[*_names(run), *_read(run)] for run in map(load, names)]
    return markdown([["method", "seed", "best", "mean of the last quarter", "share"], *rows])


def campaign(family: str) -> str:
    """Return the table of all whole runs of the preset `small`: means over seeds, and the least and greatest."""
    found, still = _whole(family)
    means = [words.number(float(x), 0) for x in np.mean([*still.values()], axis=0)]
    rows = [[words.STANDING_STILL, _from_to(sorted(still)), *means, "–"]]
    for method, members in found.items():
        ends = zip(*(run.last for run in members.values()), strict=True)
        late, best = (np.mean([getattr(run, what) for run in members.values()], axis=0) for what in ("late", "best"))
        cells = [mean_and_range(values, 0) for values in ends]
        rows.append([words.method(method), _from_to(sorted(members)), *cells, _three((best / late).tolist(), 2)])
    return markdown([["method", "seeds", *words.SIGNS.values(), "share"], *rows])


def objective(family: str) -> str:
    """Return the table of the preset `small` with the paper's objective and networks, beside that with all additions.

    The first have the last round alone in their loss, and the embedding beside the observation; the step size finds
    itself in both. Means over the seeds that a method has of both, and how much higher the second is.
    """
    own = _by_method(rf"{family}-([a-z-]+)-objective-small-seed(\d+)", "objective")
    added = _kept(rf"{family}-([a-z-]+)-small-seed(\d+)")
    rows = []
    for method in (m for m in COMPARED if m in own):
        others = {seed: load(added[method, seed]) for seed in own[method] if (method, seed) in added}
        if others:
            rows.append([words.method(method), *_seed_by_seed(own[method], others)])
    return markdown([["method", "seeds", "the paper's objective", "with the additions", "gain"], *rows])


def so_far(family: str, seed: int = 100, every: int = 5) -> str:
    """Return the table of runs of the preset `paper` with one seed, as far as all of them have come.

    What the last round of every few meta-updates returned in training, which is on the same tasks for all methods; the
    return on D, D′ and D″ after the last evaluation that all have; and the median of the CPU seconds of a meta-update,
    which compilation does not move.
    """
    names = {method: name for (method,), name in _kept(rf"{family}-([a-z-]+)-paper-seed{seed}", "paper").items()}
    trained = {method: _stored(name).records["train"] for method, name in names.items()}
    evaluated = {method: load(name).returns for method, name in names.items()}
    common = range(every, min(rows[-1]["meta_update"] for rows in trained.values()) + 1, every)
    last = max(set.intersection(*map(set, evaluated.values())))
    shown = [["method", *map(str, common), f"D / D′ / D″ at {last}", "CPU-s"]]
    for method in (m for m in COMPARED if m in names):
        returns = {row["meta_update"]: row["round_returns"][-1] for row in trained[method]}
        seconds = float(np.median([seconds_of(row) for row in trained[method]]))
        cells = [words.number(returns[update], 0) for update in common]
        shown.append(
            [words.method(method), *cells, _three([*evaluated[method][last].values()], 0), words.number(seconds, 0)]
        )
    return markdown(shown)


def ablations(family: str) -> str:
    """Return the table of the paper's ablations with the preset `small`, each beside TESP on the seeds that it has."""
    runs = _by_method(rf"{family}-(tesp|tesp-v\d)-small-seed(\d+)")
    whole = runs.pop("tesp")
    rows = [[words.method(method), *_seed_by_seed(of_seeds, whole)] for method, of_seeds in sorted(runs.items())]
    return markdown([["ablation", "seeds", "its returns", "TESP", "TESP is ahead by"], *rows])


def _by_method(pattern: str, folder: str = "campaign") -> dict[str, dict[str, Run]]:
    """Return the kept runs by the method and the seed that a pattern finds in their names."""
    runs: dict[str, dict[str, Run]] = {}
    for (method, seed), name in _kept(pattern, folder).items():
        runs.setdefault(method, {})[seed] = load(name)
    return runs


def _seed_by_seed(first: Mapping[str, Run], second: Mapping[str, Run]) -> list[str]:
    """Return the seeds that both have, what both end with, and how much higher the second is, with its range."""
    seeds = sorted(first.keys() & second.keys(), key=int)
    ends = [np.array([of[seed].last for seed in seeds]) for of in (first, second)]
    gains = [[signed(x) for x in (each.mean(), each.min(), each.max())] for each in (ends[1] - ends[0]).T]
    shown = [mean if len(seeds) == 1 else f"{mean} [{least}, {most}]" for mean, least, most in gains]
    means = [_three(end.mean(axis=0).tolist(), 0) for end in ends]
    return [_from_to(list(map(int, seeds))), *means, " / ".join(shown)]


def generality(family: str) -> str:
    """Return the table of how returns carry over to other tasks and seeds, of all whole runs of the preset `small`.

    The part of the way is (return − standing still) / (oracle − standing still), of means over seeds; the spread the
    standard deviation over seeds at the end; the fall the largest loss from one evaluation to the next in the second
    half, as the mean over seeds.
    """
    members, standing = _whole(family)
    still = np.mean([*standing.values()], axis=0)
    whole = np.mean([run.last for run in members[words.ORACLE].values()], axis=0) - still
    rows = []
    for method, of_seeds in members.items():
        ends = np.array([run.last for run in of_seeds.values()])
        courses = np.array([[list(row.values()) for row in run.returns.values()] for run in of_seeds.values()])
        falls = np.diff(courses[:, courses.shape[1] // 2 :], axis=1).min(axis=1)
        gaps = ends.mean(axis=0)[1:] - ends.mean(axis=0)[0]
        parts = [words.percent(float(x)) for x in (ends.mean(axis=0) - still) / whole]
        spread = _three(ends.std(axis=0, ddof=1).tolist()) if len(ends) > 1 else "–"
        # Adding nothing takes the sign off what rounds to −0.
        fall = _three((np.minimum(falls, 0).mean(axis=0).round(1) + 0.0).tolist())
        # Rounded before they are written: nothing is −0.
        shown = [words.number(float(round(x)), 0) for x in gaps]
        rows.append([words.method(method), _from_to(sorted(of_seeds)), *shown, " / ".join(parts), spread, fall])
    return markdown([["method", "seeds", "D′ − D", "D″ − D", "part of the way", "spread", "fall"], *rows])


def step_sizes(found: Mapping[str, Sequence[AblationRun]]) -> str:
    """Return the table of other rules for the step size beside the preset's own.

    Args:
        found: The runs of the preset's own rule by method, of which those with the same seeds are shown.
    """
    names = _kept(r"steps-reacher2-(tesp|meta-sgd)-([a-z0-9-]+)-seed(\d+)")
    rows = {(method, rule, int(seed)): _three(load(name).last, 0) for (method, rule, seed), name in names.items()}
    for run in (run for runs in found.values() for run in runs):
        if any((method, seed) == (run.method, run.seed) for method, _, seed in rows):
            end = run.returns[max(run.returns)]
            rows[run.method, "found", run.seed] = _three([end[name, run.fast_updates] for name in words.TASK_SETS], 0)
    order = sorted(rows, key=lambda key: (key[0], key[1] != "found", key[1:]))
    return markdown(
        [["method", "rule", "seed", "D / D′ / D″"], *([words.method(k[0]), k[1], str(k[2]), rows[k]] for k in order)]
    )


def rates_gradient(found: Mapping[str, Mapping[str, Sequence[AblationRun]]]) -> str:
    """Return the table of runs whose rates take the gradient of the first epoch, beside the same of every epoch.

    Args:
        found: The runs with the gradient of every epoch, by family and method.
    """
    rows = []
    for (family, method, seed), name in _kept(r"(\w+)-(tesp|meta-sgd)-first-epoch-seed(\d+)", "leads").items():
        every = {run.seed: run for run in found[family][method]}[int(seed)]
        first, end = load(name), every.returns[max(every.returns)]
        if (flat(first.config)["rates_gradient"], max(first.returns)) != ("first_epoch", max(every.returns)):
            raise ValueError(f"{name} is not the run of {every.name} with the gradient of the first epoch.")
        before = [end[task_set, every.fast_updates] for task_set in words.TASK_SETS]
        rows.append((family, method, seed, before, first.last))
    groups = list(dict.fromkeys(row[:2] for row in rows))
    shown = [["family", "method", "seed", "gradient of every epoch", "of the first"]]
    for group in groups:
        members = [row for row in rows if row[:2] == group]
        means = [np.mean([row[place] for row in members], axis=0).tolist() for place in (3, 4)]
        for family, method, seed, *pair in [*members, (*group, "mean", *means)]:
            shown.append([family, words.method(method), seed, *(_three(values) for values in pair)])
    return markdown(shown)


def cost(ablation: Mapping[str, Mapping[str, Mapping[str, Sequence[AblationRun]]]]) -> str:
    """Return the table of what all kept runs cost: their number, and the processor time of their meta-updates.

    Args:
        ablation: The runs of the ablation, by family, method and variant.
    """
    spent: dict[str, list[float]] = {}
    kept = [of for folder in ("campaign", "objective", "paper") for of in _kept(r"(.+)", folder).items()]
    for (name,), path in kept:
        family = name.split("-")[0]
        preset = "paper" if path.startswith("paper/") else "small"
        title = "rules for the step size" if family == "steps" else f"`{preset}`, {family}"
        spent.setdefault(title, []).append(_seconds(path))
    runs = [run for f in ablation.values() for m in f.values() for variant in m.values() for run in variant]
    spent["the additions one by one"] = [sum(run.seconds.values()) for run in runs]
    spent["leads and tuning"] = [_seconds(path) for path in _kept(r"(.+)", "leads").values()]
    rows = [[title, len(seconds), sum(seconds) / 3600] for title, seconds in spent.items()]
    rows.append(["all", *(sum(row[place] for row in rows) for place in (1, 2))])
    return markdown([["what", "runs", "core-hours"], *([t, str(n), words.number(h, 1)] for t, n, h in rows)])


def _seconds(name: str) -> float:
    return float(sum(map(seconds_of, _stored(name).records["train"])))


def _whole(family: str) -> tuple[dict[str, dict[int, Run]], dict[int, list[float]]]:
    """Return the whole runs of the preset `small` by method and seed, and what standing still returns by seed.

    Methods are compared on the seeds that all of them have.
    """
    names = _kept(rf"{family}-([a-z-]+)-small-seed(\d+)")
    # Ablations have a table of their own, and fewer seeds.
    names = {key: name for key, name in names.items() if key[0] in COMPARED}
    methods = {method for method, _ in names}
    names = {key: name for key, name in names.items() if all((method, key[1]) in names for method in methods)}
    runs = {m: {int(seed): load(name) for (of, seed), name in names.items() if of == m} for m in words.ALGORITHMS}
    still = {int(seed): _standing_still(name) for (_, seed), name in names.items()}
    return {method: of_seeds for method, of_seeds in runs.items() if of_seeds}, still


def _standing_still(name: str) -> list[float]:
    return [row["average_return"] for row in _stored(name).records["reference"] if row["reference"] == "stand_still"]


def _from_to(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}–{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _kept(pattern: str, folder: str = "campaign") -> dict[tuple[str, ...], str]:
    """Return the names of runs of a folder by what a pattern finds in them."""
    names = [path.name.removesuffix(ARCHIVED) for path in sorted((RECORDS / folder).glob(f"*{ARCHIVED}"))]
    return {found.groups(): f"{folder}/{name}" for name in names if (found := re.fullmatch(pattern, name))}


def _names(run: Run) -> list[str]:
    name = words.method(run.config["algorithm"])
    if run.config["family"] != "reacher2":
        name += f", {run.config['family']}"
    return [name, str(run.config["seed"])]


def _bound(run: Run) -> str:
    # Runs that were stored before the option had none.
    least = flat(run.config).get("least_std")
    return f"{least:g}" if least else "–"


def _read(run: Run) -> list[str]:
    return [_three(run.best), _three(run.late), _shares(run)]


def _shares(run: Run) -> str:
    # Returns are negative: the best is the smaller distance.
    return _three([best / late for best, late in zip(run.best, run.late, strict=True)], 2)


def _three(values: Sequence[float], digits: int = 1) -> str:
    return " / ".join(words.number(value, digits) for value in values)
