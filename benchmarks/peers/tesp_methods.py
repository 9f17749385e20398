"""RL², MAML and TESP with this library, as users train them; `navigation.py` is the family of the one problem."""

import tempfile
from pathlib import Path

from navigation import NavigationFamily
from problems import EVALUATION_TASKS, HORIZON
from timing import Watch, arguments

import tesp

#: The name of each problem's family, and what the method is given besides its preset: as many tasks and episodes as
#: the peers have. Evaluations are counted in meta-updates here.
FAMILIES = {"navigation": "navigation", "half-cheetah-velocity": "half-cheetah-velocity-v1"}
SETTINGS = {
    "rl2": {"evaluate_every": 3},
    "maml": {"episodes_per_round": 20, "fast_updates": 1, "evaluate_every": 10},
    "tesp": {"embedding_size": 8, "evaluate_every": 5},
}


class Measure(tesp.Callback):
    """Tells the watch of every meta-update and evaluation, and asks to stop where it says so."""

    def __init__(self, watch):
        self._watch, self._told, self._seconds = watch, None, None

    def on_records(self, records):
        """Take the record of a meta-update, or the rows of an evaluation."""
        if (kind := records[0]["kind"]) == "reference":
            return None
        steps = records[0]["environment_steps"]
        if kind == "train":
            self._watch.updated(steps)
        else:
            # What acts is compiled in the evaluation of the start, so that this one counts.
            self._watch.exclude(self._watch.now() - self._told if self._told else 0.0)
            rows = [row for row in records if row["task_set"] == "in_distribution"]
            last = max(rows, key=lambda row: row["fast_update"])
            self._watch.evaluated(steps, last["average_return"], self._watch.seconds)
        self._told = self._watch.now()
        return self._watch.over


def main():
    """Train until the watch says that it is enough."""
    given = arguments(__doc__)
    tesp.use_compilation_cache()
    tesp.register_family("navigation", NavigationFamily)
    values = {"meta_updates": 100_000, "horizon": HORIZON, "evaluation_tasks": EVALUATION_TASKS, "threads": 1}
    values |= SETTINGS[given.method]
    config = tesp.preset_config(FAMILIES[given.problem], "quick", given.method, seed=given.seed, **values)
    with tempfile.TemporaryDirectory() as folder:
        tesp.train(config, Path(folder) / "run", callbacks=[Measure(Watch(given))])


if __name__ == "__main__":
    main()
