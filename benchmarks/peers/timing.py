"""The clock that all peers are measured with: seconds since their process began, without those of evaluations."""

import argparse
import json
import os
import time
from contextlib import contextmanager

#: What begins the lines that `compare.py` reads.
MARK = "PEER "


class Watch:
    """Tells how training goes on, one line of JSON after another, and when it is to end.

    Args:
        given: Of the `arguments`, when training is to end, how often it is evaluated, and by which clock.
    """

    def __init__(self, given: argparse.Namespace):
        # Where the process began, interpreter and imports included, is known to what started it.
        self._began = float(os.environ.get("PEER_STARTED", time.time()))
        self._limit, self._target, self._every, self._clock = given.limit, given.target, given.every, given.clock
        self._evaluating, self._evaluated, self._best, self._updates = 0.0, 0.0, -float("inf"), 0

    def now(self) -> float:
        """Seconds since the process began, or those that the processor has worked for it."""
        return time.process_time() if self._clock == "processor" else time.time() - self._began

    @property
    def seconds(self) -> float:
        """Seconds so far, without those of evaluations."""
        return self.now() - self._evaluating

    def updated(self, steps: int) -> None:
        """Tell that training has taken so many environment steps and has learned from all of them."""
        self._updates += 1
        self._tell(kind="update", update=self._updates, steps=int(steps), seconds=self.seconds)

    @property
    def due(self) -> bool:
        """Whether it is time to evaluate."""
        return self.seconds - self._evaluated >= self._every or self.over

    @property
    def over(self) -> bool:
        """Whether training is to end; not before its first update, which tells how long starting takes."""
        return self._updates > 0 and (self.seconds >= self._limit or self._best >= self._target)

    @contextmanager
    def evaluation(self, steps: int):
        """Stop the clock while the body evaluates; the body puts the mean return into the list that it is given."""
        seconds, began, found = self.seconds, self.now(), []
        yield found
        self.exclude(self.now() - began)
        self.evaluated(steps, found[0], seconds)

    def evaluated(self, steps: int, mean_return: float, seconds: float) -> None:
        """Tell what an evaluation found of the learner as it was after so many steps and seconds."""
        self._evaluated, self._best = seconds, max(self._best, mean_return)
        self._tell(kind="evaluation", steps=int(steps), seconds=seconds, **{"return": float(mean_return)})

    def exclude(self, seconds: float) -> None:
        """Take off the clock what an evaluation took that something else has done."""
        self._evaluating += seconds

    @staticmethod
    def _tell(**told) -> None:
        print(MARK + json.dumps(told), flush=True)


def arguments(description: str) -> argparse.Namespace:
    """Read what `compare.py` gives every peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("problem", choices=["navigation", "half-cheetah-velocity"])
    parser.add_argument("--method", help="which of several methods the script has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=40.0, help="seconds of training")
    parser.add_argument("--target", type=float, default=0.0, help="return at which training ends before")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="which seconds are meant")
    parser.add_argument("--every", type=float, default=3.0, help="seconds of training between evaluations")
    return parser.parse_args()
