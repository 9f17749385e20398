"""The least time of one meta-update of TESP on this machine: its physics alone and its matrix products alone.

    python benchmarks/floor.py wheeled reacher2 [--preset paper] [--repetitions 5] [--json FILE]

Three things are measured or counted, each measurement in a process of its own, with nothing else running:

- physics: `mujoco.batch.Batch` steps all environments of a round with controls made beforehand, standard normal and
  clipped like those of a fresh policy, on all cores; every environment runs to the horizon. A family that the engine
  does not step (the point) steps its own simulations instead, rewards included.
- matrix products: the speed of a large float32 product in JAX, as one product on a device with all threads, and as one
  product on every single-threaded device at once; the fastest counts.
- operations: the matrix products that a meta-update cannot do without, two floating-point operations per
  multiply-add, nothing else (no biases, activations, losses, advantages, Adam). With K fast-updates and E epochs:

  - acting: the policy forward on every step sampled, K + 2 rounds;
  - every fast-update: the encoder forward and backward on the buffer's M episodes of every task, the policy
    forward and backward to the embedding, without gradients of its weights, on N episodes of every task;
  - the embedding of the last round: the encoder forward;
  - every epoch: encoder and policy forward and backward with the gradients of all weights, but none of what they
    read (episodes, observations); with a loss on early rounds the policy on these rounds too;
  - after the epochs: encoder and policy forward once more, to judge the last candidate.

  The encoder counts the products of input and of recurrent weights at every step (also with the zero state of the
  first) and its output layer once per episode; the policy counts the embedding's share of its first layer once per
  task. Episodes are counted at full length, and no epoch's forward pass is discounted for having been done before.

The least time is operations / speed of products + steps / speed of physics: neither overlaps with the other.
"""

import argparse
from collections.abc import Callable
from itertools import pairwise

from measuring import (
    Report,
    Sizes,
    add_common_options,
    alternately,
    check_count,
    configuration,
    in_own_process,
    median,
    overrides_of,
    print_head,
    print_row,
    run,
)


def main() -> None:
    """Measure the machine, then print a table for every family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+")
    add_common_options(parser, repetitions=5)
    add_matrix_option(parser)
    arguments = parser.parse_args()
    check_count("repetitions", arguments.repetitions)
    check_count("matrix size", *arguments.matrix_sizes)
    overrides = overrides_of(arguments.set)
    sizes = {family: checked_sizes(family, arguments.preset, overrides) for family in arguments.families}
    report = Report(arguments.json, "floor")
    matrix = matrix_peak(arguments.matrix_sizes, arguments.repetitions)
    report.add(matrix)
    for family, own in sizes.items():
        task = {"family": family, "preset": arguments.preset, "overrides": overrides}
        physics = in_own_process(__file__, {**task, "measure": "physics", "repetitions": arguments.repetitions})
        result = {"measure": "floor", "family": family, "preset": arguments.preset, "overrides": overrides}
        result |= least_time(own, matrix["gflops"], physics["steps_per_second"])
        report.add(result)
        _print_floor(result)


def add_matrix_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how large the products are that give the peak."""
    parser.add_argument(
        "--matrix-sizes", nargs="+", type=int, default=[2048, 4096], metavar="N", help="sizes N of the N × N products"
    )


def checked_sizes(family: str, preset: str, overrides: dict) -> Sizes:
    """Sizes of a configuration whose operations can be counted.

    Raises:
        ConfigurationError: The configuration is not possible, or its operations are not counted here.
    """
    from tesp.building import build_family, build_learner
    from tesp.errors import ConfigurationError
    from tesp.methods.gradient.settings import AblationSettings

    config = configuration(family, preset, overrides)
    if config.algorithm != "tesp" or config.method.ablation != AblationSettings() or config.method.fast.second_order:
        raise ConfigurationError("Only the operations of tesp, first order and without ablations, are counted here.")
    made = build_family(config)
    if made.options.get("engine", "mujoco") != "mujoco":
        raise ConfigurationError(
            f"engine = {made.options['engine']!r} has no physics to measure alone; give --set engine=mujoco."
        )
    build_learner(config, made)
    return Sizes.of(config, made)


def _work(task: dict) -> dict:
    if task["measure"] == "matrix":
        return _matrix_speed(task["size"], task["sharded"], task["repetitions"])
    from tesp.building import build_family

    config = configuration(task["family"], task["preset"], task["overrides"])
    family = build_family(config)
    sizes = Sizes.of(config, family)
    seconds = alternately({"physics": physics_round(family, sizes)}, task["repetitions"])["physics"]
    return {"steps_per_second": sizes.steps_of_a_round / median(seconds), "seconds": seconds}


def physics_round(family, sizes: Sizes) -> Callable[[], None]:
    """Return a function that steps all environments of a round to the horizon, and does nothing else."""
    import numpy as np

    from tesp.tasks.mujoco.engine import BatchEngine
    from tesp.tasks.mujoco.family import MJCFFamily

    count = sizes.tasks * sizes.episodes
    actions = np.random.default_rng(0).standard_normal((sizes.horizon, count, sizes.action)).clip(-1.0, 1.0)
    if isinstance(family, MJCFFamily) and family.engine is BatchEngine:
        return _engine_round(family.body, count, actions)
    simulation, every = family.simulate(count), np.arange(count)
    goals = np.resize(family.sample_task_sets(0)["train"].tasks, (count, family.task_size))

    def step_all() -> None:
        simulation.reset(goals)
        for action in actions:
            simulation.step(every, action)

    return step_all


def _engine_round(body, count: int, actions) -> Callable[[], None]:
    import mujoco
    from mujoco.batch import Batch

    low, high = body.model.actuator_ctrlrange.T
    controls = (low + high) / 2 + (high - low) / 2 * actions
    batch = Batch(body.model, nsim=count, nthread=0)
    ctrl = batch.bind("ctrl")

    def step_all() -> None:
        batch.reset(keyframe=body.keyframe, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        for control in controls:
            ctrl[:] = control
            batch.step(nstep=body.substeps)

    return step_all


def matrix_peak(matrix_sizes: list[int], repetitions: int) -> dict:
    """Measure products of all sizes on devices of both kinds, print a table and return the fastest with all others."""
    print_head("Matrix products", ("size", "devices", "seconds", "GFLOP/s"))
    tried = []
    for sharded in (False, True):
        for size in matrix_sizes:
            task = {"measure": "matrix", "size": size, "sharded": sharded, "repetitions": repetitions}
            tried.append(in_own_process(__file__, task))
            last = tried[-1]
            print_row(str(size), last["devices"], f"{last['seconds']:.3f}", f"{last['gflops']:.0f}")
    return {"measure": "matrix", **max(tried, key=lambda one: one["gflops"]), "tried": tried}


def _matrix_speed(size: int, sharded: bool, repetitions: int) -> dict:
    """Speed of one product on every device at once."""
    if sharded:
        import tesp

        tesp.use_all_cores()
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    devices = jax.devices()
    mesh, axis = Mesh(np.asarray(devices), ("device",)), PartitionSpec("device")
    key = jax.random.key(0)
    shape = (len(devices) * size, size)
    a, b = (
        jax.device_put(jax.random.normal(k, shape, "float32"), NamedSharding(mesh, axis)) for k in jax.random.split(key)
    )
    product = jax.jit(jax.shard_map(lambda x, y: x @ y, mesh=mesh, in_specs=(axis, axis), out_specs=axis))
    seconds = median(alternately({"": lambda: product(a, b).block_until_ready()}, repetitions)[""])
    kind = f"{len(devices)} × one thread" if sharded and len(devices) > 1 else f"{len(devices)} × all threads"
    gflops = len(devices) * 2 * size**3 / seconds / 1e9
    return {"size": size, "sharded": sharded, "devices": kind, "seconds": seconds, "gflops": gflops}


def encoder_forward_flops(sizes: Sizes) -> int:
    """Operations of the embeddings of all tasks."""
    gates = 3 * sizes.encoder_units
    step = 2 * (sizes.encoder_inputs + sizes.encoder_units) * gates
    return sizes.tasks * sizes.buffer * (sizes.horizon * step + 2 * sizes.encoder_units * sizes.embedding)


def encoder_gradient_flops(sizes: Sizes) -> int:
    """Operations of the embeddings of all tasks and of their gradient with respect to the encoder's weights.

    Backward, a step has three products: to the state before, to the recurrent weights and to the input weights.
    """
    gates = 3 * sizes.encoder_units
    step = 2 * (sizes.encoder_inputs + 2 * sizes.encoder_units) * gates
    output = 2 * 2 * sizes.encoder_units * sizes.embedding
    return encoder_forward_flops(sizes) + sizes.tasks * sizes.buffer * (sizes.horizon * step + output)


def policy_forward_flops(sizes: Sizes) -> int:
    """Operations of the policy on one round of all tasks."""
    return 2 * sizes.steps_of_a_round * sum(_layers(sizes)) + _embedding_share(sizes)


def policy_embedding_gradient_flops(sizes: Sizes) -> int:
    """Operations of the policy on one round and of its gradient with respect to the embedding alone."""
    through = 2 * sizes.steps_of_a_round * sum(_layers(sizes)[1:])
    return policy_forward_flops(sizes) + through + _embedding_share(sizes)


def policy_gradient_flops(sizes: Sizes) -> int:
    """Operations of the policy on one round and of its gradient with respect to its weights and the embedding."""
    weights = 2 * sizes.steps_of_a_round * sum(_layers(sizes)) + _embedding_share(sizes)
    return policy_embedding_gradient_flops(sizes) + weights


def _layers(sizes: Sizes) -> list[int]:
    """Weights of every layer; those of the first that read the embedding count elsewhere."""
    return [a * b for a, b in pairwise((sizes.observation, *sizes.policy_units, 2 * sizes.action))]


def _embedding_share(sizes: Sizes) -> int:
    """Operations of the product of every task's embedding with its weights."""
    return 2 * sizes.tasks * sizes.embedding * sizes.policy_units[0]


def operations(sizes: Sizes) -> dict[str, int]:
    """Floating-point operations of the parts of a meta-update, as the module's docstring lists them."""
    rounds_judged = sizes.fast_updates + 2 if sizes.early_rounds else 1
    encoder, policy = encoder_gradient_flops(sizes), policy_gradient_flops(sizes)
    return {
        "acting": (sizes.fast_updates + 2) * policy_forward_flops(sizes),
        "fast_updates": sizes.fast_updates * (encoder + policy_embedding_gradient_flops(sizes)),
        "last_embedding": encoder_forward_flops(sizes),
        "epochs": sizes.epochs * (encoder + rounds_judged * policy),
        "last_candidate": encoder_forward_flops(sizes) + rounds_judged * policy_forward_flops(sizes),
    }


def least_time(sizes: Sizes, gflops: float, steps_per_second: float) -> dict:
    """Seconds that a meta-update takes at least, and what they follow from."""
    parts = operations(sizes)
    total, steps = sum(parts.values()), sizes.steps_sampled
    products, physics = total / 1e9 / gflops, steps / steps_per_second
    return {
        "steps_sampled": steps,
        "steps_per_second": steps_per_second,
        "gflops": gflops,
        "encoder_gradient_gflop": encoder_gradient_flops(sizes) / 1e9,
        "policy_gradient_gflop": policy_gradient_flops(sizes) / 1e9,
        "policy_embedding_gradient_gflop": policy_embedding_gradient_flops(sizes) / 1e9,
        "parts_gflop": {name: count / 1e9 for name, count in parts.items()},
        "total_gflop": total / 1e9,
        "seconds_physics": physics,
        "seconds_products": products,
        "seconds": physics + products,
    }


def _print_floor(result: dict) -> None:
    print_head(f"Least time of a meta-update: {result['family']}, preset {result['preset']}", ("what", "value"))
    print_row("control steps", f"{result['steps_sampled']:,}")
    print_row("physics alone, steps/s", f"{result['steps_per_second']:,.0f}")
    print_row("matrix products, GFLOP/s", f"{result['gflops']:.0f}")
    for name in ("encoder_gradient", "policy_gradient", "policy_embedding_gradient"):
        print_row(f"one {name.replace('_', ' ')}, GFLOP", f"{result[f'{name}_gflop']:.2f}")
    for name, count in result["parts_gflop"].items():
        print_row(f"{name.replace('_', ' ')}, GFLOP", f"{count:.1f}")
    print_row("all products, GFLOP", f"{result['total_gflop']:.1f}")
    print_row("physics, seconds", f"{result['seconds_physics']:.2f}")
    print_row("products, seconds", f"{result['seconds_products']:.2f}")
    print_row("**least time, seconds**", f"**{result['seconds']:.2f}**")


if __name__ == "__main__":
    run(main, _work)
