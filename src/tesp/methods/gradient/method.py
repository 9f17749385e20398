"""Methods that adapt by gradient steps: TESP, MAML, AdaptSV and others, and the oracle, which takes none."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from tesp.adaptation import buffer as episode_buffer
from tesp.adaptation.contributions import Answer, OwnContributions
from tesp.adaptation.fast_update import Context, fast_update
from tesp.adaptation.meta_update import MetaUpdated, meta_update, optimiser
from tesp.adaptation.objective import Batch
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.step_size import admissible_share, averaged, following, step_size
from tesp.adaptation.task_axis import shard_tasks
from tesp.adaptation.task_objective import (
    Experience,
    Past,
    early_weights,
    gradient_of_task,
    pack_experience,
    task_objective,
)
from tesp.estimators.advantages import advantages
from tesp.estimators.settings import EstimationSettings
from tesp.methods.base import Plan, Round, SplitMethod
from tesp.methods.gradient.agent import beside, policy_agent
from tesp.methods.gradient.algorithm import Algorithm
from tesp.methods.gradient.e_maml import credited
from tesp.methods.gradient.metrics import Summary, metrics_of, require_finite, summaries
from tesp.methods.gradient.rates import rate_records
from tesp.types import Episodes, Parameters, PyTree


class State(NamedTuple):
    """What a method of this family trains.

    Attributes:
        parameters: θ_TE, α and θ_policy.
        optimiser_state: Adam's moments.
        step_size: Step size that the schedule ``adaptive`` has found so far.
        average: Moving average of the parameters, or None where none is kept.
    """

    parameters: Parameters
    optimiser_state: optax.OptState
    step_size: float
    average: Parameters | None = None


class Belief(NamedTuple):
    """What is believed about one task.

    Attributes:
        adapted: θ^{k+1}.
        gradient_sum: Σ_k g_k.
        buffer: B^k, or None before there is one.
        task: The task's parameters, for oracles only.
        embedding: h^{k+1}, what the policy is conditioned on; zero before there is a buffer to compute it from.
        norm: Norm of the newest g_k, before clipping.
    """

    adapted: PyTree
    gradient_sum: PyTree
    buffer: Episodes | None
    task: Float[Array, "*batch parameter"]
    embedding: Float[Array, "*batch embedding"]
    norm: Float[Array, "*batch"]


class Kept(NamedTuple):
    """What a meta-update needs of a round.

    Attributes:
        past: The round.
        gradient_sum: Σ_j g_j of the fast-updates before it.
        norm: Norm of the last of these, before clipping.
    """

    past: Past
    gradient_sum: PyTree
    norm: Float[Array, "*batch"]


class Material(NamedTuple):
    """What a task's answers are made of, in the epochs and for the record."""

    experience: Experience
    summary: Summary


class GradientMethod(SplitMethod):
    """Fast-updates of what an `Algorithm` adapts, and a meta-update of everything by PPO (algorithm 1 of the paper).

    Attributes:
        algorithm: Which parameters adapt, with which rates, and what the policy is conditioned on.
        fast: How a task's parameters are adapted.
        meta: How everything is trained.
        estimation: How advantages are estimated.
        buffer_size: M, the best episodes that a task's buffer keeps, where there is one.
        extra_episodes: Whether the first round has twice as many episodes, in place of a warm-up round.
    """

    algorithm: Algorithm
    fast: FastUpdateSettings = eqx.field(static=True)
    meta: MetaUpdateSettings = eqx.field(static=True)
    estimation: EstimationSettings = eqx.field(static=True, default=EstimationSettings())
    buffer_size: int = eqx.field(static=True, default=16)
    extra_episodes: bool = eqx.field(static=True, default=False)

    @property
    def action_size(self) -> int:
        """Entries of an action."""
        return self.algorithm.action_size

    @property
    def plan(self) -> Plan:
        """A warm-up round for algorithms with a buffer, one before each of K fast-updates, and one after the last."""
        return Plan(-1 if self.algorithm.warm_up else 0, self.fast.fast_updates, self.extra_episodes)

    @property
    def tasks_at_once(self) -> int:
        """As the meta-update's."""
        return self.meta.tasks_at_once

    @property
    def sees_task(self) -> bool:
        """Whether it is an oracle."""
        return self.algorithm.sees_task

    def init(self, key):
        """Draw the algorithm's parameters; Adam has seen nothing yet."""
        parameters = self.algorithm.init(key)
        average = parameters if self.meta.parameter_average > 0 else None
        return State(parameters, optimiser().init(parameters), self.meta.learning_rate, average)

    def parameters(self, state, evaluated=False):
        """Return θ_TE, α and θ_policy; what is evaluated is their average, where one is kept."""
        return state.average if evaluated and state.average is not None else state.parameters

    def prior(self, parameters, task):
        """Return θ^1 = θ_TE, with an empty buffer. Before the warm-up round the embedding is zero."""
        adapted = parameters.adapted
        if self.algorithm.warm_up:
            embedding = jnp.zeros(self.algorithm.embedding_size, jnp.float32)
        else:
            embedding = self.algorithm.embedding(adapted, None, task)
        return Belief(adapted, jax.tree.map(jnp.zeros_like, adapted), None, task, embedding, jnp.zeros(()))

    def agent(self, parameters, belief):
        """Return the policy of θ^{k+1} under h^{k+1}."""
        policy = self.algorithm.policy(belief.adapted, parameters.shared)
        return policy_agent(self.algorithm.adapts_policy, policy, belief.embedding, self.algorithm.noise_size)

    def estimate(self, episodes):
        """Return advantages (generalised advantage estimation over a linear baseline)."""
        return advantages(episodes, self.estimation)

    def infer(self, parameters, belief, experience):
        """Fill the buffer after a warm-up round; else take a gradient step on the round and then renew the buffer."""
        if self.algorithm.warm_up and belief.buffer is None:
            return self._with_buffer(belief, experience.episodes)
        updated = fast_update(
            partial(_condition, self.algorithm),
            belief.adapted,
            parameters.rates,
            parameters.shared,
            Context(belief.buffer, belief.task),
            self._batch(experience),
            self.fast,
        )
        gradient_sum = jax.tree.map(jnp.add, belief.gradient_sum, updated.gradient)
        stepped = belief._replace(adapted=updated.adapted, gradient_sum=gradient_sum, norm=updated.norm)
        return self._with_buffer(stepped, experience.episodes)

    def _batch(self, experience: Round) -> Batch:
        """Return the round's episodes as the policy sees them, with their advantages."""
        episodes = experience.episodes
        if self.algorithm.noise_size:
            episodes = replace(episodes, observation=beside(episodes.observation, experience.memory))
        return Batch(episodes, experience.estimates)

    def _with_buffer(self, belief: Belief, episodes: Episodes) -> Belief:
        if self.algorithm.warm_up:
            size = None if self.algorithm.keep_all else self.buffer_size
            belief = belief._replace(buffer=episode_buffer.update(belief.buffer, episodes, size))
        return belief._replace(embedding=self.algorithm.embedding(belief.adapted, belief.buffer, belief.task))

    def measured(self, belief):
        """Return the norm of the newest gradient."""
        return {"gradient of the fast-update": belief.norm}

    def keep(self, belief, experience):
        """Return the round with what its embedding was computed from, and the gradients before it."""
        knows = belief.buffer is not None or not self.algorithm.warm_up
        context = Context(belief.buffer, belief.task) if knows else None
        return Kept(
            Past(context, belief.embedding, self._batch(experience)),
            belief.gradient_sum,
            belief.norm,
        )

    @property
    def splits(self) -> bool:
        """Not with credit for the rounds before the last, whose baseline is a mean over all tasks."""
        return self.meta.exploration_credit == 0

    def material(self, trials, done, total):
        """Pack the rounds for the epochs; summarise for the record what they were sampled with."""
        return self._material(trials, done / total)

    def _material(self, trials: Sequence[Kept], progress: float) -> Material:
        norms = tuple(one.norm for one in trials[1 - self.plan.first :])
        last = trials[-1].past
        drawn_from = last.batch.episodes.behaviour.log_std, last.batch.episodes.valid
        return Material(
            _packed(self.experience(trials, progress), self.tasks_at_once),
            summaries((norms, last.embedding, *drawn_from), self.tasks_at_once),
        )

    def answer(self, question, given, material):
        """Answer a question of the epochs, or with the summary of a task."""
        if question == "summary":
            return Answer(jnp.zeros(0), material.summary)
        parameters, count = given
        algorithm = self.algorithm
        told = (partial(_condition, algorithm), parameters, material.experience)
        if question == "gradient":
            options = algorithm.learned_rates, self.fast, self.meta, algorithm.penalty
            return Answer(*gradient_of_task(*told, count, *options))
        return Answer(jnp.zeros(0), task_objective(*told, self.fast, self.meta, algorithm.penalty)[1])

    def learn(self, state, contributions, done, total):
        """Run the PPO epochs, keep the best parameters, and let step size and average follow."""
        used = step_size(self.meta, state.step_size, done, total)
        updated = self._optimised(state.parameters, state.optimiser_state, contributions, used, done / total)
        require_finite(updated)
        kl = np.asarray(updated.kl)
        average = state.average
        if average is not None:
            average = averaged(average, updated.parameters, self.meta.parameter_average, done)
        found = following(self.meta, state.step_size, used, kl)
        metrics = {
            **metrics_of(updated, jax.tree.map(np.asarray, contributions.ask("summary", ()).own)),
            "step_size": used,
            "admissible_share": round(admissible_share(self.meta, kl), 4),
            "step_size_found": found,
        }
        return State(updated.parameters, updated.optimiser_state, found, average), metrics

    def optimised(
        self,
        parameters: Parameters,
        optimiser_state: optax.OptState,
        trials: Sequence[Kept],
        step_size: float,
        progress: float = 0.0,
    ) -> MetaUpdated:
        """Run the PPO epochs of a meta-update; see `tesp.adaptation.meta_update.meta_update`.

        Args:
            parameters: θ_TE, α and θ_policy.
            optimiser_state: Adam's moments.
            trials: What was kept of every round.
            step_size: Step size of Adam.
            progress: Meta-updates that are done, as a share of the run's.
        """
        own = OwnContributions(self.answer, self._material(trials, progress), self.tasks_at_once)
        return self._optimised(parameters, optimiser_state, own, step_size, progress)

    def _optimised(self, parameters, optimiser_state, contributions, step_size, progress) -> MetaUpdated:
        weights = self._early_weights(progress)
        return jax.block_until_ready(
            meta_update(
                contributions,
                parameters,
                optimiser_state,
                jnp.asarray(step_size, jnp.float32),
                np.float32(1.0) + weights.sum(dtype=np.float32),
                self.fast,
                self.meta,
            )
        )

    def _early_weights(self, progress: float) -> Float[np.ndarray, " round"]:
        """Return w_k of the rounds before the last that have a loss; of none if none has."""
        rounds = self.plan.last - self.plan.first
        if self.meta.exploration_credit:
            # What they weigh is in the advantages of what is credited.
            return np.ones(rounds, np.float32)
        return early_weights(self.meta, rounds if self.meta.early_loss_weight else 0, progress)

    def experience(self, trials: Sequence[Kept], progress: float = 0.0) -> Experience:
        """Gather what the meta-update needs, when a share of the run's meta-updates is done.

        Args:
            trials: What was kept of every round.
            progress: Meta-updates that are done, as a share of the run's.
        """
        *before, last = trials
        past = tuple(kept.past for kept in before)
        # Rounds are passed on only where an option asks for them: they cost memory and compilation.
        history = tuple(one for one in past if one.context is not None) if self.fast.second_order else ()
        credit = self.meta.exploration_credit
        if not past or (self.meta.early_loss_weight == 0 and credit == 0):
            return Experience(last.past, last.gradient_sum, history)
        sums = () if self.fast.second_order else tuple(k.gradient_sum for k in before if k.past.context is not None)
        count = len(last.past.embedding)
        weights = early_weights(self.meta, len(past), progress)
        if credit:
            past, weights = credited(past, last.past, weights, credit, self.estimation.discount), np.ones_like(weights)
        weights = shard_tasks(np.broadcast_to(weights, (count, *weights.shape)), count)
        return Experience(last.past, last.gradient_sum, history, past, sums, weights)

    def representation(self, parameters, belief):
        """Return the embedding."""
        return belief.embedding

    def describe(self, parameters, fresh) -> Iterable[dict[str, Any]]:
        """Yield what the learned rates are, for every array of them."""
        return rate_records(parameters.rates, fresh.rates, self.algorithm.learned_rates, self.fast.rate_bound)


def _condition(algorithm: Algorithm, adapted: PyTree, shared: PyTree, context: Context | None):
    policy = algorithm.policy(adapted, shared)
    if context is None:
        return policy, jnp.zeros(algorithm.embedding_size, jnp.float32)
    return policy, algorithm.embedding(adapted, context.buffer, context.task)


@partial(jax.jit, static_argnums=1)
def _packed(experience: Experience, tasks_at_once: int) -> Experience:
    return pack_experience(experience, tasks_at_once)
