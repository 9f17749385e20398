"""A policy and a task encoder as graphs of ONNX operators, in single precision like their weights."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from tesp.agents.predicting import bounds_in_single_precision
from tesp.interface import Interface
from tesp.networks.gru import GRU
from tesp.networks.policy import ModulatedPolicy, Policy
from tesp.networks.policy_set import PolicySet
from tesp.networks.task_encoder import TaskEncoder
from tesp.storage.strict_json import dumps

#: Version of the operators, and of the format that holds them: ONNX 1.12, which runtimes know since 2022.
OPSET, IR_VERSION = 17, 8


class Tensor(NamedTuple):
    """An input or an output of a graph.

    Attributes:
        name: Its name.
        shape: Its axes; a name stands for any length.
        meaning: What it is, for people.
        kind: What its entries are.
    """

    name: str
    shape: tuple[int | str, ...]
    meaning: str
    kind: int = TensorProto.FLOAT


class Graph:
    """Operators and constants, added one after the other; results are passed on by their names."""

    def __init__(self) -> None:
        self._nodes, self._constants = [], []

    def constant(self, name: str, value: Any) -> str:
        """Add an array."""
        self._constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def number(self, name: str, value: Any) -> str:
        """Add a number in single precision, or one for every entry of the last axis."""
        return self.constant(name, np.asarray(value, np.float32))

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator; return its result."""
        result = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [result], name=result, **attributes))
        return result

    def add_second(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator of whose two results the second is wanted alone."""
        result = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), ["", result], name=result, **attributes))
        return result

    def product(self, layer: str, x: str, weight: Any, bias: Any = None, name: str = "") -> str:
        """Add x W + b."""
        result = self.add("MatMul", x, self.constant(f"{layer}_weight", weight))
        return result if bias is None else self.add("Add", result, self.constant(f"{layer}_bias", bias), name=name)

    def finished(self, name: str, inputs: list[Tensor], outputs: list[Tensor]) -> GraphProto:
        """Return the graph."""

        def described(one: Tensor):
            return helper.make_tensor_value_info(one.name, one.kind, one.shape, doc_string=one.meaning)

        return helper.make_graph(
            self._nodes, name, list(map(described, inputs)), list(map(described, outputs)), self._constants
        )


def policy_graph(
    policy: Policy | ModulatedPolicy | PolicySet, interface: Interface, embedding_size: int = 0, embedding: str = ""
) -> GraphProto:
    """Return π(a | s, h) with the action that `tesp.AdaptedAgent.predict` returns with ``deterministic=True``.

    action = clip(m + r ∘ clip(μ, −1, 1), low, high) with m = (low + high)/2 and r = (high − low)/2

    Args:
        policy: A `Policy`, a `ModulatedPolicy` or a `PolicySet` of them.
        interface: What agents see and do.
        embedding_size: Entries of what the policy is conditioned on; 0 for nothing.
        embedding: What that is, in words.
    """
    graph = Graph()
    observations, actions = interface.observation_size, interface.action_size
    trunk = policy.trunk if isinstance(policy, PolicySet) else policy
    if isinstance(trunk, ModulatedPolicy):
        last = _modulated(graph, trunk)
    else:
        last = concatenated(graph, trunk, "observation", observations, "embedding" if embedding_size else "")
    add_outputs(
        graph, trunk, last, interface, partial(_mixed, graph, policy) if isinstance(policy, PolicySet) else None
    )
    inputs = [Tensor("observation", ("batch", observations), "s, as the environment gives it")]
    if embedding_size:
        meaning = f"{embedding}; one row for every observation"
        inputs.append(Tensor("embedding", ("batch", embedding_size), meaning))
    return graph.finished("policy", inputs, outputs_of_a_policy(actions))


def outputs_of_a_policy(actions: int) -> list[Tensor]:
    """Return what every policy gives."""
    return [
        Tensor("action", ("batch", actions), "the most probable action, in the environment's units and bounds"),
        Tensor("mean", ("batch", actions), "μ of the Gaussian over actions, before clipping to [−1, 1] and scaling"),
        Tensor("log_std", ("batch", actions), "log σ of the Gaussian over actions"),
    ]


def add_outputs(
    graph: Graph,
    policy: Policy | ModulatedPolicy,
    last: str,
    interface: Interface,
    product: Callable[..., str] | None = None,
) -> None:
    """Add the last layer of a policy, and the action.

    Args:
        graph: What has the other layers.
        policy: Whose they are.
        last: The last hidden layer's result.
        interface: What agents see and do.
        product: What adds x W + b, where that is not all of it.
    """
    output = product or graph.product
    layer, actions = policy.output, interface.action_size
    weight, bias = (np.reshape(x, (*x.shape[:-1], -1, 2, actions)) for x in (layer.weight, layer.bias))
    (mean_weight, std_weight), (mean_bias, std_bias) = (
        [x[..., part, :].reshape(*x.shape[:-3], -1) for part in (0, 1)] for x in (weight, bias)
    )
    to_bounds(graph, output("mean", last, mean_weight, mean_bias, name="mean"), interface)
    log_std = output("log_std", last, std_weight, std_bias, name="" if policy.least_std else "log_std")
    if policy.least_std:
        add_least(graph, log_std, policy.least_std)


def add_least(graph: Graph, log_std: str, least_std: float) -> None:
    """Add the bound below which no standard deviation falls."""
    graph.add("Max", log_std, graph.number("least_log_std", math.log(least_std)), name="log_std")


def _mixed(graph: Graph, policy: PolicySet, layer: str, x: str, weight: Any, bias: Any, name: str = "") -> str:
    """Add x W_j + b_j of all policies, one behind the other in ``weight``, and their mixture."""
    each = graph.product(f"{layer}_of_each", x, weight, bias)
    shape = graph.constant(f"{layer}_shape", np.array([-1, policy.policies, len(bias) // policy.policies]))
    logits = graph.product(f"{layer}_mixing", "embedding", policy.weights.weight, policy.weights.bias)
    share = graph.add(
        "Unsqueeze", graph.add("Softmax", logits, axis=-1), graph.constant(f"{layer}_last", np.array([2]))
    )
    shared = graph.add("Mul", graph.add("Reshape", each, shape), share)
    return graph.add("ReduceSum", shared, graph.constant(f"{layer}_policies", np.array([1])), keepdims=0, name=name)


def concatenated(graph: Graph, policy: Policy, observation: str, size: int, embedding: str) -> str:
    """Add the hidden layers of a `Policy` on an observation of ``size`` entries, and an embedding if there is one."""
    first, *others = policy.hidden
    weight, bias = np.asarray(first.weight), first.bias
    x = graph.product("hidden_1", observation, weight[:size], None if embedding else bias)
    if embedding:
        # In the order in which `Policy` adds, so that single precision rounds alike.
        x = graph.add("Add", x, graph.product("embedding", embedding, weight[size:], bias))
    x = graph.add("Tanh", x)
    for number, layer in enumerate(others, 2):
        x = graph.add("Tanh", graph.product(f"hidden_{number}", x, layer.weight, layer.bias))
    return x


def _modulated(graph: Graph, policy: ModulatedPolicy) -> str:
    """Add the hidden layers of a `ModulatedPolicy`."""
    x, one = "observation", graph.number("one", 1.0)
    for number, (layer, scale, shift) in enumerate(zip(policy.hidden, policy.scale, policy.shift, strict=True), 1):
        gain = graph.add("Add", one, graph.product(f"scale_{number}", "embedding", scale))
        offset = graph.product(f"shift_{number}", "embedding", shift)
        plain = graph.product(f"hidden_{number}", x, layer.weight, layer.bias)
        x = graph.add("Tanh", graph.add("Add", graph.add("Mul", plain, gain), offset))
    return x


def to_bounds(graph: Graph, mean: str, interface: Interface) -> None:
    """Add the action for a mean."""
    low, high = (np.ravel(x).astype(np.float64) for x in (interface.action_low, interface.action_high))
    clipped = graph.add("Clip", mean, graph.number("minus_one", -1.0), graph.number("plus_one", 1.0))
    scaled = graph.add("Mul", clipped, graph.number("half_range", 0.5 * (high - low)))
    scaled = graph.add("Add", scaled, graph.number("middle", 0.5 * (high + low)))
    least, greatest = bounds_in_single_precision(interface)
    bounded = graph.add("Max", scaled, graph.number("low", least))
    graph.add("Min", bounded, graph.number("high", greatest), name="action")


def encoder_graph(encoder: TaskEncoder, interface: Interface) -> GraphProto:
    """Return h = mean over episodes of g(τ), leaving out those without a step (equation 5)."""
    graph = Graph()
    observations, actions = interface.observation_size, interface.action_size
    last_axis, nothing = graph.constant("last_axis", np.array([2])), graph.constant("nothing", np.array(0))
    reward = graph.add("Unsqueeze", "reward", last_axis)
    steps = graph.add("Concat", "observation", "action", reward, axis=2)
    lengths = graph.add("Cast", "length", to=TensorProto.INT32)
    states = last_states(graph, encoder.gru, graph.add("Transpose", steps, perm=[1, 0, 2]), lengths)
    codes = graph.product("output", states, encoder.output.weight, encoder.output.bias)
    exists = graph.add("Unsqueeze", graph.add("Greater", "length", nothing), graph.constant("columns", np.array([1])))
    episodes = graph.constant("episodes", np.array([0]))
    kept = graph.add("Where", exists, codes, graph.number("zero", 0.0))
    total = graph.add("ReduceSum", kept, episodes, keepdims=1)
    count = graph.add("ReduceSum", graph.add("Cast", exists, to=TensorProto.FLOAT), episodes, keepdims=1)
    graph.add("Div", total, graph.add("Max", count, graph.number("at_least_one", 1.0)), name="embedding")
    padded = ("episodes", "steps")
    inputs = [
        Tensor("observation", (*padded, observations), "s_t, before the action"),
        Tensor("action", (*padded, actions), "a_t as the policy's mean or sample, before clipping and scaling"),
        Tensor("reward", padded, "r_t, after the action"),
        Tensor("length", ("episodes",), "steps of every episode; what stands behind does not count", TensorProto.INT64),
    ]
    shape = (1, encoder.output.bias.shape[0])
    return graph.finished("encoder", inputs, [Tensor("embedding", shape, "h, for one observation of the policy")])


def last_states(graph: Graph, gru: GRU, steps: str, lengths: str = "", start: str = "", name: str = "") -> str:
    """Add the GRU. The operator's is the same one, with its gates in the order update, reset, candidate.

    Args:
        graph: What it is added to.
        gru: Its weights.
        steps: What it reads, (step, row, entry).
        lengths: Steps of every row, if not all have all.
        start: States that it begins with, (1, row, unit), if not zero.
        name: What its result is called.
    """

    def gates(weight: Any) -> list[np.ndarray]:
        reset, update, candidate = np.split(np.asarray(weight).T, 3)
        return [update, reset, candidate]

    units = gru.candidate_bias.shape[0]
    none = np.zeros(units, np.float32)
    biases = [*gates(gru.bias), none, none, np.asarray(gru.candidate_bias)]
    last = graph.add_second(
        "GRU",
        steps,
        graph.constant("gru_input_weight", np.concatenate(gates(gru.input_weight))[None]),
        graph.constant("gru_recurrent_weight", np.concatenate(gates(gru.recurrent_weight))[None]),
        graph.constant("gru_bias", np.concatenate(biases)[None]),
        lengths,
        start,
        hidden_size=units,
        linear_before_reset=1,
    )
    return graph.add("Squeeze", last, graph.constant("directions", np.array([0])), name=name)


def model_of(graph: GraphProto, version: str, metadata: Mapping[str, Any]) -> ModelProto:
    """Return a graph as a whole model, checked.

    Args:
        graph: From `policy_graph`, `encoder_graph` or `memory_policy_graph`.
        version: This library's.
        metadata: What is to be known besides; every value becomes JSON.
    """
    model = helper.make_model(
        graph,
        producer_name="tesp",
        producer_version=version,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    told = {
        "inputs": {one.name: one.doc_string for one in graph.input},
        "outputs": {one.name: one.doc_string for one in graph.output},
        **metadata,
    }
    helper.set_model_props(model, {name: dumps(value) for name, value in told.items()})
    onnx.checker.check_model(model, full_check=True)
    return model
