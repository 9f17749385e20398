"""A model from an MJCF file, and what a task changes in it: masses, friction, gear and other fields of the engine."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float
from mujoco.batch import MODEL_FIELDS, Batch, SimulationError

from tesp.errors import ConfigurationError, nearest, shown

#: (tasks (n, p), the shared model) → the field's values, (n, *shape of the field).
FieldFunction = Callable[[np.ndarray, mujoco.MjModel], np.ndarray]

#: An MJCF file's path, an MJCF text, a compiled model, or a function that compiles one.
ModelSource = str | os.PathLike[str] | mujoco.MjModel | Callable[[], mujoco.MjModel]


def load_model(source: ModelSource) -> mujoco.MjModel:
    """Compile a model, or copy a compiled one; a state that diverges in it stays NaN.

    Args:
        source: The path of an MJCF file, an MJCF text (it begins with ``<``), a compiled model, or a function without
            arguments that returns one.

    Raises:
        ConfigurationError: The file is missing, it does not compile, or the model has no actuator with a control range.
    """
    model: Any = source() if callable(source) else source
    model = copy.copy(model) if isinstance(model, mujoco.MjModel) else _compile(model)
    # Otherwise the engine would put a diverged state back to the start, and nobody would notice.
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if model.nu == 0:
        raise ConfigurationError(
            "The MJCF model has no actuator; add an <actuator> element, which is what actions move."
        )
    unlimited = np.flatnonzero(~model.actuator_ctrllimited.astype(bool))
    if unlimited.size:
        which = ", ".join(_control_name(model, int(index)) for index in unlimited)
        raise ConfigurationError(
            f"There is no control range for {which}; give every actuator one, for instance "
            'ctrlrange="-1 1", to which actions in [−1, 1] are scaled.'
        )
    return model


def _compile(source: str | os.PathLike[str]) -> mujoco.MjModel:
    text = source.lstrip("\ufeff \t\r\n") if isinstance(source, str) else ""
    if text.startswith("<"):
        kind, path, given = "text", None, text
    else:
        path = Path(source)
        kind, given = f"file {path}", str(path)
        if not _is_file(path):
            raise ConfigurationError(
                f"There is no MJCF file {shown(given, 200)} (looked for in "
                f"{Path.cwd()}); give the path of an MJCF file, an MJCF text that begins with '<', or a compiled "
                "mujoco.MjModel."
            )
    try:
        return mujoco.MjModel.from_xml_path(given) if path else mujoco.MjModel.from_xml_string(given)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"The MJCF {kind} does not compile: {reason}. Correct it there.") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # Longer than any name, or with characters that no name has.
        return False


def _control_name(model: mujoco.MjModel, index: int) -> str:
    # Actuators with several controls have indices of their own.
    name = model.actuator(index).name if model.nactuator == model.nu else ""
    return f"the actuator {name!r}" if name else f"the control number {index}"


def _field(model: mujoco.MjModel, name: str) -> np.ndarray:
    """Return a field's values in the model; those of MjOption are called ``opt.…``."""
    holder: Any = model.opt if name.startswith("opt.") else model
    return np.asarray(getattr(holder, name.removeprefix("opt.")))


class Dynamics:
    """What tasks change in a model. The constants that the engine derives from it follow, for every simulation.

    These are the inverse weights, subtree masses, bounding volumes and all others of the engine's function
    ``mj_setConst``. It knows nothing of the inertia about a body's own axes, which the compiler computes from its
    shape. So where masses change and inertias are not given, they keep their proportion to the mass: body b has
    inertia I_b·(m′_b/m_b), as if its density had changed.
    """

    def __init__(self, model: mujoco.MjModel, functions: Mapping[str, FieldFunction]):
        """Prepare the changes.

        Args:
            model: The model that all simulations share but for these changes.
            functions: By name of the model's field, the function that gives its values.

        Raises:
            ConfigurationError: The engine has no such field, or it is not one of real numbers that may differ.
        """
        self._model, self._functions = model, dict(functions)
        for name in self._functions:
            if name not in MODEL_FIELDS or _field(model, name).dtype.kind != "f":
                raise ConfigurationError(
                    f"dynamics names {name!r}{nearest(name, MODEL_FIELDS)}; it must be a field of real numbers of "
                    "mujoco.MjModel that may differ between simulations, for instance 'body_mass', 'geom_friction', "
                    "'actuator_gear', 'dof_damping' or 'opt.gravity'."
                )

    @property
    def fields(self) -> list[str]:
        """The names of the fields that tasks change."""
        return list(self._functions)

    def values(self, tasks: Float[np.ndarray, "task parameter"]) -> dict[str, np.ndarray]:
        """Return what the tasks put into the fields, one row a task, in the fields' own units.

        Raises:
            ConfigurationError: A function returned another shape, or a value that is not finite or not possible.
        """
        found = {
            name: self._checked(name, function(tasks.copy(), self._model), len(tasks))
            for name, function in self._functions.items()
        }
        if "body_mass" in found:
            ratio = self._mass_ratio(found["body_mass"])
            found.setdefault("body_inertia", self._model.body_inertia * ratio[:, :, None])
        return found

    def _checked(self, name: str, given: Any, count: int) -> np.ndarray:
        values, shape = np.asarray(given, np.float64), (count, *_field(self._model, name).shape)
        if values.shape != shape:
            raise ConfigurationError(
                f"dynamics[{name!r}] returned an array of shape {values.shape} for {count} tasks; it must be {shape}: "
                "the whole field for every task, also what does not change."
            )
        if not np.isfinite(values).all():
            raise ConfigurationError(f"dynamics[{name!r}] returned a value that is not finite; return finite numbers.")
        return values

    def _mass_ratio(self, masses: np.ndarray) -> np.ndarray:
        before = self._model.body_mass
        wrong = (masses <= 0) != (before == 0)[None]
        if (masses < 0).any() or wrong.any():
            body = int(np.argwhere((masses < 0) | wrong)[0, 1])
            raise ConfigurationError(
                f"dynamics['body_mass'] gives the body {self._model.body(body).name!r} the mass "
                f"{masses[:, body].min():g} kg, and the model {before[body]:g} kg; a mass must be positive where the "
                "model's is, and 0 where that is 0 (the world is body 0)."
            )
        return masses / np.where(before == 0, 1.0, before)

    def apply(self, batch: Batch, tasks: Float[np.ndarray, "simulation parameter"]) -> None:
        """Give every simulation of a batch the dynamics of its task, whatever it had before.

        Raises:
            ConfigurationError: A function's result is not possible, or the engine derives that field from others.
        """
        if not self._functions:
            return
        values = self.values(tasks)
        for name, rows in values.items():
            batch.expand(name)[...] = rows
        try:
            batch.set_const()
        except SimulationError as error:
            raise ConfigurationError(
                f"The engine refuses the dynamics of the task {tasks[error.ids[0]].tolist()}: {error}. Change what "
                "`dynamics` returns."
            ) from error
        for name, rows in values.items():
            if not np.array_equal(batch.expand(name), rows):
                raise ConfigurationError(
                    f"dynamics names {name!r}, which the engine derives from other fields; change those instead."
                )
