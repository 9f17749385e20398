"""Methods that remember: the GRU's gradient over whole trials, and steps per second beside the physics alone.

    python benchmarks/recurrent.py gradient [--steps 200 1000] [--units 64 128] [--trials 40] [--json FILE]
    python benchmarks/recurrent.py steps point reacher2 [--algorithms rl2 varibad tesp] [--preset quick] [--json FILE]

`gradient`: seconds of the gradient of a sum over all states of a GRU (`GRU.states`), with the derivative written by
hand and with a plain scan that is left to automatic differentiation, by turns; of trials at full length, and of trials
that are all over after a third of it, whose padding the hand-written one skips.

`steps`: control steps per second of sampling (physics, acting, recording) and of whole meta-updates of every method,
and of the physics alone with as many bodies as the method has, stepped to the horizon with controls made beforehand.
"""

import argparse
from itertools import islice
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
)

_SAMPLING = ("physics", "acting", "recording", "sampling")


def main() -> None:
    """Measure what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gradient", "steps"))
    parser.add_argument("families", nargs="*", default=["point"])
    parser.add_argument("--steps", type=int, nargs="+", default=[200, 1000], help="steps of a trial, of `gradient`")
    parser.add_argument("--units", type=int, nargs="+", default=[64, 128], help="units of the GRU, of `gradient`")
    parser.add_argument("--trials", type=int, default=40, help="trials side by side, of `gradient`")
    parser.add_argument("--algorithms", nargs="+", default=["rl2", "varibad", "tesp"], help="methods, of `steps`")
    parser.add_argument("--meta-updates", type=int, default=3, help="meta-updates after the first, of `steps`")
    add_common_options(parser, repetitions=5)
    parser.set_defaults(preset="quick")
    arguments = parser.parse_args()
    check_count("a number", *arguments.steps, *arguments.units, arguments.trials, arguments.repetitions)
    check_count("meta_updates", arguments.meta_updates)
    given = vars(arguments) | {"overrides": overrides_of(arguments.set)}
    tasks = [
        {**given, "family": family, "algorithm": algorithm}
        for family in arguments.families
        for algorithm in arguments.algorithms
    ]
    if arguments.what == "steps":
        for task in tasks:
            _configured(task)
    report = Report(arguments.json, "recurrent")
    (_gradients if arguments.what == "gradient" else _speeds)(report, given, tasks)


def _gradients(report: Report, given: dict, _tasks: list[dict]) -> None:
    columns = ("steps", "units", "of which there are", "by hand, s", "automatic, s", "automatic ÷ by hand")
    print_head(f"Gradient through the memory of {given['trials']} trials", columns)
    for steps in given["steps"]:
        for units in given["units"]:
            for share in (1.0, 1 / 3):
                task = {**given, "measure": "gradient", "length": steps, "memory": units, "share": share}
                result = in_own_process(__file__, task)
                report.add({"measure": "gradient", "steps": steps, "units": units, "share": share, **result})
                cells = (f"{result[name]:.4f}" for name in ("by_hand", "automatic"))
                print_row(f"{steps}", f"{units}", f"{share:.0%}", *cells, f"{result['ratio']:.2f}")


def _speeds(report: Report, _given: dict, tasks: list[dict]) -> None:
    columns = ("family", "method", "bodies", "physics alone", "sampling", "÷ physics", "whole meta-updates")
    print_head("Control steps per second", columns)
    for task in tasks:
        result = in_own_process(__file__, {**task, "measure": "steps"})
        report.add({"measure": "steps", "family": task["family"], "algorithm": task["algorithm"], **result})
        speeds = [f"{result[name]:,.0f}" for name in ("physics", "sampling")]
        share = f"{result['sampling'] / result['physics']:.2f}"
        cells = (f"{result['bodies']}", *speeds, share, f"{result['whole']:,.0f}")
        print_row(task["family"], task["algorithm"], *cells)


def _work(task: dict) -> dict:
    return {"gradient": _gradient, "steps": _steps}[task["measure"]](task)


def _gradient(task: dict) -> dict:
    """Seconds of both gradients, by turns."""
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


def _configured(task: dict):
    """Return the configuration of a method and its family, which can be built."""
    from tesp.building import build_family, build_learner

    overrides = {**task["overrides"], "algorithm": task["algorithm"]}
    config = configuration(task["family"], task["preset"], overrides)
    family = build_family(config)
    build_learner(config, family)
    return config, family


def _steps(task: dict) -> dict:
    """Return steps per second of the physics alone, of sampling, and of whole meta-updates."""
    config, family = _configured(task)
    records = list(islice(meta_updates(config), task["meta_updates"] + 1))[1:]
    steps = sum(record["steps_sampled"] for record in records)
    sampling = sum(record.get(f"seconds_{part}", 0.0) for record in records for part in _SAMPLING)
    tasks, episodes = config.sampling.tasks_per_update, config.sampling.episodes_per_round
    sizes = SimpleNamespace(tasks=tasks, episodes=episodes, horizon=family.horizon, action=family.action_size)
    seconds = alternately({"physics": physics_round(family, sizes)}, task["repetitions"])["physics"]
    return {
        "bodies": tasks * episodes,
        "physics": tasks * episodes * family.horizon / median(seconds),
        "sampling": steps / sampling,
        "whole": steps / sum(record["seconds"] for record in records),
    }


if __name__ == "__main__":
    run(main, _work)
