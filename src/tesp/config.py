"""The typed configuration of a run, its presets, and how it is stored."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import cattrs
import tyro
from cattrs.v import format_exception

from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.algorithms.registry import ABLATIONS, ALGORITHMS, IMPLIED, has_ablations
from tesp.algorithms.settings import AblationSettings
from tesp.episodes.settings import SamplingSettings
from tesp.errors import ConfigurationError
from tesp.estimators.settings import EstimationSettings
from tesp.networks.settings import NetworkSettings
from tesp.presets import presets_of
from tesp.tasks import family_files
from tesp.tasks.settings import FamilySettings
from tesp.training.settings import LogSettings, ScheduleSettings


@dataclass(frozen=True)
class Config:
    """Everything that determines the result of a run, besides the versions of the software."""

    family: tyro.conf.Suppress[str] = "point"
    """Name of the family of tasks; given as `FILE.py:NAME`, it becomes NAME."""
    family_file: tyro.conf.Suppress[str | None] = None
    """The Python file that defines the family, as an absolute path; None for the families of the registry."""
    preset: str = "paper"
    """Preset that the configuration started from."""
    algorithm: str = "tesp"
    """The method: `tesp`, `maml`, `meta-sgd`, `adapt-sv`, `oracle`, or an ablation of TESP, `tesp-v1` … `tesp-v5`."""
    seed: int = 0
    """Seed of tasks, parameters and all sampling."""
    task: FamilySettings = field(default_factory=FamilySettings)
    """Options of the family."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """How much is sampled."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Sizes of the networks."""
    fast: FastUpdateSettings = field(default_factory=FastUpdateSettings)
    """The fast-updates."""
    meta: MetaUpdateSettings = field(default_factory=MetaUpdateSettings)
    """The meta-updates."""
    estimation: EstimationSettings = field(default_factory=EstimationSettings)
    """Advantages."""
    ablation: AblationSettings = field(default_factory=AblationSettings)
    """Ablations of TESP."""
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    """Length of the run, evaluation and checkpoints."""
    log: LogSettings = field(default_factory=LogSettings)
    """Where the measured numbers go besides the records."""

    def __post_init__(self):
        file, name = family_files.parts(self.family)
        if file is not None:
            object.__setattr__(self, "family_file", file)
            object.__setattr__(self, "family", name)
        if self.seed < 0:
            raise ConfigurationError(f"seed = {self.seed} is not possible; give 0 or more.")
        if self.algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ConfigurationError(f"There is no algorithm {self.algorithm!r}; known are: {known}.")
        for name, value in IMPLIED.get(self.algorithm, {}).items():
            if (given := value_of(self, name)) != value:
                raise ConfigurationError(
                    f"{name} = {given!r} is not possible with the algorithm {self.algorithm!r}, which stands for "
                    f"{name} = {value!r}; give that, or another algorithm."
                )
        if self.ablation != AblationSettings() and not has_ablations(self.algorithm):
            raise ConfigurationError(
                f"The algorithm {self.algorithm!r} has no ablations; buffer, adapt_policy, fast_update and fixed_rate "
                "are options of 'tesp'."
            )

    @property
    def family_reference(self) -> str:
        """What `tesp train` and `make_family` are given: the family's name, or FILE.py:NAME."""
        return self.family if self.family_file is None else f"{self.family_file}:{self.family}"


def preset_config(family: str, preset: str = "paper", algorithm: str = "tesp", **overrides: Any) -> Config:
    """Return the configuration of a family's preset for an algorithm, with some fields replaced.

    Three layers, each going before the one above it: the preset, what suits the algorithm in it (its entry under
    ``algorithms`` there; an ablation of TESP takes TESP's), and ``overrides``.

    Args:
        family: Name of the family, or ``FILE.py:NAME``.
        preset: ``paper`` (the paper's numbers), ``quick`` (small networks, for minutes on a laptop) or ``small`` (the
            same networks, trained longer).
        algorithm: Name of the algorithm.
        overrides: Values by field name, whichever group the field is in.

    Raises:
        ConfigurationError: The family, the preset, a field or a value is not known or not possible.
    """
    presets = presets_of(family)
    if preset not in presets:
        raise ConfigurationError(f"The family {family!r} has no preset {preset!r}; it has: {', '.join(presets)}.")
    values = dict(presets[preset])
    of_algorithms = values.pop("algorithms", {})
    values |= of_algorithms.get("tesp" if algorithm in ABLATIONS else algorithm, {})
    values |= IMPLIED.get(algorithm, {})
    config = Config(family=family, preset=preset)
    return override(config, **{**values, "algorithm": algorithm, **overrides})


def value_of(config: Config, name: str) -> Any:
    """Return the value of a field, whichever group it is in."""
    holders = (config, *(getattr(config, group) for group in _groups(config)))
    return next(getattr(holder, name) for holder in holders if name in vars(holder))


def override(config: Config, **values: Any) -> Config:
    """Return the configuration with fields replaced, whichever group they are in."""
    groups = _groups(config)
    changed: dict[str, Any] = {}
    for group in groups:
        own = {f.name for f in dataclasses.fields(getattr(config, group))} & set(values)
        if own:
            changed[group] = dataclasses.replace(
                getattr(config, group), **{name: values.pop(name) for name in sorted(own)}
            )
    unknown = set(values) - {f.name for f in dataclasses.fields(config)} | set(values) & set(groups)
    if unknown:
        raise ConfigurationError(
            f"The configuration has no field {min(unknown)!r}{_successor(min(unknown))}; "
            f"`tesp train {config.family_reference} --help` lists all."
        )
    return dataclasses.replace(config, **changed, **values)


#: Fields of version 0.1 and what they are called today.
_RENAMED = {"learning_rate_decay": "learning_rate_schedule", "early_rounds_weight": "early_loss_weight"}


def _successor(name: str) -> str:
    return f" any more: it is {_RENAMED[name]!r} now" if name in _RENAMED else ""


def _groups(config: Config) -> list[str]:
    return [f.name for f in dataclasses.fields(config) if dataclasses.is_dataclass(getattr(config, f.name))]


def check_storable(config: Config) -> None:
    """Refuse values of a wrong kind, which the dataclasses themselves take: the run could not be loaded again.

    Raises:
        ConfigurationError: A value is not of its field's kind, or not a number; names the field.
    """
    restored = dataclasses.asdict(from_json(to_json(config)))
    for group, values in dataclasses.asdict(config).items():
        for name, value in values.items() if isinstance(values, dict) else [(group, values)]:
            kept = restored[group][name] if isinstance(values, dict) else restored[group]
            integer_for_float = isinstance(kept, float) and isinstance(value, int)
            if kept != value or not (integer_for_float or type(kept) is type(value)):
                raise ConfigurationError(
                    f"{name} = {value!r} is not possible; give a finite value of the kind of its default."
                )


def to_json(config: Config) -> str:
    """Return the configuration as JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Read a configuration that `to_json` wrote.

    Raises:
        ConfigurationError: A field is unknown, missing a type or out of range.
    """
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        return converter.structure(_of_today(json.loads(text)), Config)
    except Exception as error:
        reasons = _reasons(error) if isinstance(error, ExceptionGroup) else str(error)
        raise ConfigurationError(f"The configuration cannot be read: {reasons.rstrip('.')}.") from error


def _of_today(stored: Any) -> Any:
    """Name the values of version 0.1 as they are named today; what is of another form is left for the converter.

    There ``early_rounds_weight`` weighted a loss on the early rounds with their embeddings held constant; a run that
    had it goes on with the loss that differentiates them. The parameters after the last epoch's step competed.
    """
    meta = stored.get("meta") if isinstance(stored, dict) else None
    if not isinstance(meta, dict):
        return stored
    if not _RENAMED.keys() & meta.keys():
        return stored
    for old, new in _RENAMED.items():
        if old in meta and new in meta:
            raise ConfigurationError(f"{old!r} and {new!r}, which is its name today, are both given; leave one out")
    meta = {_RENAMED.get(name, name): value for name, value in meta.items()}
    meta.setdefault("judge_last_epoch", True)
    if meta.get("learning_rate_schedule") == "none":
        meta["learning_rate_schedule"] = "constant"
    return {**stored, "meta": meta}


def _reasons(error: ExceptionGroup) -> str:
    """Say what is wrong with which field; our own messages are passed on as they are."""

    def describe(reason: BaseException, kind: Any) -> str:
        return str(reason) if isinstance(reason, ConfigurationError) else format_exception(reason, kind)

    return "; ".join(cattrs.transform_error(error, format_exception=describe))
