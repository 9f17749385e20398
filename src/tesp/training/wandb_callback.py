"""Weights & Biases: a run's scalars in a project on a server, or in files that can be uploaded later."""

import contextlib
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from tesp.errors import ConfigurationError
from tesp.training.callbacks import Callback, Record, scalars
from tesp.training.run_folder import RunFolder, write_whole
from tesp.training.settings import LogSettings

_OR_WITHOUT = "or train without it (wandb = off)"


class WandbError(ConfigurationError):
    """Weights & Biases cannot be used as it is set up; raised before any training."""


def require_wandb(settings: LogSettings) -> None:
    """Refuse, before anything is made, to log to Weights & Biases where that is not possible.

    Does nothing where it is switched off. Where a run is to be logged online, the key of the account is checked with
    the server; without a key, a terminal is asked for it.

    Args:
        settings: What is logged.

    Raises:
        WandbError: The package is missing, there is no key, or the server refuses it or does not answer.
    """
    if settings.wandb == "off":
        return
    wandb = _imported()
    if settings.wandb == "offline":
        return
    try:
        logged_in = wandb.login(force=True, verify=True)
    except Exception as error:
        raise WandbError(_not_online(error)) from error
    if not logged_in:
        raise WandbError(_not_online("nobody is logged in, or WANDB_MODE forbids it"))


class WriteWandb(Callback):
    """Logs every number that TensorBoard gets, under the same names, over meta-updates.

    It starts in the constructor and so before training. Once it has started, nothing that goes wrong with it ends the
    training: it says so once and logs no more. A run that is continued goes on under the same identifier, which is
    kept in the run folder beside the files.

    Args:
        folder: The run; its name is the run's name, and its subfolder ``wandb`` takes the files.
        config: The run's configuration, with its groups.
        settings: What is logged.
        total: Meta-updates of the whole run. A run that does not come to the evaluation after them counts as failed.
        console: Where is said what went wrong and where to look; None for a Python warning and silence.

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
        self._console, self._total, self._finished, self._failed = console, total, False, False
        self._online, self._files = settings.wandb == "online", folder.path / "wandb"
        wandb = _imported()
        try:
            self._run = wandb.init(
                project=settings.wandb_project,
                id=_identifier(self._files),
                name=folder.path.resolve().name,
                config={**config, "run_folder": str(folder.path.resolve())},
                dir=str(folder.path),
                mode=settings.wandb,
                resume="allow",
                # A run that the calling program has under way is left alone.
                reinit="create_new",
                settings=_quiet(wandb),
            )
            self._run.define_metric("*", step_metric="meta_update")
        except Exception as error:
            if self._online:
                raise WandbError(_not_online(error)) from error
            raise WandbError(f"Weights & Biases cannot start ({_said(error)}); mend that, {_OR_WITHOUT}.") from error
        self._say(self._where())

    def on_records(self, records: Sequence[Record]) -> None:
        """Log the scalars of training and evaluation records, those of one meta-update together."""
        rows: dict[int, dict[str, int | float]] = {}
        for record in records:
            if record["kind"] != "reference":
                row = rows.setdefault(_step(record), {"meta_update": record["meta_update"]})
                row |= scalars(record)
                self._finished |= record["kind"] == "evaluation" and record["meta_update"] >= self._total
        for step, row in rows.items():
            self._attempt(lambda step=step, row=row: self._run.log(row, step=step, commit=True))

    def close(self) -> None:
        """Wait until everything is written or uploaded; Ctrl-C ends the waiting."""
        if self._failed:
            with contextlib.suppress(Exception):
                self._run.finish(exit_code=1)
        self._attempt(lambda: self._run.finish(exit_code=0 if self._finished else 1))

    def _attempt(self, action) -> None:
        if self._failed:
            return
        try:
            action()
        except Exception as error:
            self._failed = True
            text = (
                f"Weights & Biases failed ({_said(error)}): it lacks what follows. The run goes on, and its "
                "records.jsonl is whole."
            )
            if self._console is None:
                warnings.warn(text, RuntimeWarning, stacklevel=3)
            self._say(text)

    def _say(self, text: str) -> None:
        if self._console is not None:
            self._console.print(text, markup=False)

    def _where(self) -> str:
        if self._online:
            return f"Weights & Biases: {self._run.url}"
        return f"Weights & Biases, offline: upload it with `wandb sync {self._files / 'offline-run-*'}`"


def _imported() -> ModuleType:
    # Its reports of errors go to its makers over the network, in offline mode too.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ImportError as error:
        raise WandbError(
            f"The package wandb is not installed; install it with `pip install 'tesp[wandb]'`, {_OR_WITHOUT}."
        ) from error
    return wandb


def _quiet(wandb: ModuleType):
    """Return settings that keep to the scalars: nothing is looked at in the machine, the source or the terminal.

    Measuring the machine would ask the network where it runs, and capturing the terminal disturbs progress bars.
    """
    return wandb.Settings(
        console="off",
        silent=True,
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_save_requirements=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
    )


def _identifier(files: Path) -> str:
    """Return the identifier of the run, which is drawn when it is first logged."""
    path = files / "run-id.txt"
    if path.is_file() and (stored := path.read_text(encoding="utf-8").strip()):
        return stored
    files.mkdir(exist_ok=True)
    drawn = secrets.token_hex(4)
    write_whole(path, drawn + "\n")
    return drawn


def _step(record: Record) -> int:
    """Return a number that rises through a run and is the same when a part of it is done again.

    Weights & Biases drops a step that it has already, so a continued run adds to the curves only what is new.
    """
    return 2 * record["meta_update"] + (record["kind"] == "evaluation")


def _said(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _not_online(reason: Exception | str) -> str:
    said = reason if isinstance(reason, str) else _said(reason)
    return (
        f"Weights & Biases cannot be reached as wandb = online needs it ({said}); call `wandb login`, give wandb = "
        f"offline and upload later with `wandb sync`, {_OR_WITHOUT}."
    )
