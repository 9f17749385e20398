"""``tesp export``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from tesp import trained
from tesp.commands.parsing import Folder, Trust, options_in, parse
from tesp.errors import ConfigurationError

if TYPE_CHECKING:
    from tesp.agents.adapting import AdaptedAgent, MetaLearner


@dataclass(frozen=True)
class ExportArguments:
    """Write the trained learner as one small file, and what the run measured as CSV tables; or write it as ONNX."""

    run: Folder
    """The run folder. For ONNX also the file of a learner, or of an adapted agent, which `tesp adapt` saves; or
    the name of a learner that comes with the package."""
    format: Literal["safetensors", "onnx"] = "safetensors"
    """`safetensors`: for this library, with the tables. `onnx`: policy and, if there is one, task encoder, to
    act without JAX."""
    checkpoint: str = "best"
    """Which learner of a run: `best` (highest return on D′), `latest` or a number of meta-updates."""
    output: Path | None = None
    """Folder to write to; by default the run's own folder `export`, for a file the folder of its name beside it."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Export a run, or what was saved to a file."""
    parsed = parse(ExportArguments, arguments, "tesp export")
    if trained.is_name(parsed.run):
        file = trained.located(parsed.run)
        parsed = replace(parsed, run=file, output=parsed.output or Path("runs") / "exported" / file.stem)
    if parsed.run.is_file():
        _refuse_for_file(parsed, arguments)
    written = _export_onnx(parsed, console) if parsed.format == "onnx" else _export_plainly(parsed, console)
    for path in written:
        console.print(f"written: {path}", markup=False)


def _refuse_for_file(parsed: ExportArguments, arguments: list[str]) -> None:
    """Refuse options that mean nothing for a file."""
    if parsed.format != "onnx":
        raise ConfigurationError(f"{parsed.run} is a file, which can be exported with --format onnx only.")
    for option in ("checkpoint", "trust"):
        if option in options_in(arguments):
            raise ConfigurationError(f"--{option} is not possible with {parsed.run}, which is a file; leave it out.")


def _export_plainly(parsed: ExportArguments, console: Console) -> list[Path]:
    from tesp.report.export import export_records
    from tesp.runs import load
    from tesp.storage.run_folder import RunFolder

    output = parsed.output or parsed.run / "export"
    folder = RunFolder.open(parsed.run)
    folder.require_no_links()
    written = export_records(folder.path, output)
    if folder.has_checkpoint:
        written.append(load(parsed.run, parsed.checkpoint, trust=parsed.trust).save(output / "learner.safetensors"))
    else:
        console.print(f"{parsed.run} has no checkpoint yet, so there is no learner to export", markup=False)
    return written


def _export_onnx(parsed: ExportArguments, console: Console) -> list[Path]:
    from tesp.agents.adapting import AdaptedAgent
    from tesp.agents.exporting import export_onnx, require_onnx
    from tesp.storage.run_folder import RunFolder

    require_onnx()
    if parsed.run.is_file():
        output = parsed.run.with_suffix("")
    else:
        RunFolder.open(parsed.run).require_no_links()
        output = parsed.run / "export"
    given = _loaded(parsed)
    written = export_onnx(given, parsed.output or output)
    if not isinstance(given, AdaptedAgent) and given.learner.method.plan.last > 0:
        console.print("this is the learner before any adaptation; an adapted agent is exported from its file")
    return written


def _loaded(parsed: ExportArguments) -> "MetaLearner | AdaptedAgent":
    from tesp.agents.adapting import AGENT, AdaptedAgent
    from tesp.runs import load
    from tesp.storage import tensor_files

    if parsed.run.is_file() and tensor_files.kind_of(parsed.run) == AGENT:
        return AdaptedAgent.load(parsed.run)
    return load(parsed.run, parsed.checkpoint, trust=parsed.trust)
