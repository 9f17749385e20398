"""A policy with memory as a graph of ONNX operators: what it does at one step."""

from itertools import pairwise
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto

from tesp.agents.onnx_graphs import (
    Graph,
    Tensor,
    add_least,
    add_outputs,
    concatenated,
    last_states,
    outputs_of_a_policy,
    to_bounds,
)
from tesp.interface import Interface
from tesp.methods.recurrent.rl2 import RL2Network
from tesp.methods.recurrent.trials import FAR, Moments, Scaling
from tesp.methods.recurrent.varibad import VariBADNetwork
from tesp.networks.hypernetwork import HyperPolicy
from tesp.networks.policy import Policy


def memory_policy_graph(network: RL2Network | VariBADNetwork, scaling: Scaling, interface: Interface) -> GraphProto:
    """Return π(a_t | s_t, m_t) and m_t = GRU(m_{t−1}; s_t, a_{t−1}, r_{t−1}, d_t), as `RecurrentAgent` acts.

    Args:
        network: Networks whose policy is a `Policy` or a `HyperPolicy`.
        scaling: How what they see is scaled.
        interface: What agents see and do.
    """
    graph = Graph()
    observations, actions = interface.observation_size, interface.action_size
    units = network.memory.candidate_bias.shape[0]
    observation = _scaled(graph, "observation", scaling.observation)
    columns = graph.constant("columns", np.array([1]))
    told = [
        observation,
        graph.add("Clip", "action_before", graph.number("least_action", -1.0), graph.number("greatest_action", 1.0)),
        graph.add("Unsqueeze", _scaled(graph, "reward_before", scaling.reward), columns),
        graph.add("Unsqueeze", graph.add("Cast", "begins", to=TensorProto.FLOAT), columns),
    ]
    first_axis = graph.constant("first_axis", np.array([0]))
    step = graph.add("Unsqueeze", graph.add("Concat", *told, axis=1), first_axis)
    start = graph.add("Unsqueeze", "memory", first_axis)
    state = last_states(graph, network.memory, step, start=start, name="next_memory")
    context, policy = _context(graph, network, state), network.heads.policy
    if isinstance(policy, Policy):
        add_outputs(graph, policy, concatenated(graph, policy, observation, observations, context), interface)
    elif isinstance(policy, HyperPolicy):
        _add_made_policy(graph, policy, observation, context, interface)
    inputs = [
        Tensor("observation", ("batch", observations), "s_t, as the environment gives it"),
        Tensor("memory", ("batch", units), "m_{t−1}, next_memory of the step before"),
        Tensor(
            "action_before",
            ("batch", actions),
            "a_{t−1} as the policy's mean or sample, before clipping and scaling; where an episode begins, the last "
            "one of the episode before",
        ),
        Tensor("reward_before", ("batch",), "r_{t−1}, likewise"),
        Tensor("begins", ("batch",), "whether an episode begins with s_t", TensorProto.BOOL),
    ]
    following = Tensor("next_memory", ("batch", units), "m_t")
    return graph.finished("policy", inputs, [*outputs_of_a_policy(actions), following])


def _scaled(graph: Graph, given: str, moments: Moments) -> str:
    """Add (x − mean) / standard deviation, clipped."""
    apart = graph.add("Sub", given, graph.number(f"{given}_mean", moments.mean))
    divided = graph.add("Div", apart, graph.number(f"{given}_std", moments.std))
    return graph.add("Clip", divided, graph.number(f"{given}_least", -FAR), graph.number(f"{given}_most", FAR))


def _context(graph: Graph, network: RL2Network | VariBADNetwork, state: str) -> str:
    """Add what the policy sees of the memory."""
    if isinstance(network, RL2Network):
        return state
    output = network.encoder.output
    mean, log_std = _halves(graph, "belief", graph.product("belief", state, output.weight, output.bias), output.bias)
    return graph.add("Concat", mean, graph.add("Exp", log_std), axis=1)


def _halves(graph: Graph, name: str, x: str, both: Any) -> tuple[str, str]:
    """Add the first and the second half of the columns; ``both`` has as many entries as these."""
    half = len(both) // 2
    columns = graph.constant(f"{name}_columns", np.array([1]))

    def columns_from(start: int) -> str:
        bounds = [
            graph.constant(f"{name}_{word}_{start}", np.array([n]))
            for word, n in (("from", start), ("to", start + half))
        ]
        return graph.add("Slice", x, *bounds, columns)

    return columns_from(0), columns_from(half)


def _add_made_policy(graph: Graph, policy: HyperPolicy, observation: str, context: str, interface: Interface) -> None:
    """Add a policy whose weights are made at every step, and what it gives."""
    weights = graph.product("made", context, policy.weight, policy.bias)
    columns = graph.constant("made_columns", np.array([1]))
    x, start, layers = graph.add("Unsqueeze", observation, columns), 0, list(pairwise(policy.sizes))

    def part(number: int, what: str, first: int, *shape: int) -> str:
        """Add some of the weights of every row, as an array."""
        bounds = [
            graph.constant(f"made_{what}_{number}_{word}", np.array([n]))
            for word, n in (("from", first), ("to", first + int(np.prod(shape))))
        ]
        entries = graph.add("Slice", weights, *bounds, columns)
        return graph.add("Reshape", entries, graph.constant(f"made_{what}_{number}_shape", np.array([-1, *shape])))

    for number, (inputs, outputs) in enumerate(layers, 1):
        product = graph.add("MatMul", x, part(number, "weight", start, inputs, outputs))
        x = graph.add("Add", product, part(number, "bias", start + inputs * outputs, 1, outputs))
        x = graph.add("Tanh", x) if number < len(layers) else graph.add("Squeeze", x, columns)
        start += (inputs + 1) * outputs
    mean, log_std = _halves(graph, "made_output", x, range(policy.sizes[-1]))
    to_bounds(graph, graph.add("Identity", mean, name="mean"), interface)
    if policy.least_std:
        add_least(graph, log_std, policy.least_std)
    else:
        graph.add("Identity", log_std, name="log_std")
