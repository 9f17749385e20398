"""Parts of a meta-update beside what else could do them, in one run: seconds, speeds and ratios.

    python benchmarks/compare.py [--parts sampling closed-form encoder policy] [--families wheeled reacher2]
        [--preset paper] [--repetitions 5] [--json FILE]

- sampling: whole rounds, that is physics, acting and recording, in control steps per second. Beside it, taking turns
  in the same process, the physics alone (see floor.py); the ratio is the median over pairs. Then Gymnasium's
  SyncVectorEnv and AsyncVectorEnv of the registered environments, with the same policy acting in NumPy, each with
  the number of environments that is best for it. Episodes that end early (a fallen ant) are stepped no further in
  our rounds, but go on in the physics alone.
- closed-form: whole rounds of an arm in closed form, compiled with the policy inside, beside the physics of the engine.
- encoder: one gradient of the task encoder at the preset's sizes, as the meta-update computes it (tasks on the mesh,
  every task with parameters of its own, θ − offset). Beside it, under `vmap` over tasks, the GRU written as its
  equations stand and Equinox's cell; and PyTorch's layer, where PyTorch can be imported.
- policy: one gradient of the clipped loss on one round of all tasks, beside the same loss written plainly.

What is written plainly runs three times: on one of our single-threaded devices, with its tasks sharded over all of
them (the mesh), and in a process whose only device has all threads. All are shown. GFLOP/s follow from the operations
that floor.py counts, and their share of the peak from the fastest large product that it measures. Nothing else should
run on the machine.
"""

import argparse
from collections.abc import Callable

from alternatives import (
    encoder_gradient,
    encoder_weights,
    equinox_embedding,
    equinox_encoder,
    inputs_of,
    layers_of,
    offsets_of,
    plain_embedding,
    plain_policy_gradient,
    random_episodes,
    torch_encoder_gradient,
)
from floor import (
    add_matrix_option,
    checked_sizes,
    encoder_gradient_flops,
    matrix_peak,
    policy_gradient_flops,
)
from measuring import (
    Report,
    Sizes,
    add_common_options,
    alternately,
    built,
    check_count,
    cores,
    in_own_process,
    median,
    overrides_of,
    print_head,
    print_row,
    run,
)
from sampling import closed_form_speeds, sampling_speeds

#: The parts and the families that they are measured with unless others are given.
PARTS = {
    "sampling": ("wheeled", "reacher2", "reacher4", "ant"),
    "closed-form": ("reacher2", "reacher4"),
    "encoder": ("wheeled",),
    "policy": ("wheeled",),
}

_SPEEDS = {"sampling": sampling_speeds, "closed-form": closed_form_speeds}


def main() -> None:
    """Measure the parts asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--families", nargs="+", help="families of every part; by default each part has its own")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each vector environment is stepped")
    add_common_options(parser, repetitions=5)
    add_matrix_option(parser)
    arguments = parser.parse_args()
    tasks = _checked(arguments)
    report = Report(arguments.json, "compare")
    peak = None
    if {"encoder", "policy"} & set(arguments.parts):
        peak = matrix_peak(arguments.matrix_sizes, arguments.repetitions)
        report.add(peak)
    for part in arguments.parts:
        if part == "sampling":
            _sampling(tasks[part], report)
        elif part == "closed-form":
            _closed_form(tasks[part], report)
        else:
            _gradients(part, tasks[part], peak["gflops"], report)


def _checked(arguments: argparse.Namespace) -> dict[str, list[dict]]:
    """Return what every part is to measure, family by family, or refuse all of it before anything is measured."""
    from tesp.errors import ConfigurationError

    for part in arguments.parts:
        if part not in PARTS:
            raise ConfigurationError(f"There is no part {part!r}; known are: {', '.join(PARTS)}.")
    check_count("repetitions", arguments.repetitions)
    check_count("matrix size", *arguments.matrix_sizes)
    if not arguments.seconds > 0:
        raise ConfigurationError(f"seconds = {arguments.seconds:g} is not possible; give a positive number.")
    overrides = overrides_of(arguments.set)
    common = {"preset": arguments.preset, "overrides": overrides, "repetitions": arguments.repetitions}
    tasks = {}
    for part in arguments.parts:
        families = arguments.families or PARTS[part]
        own = {"part": part, "seconds": arguments.seconds} if part == "sampling" else {"part": part}
        tasks[part] = [{**own, **common, "family": family} for family in families]
        for family in families:
            engine = {"engine": "mujoco"} if part == "closed-form" else {}
            checked_sizes(family, arguments.preset, {**overrides, **engine})
    return tasks


def _work(task: dict) -> dict:
    """Do one measurement, in a process of its own."""
    if task.get("sharded", True):
        import tesp

        tesp.use_all_cores()
    if task["part"] in _SPEEDS:
        return _SPEEDS[task["part"]](task)
    gradients = _encoder_gradients(task) if task["part"] == "encoder" else _policy_gradients(task)
    return alternately(gradients, task["repetitions"])


# Sampling


def _sampling(tasks: list[dict], report: Report) -> None:
    columns = ("family", "environments", "ours, steps/s", "physics alone, steps/s", "ours / physics")
    columns += ("SyncVectorEnv, steps/s", "AsyncVectorEnv, steps/s", "ours / better of the two")
    columns += (f"ours / AsyncVectorEnv ({cores()})",)
    print_head("Sampling", columns)
    for task in tasks:
        result = {**task, **in_own_process(__file__, task)}
        vectors = {kind: max(result[kind].items(), key=lambda entry: entry[1]) for kind in ("sync", "async")}
        result["ratio_to_vectors"] = result["ours"] / max(speed for _, speed in vectors.values())
        result["ratio_to_async"] = result["ours"] / result["async"][str(cores())]
        report.add(result)
        print_row(
            task["family"],
            str(result["environments"]),
            f"{result['ours']:,.0f}",
            f"{result['physics']:,.0f}",
            f"{result['ratio_to_physics']:.2f}",
            *(f"{speed:,.0f} ({count})" for count, speed in vectors.values()),
            f"{result['ratio_to_vectors']:.1f}",
            f"{result['ratio_to_async']:.1f}",
        )


def _closed_form(tasks: list[dict], report: Report) -> None:
    columns = ("family", "environments", "closed form, steps/s", "engine's physics alone, steps/s", "ratio")
    print_head("Whole rounds of an arm in closed form", columns)
    for task in tasks:
        result = {**task, **in_own_process(__file__, task)}
        report.add(result)
        speeds = (f"{result[name]:,.0f}" for name in ("ours", "physics"))
        print_row(task["family"], str(result["environments"]), *speeds, f"{result['ratio_to_physics']:.1f}")


# Gradients


def _gradients(part: str, tasks: list[dict], peak: float, report: Report) -> None:
    print_head(f"The gradient of the {part}", ("family", "how", "device", "seconds", "GFLOP/s", "of peak", "× ours"))
    for task in tasks:
        *_, sizes = built(task)
        flops = {"encoder": encoder_gradient_flops, "policy": policy_gradient_flops}[part](sizes)
        measured = {"one thread": in_own_process(__file__, {**task, "sharded": True, "ours": True})}
        measured["all threads"] = in_own_process(__file__, {**task, "sharded": False})
        if part == "encoder":
            measured["all threads, PyTorch"] = in_own_process(__file__, {**task, "sharded": False, "torch": True})
        rows = {}
        for device, seconds in measured.items():
            for name, own in seconds.items():
                on_mesh = name == "ours" or name.endswith("sharded")
                row = {"device": "mesh" if on_mesh else device, "seconds": median(own), "all_seconds": own}
                rows[name if on_mesh else f"{name}, {device}"] = row
        for name, row in rows.items():
            row["gflops"] = flops / 1e9 / row["seconds"]
            row["of_peak"] = row["gflops"] / peak
            row["ratio_to_ours"] = row["seconds"] / rows["ours"]["seconds"]
            cells = (f"{row['seconds']:.3f}", f"{row['gflops']:.0f}", f"{row['of_peak']:.2f}")
            print_row(task["family"], name, row["device"], *cells, f"{row['ratio_to_ours']:.2f}")
        report.add({**task, "gflop": flops / 1e9, "peak_gflops": peak, "rows": rows, "measured": measured})
        if part == "encoder" and not any(name.startswith("torch") for name in rows):
            print("\nPyTorch cannot be imported; its layer was not measured.", flush=True)


def _encoder_gradients(task: dict) -> dict[str, Callable]:
    """Return the ways of computing the encoder's gradient that this process measures."""
    import numpy as np

    *_, sizes = built(task)
    episodes = random_episodes(sizes, sizes.buffer)
    inputs = inputs_of(episodes)
    directions = np.random.default_rng(1).standard_normal((sizes.tasks, sizes.embedding), np.float32)
    if task.get("torch"):
        try:
            return {"torch.nn.GRU": torch_encoder_gradient(sizes, inputs, directions)}
        except (ImportError, OSError):
            return {}
    import jax

    drawn = jax.random.key(0), sizes.encoder_inputs, sizes.encoder_units, sizes.embedding
    gradients = {"ours": _our_encoder_gradient(sizes, episodes, directions)} if task.get("ours") else {}
    for name, embedding, encoder in (
        ("plain scan", plain_embedding, encoder_weights(*drawn)),
        ("equinox.nn.GRUCell", equinox_embedding, equinox_encoder(*drawn)),
    ):
        gradients[name] = encoder_gradient(embedding, encoder, inputs, directions)
        if task.get("ours"):
            gradients[f"{name}, sharded"] = encoder_gradient(embedding, encoder, inputs, directions, sharded=True)
    return gradients


def _our_encoder_gradient(sizes: Sizes, episodes: dict, directions) -> Callable:
    import jax
    import jax.numpy as jnp

    from tesp.networks.task_encoder import TaskEncoder

    encoder = TaskEncoder.create(
        jax.random.key(0), sizes.observation, sizes.action, sizes.encoder_units, sizes.embedding
    )

    def loss(encoder, data):
        offset, own, direction = data
        embedding = jax.tree.map(jnp.subtract, encoder, offset)(own)
        return embedding @ direction, embedding

    return _over_tasks(loss, encoder, (offsets_of(encoder, sizes.tasks), _episodes(episodes), directions))


def _policy_gradients(task: dict) -> dict[str, Callable]:
    """Return the ways of computing the policy's gradient that this process measures."""
    import jax
    import numpy as np

    from tesp.networks.policy import Policy

    config, _, sizes = built(task)
    episodes, generator = random_episodes(sizes, sizes.episodes), np.random.default_rng(1)
    embeddings = 0.1 * generator.standard_normal((sizes.tasks, sizes.embedding), np.float32)
    advantages = generator.standard_normal(episodes["reward"].shape, np.float32)
    policy = Policy.create(jax.random.key(0), sizes.observation, sizes.embedding, sizes.action, sizes.policy_units)
    data = (embeddings, episodes, advantages, config.method.meta.clip)
    gradients = {"plain": plain_policy_gradient(layers_of(policy), *data)}
    if task.get("ours"):
        gradients["ours"] = _our_policy_gradient(policy, *data)
        gradients["plain, sharded"] = plain_policy_gradient(layers_of(policy), *data, sharded=True)
    return gradients


def _our_policy_gradient(policy, embeddings, episodes: dict, advantages, clip: float) -> Callable:
    import jax
    import jax.numpy as jnp

    from tesp.adaptation.objective import Batch, steps_of, surrogate_terms

    def loss(parameters, data):
        (policy, shift), (embedding, steps) = parameters, data
        value = surrogate_terms(policy, embedding + shift, steps, clip).policy_loss
        return value, value

    parameters = policy, jnp.zeros(embeddings.shape[-1])
    # The meta-update packs the steps once for all its epochs.
    packed = jax.jit(jax.vmap(steps_of))(Batch(_episodes(episodes), advantages))
    return _over_tasks(loss, parameters, (embeddings, packed))


def _over_tasks(loss: Callable, parameters, per_task) -> Callable:
    """Return a function that computes the mean gradient over tasks like the meta-update."""
    import jax

    from tesp.adaptation.task_axis import map_over_tasks, mean_gradient_over_tasks

    # The identity places the data as the meta-update finds it: on every device its own tasks.
    placed = jax.jit(lambda data: map_over_tasks(lambda _, own: own, None, data, 0))(per_task)
    gradient = jax.jit(lambda parameters, data: mean_gradient_over_tasks(loss, parameters, data, 0))
    return lambda: jax.block_until_ready(gradient(parameters, placed))


def _episodes(arrays: dict):
    """Make episodes of the library from plain arrays, every step of which exists."""
    import numpy as np

    from tesp.types import Episodes

    no, last = np.zeros(arrays["reward"].shape, bool), np.zeros(arrays["reward"].shape, bool)
    last[..., -1] = True
    return Episodes(**arrays, distance_reward=arrays["reward"], valid=~no, terminated=no, truncated=last)


if __name__ == "__main__":
    run(main, _work)
