"""The rounds of adaptation: act, estimate, infer; the same for training, evaluation and `adapt`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from tesp.acting import Agent
from tesp.adaptation.task_axis import gather, map_over_tasks, replicate, shard_tasks, task_mesh
from tesp.episodes.actor import Actor, start
from tesp.episodes.budget import ROUND_CAPACITY
from tesp.episodes.collect import Outcomes, Stopwatch, collect
from tesp.episodes.compiled import collect_compiled
from tesp.errors import LocatedError, NonFiniteError
from tesp.methods.base import Method, Metrics, Round
from tesp.numerics import with_usual_numerics
from tesp.sampling import SamplingSettings
from tesp.task_sets import told
from tesp.tasks.simulation import EnvironmentPool, Simulation
from tesp.types import Episodes, PyTree

#: Separate the seeds of environments, and what agents begin with, from the noise of actions.
_ENVIRONMENTS, _BEGINNINGS = 0x5EED, 0x5EEE


class RoundResult(NamedTuple):
    """One round of all tasks.

    Attributes:
        fast_update: Its number: how often the method has inferred before, not counting a round −1, in which nothing is
            known. For gradient methods the number of fast-updates before the round.
        belief: What it was sampled under, with leading axis ``task``; None where beliefs are not kept.
        round: Its episodes, likewise.
        outcomes: What became of the episodes.
    """

    fast_update: int
    belief: PyTree
    round: Round | None
    outcomes: Outcomes


#: Told of every round while its episodes are at hand, with the agents that sampled it.
OnRound = Callable[[RoundResult, Agent], None]


class Progress(NamedTuple):
    """How far the adaptation of a number of tasks has come: what more inferences go on from.

    Attributes:
        belief: What the last round was sampled under, with leading axis ``task``.
        round: The last round, which the next inference learns from.
        fast_updates: Its number; see `RoundResult`.
    """

    belief: PyTree
    round: Round
    fast_updates: int


@dataclass
class Adaptation:
    """What an adaptation of a number of tasks left behind.

    Attributes:
        rounds: All rounds; if the adaptation went on from an earlier one, those after its own.
        trials: What the method keeps of each round for the meta-update, where rounds are kept.
        stopwatch: Seconds in ``physics``, ``acting`` and ``recording``, or ``sampling`` where a round is compiled as
            a whole; and in ``fast_updates``.
        progress: What the adaptation can be continued from.
    """

    rounds: list[RoundResult] = field(default_factory=list)
    trials: list[PyTree] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    progress: Progress | None = None

    @property
    def steps(self) -> int:
        """Environment steps sampled."""
        return int(sum(r.outcomes.length.sum() for r in self.rounds))


class Learner:
    """A method, compiled for many tasks at once.

    It holds no parameters; every method takes them and returns new ones.

    Attributes:
        method: The method.
        sampling: How much is sampled.
    """

    def __init__(self, method: Method, sampling: SamplingSettings):
        self.method, self.sampling = method, sampling
        at_once = method.tasks_at_once
        self._noise = jax.jit(partial(_noise, one_by_one=sampling.round_budget == "steps"), static_argnums=(3,))
        self._prior = jax.jit(lambda parameters, tasks: map_over_tasks(method.prior, parameters, tasks, at_once))
        self._estimate = jax.jit(lambda episodes: map_over_tasks(lambda _, x: method.estimate(x), None, episodes, 1))
        self._infer = jax.jit(partial(_infer, method))

    @with_usual_numerics
    def adapt(
        self,
        parameters: PyTree,
        simulation: Simulation | EnvironmentPool,
        tasks: Float[np.ndarray, "task parameter"],
        horizon: int,
        key: PRNGKeyArray,
        task_ids: np.ndarray | None = None,
        keep_rounds: bool = True,
        *,
        keep_beliefs: bool = False,
        episodes: int | None = None,
        last: int | None = None,
        since: Progress | None = None,
        on_round: OnRound | None = None,
    ) -> Adaptation:
        """Run the rounds of the method's plan on a number of tasks, with an inference after each but the last.

        Args:
            parameters: What acting and inferring depend on; see `tesp.methods.base.Method.parameters`.
            simulation: One simulation for every task and each of N episodes, task-major; or a pool.
            tasks: The tasks.
            horizon: H.
            key: Randomness of this adaptation; rounds and tasks are folded in.
            task_ids: What identifies each task in the randomness; its index by default.
            keep_rounds: Whether what the method keeps of rounds is there in the end. The meta-update needs it; whoever
                only looks at the outcomes of many tasks saves its memory.
            keep_beliefs: Whether every round's belief and episodes are there in the end too.
            episodes: N; by default that of the settings.
            last: Number of the last round, those done before included; by default the plan's.
            since: Where an earlier adaptation of the same tasks ended. Nothing is sampled again: its last round is
                what the next inference learns from. With the same key and N the result is that of one adaptation.
            on_round: Called after every round.
        """
        count, plan, method = len(tasks), self.method.plan, self.method
        sampler = _Sampler(
            self, simulation, tasks, horizon, key, task_ids, episodes or self.sampling.episodes_per_round
        )
        parameters = replicate(parameters, count)
        result = Adaptation()
        last = plan.last if last is None else last
        if since is None:
            began = perf_counter()
            belief = self._prior(parameters, shard_tasks(np.asarray(tasks, np.float32), count))
            result.stopwatch.add("fast_updates", began)
            number, current = plan.first, None
        else:
            belief, current = shard_tasks((since.belief, since.round), count)
            number = int(since.fast_updates) + 1
        while current is None or number <= last:
            if current is not None:
                belief = self._inferred(parameters, belief, current, result.stopwatch, tasks, number)
            agents = _agents(method, parameters, belief)
            current, outcomes = sampler.sample(agents, number, result.stopwatch)
            done = RoundResult(number, belief, current, outcomes)
            if on_round is not None:
                on_round(done, agents)
            if keep_rounds:
                # Not compiled: what is kept as it is, is not copied.
                result.trials.append(jax.vmap(method.keep)(belief, current))
            result.rounds.append(done if keep_beliefs else done._replace(belief=None, round=None))
            number += 1
        result.progress = Progress(belief, current, number - 1)
        return result

    def _inferred(self, parameters, belief, experience, stopwatch, tasks, number) -> PyTree:
        began = perf_counter()
        belief, measured = jax.block_until_ready(self._infer(parameters, belief, experience))
        stopwatch.add("fast_updates", began)
        for name, values in measured.items():
            finite = np.isfinite(np.asarray(values))
            if not finite.all():
                task = int(np.argmin(finite))
                place = f"in fast-update {number}" if number > 0 else "after the warm-up round"
                raise NonFiniteError(name, task, f"{place} on the task {told(tasks[task])}")
        return belief

    @with_usual_numerics
    def represent(self, parameters: PyTree, belief: PyTree) -> Float[Array, "task d"]:
        """Return what beliefs say about their tasks; see `tesp.methods.base.Method.representation`."""
        return _represent(self.method, replicate(parameters, len(jax.tree.leaves(belief)[0])), belief)

    @with_usual_numerics
    def meta_update(self, state: PyTree, adaptation: Adaptation, done: int, total: int) -> tuple[PyTree, Metrics]:
        """Train on what the tasks experienced; see `tesp.methods.base.Method.meta_update`."""
        return self.method.meta_update(state, adaptation.trials, done, total)


class _Sampler:
    """Samples the rounds of one adaptation: everything that stays the same from round to round."""

    def __init__(self, learner: Learner, simulation, tasks, horizon, key, task_ids, episodes):
        self._learner, self._simulation, self._tasks = learner, simulation, tasks
        self._key = key
        self._ids = jnp.arange(len(tasks)) if task_ids is None else jnp.asarray(task_ids)
        # N, where more episodes may follow the first N; there is always room for all that may.
        self._at_once = episodes if learner.sampling.round_budget == "steps" else None
        self._room = ROUND_CAPACITY * episodes if self._at_once else episodes
        self._horizon = horizon

    def sample(self, agents: Agent, number: int, stopwatch: Stopwatch) -> tuple[Round, Outcomes]:
        """Collect a round and estimate what its inference needs."""
        plan = self._learner.method.plan
        # A second half takes the noise of the warm-up round that it stands in for.
        try:
            parts = [
                self._collect(agents, part, stopwatch)
                for part in ([0, 1] if plan.twice and number == plan.first else [number + 1])
            ]
        except LocatedError as error:
            raise error.at(self._place(error.task, number)) from error
        collected, outcomes, memory = (
            jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts) if parts[1:] else parts[0]
        )
        began = perf_counter()
        episodes, memory = shard_tasks((collected, memory), len(self._tasks))
        with jax.enable_x64(True):
            estimates = self._learner._estimate(episodes)
        sampled = Round(episodes, memory, jax.block_until_ready(estimates))
        stopwatch.add("fast_updates", began)
        return sampled, outcomes

    def _place(self, task: int | None, number: int) -> str:
        """Say which round it was, and the parameters of the task if one is to blame."""
        place = "in the warm-up round" if number < 0 else f"in the round after {number} fast-updates"
        return place if task is None else f"{place} on the task {told(self._tasks[task])}"

    def _collect(self, agents: Agent, number: int, stopwatch: Stopwatch) -> tuple[Episodes, Outcomes, PyTree]:
        shape = (self._room, self._horizon, self._learner.method.action_size)
        noise = self._learner._noise(self._key, self._ids, number, shape)
        keys = None
        if agents.remembers:
            keys = _keys(jax.random.fold_in(jax.random.fold_in(self._key, number), _BEGINNINGS), self._ids)
            keys = _episode_keys(keys, self._room)
        dynamics = self._simulation.compiled
        if dynamics is not None:
            return self._compiled(dynamics, agents, noise, keys, stopwatch)
        return self._stepped(agents, noise, keys, number, stopwatch)

    def _stepped(self, agents, noise, keys, number, stopwatch):
        """Sample step by step, policy and physics in turns."""
        began = perf_counter()
        # Acting is many small calls, for which one device is faster than a mesh.
        act = Actor(gather(agents), noise.shape[0], noise.shape[1], self._at_once, keys)
        drawn, seeds = np.asarray(noise), None
        if isinstance(self._simulation, EnvironmentPool):
            one_by_one = self._at_once is not None
            drawn_seeds = _seeds(self._key, self._ids, number, noise.shape[1], one_by_one)
            seeds = np.asarray(drawn_seeds).astype(np.int64).ravel()
        stopwatch.add("acting", began)
        measured = {} if self._at_once is None else {"at_once": self._at_once}
        episodes, outcomes = collect(self._simulation, act, self._tasks, drawn, stopwatch, seeds, **measured)
        return episodes, outcomes, jax.tree.map(lambda x: x.reshape(*noise.shape[:2], *x.shape[1:]), act.memory)

    def _compiled(self, dynamics, agents, noise, keys, stopwatch):
        """Sample as one compiled loop, with the policy inside."""
        began = perf_counter()
        mesh = task_mesh(len(self._tasks))
        memory = () if keys is None else start(agents, keys)
        memory = jax.tree.map(lambda x: x.reshape(*noise.shape[:2], *x.shape[1:]), memory)
        sampled = collect_compiled(dynamics, agents, self._tasks, noise, mesh, at_once=self._at_once, memory=memory)
        stopwatch.add("sampling", began)
        return sampled


@partial(jax.jit, static_argnums=0)
def _agents(method: Method, parameters: PyTree, belief: PyTree) -> Agent:
    """Return the agents of many tasks, with a leading axis ``task`` in what is their own."""
    own = map_over_tasks(lambda shared, one: method.agent(shared, one).own, parameters, belief, method.tasks_at_once)
    return method.agent(parameters, jax.tree.map(lambda x: x[0], belief)).of(own)


def _infer(method: Method, parameters: PyTree, belief: PyTree, experience: Round) -> tuple[PyTree, Any]:
    """Return what is believed about every task after a round, and what is measured of it."""

    def one(parameters, data):
        inferred = method.infer(parameters, *data)
        return inferred, dict(method.measured(inferred))

    return map_over_tasks(one, parameters, (belief, experience), method.tasks_at_once)


@partial(jax.jit, static_argnums=0)
def _represent(method: Method, parameters: PyTree, belief: PyTree) -> Float[Array, "task d"]:
    return jax.vmap(lambda one: method.representation(parameters, one))(belief)


def _seeds(key: PRNGKeyArray, task_ids, round_number, episodes: int, one_by_one: bool = False):
    """Draw seeds for the environments of a round, with keys as for its noise."""
    keys = _keys(jax.random.fold_in(jax.random.fold_in(key, round_number), _ENVIRONMENTS), task_ids)
    if one_by_one:
        return jax.vmap(jax.vmap(lambda k: jax.random.randint(k, (), 0, 2**31 - 1)))(_episode_keys(keys, episodes))
    return jax.vmap(lambda k: jax.random.randint(k, (episodes,), 0, 2**31 - 1))(keys)


def _noise(
    key: PRNGKeyArray, task_ids, round_number, shape: tuple[int, int, int], one_by_one: bool = False
) -> Float[Array, "task ..."]:
    """Draw standard normal noise, one key per task and round, so that it does not depend on what else is sampled.

    With ``one_by_one``, one key per episode too: it does not depend on how many episodes there is room for either.
    """
    keys = _keys(jax.random.fold_in(key, round_number), task_ids)
    if one_by_one:
        return jax.vmap(jax.vmap(lambda k: jax.random.normal(k, shape[1:])))(_episode_keys(keys, shape[0]))
    return jax.vmap(lambda k: jax.random.normal(k, shape))(keys)


def _keys(key: PRNGKeyArray, task_ids) -> Key[Array, " task"]:
    return jax.vmap(lambda task: jax.random.fold_in(key, task))(task_ids)


def _episode_keys(keys: Key[Array, " task"], episodes: int) -> Key[Array, "task episode"]:
    numbers = jnp.arange(episodes)
    return jax.vmap(lambda key: jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers))(keys)
