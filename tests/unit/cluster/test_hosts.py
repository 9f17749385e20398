"""A meta-update over hosts in this process: what Ray has no part in. Everything is equal to the bit."""

import jax
import numpy as np
import pytest

from helpers.hosts import HostsHere
from helpers.learners import GOALS, HORIZON, make_learner
from helpers.point import PointSimulation
from helpers.running import tiny_config
from helpers.trees import assert_identical
from tesp.building import build_method
from tesp.cluster import block_work
from tesp.cluster.hosts import HostsExecutor, on_hosts, require_split
from tesp.cluster.pool import NoHostsError
from tesp.episodes.executor import LocalExecutor
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.tasks.point import PointFamily

#: Places of the tasks in their set.
IDS = np.array([7, 3, 11, 5])
DONE, TOTAL = 3, 10


class BrokenFamily(PointFamily):
    def simulate(self, count, threads=0):
        return PointSimulation(broken=GOALS[3])


FAMILY = PointFamily(horizon=HORIZON)


@pytest.fixture(scope="module")
def learner():
    return make_learner(fast={"fast_updates": 1}, meta={"epochs": 2})


@pytest.fixture(autouse=True)
def one_learner(learner, monkeypatch):
    """All hosts share what is compiled."""
    monkeypatch.setattr(block_work, "Learner", lambda *_: learner)


@pytest.fixture(scope="module")
def state(learner):
    return learner.method.init(jax.random.key(0))


def meta_updated(executor, learner, state, count=2, goals=GOALS):
    """State and metrics after some meta-updates, and what was sampled, as a host's answer would have it."""
    rounds = []
    for update in range(count):
        parameters = learner.method.parameters(state)
        adaptation = executor.adapt(parameters, goals, jax.random.key(update), IDS)
        rounds += [(r.fast_update, r.outcomes.average_return, r.outcomes.length) for r in adaptation.rounds]
        state, metrics = executor.meta_update(state, adaptation, DONE + update, TOTAL)
    return jax.tree.map(np.asarray, (state, metrics, rounds))


@pytest.fixture(scope="module")
def expected(learner, state):
    local = LocalExecutor(learner, HORIZON, FAMILY.simulate)
    return meta_updated(local, learner, state)


def over(learner, cores, before=None, family=None):
    return HostsExecutor(HostsHere((family or FAMILY, learner.method, learner.sampling), cores, before), learner.method)


@pytest.mark.parametrize("cores", [(1,), (1, 1), (2, 1, 1)])
def test_any_number_of_hosts_gives_the_same_bits(learner, state, expected, cores):
    executor = over(learner, cores)
    assert_identical(meta_updated(executor, learner, state), expected)
    columns = executor.spent()
    assert (columns["hosts"], columns["hosts_lost"]) == (len(cores), 0)


def losing(what, time):
    """Lose a host when it is asked for the given time; count how often that happened."""
    happened = []

    def before(pool, asked, times, member):
        if (asked, times) == (what, time) and len(pool.members) > 1:
            pool.members.remove(member)
            happened.append(asked)

    return before, happened


@pytest.mark.parametrize(
    ("what", "time"),
    [("sample", 1), ("sample", 2), ("ask", 1), ("ask", 4), ("ask", 8), ("add", 1), ("add", 2), ("add", 4)],
)
def test_what_a_lost_host_had_to_do_others_do(learner, state, expected, what, time):
    """While it samples, in an epoch, while sums are handed on: the first host and the second, in both meta-updates."""
    before, happened = losing(what, time)
    executor = over(learner, (1, 1), before)
    assert_identical(meta_updated(executor, learner, state), expected)
    assert happened


def test_all_hosts_may_be_lost_where_another_comes(learner, state, expected):
    def before(pool, asked, times, _member):
        if (asked, times) == ("ask", 3):
            pool.members.clear()
            pool.add()

    executor = over(learner, (1, 1), before)
    assert_identical(meta_updated(executor, learner, state), expected)
    assert executor.spent()["hosts"] == 1


def test_tasks_that_end_every_host_are_named(learner, state):
    """Instead of starting hosts for ever."""

    def before(pool, asked, _times, _member):
        if asked == "sample":
            pool.members.clear()
            pool.add()

    with pytest.raises(NoHostsError, match=r"5 hosts were lost in one meta-update .* 4 tasks from number 0 on"):
        over(learner, (1,), before).adapt(learner.method.parameters(state), GOALS, jax.random.key(0), IDS)


def test_hosts_that_join_get_their_share(learner, state, expected):
    def before(pool, asked, times, _member):
        if (asked, times) == ("ask", 1):
            pool.add(2)

    executor = over(learner, (1,), before)
    assert_identical(meta_updated(executor, learner, state), expected)
    assert executor.spent()["hosts"] == 2


def test_what_it_costs_is_counted(learner, state):
    executor = over(learner, (1, 1))
    meta_updated(executor, learner, state, count=1)
    columns = executor.spent()
    entries = sum(x.size for x in jax.tree.leaves(state.parameters))
    # θ goes to both hosts for the rounds and for three questions, and a sum is handed on by each, in both epochs.
    assert columns["megabytes_communicated"] > (2 * 4 + 2 * 2) * entries * 4 / 1e6
    assert 0 <= columns["seconds_communication"] < 60
    assert columns["seconds_cpu_hosts"] > 0


def test_errors_name_the_task(learner, state):
    """By its place among all tasks of the meta-update."""
    executor = over(learner, (1, 1), family=BrokenFamily(horizon=HORIZON))
    with pytest.raises(NonFiniteError, match="observation became NaN or infinite in task 3") as error:
        executor.adapt(learner.method.parameters(state), GOALS, jax.random.key(0), IDS)
    assert error.value.task == 3


def test_adaptations_alone(learner, state):
    """As in an evaluation: nothing is kept, and tasks are identified by their places."""
    parameters, key = learner.method.parameters(state), jax.random.key(5)
    local = LocalExecutor(learner, HORIZON, FAMILY.simulate)
    expected = local.adapt(parameters, GOALS, key, keep_rounds=False)
    executor = over(learner, (1, 1))
    actual = executor.adapt(parameters, GOALS, key, keep_rounds=False)
    for one, other in zip(actual.rounds, expected.rounds, strict=True):
        np.testing.assert_array_equal(one.outcomes.average_return, other.outcomes.average_return)
    assert not executor.pool.members[0].actor._trials


def test_an_address_that_nobody_listens_at_is_refused_before_anything_begins():
    pytest.importorskip("ray")
    with pytest.raises(ConfigurationError, match=r"--ray 10\.0\.0\.1 is not possible; give local, auto, or HOST:PORT"):
        on_hosts("10.0.0.1", 2)


def test_other_methods_are_refused():
    for name in ("rl2", "e-maml"):
        with pytest.raises(ConfigurationError, match=r"cannot learn over hosts, .* as those of methods that remember"):
            require_split(build_method(tiny_config(algorithm=name), FAMILY))
    require_split(build_method(tiny_config(algorithm="maml"), FAMILY))
