"""Planar arms of n hinged links in closed form: the equations that MuJoCo solves for them, compiled by JAX.

With absolute headings φ_i = θ_1 + … + θ_i the arm obeys

    Σ_j c_ij·cos(φ_i − φ_j)·φ̈_j + Σ_j c_ij·sin(φ_i − φ_j)·φ̇_j² = torques about the links,

where c_ij depends on masses and lengths only. Everything is written for one arm and vectorised over arms.
Computed in float64 under ``jax.enable_x64``; the rest of the process stays in float32. Trajectories differ
from the engine's by rounding, and at stops by what its solver's tolerance leaves (1e-8 of a physics step's cost).
"""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float

from tesp.tasks.closed_form.blocks import vectorised_in_blocks
from tesp.tasks.mujoco.scenery import SUBSTEPS

#: The engine's bounds of a constraint's impedance, and its least divisor.
IMPEDANCE_BOUNDS = (0.0001, 0.9999)
LEAST = 1e-15

#: π in two parts, the first with so few digits that its multiples are exact, and (−1)ⁿ/(2n + 1)! for n = 1…9.
PI_HIGH, PI_LOW = 3.141592653468251228, 1.2154201013012384499e-10
SINE_SERIES = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(1, 10))

Scalars = Sequence[Any]


@dataclass(frozen=True)
class JointLimit:
    """A soft stop on both sides of one joint, as the engine's constraint solver sees it.

    Attributes:
        joint: Index of the joint.
        low: Least angle, in radians.
        high: Greatest angle, in radians.
        inverse_weight: Approximate inverse inertia A that scales the regularisation R = A·(1 − d)/d.
        stiffness: k of the reference acceleration −b·ṙ − k·d·r, in 1/s².
        damping: b of the reference acceleration, in 1/s.
        impedance: d at zero depth, d from ``width`` on, ``width`` (rad), midpoint and power of the curve.
    """

    joint: int
    low: float
    high: float
    inverse_weight: float
    stiffness: float
    damping: float
    impedance: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Arm:
    """The constants of an arm. Hashable, so that a compiled step belongs to an arm.

    Attributes:
        coupling: c_ij, in kg·m².
        armature: Rotor inertia of each joint, in kg·m².
        damping: Torque per angular velocity that joint and actuator take together, in N·m·s.
        gain: Torque per control, in N·m·s.
        limits: The joints' stops.
        lengths: From each joint to the next and from the last to the fingertip, in metres.
        timestep: Length of a physics step, in seconds.
    """

    coupling: tuple[tuple[float, ...], ...]
    armature: tuple[float, ...]
    damping: tuple[float, ...]
    gain: tuple[float, ...]
    limits: tuple[JointLimit, ...]
    lengths: tuple[float, ...]
    timestep: float


def read_arm(model: mujoco.MjModel) -> Arm:
    """Read an arm from its model: a chain along x of bodies with one hinge and one velocity actuator each.

    Stops must have a time constant and damping ratio (a positive ``solref``) and no margin.

    c_ij = l_i·(m_j·d_j + l_j·Σ_{k>j} m_k) for i < j and c_ii = I_i + m_i·d_i² + l_i²·Σ_{k>i} m_k, with
    l the distance to the next joint and d that of the centre of mass.
    """
    mass, centre = model.body_mass[1:], model.body_ipos[1:, 0]
    length = np.append(model.body_pos[2:, 0], 0.0)
    beyond = np.append(np.cumsum(mass[:0:-1])[::-1], 0.0)
    first_moment = mass * centre + length * beyond
    upper = np.triu(np.outer(length, first_moment), 1)
    own = _inertia_about_z(model)[1:] + mass * centre**2 + length**2 * beyond
    actuator = np.argsort(model.actuator_trnid[:, 0])
    return Arm(
        coupling=tuple(map(tuple, (upper + upper.T + np.diag(own)).tolist())),
        armature=tuple(model.dof_armature.tolist()),
        damping=tuple((np.ravel(model.dof_damping) - model.actuator_biasprm[actuator, 2]).tolist()),
        gain=tuple(model.actuator_gainprm[actuator, 0].tolist()),
        limits=tuple(_read_limit(model, joint) for joint in np.flatnonzero(model.jnt_limited).tolist()),
        lengths=(*length[:-1].tolist(), float(model.geom("fingertip").pos[0])),
        timestep=model.opt.timestep,
    )


def _inertia_about_z(model: mujoco.MjModel) -> np.ndarray:
    axes = np.zeros((model.nbody, 9))
    for row, quaternion in zip(axes, model.body_iquat, strict=True):
        mujoco.mju_quat2Mat(row, quaternion)
    return np.sum(axes.reshape(-1, 3, 3)[:, 2] ** 2 * model.body_inertia, axis=1)


def _read_limit(model: mujoco.MjModel, joint: int) -> JointLimit:
    low, high = model.jnt_range[joint].tolist()
    shallow, deep, width, midpoint, power = model.jnt_solimp[joint].tolist()
    shallow, deep = np.clip([shallow, deep], *IMPEDANCE_BOUNDS).tolist()
    time, ratio = model.jnt_solref[joint].tolist()
    # The engine's "refsafe": a stop is not made stiffer than the timestep allows.
    time = max(time, 2 * model.opt.timestep)
    return JointLimit(
        joint=joint,
        low=low,
        high=high,
        inverse_weight=float(model.dof_invweight0[joint]),
        stiffness=1 / (deep * time * ratio) ** 2,
        damping=2 / (deep * time),
        impedance=(shallow, deep, width, midpoint, power),
    )


def acceleration(
    arm: Arm, angles: Scalars, directions: tuple[Scalars, Scalars], velocities: Scalars, controls: Scalars
) -> list[Any]:
    """Return θ̈ in rad/s², one entry a joint.

    Args:
        arm: The constants.
        angles: θ in radians, one scalar a joint.
        directions: Cosines and sines of the links' headings; see `link_directions`.
        velocities: θ̇ in rad/s.
        controls: Controls of the actuators, in rad/s.
    """
    joints = range(len(angles))
    cosine, sine = directions
    spin = _running_sum(velocities)
    inertia = [[arm.coupling[i][j] * (cosine[i] * cosine[j] + sine[i] * sine[j]) for j in joints] for i in joints]
    squares = [rate * rate for rate in spin]
    bias = [
        sum(
            (arm.coupling[i][j] * (sine[i] * cosine[j] - cosine[i] * sine[j]) * squares[j] for j in joints if j != i),
            start=jnp.zeros_like(spin[0]),
        )
        for i in joints
    ]
    # From headings to joint angles: a joint's torque turns every link beyond it.
    rows = _sums_beyond([_sums_beyond(row) for row in inertia], add=_add_rows)
    mass = [[rows[i][j] + arm.armature[i] if i == j else rows[i][j] for j in joints] for i in joints]
    bias = _sums_beyond(bias)
    force = [arm.gain[i] * controls[i] - arm.damping[i] * velocities[i] - bias[i] for i in joints]
    stops = [_stop(limit, angles[limit.joint], velocities[limit.joint]) for limit in arm.limits]
    return _solve_with_stops(mass, force, stops)


def link_directions(angles: Scalars) -> tuple[list[Any], list[Any]]:
    """Cosines and sines of the headings relative to the first link, on which the dynamics do not depend."""
    headings = _running_sum(angles[1:])
    one, zero = jnp.ones_like(angles[0]), jnp.zeros_like(angles[0])
    cosines, sines = ([_sine_of(heading, turn) for heading in headings] for turn in (0.5, 0.0))
    return [one, *cosines], [zero, *sines]


def _sine_of(angle: Any, half_turns: float) -> Any:
    """Return sin(x + h·π) from its series about the nearest multiple of π, for |x| < 10⁵ rad.

    It is right to the last bits of double precision, in which it must be computed.
    Unlike the library's sine, which is called number by number, the compiler makes vector instructions of it.
    """
    nearest = jnp.round(angle * (1 / math.pi) + half_turns)
    multiple = nearest - half_turns
    rest = (angle - multiple * PI_HIGH) - multiple * PI_LOW
    square = rest * rest
    series = jnp.full_like(angle, SINE_SERIES[-1])
    for coefficient in SINE_SERIES[-2::-1]:
        series = series * square + coefficient
    odd = nearest - 2 * jnp.floor(nearest * 0.5)
    return (1 - 2 * odd) * (rest + rest * square * series)


def _running_sum(values: Scalars) -> list[Any]:
    sums = list(values[:1])
    for value in values[1:]:
        sums.append(sums[-1] + value)
    return sums


def _add_rows(row: list[Any], other: list[Any]) -> list[Any]:
    return [one + two for one, two in zip(row, other, strict=True)]


def _sums_beyond(values: Scalars, add: Any = lambda one, two: one + two) -> list[Any]:
    """Return Σ_{k ≥ i} values_k for every i."""
    sums = [values[-1]]
    for value in reversed(values[:-1]):
        sums.append(add(value, sums[-1]))
    return sums[::-1]


def _solve_with_stops(
    mass: list[list[Any]], force: list[Any], stops: list[tuple[int, Any, Any, Any, Any]]
) -> list[Any]:
    """Solve M·θ̈ = force + Σ stops, where a stop pushes (r < 0) or lets go (r ≥ 0).

    A passed stop with residual r = ±θ̈ − reference pushes by −r/R. The solution is the minimum of a convex
    function that is quadratic for each set of pushing stops. Sets are tried until one agrees with its own
    solution: all stops that disagree change together, and later one by one, which must end (Murty 1974).

    Args:
        mass: The lower triangle of M, in kg·m².
        force: All other torques, in N·m.
        stops: Joint, whether it is past the stop, side, reference in rad/s² and 1/R; see `_stop`.
    """

    def solve(pushing: Scalars) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        diagonal, right = [row[i] for i, row in enumerate(mass)], list(force)
        for push, (joint, _, side, reference, weight) in zip(pushing, stops, strict=True):
            applied = jnp.where(push, weight, 0.0)
            diagonal[joint] += applied
            right[joint] += side * applied * reference
        result = _solve_symmetric(mass, diagonal, right)
        wrong = tuple(
            passed & (push != (side * result[joint] < reference))
            for push, (joint, passed, side, reference, _) in zip(pushing, stops, strict=True)
        )
        return tuple(result), wrong

    def unsettled(state: Any) -> Any:
        tries, _, _, wrong = state
        # The bound matters only where rounding makes both answers of a stop disagree with themselves.
        return _any(wrong) & (tries < len(stops) + 2 ** len(stops))

    def try_next(state: Any) -> Any:
        tries, pushing, _, wrong = state
        one_by_one, before, changed = tries >= len(stops), jnp.zeros_like(wrong[0]), []
        for push, change in zip(pushing, wrong, strict=True):
            changed.append(push ^ (change & ~(one_by_one & before)))
            before = before | change
        return tries + 1, tuple(changed), *solve(changed)

    pushing = tuple(passed for _, passed, *_ in stops)
    if not stops:
        return list(solve(pushing)[0])
    return list(jax.lax.while_loop(unsettled, try_next, (0, pushing, *solve(pushing)))[2])


def _any(values: Scalars) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total | value
    return total


def _stop(limit: JointLimit, angle: Any, velocity: Any) -> tuple[int, Any, Any, Any, Any]:
    """Return the joint, whether it is past its nearer stop, the stop's side (1 low, −1 high), reference and 1/R."""
    below, above = angle - limit.low, limit.high - angle
    side = jnp.where(below < above, 1.0, -1.0)
    depth = jnp.minimum(below, above)
    impedance = _impedance(limit, depth)
    reference = -limit.damping * side * velocity - limit.stiffness * impedance * depth
    regularisation = jnp.maximum(LEAST, limit.inverse_weight * (1 - impedance) / impedance)
    return limit.joint, depth < 0, side, reference, 1 / regularisation


def _impedance(limit: JointLimit, depth: Any) -> Any:
    """Return d: from its shallow to its deep value over ``width``, in two arcs that meet at ``midpoint``."""
    shallow, deep, width, midpoint, power = limit.impedance
    share = jnp.minimum(jnp.abs(depth) / width, 1.0)
    early = share**power / midpoint ** (power - 1)
    late = 1 - (1 - share) ** power / (1 - midpoint) ** (power - 1)
    return shallow + (deep - shallow) * jnp.where(share <= midpoint, early, late)


def _solve_symmetric(matrix: list[list[Any]], diagonal: list[Any], right: list[Any]) -> list[Any]:
    """Solve for a symmetric positive definite matrix with the given diagonal, by L·D·Lᵀ from the last row up."""
    size = len(right)
    rest = [[diagonal[i] if i == j else matrix[i][j] for j in range(size)] for i in range(size)]
    right = list(right)
    inverse: list[Any] = [None] * size
    for k in reversed(range(size)):
        inverse[k] = 1 / rest[k][k]
        for i in range(k):
            factor = rest[k][i] * inverse[k]
            right[i] = right[i] - factor * right[k]
            for j in range(i + 1):
                rest[i][j] = rest[i][j] - factor * rest[k][j]
    result: list[Any] = []
    for k in range(size):
        known = sum((rest[k][j] * result[j] for j in range(k)), start=jnp.zeros_like(right[k]))
        result.append((right[k] - known) * inverse[k])
    return result


def physics_step(arm: Arm, angles: Scalars, velocities: Scalars, controls: Scalars) -> tuple[list[Any], list[Any]]:
    """Advance θ and θ̇ by one timestep of the classic Runge–Kutta method; stops act at every stage."""

    def stage(state: Any, coefficients: Any) -> tuple[Any, None]:
        stage_angles, stage_directions, stage_velocities, mean_rates, mean_changes = state
        weight, reach = coefficients
        changes = acceleration(arm, stage_angles, stage_directions, stage_velocities, controls)
        next_angles = _advance(angles, stage_velocities, reach)
        return (
            next_angles,
            link_directions(next_angles),
            _advance(velocities, changes, reach),
            _advance(mean_rates, stage_velocities, weight),
            _advance(mean_changes, changes, weight),
        ), None

    # A loop rather than four copies of the equations: it compiles in a fraction of the time. The directions
    # travel with the loop because the compiler would repeat every cosine wherever it is used.
    kind = angles[0].dtype
    weights = jnp.array([1, 2, 2, 1], kind) * (arm.timestep / 6)
    reaches = jnp.array([0.5, 0.5, 1, 0], kind) * arm.timestep
    nothing = [jnp.zeros_like(angle) for angle in angles]
    state = (list(angles), link_directions(angles), list(velocities), nothing, nothing)
    _, _, _, mean_rates, mean_changes = jax.lax.scan(stage, state, (weights, reaches))[0]
    return _advance(angles, mean_rates, 1.0), _advance(velocities, mean_changes, 1.0)


def _advance(values: Scalars, rates: Scalars, time: Any) -> list[Any]:
    return [value + time * rate for value, rate in zip(values, rates, strict=True)]


def control_step(
    arm: Arm,
    angles: Float[Array, " joint"],
    velocities: Float[Array, " joint"],
    controls: Float[Array, " joint"],
) -> tuple[Float[Array, " joint"], Float[Array, " joint"]]:
    """Advance one arm by 5 physics steps with constant controls (rad/s); return θ and θ̇ (rad, rad/s)."""
    return _vectorisable_step(arm)(angles, velocities, controls)


@partial(jax.jit, static_argnums=0)
def control_steps(
    arm: Arm,
    angles: Float[Array, "simulation joint"],
    velocities: Float[Array, "simulation joint"],
    controls: Float[Array, "simulation joint"],
) -> tuple[Float[Array, "simulation joint"], Float[Array, "simulation joint"]]:
    """Advance arms independently of each other, row by row; see `control_step`."""
    return jax.vmap(partial(control_step, arm))(angles, velocities, controls)


@cache
def _vectorisable_step(arm: Arm) -> Any:
    return vectorised_in_blocks(partial(_substeps, arm))


def _substeps(
    arm: Arm, angles: Float[Array, " joint"], velocities: Float[Array, " joint"], controls: Float[Array, " joint"]
) -> tuple[Float[Array, " joint"], Float[Array, " joint"]]:
    def body(_: Any, state: tuple[list[Any], list[Any]]) -> tuple[list[Any], list[Any]]:
        return physics_step(arm, *state, list(controls))

    angles, velocities = jax.lax.fori_loop(0, SUBSTEPS, body, (list(angles), list(velocities)))
    return jnp.stack(angles), jnp.stack(velocities)


def fingertip_of(arm: Arm, angles: Float[Array, " joint"]) -> Float[Array, "2"]:
    """Return the fingertip's (x, y) = Σ_i l_i·(cos φ_i, sin φ_i), in metres."""
    headings = _running_sum(list(angles))
    return jnp.stack(
        [
            sum(length * _sine_of(heading, turn) for length, heading in zip(arm.lengths, headings, strict=True))
            for turn in (0.5, 0.0)
        ]
    )


def observe(
    angles: Float[Array, " joint"], velocities: Float[Array, " joint"], fingertip: Float[Array, "2"]
) -> Float[Array, " observation"]:
    """Return all cosines, all sines, all angular velocities, then the fingertip."""
    return jnp.concatenate([_sine_of(angles, 0.5), _sine_of(angles, 0.0), velocities, fingertip])
