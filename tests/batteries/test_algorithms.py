"""Every algorithm, trained as a tiny run; a new name in the registry joins by itself."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import condition_of, random_batch, random_context
from helpers.running import any_parameter_differs, assert_same_run, records, shared_learner, tesp, tiny_config
from helpers.trees import assert_identical, named_leaves, random_like
from tesp import compare, runs
from tesp.adaptation.fast_update import fast_update
from tesp.adaptation.settings import MetaUpdateSettings
from tesp.adaptation.task_objective import Experience, Past, task_objective
from tesp.agents.adapting import AdaptedAgent
from tesp.building import build_method
from tesp.interface import Interface
from tesp.methods.gradient.algorithm import rates_like
from tesp.methods.registry import METHODS, options_of
from tesp.report import words
from tesp.task_sets import TASK_SETS
from tesp.types import Parameters

META = MetaUpdateSettings(clip=0.15, embedding_penalty=0.3)
INTERFACE = Interface((3,), (-1.0, -1.0), (1.0, 1.0), 2, 6)
SIZES = {"embedding_size": 2, "policy_units": (3,), "encoder_units": 2, "initial_rate": 0.4, "rate_bound": 10.0} | {
    "conditioning": "concatenate"
}

#: Methods that adapt by gradients: the others have no fast-update whose derivative could be wrong.
GRADIENT = {name for name, entry in METHODS.items() if entry.algorithm is not None}


def config(name, **overrides):
    # Clipped as in no other test: what another file of the same process compiled would hide what is compiled here.
    # What is always in second order takes long to compile.
    if name == "promp":
        overrides = {"fast_updates": 1, **overrides}
    return tiny_config(algorithm=name, clip=0.19, checkpoint_every=2, **overrides)


#: Other methods with one option set, which has tests of its own: trained here when there is time.
OF_OTHERS = {"tesp-v1", "tesp-v5", "cavia"}

# V3 and V4 are TESP and V5 with a constant of zero, which compiles to the same.
NAMES = [
    pytest.param(name, marks=[pytest.mark.long] if name in OF_OTHERS else [])
    for name in METHODS
    if name not in ("tesp-v3", "tesp-v4")
]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(name, tmp_path_factory):
    """A finished run, when XLA compiled for it (in meta-updates done), and the state it ended in."""
    folder = tmp_path_factory.mktemp("runs") / name
    events = []

    def listen(event, _duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(len(records(folder, "train")) if (folder / "records.jsonl").exists() else 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tesp.building.build_learner", shared_learner)
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            state = runs.train(config(name), folder).state
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
    return folder, events, state


class TestARun:
    def test_nothing_is_compiled_after_the_first_meta_update(self, trained):
        _, compilations, _ = trained
        assert 0 in compilations
        assert not [done for done in compilations if done > 0]

    def test_records_every_set_and_fast_update(self, name, trained):
        folder, _, _ = trained
        last = config(name).method.last_round
        found = {(r["task_set"], r["fast_update"]) for r in records(folder, "evaluation")}
        assert found == {(task_set, k) for task_set in TASK_SETS for k in range(last + 1)}
        assert {record["algorithm"] for record in records(folder)} == {name}
        assert ("warm_up_return" in records(folder, "evaluation")[0]) == name.startswith("tesp")

    def test_a_checkpoint_holds_all_of_it(self, trained, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)
        folder, _, state = trained
        loaded = runs.load_run(folder, "latest")
        assert_identical(loaded.state, state)
        method = loaded.learner.method
        fresh = method.parameters(method.init(jax.random.key(0)))
        assert any_parameter_differs(loaded.parameters, fresh)

    def test_stopped_and_resumed_it_ends_the_same(self, name, trained, tmp_path, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)
        whole = config(name)
        halves = tmp_path / "run"
        runs.train(dataclasses.replace(whole, schedule=dataclasses.replace(whole.schedule, meta_updates=2)), halves)
        runs.resume(halves, meta_updates=whole.schedule.meta_updates)
        assert_same_run(halves, trained[0])

    # Two steps tell nothing.
    @pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")
    def test_an_agent_is_adapted_and_saved_and_acts_the_same(self, trained, tmp_path, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)
        run = runs.load_run(trained[0], "latest")
        agent = run.adapt((0.3, -0.2))
        seen, acted = np.zeros(run.family.observation_size), []
        for one in (agent, AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))):
            action, state = one.predict(seen, deterministic=True)
            acted.append((action, one.predict(seen, state, deterministic=True, reward=-1.0)[0]))
        np.testing.assert_array_equal(*acted)
        assert [stage.fast_update for stage in agent.history][-1] == run.config.method.last_round

    def test_it_is_compared_and_reported(self, name, trained, tmp_path):
        table = compare.write_comparison([trained[0]], tmp_path)[0].read_text()
        assert sum(f"| {words.method(name)} |" in line for line in table.splitlines()) >= len(TASK_SETS)
        assert tesp("report", trained[0], "--output", tmp_path / "report.html").code == 0
        assert words.method(name) in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("float64")
# V1 and V3 have the objective of TESP itself, with another buffer or penalty in it; V4 has that of V5, at another rate;
# CAVIA has that of AdaptSV, and E-MAML that of MAML, with other advantages in its early rounds. In first order ProMP's
# is MAML's too.
@pytest.mark.parametrize("name", sorted(GRADIENT - {"tesp-v1", "tesp-v3", "tesp-v4", "cavia", "e-maml"}))
@pytest.mark.parametrize("second_order", [False, True], ids=["first order", "second order"])
class TestTheMetaGradient:
    def test_is_that_of_the_objective_by_differences(self, name, second_order):
        """Along a random direction of every leaf that is learned; and no such leaf is without gradient."""
        if (name, second_order) == ("promp", False):
            return
        parameters, experience, objective = problem(name, second_order)
        # One program for both, and NumPy for the rest: compiling takes nearly all of the time.
        value_and_gradient = jax.jit(jax.value_and_grad(objective))
        gradient = jax.tree.map(np.asarray, value_and_gradient(parameters, experience)[1])
        parameters = jax.tree.map(np.asarray, parameters)
        learned = learns(name)
        for index, (leaf, slope) in enumerate(named_leaves(gradient)):
            if leaf.startswith(".rates") and not learned:
                continue
            assert np.any(slope), leaf
            direction = only(random_like(parameters, 20 + index), index)
            ahead, behind = (
                float(value_and_gradient(along(parameters, direction, step), experience)[0]) for step in (1e-5, -1e-5)
            )
            expected = (ahead - behind) / 2e-5
            products = jax.tree.map(lambda g, d: np.sum(g * d), gradient, direction)
            np.testing.assert_allclose(sum(jax.tree.leaves(products)), expected, rtol=1e-5, atol=1e-9, err_msg=leaf)


def made(name):
    sizes = {option: x for option, x in SIZES.items() if option in options_of(name)}
    return build_method(config(name, **sizes), INTERFACE)


def learns(name):
    return made(name).algorithm.learned_rates


def only(tree, index):
    """The tree with zeros in all leaves but one."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([np.asarray(x) if i == index else np.zeros_like(x) for i, x in enumerate(leaves)])


def along(tree, direction, step):
    """The tree, moved by a step in a direction."""
    return jax.tree.map(lambda x, d: x + step * d, tree, direction)


@cache
def problem(name, second_order):
    """Parameters, what one task experienced in a fast-update and a last round, and the objective."""
    method = made(name)
    algorithm, condition = method.algorithm, condition_of(method.algorithm)
    fast = dataclasses.replace(method.fast, rate_bound=10.0, second_order=second_order)
    start = jax.jit(algorithm.init)(jax.random.key(0))
    rates = random_like(rates_like(start.adapted, 0.0), 3, 0.2) if algorithm.learned_rates else start.rates
    parameters = Parameters(random_like(start.adapted, 1, 0.25), rates, random_like(start.shared, 2, 0.25))
    seen = INTERFACE.observation_size + algorithm.noise_size
    rounds = [
        Past(random_context(10 * k, 2, steps=3), jnp.zeros(2), random_batch(10 * k + 5, 3, steps=3, observation=seen))
        for k in (1, 2)
    ]
    *past, last = rounds[1:] if name == "oracle" else rounds

    @jax.jit
    def gradient_sum(p):
        adapted, total = p.adapted, jax.tree.map(jnp.zeros_like, p.adapted)
        for r in past:
            updated = fast_update(condition, adapted, p.rates, p.shared, r.context, r.batch, fast)
            adapted, total = updated.adapted, jax.tree.map(jnp.add, total, updated.gradient)
        return total

    experience = Experience(last, gradient_sum(parameters), tuple(past) if second_order else ())
    return parameters, experience, lambda p, e: task_objective(condition, p, e, fast, META, algorithm.penalty)[0]
