"""Families of tasks: their bodies, goals and rewards."""

from tesp.tasks.offscreen import choose_backend

# Here because it must be done before anything imports MuJoCo, and only the modules of this package do.
choose_backend()
