"""Weights & Biases: a run's scalars in a project on a server, or in files that can be uploaded later."""

import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from rich.console import Console

from tesp.errors import ConfigurationError
from tesp.storage.files import write_whole
from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import Callback, Record, scalars
from tesp.training.settings import LogSettings


class WandbError(ConfigurationError):
    """Weights & Biases cannot be used as it is set up; raised before any training."""


def require_wandb(settings: LogSettings) -> None:
    """Refuse, before anything is made, to log to Weights & Biases where that is not possible.

    Does nothing where it is switched off. Online, the key of the account is checked with the server.

    Raises:
        WandbError: The package is missing, there is no key, or the server refuses it or does not answer.
    """
    if settings.wandb == "off":
        return
    wandb = _imported()
    try:
        if settings.wandb == "online" and not wandb.login(force=True, verify=True):
            raise RuntimeError("nobody is logged in")
    except Exception as error:
        raise _not_usable(error) from error


class WriteWandb(Callback):
    """Logs every number that TensorBoard gets, under the same names, over meta-updates.

    A run that is continued goes on under the same identifier, which is kept in the run folder beside the files. Runs
    that differ in the seed only are one group.

    Args:
        folder: The run; its name is the run's name, and its subfolder ``wandb`` takes the files.
        config: The run's configuration, with its groups.
        settings: What is logged.
        total: Meta-updates of the whole run. A run that does not come to the evaluation after them counts as failed.
        console: Where is said where to look; None for nowhere.

    Raises:
        WandbError: The package is missing or Weights & Biases cannot start.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        settings: LogSettings,
        total: int,
        console: Console | None = None,
    ):
        self._total, self._finished, self._failed = total, False, False
        wandb = _imported()
        # Scalars and configuration only: measuring the machine asks the network, capturing the terminal disturbs bars.
        told = {"console": "off", "silent": True, "disable_code": True, "disable_git": True, "x_disable_meta": True}
        told |= {"x_disable_stats": True, "x_disable_machine_info": True, "x_save_requirements": False}
        try:
            self._run = wandb.init(
                project=settings.wandb_project,
                name=folder.path.resolve().name,
                group="-".join(str(config[name]) for name in ("family", "algorithm", "preset")),
                id=_identifier(folder),
                config={**config, "run_folder": str(folder.path.resolve())},
                dir=str(folder.path),
                mode=settings.wandb,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(**told),
            )
        except Exception as error:
            raise _not_usable(error) from error
        self._run.define_metric("*", step_metric="meta_update")
        if console is not None:
            offline = f"offline: upload it with `wandb sync {folder.path / 'wandb' / 'offline-run-*'}`"
            where = self._run.url if settings.wandb == "online" else offline
            console.print(f"Weights & Biases, {where}", markup=False)

    def on_records(self, records: Sequence[Record]) -> None:
        """Log the scalars of training and evaluation records, those of one step together."""
        rows: dict[int, dict[str, int | float]] = {}
        for record in (record for record in records if record["kind"] != "reference"):
            # Rises through a run, and a part that is done again has the steps it had, which are dropped there.
            step = 2 * record["meta_update"] + (record["kind"] == "evaluation")
            rows.setdefault(step, {"meta_update": record["meta_update"]}).update(scalars(record))
            self._finished |= record["kind"] == "evaluation" and record["meta_update"] >= self._total
        for step, row in rows.items():
            self._attempt(self._run.log, row, step=step)

    def close(self) -> None:
        """Wait until everything is written or uploaded; Ctrl-C ends the waiting."""
        self._attempt(self._run.finish, exit_code=0 if self._finished else 1)

    def _attempt(self, action, *arguments, **options) -> None:
        """Do something that must not end the training; what fails is told once, and nothing is tried afterwards."""
        if self._failed:
            return
        try:
            action(*arguments, **options)
        except Exception as error:
            self._failed = True
            text = f"Weights & Biases lacks what follows ({error}); the run goes on, and its records.jsonl is whole."
            warnings.warn(text, RuntimeWarning, stacklevel=3)


def _imported() -> ModuleType:
    # Reports of the package's own errors would go to the network, in offline mode too.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ImportError as error:
        raise WandbError(
            "The package wandb is not installed; install it with `pip install 'tesp[wandb]'`, or train without it "
            "(wandb = off)."
        ) from error
    return wandb


def _identifier(folder: RunFolder) -> str:
    """Return the identifier of the run, which is drawn when it is first logged."""
    path = folder.path / "wandb" / "run-id.txt"
    if not path.is_file():
        write_whole(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()


def _not_usable(error: Exception) -> WandbError:
    said = str(error).strip().rstrip(".") or type(error).__name__
    return WandbError(
        f"Weights & Biases cannot be used ({said}); call `wandb login` or mend that, give wandb = offline and upload "
        "later with `wandb sync`, or train without it (wandb = off)."
    )
