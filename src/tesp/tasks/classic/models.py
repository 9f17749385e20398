"""Gymnasium's MuJoCo bodies, compiled from the files that come with it."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from functools import cache
from importlib.resources import as_file, files

import mujoco


@cache
def gymnasium_model(name: str) -> mujoco.MjModel:
    """Compile a body; do not change it.

    Args:
        name: The file's name, for instance ``half_cheetah.xml``.
    """
    before = mujoco.get_mju_user_warning()
    # MuJoCo 4 warns of an attribute in some of the files that it no longer has a use for.
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        with as_file(files("gymnasium").joinpath("envs", "mujoco", "assets")) as folder:
            return mujoco.MjModel.from_xml_path(str(folder / name))
    finally:
        mujoco.set_mju_user_warning(before)
