"""What the differences from the authors' published implementation amount to, in numbers: docs/authors-code.md.

Nothing is trained. Every number comes from fresh networks, random actions and fixed seeds. Takes less than a minute.

    python experiments/authors_differences.py
"""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import argparse
from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

import tesp
from tesp.adaptation.meta_update import optimiser
from tesp.adaptation.task_objective import task_objective
from tesp.building import build_family, build_learner, build_method
from tesp.distributions import kl_divergence
from tesp.networks.gru import GRU
from tesp.networks.policy import Policy
from tesp.tasks.goals.goals import ACTION_COST
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.scenery import SUBSTEPS
from tesp.tasks.registry import make_family

#: Constants of Adam in both implementations.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
#: H of the families with a physics engine.
HORIZON = 200
EPISODES = 8
FAMILIES = ("wheeled", "reacher2", "reacher4", "ant")


def main() -> None:
    """Print the numbers of the chosen rows."""
    parser = argparse.ArgumentParser(
        description="Numbers of docs/authors-code.md: differences from the authors' published implementation.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to compute, of: {', '.join(ROWS)}; nothing: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, inputs and actions")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"there is no row {min(unknown)!r}; there are: {', '.join(ROWS)}")
    for name in arguments.rows or ROWS:
        print(f"\n{name}: {(ROWS[name].__doc__ or '').splitlines()[0]}")
        ROWS[name](arguments.seed)


def adam(seed: int) -> None:
    """Compare Adam's steps with ε outside the bias correction (theirs) and inside (here)."""
    sizes = np.array([1e-3, 1e-5, 1e-6, 1e-7, 1e-8], np.float32)
    here, theirs = adam_steps(sizes, 400)
    for size, row in zip(sizes, (theirs / here).T, strict=True):
        ratio = ", ".join(f"{row[t - 1]:.3f}" for t in (1, 20, 100, 400))
        print(f"  gradient {size:.0e}: theirs / here = {ratio} at step 1, 20, 100, 400")
    for name, gradient in zip(("θ_TE", "α", "θ_policy"), first_gradient(seed), strict=True):
        here, theirs = adam_steps(gradient[gradient != 0], 20)
        size, ratio = np.quantile(np.abs(gradient), [0.05, 0.5, 0.95]), np.abs(theirs / here)
        print(
            f"  {name}: |gradient| {size[0]:.1e}, {size[1]:.1e}, {size[2]:.1e} (5, 50, 95 %); theirs / here, median"
            f" {np.median(ratio[0]):.3f}, mean {np.mean(ratio[0]):.3f} at step 1, {np.median(ratio[-1]):.3f},"
            f" {np.mean(ratio[-1]):.3f} at step 20"
        )


def adam_steps(gradient: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the last of 1 … ``count`` steps on a constant gradient, over the step size: (here, theirs)."""
    state, here, theirs = optimiser().init(jnp.asarray(gradient)), [], []
    update = jax.jit(optimiser().update)
    for t in range(1, count + 1):
        step, state = update(jnp.asarray(gradient), state)
        here.append(np.asarray(step, np.float64))
        mean, square = gradient.astype(np.float64) * (1 - BETA1**t), gradient.astype(np.float64) ** 2 * (1 - BETA2**t)
        theirs.append(np.sqrt(1 - BETA2**t) / (1 - BETA1**t) * mean / (np.sqrt(square) + EPSILON))
    return np.stack(here), np.stack(theirs)


def first_gradient(seed: int) -> list[np.ndarray]:
    """Return the first meta-gradient of TESP on the point, preset `quick`: of θ_TE, α and θ_policy."""
    config = tesp.preset_config("point", "quick", seed=seed, tasks_per_update=4)
    family = build_family(config)
    learner = build_learner(config, family)
    algorithm = learner.method.algorithm
    parameters = algorithm.init(jax.random.key(seed))
    tasks = family.sample_task_sets(seed)["train"].tasks[:4]
    simulation = family.simulate(len(tasks) * config.sampling.episodes_per_round, 1)
    adaptation = learner.adapt(parameters, simulation, tasks, family.horizon, jax.random.key(seed + 1))

    def condition(adapted, shared, context):
        return algorithm.policy(adapted, shared), algorithm.embedding(adapted, context.buffer, context.task)

    def mean_objective(parameters, experience):
        def one(own):
            return task_objective(condition, parameters, own, learner.method.fast, learner.method.meta)[0]

        return jnp.mean(jax.lax.map(one, experience))

    gradient = jax.jit(jax.grad(mean_objective))(parameters, learner.method.experience(adaptation.trials))
    return [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(part)]) for part in gradient]


def recurrent(seed: int) -> None:
    """Compute the singular values of each gate's block of the recurrent weights."""
    units = 256
    for name, weight in (("here", recurrent_here(seed, units)), ("theirs", recurrent_theirs(seed, units))):
        for gate, block in zip(("reset", "update", "candidate"), np.split(weight, 3, axis=1), strict=True):
            values = np.linalg.svd(block, compute_uv=False)
            print(
                f"  {name}, {gate}: greatest {values[0]:.3f}, root mean square {np.sqrt(np.mean(values**2)):.3f}, "
                f"least {values[-1]:.4f}"
            )
        print(f"  {name}, all three side by side: greatest {np.linalg.norm(weight, 2):.3f}")


def recurrent_here(seed: int, units: int) -> np.ndarray:
    """Return this library's recurrent weights: three orthogonal matrices side by side."""
    return np.asarray(GRU.create(jax.random.key(seed), 1, units).recurrent_weight, np.float64)


def recurrent_theirs(seed: int, units: int) -> np.ndarray:
    """Return one units × 3 units matrix with orthonormal rows."""
    return np.asarray(jax.nn.initializers.orthogonal()(jax.random.key(seed), (units, 3 * units)), np.float64)


def gates(seed: int) -> None:
    """Compare the last states of both forms of the GRU, from the same weights and inputs."""
    units = 256
    observation, action, reward = random_episodes(make_family("wheeled"), seed)
    from_car = np.concatenate([observation, action, reward[..., None]], axis=-1)
    drawn = np.random.default_rng(seed).normal(size=from_car.shape)
    for name, inputs in (("episodes of the car", from_car), ("standard normal inputs", drawn)):
        gru = GRU.create(jax.random.key(seed), inputs.shape[-1], units)
        weights = np.asarray(gru.input_weight, np.float64), np.asarray(gru.recurrent_weight, np.float64)
        here = last_state(*weights, inputs, hard=False, reset_first=False)
        library = gru.last_state(jnp.asarray(inputs, jnp.float32), jnp.ones(inputs.shape[:2], bool))
        np.testing.assert_allclose(here, library, atol=1e-3)
        print(f"  {name}: root mean square of the state's entries here {rms(here):.3f}")
        for change, hard, first in (
            ("hard sigmoid", True, False),
            ("reset before the product", False, True),
            ("both", True, True),
        ):
            other = last_state(*weights, inputs, hard=hard, reset_first=first)
            print(f"    {change}: difference {rms(other - here):.3f}, {rms(other - here) / rms(here):.0%} of it")
        theirs = last_state(weights[0], recurrent_theirs(seed, units), inputs, hard=True, reset_first=True)
        spread = [rms(state - state.mean(axis=0)) for state in (here, theirs)]
        print(f"    both, and their recurrent weights: root mean square of the state's entries {rms(theirs):.3f}")
        print(f"    spread of the states between episodes: here {spread[0]:.3f}, theirs {spread[1]:.3f}")


def last_state(
    input_weight: np.ndarray, recurrent_weight: np.ndarray, inputs: np.ndarray, *, hard: bool, reset_first: bool
) -> np.ndarray:
    """Return the GRU's state after the last step of every episode (episode, step, input); biases are zero.

    Args:
        input_weight: W = [W_r W_z W_n].
        recurrent_weight: U = [U_r U_z U_n].
        inputs: x.
        hard: Gates clip(0.2 a + 0.5, 0, 1) instead of the logistic function.
        reset_first: n = tanh(x W_n + (r ∘ h) U_n) instead of tanh(x W_n + r ∘ (h U_n)).
    """
    of_reset, of_update, of_candidate = np.split(recurrent_weight, 3, axis=1)
    gate = (lambda a: np.clip(0.2 * a + 0.5, 0, 1)) if hard else (lambda a: 0.5 + 0.5 * np.tanh(0.5 * a))
    state = np.zeros((len(inputs), len(recurrent_weight)))
    for x in np.moveaxis(inputs @ input_weight, 1, 0):
        to_reset, to_update, to_candidate = np.split(x, 3, axis=1)
        reset, update = gate(to_reset + state @ of_reset), gate(to_update + state @ of_update)
        inner = (reset * state) @ of_candidate if reset_first else reset * (state @ of_candidate)
        state = (1 - update) * np.tanh(to_candidate + inner) + update * state
    return state


def encoder_input(seed: int) -> None:
    """Compare what a fresh encoder would read: the distribution's parameters (theirs), the action (here)."""
    mean, log_std = fresh_policy(seed)(np.zeros(8))
    print(f"  entries of the mean {rms(mean):.4f}, of log σ {rms(log_std):.4f} (root mean square), of the action 1")


def control_cost(seed: int) -> None:
    """Compare the cost of control: 0.001·‖a‖² here, half of it theirs."""
    action = np.clip(np.random.default_rng(seed).normal(size=1_000_000), -1, 1)
    for name in FAMILIES:
        size = make_family(name).action_size
        most, random = ACTION_COST * size / 2, ACTION_COST * size * np.mean(action**2) / 2
        print(
            f"  {name}: difference at most {most:.4f} a step and {most * HORIZON:.2f} an episode; "
            f"{random:.4f} and {random * HORIZON:.2f} at random actions"
        )


def positions(seed: int) -> None:
    """Measure how far the engine's derived position lies from the state's after a control step."""
    for name in FAMILIES:
        family = make_family(name)
        assert isinstance(family, MJCFFamily)
        goals = family.sample_task_sets(seed)["train"].tasks
        for actions in ("random actions", "full speed"):
            derived, true, moved = derived_positions(family, seed, full=actions == "full speed")
            lag = np.linalg.norm(derived - true, axis=-1)
            print(
                f"  {name}, {actions}: derived position off by {1e3 * lag.mean():.3g} mm on average, "
                f"{1e3 * lag.max():.3g} mm at most; it moved {1e3 * moved.mean():.3g} and {1e3 * moved.max():.3g} mm "
                f"in the last 0.01 s"
            )
            if actions == "random actions":
                returns = [
                    -np.linalg.norm(x[:, :, None] - goals, axis=-1).sum(axis=1).mean(axis=0) for x in (true, derived)
                ]
                print(
                    f"    return on D without arrival: {returns[0].mean():.2f} here, changed by "
                    f"{np.abs(returns[1] - returns[0]).max():.4f} at most"
                )


def derived_positions(family: MJCFFamily, seed: int, *, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per episode and control step: the engine's derived position, the state's, and the last physics step's way.

    Args:
        family: Which body.
        seed: Seed of the actions.
        full: Every action is 1; otherwise they are standard normal, clipped to [−1, 1].
    """
    model = family.body.model
    data, generator = mujoco.MjData(model), np.random.default_rng(seed)
    low, high = model.actuator_ctrlrange.T
    rows = []
    for _ in range(1 if full else EPISODES):
        mujoco.mj_resetDataKeyframe(model, data, 0)
        for _ in range(HORIZON):
            action = np.ones(model.nu) if full else np.clip(generator.normal(size=model.nu), -1, 1)
            data.ctrl[:] = (low + high) / 2 + (high - low) / 2 * action
            mujoco.mj_step(model, data, nstep=SUBSTEPS - 1)
            before = position_of(family, data)
            mujoco.mj_step(model, data)
            derived = data.geom("fingertip").xpos if family.name.startswith("reacher") else data.body(1).xpos
            rows.append((derived[:2].copy(), position_of(family, data), before))
    derived, true, before = np.moveaxis(np.reshape(rows, (-1, HORIZON, 3, 2)), 2, 0)
    return derived, true, np.linalg.norm(true - before, axis=-1)


def position_of(family: MJCFFamily, data: mujoco.MjData) -> np.ndarray:
    """Return the family's position in one state of the engine."""
    return family.position(SimpleNamespace(qpos=data.qpos[None]))[0].copy()


def start_vector(seed: int) -> None:
    """Compare AdaptSV's first z: drawn with norm 0.01 (theirs), zero (here)."""
    z = np.random.default_rng(seed).normal(size=8)
    z *= 0.01 / np.linalg.norm(z)
    policy = fresh_policy(seed)
    ours, theirs = policy(np.zeros(8)), policy(z)
    print(f"  largest change of the mean {np.abs(theirs[0] - ours[0]).max():.1e}, of log σ", end=" ")
    print(f"{np.abs(theirs[1] - ours[1]).max():.1e}; KL divergence {np.mean(kl_divergence(*ours, *theirs)):.1e}")
    print(f"  entries of z {rms(z):.4f}: {rms(z) / 3e-4:.0f} steps of Adam at 3e-4")


def averages(_seed: int) -> None:
    """Compare the average return with every episode counting alike (theirs) and every task counting alike (here)."""
    for solved in (0.25, 0.5, 0.75):
        # Solved tasks: 50 steps, return −20. The others: 200 steps, return −100. Episodes per task: 5000 steps' worth.
        weight = np.array([solved * 5000 / 50, (1 - solved) * 5000 / 200])
        pooled, by_task = weight @ [-20, -100] / weight.sum(), solved * -20 + (1 - solved) * -100
        print(f"  {solved:.0%} of the tasks solved: theirs {pooled:.0f}, here {by_task:.0f}")


def random_episodes(family: MJCFFamily, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observations, actions as drawn and rewards of random episodes, each on a task of its own."""
    simulation = family.simulate(EPISODES, 1)
    observation = simulation.reset(family.sample_task_sets(seed)["train"].tasks[:EPISODES])
    generator, rows = np.random.default_rng(seed), []
    for _ in range(HORIZON):
        action = generator.normal(size=(EPISODES, family.action_size))
        step = simulation.step(np.arange(EPISODES), action)
        rows.append((observation.copy(), action, step.reward))
        observation = step.observation
    simulation.close()
    return tuple(np.stack(part, axis=1) for part in zip(*rows, strict=True))


def fresh_policy(seed: int) -> Callable[[np.ndarray], tuple[jax.Array, jax.Array]]:
    """Return a fresh policy of the car's preset `paper` on the observations of random episodes, for any embedding."""
    family = make_family("wheeled")
    config = tesp.preset_config("wheeled", "paper", "adapt-sv")
    policy = build_method(config, family).algorithm.init(jax.random.key(seed)).shared
    assert isinstance(policy, Policy)
    observation = jnp.asarray(random_episodes(family, seed)[0], jnp.float32)
    return lambda embedding: policy(observation, jnp.asarray(embedding, jnp.float32))


def rms(values) -> float:
    """Return the root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(values))))


ROWS: dict[str, Callable[[int], None]] = {
    "adam": adam,
    "recurrent": recurrent,
    "gates": gates,
    "encoder-input": encoder_input,
    "control-cost": control_cost,
    "positions": positions,
    "start-vector": start_vector,
    "averages": averages,
}


if __name__ == "__main__":
    main()
