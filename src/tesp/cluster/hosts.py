"""A meta-update over hosts: each holds a block of the tasks, this process adds up what they contribute, and learns."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from tesp.adaptation.contributions import Answer, Contributions
from tesp.cluster.block_work import Done
from tesp.cluster.blocks import Block, Job, deal, joined
from tesp.cluster.pool import HostLostError, Member, NoHostsError, Pool, RayPool
from tesp.cluster.ray import connect, imported, require_answer
from tesp.episodes.collect import Stopwatch
from tesp.episodes.executor import Elsewhere, Executor, UnavailableError
from tesp.episodes.rollout import Adaptation, Learner, RoundResult
from tesp.errors import ConfigurationError, TespError
from tesp.methods.base import Method, SplitMethod
from tesp.tasks.family import Family
from tesp.types import PyTree

_MEGABYTE = 1e6
#: How many hosts may be lost in one meta-update with the same tasks before these count as the reason.
_LOSSES = 5


def on_hosts(
    address: str | None, hosts: int | None = None, console: Console | None = None, *, learning: bool = True
) -> Elsewhere:
    """Return what gives an executor on the hosts of a Ray cluster, of a learner and its family.

    Args:
        address: As for `tesp.cluster.ray.connect`.
        hosts: How many hosts at most; None for one on each machine.
        console: Where is told what happens to hosts.
        learning: Whether meta-updates will be asked for, and not only adaptations.

    Raises:
        ConfigurationError: Ray is not installed or does not fit, or the number is not possible.
    """
    imported()
    if address is not None:
        require_answer(address)
    if hosts is not None and hosts < 1:
        raise ConfigurationError(f"hosts = {hosts} is not possible; give 1 or more.")

    def tell(line: str) -> None:
        if console is not None:
            console.print(line, markup=False)

    @contextlib.contextmanager
    def begin(learner: Learner, family: Family) -> Iterator[Executor]:
        with contextlib.ExitStack() as stack:
            try:
                _require_one_by_one(learner.method)
                if learning:
                    require_split(learner.method)
                cluster = stack.enter_context(connect(address))
                pool = RayPool(cluster, (family, learner.method, learner.sampling), hosts, tell)
                stack.callback(pool.close)
                pool.refresh()
                pool.complete()
            except TespError as error:
                raise UnavailableError(str(error)) from error
            tell(f"hosts: {', '.join(map(_shown, pool.members))}")
            yield HostsExecutor(pool, learner.method)

    return begin


def _shown(host: Member) -> str:
    return f"{host.name} ({host.cores} core{'s' if host.cores > 1 else ''})"


def require_split(method: Method) -> None:
    """Refuse a method whose meta-update cannot be done where the tasks are.

    Raises:
        ConfigurationError: It is no `SplitMethod`, or its options make it one that cannot.
    """
    if not isinstance(method, SplitMethod) or not method.splits:
        raise ConfigurationError(
            f"The method ({type(method).__name__}) cannot learn over hosts, for its meta-update needs all tasks in one "
            "place, as those of methods that remember and of E-MAML do; leave --ray out. Many runs at once are trained "
            "by `tesp compare --ray` and `tesp sweep --ray`."
        )


def _hopeless(block: Block, last: HostLostError) -> TespError:
    return NoHostsError(
        f"{_LOSSES} hosts were lost in one meta-update while they computed {block.count} tasks from number "
        f"{block.first} on; the last one: {last}. If it is those tasks that end them, by their memory for instance, "
        "give more hosts or machines with more memory; `tesp resume` goes on."
    )


def _require_one_by_one(method: Method) -> None:
    """Refuse to compute several tasks together, for which ones these are would depend on the hosts.

    Raises:
        ConfigurationError: The method asks for it.
    """
    if method.tasks_at_once > 1:
        raise ConfigurationError(
            f"tasks_at_once = {method.tasks_at_once} is not possible over hosts, whose number would then change last "
            "bits; leave it at 0, or give 1."
        )


class HostsExecutor(Executor):
    """Works on tasks on hosts. Blocks are dealt anew for every adaptation; of a host that is lost others do the work.

    Attributes:
        pool: The hosts.
    """

    def __init__(self, pool: Pool, method: Method):
        self.pool, self._method = pool, method
        self._numbers = itertools.count()
        self._given: tuple[Any, Any] = (None, None)
        self._host_of: dict[Block, Member] = {}
        self._losses: Counter[Block] = Counter()
        self._spent = _Spent()

    def adapt(self, parameters, tasks, key, task_ids=None, *, keep_rounds=True, disturbance=None):
        """Let every host adapt to a block of the tasks."""
        self.pool.refresh()
        if keep_rounds:
            self._spent = _Spent()
        ids = np.arange(len(tasks)) if task_ids is None else np.asarray(task_ids)
        words = np.asarray(jax.random.key_data(key))
        job = Job(next(self._numbers), np.asarray(tasks), ids, words, disturbance, keep_rounds)
        parameters = jax.tree.map(np.asarray, parameters)
        self._given = self.pool.put(job), self.pool.put(parameters)
        hosts = list(self.pool.members)
        dealt = zip(deal(len(tasks), [host.cores for host in hosts]), hosts, strict=True)
        self._host_of = {block: host for block, host in dealt if block.count}
        self._losses = Counter()
        self._spent.hosts = len(set(self._host_of.values()))
        self._spent.sent((job.tasks, parameters), self._spent.hosts)
        return _adaptation(self._all("sample", self._host_of))

    def meta_update(self, state, adaptation, done, total):
        """Let the method learn from what the hosts answer."""
        method = self._method
        require_split(method)
        assert isinstance(method, SplitMethod)
        return method.learn(state, _OnHosts(self, done, total), done, total)

    def spent(self):
        """Return what the hosts and talking to them have cost since the last adaptation that was learned from."""
        return self._spent.columns()

    @property
    def tasks(self) -> int:
        """How many tasks were adapted to last."""
        return sum(block.count for block in self._host_of)

    def ask(self, question: str, given: PyTree, done: int, total: int) -> Answer:
        """Ask all tasks of the last adaptation; return the sum, in their order, and what is their own."""
        given = jax.tree.map(np.asarray, given)
        again = partial(self._all, "ask", more=(question, self.pool.put(given), done, total))
        self._spent.sent(given, len(set(self._host_of.values())))
        answered = again(self._host_of)
        own = joined({block: done.result.own for block, done in answered.items()})
        if not any(done.result.entries for done in answered.values()):
            return Answer(jnp.zeros(0), own)
        return Answer(jnp.asarray(self._sum(again)), own)

    def _sum(self, again: Callable[[Iterable[Block]], object]) -> Any:
        """Hand a sum from block to block; where one is lost, ask about it again and begin anew."""
        while True:
            began = perf_counter()
            totals: dict[Block, Any] = {}
            for block in sorted(self._host_of):
                before = next(reversed(totals.values()), None)
                totals[block] = self.pool.call(self._host_of[block], "add", block, before)
            try:
                result = self.pool.result(totals[max(totals)])
            except HostLostError:
                self._lose(*self.pool.silent())
                again(self._without_host() or self._without_sum(totals))
                continue
            self._spent.waited(perf_counter() - began)
            self._spent.sent(result, len(self._host_of))
            return result

    def _all(self, what: str, blocks: Iterable[Block], more: tuple = ()) -> dict[Block, Done]:
        """Let the hosts of some blocks do something with them; return the results.

        Raises:
            TespError: Something went wrong with the first of the blocks for which it did.
        """
        began = perf_counter()
        calls = {self._call(what, block, more): block for block in blocks}
        results: dict[Block, Done] = {}
        failures: dict[Block, TespError] = {}
        while calls:
            block = calls.pop(call := self.pool.first_of(list(calls)))
            try:
                results[block] = self.pool.result(call)
            except HostLostError as error:
                self._lose(self._host_of[block])
                self._losses[block] += 1
                if self._losses[block] >= _LOSSES:
                    raise _hopeless(block, error) from error
                calls[self._call(what, block, more)] = block
            except TespError as error:
                failures[block] = error
        if failures:
            raise failures[min(failures)]
        self._spent.worked(perf_counter() - began, {b: (self._host_of[b], done) for b, done in results.items()})
        return results

    def _call(self, what: str, block: Block, more: tuple) -> Any:
        if self._host_of[block] not in self.pool.members:
            self._host_of[block] = self._least_busy()
        return self.pool.call(self._host_of[block], what, *self._given, block, *more)

    def _lose(self, *hosts: Member) -> None:
        for host in hosts:
            if host in self.pool.members:
                self.pool.give_up(host)
                self._spent.lost += 1

    def _without_host(self) -> list[Block]:
        return [block for block, host in self._host_of.items() if host not in self.pool.members]

    def _without_sum(self, totals: dict[Block, Any]) -> list[Block]:
        """Lose the first host whose sum cannot be fetched, although it answers; return its blocks."""
        for block, total in totals.items():
            try:
                self.pool.result(total)
            except HostLostError:
                self._lose(self._host_of[block])
                break
        return self._without_host()

    def _least_busy(self) -> Member:
        """Return the host with the fewest tasks for its cores, waiting for one if there is none."""
        if not self.pool.members:
            self.pool.refresh()
        tasks: Counter[Member] = Counter()
        for block, host in self._host_of.items():
            tasks[host] += block.count
        return min(self.pool.members, key=lambda host: tasks[host] / host.cores)


class _OnHosts(Contributions):
    """Asks tasks on hosts."""

    def __init__(self, executor: HostsExecutor, done: int, total: int):
        self._executor, self._progress = executor, (done, total)
        self.count = executor.tasks

    def ask(self, question, given):
        """Ask them."""
        return self._executor.ask(question, given, *self._progress)


class _Spent:
    """What a meta-update over hosts costs besides computing."""

    def __init__(self):
        self.hosts = self.lost = 0
        self._bytes, self._seconds, self._cpu_seconds = 0, 0.0, 0.0

    def sent(self, tree: PyTree, times: int) -> None:
        """Count arrays that travel."""
        self._bytes += times * sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree))

    def waited(self, seconds: float) -> None:
        """Count time in which no host computes."""
        self._seconds += seconds

    def worked(self, seconds: float, done: dict[Block, tuple[Member, Done]]) -> None:
        """Count what hosts sent, and how much longer it took than the slowest of them computed."""
        busy: dict[Member, float] = {}
        for host, result in done.values():
            busy[host] = busy.get(host, 0.0) + result.seconds
            self._cpu_seconds += result.cpu_seconds
            self.sent(result.result, 1)
        self._seconds += max(seconds - max(busy.values(), default=0.0), 0.0)

    def columns(self) -> dict[str, Any]:
        return {
            "hosts": self.hosts,
            "hosts_lost": self.lost,
            "megabytes_communicated": round(self._bytes / _MEGABYTE, 3),
            "seconds_communication": round(self._seconds, 4),
            "seconds_cpu_hosts": round(self._cpu_seconds, 4),
        }


def _adaptation(sampled: dict[Block, Done]) -> Adaptation:
    """Put the rounds of all blocks together; what they were spent on is that of the slowest host."""
    parts = {block: done.result for block, done in sampled.items()}
    outcomes = joined({block: part.outcomes for block, part in parts.items()})
    numbers = next(iter(parts.values())).numbers
    slowest = max(sampled.values(), key=lambda done: done.seconds).result
    rounds = [RoundResult(number, None, None, one) for number, one in zip(numbers, outcomes, strict=True)]
    return Adaptation(rounds, stopwatch=Stopwatch(dict(slowest.seconds)))
