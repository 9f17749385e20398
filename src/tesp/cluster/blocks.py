"""How the tasks of an adaptation are split among hosts, and put together again in their order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from tesp.episodes.executor import Disturbance
from tesp.types import PyTree


@dataclass(frozen=True, order=True)
class Block:
    """Some of the tasks, one after the other.

    Attributes:
        first: Place of the first of them.
        count: How many.
    """

    first: int
    count: int


@dataclass(frozen=True)
class Job:
    """One adaptation to a number of tasks: with its parameters all that it takes to sample any block, at any time.

    Attributes:
        number: Which one; greater than those before.
        tasks: The tasks.
        task_ids: What identifies each of them in the randomness.
        key: Data of the key of all randomness.
        disturbance: Noise on the dynamics, if any.
        kept: Whether questions will be asked about it.
    """

    number: int
    tasks: Float[np.ndarray, "task parameter"]
    task_ids: Int[np.ndarray, " task"]
    key: np.ndarray
    disturbance: Disturbance | None
    kept: bool


def deal(tasks: int, cores: Sequence[int]) -> list[Block]:
    """Split tasks into blocks, one for each host in their order, as large as its number of cores asks for.

    Each further task goes to the host that would be done first with it, a core computing one task after the other; of
    several to the one with the fewest tasks for its cores. Hosts for which there is none have an empty block.

    Args:
        tasks: How many tasks there are.
        cores: The cores of each host.
    """
    counts = [0] * len(cores)
    for _ in range(tasks):
        host = min(range(len(cores)), key=lambda i: (-(-(counts[i] + 1) // cores[i]), counts[i] / cores[i], i))
        counts[host] += 1
    return [Block(sum(counts[:i]), count) for i, count in enumerate(counts)]


def joined(parts: Mapping[Block, PyTree]) -> PyTree:
    """Return what all tasks have, from what those of each block have, with leading axis ``task``."""
    ordered = [parts[block] for block in sorted(parts)]
    return jax.tree.map(lambda *x: np.concatenate(x), *ordered)


def spread(block: Block, devices: int) -> Int[np.ndarray, " place"]:
    """Return the places of a block's tasks, with the last one repeated until every device has as many tasks.

    Args:
        block: The tasks.
        devices: How many devices compute them; of fewer tasks than devices each has one of its own.
    """
    most = -(-block.count // devices) * devices if block.count > devices else block.count
    return block.first + np.minimum(np.arange(most), block.count - 1)
