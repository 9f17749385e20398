"""The typed configuration of a run, its presets, and how it is stored."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tyro

from tesp.bounds import Settings, all_together, impossible, taken
from tesp.errors import ConfigurationError, did_you_mean, nearest
from tesp.methods.gradient.settings import GradientConfig
from tesp.methods.registry import ABLATIONS, METHODS, absent_from, all_options, entry_of, options_of
from tesp.methods.settings import MethodConfig
from tesp.presets import presets_of
from tesp.sampling import SamplingSettings
from tesp.storage.strict_json import converter, dumps, loads, reasons
from tesp.tasks import family_files
from tesp.tasks.settings import FamilySettings
from tesp.training.settings import LogSettings, ScheduleSettings


@dataclass(frozen=True)
class Config(Settings):
    """Everything that determines the result of a run, besides the versions of the software."""

    family: tyro.conf.Suppress[str] = "point"
    """Name of the family of tasks; given as `FILE.py:NAME`, it becomes NAME."""
    family_file: tyro.conf.Suppress[str | None] = None
    """The Python file that defines the family, as an absolute path; None for the families of the registry."""
    preset: str = "paper"
    """Preset that the configuration started from."""
    algorithm: str = "tesp"
    """The method, by its name: `tesp list` shows them all. Its options are those that `--help` shows beside it."""
    seed: int = 0
    """Seed of tasks, parameters and all sampling."""
    task: FamilySettings = field(default_factory=FamilySettings)
    """Options of the family."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """How much is sampled."""
    method: MethodConfig = field(default_factory=GradientConfig)
    """Options of the method; which there are depends on `algorithm`."""
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    """Length of the run, evaluation and checkpoints."""
    log: LogSettings = field(default_factory=LogSettings)
    """Where the measured numbers go besides the records."""

    def __post_init__(self):
        file, name = family_files.parts(self.family)
        if file is not None:
            object.__setattr__(self, "family_file", file)
            object.__setattr__(self, "family", name)
        if not 0 <= self.seed < 2**32:
            # Of larger ones the random numbers would be those of the remainder.
            raise impossible("seed", self.seed, f"an integer from 0 to {2**32 - 1}")
        self._check_method()

    def _check_method(self):
        entry = entry_of(self.algorithm)
        if not isinstance(self.method, entry.kind):
            raise ConfigurationError(
                f"The algorithm {self.algorithm!r} has the options of {entry.kind.__name__}, not those of "
                f"{type(self.method).__name__}; make the configuration with preset_config or override."
            )
        for name, value in entry.implied.items():
            if (given := value_of(self, name)) != value:
                raise ConfigurationError(
                    f"{name} = {given!r} is not possible with the algorithm {self.algorithm!r}, which stands for "
                    f"{name} = {value!r}{entry.because and ': ' + entry.because}; give that, or another algorithm."
                )
        # What it does not have stands at its default, whatever way the configuration was made.
        if entry.absent:
            plain, changed = entry.kind(), values_of(self.method)
            refuse_options(
                self.algorithm, [n for n, v in values_of(plain).items() if n in entry.absent and changed[n] != v]
            )

    @property
    def family_reference(self) -> str:
        """What `tesp train` and `make_family` are given: the family's name, or FILE.py:NAME."""
        return self.family if self.family_file is None else f"{self.family_file}:{self.family}"


def preset_config(family: str, preset: str = "paper", algorithm: str = "tesp", **overrides: Any) -> Config:
    """Return the configuration of a family's preset for a method, with some fields replaced.

    Three layers, each going before the one above it: the preset, of which a method takes the options that it has; what
    suits the method in it (its entry under ``algorithms`` there; an ablation of TESP takes TESP's); and ``overrides``.

    Args:
        family: Name of the family, or ``FILE.py:NAME``.
        preset: ``paper`` (the paper's numbers), ``quick`` (small networks, for minutes on a laptop) or ``small`` (the
            same networks, trained longer).
        algorithm: Name of the method.
        overrides: Values by field name, whichever group the field is in.

    Raises:
        ConfigurationError: The family, the preset, a field or a value is not known or not possible, or the method does
            not have the option.
    """
    family, preset, algorithm = (
        taken(name, value, str) for name, value in (("family", family), ("preset", preset), ("algorithm", algorithm))
    )
    presets = presets_of(family)
    if preset not in presets:
        raise ConfigurationError(f"The family {family!r} has no preset {preset!r}{did_you_mean(preset, presets)}.")
    values = dict(presets[preset])
    of_methods = values.pop("algorithms", {})
    values |= of_methods.get("tesp" if algorithm in ABLATIONS else algorithm, {})
    entry = entry_of(algorithm)
    # Its own defaults, not those of the same names that another method has.
    own, sampling = (_replaced(plain, dict(entry.implied)) for plain in (entry.kind(), SamplingSettings()))
    config = Config(family=family, preset=preset, algorithm=algorithm, sampling=sampling, method=own)
    # Other methods' options are no mistake in a preset; what none has is.
    others = absent_from(algorithm)
    values = {name: value for name, value in values.items() if name not in others}
    return override(config, **{**values, **entry.implied, **overrides})


def _with_method(config: Config, algorithm: str) -> Config:
    """Return the configuration with another method, as in the preset but for the options that both have."""
    entry = entry_of(algorithm)
    implied = entry_of(config.algorithm).implied.keys()
    common = options_of(algorithm).keys() & options_of(config.algorithm).keys() - implied
    kept = {name: value for name, value in values_of(config.method).items() if name in common}
    own = preset_config(config.family_reference, config.preset, algorithm)
    method = _replaced(own.method, {**kept, **entry.implied})
    # What either name stands for in the sampling is not what the other one is to be sampled with.
    changed = {name: x for name, x in values_of(own.sampling).items() if name in implied | entry.implied.keys()}
    sampling = _replaced(config.sampling, changed)
    return dataclasses.replace(config, algorithm=algorithm, method=method, sampling=sampling)


def value_of(config: Config, name: str) -> Any:
    """Return the value of a field, whichever group it is in."""
    return values_of(config)[name]


def override(config: Config, **values: Any) -> Config:
    """Return the configuration with fields replaced, whichever group they are in.

    With ``algorithm`` the method becomes another one: what both have stays, what only the new one has is the preset's.

    Raises:
        ConfigurationError: There is no such field, the method does not have the option, or a value is not possible.
    """
    if (algorithm := taken("algorithm", values.pop("algorithm", config.algorithm), str)) != config.algorithm:
        config = _with_method(config, algorithm)
    known = {*common_fields(), *options_of(algorithm)}
    unknown = sorted(values.keys() - known)
    refuse_options(algorithm, [name for name in unknown if name in all_options()])
    if unknown:
        raise ConfigurationError(
            f"The configuration has no field {unknown[0]!r}{_successor(unknown[0]) or nearest(unknown[0], known)}; "
            f"`tesp train {config.family_reference} --help` lists all."
        )
    with all_together():
        return _replaced(config, values)


def refuse_options(algorithm: str, names: Iterable[str]) -> None:
    """Refuse options that a method does not have.

    Raises:
        ConfigurationError: There is one among ``names``; it says what the method has.
    """
    for name in names:
        having = [other for other in _methods_with(name) if other != algorithm]
        raise ConfigurationError(
            f"{name} is no option of the algorithm {algorithm!r} (it is one of: {', '.join(having)}); "
            f"{algorithm!r} has: {', '.join(options_of(algorithm)) or 'none'}."
        )


def _methods_with(name: str) -> list[str]:
    return [method for method in METHODS if name in options_of(method)]


def values_of(holder: Any) -> dict[str, Any]:
    """Return the values of all fields of a configuration, or a group of it, by name, those of groups too."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(holder):
        value = getattr(holder, f.name)
        found |= values_of(value) if dataclasses.is_dataclass(value) else {f.name: value}
    return found


def common_fields() -> set[str]:
    """Return the names of fields that do not depend on the method."""
    plain = Config()
    own = [f.name for f in dataclasses.fields(plain) if f.name not in ("method", "algorithm")]
    groups = [getattr(plain, name) for name in own if dataclasses.is_dataclass(getattr(plain, name))]
    single = {name for name in own if not dataclasses.is_dataclass(getattr(plain, name))}
    return single.union(*(values_of(group) for group in groups))


def _replaced(holder: Any, values: dict[str, Any]) -> Any:
    """Return a dataclass with fields replaced, whichever of its groups they are in."""
    changed: dict[str, Any] = {}
    for f in dataclasses.fields(holder):
        value = getattr(holder, f.name)
        if dataclasses.is_dataclass(value):
            inside = {name: new for name, new in values.items() if name in values_of(value)}
            if inside:
                changed[f.name] = _replaced(value, inside)
        elif f.name in values:
            changed[f.name] = values[f.name]
    return dataclasses.replace(holder, **changed) if changed else holder


#: Weighted the loss on early rounds of version 0.1, in which their embeddings were constants.
_OTHER_LOSS = "early_rounds_weight"

#: Fields of version 0.1 and what they are called today.
_RENAMED = {"learning_rate_decay": "learning_rate_schedule", _OTHER_LOSS: "early_loss_weight"}


def _successor(name: str) -> str:
    return f" any more: it is {_RENAMED[name]!r} now" if name in _RENAMED else ""


def check_storable(config: Config) -> None:
    """Refuse values of a wrong kind, which the dataclasses themselves take: the run could not be loaded again.

    Raises:
        ConfigurationError: A value is not of its field's kind, or not a number; names the field.
    """
    restored = values_of(from_json(to_json(config)))
    for name, value in values_of(config).items():
        kept = restored[name]
        integer_for_float = isinstance(kept, float) and isinstance(value, int)
        if kept != value or not (integer_for_float or type(kept) is type(value)):
            raise ConfigurationError(
                f"{name} = {value!r} is not possible; give a finite value of the kind of its default."
            )


def as_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dictionaries, without the options that its method does not have."""
    values = dataclasses.asdict(config)
    return {**values, "method": _present(values["method"], entry_of(config.algorithm).absent)}


def _present(values: dict[str, Any], absent: frozenset[str]) -> dict[str, Any]:
    inside = {name: _present(x, absent) if isinstance(x, dict) else x for name, x in values.items()}
    return {name: x for name, x in inside.items() if name not in absent and x != {}}


def to_json(config: Config) -> str:
    """Return the configuration as JSON."""
    return dumps(as_dict(config), 2) + "\n"


def from_json(text: str) -> Config:
    """Read a configuration that `to_json` wrote, or one of version 0.1.

    Raises:
        ConfigurationError: A field is unknown, of another kind or out of range.
    """
    try:
        stored = loads(text)
    except ValueError as error:
        raise ConfigurationError(f"The configuration cannot be read: {error}.") from error
    return from_dict(stored)


def from_dict(stored: Any) -> Config:
    """Return the configuration that `as_dict` made the stored object of.

    Raises:
        ConfigurationError: As for `from_json`.
    """
    made = converter()
    try:
        # The identity of a run stands beside its configuration.
        stored = {name: x for name, x in stored.items() if name != "run"} if isinstance(stored, dict) else stored
        stored = _from_version_0_1(stored)
        name = stored.get("algorithm", Config.algorithm) if isinstance(stored, dict) else Config.algorithm
        kind = entry_of(name).kind
        # Of exactly this class: a hook of the other kind would be asked for its subclasses too.
        made.register_structure_hook_func(
            lambda asked: asked is MethodConfig, lambda values, _: made.structure(values, kind)
        )
        return made.structure(stored, Config)
    except Exception as error:
        raise ConfigurationError(f"The configuration cannot be read: {reasons(error)}.") from error


def of_today(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is stored of a configuration as it would be stored today.

    Options that came later have their default value: those of the library change nothing with it, so that runs of two
    revisions can be compared. The loss on early rounds of version 0.1 keeps its name, for it is another one than
    today's. What cannot be read here, such as the options of a method that is not registered, stays as it is.

    Args:
        stored: What a ``config.json`` of this revision or an earlier one holds.
    """
    try:
        found = loads(to_json(from_dict(stored)))
    except ConfigurationError:
        return stored
    if weight := stored.get("meta", {}).get(_OTHER_LOSS):
        found["method"]["meta"] |= {_RENAMED[_OTHER_LOSS]: 0.0, _OTHER_LOSS: weight}
    return found


#: Groups of options that version 0.1 had beside one another, and in ``sampling``; they are the method's now.
_GROUPS = ("network", "fast", "meta", "estimation", "ablation")
_OF_ROUNDS = ("buffer_size", "extra_episodes")


def _from_version_0_1(stored: Any) -> Any:
    """Bring a configuration of version 0.1 into the form of today; what is of another form is left for the converter.

    Its methods were stored with all options, whether they had a meaning or not.
    """
    if not isinstance(stored, dict) or "method" in stored or not stored.keys() & {*_GROUPS, "sampling"}:
        return stored
    method = {name: stored[name] for name in _GROUPS if name in stored}
    rest = {name: value for name, value in stored.items() if name not in _GROUPS}
    if isinstance(sampling := stored.get("sampling"), dict):
        method["experience"] = {name: sampling[name] for name in _OF_ROUNDS if name in sampling}
        rest["sampling"] = {name: value for name, value in sampling.items() if name not in _OF_ROUNDS}
    if isinstance(method.get("meta"), dict):
        method["meta"] = _meta_of_today(method["meta"])
    return {**rest, "method": _present(method, entry_of(stored.get("algorithm", Config.algorithm)).absent)}


def _meta_of_today(meta: dict[str, Any]) -> dict[str, Any]:
    """Name the values of version 0.1 as they are named today.

    There ``early_rounds_weight`` weighted a loss on the early rounds with their embeddings held constant; a run that
    had it goes on with the loss that differentiates them. The parameters after the last epoch's step competed.
    """
    if not _RENAMED.keys() & meta.keys():
        return meta
    for old, new in _RENAMED.items():
        if old in meta and new in meta:
            raise ConfigurationError(f"{old!r} and {new!r}, which is its name today, are both given; leave one out")
    meta = {_RENAMED.get(name, name): value for name, value in meta.items()}
    meta.setdefault("judge_last_epoch", True)
    if meta.get("learning_rate_schedule") == "none":
        meta["learning_rate_schedule"] = "constant"
    return meta
