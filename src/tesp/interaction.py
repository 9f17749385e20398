"""The rounds of adaptation: sample, estimate, fast-update, buffer; the same for training and evaluation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

from tesp.adaptation.fast_update import Context, fast_update
from tesp.adaptation.meta_update import Experience, MetaUpdated, Round, early_weights, meta_update
from tesp.adaptation.objective import Batch
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_axis import gather, map_over_tasks, replicate, shard_tasks, task_mesh
from tesp.algorithms.agent import PolicyAgent, policy_agents
from tesp.algorithms.base import Algorithm
from tesp.episodes import buffer as episode_buffer
from tesp.episodes.actor import Actor
from tesp.episodes.budget import ROUND_CAPACITY
from tesp.episodes.collect import Outcomes, Stopwatch, collect
from tesp.episodes.compiled import collect_compiled
from tesp.episodes.settings import SamplingSettings
from tesp.errors import NonFiniteError
from tesp.estimators.advantages import advantages
from tesp.estimators.settings import EstimationSettings
from tesp.tasks.simulation import EnvironmentPool, Simulation
from tesp.types import Episodes, Parameters, PyTree

#: Separates the seeds of environments from the noise of actions.
_ENVIRONMENTS = 0x5EED


class RoundResult(NamedTuple):
    """One round of all tasks.

    Attributes:
        fast_update: Number of fast-updates before the round; −1 for the warm-up round.
        round: Embeddings and batch, with leading axis ``task``; None where rounds are not kept.
        outcomes: What became of the episodes.
        inner_norm: Norms of the inner gradients that followed the round, (task,), or None.
    """

    fast_update: int
    round: Round | None
    outcomes: Outcomes
    inner_norm: np.ndarray | None


#: Told of every round while its episodes are at hand, with the policies that sampled it (leading axis ``task`` where
#: every task has its own). The policies' memory may be reused afterwards: whoever keeps them copies them.
OnRound = Callable[[RoundResult, PyTree], None]


class Progress(NamedTuple):
    """How far the adaptation of a number of tasks has come: what more fast-updates go on from.

    Attributes:
        adapted: θ^{k+1}, with leading axis ``task``.
        buffer: B^k, likewise, or None for algorithms without one.
        batch: Episodes and advantages of the round after k fast-updates, which the next one learns from.
        fast_updates: k.
    """

    adapted: PyTree
    buffer: Episodes | None
    batch: Batch
    fast_updates: int


@dataclass
class Adaptation:
    """What fast-updates of a number of tasks left behind.

    Attributes:
        adapted: θ^{K+1}, with leading axis ``task``.
        gradient_sum: Σ_k g_k, likewise.
        rounds: The warm-up round (where the algorithm has one) and rounds 1…K+1; if the adaptation went on from an
            earlier one, those after its own fast-updates.
        early_sums: Σ_{j<k} g_j before each of the rounds 1…K, where a loss on every round needs them.
        stopwatch: Seconds in ``physics``, ``acting`` and ``recording``, or ``sampling`` where a round is compiled as
            a whole; and in ``fast_updates``.
        progress: What the adaptation can be continued from.
    """

    adapted: PyTree
    gradient_sum: PyTree
    rounds: list[RoundResult] = field(default_factory=list)
    early_sums: list[PyTree] = field(default_factory=list)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    progress: Progress | None = None

    @property
    def steps(self) -> int:
        """Environment steps sampled."""
        return int(sum(r.outcomes.length.sum() for r in self.rounds))


class Learner:
    """An algorithm with its settings, compiled: everything between episodes and new parameters.

    It holds no parameters; every method takes them and returns new ones.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        sampling: SamplingSettings,
        fast: FastUpdateSettings,
        meta: MetaUpdateSettings,
        estimation: EstimationSettings,
    ):
        self.algorithm, self.sampling, self.fast, self.meta = algorithm, sampling, fast, meta
        self._embed = eqx.filter_jit(partial(_embed, algorithm, meta.tasks_at_once))
        self._noise = jax.jit(partial(_noise, one_by_one=sampling.round_budget == "steps"), static_argnums=(3,))
        self._advantages = jax.jit(partial(_advantages, estimation))
        # θ^k and the sum of gradients give their memory to θ^{k+1} and the next sum. The meta-update gets nothing to
        # reuse: if it meets a number that is not finite, training stops with the parameters from before.
        self._fast_update = jax.jit(partial(_fast_updates, algorithm, fast, meta.tasks_at_once), donate_argnums=(0, 1))
        size = None if algorithm.keep_all else sampling.buffer_size
        self._first_buffer = jax.jit(jax.vmap(partial(episode_buffer.update, None, size=size)))
        self._buffer = jax.jit(jax.vmap(partial(episode_buffer.update, size=size)))
        self._meta_update = eqx.filter_jit(
            partial(meta_update, partial(_condition, algorithm), learned_rates=algorithm.learned_rates),
        )

    def adapt(
        self,
        parameters: Parameters,
        simulation: Simulation | EnvironmentPool,
        tasks: Float[np.ndarray, "task parameter"],
        horizon: int,
        key: PRNGKeyArray,
        task_ids: np.ndarray | None = None,
        keep_rounds: bool = True,
        *,
        episodes: int | None = None,
        fast_updates: int | None = None,
        since: Progress | None = None,
        on_round: OnRound | None = None,
    ) -> Adaptation:
        """Run the warm-up round, K fast-updates and the final round K+1 on a number of tasks.

        Args:
            parameters: The meta-learner.
            simulation: One simulation for every task and each of N episodes, task-major; or a pool.
            tasks: The tasks.
            horizon: H.
            key: Randomness of this adaptation; rounds and tasks are folded in.
            task_ids: What identifies each task in the randomness; its index by default.
            keep_rounds: Whether the rounds' episodes are kept. The meta-update needs them; whoever only looks at
                the outcomes of many tasks saves their memory.
            episodes: N; by default that of the settings.
            fast_updates: K, those done before included; by default that of the settings.
            since: Where an earlier adaptation of the same tasks ended. Nothing is sampled again: its last round is
                what the next fast-update learns from. With the same key and N the result is that of one adaptation.
            on_round: Called after every round.
        """
        count = len(tasks)
        sampler = _Rounds(
            self, parameters, simulation, tasks, horizon, key, task_ids, episodes or self.sampling.episodes_per_round
        )
        parameters, context = sampler.parameters, Context(None, sampler.task_array)
        start = _for_each_task(parameters.adapted, count) if since is None else since.adapted
        adapted = shard_tasks(start, count)
        result = Adaptation(adapted, jax.tree.map(jnp.zeros_like, adapted))
        last = self.fast.fast_updates if fast_updates is None else fast_updates

        def sample(k: int) -> Round:
            began = perf_counter()
            if k < 0:
                embedding = shard_tasks(np.zeros((count, self.algorithm.embedding_size), np.float32), count)
            else:
                embedding = jax.block_until_ready(self._embed(result.adapted, context))
            result.stopwatch.add("fast_updates", began)
            sampled = sampler.sample(result, context, k, embedding)
            if on_round is not None:
                on_round(result.rounds[-1], self.algorithm.policy(result.adapted, parameters.shared))
            if not keep_rounds:
                result.rounds[-1] = result.rounds[-1]._replace(round=None)
            return sampled

        if since is None:
            k = 0
            if self.algorithm.warm_up:
                context = Context(self._first_buffer(sample(-1).batch.episodes), sampler.task_array)
            batch = sample(0).batch
        else:
            k, batch = since.fast_updates, shard_tasks(since.batch, count)
            context = Context(None if since.buffer is None else shard_tasks(since.buffer, count), sampler.task_array)
        for done in range(k + 1, last + 1):
            began = perf_counter()
            if keep_rounds and self.meta.early_loss_weight > 0 and not self.fast.second_order:
                # A copy, for the fast-update uses the sum's memory again.
                result.early_sums.append(jax.tree.map(jnp.copy, result.gradient_sum))
            self._adapt_once(parameters, result, context, batch)
            if context.buffer is not None:
                context = Context(self._buffer(context.buffer, batch.episodes), sampler.task_array)
            jax.block_until_ready((result.adapted, context))
            result.stopwatch.add("fast_updates", began)
            batch = sample(done).batch
        result.progress = Progress(result.adapted, context.buffer, batch, max(k, last))
        return result

    def _adapt_once(self, parameters, result, context, batch) -> None:
        """Do the fast-update that follows a round, for all tasks; what ``result`` held before is used up."""
        result.adapted, result.gradient_sum, norm = self._fast_update(
            result.adapted, result.gradient_sum, parameters.rates, parameters.shared, context, batch
        )
        norm = np.asarray(norm)
        if not np.isfinite(norm).all():
            raise NonFiniteError("gradient of the fast-update", int(np.argmin(np.isfinite(norm))))
        if result.rounds:
            result.rounds[-1] = result.rounds[-1]._replace(inner_norm=norm)

    def experience(self, adaptation: Adaptation, progress: float = 0.0) -> Experience:
        """Gather what the meta-update needs from an adaptation, when a share of the run's meta-updates is done."""
        *past, last = [r.round for r in adaptation.rounds if r.round is not None]
        # Rounds are passed on only where an option asks for them: they cost memory and compilation.
        history = tuple(r for r in past if r.context is not None) if self.fast.second_order else ()
        if self.meta.early_loss_weight == 0 or not past:
            return Experience(last, adaptation.gradient_sum, history)
        weights = early_weights(self.meta, len(past), progress)
        weights = shard_tasks(_for_each_task(weights, len(last.embedding)), len(last.embedding))
        return Experience(last, adaptation.gradient_sum, history, tuple(past), tuple(adaptation.early_sums), weights)

    def meta_update(
        self,
        parameters: Parameters,
        optimiser_state: optax.OptState,
        adaptation: Adaptation,
        step_size: float,
        progress: float = 0.0,
    ) -> MetaUpdated:
        """Train the parameters on what the tasks experienced, when a share of the run's meta-updates is done."""
        count = self.sampling.tasks_per_update
        return jax.block_until_ready(
            self._meta_update(
                replicate(parameters, count),
                replicate(optimiser_state, count),
                self.experience(adaptation, progress),
                jnp.asarray(step_size, jnp.float32),
                fast=self.fast,
                meta=self.meta,
            )
        )


class _Rounds:
    """Samples the rounds of one adaptation: everything that stays the same from round to round."""

    def __init__(self, learner: Learner, parameters, simulation, tasks, horizon, key, task_ids, episodes):
        count = len(tasks)
        self._learner, self._simulation, self._tasks = learner, simulation, tasks
        self._key = key
        self._ids = jnp.arange(count) if task_ids is None else jnp.asarray(task_ids)
        # N, where more episodes may follow the first N; there is always room for all that may.
        self._at_once = episodes if learner.sampling.round_budget == "steps" else None
        room = ROUND_CAPACITY * episodes if self._at_once else episodes
        self._shape = (room, horizon, learner.algorithm.action_size)
        self.parameters = replicate(parameters, count)
        self.task_array = shard_tasks(np.asarray(tasks, np.float32), count)

    def sample(self, result: Adaptation, context: Context, fast_updates: int, embedding) -> Round:
        """Collect the round after a number of fast-updates, estimate advantages, append it to the result."""
        learner = self._learner
        policy = learner.algorithm.policy(result.adapted, self.parameters.shared)
        extra = learner.sampling.extra_episodes and fast_updates == 0
        # The extra episodes take the noise of the warm-up round that they stand in for.
        parts = [
            self._collect(policy, embedding, number, result.stopwatch)
            for number in ([0, 1] if extra else [fast_updates + 1])
        ]
        collected, outcomes = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts) if parts[1:] else parts[0]
        began = perf_counter()
        episodes = shard_tasks(collected, len(self._tasks))
        with jax.enable_x64(True):
            estimate = learner._advantages(episodes)
        batch = Batch(episodes, jax.block_until_ready(estimate))
        result.stopwatch.add("fast_updates", began)
        current = Round(context if fast_updates >= 0 else None, embedding, batch)
        result.rounds.append(RoundResult(fast_updates, current, outcomes, None))
        return current

    def _collect(self, policy, embedding, number: int, stopwatch: Stopwatch):
        noise = self._learner._noise(self._key, self._ids, number, self._shape)
        dynamics = self._simulation.compiled
        if dynamics is not None:
            return self._compiled(dynamics, policy, embedding, noise, stopwatch)
        return self._stepped(policy, embedding, noise, number, stopwatch)

    def _stepped(self, policy, embedding, noise, number, stopwatch):
        """Sample step by step, policy and physics in turns."""
        began = perf_counter()
        # Acting is many small calls, for which one device is faster than a mesh.
        act = Actor(self._agents(*gather((policy, embedding))), *noise.shape[:2])
        drawn, seeds = np.asarray(noise), None
        if isinstance(self._simulation, EnvironmentPool):
            one_by_one = self._at_once is not None
            drawn_seeds = _seeds(self._key, self._ids, number, noise.shape[1], one_by_one)
            seeds = np.asarray(drawn_seeds).astype(np.int64).ravel()
        stopwatch.add("acting", began)
        measured = {} if self._at_once is None else {"at_once": self._at_once}
        return collect(self._simulation, act, self._tasks, drawn, stopwatch, seeds, **measured)

    def _compiled(self, dynamics, policy, embedding, noise, stopwatch):
        """Sample as one compiled loop, with the policy inside."""
        began = perf_counter()
        mesh = task_mesh(len(self._tasks))
        agents = self._agents(policy, embedding)
        episodes, outcomes, _ = collect_compiled(dynamics, agents, self._tasks, noise, mesh, at_once=self._at_once)
        stopwatch.add("sampling", began)
        return episodes, outcomes

    def _agents(self, policy, embedding) -> PolicyAgent:
        return policy_agents(self._learner.algorithm.adapts_policy, policy, embedding)


def _for_each_task(tree: PyTree, count: int) -> PyTree:
    return jax.tree.map(lambda x: np.broadcast_to(x, (count, *x.shape)), tree)


def _condition(algorithm: Algorithm, adapted: PyTree, shared: PyTree, context: Context | None):
    policy = algorithm.policy(adapted, shared)
    if context is None:
        return policy, jnp.zeros(algorithm.embedding_size, jnp.float32)
    return policy, algorithm.embedding(adapted, context.buffer, context.task)


def _embed(algorithm: Algorithm, tasks_at_once: int, adapted: PyTree, context: Context):
    def one(_, data):
        parameters, own = data
        return algorithm.embedding(parameters, own.buffer, own.task)

    return map_over_tasks(one, None, (adapted, context), tasks_at_once)


def _advantages(settings: EstimationSettings, episodes: Episodes):
    return map_over_tasks(lambda _, own: advantages(own, settings), None, episodes, 1)


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


def _fast_updates(algorithm, settings, tasks_at_once, adapted, gradient_sum, rates, shared, context, batch):
    """Return θ^{k+1}, the sum of the gradients so far and the norms of the newest, for all tasks."""

    def one(common, data):
        (rates, shared), (parameters, so_far, own, episodes) = common, data
        condition = partial(_condition, algorithm)
        updated = fast_update(condition, parameters, rates, shared, own, episodes, settings)
        return updated.adapted, jax.tree.map(jnp.add, so_far, updated.gradient), updated.norm

    return map_over_tasks(one, (rates, shared), (adapted, gradient_sum, context, batch), tasks_at_once)
