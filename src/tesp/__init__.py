"""TESP: meta-reinforcement learning with task embeddings and a shared policy."""

from importlib.metadata import version

from tesp.adapt import AdaptationWarning
from tesp.agents import AdaptedAgent, MetaLearner
from tesp.config import Config, preset_config
from tesp.devices import use_all_cores
from tesp.errors import ConfigurationError, NonFiniteError, RunFolderError, TespError
from tesp.runs import Run, load, load_run, resume, train
from tesp.tasks.gymnasium.family import GymnasiumFamily
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.registration import register_environments
from tesp.tasks.registry import families, make_family, register_family

__version__ = version("tesp")
__all__ = [
    "AdaptationWarning",
    "AdaptedAgent",
    "Config",
    "ConfigurationError",
    "GymnasiumFamily",
    "MJCFFamily",
    "MetaLearner",
    "NonFiniteError",
    "Run",
    "RunFolderError",
    "TespError",
    "families",
    "load",
    "load_run",
    "make_family",
    "preset_config",
    "register_environments",
    "register_family",
    "resume",
    "train",
    "use_all_cores",
]

register_environments()
