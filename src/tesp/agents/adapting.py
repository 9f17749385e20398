"""What a user does with a trained meta-learner: adapt it to an environment, act, save, load."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float
from rich.console import Console

from tesp.acting import Agent
from tesp.agents.files import agent_arrays, progress_and_history
from tesp.agents.predicting import Predictor
from tesp.agents.rounds import AdaptationRound, adaptation_key, after_text, checked_seed, round_of, warn_if_alike
from tesp.building import build_learner
from tesp.config import Config, from_json, to_json
from tesp.episodes.rollout import Learner, Progress, RoundResult
from tesp.errors import ConfigurationError, RunFolderError
from tesp.interface import Interface
from tesp.methods.base import Method
from tesp.numerics import with_usual_numerics
from tesp.progress import ProgressBar, stderr_if
from tesp.storage import tensor_files
from tesp.storage.interfaces import interface_from
from tesp.storage.strict_json import dumps, loads, structured
from tesp.tasks.checks import checked_count
from tesp.tasks.gymnasium.given import Environment, EnvironmentOf
from tesp.tasks.gymnasium.vector_pool import VectorPool
from tesp.tasks.simulation import EnvironmentPool, Simulation
from tesp.types import PyTree

LEARNER, AGENT = "trained-learner", "adapted-agent"


@dataclass(frozen=True)
class Origin:
    """Where a meta-learner comes from.

    Attributes:
        run: Identity of the run that trained it; None if it is not known.
        meta_update: Meta-updates after which its parameters were what they are; likewise.
    """

    run: str | None = None
    meta_update: int | None = None


@dataclass(frozen=True)
class MetaLearner:
    """A trained meta-learner, ready to be adapted to environments.

    Attributes:
        config: The configuration that it was trained with.
        interface: What it sees and does.
        parameters: What training learned: θ_TE, α and θ_policy for TESP.
        learner: Its method, compiled.
        origin: Where it comes from.
    """

    config: Config
    interface: Interface
    parameters: PyTree
    learner: Learner
    origin: Origin = Origin()

    def adapt(
        self,
        env: Environment,
        fast_updates: int | None = None,
        *,
        episodes: int | None = None,
        horizon: int | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> "AdaptedAgent":
        """Adapt to the task of an environment: the warm-up round, K fast-updates with a round each.

        Args:
            env: A Gymnasium environment, a vector environment whose places all have the same task, or a function that
                makes one (as many as help, which are closed in the end). It is reset and stepped, and never told apart
                from the task: whatever task it has must be the same after every reset.
            fast_updates: K; by default as in training. May be more, or 0.
            episodes: N, episodes of every round; by default as in training. One is enough to run, more tell more.
                Methods that remember leave no choice.
            horizon: H, steps after which an episode is cut off if the environment does not end it before; by default
                as in training.
            seed: Seed of the actions' noise and of the environment's resets.
            progress: Whether progress is shown on the standard error stream.

        Returns:
            The adapted agent. Its ``history`` says what happened in each round.

        Raises:
            ConfigurationError: A number is not possible, the spaces are others than in training, or the method needs
                to be told the task.
            NonFiniteError: An observation, a reward or a gradient became NaN or infinite.

        Warns:
            AdaptationWarning: The return of the last round does not differ significantly from that of the first; not
                where the method says that a round is a single episode, which cannot tell.
        """
        k, n = self._checked(fast_updates, episodes)
        seed = checked_seed(seed)
        horizon = checked_count("horizon", self.interface.horizon if horizon is None else horizon)
        with EnvironmentOf(env, self.interface, n) as pool:
            return self._adapt(pool, None, k, n, horizon, seed, stderr_if(progress))

    def adapt_to_task(
        self,
        simulation: Simulation | EnvironmentPool,
        task: Float[np.ndarray, " parameter"],
        fast_updates: int | None = None,
        *,
        episodes: int | None = None,
        seed: int = 0,
        console: Console | None = None,
    ) -> "AdaptedAgent":
        """Adapt to one task of a family, in a simulation with room for N episodes.

        Args:
            simulation: Made by ``family.simulate(N)``, with N as below.
            task: The task's parameters.
            fast_updates: As for `adapt`.
            episodes: As for `adapt`.
            seed: As for `adapt`.
            console: Where progress is shown.
        """
        k, n = self._checked(fast_updates, episodes)
        seed = checked_seed(seed)
        return self._adapt(simulation, None, k, n, self.interface.horizon, seed, console, task)

    def _checked(self, fast_updates: int | None, episodes: int | None) -> tuple[int, int]:
        k = self.learner.method.plan.last if fast_updates is None else fast_updates
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 0:
            raise ConfigurationError(f"fast_updates = {k!r} is not possible; give an integer, 0 or more.")
        default = self.learner.sampling.episodes_per_round
        return int(k), self._checked_episodes(default if episodes is None else episodes)

    def _checked_episodes(self, episodes: int) -> int:
        only = self.learner.method.plan.episodes
        if only is not None and episodes != only:
            raise ConfigurationError(
                f"episodes = {episodes!r} is not possible with the algorithm {self.config.algorithm!r}, every round of "
                f"which has {only}. Leave it out, and give more fast_updates for more episodes."
            )
        return checked_count("episodes", episodes)

    @with_usual_numerics
    def _adapt(
        self,
        simulation: Simulation | EnvironmentPool,
        since: "AdaptedAgent | None",
        fast_updates: int,
        episodes: int,
        horizon: int,
        seed: int,
        console: Console | None,
        task: np.ndarray | None = None,
    ) -> "AdaptedAgent":
        method = self.learner.method
        if task is None and method.sees_task:
            raise ConfigurationError(
                f"The method {self.config.algorithm!r} must be told the task, which an environment does not say. Adapt "
                "to a task of the run's family instead, with `tesp adapt RUN --goal …` or Run.adapt."
            )
        row = np.zeros(self.interface.task_size) if task is None else np.asarray(task, np.float64)
        first = 0 if since is None else since.fast_updates
        rounds = fast_updates - first if since is not None else fast_updates + 1 - method.plan.first
        history = [] if since is None else list(since.history)
        stages: list[AdaptedAgent] = []
        started = 0
        with ProgressBar(console, "adapting", rounds * episodes, "episodes") as bar:

            def on_start(count: int) -> None:
                nonlocal started
                started += count
                # Once all places have begun, an episode begins where another one is over.
                over = max(0, started - min(places, episodes))
                # A round that is measured in steps may have more than N.
                bar.update(len(stages) * episodes + min(over, episodes))

            places = simulation.size if isinstance(simulation, VectorPool) else 0
            if isinstance(simulation, VectorPool):
                simulation.on_start = on_start

            def on_round(result: RoundResult, agents: Agent) -> None:
                nonlocal started
                started = 0
                history.append(round_of(result))
                stages.append(self._stage(result, agents, history, seed))
                last = history[-1]
                done = len(stages) * episodes
                bar.update(done, f"{after_text(last)}: return {last.judged_returns.mean():.2f}")

            adaptation = self.learner.adapt(
                self.parameters,
                simulation,
                row[None],
                horizon,
                adaptation_key(seed),
                episodes=episodes,
                last=fast_updates,
                since=None if since is None else since.progress,
                on_round=on_round,
            )
        assert adaptation.progress is not None
        newest = stages[-1]
        if len(history) > 1 and method.plan.episodes is None:
            warn_if_alike(history[-len(stages) - (since is not None)], history[-1])
        progress = jax.tree.map(np.asarray, adaptation.progress)
        return AdaptedAgent(self, newest.agent, newest.embedding, history, seed, progress, stages)

    def _stage(self, result: RoundResult, agents: Agent, history, seed: int) -> "AdaptedAgent":
        embedding = np.array(self.learner.represent(self.parameters, result.belief)[0])
        return AdaptedAgent(self, _first(agents), embedding, list(history), seed)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the meta-learner to one file, ``NAME.safetensors``: parameters, configuration and spaces, no pickle.

        Raises:
            RunFolderError: The file cannot be written.
        """
        arrays = tensor_files.named("parameters", self.parameters)
        return tensor_files.write(path, LEARNER, arrays, self._description())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MetaLearner":
        """Read a file that `save` or ``tesp export`` wrote.

        Raises:
            RunFolderError: There is no such file, it is damaged or holds something else.
        """
        arrays, description = tensor_files.read(path, LEARNER)
        return cls._from(arrays, description, path)

    def __reduce__(self):
        # Compiled programs stay behind: the method is made again of the configuration, as when a file is read.
        return _unpickled, (self.config, self.interface, jax.tree.map(np.asarray, self.parameters), self.origin)

    def _description(self) -> dict[str, Any]:
        return {
            "config": to_json(self.config),
            "interface": dumps(asdict(self.interface)),
            "origin": asdict(self.origin),
        }

    @classmethod
    @with_usual_numerics
    def _from(cls, arrays, description: dict[str, Any], path) -> "MetaLearner":
        try:
            config = from_json(description["config"])
            interface = interface_from(loads(description["interface"]))
            # Version 0.1 did not say.
            origin = structured(description.get("origin", {}), Origin)
            learner = build_learner(config, interface)
        except (ConfigurationError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"The description in {path} cannot be used. {error}") from error
        template = eqx.filter_eval_shape(_drawn, learner.method, jax.random.key(0))
        return cls(config, interface, tensor_files.filled("parameters", template, arrays, str(path)), learner, origin)


class AdaptedAgent(Predictor):
    """An agent adapted to one task. Acts like a model of Stable-Baselines3; see `predict`.

    Attributes:
        meta_learner: What it was adapted from.
        agent: What acts.
        embedding: What its belief says of the task as a vector: for TESP what the policy is conditioned on, (d,).
        history: What happened in each round, those of earlier adaptations included.
        seed: Seed of the adaptation.
        progress: What more fast-updates go on from; None for a stage.
        stages: The agent as it acted in each round of the last adaptation, first to last; empty for a stage and for an
            agent that was loaded.
    """

    def __init__(
        self,
        meta_learner: MetaLearner,
        agent: Agent,
        embedding: Float[np.ndarray, " embedding"],
        history: list[AdaptationRound],
        seed: int,
        progress: Progress | None = None,
        stages: Sequence["AdaptedAgent"] = (),
    ):
        super().__init__(agent, meta_learner.interface, seed)
        self.meta_learner, self.embedding = meta_learner, embedding
        self.history, self.seed, self.progress, self.stages = history, seed, progress, list(stages)

    @property
    def fast_updates(self) -> int:
        """Fast-updates that it has had; −1 before anything was known of the task."""
        return self.history[-1].fast_update

    def adapt(
        self,
        env: Environment,
        fast_updates: int = 1,
        *,
        episodes: int | None = None,
        progress: bool = True,
    ) -> "AdaptedAgent":
        """Go on adapting to the same task: so many more fast-updates, with a round of new episodes after each.

        The first of them learns from the last round of before, so 3 and then 2 fast-updates give what 5 would.

        Args:
            env: As for `MetaLearner.adapt`; the same task as before.
            fast_updates: How many more, 1 or more.
            episodes: N of the new rounds; by default as in the last one.
            progress: Whether progress is shown.

        Returns:
            Another agent; this one stays what it is.

        Raises:
            ConfigurationError: As for `MetaLearner.adapt`, or the agent is a stage.
            NonFiniteError: As for `MetaLearner.adapt`.
        """
        if self.progress is None:
            raise ConfigurationError(
                "A stage of an adaptation cannot go on by itself; call adapt of the agent that the adaptation returned."
            )
        more = checked_count("fast_updates", fast_updates)
        before = len(self.history[-1].judged_returns)
        learner = self.meta_learner
        n = learner._checked_episodes(before if episodes is None else episodes)
        horizon = self.progress.round.episodes.valid.shape[-1]
        with EnvironmentOf(env, learner.interface, n) as pool:
            return learner._adapt(pool, self, self.fast_updates + more, n, horizon, self.seed, stderr_if(progress))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the agent to one file, ``NAME.safetensors``, with all that is needed to act and to adapt further.

        Raises:
            ConfigurationError: The agent is a stage.
            RunFolderError: The file cannot be written.
        """
        if self.progress is None:
            raise ConfigurationError("A stage of an adaptation cannot be saved; save the agent that it returned.")
        arrays = agent_arrays(self.meta_learner.parameters, self.progress, self.history)
        description = {**self.meta_learner._description(), "seed": self.seed, "rounds": len(self.history)}
        return tensor_files.write(path, AGENT, arrays, description)

    @classmethod
    @with_usual_numerics
    def load(cls, path: str | os.PathLike[str]) -> "AdaptedAgent":
        """Read a file that `save` wrote.

        Raises:
            RunFolderError: There is no such file, it is damaged or holds something else.
        """
        arrays, description = tensor_files.read(path, AGENT)
        learner = MetaLearner._from(arrays, description, path)
        method = learner.learner.method
        try:
            progress, history = progress_and_history(
                method, learner.parameters, learner.interface.task_size, arrays, description["rounds"], path
            )
            belief = jax.tree.map(lambda x: x[0], progress.belief)
            agent = jax.tree.map(np.asarray, _acting(method, learner.parameters, belief))
            embedding = np.asarray(learner.learner.represent(learner.parameters, progress.belief)[0])
            return cls(learner, agent, embedding, history, description["seed"], progress)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged: {error!r}. Save the agent again.") from error


def _unpickled(config: Config, interface: Interface, parameters: PyTree, origin: Origin) -> MetaLearner:
    return MetaLearner(config, interface, parameters, build_learner(config, interface), origin)


def _drawn(method: Method, key) -> PyTree:
    return method.parameters(method.init(key), evaluated=True)


def _first(agents: Agent) -> Agent:
    """Return the agent of the first task, in memory of its own."""
    return jax.tree.map(np.array, agents.of(jax.tree.map(lambda x: x[0], agents.own)))


@partial(jax.jit, static_argnums=0)
def _acting(method: Method, parameters: PyTree, belief: PyTree) -> Agent:
    return method.agent(parameters, belief)
