from .loading import is_finished, load, load_run
from .run import Run
from .starting import begin, check_restart, check_task_count, default_output, resume, train
from .states import checkpoint_numbers

__all__ = [
    "Run",
    "begin",
    "check_restart",
    "check_task_count",
    "checkpoint_numbers",
    "default_output",
    "is_finished",
    "load",
    "load_run",
    "resume",
    "train",
]
