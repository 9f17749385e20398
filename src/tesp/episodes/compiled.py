"""Collecting a whole round as one compiled loop, with the policy and the dynamics inside."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from tesp.acting import Agent, Seen, act_as
from tesp.episodes.budget import Budget, judged, places_of
from tesp.episodes.collect import Outcomes
from tesp.errors import NonFiniteError
from tesp.tasks.compiled_dynamics import CompiledDynamics
from tesp.types import Episodes, PyTree

#: Rows that are computed together where policies are shared: enough for fast products, few enough to leave out many.
BLOCK = 64

#: What is checked at every step, in this order.
CHECKED = ("action", "observation", "reward")
_NEVER = np.iinfo(np.int32).max


def collect_compiled(
    dynamics: CompiledDynamics,
    agent: Agent,
    tasks: Float[Any, "task parameter"],
    noise: Float[Any, "task episode step action"],
    mesh: Mesh,
    block: int | None = None,
    at_once: int | None = None,
    memory: PyTree = (),
) -> tuple[Episodes, Outcomes, PyTree]:
    """Sample one round as `collect` does, with the same results up to rounding.

    Every device has its own tasks and stops when their episodes have ended. Unless agents act task by task, rows are
    computed in blocks, and those that still run move together into ever fewer of them, so that what a step costs
    follows their number. Compiled once for each combination of dynamics, kind of agent and shapes.

    Args:
        dynamics: The dynamics of one simulation.
        agent: The agents of all tasks, with a leading axis ``task`` in what is their own.
        tasks: The tasks.
        noise: Standard normal noise of the actions; its shape says how many episodes and steps.
        mesh: Devices, along an axis ``task``, whose number divides that of the tasks.
        block: Rows that are computed together unless agents act task by task; by default a few on a CPU and all of a
            device's on an accelerator.
        at_once: N, if the round goes on until every task has N·H steps, as for `collect`. It is then sampled in waves
            of at most N episodes a task, each of those that may begin once the last wave is over.
        memory: What the agents remember at the start of their episodes, (task, episode, …).

    Returns:
        The padded episodes with axes (task, episode, step, …), their outcomes, and what the agents remember at the end.

    Raises:
        ValueError: Agents with memory are given none to begin with.
        NonFiniteError: An action, an observation or a reward became NaN or infinite; it names the task.
    """
    if agent.remembers and not jax.tree.leaves(memory):
        raise ValueError(f"memory is empty, but a {type(agent).__name__} has one; give what its episodes begin with.")
    count, capacity = noise.shape[:2]
    width = at_once or capacity
    rows, least = count // mesh.size * width, 2
    if block is None:
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        block, least = (BLOCK, 2) if on_cpu else (rows, 1)
    # A loop over two blocks at least cannot be taken apart by the compiler: bits do not depend on the number of rows.
    blocks = (block, max(-(-rows // block), least))

    def sample(noise, begins, memory):
        with jax.enable_x64(True):
            sampled = _sample(
                dynamics, mesh, blocks, agent.of(None), agent.own, np.asarray(tasks, np.float64), noise, begins, memory
            )
            *result, broken = jax.device_get(sampled)
        _raise_first(broken)
        return result

    if at_once is None:
        episodes, outcomes, memory = sample(noise, np.ones((count, capacity), bool), memory)
    else:
        episodes, outcomes, memory = _in_waves(sample, np.asarray(noise), at_once, jax.tree.map(np.asarray, memory))
    return episodes, Outcomes(judged=judged(count, width, capacity), **outcomes), memory


def _in_waves(sample: Callable, noise: np.ndarray, at_once: int, memory: PyTree) -> tuple[Episodes, dict, PyTree]:
    """Sample wave by wave until no more episodes may begin; put each where its number says."""
    count, capacity, horizon, _ = noise.shape
    budget, result = Budget(count, at_once, capacity, horizon), None
    places = np.arange(count * at_once)
    while (rows := budget.take()).size:
        task, number = np.divmod(rows, capacity)
        # The wave's episodes of a task stand at the first of its places.
        wave = np.divmod(places_of(rows, capacity, places, at_once), at_once)
        begins = np.zeros((count, at_once), bool)
        begins[wave] = True
        of_the_wave = partial(_picked, wave, (task, number), (count, at_once))
        sampled = sample(of_the_wave(noise), begins, jax.tree.map(of_the_wave, memory))
        if result is None:
            # Of episodes that never begin the memory is what they would have begun with.
            result = [*jax.tree.map(partial(_room, capacity), sampled[:2]), jax.tree.map(np.array, memory)]
        for whole, part in zip(jax.tree.leaves(result), jax.tree.leaves(sampled), strict=True):
            whole[task, number] = part[wave]
        budget.over(rows, sampled[1]["length"][wave])
    assert result is not None
    result[1]["start"][result[1]["length"] == 0] = np.nan
    result[1]["position"][result[1]["length"] == 0] = np.nan
    return tuple(result)


def _picked(to: tuple, of: tuple, shape: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """Return an array of the given shape with the entries ``of`` of x at the places ``to``."""
    picked = np.zeros((*shape, *x.shape[2:]), x.dtype)
    picked[to] = x[of]
    return picked


def _room(capacity: int, x: np.ndarray) -> np.ndarray:
    return np.zeros((len(x), capacity, *x.shape[2:]), x.dtype)


class _Summary(NamedTuple):
    """What an episode has come to so far, one entry a row."""

    average_return: Float[Array, " row"]
    final_distance: Float[Array, " row"]
    success: Bool[Array, " row"]
    unhealthy: Bool[Array, " row"]
    length: Int[Array, " row"]
    running: Bool[Array, " row"]
    terminated: Bool[Array, " row"]
    broken: Int[Array, " row"]


class _Steps(NamedTuple):
    """What is recorded of every step."""

    observation: Any
    action: Any
    behaviour: PyTree
    reward: Any
    distance_reward: Any
    position: Any


class _Rows(NamedTuple):
    """All episodes of a device, in any order, with leading axis ``row``.

    Attributes:
        ids: Which episode each row is.
        task: Its task.
        state: Its simulation.
        observation: What it observes now.
        memory: What its agent remembers.
        before: Action and reward of the step before, for agents with memory; otherwise nothing.
        summary: What it has come to.
    """

    ids: Int[Array, " row"]
    task: Float[Array, "row parameter"]
    state: PyTree
    observation: Float[Array, "row observation"]
    memory: PyTree
    before: tuple[Float[Array, "row action"], Float[Array, " row"]] | None
    summary: _Summary


@partial(jax.jit, static_argnums=(0, 1, 2))
def _sample(dynamics, mesh, blocks, agent, own, tasks, noise, begins, memory):
    on_device = partial(_sample_on_device, dynamics, *blocks)
    task, whole = PartitionSpec("task"), PartitionSpec()
    specs = (whole, task, task, task, task, task)
    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=task, check_vma=False)(
        agent, own, tasks, noise, begins, memory
    )


def _sample_on_device(dynamics, block, blocks, agent, own, tasks, noise, begins, memory):
    count, episodes, horizon, _ = noise.shape
    real = count * episodes
    step_noise = jnp.moveaxis(noise, 2, 0).reshape(horizon, real, -1)
    # Agents that act task by task need the rows of a task together: all rows are one block, and none moves.
    block, size = (real, real) if agent.by_task else (block, blocks * block)
    # The last blocks are filled up with rows that never run.
    origin = jnp.minimum(jnp.arange(size), real - 1)
    running = (jnp.arange(size) < real) & begins.reshape(-1)[origin]
    memory = jax.tree.map(lambda x: x.reshape(real, *x.shape[2:])[origin], memory)
    rows, start = _begin(dynamics, tasks[origin // episodes], running, memory)
    if agent.remembers:
        rows = rows._replace(before=(jnp.zeros((size, noise.shape[-1]), jnp.float32), jnp.zeros(size, jnp.float32)))

    def act_on(rows: _Rows, t):
        origin = jnp.minimum(rows.ids, real - 1)
        noise_now = step_noise[t][origin]
        seen = Seen(rows.observation)
        if rows.before is not None:
            seen = Seen(rows.observation, *rows.before, jnp.full(len(origin), t == 0))
        if not agent.by_task:
            mine = jax.tree.map(lambda x: x[origin // episodes], own)
            return jax.vmap(act_as, in_axes=(None, 0, 0, 0, 0))(agent, mine, rows.memory, seen, noise_now)
        told = jax.tree.map(lambda x: x.reshape(count, episodes, *x.shape[1:]), (rows.memory, seen, noise_now))
        alike = jax.vmap(act_as, in_axes=(None, None, 0, 0, 0))
        done = jax.vmap(alike, in_axes=(None, 0, 0, 0, 0))(agent, own, *told)
        return jax.tree.map(lambda x: x.reshape(real, *x.shape[2:]), done)

    step = partial(_step, dynamics, act_on)
    rows, records, places = _follow(step, block, rows, _empty_records(step, block, rows, horizon))
    summary, memory = jax.tree.map(lambda x: jnp.zeros_like(x).at[rows.ids].set(x)[:real], (rows.summary, rows.memory))
    return _finished(records, summary, start[:real], places[:, :real], memory, (count, episodes))


def _begin(dynamics: CompiledDynamics, tasks: Array, running: Array, memory: PyTree) -> tuple[_Rows, Array]:
    """Put every row at its start; return the rows and their positions."""
    state, observation, position = jax.vmap(dynamics.start)(tasks)
    rows = len(tasks)
    number, flag = jnp.zeros(rows, position.dtype), jnp.zeros(rows, bool)
    summary = _Summary(
        average_return=number,
        final_distance=number,
        success=flag,
        unhealthy=flag,
        length=jnp.zeros(rows, jnp.int32),
        running=running,
        terminated=flag,
        broken=jnp.full(rows, _NEVER, jnp.int32),
    )
    return _Rows(jnp.arange(rows), tasks, state, observation.astype(jnp.float32), memory, None, summary), position


def _empty_records(step: Callable, block: int, rows: _Rows, horizon: int) -> _Steps:
    shapes = jax.eval_shape(step, jax.tree.map(lambda x: x[:block], rows), jnp.array(0))[1]
    return jax.tree.map(lambda x: jnp.zeros((horizon, len(rows.ids), *x.shape[1:]), x.dtype), shapes)


def _follow(step: Callable, block: int, rows: _Rows, records: _Steps) -> tuple[_Rows, _Steps, Array]:
    """Step the rows until none runs any more, to the horizon or until something is broken.

    Returns:
        The rows, the records in the order that the rows had at each step, and where each episode's row was then.
    """
    horizon, size = records.reward.shape

    def going_on(state):
        t, _, rows, _, _ = state
        return (t < horizon) & jnp.any(rows.summary.running) & jnp.all(rows.summary.broken == _NEVER)

    def one_step(state):
        t, blocks, rows, records, places = state
        needed = (jnp.sum(rows.summary.running, dtype=jnp.int32) + (block - 1)) // block
        rows = jax.lax.cond(needed < blocks, _running_first, lambda same: same, rows)

        def one_block(index, state):
            rows, records = state
            start = index * block
            part, done = step(jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, block), rows), t)
            rows = jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, 0), rows, part)
            return rows, jax.tree.map(partial(_write, t, start), records, done)

        rows, records = jax.lax.fori_loop(0, needed, one_block, (rows, records))
        place = jnp.zeros(size, jnp.int32).at[rows.ids].set(jnp.arange(size, dtype=jnp.int32))
        return t + 1, needed, rows, records, _write(t, jnp.int32(0), places, place)

    first = (jnp.int32(0), jnp.int32(size // block), rows, records, jnp.zeros((horizon, size), jnp.int32))
    return jax.lax.while_loop(going_on, one_step, first)[2:]


def _running_first(rows: _Rows) -> _Rows:
    """Move the rows that still run to the front, keeping their order."""
    order = jnp.argsort(~rows.summary.running, stable=True)
    return jax.tree.map(lambda x: x[order], rows)


def _write(t, row, record: Array, values: Array) -> Array:
    """Put the values of step t into the record, from the given row on."""
    return jax.lax.dynamic_update_slice(record, values[None], (t, row, *[jnp.int32(0)] * (values.ndim - 1)))


def _step(dynamics: CompiledDynamics, act_on: Callable, rows: _Rows, t) -> tuple[_Rows, _Steps]:
    """Take the control step t with all rows; those whose episodes have ended go on without effect."""
    # Also for an agent that makes numbers of its own, which are double in here.
    action, behaviour, memory = act_on(rows, t)
    action, behaviour = jax.tree.map(_single, (action, behaviour))
    memory = jax.tree.map(lambda new, old: new.astype(old.dtype), memory, rows.memory)
    state, done = jax.vmap(dynamics.step)(rows.state, rows.task, action.astype(rows.task.dtype))
    before = rows.summary
    running = before.running
    finite = [_all_finite(x) for x in (action, done.observation, done.reward)]
    code = jnp.where(finite[0], jnp.where(finite[1], jnp.where(finite[2], _NEVER, 2), 1), 0)
    code = jnp.where(code < _NEVER, len(CHECKED) * t + code, _NEVER).astype(jnp.int32)
    summary = _Summary(
        average_return=before.average_return + jnp.where(running, done.distance_reward, 0.0),
        final_distance=jnp.where(running, done.distance, before.final_distance),
        success=before.success | (running & done.success),
        unhealthy=before.unhealthy | (running & ~done.healthy),
        length=before.length + running.astype(jnp.int32),
        running=running & ~done.terminated,
        terminated=before.terminated | (running & done.terminated),
        broken=jnp.where(running, jnp.minimum(before.broken, code), before.broken),
    )
    taken = _Steps(
        observation=rows.observation,
        action=action,
        behaviour=behaviour,
        reward=done.reward.astype(jnp.float32),
        distance_reward=done.distance_reward.astype(jnp.float32),
        position=done.position,
    )
    following = rows._replace(
        state=state,
        observation=done.observation.astype(jnp.float32),
        # What is over keeps what its agent remembered in the end.
        memory=jax.tree.map(partial(_where, running), memory, rows.memory),
        before=None if rows.before is None else (action, taken.reward),
        summary=summary,
    )
    return following, taken


def _single(x: Array) -> Array:
    """Return numbers in single precision, which everything outside is in."""
    return x.astype({"float64": jnp.float32, "int64": jnp.int32}.get(x.dtype.name, x.dtype))


def _where(condition: Array, yes: Array, no: Array) -> Array:
    return jnp.where(condition.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)


def _all_finite(x: Array) -> Array:
    return jnp.all(jnp.isfinite(x).reshape(len(x), -1), axis=1)


def _finished(records: _Steps, summary: _Summary, start, places, memory, shape: tuple[int, int]):
    """Put the records in the order (task, episode, step), with zeros (positions: NaN) in the padding."""
    (horizon, rows), size = places.shape, records.reward.shape[1]
    steps = jnp.arange(horizon, dtype=jnp.int32)
    valid = steps < summary.length[:, None]
    last = steps == summary.length[:, None] - 1
    origin = (steps * size + places.T).reshape(-1)

    def grid(x):
        return x.reshape(*shape, *x.shape[1:])

    def ordered(x, padding=0.0):
        x = x.reshape(horizon * size, *x.shape[2:])[origin].reshape(rows, horizon, *x.shape[2:])
        return jnp.where(valid.reshape(rows, horizon, *(1,) * (x.ndim - 2)), x, jnp.array(padding, x.dtype))

    episodes = Episodes(
        **{name: jax.tree.map(ordered, getattr(records, name)) for name in _Steps._fields if name != "position"},
        valid=valid,
        terminated=last & summary.terminated[:, None],
        truncated=valid & (steps == horizon - 1) & ~summary.terminated[:, None],
    )
    # They become outcomes on the host: those are NumPy's.
    outcomes = {
        "average_return": summary.average_return,
        "success": summary.success,
        "final_distance": summary.final_distance,
        "length": summary.length.astype(jnp.int64),
        "unhealthy": summary.unhealthy,
        "start": start,
        "position": ordered(records.position, jnp.nan),
    }
    return jax.tree.map(grid, (episodes, outcomes, memory, summary.broken))


def _raise_first(broken: Int[np.ndarray, "task episode"]) -> None:
    """Raise the error that step-by-step sampling would have met first."""
    first = int(broken.min())
    if first < _NEVER:
        step, quantity = divmod(first, len(CHECKED))
        task, episode = map(int, np.argwhere(broken == first)[0])
        raise NonFiniteError(CHECKED[quantity], task, f"at control step {step} of episode {episode}")
