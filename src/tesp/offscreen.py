"""Pictures on machines without a screen: the choice of MuJoCo's OpenGL back end."""

import ctypes
import os
import sys


def use_offscreen_rendering() -> None:
    """Set ``MUJOCO_GL=egl`` on Linux where there is no screen but there is EGL, unless the variable is set already.

    Importing ``tesp`` does not call this; the command line does. In a program of your own call it before anything
    imports MuJoCo, which reads the variable once, then, and takes a window system's context by default, which needs a
    screen. Gymnasium's own MuJoCo environments read it when they first render.
    """
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not screen and "MUJOCO_GL" not in os.environ and _has_egl():
        os.environ["MUJOCO_GL"] = "egl"


def _has_egl() -> bool:
    # Another choice here makes MuJoCo's import of EGL fail.
    if os.environ.get("PYOPENGL_PLATFORM", "egl").lower() != "egl":
        return False
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    return True
