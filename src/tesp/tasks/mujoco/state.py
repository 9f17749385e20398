"""What the functions of a family see: the state of n simulations, and which derived fields they may ask for."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

NO_STAGE, _POSITION, _VELOCITY, _ACCELERATION = (
    int(getattr(mujoco.mjtStage, f"mjSTAGE_{stage}")) for stage in ("NONE", "POS", "VEL", "ACC")
)

#: Derived fields of the engine that functions may ask for, and the stage of its forward pass that computes each. Fields
#: that it computes on some models only are left out: they would show another simulation's values.
DERIVED_STAGES = {
    **dict.fromkeys(("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis", "subtree_com"), _POSITION),
    **dict.fromkeys(("geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "cam_xpos", "cam_xmat"), _POSITION),
    **dict.fromkeys(("ten_length", "actuator_length"), _POSITION),
    **dict.fromkeys(("cvel", "ten_velocity", "actuator_velocity"), _VELOCITY),
    **dict.fromkeys(("qacc", "actuator_force", "qfrc_actuator", "qfrc_bias", "qfrc_passive"), _ACCELERATION),
    **dict.fromkeys(("qfrc_constraint", "sensordata"), _ACCELERATION),
}


@dataclass(frozen=True)
class State:
    """What the functions of a family see: n simulations, row by row, in the engine's units (m, rad, s, kg, N).

    The arrays are copies. The functions must treat every row on its own.

    Attributes:
        qpos: Generalised positions.
        qvel: Generalised velocities.
        act: Activations of actuators that have a state.
        ctrl: Controls of the last step, in the actuators' units.
        time: Seconds since the start.
        task: The parameters of each simulation's task.
        derived: By name, the derived fields that the family asked for, at this very state: (n, *shape of the field).
        model: The shared model, for names and addresses (``state.model.site("tip").id``); without the tasks' dynamics.
        qpos_before: Generalised positions before the control step, for displacements; at a reset those of ``qpos``.
        derived_before: The derived fields before the control step, likewise.
    """

    qpos: Float[np.ndarray, "simulation nq"]
    qvel: Float[np.ndarray, "simulation nv"]
    act: Float[np.ndarray, "simulation na"]
    ctrl: Float[np.ndarray, "simulation action"]
    time: Float[np.ndarray, " simulation"]
    task: Float[np.ndarray, "simulation parameter"]
    derived: Mapping[str, np.ndarray]
    model: mujoco.MjModel
    qpos_before: Float[np.ndarray, "simulation nq"]
    derived_before: Mapping[str, np.ndarray]
