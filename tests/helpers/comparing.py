"""Tiny comparisons of methods, and numbers that go wrong in some of their runs."""

from helpers.running import TINY, Finished, options, tesp
from tesp.commands.parsing import without_options
from tesp.errors import NonFiniteError
from tesp.methods.registry import absent_from
from tesp.task_sets import TASK_SETS
from tesp.training import loop

#: One size for all task sets and for what a meta-update draws, so that everything is compiled once.
SMALL = {"meta_updates": 2, "tasks_per_set": TINY["tasks_per_update"]}
WRITTEN = {
    *("comparison.md", "comparison.csv", "learning_curves.png"),
    *("by_episodes.md", "by_episodes.csv", "by_episodes.png", "score_profiles.png"),
    *(f"scores-{task_set}.npz" for task_set in TASK_SETS),
}


def entries(folder) -> set[str]:
    """What there is in the folder of a comparison; locks say nothing once they are free."""
    return {path.name for path in folder.iterdir()} - {".lock"}


def compare(folder, *more, algorithms=("adapt-sv", "maml"), seeds=(0, 1), **overrides) -> Finished:
    chosen = ["--algorithms", *algorithms, "--seeds", *seeds, "--output", folder]
    # What makes runs tiny, of those options that one of the methods has.
    nobodys = set.intersection(*(absent_from(name) for name in algorithms)) & absent_from("oracle")
    words = without_options(options(**{**SMALL, **overrides}), nobodys)
    # What else they are evaluated with would have to be compiled.
    if "--evaluation-episodes" not in more:
        chosen.append("--evaluation-episodes")
    return tesp("compare", "point", *words, *chosen, *more)


def going_wrong(monkeypatch, *broken):
    """Make the runs of some methods and seeds meet a number that is not finite."""
    train = loop.train

    def train_or_fail(training, *arguments):
        if (training.identity["algorithm"], training.identity["seed"]) in broken:
            raise NonFiniteError("policy loss", 1, "in epoch 0")
        return train(training, *arguments)

    monkeypatch.setattr("tesp.runs.starting.train_loop", train_or_fail)
