"""A host of a meta-update: a process on one of the machines, with some of its cores."""

import os
import pickle
from dataclasses import dataclass
from typing import Any

from tesp.cluster.ray import require_fitting
from tesp.compilation_cache import use_compilation_cache
from tesp.devices import use_cores
from tesp.errors import TespError
from tesp.machine import processor_name


@dataclass(frozen=True)
class Order:
    """What a host is told before it does anything.

    Attributes:
        versions: What the driver has installed.
        environment: The driver's variables that change how JAX computes.
        learner: The family, the method and how much is sampled, pickled.
    """

    versions: dict[str, str]
    environment: dict[str, str]
    learner: bytes


@dataclass(frozen=True)
class Failed:
    """What went wrong, where the library foresees it."""

    error: TespError


class Host:
    """Does what the driver asks for. What it keeps makes it quicker and can be made again from what it is asked.

    Nothing here imports JAX before it is told its cores.
    """

    def begin(self, order: Order, machine: str, cores: int) -> str | Failed:
        """Get ready; return what the processor is called.

        Args:
            order: What there is to know.
            machine: What this machine is called.
            cores: How many of its cores are this host's.
        """
        try:
            require_fitting(order.versions, machine)
            os.environ.update(order.environment)
            use_cores(cores)
            use_compilation_cache()
            from tesp.cluster.block_work import BlockWork

            family, method, sampling = pickle.loads(order.learner)
            self._work = BlockWork(family, method, sampling, cores)
        except TespError as error:
            return Failed(error)
        return processor_name()

    def do(self, what: str, *given: Any) -> Any:
        """Call a method of `tesp.cluster.block_work.BlockWork`."""
        try:
            return getattr(self._work, what)(*given)
        except TespError as error:
            return Failed(error)

    def answer(self) -> None:
        """Say that it is there."""
