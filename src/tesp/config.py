"""The typed configuration of a run, its presets, and how it is stored."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import cattrs
import equinox as eqx
import jax
import numpy as np
import tyro
from cattrs.v import format_exception

from tesp.adaptation.fast_update import FastUpdateSettings
from tesp.adaptation.meta_update import MetaUpdateSettings
from tesp.algorithms.base import Algorithm
from tesp.algorithms.registry import ABLATIONS, ALGORITHMS, IMPLIED, make_algorithm
from tesp.algorithms.tesp import TESP, AblationSettings
from tesp.errors import ConfigurationError
from tesp.estimators.advantages import EstimationSettings
from tesp.interaction import Learner, SamplingSettings
from tesp.networks.policy import ConditionalPolicy
from tesp.tasks import family_files
from tesp.tasks.family import Family
from tesp.tasks.registry import make_family
from tesp.training.settings import LogSettings, ScheduleSettings
from tesp.types import Interface


@dataclass(frozen=True)
class FamilySettings:
    """Options of the family of tasks. Left out (None), the family's own default holds."""

    horizon: int | None = None
    """H, control steps after which an episode is cut off."""
    tasks_per_set: int | None = None
    """Number of tasks in each of D, D′ and D″."""
    inner_radius: float | None = None
    """Goals lie further than this from the origin, metres."""
    boundary_radius: float | None = None
    """Goals of D and D′ lie within this distance of the origin and those of D″ beyond, metres."""
    outer_radius: float | None = None
    """Goals of D″ lie within this distance of the origin, metres."""
    spacing: float | None = None
    """Least distance between goals, metres."""
    engine: Literal["mujoco", "closed-form"] | None = None
    """What steps a reacher: MuJoCo, or the arm's equations of motion written out, which is many times faster."""
    when_unhealthy: Literal["terminate", "continue"] | None = None
    """What happens to an ant that falls: `terminate` ends its episode (as the paper's authors), `continue` does not."""


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of the networks."""

    policy_units: tuple[int, ...] = (256, 256)
    """Units of the policy's hidden layers."""
    encoder_units: int = 256
    """Units of the task encoder's GRU."""
    embedding_size: int = 8
    """d, entries of the task embedding."""
    conditioning: Literal["concatenate", "modulate"] = "concatenate"
    """How a shared policy takes the embedding: as further inputs, or as scale and shift of what enters every hidden
    unit. No meaning for methods whose policy is conditioned on nothing."""

    def __post_init__(self):
        if not len(self.policy_units):
            raise ConfigurationError("policy_units is empty; give the units of one hidden layer or more, like 64 64.")
        for name in ("policy_units", "encoder_units", "embedding_size"):
            if np.min(getattr(self, name), initial=1) < 1:
                raise ConfigurationError(f"{name} = {getattr(self, name)} is not possible; give sizes of 1 or more.")


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
        if self.ablation != AblationSettings() and ALGORITHMS[self.algorithm] is not TESP:
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
    presets = make_family(family).presets
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


def build_family(config: Config) -> Family:
    """Make the configured family."""
    given = {name: value for name, value in dataclasses.asdict(config.task).items() if value is not None}
    return make_family(config.family_reference, **given)


def build_algorithm(config: Config, family: Family | Interface) -> Algorithm:
    """Make the configured algorithm for a family, or for what agents of it see and do."""
    return make_algorithm(
        config.algorithm,
        config.ablation,
        observation_size=family.observation_size,
        action_size=family.action_size,
        task_size=family.task_size,
        embedding_size=config.network.embedding_size,
        policy_units=tuple(config.network.policy_units),
        encoder_units=config.network.encoder_units,
        initial_rate=config.fast.initial_rate,
        conditioning=config.network.conditioning,
    )


def build_learner(config: Config, family: Family | Interface) -> Learner:
    """Make the configured learner for a family, or for what agents of it see and do.

    Raises:
        ConfigurationError: An option has no meaning for the algorithm.
    """
    algorithm = build_algorithm(config, family)
    _require_conditional_policy(algorithm, config.algorithm)
    size, episodes = config.sampling.buffer_size, config.sampling.episodes_per_round
    if algorithm.warm_up and not algorithm.keep_all and size > episodes:
        raise ConfigurationError(
            f"buffer_size = {size} is not possible with episodes_per_round = {episodes}: the warm-up round must fill "
            f"the buffer. Give a buffer_size of at most {episodes} or more episodes_per_round."
        )
    if config.sampling.extra_episodes and (algorithm.warm_up or not config.fast.fast_updates):
        raise ConfigurationError(
            f"extra_episodes is not possible with the algorithm {config.algorithm!r}: it stands in for the warm-up "
            "round of methods that adapt without one. Leave it out."
        )
    return Learner(algorithm, config.sampling, config.fast, config.meta, config.estimation)


def _require_conditional_policy(algorithm: Algorithm, name: str) -> None:
    def policy(key):
        fresh = algorithm.init(key)
        return algorithm.policy(fresh.adapted, fresh.shared)

    made = eqx.filter_eval_shape(policy, jax.random.key(0))
    if not isinstance(made, ConditionalPolicy):
        raise ConfigurationError(
            f"The algorithm {name!r} has the policy {type(made).__name__}, which must be a "
            "tesp.networks.policy.ConditionalPolicy: derive it from that class and give it condition and respond."
        )


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
