"""A family of tasks from an MJCF file and a few functions of the state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError, nearest
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.checks import check_name, check_simulate, checked_count
from tesp.tasks.drawn_tasks import draw_task_sets
from tesp.tasks.family import Family
from tesp.tasks.goals.goals import Goals
from tesp.tasks.mujoco.engine import BatchEngine, Body
from tesp.tasks.mujoco.functions import Functions, GoalRating, OwnRating, Rating, RewardFunction, StateFunction
from tesp.tasks.mujoco.model import Dynamics, FieldFunction, ModelSource, load_model
from tesp.tasks.mujoco.simulation import EngineMaker, MJCFSimulation
from tesp.tasks.mujoco.state import DERIVED_STAGES
from tesp.tasks.simulation import Transition

#: (generator, count, name of the task set) → tasks (count, p).
TaskSampler = Callable[[np.random.Generator, int, str], np.ndarray]

#: Which function fills which entry of a transition.
_SOURCES = {"observation": "observe", "distance_reward": "task_reward"}
_SOURCES |= {name: name for name in ("reward", "distance", "position", "terminated", "success", "healthy")}

#: What goals in the plane say, besides the reward and the tasks.
_RATED = ("terminated", "success", "task_reward", "distance")


@dataclass(frozen=True, kw_only=True)
class MJCFFamily(Family):
    """A body from an MJCF file, tasks of any parameters, and functions that say what is seen, wanted and over.

    The functions get a `State` of n simulations and return one row for each, computed from that row alone. They are
    tried when the family is made: with a few tasks of every set, for one control step. Actions lie in [−1, 1] and are
    scaled linearly to the actuators' control ranges.

    Attributes:
        name: The family's name; the tasks of a seed depend on it.
        model: Path of an MJCF file, an MJCF text, a compiled ``mujoco.MjModel``, or a function that returns one.
        observe: state → observation (n, entries). It must not show the task.
        reward: (state, action) → (n,). The state is that after the step, the action (n, actuators) is clipped. It must
            be given unless there are ``goals``, and so must ``sample_tasks``.
        sample_tasks: (generator, count, task set) → tasks (count, p). The task set is ``train``,
            ``in_distribution`` (other tasks of the same kind) or ``out_of_distribution``.
        terminated: state → (n,), true where the episode ends by itself; by default never.
        dynamics: By name of a model field (``body_mass``, ``geom_friction``, ``actuator_gear``, ``opt.gravity``, …), a
            function (tasks (n, p), model) → the field's values (n, *shape of the field). Applied at every reset.
        derived: Derived fields of the engine that the functions read in ``state.derived``, for instance ``site_xpos``.
        success: state → (n,), true where the task is done; by default never.
        task_reward: (state, action) → (n,), the part of the reward that agents are judged by; by default the reward.
        distance: state → (n,), how far from done, in metres; by default NaN.
        position: state → (n, 2), where the body is, in metres, for drawings; by default NaN.
        goals: Tasks are goals in the plane, (x, y) in metres: they say what tasks there are, and from the position the
            reward, the distance, success, and the end on arrival. Pictures show the goal.
        healthy: state → (n,), true where the body is upright for instance; by default where the state is finite.
        when_unhealthy: ``terminate`` if a state that is not healthy ends the episode, else ``continue``.
        substeps: Physics steps in a control step.
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.
        keyframe: Name or index of the keyframe that is the start; by default the first, or the model's defaults.
        camera: Name or index of the camera that pictures are taken from; by default the first, or a free one.
        preset_values: Configuration values by preset. Those of ``quick`` go before the small sizes that it has anyway,
            those of ``paper`` before the library's defaults and rounds in steps; other names are presets of their own.
        engine: Makes what steps the states, of (body, count, threads); by default MuJoCo's batch.
        factory_options: Values of further options, JSON-able, if the function that makes the family takes some.
        made_by: That function, called with ``horizon``, ``tasks_per_set`` and these to make the family with others.
    """

    name: str
    model: ModelSource
    observe: StateFunction
    reward: RewardFunction | None = None
    sample_tasks: TaskSampler | None = None
    terminated: StateFunction | None = None
    dynamics: Mapping[str, FieldFunction] = field(default_factory=dict, hash=False)
    derived: tuple[str, ...] = ()
    success: StateFunction | None = None
    task_reward: RewardFunction | None = None
    distance: StateFunction | None = None
    position: StateFunction | None = None
    goals: Goals | None = None
    healthy: StateFunction | None = None
    when_unhealthy: str = "continue"
    substeps: int = 5
    horizon: int = 200
    tasks_per_set: int = 100
    keyframe: str | int | None = None
    camera: str | int | None = None
    preset_values: Mapping[str, Mapping[str, Any]] | None = field(default_factory=dict, hash=False)
    engine: EngineMaker = BatchEngine
    factory_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    made_by: Callable[..., Family] | None = None
    observation_size: int = field(init=False)
    action_size: int = field(init=False)
    task_size: int = field(init=False)
    body: Body = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in ("horizon", "tasks_per_set", "substeps"):
            self._set(name, checked_count(name, getattr(self, name)))
        if self.when_unhealthy not in ("terminate", "continue"):
            raise ConfigurationError(
                f"when_unhealthy is {self.when_unhealthy!r}; it must be 'terminate' or 'continue'."
            )
        for name in self.derived:
            if name not in DERIVED_STAGES:
                raise ConfigurationError(
                    f"derived names {name!r}{nearest(name, DERIVED_STAGES)}; "
                    f"it may name {', '.join(sorted(DERIVED_STAGES))}."
                )
        functions = Functions(self.observe, self._rating(), self.position, self.healthy, self._falling_ends)
        examples = {name: self._draw(np.random.default_rng(0), 3, name) for name in TASK_SETS}
        sizes = {name: tasks.shape[1] for name, tasks in examples.items()}
        if len(set(sizes.values())) > 1:
            raise ConfigurationError(f"sample_tasks returns tasks of different sizes, {sizes}; all must have the same.")
        self._set("task_size", sizes["train"])
        self._set("body", self._make_body(functions))
        self._set("action_size", int(self.body.model.nu))
        finite = {entry for entry, function in _SOURCES.items() if self.goals or getattr(self, function) is not None}
        self._set("observation_size", _tried(self.body, np.concatenate(list(examples.values())), finite))

    @property
    def _falling_ends(self) -> bool:
        return self.when_unhealthy == "terminate"

    def _rating(self) -> Rating:
        """Return what says what a step is worth, or refuse functions that are missing or contradict the goals."""
        given = [name for name in ("reward", "sample_tasks", *_RATED) if getattr(self, name) is not None]
        if self.goals is not None:
            if self.position is None:
                raise ConfigurationError("goals are given without position; give it, to measure distances by.")
            if given:
                raise ConfigurationError(
                    f"goals and {given[0]} are given; leave out {given[0]}, or the goals, which say what tasks there "
                    "are, what a step is worth and when an episode ends."
                )
            return GoalRating(self.goals)
        if self.reward is None or self.sample_tasks is None:
            missing = "sample_tasks" if self.reward is not None else "reward"
            raise ConfigurationError(f"{missing} is missing; give reward and sample_tasks, or goals.")
        return OwnRating(self.reward, self.terminated, self.success, self.task_reward, self.distance)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _make_body(self, functions: Functions) -> Body:
        model = load_model(self.model)
        return Body(
            model=model,
            functions=functions,
            dynamics=Dynamics(model, self.dynamics),
            derived=tuple(self.derived),
            substeps=self.substeps,
            keyframe=_index("keyframe", self.keyframe, model.nkey, model.keyframe),
            camera=_index("camera", self.camera, model.ncam, model.camera),
            task_size=self.task_size,
            goals=self.goals,
        )

    def with_options(self, **options: Any) -> Family:
        """Return the family with other options, made anew by the function that made it.

        Raises:
            ConfigurationError: An option is not possible, or what makes the family with another one is not known.
        """
        if self.made_by is not None:
            return self.made_by(**{**self.options, **options})
        fixed = sorted(options.keys() & self.factory_options.keys())
        if fixed:
            raise ConfigurationError(
                f"{fixed[0]} of the family {self.name!r} cannot be changed: the function that made it is not known. "
                "Give it made_by, or name the function instead of the family."
            )
        return replace(self, **options)

    @property
    def options(self) -> dict[str, Any]:
        """The options with which the registered function makes this family again, JSON-able."""
        return {"horizon": self.horizon, "tasks_per_set": self.tasks_per_set, **self.factory_options}

    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″ and see that the engine takes all of them; the same name and seed give the same tasks.

        Raises:
            ConfigurationError: The seed is negative, or a task or its dynamics are not possible.
        """
        if self.goals is not None:
            return self.goals.sample_task_sets(self.name, seed, self.tasks_per_set)
        sets = draw_task_sets(self.name, seed, self.tasks_per_set, self._draw)
        for name, drawn in sets.items():
            first = self.simulate(len(drawn.tasks), threads=1).reset(drawn.tasks)
            if not np.isfinite(first).all():
                raise ConfigurationError(
                    f"observe returned a value that is not finite at the start of task "
                    f"{int(np.argwhere(~np.isfinite(first))[0, 0])} of {name}; return finite numbers."
                )
        return sets

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, " parameter"]:
        """Draw a task like those of D, for an environment that was given none."""
        return self._draw(generator, 1, "train")[0]

    def simulate(self, count: int, threads: int = 0) -> MJCFSimulation:
        """Make ``count`` simulations, stepped on ``threads`` threads (0: all cores).

        Raises:
            ConfigurationError: ``count`` is below 1 or ``threads`` is negative.
        """
        check_simulate(count, threads)
        return MJCFSimulation(self.body, self.engine(self.body, count, threads))

    def _draw(self, generator: np.random.Generator, count: int, task_set: str) -> Float[np.ndarray, "task parameter"]:
        if self.goals is not None:
            return np.stack([self.goals.draw_task(generator) for _ in range(count)])
        assert self.sample_tasks is not None
        tasks = np.array(self.sample_tasks(generator, count, task_set), np.float64)
        if tasks.ndim != 2 or len(tasks) != count or not tasks.shape[1]:
            raise ConfigurationError(
                f"sample_tasks returned an array of shape {tasks.shape} for {count} tasks of {task_set}; "
                f"it must be ({count}, parameters)."
            )
        if not np.isfinite(tasks).all():
            raise ConfigurationError(
                f"sample_tasks returned a task of {task_set} that is not finite: {tasks.tolist()}."
            )
        return tasks


def _index(what: str, given: str | int | None, count: int, find: Callable[[Any], Any]) -> int:
    """Return the index of a keyframe or a camera; −1 if none is named and the model has none."""
    if given is None:
        return 0 if count else -1
    if isinstance(given, str):
        try:
            return int(find(given).id)
        except KeyError:
            known = ", ".join(repr(find(index).name) for index in range(count)) or f"no {what}"
            raise ConfigurationError(f"{what} is {given!r}; the model has {known}.") from None
    if not 0 <= given < count:
        raise ConfigurationError(f"{what} is {given}; the model has {count}, counted from 0.")
    return given


def _tried(body: Body, tasks: Float[np.ndarray, "task parameter"], finite: set[str]) -> int:
    """Take a control step with the given tasks together, then with one of them alone; return the observation's size.

    Args:
        body: The body.
        tasks: The tasks.
        finite: The entries of a transition that functions fill, which must then be finite.

    Raises:
        ConfigurationError: A function returned a wrong shape, something that is not finite, or rows that depend on
            which other rows there are.
    """
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (len(tasks), body.model.nu))
    together, alone = (_first_step(body, tasks[rows], actions[rows]) for rows in (slice(None), slice(1, 2)))
    for entry in fields(Transition):
        function = _SOURCES[entry.name]
        values, single = getattr(together, entry.name), getattr(alone, entry.name)
        if entry.name in finite and not np.isfinite(values).all():
            raise ConfigurationError(
                f"{function} returned a value that is not finite after one step; return finite numbers."
            )
        # Sums may be rounded in another order, so equal means close.
        if values.shape[1:] != single.shape[1:] or not np.allclose(values[1], single[0], 1e-6, 1e-9, equal_nan=True):
            raise ConfigurationError(
                f"{function} gives a simulation {single[0]} alone and {values[1]} beside others; compute every row "
                "from that row of the state alone, and without chance."
            )
    return together.observation.shape[1]


def _first_step(body: Body, tasks: np.ndarray, actions: np.ndarray) -> Transition:
    simulation = MJCFSimulation(body, BatchEngine(body, len(tasks), 1))
    simulation.reset(tasks)
    return simulation.step(np.arange(len(tasks)), actions)
