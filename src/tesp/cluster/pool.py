"""The hosts that there are: started where there are cores, given up when they are lost, and more as machines join."""

import abc
import contextlib
import importlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle

from tesp.cluster.host import Failed, Host, Order
from tesp.cluster.ray import Cluster, UnfitError, first_line, versions
from tesp.errors import TespError, describe_error
from tesp.machine import processor_name

#: Seconds until a machine must have made a host, and until a host that has nothing to do must answer.
_PATIENCE, _ANSWER = 180.0, 30.0
#: Variables that change how JAX computes, which hosts get from the driver.
_ENVIRONMENT = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_DEFAULT_MATMUL_PRECISION")

#: Told in one line what happens to hosts.
Tell = Callable[[str], None]


class HostLostError(Exception):
    """A host does not answer any more."""


class NoHostsError(TespError):
    """There is no host, and none comes."""


@dataclass(frozen=True, eq=False)
class Member:
    """A host that works.

    Attributes:
        name: What people know it by.
        cores: How many it has.
        actor: What is called.
        node: The machine that it is on.
    """

    name: str
    cores: int
    actor: Any
    node: str = ""


class Pool(abc.ABC):
    """Hosts that can be asked.

    Attributes:
        members: Those that there are, in the order in which they came.
    """

    members: list[Member]

    @abc.abstractmethod
    def refresh(self) -> None:
        """Take in hosts that have come, and start some where there are machines for more; wait only for the first."""

    @abc.abstractmethod
    def put(self, value: Any) -> Any:
        """Store what several hosts are to be given; return what stands for it in `call`."""

    @abc.abstractmethod
    def call(self, member: Member, what: str, *given: Any) -> Any:
        """Ask a host to do something; return what stands for the result, also in other calls."""

    @abc.abstractmethod
    def first_of(self, results: Sequence[Any]) -> Any:
        """Wait until one of several results is there, or is known never to be; return which."""

    @abc.abstractmethod
    def result(self, of: Any) -> Any:
        """Return a result.

        Raises:
            HostLostError: A host that had to do with it is lost.
            TespError: It went wrong, as the library foresees.
        """

    @abc.abstractmethod
    def give_up(self, member: Member) -> None:
        """Count a host as lost, whatever becomes of it."""

    @abc.abstractmethod
    def silent(self) -> list[Member]:
        """Return the hosts that do not answer, although they have nothing else to do."""


def places(free: Mapping[str, int], wanted: int) -> Counter[str]:
    """Return how many hosts to start on each machine, so that each gets as many cores as can be.

    Args:
        free: Free cores of each machine.
        wanted: How many hosts.
    """
    planned: Counter[str] = Counter()
    for _ in range(wanted):
        best = max(free, key=lambda node: free[node] / (planned[node] + 1), default=None)
        if best is None or free[best] < planned[best] + 1:
            break
        planned[best] += 1
    return planned


class RayPool(Pool):
    """Hosts as actors of Ray.

    Args:
        cluster: Where.
        learner: The family, the method and how much is sampled.
        wanted: How many hosts; None for one on every machine, those that join included.
        tell: Told what happens to hosts.
    """

    def __init__(self, cluster: Cluster, learner: tuple, wanted: int | None, tell: Tell):
        self._ray, self._wanted, self._tell = cluster.ray, wanted, tell
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._order = self.put(Order(versions(), environment, cloudpickle.dumps(learner)))
        self.members = []
        self._coming: dict[Any, tuple[Member, float]] = {}
        self._refused: dict[str, TespError] = {}
        self._had_some = False

    def refresh(self):
        """Adopt and start hosts; wait for the first, unless all machines refuse from the beginning."""
        self._start()
        self._adopt(wait=0.0)
        until = time.monotonic() + _PATIENCE
        while not self.members:
            if time.monotonic() > until or (self._refused and not self._coming and not self._had_some):
                reason = None if self._had_some else next(iter(self._refused.values()), None)
                raise NoHostsError(
                    str(reason) if reason else f"No host has come up within {_PATIENCE:.0f} s; look at `ray status`."
                ) from reason
            self._adopt(wait=1.0)
            self._start()

    def complete(self, patience: float = _PATIENCE) -> None:
        """Wait for the hosts that have been started, too."""
        until = time.monotonic() + patience
        while self._coming and time.monotonic() < until:
            self._adopt(wait=1.0)

    def put(self, value):
        """Put an object into Ray's store."""
        return self._ray.put(value)

    def call(self, member, what, *given):
        """Call the actor."""
        return member.actor.do.remote(what, *given)

    def first_of(self, results):
        """Wait."""
        return self._ray.wait(list(results), num_returns=1, fetch_local=False)[0][0]

    def result(self, of):
        """Fetch it."""
        with self._lost_or_broken():
            found = self._ray.get(of)
        if isinstance(found, Failed):
            raise found.error
        return found

    def give_up(self, member):
        """End the actor, if it is still there."""
        if member in self.members:
            self.members.remove(member)
            self._tell(f"host {member.name} is lost; others do what it had to do")
        with contextlib.suppress(Exception):
            self._ray.kill(member.actor)

    def silent(self):
        """Call all of them."""
        calls = {member.actor.answer.remote(): member for member in self.members}
        answered = set()
        for call in self._ray.wait(list(calls), num_returns=len(calls), timeout=_ANSWER)[0] if calls else ():
            with contextlib.suppress(HostLostError), self._lost_or_broken():
                self._ray.get(call)
                answered.add(call)
        return [member for call, member in calls.items() if call not in answered]

    def close(self) -> None:
        """End all hosts."""
        for member in [*self.members, *(member for member, _ in self._coming.values())]:
            with contextlib.suppress(Exception):
                self._ray.kill(member.actor)
        self.members, self._coming = [], {}

    @contextlib.contextmanager
    def _lost_or_broken(self):
        errors = importlib.import_module("ray.exceptions")
        try:
            yield
        except errors.RayTaskError as error:
            if isinstance(error.cause, errors.RayError):
                raise HostLostError(first_line(error)) from error
            raise
        except errors.RayError as error:
            raise HostLostError(first_line(error)) from error

    def _start(self) -> None:
        """Start hosts on machines that have cores for more."""
        taken: Counter[str] = Counter()
        hosts: Counter[str] = Counter()
        for member in [*self.members, *(member for member, _ in self._coming.values())]:
            taken[member.node] += member.cores
            hosts[member.node] += 1
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        free = {
            name: int(node["Resources"].get("CPU", 0)) - taken[name]
            for name, node in nodes.items()
            if name not in self._refused
        }
        if self._wanted is None:
            planned = Counter({name: 1 for name, cores in free.items() if cores > 0 and not hosts[name]})
        else:
            planned = places(free, self._wanted - hosts.total())
        for name, count in planned.items():
            for _ in range(count):
                self._start_on(nodes[name], free[name] // count)

    def _start_on(self, node: Mapping[str, Any], cores: int) -> None:
        scheduling = importlib.import_module("ray.util.scheduling_strategies")
        there = scheduling.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        made = self._ray.remote(Host).options(num_cpus=cores, max_restarts=0, scheduling_strategy=there).remote()
        machine = node["NodeManagerAddress"]
        member = Member(machine, cores, made, node["NodeID"])
        self._coming[made.begin.remote(self._order, machine, cores)] = member, time.monotonic()

    def _adopt(self, wait: float) -> None:
        """Take in those that are ready; give up those that cannot be, or take too long."""
        if self._coming:
            for call in self._ray.wait(list(self._coming), num_returns=1, timeout=wait)[0]:
                self._take_in(call, self._coming.pop(call)[0])
        for call, (member, since) in list(self._coming.items()):
            if time.monotonic() > since + _PATIENCE:
                del self._coming[call]
                with contextlib.suppress(Exception):
                    self._ray.kill(member.actor)

    def _take_in(self, call: Any, member: Member) -> None:
        try:
            processor = self.result(call)
        except TespError as error:
            self._refused[member.node] = error
            self._tell(f"host {member.name} is refused: {error}")
        except HostLostError as error:
            self._tell(f"host {member.name} could not begin: {error}")
        except importlib.import_module("ray.exceptions").RayTaskError as error:
            # A package is not there, tesp itself or what the family imports.
            self._refused[member.node] = refused = UnfitError(
                f"The machine {member.name} cannot make a host ({describe_error(error.cause)}); install there what is "
                "installed here: tesp, and what the family imports."
            )
            self._tell(f"host {member.name} is refused: {refused}")
        else:
            self._had_some = True
            self.members.append(member)
            if processor != processor_name():
                self._tell(f"host {member.name} has another processor, {processor}: last bits may differ")
