"""Hosts in this process, without Ray: what each does is done when it is asked for, unless it is lost before."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from tesp.cluster.block_work import BlockWork
from tesp.cluster.pool import HostLostError, Member, Pool


@dataclass(eq=False)
class Promise:
    """A result, or the error in place of it."""

    value: Any = None
    error: Exception | None = None

    def get(self):
        if self.error is not None:
            raise self.error
        return self.value


class HostsHere(Pool):
    """Hosts by their cores.

    Args:
        learner: The family, the method and how much is sampled.
        cores: Of each host.
        before: Told the pool, what is asked, how often it has been and the host, before every call; may lose and add
            hosts.
    """

    def __init__(self, learner, cores, before: Callable | None = None):
        self._learner, self.before = learner, before
        self.members, self.called, self.coming = [], Counter(), []
        for count in cores:
            self.add(count)

    def add(self, cores=1):
        """A host comes; it is taken in when hosts are dealt to again."""
        name = f"host {len(self.called) + len(self.members) + len(self.coming)}"
        self.coming.append(Member(name, cores, BlockWork(*self._learner, cores)))

    def refresh(self):
        self.members += self.coming
        self.coming = []

    def put(self, value):
        # As it arrives elsewhere.
        return cloudpickle.loads(cloudpickle.dumps(value))

    def call(self, member, what, *given):
        self.called[what] += 1
        if self.before is not None:
            self.before(self, what, self.called[what], member)
        try:
            given = [one.get() if isinstance(one, Promise) else one for one in given]
            if member not in self.members:
                raise HostLostError(member.name)
            return Promise(getattr(member.actor, what)(*given))
        except Exception as error:
            return Promise(error=error)

    def first_of(self, results):
        return results[-1]

    def result(self, of):
        return of.get()

    def give_up(self, member):
        if member in self.members:
            self.members.remove(member)

    def silent(self):
        return []
