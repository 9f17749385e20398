"""What is exported for machines without JAX acts and infers embeddings as JAX does, for networks of every kind."""

import dataclasses
import json
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

import tesp
from helpers.data import random_episodes, with_garbage
from helpers.documents import ROOT, blocks_of
from helpers.running import tiny_config
from helpers.trees import random_like
from tesp import acting
from tesp.agents.adapting import AdaptedAgent, MetaLearner, Origin
from tesp.agents.onnx_graphs import IR_VERSION, OPSET, encoder_graph, model_of, policy_graph
from tesp.agents.rounds import AdaptationRound
from tesp.building import build_learner
from tesp.episodes.rollout import Learner, Progress
from tesp.interface import Interface
from tesp.methods.gradient.building import build
from tesp.methods.gradient.method import Belief
from tesp.methods.gradient.task_encoding import TaskEncoding
from tesp.methods.gradient.tesp import TESP
from tesp.methods.registry import METHODS
from tesp.networks.hypernetwork import HyperPolicy
from tesp.networks.policy import CONDITIONINGS, Policy
from tesp.networks.task_encoder import TaskEncoder
from tesp.storage.files import written_beside

#: Bounds that single precision does not hold, and of different ranges.
INTERFACE = Interface((2,), (-0.1, 0.3), (0.1, 7.7), 2, 6)
LOW, HIGH = np.array(INTERFACE.action_low), np.array(INTERFACE.action_high)


def run_model(model, **inputs):
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    assert {result.dtype for result in found} == {np.dtype(np.float32)}
    return found


def session_of(path):
    session = onnxruntime.InferenceSession(path)
    return session, {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}


def assert_agree(found, expected, most=1e-6):
    """To 1e-6, or to 1e-6 of numbers above 1."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max() <= most, np.abs(found - expected).max()


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("kind", [*CONDITIONINGS, "no embedding", "least std"])
def test_policies(kind, rows):
    size, least_std = (0, 0.0) if kind == "no embedding" else (3, 0.8 if kind == "least std" else 0.0)
    create = CONDITIONINGS.get(kind, Policy).create
    policy = random_like(create(jax.random.key(0), 2, size, 2, (32, 24), least_std), 1, 0.4)
    observation, embedding = normal(2, rows, 2), normal(3, rows, size)
    model = model_of(policy_graph(policy, INTERFACE, size, "h"), "1.0", {})
    inputs = {"observation": observation} | ({"embedding": embedding} if size else {})
    action, mean, log_std = run_model(model, **inputs)
    expected = jax.jit(jax.vmap(lambda s, h: policy(s, h)))(observation, embedding)
    assert_agree(mean, expected.mean)
    assert_agree(log_std, expected.log_std)
    if kind == "least std" and rows > 1:
        assert log_std.min() == np.float32(np.log(0.8)) < log_std.max()
    scaled = LOW + (np.clip(np.asarray(expected.mean, np.float64), -1.0, 1.0) + 1.0) / 2.0 * (HIGH - LOW)
    assert np.all(np.abs(action - scaled) <= 0.5e-6 * (HIGH - LOW) + np.spacing(np.float32(HIGH)))


@pytest.mark.parametrize("kind", CONDITIONINGS)
def test_policies_of_the_papers_size(kind):
    """Sums of 256 products are rounded by up to 1e-6, here and there."""
    create = jax.jit(lambda key: CONDITIONINGS[kind].create(key, 2, 3, 2, (256, 256)))
    policy = create(jax.random.key(0))
    observation, embedding = normal(2, 400, 2), normal(3, 400, 3)
    # Of outputs as large as actions are, not as small as those of a fresh policy.
    large = eqx.tree_at(lambda p: p.output.weight, policy, 100 * policy.output.weight)
    model = model_of(policy_graph(large, INTERFACE, 3, "h"), "1.0", {})
    found = run_model(model, observation=observation, embedding=embedding)[1:]
    expected = jax.jit(jax.vmap(lambda s, h: large(s, h)))(observation, embedding)
    assert np.abs(found).max() > 1
    for one, other in zip(found, expected, strict=True):
        assert_agree(one, other, 2e-6)


@pytest.fixture(scope="module")
def encoder():
    return random_like(TaskEncoder.create(jax.random.key(0), 2, 2, 24, 3), 1, 0.3)


@pytest.fixture(scope="module")
def encoder_model(encoder):
    return model_of(encoder_graph(encoder, INTERFACE), "1.0", {})


@pytest.mark.parametrize("garbage", [0.0, np.nan, 1e30])
@pytest.mark.parametrize("lengths", [[1], [6], [45, 1, 0, 44, 20], [0, 0]], ids=str)
def test_encoders_on_padded_episodes(encoder, encoder_model, lengths, garbage):
    count, steps = len(lengths), max(*lengths, 3)
    drawn = random_episodes(4, count, steps=steps, observation=2, action=2, lengths=np.array(lengths))
    episodes = with_garbage(drawn, garbage)
    inputs = {name: np.asarray(getattr(episodes, name)) for name in ("observation", "action", "reward")}
    (found,) = run_model(encoder_model, **inputs, length=np.array(lengths))
    assert_agree(found, jax.jit(TaskEncoder.__call__)(encoder, episodes)[None])
    assert np.any(found) == any(lengths)


def learner_of(algorithm, **overrides) -> MetaLearner:
    """A learner that nobody trained, with large weights."""
    config = tiny_config(algorithm=algorithm, **overrides)
    learner = build_learner(config, INTERFACE)
    fresh = jax.eval_shape(lambda key: learner.method.parameters(learner.method.init(key)), jax.random.key(0))
    drawn = random_like(fresh, 1, 0.5)
    if hasattr(drawn, "scaling"):
        drawn = drawn._replace(scaling=jax.tree.map(jnp.abs, drawn.scaling))
    return MetaLearner(config, INTERFACE, drawn, learner, Origin("some run", 7))


def agent_of(learner, episodes=(5, 6, 1)) -> AdaptedAgent:
    """An agent of the learner that has had three fast-updates of unknown effect."""
    method, parameters = learner.learner.method, learner.parameters
    adapted, task = random_like(parameters.adapted, 2, 0.5), jnp.array([0.4, -0.3])
    buffer = None
    if method.algorithm.warm_up:
        buffer = random_episodes(5, len(episodes), steps=8, observation=2, action=2, lengths=np.array(episodes))
    embedding = method.algorithm.embedding(adapted, buffer, task)
    belief = Belief(adapted, adapted, buffer, task, embedding, jnp.zeros(()))
    history = [AdaptationRound(3, *[np.zeros(1)] * 3, outcomes=None)]
    progress = Progress(jax.tree.map(lambda x: np.asarray(x)[None], belief), None, 3)
    return AdaptedAgent(learner, method.agent(parameters, belief), np.asarray(embedding), history, 0, progress)


#: MAESN draws a latent for every episode, which is refused.
KINDS = {name: (name, {}) for name, e in METHODS.items() if e.algorithm is not None and name != "maesn"} | {
    f"{name} modulated": (name, {"conditioning": "modulate"}) for name in ("tesp", "adapt-sv", "oracle", "tesp-set")
}


@pytest.fixture(scope="module", params=KINDS)
def every(request):
    algorithm, overrides = KINDS[request.param]
    return learner_of(algorithm, **overrides)


def has_encoder(learner):
    return isinstance(learner.learner.method.algorithm, TaskEncoding)


def test_agents(every, tmp_path):
    learner = every
    agent = agent_of(learner)
    written = tesp.export_onnx(agent, tmp_path / "new" / "robot")
    names = ["policy.onnx"] + ["encoder.onnx", "buffer.npz"] * has_encoder(learner)
    assert [path.name for path in written] == names
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(names)
    session, told = session_of(written[0])
    size = learner.learner.method.algorithm.embedding_size
    assert told["embedding"] == (agent.embedding.tolist() if size else None)
    assert told["fast_updates"] == 3
    observation = normal(0, 50, 2)
    inputs = {"observation": observation} | ({"embedding": np.tile(agent.embedding, (50, 1))} if size else {})
    action = session.run(["action"], inputs)[0]
    expected = agent.predict(observation, deterministic=True)[0]
    assert np.all(np.abs(action - expected) <= 0.5e-6 * (HIGH - LOW) + np.spacing(np.float32(HIGH)))
    assert np.all((action >= LOW) & (action <= HIGH))
    if has_encoder(learner):
        encoder, told = session_of(written[1])
        with np.load(written[2]) as file:
            stored = dict(file)
        assert stored["length"].tolist() == [5, 6, 1]
        assert stored["observation"].shape == (3, 6, 2)
        assert_agree(encoder.run(None, stored)[0], agent.embedding[None])
        assert told["buffer_size"] == (None if learner.config.algorithm == "tesp-v1" else 2)


def test_learners(every, tmp_path):
    """What acts before any fast-update, and what it begins with."""
    learner = every
    policy, *others = tesp.export_onnx(learner, tmp_path)
    assert [path.name for path in others] == ["encoder.onnx"] * has_encoder(learner)
    session, told = session_of(policy)
    belief = learner.learner.method.prior(learner.parameters, jnp.zeros(2))
    algorithm = learner.config.algorithm
    assert told["embedding"] == (belief.embedding.tolist() if len(belief.embedding) and algorithm != "oracle" else None)
    assert (told["method"], told["family"], told["fast_updates"]) == (algorithm, "point", None)
    assert (told["run"], told["meta_update"]) == ("some run", 7)
    assert (told["action_low"], told["action_high"]) == (LOW.tolist(), HIGH.tolist())
    assert (told["observation_shape"], told["horizon"]) == ([2], 6)
    assert list(told["inputs"]) == [one.name for one in session.get_inputs()]
    assert list(told["outputs"]) == [one.name for one in session.get_outputs()]


#: Methods that remember: the plain ones, and all that their networks may have besides.
REMEMBERING = {
    "rl2": ("rl2", {}),
    "rl2, deeper": ("rl2", {"policy_units": (8, 5), "least_std": 0.8}),
    "rl2, hypernetwork": ("rl2", {"head": "hypernetwork"}),
    "rl2, deeper hypernetwork": ("rl2", {"head": "hypernetwork", "policy_units": (4, 3), "least_std": 0.8}),
    "varibad": ("varibad", {}),
}


@pytest.fixture(scope="module", params=REMEMBERING)
def remembering(request):
    algorithm, overrides = REMEMBERING[request.param]
    return learner_of(algorithm, **overrides)


def remembering_agent(learner) -> AdaptedAgent:
    """An agent of the learner that remembers something."""
    method = learner.learner.method
    belief = random_like(method.prior(learner.parameters, jnp.zeros(2)), 3, 0.5)
    progress = Progress(jax.tree.map(lambda x: np.asarray(x)[None], belief), None, 1)
    history = [AdaptationRound(1, *[np.zeros(1)] * 3, outcomes=None)]
    embedding = method.representation(learner.parameters, belief)
    return AdaptedAgent(learner, method.agent(learner.parameters, belief), np.asarray(embedding), history, 0, progress)


@pytest.mark.parametrize("goes_on", [False, True], ids=["begins anew", "goes on"])
def test_agents_that_remember(remembering, tmp_path, goes_on):
    """Several robots at once, whose episodes begin at different steps."""
    agent = remembering_agent(remembering)
    agent.goes_on = goes_on
    made = isinstance(remembering.parameters.network.heads.policy, HyperPolicy)
    (path,) = tesp.export_onnx(agent, tmp_path / "robot")
    session, told = session_of(path)
    assert told["fast_updates"] == 1
    rows, steps = 3, 7
    generator = np.random.default_rng(0)
    start = {name: np.tile(np.asarray(x, np.float32), (rows, *[1] * np.ndim(x))) for name, x in told["start"].items()}
    before, state, reward = start, None, np.zeros(rows, np.float32)
    for step in range(steps):
        observation = generator.normal(size=(rows, 2)).astype(np.float32) * 2
        begins = np.full(rows, True) if step == 0 else generator.random(rows) < 0.3
        expected, state = agent.predict(observation, state, begins, deterministic=True, reward=reward)
        if step and not goes_on:
            before = {
                name: np.where(begins.reshape(-1, *[1] * (x.ndim - 1)), start[name], x) for name, x in before.items()
            }
        inputs = {"observation": observation, "begins": begins, **before}
        found = dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))
        most = 1.5e-6 if made else 0.5e-6
        assert np.all(np.abs(found["action"] - expected) <= most * (HIGH - LOW) + np.spacing(np.float32(HIGH)))
        assert_agree(found["next_memory"], state.memory.state)
        # Now and then further away than networks are told.
        reward = (generator.normal(size=rows) * 10.0 ** generator.integers(0, 3, rows)).astype(np.float32)
        # Weights that are made are rounded before anything is multiplied with them.
        assert_agree(found["mean"], state.action, 3e-6 if made else 1e-6)
        # From what JAX remembers, so that no rounding adds up.
        before = {"memory": state.memory.state, "action_before": state.action, "reward_before": reward}
    assert np.abs(found["action"] - found["action"][0]).max() > 0.01 * (HIGH - LOW).max()


def test_learners_that_remember(remembering, tmp_path):
    """They begin with nothing in mind, and with the reward that tells nothing."""
    (path,) = tesp.export_onnx(remembering, tmp_path)
    session, told = session_of(path)
    prior = remembering.learner.method.prior(remembering.parameters, jnp.zeros(2))
    assert told["start"]["memory"] == [0.0] * len(prior.state)
    assert told["start"]["action_before"] == [0.0, 0.0]
    assert told["start"]["reward_before"] == float(remembering.parameters.scaling.reward.mean)
    assert (told["embedding"], told["fast_updates"]) == (None, None)
    assert list(told["inputs"]) == [one.name for one in session.get_inputs()]
    assert list(told["outputs"]) == [one.name for one in session.get_outputs()]
    distribution = session.run(
        ["mean", "log_std"],
        {
            "observation": normal(0, 1, 2),
            "begins": np.array([True]),
            **{name: np.asarray([x], np.float32) for name, x in told["start"].items()},
        },
    )
    seen = acting.Seen(jnp.asarray(normal(0, 1, 2)[0]), jnp.zeros(2), jnp.zeros(()), jnp.asarray(True))
    agent = remembering.learner.method.agent(remembering.parameters, prior)
    behaviour = agent.act(prior, seen, jnp.zeros(2)).behaviour
    most = 3e-6 if isinstance(remembering.parameters.network.heads.policy, HyperPolicy) else 1e-6
    assert_agree(distribution[0][0], behaviour.mean, most)
    assert_agree(distribution[1][0], behaviour.log_std, most)


def test_versions(learner, tmp_path):
    """Old runtimes read these; a later one would need more of them."""
    for path in tesp.export_onnx(learner, tmp_path):
        model = onnx.load(path)
        assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)] == [("", 17)]
        assert model.ir_version == IR_VERSION == 8
        assert model.producer_version == tesp.__version__


def test_the_page_needs_neither_jax_nor_this_library(learner, tmp_path):
    tesp.export_onnx(agent_of(learner), tmp_path / "robot")
    tesp.export_onnx(learner_of("rl2"), tmp_path / "remembering")
    blocks = [block for _, block in blocks_of(ROOT / "docs" / "deploying.md", "python") if "tesp" not in block]
    assert len(blocks) == 6
    missing = "import sys\nsys.modules |= dict.fromkeys(['tesp', 'jax', 'equinox', 'onnx', 'gymnasium'])\n"
    command = [sys.executable, "-W", "error", "-c", missing + "\n".join(blocks)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("mean return: -") == 2
    assert done.stdout.count("\nreturn: -") == 2


@pytest.fixture(scope="module")
def learner():
    return learner_of("tesp")


def of_another_kind(known):
    """The same in a class of one's own, which may override anything."""
    other = object.__new__(type("Other", (type(known),), {}))
    for name, value in vars(known).items():
        object.__setattr__(other, name, value)
    return other


class TestRefuses:
    def test_without_the_package(self, learner, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(tesp.ConfigurationError, match=r"pip install 'tesp\[onnx\]'"):
            tesp.export_onnx(learner, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_stages_and_what_is_neither(self, learner, tmp_path):
        stage = agent_of(learner)
        stage.progress = None
        with pytest.raises(tesp.ConfigurationError, match="A stage of an adaptation cannot be exported"):
            tesp.export_onnx(stage, tmp_path / "new")
        with pytest.raises(
            tesp.ConfigurationError, match=r"A PosixPath cannot be exported as ONNX; give what tesp\.load"
        ):
            tesp.export_onnx(tmp_path, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_a_policy_of_ones_own(self, tmp_path):
        class Other(Policy):
            pass

        maml = learner_of("maml")
        policy = Other(maml.parameters.adapted.hidden, maml.parameters.adapted.output)
        changed = dataclasses.replace(maml, parameters=maml.parameters._replace(adapted=policy))
        with pytest.raises(tesp.ConfigurationError, match="'maml' cannot be exported as ONNX: its policy is a Other"):
            tesp.export_onnx(changed, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("algorithm", "part", "told"),
        [
            ("rl2", lambda n: n, "its network is a Other, and only RL2Network and VariBADNetwork of"),
            ("rl2", lambda n: n.memory, "its memory is a Other, and only GRU of"),
            ("rl2", lambda n: n.heads.policy, "its policy is a Other, and only Policy and HyperPolicy of"),
            ("varibad", lambda n: n.encoder, "its encoder is a Other, and only Encoder of"),
            ("varibad", lambda n: n.memory, "its memory is a Other, and only GRU of"),
        ],
    )
    def test_networks_of_ones_own_that_remember(self, algorithm, part, told, tmp_path):
        """They may compute anything."""
        learner = learner_of(algorithm)
        network = learner.parameters.network
        known = part(network)
        other = of_another_kind(known)
        changed = other if known is network else eqx.tree_at(lambda n: part(n), network, other)
        learner = dataclasses.replace(learner, parameters=learner.parameters._replace(network=changed))
        with pytest.raises(tesp.ConfigurationError, match=f"'{algorithm}' cannot be exported as ONNX: {told}"):
            tesp.export_onnx(learner, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_a_method_of_ones_own_that_remembers(self, tmp_path):
        rl2 = learner_of("rl2")
        method = of_another_kind(rl2.learner.method)
        changed = dataclasses.replace(rl2, learner=Learner(method, rl2.config.sampling))
        with pytest.raises(tesp.ConfigurationError, match="it is a Other, and only methods that adapt by gradients"):
            tesp.export_onnx(changed, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_an_embedding_of_ones_own(self, learner, tmp_path):
        class Reader(TESP):
            pass

        config = learner.config
        method = build(config.method, Reader, "reader", INTERFACE, config.sampling)
        changed = dataclasses.replace(learner, learner=Learner(method, config.sampling))
        with pytest.raises(tesp.ConfigurationError, match="how its Reader computes an embedding is not known"):
            tesp.export_onnx(changed, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_to_mix_exports(self, learner, tmp_path):
        tesp.export_onnx(agent_of(learner), tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(tesp.RunFolderError, match=r"buffer\.npz is of another export"):
            tesp.export_onnx(learner, tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_to_write_half(self, learner, tmp_path, monkeypatch):
        tesp.export_onnx(learner, tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}

        def full(path):
            if path.name.startswith("encoder"):
                raise OSError(28, "No space left on device")
            return written_beside(path)

        monkeypatch.setattr("tesp.agents.exporting.written_beside", full)
        with pytest.raises(tesp.RunFolderError, match="cannot be written: No space left on device"):
            tesp.export_onnx(learner_of("tesp", seed=1, embedding_size=3), tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
