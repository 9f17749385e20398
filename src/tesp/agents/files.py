"""What an adapted agent is stored as: named arrays. Files of version 0.1 are read too."""

import os
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tesp.acting import Seen
from tesp.agents.rounds import AdaptationRound
from tesp.episodes.collect import Outcomes
from tesp.episodes.rollout import Progress
from tesp.methods.base import Method, Round
from tesp.storage import tensor_files
from tesp.types import Episodes, PyTree


def agent_arrays(parameters: PyTree, progress: Progress, history: Sequence[AdaptationRound]) -> dict[str, np.ndarray]:
    """Return all that is needed to act and to adapt further, by name.

    Args:
        parameters: The meta-learner's.
        progress: How far the adaptation has come.
        history: What happened in its rounds.
    """
    trees = {
        "parameters": parameters,
        "belief": progress.belief,
        "round": progress.round,
        "history": [past._replace(fast_update=np.array(past.fast_update)) for past in history],
    }
    return {name: x for prefix, tree in trees.items() for name, x in tensor_files.named(prefix, tree).items()}


def progress_and_history(
    method: Method,
    parameters: PyTree,
    task_size: int,
    arrays: dict[str, np.ndarray],
    rounds: int,
    path: str | os.PathLike[str],
) -> tuple[Progress, list[AdaptationRound]]:
    """Return what `agent_arrays` gave names to.

    Args:
        method: The method.
        parameters: The meta-learner's.
        task_size: Number of parameters of a task.
        arrays: The arrays.
        rounds: Rounds in the history.
        path: Where the arrays are from, for errors.

    Raises:
        RunFolderError: An array is missing.
        KeyError: Likewise.
    """
    history = _history(arrays, rounds)
    if "round.episodes.valid" not in arrays:
        arrays = _of_version_0_1(arrays)
    last = history[-1].fast_update
    belief, sampled = _templates(method, parameters, task_size, arrays, last - method.plan.first)
    found = [
        tensor_files.filled(prefix, template, arrays, str(path), any_shape=True)
        for prefix, template in (("belief", belief), ("round", sampled))
    ]
    return Progress(found[0], found[1], last), history


def _templates(method: Method, parameters: PyTree, task_size: int, arrays, inferences: int) -> tuple[PyTree, Round]:
    """Return what the belief and the round of one task are, as trees of shapes; an axis that may grow may be longer."""
    valid = arrays["round.episodes.valid"]
    _, episodes, horizon = valid.shape
    observation, action = (arrays[f"round.episodes.{name}"].shape[-1] for name in ("observation", "action"))

    def one_round(belief, key):
        agent = method.agent(parameters, belief)
        memory = agent.start(key) if agent.remembers else ()
        nothing = jnp.zeros(())
        seen = Seen(jnp.zeros(observation), jnp.zeros(action), nothing, nothing > 0)
        acted = agent.act(memory, seen if agent.remembers else Seen(seen.observation), jnp.zeros(action))

        def room(x, *axes):
            return jnp.zeros((*axes, *jnp.shape(x)), jnp.result_type(x))

        def steps(x):
            return room(x, episodes, horizon)

        flag = steps(nothing > 0)
        of_steps = Episodes(
            observation=steps(seen.observation),
            action=steps(acted.action),
            reward=steps(nothing),
            distance_reward=steps(nothing),
            behaviour=jax.tree.map(steps, acted.behaviour),
            valid=flag,
            terminated=flag,
            truncated=flag,
        )
        return Round(of_steps, jax.tree.map(lambda x: room(x, episodes), memory), method.estimate(of_steps))

    def inferred(belief, key):
        return method.infer(parameters, belief, one_round(belief, key))

    def form(tree):
        return jax.tree.structure(tree), [len(x.shape) for x in jax.tree.leaves(tree)]

    key = jax.random.key(0)
    belief = eqx.filter_eval_shape(method.prior, parameters, jnp.zeros(task_size))
    # Sizes are not asked for, so an inference that leaves the form as it is, is the last one to be followed.
    for _ in range(inferences):
        before, belief = belief, eqx.filter_eval_shape(inferred, belief, key)
        if form(before) == form(belief):
            break
    one = belief, eqx.filter_eval_shape(one_round, belief, key)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), one)


def _history(arrays: dict[str, np.ndarray], rounds: int) -> list[AdaptationRound]:
    def as_stored(prefix: str, kind: Callable, leaves: Sequence[str]):
        return kind(*(arrays[f"{prefix}.{leaf}"] for leaf in leaves))

    history = []
    for number in range(rounds):
        prefix = f"history[{number}]"
        plain = as_stored(prefix, lambda *x: x, ["fast_update", "returns", "successes", "lengths"])
        # Agents of version 0.1 have no such array: all episodes count in averages there.
        arrays.setdefault(f"{prefix}.outcomes.judged", np.ones_like(arrays[f"{prefix}.outcomes.success"]))
        told = as_stored(f"{prefix}.outcomes", Outcomes, list(Outcomes.__dataclass_fields__))
        fast_update, returns, successes, lengths = plain
        history.append(AdaptationRound(int(fast_update), returns, successes, lengths, told))
    return history


def _of_version_0_1(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name the arrays as today. What a belief holds besides was not stored, for nothing that follows depends on it."""

    def renamed(name: str) -> str:
        for old, new in (
            ("batch.episodes.", "round.episodes."),
            ("batch.advantages", "round.estimates"),
            ("buffer.", "belief.buffer."),
            ("adapted", "belief.adapted"),
        ):
            if name.startswith(old):
                name = new + name.removeprefix(old)
        head, _, last = name.rpartition(".")
        # The distribution's arrays were once among the others.
        inside = last in ("mean", "log_std") and head.endswith(("episodes", "buffer"))
        return f"{head}.behaviour.{last}" if inside else name

    found = {renamed(name): x for name, x in arrays.items()}
    zeros = {
        f"belief.gradient_sum{n.removeprefix('belief.adapted')}": np.zeros_like(x)
        for n, x in found.items()
        if n.startswith("belief.adapted")
    }
    return {
        **found,
        **zeros,
        "belief.embedding": arrays["embedding"][None],
        "belief.norm": np.zeros(1, np.float32),
        "belief.task": np.zeros((1, 0), np.float32),
    }
