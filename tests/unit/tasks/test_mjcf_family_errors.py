"""What is wrong with a family is said before anything starts."""

import re

import numpy as np
import pytest
from mujoco.batch import Batch, SimulationError

from tesp.errors import ConfigurationError
from tesp.tasks.goals.goals import Goals

from .cart import MODEL, make, rollout, some_actions, some_tasks


@pytest.fixture(scope="module")
def family():
    return make()


BROKEN = MODEL.replace("<site", "<sight")
FREE = MODEL.replace('ctrlrange="-2 1"', "")
IDLE = re.sub(r"<actuator>.*</actuator>", "", MODEL, flags=re.DOTALL)

SLEEPING = re.sub("<option(.*)/>", r'<option\1><flag sleep="enable"/></option>', MODEL)
BALL = MODEL.replace("</actuator>", '<orientation joint="ball" kp="1" input="quat"/></actuator>').replace(
    "</worldbody>", '<body><joint name="ball" type="ball"/><geom size="0.1"/></body></worldbody>'
)


def constant(value):
    return lambda *_: value


def scaled(field, factor):
    return lambda tasks, model: np.tile(getattr(model, field) * factor, (len(tasks), *[1] * getattr(model, field).ndim))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": ""}, "name is ''"),
        ({"reward": None}, "reward is missing; give reward and sample_tasks, or goals"),
        ({"sample_tasks": None}, "sample_tasks is missing"),
        ({"goals": Goals(arrival=0.1)}, "goals are given without position"),
        ({"goals": Goals(arrival=0.1), "position": lambda state: state.qpos[:, :2]}, "leave out reward, or the goals"),
        ({"when_unhealthy": "stop"}, "when_unhealthy is 'stop'; it must be 'terminate' or 'continue'"),
        ({"healthy": constant(np.ones(9))}, "healthy returned entries of kind float64"),
        ({"horizon": 0}, "horizon is 0"),
        ({"substeps": 0}, "substeps is 0"),
        ({"model": "nowhere.xml"}, "There is no MJCF file 'nowhere.xml'"),
        ({"model": BROKEN}, "MJCF text does not compile: .*unrecognized element.*sight"),
        ({"model": IDLE}, "has no actuator"),
        ({"model": FREE}, "no control range for the control number 0"),
        ({"model": FREE.replace("<motor", '<motor name="engine"')}, "no control range for the actuator 'engine'"),
        ({"model": BALL}, "no control range for the control number 1, the control number 2"),
        ({"model": SLEEPING}, "cannot step this MJCF model as a batch"),
        ({"keyframe": "nowhere"}, "keyframe is 'nowhere'; the model has 'upright', 'tilted'"),
        ({"camera": 2}, "camera is 2; the model has 2, counted from 0"),
        ({"derived": ("site_xpo",)}, "derived names 'site_xpo' .did you mean 'site_xpos'"),
        ({"dynamics": {"body_mas": scaled("body_mass", 1)}}, "dynamics names 'body_mas' .did you mean 'body_mass'"),
        ({"dynamics": {"geom_type": scaled("geom_type", 1)}}, "dynamics names 'geom_type'.* field of real numbers"),
        ({"dynamics": {"body_mass": constant(np.ones(3))}}, r"'body_mass'\] returned an array of shape \(3,\)"),
        ({"dynamics": {"body_mass": constant(np.full((9, 3), np.nan))}}, "value that is not finite"),
        ({"dynamics": {"body_mass": scaled("body_mass", -1)}}, "gives the body 'cart' the mass -1 kg, and the model 1"),
        ({"dynamics": {"body_mass": constant(np.ones((9, 3)))}}, "gives the body 'world' the mass 1 kg"),
        ({"dynamics": {"dof_M0": scaled("dof_M0", 2)}}, "'dof_M0', which the engine derives from other fields"),
        ({"sample_tasks": constant(np.ones(3))}, r"sample_tasks returned an array of shape \(3,\) for 3 tasks"),
        (
            {"sample_tasks": constant(np.full((3, 6), np.inf))},
            "sample_tasks returned a task of train that is not finite",
        ),
        (
            {"sample_tasks": lambda _, count, name: np.ones((count, len(name)))},
            "sample_tasks returns tasks of different sizes",
        ),
        ({"observe": lambda state: state.qpos[:, 0]}, r"observe returned an array of shape \(9,\) for 9 simulations"),
        ({"observe": lambda state: state.qpos / 0.0}, "observe returned a value that is not finite"),
        ({"reward": lambda _, action: action}, r"reward returned an array of shape \(9, 1\)"),
        ({"reward": lambda state, _: state.qpos[:, 0] - state.qpos[:, 0].mean()}, "compute every row"),
        ({"terminated": lambda state: state.qpos[:, 0]}, "terminated returned entries of kind float64"),
        ({"position": lambda state: state.qpos}, r"position returned an array of shape \(9, 3\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_is_wrong_is_named_before_anything_starts(values, words):
    with pytest.raises(ConfigurationError, match=words):
        make(**values)


def test_tasks_of_the_sets_are_tried_too():
    def rare(tasks, model):
        masses = np.tile(model.body_mass, (len(tasks), 1))
        masses[:, 1] = 1.0 - 2.0 * (np.arange(len(tasks)) == 99)
        return masses

    family = make(dynamics={"body_mass": rare}, tasks_per_set=100)
    with pytest.raises(ConfigurationError, match="gives the body 'cart' the mass -1 kg"):
        family.sample_task_sets(0)


def test_what_the_engine_refuses_is_named_and_leaves_nothing_behind(family, monkeypatch):
    tasks = some_tasks(3)
    simulation = family.simulate(3)
    simulation.reset(tasks)

    def refuse(*_):
        raise SimulationError(np.array([1]), "no such mass")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "set_const", refuse)
        with pytest.raises(ConfigurationError, match=r"refuses the dynamics of the task \[.*no such mass"):
            simulation.reset(tasks[::-1])
    simulation.reset(tasks)
    done = simulation.step(np.arange(3), some_actions(1, 3)[0])
    np.testing.assert_array_equal(done.observation, rollout(family, tasks, steps=25)[1])


def test_a_file_that_does_not_compile_is_named(tmp_path):
    (tmp_path / "broken.xml").write_text(BROKEN)
    with pytest.raises(ConfigurationError, match=r"MJCF file .*broken\.xml does not compile"):
        make(model=tmp_path / "broken.xml")


def test_bad_arguments_are_named(family):
    with pytest.raises(ConfigurationError, match="count is 0"):
        family.simulate(0)
    simulation = family.simulate(2)
    with pytest.raises(ConfigurationError, match="6 finite numbers for each of 2 simulations"):
        simulation.reset(np.ones((2, 5)))
    with pytest.raises(ConfigurationError, match="actions have shape"):
        simulation.step(np.arange(2), np.zeros((2, 2)))
