"""Which episodes a round has: a fixed number, or as many as it takes to reach a number of control steps."""

import numpy as np
from jaxtyping import Int

#: A round that is measured in steps has at most so many times N episodes of a task: what its arrays have room for.
ROUND_CAPACITY = 4


class Budget:
    """Says which episodes of a round may begin, and when; so that every one that begins counts.

    The episodes of a task are numbered j = 0, 1, 2, …, with lengths L_j ≤ H. Those that count are the first n with

        n = min{n : L_0 + … + L_{n−1} ≥ N·H},   or all up to the capacity if they do not reach it.

    Numbers decide, not the order in which episodes end: taking those that end first would prefer short ones. Episode j
    may begin as soon as it is certain to count, which is when

        Σ_{i<j} U_i < N·H   with U_i = L_i if episode i is over, else H.

    Since L_i ≤ U_i, then n > j. And at most N run at once: before the last of R running ones began, the others stood
    for (R − 1)·H at least, which was below N·H. With a capacity of N, all N episodes begin at once and no more follow.

    Rows are all episodes up to the capacity, task by task.
    """

    def __init__(self, tasks: int, at_once: int, capacity: int, horizon: int):
        """Let the first episodes of every task begin.

        Args:
            tasks: Number of tasks.
            at_once: N, the budget of every task in whole episodes.
            capacity: Most episodes of a task.
            horizon: H, most control steps of an episode.
        """
        self._capacity, self._horizon, self._limit = capacity, horizon, at_once * horizon
        # Of every task: how many may have begun, how many have, and Σ U_i over those that may.
        self._allowed, self._taken, self._most = (np.zeros(tasks, int) for _ in range(3))
        self._allow()

    def over(self, rows: Int[np.ndarray, " over"], lengths: Int[np.ndarray, " over"]) -> None:
        """Note that episodes have ended, with their lengths in control steps."""
        np.subtract.at(self._most, rows // self._capacity, self._horizon - lengths)
        self._allow()

    def take(self, most: int | None = None) -> Int[np.ndarray, " begun"]:
        """Return the rows of episodes that begin now, ascending: all that may, or the first ``most`` of them."""
        numbers = np.arange(self._capacity)
        may = (numbers >= self._taken[:, None]) & (numbers < self._allowed[:, None])
        rows = np.flatnonzero(may)[:most]
        np.add.at(self._taken, rows // self._capacity, 1)
        return rows

    def _allow(self) -> None:
        more = np.clip(-(-(self._limit - self._most) // self._horizon), 0, self._capacity - self._allowed)
        self._allowed += more
        self._most += more * self._horizon


def judged(tasks: int, at_once: int, capacity: int) -> np.ndarray:
    """Return which episodes averages are over, (task, episode): the first N, however many follow."""
    return np.broadcast_to(np.arange(capacity) < at_once, (tasks, capacity)).copy()


def places_of(rows: Int[np.ndarray, " row"], capacity: int, free: Int[np.ndarray, " free"], at_once: int) -> np.ndarray:
    """Return a free place for each of the rows that begin, among the ``at_once`` places of its task.

    Args:
        rows: Rows that begin, ascending.
        capacity: Rows of a task.
        free: Places without an episode, ascending.
        at_once: Places of a task.
    """
    task = rows // capacity
    # Which of its task's new rows each row is, counted from 0.
    number = np.arange(len(rows)) - np.searchsorted(task, task)
    return free[np.searchsorted(free // at_once, task) + number]
