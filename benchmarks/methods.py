"""Control steps per second of every method beside the physics alone, and the GRU's gradient over whole trials.

    python benchmarks/methods.py steps reacher2 half-cheetah-velocity-v1 [--algorithms rl2 tesp] [--json FILE]
    python benchmarks/methods.py gradient [--steps 200 1000] [--units 128] [--trials 40] [--json FILE]

`steps`: control steps per second of sampling (physics, acting, recording) and of whole meta-updates (sampling and
learning), without the first one, which compiles; and by turns with them those of the physics alone, with as many bodies
as the method has, stepped to the horizon by controls made beforehand. They are stepped by the family's own engine, arms
in closed form by one compiled loop.

`gradient`: seconds of the gradient of the sum of squares of all states of a GRU (`GRU.states`) with respect to its
weights, forward and backward, with the derivative written by hand and with a plain scan that is left to automatic
differentiation, by turns; of trials at full length, and of trials that are all over after a third of it, whose padding
the hand-written one skips; on one of the library's single-threaded devices, and on one that has all threads.

Every row is measured in a process of its own; nothing else should run on the machine.
"""

import argparse
from collections.abc import Callable
from types import SimpleNamespace

from floor import physics_round
from measuring import (
    Report,
    add_common_options,
    alternately,
    check_count,
    configuration,
    in_own_process,
    median,
    meta_updates,
    overrides_of,
    print_head,
    print_row,
    run,
    seconds_of,
)

_SAMPLING = ("physics", "acting", "recording", "sampling")

#: Rounds of the physics alone after each meta-update, and how many meta-updates are measured at least.
_ROUNDS, _LEAST = 3, 2


def main() -> None:
    """Measure what is asked for and print a table."""
    from tesp.methods.registry import ABLATIONS, METHODS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gradient", "steps"))
    parser.add_argument("families", nargs="*", default=["reacher2", "half-cheetah-velocity-v1"])
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 1000], help="steps of a trial, of `gradient`")
    parser.add_argument("--units", type=int, nargs="+", default=[128], help="units of the GRU, of `gradient`")
    parser.add_argument("--trials", type=int, default=40, help="trials side by side, of `gradient`")
    methods = [name for name in METHODS if name not in ABLATIONS]
    parser.add_argument("--algorithms", nargs="+", default=methods, help="methods, of `steps`; all by default")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="how long each is measured, of `steps`; two at least"
    )
    add_common_options(parser, repetitions=5)
    parser.set_defaults(preset="quick")
    arguments = parser.parse_args()
    check_count("a number", *arguments.steps, *arguments.units, arguments.trials, arguments.repetitions)
    given = vars(arguments) | {"overrides": overrides_of(arguments.set)}
    tasks = [
        {**given, "family": family, "algorithm": algorithm}
        for family in arguments.families
        for algorithm in arguments.algorithms
    ]
    if arguments.what == "steps":
        for task in tasks:
            _configured(task)
    report = Report(arguments.json, "methods")
    (_gradients if arguments.what == "gradient" else _speeds)(report, given, tasks)


def _speeds(report: Report, _given: dict, tasks: list[dict]) -> None:
    columns = ("family", "method", "bodies", "physics alone", "sampling", "÷ physics", "whole meta-updates")
    print_head("Control steps per second", (*columns, "÷ physics", "steps of a meta-update", "seconds of it"))
    for task in tasks:
        result = in_own_process(__file__, {**task, "measure": "steps"})
        report.add({"measure": "steps", "family": task["family"], "algorithm": task["algorithm"], **result})
        cells = [f"{result['bodies']}", f"{result['physics']:,.0f}"]
        for part in ("sampling", "whole"):
            cells += [f"{result[part]:,.0f}", f"{result[part] / result['physics']:.2f}"]
        print_row(task["family"], task["algorithm"], *cells, f"{result['steps']:,.0f}", f"{result['seconds']:.2f}")


def _gradients(report: Report, given: dict, _tasks: list[dict]) -> None:
    columns = ("steps", "of which there are", "units", "threads", "by hand, s", "automatic, s", "automatic ÷ by hand")
    print_head(f"Gradient through the memory of {given['trials']} trials", columns)
    rows = [
        {"length": steps, "memory": units, "share": share, "sharded": sharded}
        for steps in given["steps"]
        for units in given["units"]
        for sharded in (True, False)
        for share in (1.0, 1 / 3)
    ]
    for row in rows:
        result = in_own_process(__file__, {**given, **row, "measure": "gradient"})
        report.add({"measure": "gradient", **row, **result})
        what = (f"{row['length']}", f"{row['share']:.0%}", f"{row['memory']}", "one" if row["sharded"] else "all")
        cells = (f"{result[name]:.4f}" for name in ("by_hand", "automatic"))
        print_row(*what, *cells, f"{result['ratio']:.2f}")


def _work(task: dict) -> dict:
    return {"gradient": _gradient, "steps": _steps}[task["measure"]](task)


def _configured(task: dict) -> None:
    """Refuse a method and a family that cannot be built."""
    from tesp.building import build_family, build_learner

    config = configuration(task["family"], task["preset"], {**task["overrides"], "algorithm": task["algorithm"]})
    build_learner(config, build_family(config))


def _steps(task: dict) -> dict:
    """Return steps per second of the physics alone, of sampling, and of whole meta-updates."""
    import tesp

    tesp.use_all_cores()
    from tesp.building import build_family

    config = configuration(task["family"], task["preset"], {**task["overrides"], "algorithm": task["algorithm"]})
    family = build_family(config)
    tasks, episodes = config.sampling.tasks_per_update, config.sampling.episodes_per_round
    sizes = SimpleNamespace(tasks=tasks, episodes=episodes, horizon=family.horizon, action=family.action_size)
    records, alone = _by_turns(meta_updates(config), _physics(family, sizes), task["seconds"])
    steps, seconds = (sum(record[name] for record in records) for name in ("steps_sampled", "seconds"))
    sampling = sum(record.get(f"seconds_{part}", 0.0) for record in records for part in _SAMPLING)
    return {
        "bodies": tasks * episodes,
        "physics": tasks * episodes * family.horizon / median(alone),
        "sampling": steps / sampling,
        "whole": steps / seconds,
        "meta_updates": len(records),
        "steps": steps / len(records),
        "seconds": seconds / len(records),
    }


def _by_turns(updates, physics: Callable[[], None], seconds: float) -> tuple[list[dict], list[float]]:
    """Return the records of meta-updates for so long, and seconds of rounds of the physics alone in between."""
    next(updates)
    physics()
    records: list[dict] = []
    alone: list[float] = []
    while len(records) < _LEAST or sum(record["seconds"] for record in records) < seconds:
        records.append(next(updates))
        alone += [seconds_of(physics) for _ in range(_ROUNDS)]
    return records, alone


def _physics(family, sizes) -> Callable[[], None]:
    """Return a function that steps all bodies of a round to the horizon with the family's own engine, and no more."""
    import jax
    import numpy as np

    from tesp.adaptation.task_axis import shard_tasks

    count = sizes.tasks * sizes.episodes
    dynamics = family.simulate(count).compiled
    if dynamics is None:
        return physics_round(family, sizes)
    generator = np.random.default_rng(0)
    actions = generator.standard_normal((sizes.horizon, count, sizes.action)).clip(-1.0, 1.0)
    goals = np.resize(family.sample_task_sets(0)["train"].tasks, (count, family.task_size))

    def of_a_device(goals, actions):
        start = jax.vmap(lambda task: dynamics.start(task)[0])(goals)
        step = jax.vmap(lambda state, task, action: dynamics.step(state, task, action)[0])
        return jax.lax.scan(lambda state, action: (step(state, goals, action), None), start, actions)[0]

    with jax.enable_x64(True):
        goals = shard_tasks(goals, count)
        rows, steps_rows = jax.P("task"), jax.P(None, "task")
        actions = jax.device_put(actions, jax.NamedSharding(goals.sharding.mesh, steps_rows))
        loop = jax.shard_map(
            of_a_device, mesh=goals.sharding.mesh, in_specs=(rows, steps_rows), out_specs=rows, check_vma=False
        )
        step_all = jax.jit(loop).lower(goals, actions).compile()
    return lambda: jax.block_until_ready(step_all(goals, actions))


def _gradient(task: dict) -> dict:
    """Seconds of both gradients, by turns."""
    if task["sharded"]:
        import tesp

        tesp.use_all_cores()
    import jax
    import jax.numpy as jnp

    from tesp.networks.gru import GRU

    trials, steps, units = task["trials"], task["length"], task["memory"]
    gru = GRU.create(jax.random.key(0), 8, units)
    inputs = jax.random.normal(jax.random.key(1), (trials, steps, 8))
    valid = jnp.broadcast_to(jnp.arange(steps) < round(task["share"] * steps), (trials, steps))
    start = jnp.zeros((trials, units))

    def gradient(states):
        function = jax.jit(jax.grad(lambda gru: jnp.sum(states(gru, start, inputs, valid) ** 2)))
        return lambda: jax.block_until_ready(function(gru))

    turns = alternately({"by_hand": gradient(GRU.states), "automatic": gradient(_plain_states)}, task["repetitions"])
    found = {name: median(seconds) for name, seconds in turns.items()}
    ratios = [b / a for a, b in zip(turns["by_hand"], turns["automatic"], strict=True)]
    return {**found, "ratio": median(ratios), "seconds": turns}


def _plain_states(gru, start, inputs, valid):
    """States of all steps by the formula alone."""
    import jax
    import jax.numpy as jnp

    def step(state, xs):
        x, exists = xs
        from_input = jnp.split(x @ gru.input_weight + gru.bias, 3, axis=-1)
        from_state = jnp.split(state @ gru.recurrent_weight, 3, axis=-1)
        reset, update = (jax.nn.sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
        candidate = jnp.tanh(from_input[2] + reset * (from_state[2] + gru.candidate_bias))
        following = jnp.where(exists[:, None], (1.0 - update) * candidate + update * state, state)
        return following, following

    states = jax.lax.scan(step, start, (jnp.moveaxis(inputs, 1, 0), valid.T))[1]
    return jnp.moveaxis(states, 0, 1)


if __name__ == "__main__":
    run(main, _work)
