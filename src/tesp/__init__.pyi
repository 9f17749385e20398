from . import hub as hub
from .agents.adapting import AdaptedAgent, MetaLearner
from .agents.exporting import export_onnx
from .agents.given_task import TaskWarning
from .agents.rounds import AdaptationWarning
from .compilation_cache import use_compilation_cache
from .config import Config, preset_config
from .devices import use_all_cores
from .environments import register_environments
from .errors import ConfigurationError, NonFiniteError, RunFolderError, TespError
from .offscreen import use_offscreen_rendering
from .presets import presets_of
from .registering import register_method
from .runs.loading import load, load_run
from .runs.run import Run
from .runs.starting import resume, train
from .tasks.gymnasium.family import GymnasiumFamily
from .tasks.mujoco.family import MJCFFamily
from .tasks.registry import families, make_family, register_family
from .training.callbacks import Callback
from .version import __version__

__all__ = [
    "AdaptationWarning",
    "AdaptedAgent",
    "Callback",
    "Config",
    "ConfigurationError",
    "GymnasiumFamily",
    "MJCFFamily",
    "MetaLearner",
    "NonFiniteError",
    "Run",
    "RunFolderError",
    "TaskWarning",
    "TespError",
    "__version__",
    "export_onnx",
    "families",
    "hub",
    "load",
    "load_run",
    "make_family",
    "preset_config",
    "presets_of",
    "register_environments",
    "register_family",
    "register_method",
    "resume",
    "train",
    "use_all_cores",
    "use_compilation_cache",
    "use_offscreen_rendering",
]
