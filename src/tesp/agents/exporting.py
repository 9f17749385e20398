"""Meta-learners and agents as ONNX files, for machines that act and infer embeddings without JAX."""

import io
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tesp.agents.adapting import AdaptedAgent, MetaLearner
from tesp.errors import ConfigurationError, RunFolderError
from tesp.methods.gradient.method import GradientMethod
from tesp.methods.gradient.oracle import Oracle
from tesp.methods.gradient.task_encoding import TaskEncoding
from tesp.methods.gradient.tesp import TESP
from tesp.methods.gradient.tesp_set import TESPSet
from tesp.methods.recurrent.elbo import Encoder
from tesp.methods.recurrent.rl2 import RL2, RL2Network
from tesp.methods.recurrent.varibad import VariBAD, VariBADNetwork
from tesp.networks.gru import GRU
from tesp.networks.hypernetwork import HyperPolicy
from tesp.networks.policy import ModulatedPolicy, Policy
from tesp.networks.policy_set import PolicySet
from tesp.networks.task_encoder import TaskEncoder
from tesp.numerics import with_usual_numerics
from tesp.storage.files import written_beside
from tesp.types import Episodes, PyTree
from tesp.version import __version__

POLICY, ENCODER, BUFFER = "policy.onnx", "encoder.onnx", "buffer.npz"

#: Version of what the files hold and are called.
FORMAT = 1


class _Parts(NamedTuple):
    """What is exported.

    Attributes:
        policy: The policy.
        encoder: The task encoder; None for methods without one.
        embedding: What the policy is conditioned on; None where that is nothing, or a task that is not known.
        buffer: The best episodes so far; None where there are none.
    """

    policy: Policy | ModulatedPolicy | PolicySet
    encoder: TaskEncoder | None
    embedding: np.ndarray | None
    buffer: Episodes | None


@with_usual_numerics
def export_onnx(given: MetaLearner | AdaptedAgent, folder: str | os.PathLike[str]) -> list[Path]:
    """Write what acts, and what infers embeddings, as ONNX files; return the files.

    ``policy.onnx`` gives actions for observations, under an embedding where the method has one; of methods with memory
    it takes what is remembered besides, and gives what is to be remembered next. ``encoder.onnx``, for methods with a
    task encoder, gives the embedding for episodes. Of an agent whose method keeps a buffer there is
    ``buffer.npz`` too, the episodes that its embedding was computed from, as inputs of the encoder. The metadata of
    the models say what they are, with every value as JSON. Fast-updates need gradients, which are not exported: the
    parameters are those of a meta-learner before any, or those of an agent after those it had.

    Args:
        given: What `tesp.load` returned, or `MetaLearner.adapt`.
        folder: Where; it is made if it does not exist. Files of these names in it are replaced, all of them or none.

    Raises:
        ConfigurationError: The package onnx is not installed, the method cannot be exported, or the agent is a stage.
        RunFolderError: The folder cannot be written, or holds a file of another export that this one has none for.
    """
    require_onnx()
    learner = given.meta_learner if isinstance(given, AdaptedAgent) else given
    if not isinstance(learner, MetaLearner):
        raise ConfigurationError(
            f"A {type(given).__name__} cannot be exported as ONNX; give what tesp.load returned, or what adapt did."
        )
    if type(learner.learner.method) in (RL2, VariBAD):
        return _written(Path(folder), _with_memory(given, learner))
    return _written(Path(folder), _with_embedding(given, learner, _exportable(learner)))


def _with_memory(given: MetaLearner | AdaptedAgent, learner: MetaLearner) -> dict[str, bytes]:
    """Return the file of a method with memory, whose metadata say what an episode begins with."""
    from tesp.agents.onnx_graphs import model_of
    from tesp.agents.onnx_memory import memory_policy_graph

    network, scaling = learner.parameters
    _require(learner, "its network", network, RL2Network, VariBADNetwork)
    if isinstance(network, VariBADNetwork):
        _require(learner, "its encoder", network.encoder, Encoder)
    _require(learner, "its memory", network.memory, GRU)
    _require(learner, "its policy", network.heads.policy, Policy, HyperPolicy)
    start = _belief(given, learner)
    begun = {
        "memory": np.asarray(start.state).tolist(),
        "action_before": np.asarray(start.action).tolist(),
        "reward_before": float(np.asarray(start.reward)),
    }
    told = {**_metadata(given, learner, None), "start": begun}
    graph = memory_policy_graph(network, scaling, learner.interface)
    return {POLICY: model_of(graph, __version__, told).SerializeToString()}


def _with_embedding(
    given: MetaLearner | AdaptedAgent, learner: MetaLearner, method: GradientMethod
) -> dict[str, bytes]:
    """Return the files of a method that adapts by gradients."""
    from tesp.agents.onnx_graphs import encoder_graph, model_of, policy_graph

    parts = _parts(given, learner, method)
    told = _metadata(given, learner, parts.embedding)
    algorithm, interface = method.algorithm, learner.interface
    meaning = "the task's parameters" if algorithm.sees_task else "h, what is believed of the task"
    graph = policy_graph(parts.policy, interface, algorithm.embedding_size, meaning)
    contents = {POLICY: model_of(graph, __version__, told).SerializeToString()}
    if parts.encoder is not None:
        told["buffer_size"] = None if algorithm.keep_all else method.buffer_size
        model = model_of(encoder_graph(parts.encoder, interface), __version__, told)
        contents[ENCODER] = model.SerializeToString()
    if parts.buffer is not None:
        contents[BUFFER] = _archive(parts.buffer)
    return contents


def require_onnx() -> None:
    """Refuse to export where that is not possible.

    Raises:
        ConfigurationError: The package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "The package onnx is not installed; install it with `pip install 'tesp[onnx]'` to export."
        ) from error


def _exportable(learner: MetaLearner) -> GradientMethod:
    """Return the method, if it is one that can be exported."""
    method, name = learner.learner.method, learner.config.algorithm
    if not isinstance(method, GradientMethod):
        raise ConfigurationError(
            f"The method {name!r} cannot be exported as ONNX: it is a {type(method).__name__}, and only methods that "
            "adapt by gradients, RL² and VariBAD can be."
        )
    algorithm = method.algorithm
    if (algorithm.warm_up and type(algorithm) not in (TESP, TESPSet)) or (
        algorithm.sees_task and type(algorithm) is not Oracle
    ):
        raise ConfigurationError(
            f"The method {name!r} cannot be exported as ONNX: how its {type(algorithm).__name__} computes an embedding "
            "is not known. That is possible for TESP's task encoder, for vectors that are adapted themselves, and for "
            "policies without one."
        )
    return method


def _require(learner: MetaLearner, what: str, part: Any, *kinds: type) -> None:
    """Refuse a part of a network that is not of one of these kinds: what another one computes is not known."""
    if type(part) not in kinds:
        known = " and ".join(kind.__name__ for kind in kinds)
        raise ConfigurationError(
            f"The method {learner.config.algorithm!r} cannot be exported as ONNX: {what} is a {type(part).__name__}, "
            f"and only {known} of this library can be. Export the networks of your own with another tool."
        )


def _parts(given: MetaLearner | AdaptedAgent, learner: MetaLearner, method: GradientMethod) -> _Parts:
    algorithm, parameters = method.algorithm, learner.parameters
    belief = _belief(given, learner)
    policy = algorithm.policy(belief.adapted, parameters.shared)
    _require(learner, "its policy", policy, Policy, ModulatedPolicy, PolicySet)
    unknown = algorithm.embedding_size == 0 or (algorithm.sees_task and given is learner)
    return _Parts(
        policy,
        algorithm.encoder(belief.adapted) if isinstance(algorithm, TaskEncoding) else None,
        None if unknown else np.asarray(belief.embedding),
        belief.buffer,
    )


def _belief(given: MetaLearner | AdaptedAgent, learner: MetaLearner) -> PyTree:
    """Return what is believed of the agent's task, or of a task before anything is known of it."""
    if not isinstance(given, AdaptedAgent):
        return learner.learner.method.prior(learner.parameters, jnp.zeros(learner.interface.task_size))
    if given.progress is None:
        raise ConfigurationError("A stage of an adaptation cannot be exported; export the agent that it returned.")
    return jax.tree.map(lambda x: np.asarray(x)[0], given.progress.belief)


def _metadata(given: MetaLearner | AdaptedAgent, learner: MetaLearner, embedding: np.ndarray | None) -> dict[str, Any]:
    interface, origin = learner.interface, learner.origin
    return {
        "format": FORMAT,
        "tesp": __version__,
        "method": learner.config.algorithm,
        "family": learner.config.family,
        "run": origin.run,
        "meta_update": origin.meta_update,
        "fast_updates": given.fast_updates if isinstance(given, AdaptedAgent) else None,
        "observation_shape": interface.observation_shape,
        "action_shape": np.shape(interface.action_low),
        "action_low": interface.action_low,
        "action_high": interface.action_high,
        "horizon": interface.horizon,
        "episodes_per_round": learner.config.sampling.episodes_per_round,
        "embedding": None if embedding is None else embedding.tolist(),
    }


def _archive(buffer: Episodes) -> bytes:
    """Return the episodes of a buffer, as long as its longest, as NumPy's ``.npz``."""
    lengths = np.asarray(buffer.valid).sum(axis=-1)
    there, steps = lengths > 0, lengths.max(initial=0)
    observation, action, reward = (
        np.asarray(x, np.float32)[there, :steps] for x in (buffer.observation, buffer.action, buffer.reward)
    )
    file = io.BytesIO()
    np.savez(file, observation=observation, action=action, reward=reward, length=lengths[there].astype(np.int64))
    return file.getvalue()


def _written(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files so that all of them appear whole, and none where one cannot be written."""
    for name in (POLICY, ENCODER, BUFFER):
        if name not in contents and (folder / name).exists():
            raise RunFolderError(
                f"{folder / name} is of another export, and this one has no such file, so they would be taken for "
                "parts of one. Give another folder, or remove it."
            )
    try:
        with ExitStack() as stack:
            for name, content in contents.items():
                stack.enter_context(written_beside(folder / name)).write_bytes(content)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written: {error.strerror}. Give a folder that you may write to."
        ) from error
    return [folder / name for name in contents]
