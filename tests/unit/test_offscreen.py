import os

import pytest

from tesp import offscreen


class TestBackend:
    @pytest.fixture
    def machine(self, monkeypatch):
        for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY", "PYOPENGL_PLATFORM"):
            # Set first, so that whatever the function under test sets is undone too.
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setattr(offscreen.sys, "platform", "linux")
        monkeypatch.setattr(offscreen.ctypes, "CDLL", lambda _: None)
        return monkeypatch

    def test_egl_without_a_screen(self, machine):
        offscreen.use_offscreen_rendering()
        assert os.environ["MUJOCO_GL"] == "egl"

    @pytest.mark.parametrize(
        ("name", "value"), [("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "wayland-0"), ("PYOPENGL_PLATFORM", "osmesa")]
    )
    def test_nothing_is_chosen_where_the_default_may_work(self, machine, name, value):
        machine.setenv(name, value)
        offscreen.use_offscreen_rendering()
        assert "MUJOCO_GL" not in os.environ

    def test_nothing_is_chosen_without_egl_or_on_other_systems(self, machine):
        machine.setattr(offscreen.sys, "platform", "darwin")
        offscreen.use_offscreen_rendering()
        assert "MUJOCO_GL" not in os.environ

        def fail(_):
            raise OSError

        machine.setattr(offscreen.sys, "platform", "linux")
        machine.setattr(offscreen.ctypes, "CDLL", fail)
        offscreen.use_offscreen_rendering()
        assert "MUJOCO_GL" not in os.environ

    @pytest.mark.parametrize("value", ["disable", "osmesa", ""])
    def test_a_choice_of_the_user_stays(self, machine, value):
        machine.setenv("MUJOCO_GL", value)
        offscreen.use_offscreen_rendering()
        assert os.environ["MUJOCO_GL"] == value
