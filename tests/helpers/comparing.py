"""Tiny comparisons of methods, and numbers that go wrong in some of their runs."""

from helpers.running import TINY, Finished, options, tesp
from tesp.errors import NonFiniteError
from tesp.training import loop

#: One size for all task sets and for what a meta-update draws, so that everything is compiled once.
SMALL = {"meta_updates": 2, "tasks_per_set": TINY["tasks_per_update"]}
WRITTEN = {"comparison.md", "comparison.csv", "learning_curves.png"}


def compare(folder, *more, algorithms=("adapt-sv", "maml"), seeds=(0, 1), **overrides) -> Finished:
    chosen = ["--algorithms", *algorithms, "--seeds", *seeds, "--output", folder]
    return tesp("compare", "point", *options(**{**SMALL, **overrides}), *chosen, *more)


def going_wrong(monkeypatch, *broken):
    """Make the runs of some methods and seeds meet a number that is not finite."""
    train = loop.train

    def train_or_fail(training, *arguments):
        if (training.identity["algorithm"], training.identity["seed"]) in broken:
            raise NonFiniteError("policy loss", 1, "in epoch 0")
        return train(training, *arguments)

    monkeypatch.setattr("tesp.runs.starting.train_loop", train_or_fail)
