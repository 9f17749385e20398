"""Sampling in control steps per second: whole rounds of ours, the physics alone, vector environments."""

from collections.abc import Callable

from alternatives import environment_maker, numpy_act, vector_speed
from floor import physics_round
from measuring import Sizes, built, configuration, cores, median, seconds_of

#: Numbers of environments that the vector environments try, besides one per core for the asynchronous one.
SYNCHRONOUS, ASYNCHRONOUS = (2, 8, 32), (8, 16)


def sampling_speeds(task: dict) -> dict:
    """Speeds of our rounds and of the physics alone, by turns, and then of the vector environments."""
    config, family, sizes = built(task)
    result = _by_turns(_rounds(config, family, sizes), physics_round(family, sizes), sizes, task["repetitions"])
    return {**result, **_vector_speeds(task, family, sizes)}


def closed_form_speeds(task: dict) -> dict:
    """Speeds of our rounds of an arm in closed form and of the engine's physics alone, by turns."""
    from tesp.building import build_family

    config, family, sizes = built({**task, "overrides": {**task["overrides"], "engine": "closed-form"}})
    engine = build_family(configuration(task["family"], task["preset"], {**task["overrides"], "engine": "mujoco"}))
    return _by_turns(_rounds(config, family, sizes), physics_round(engine, sizes), sizes, task["repetitions"])


def _by_turns(ours: Callable[[int], float], physics: Callable[[], None], sizes: Sizes, repetitions: int) -> dict:
    # The first turn compiles.
    turns = [(ours(number), sizes.steps_of_a_round / seconds_of(physics)) for number in range(repetitions + 1)]
    pairs = turns[1:]
    return {
        "environments": sizes.tasks * sizes.episodes,
        "ours": median(own for own, _ in pairs),
        "physics": median(alone for _, alone in pairs),
        "ratio_to_physics": median(own / alone for own, alone in pairs),
        "pairs": pairs,
    }


def _vector_speeds(task: dict, family, sizes: Sizes) -> dict:
    import jax

    from tesp.networks.policy import Policy

    policy = Policy.create(jax.random.key(0), sizes.observation, sizes.embedding, sizes.action, sizes.policy_units)
    act = numpy_act(policy, sizes.observation)
    options = {name: value for name, value in family.options.items() if name != "horizon"}
    make_one = environment_maker(task["family"], family.horizon, options)
    counts = {"sync": SYNCHRONOUS, "async": sorted({cores(), *ASYNCHRONOUS})}
    return {
        kind: {str(count): vector_speed(kind, make_one, count, act, task["seconds"]) for count in tried}
        for kind, tried in counts.items()
    }


def _rounds(config, family, sizes: Sizes) -> Callable[[int], float]:
    """Return a function that samples the warm-up round and one more, and returns the steps per second."""
    import jax
    import numpy as np

    from tesp.building import build_learner
    from tesp.config import override

    learner = build_learner(override(config, fast_updates=0), family)
    parameters = learner.method.parameters(learner.method.init(jax.random.key(0)))
    simulation = family.simulate(sizes.tasks * sizes.episodes)
    train = family.sample_task_sets(0)["train"].tasks
    goals = np.resize(train, (sizes.tasks, train.shape[1]))

    def sample(number: int) -> float:
        adaptation = learner.adapt(parameters, simulation, goals, family.horizon, jax.random.key(number))
        seconds = adaptation.stopwatch.seconds
        # What is not sampling: embeddings and advantages.
        return adaptation.steps / sum(spent for part, spent in seconds.items() if part != "fast_updates")

    return sample
