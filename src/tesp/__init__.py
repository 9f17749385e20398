"""TESP: meta-reinforcement learning with task embeddings and a shared policy.

Importing the package imports none of what it stands on but Gymnasium, with which its environments are registered: a
name brings its module when it is first used. The names and their modules stand in ``__init__.pyi``.
"""

import lazy_loader

from tesp.environments import register_environments as _register_environments

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_register_environments()
