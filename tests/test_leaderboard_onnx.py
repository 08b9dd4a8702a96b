"""Policies as ONNX graphs: they play what the agent plays, one agent at a time, and hostile ones are not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from leaderboard.onnx_check import MAX_NODES, check_graph
from leaderboard.onnx_continuous import OnnxContinuousPolicy
from leaderboard.onnx_export import export_policy
from leaderboard.onnx_interface import inputs
from leaderboard.onnx_policy import OnnxPolicy
from leaderboard.replay import load_policy
from leaderboard.submit import write_policy
from offmarl_bench.agent import make_agent
from offmarl_bench.envs import make_env
from offmarl_bench.envs.toy import SPECS
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.evaluation import evaluate
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds, generator
from tests.toy_data import SPEC, shaken

WIDTH = 4
F, B, I = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64  # noqa: E741
Model = onnx.ModelProto


def model(
    nodes: list[onnx.NodeProto] | None = None,
    o: int = SPEC.O,
    width: int = WIDTH,
    opset: int = 18,
    rows: str | int = "K",
    kind: int = F,
) -> Model:
    """The smallest policy: the first A numbers of the observation are the outputs."""
    taken = [
        helper.make_tensor_value_info(name, dtype, shape)
        for name, dtype, shape in zip(
            inputs(SPEC), (F, B, I, I, F), ([rows, o], [rows, SPEC.A], [rows], [rows], [rows, width]), strict=True
        )
    ]
    given = [
        helper.make_tensor_value_info("logits", kind, [rows, SPEC.A]),
        helper.make_tensor_value_info("next_hidden", F, [rows, width]),
    ]
    cut = [helper.make_tensor(n, I, [1], [v]) for n, v in (("from", 0), ("to", SPEC.A), ("axis", 1))]
    nodes = nodes or [
        helper.make_node("Slice", ["obs", "from", "to", "axis"], ["logits"]),
        helper.make_node("Identity", ["hidden"], ["next_hidden"]),
    ]
    graph = helper.make_graph(nodes, "policy", taken, given, cut)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def stored(tmp_path: Path, made: Model) -> Path:
    path = tmp_path / "policy.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_a_graph_plays_and_is_told_what_each_agent_sees(tmp_path: Path) -> None:
    policy = OnnxPolicy(stored(tmp_path, model()), SPEC)
    policy.reset(2)
    obs = np.random.default_rng(0).random((2, SPEC.N, SPEC.O)).astype(np.float32)
    legal = np.ones((2, SPEC.N, SPEC.A), bool)
    action, logprob = policy.decide(obs, legal, np.random.default_rng(0))
    np.testing.assert_array_equal(action, obs[..., : SPEC.A].argmax(-1))
    assert (str(action.dtype), str(logprob.dtype), float(abs(logprob).max())) == ("int32", "float32", 0.0)
    legal[..., action[0, 0]] = False
    assert not (policy.decide(obs, legal, np.random.default_rng(0))[0] == action[0, 0]).any()
    policy.keep(np.array([1]))
    policy.decide(obs[1:], None, np.random.default_rng(0))
    with pytest.raises(SpecMismatch, match="2 lanes of observations, but the policy was reset for 1"):
        policy.decide(obs, legal, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["sit", "mabcq"])
def test_an_exported_agent_plays_the_same_games(name: str, tmp_path: Path) -> None:
    """sit: several networks, chosen by type; mabcq: two networks side by side, a rule, and ε-greedy play."""
    agent = make_agent(name, SPEC, seed=3)
    shaken(agent)
    exported = export_policy(agent)
    path = tmp_path / "policy.onnx"
    path.write_bytes(exported.graph)
    assert b"/site-packages/" not in exported.graph, "traces of the machine it was made on"
    env, seeds = make_env(SPEC.id, 16), episode_seeds(0, "evaluate", 0, 16)
    for greedy in (True, False):
        graph = OnnxPolicy(path, SPEC, greedy=greedy, epsilon=exported.epsilon, softmax=exported.softmax)
        theirs = rollout(env, agent.policy(greedy), seeds, generator(0, "evaluate"), record=True)
        ours = rollout(env, graph, seeds, generator(0, "evaluate"), record=True)
        for a, b in zip(theirs.episodes or [], ours.episodes or [], strict=True):
            np.testing.assert_array_equal(a.actions, b.actions)
    assert (exported.epsilon, exported.softmax) == ((0.0, True) if name == "sit" else (0.05, False))


TARGET = SPECS["target"]


@pytest.mark.parametrize(
    ("name", "noise"),
    [("sit", None), ("bc", None), ("icq", None), ("macql", None), ("mabcq", 0.1), ("facmac", 0.1)],
)
def test_an_exported_agent_of_continuous_actions_plays_the_same_games(
    name: str, noise: float | None, tmp_path: Path
) -> None:
    """bc, icq, macql and sit draw from a distribution of their own; mabcq (two memories) and facmac add noise."""
    agent = make_agent(name, TARGET, seed=3)
    shaken(agent)
    exported = export_policy(agent)
    path = tmp_path / "policy.onnx"
    path.write_bytes(exported.graph)
    assert exported.noise == noise
    env, seeds = make_env(TARGET.id, 16), episode_seeds(0, "evaluate", 0, 16)
    for greedy in (True, False):
        graph = OnnxContinuousPolicy(path, TARGET, greedy=greedy, noise=exported.noise)
        theirs = rollout(env, agent.policy(greedy), seeds, generator(0, "evaluate"), record=True)
        ours = rollout(env, graph, seeds, generator(0, "evaluate"), record=True)
        for a, b in zip(theirs.episodes or [], ours.episodes or [], strict=True):
            np.testing.assert_allclose(a.actions, b.actions, atol=1e-5)
            assert a.behavior_logprob is not None
            assert b.behavior_logprob is not None
            np.testing.assert_allclose(a.behavior_logprob, b.behavior_logprob, atol=1e-3)
        assert np.ptp([e.actions for e in theirs.episodes or []]) > 0.01, "nothing was compared"


def test_a_submitted_graph_is_replayed_by_how_its_record_says_it_plays(tmp_path: Path) -> None:
    agent = make_agent("facmac", TARGET)
    result = evaluate(agent, TARGET.id, episodes=2)
    (tmp_path / "policies").mkdir()
    write_policy(tmp_path, "mine", agent, result, "onnx")
    graph = load_policy(tmp_path / "policies/mine.json")
    sampled, greedy = graph.policy(greedy=False), graph.policy()
    assert isinstance(sampled, OnnxContinuousPolicy)
    assert isinstance(greedy, OnnxContinuousPolicy)
    assert (sampled.noise, greedy.noise) == (0.1, 0.0)


def test_no_agent_can_see_another(tmp_path: Path) -> None:
    """A graph that averages its rows averages lanes of one agent: what the others see does not reach it."""
    mean = helper.make_node("ReduceMean", ["obs", "zero"], ["all"], keepdims=1)
    nodes = [
        helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("z", I, [1], [0])),
        mean,
        helper.make_node("Slice", ["all", "from", "to", "axis"], ["mine"]),
        helper.make_node("Shape", ["legal"], ["size"]),
        helper.make_node("Expand", ["mine", "size"], ["logits"]),
        helper.make_node("Identity", ["hidden"], ["next_hidden"]),
    ]
    policy = OnnxPolicy(stored(tmp_path, model(nodes)), SPEC)
    obs = np.random.default_rng(0).random((3, SPEC.N, SPEC.O)).astype(np.float32)
    played = []
    for change in (0.0, 100.0):
        seen = obs.copy()
        seen[:, 1:, 0] += change
        policy.reset(3)
        played.append(policy.decide(seen, None, np.random.default_rng(0))[0])
    np.testing.assert_array_equal(played[0][:, 0], played[1][:, 0])
    assert (played[0][:, 1:] != played[1][:, 1:]).any()


def test_an_agent_that_is_no_player_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = make_agent("bc", SPEC)
    monkeypatch.setattr(type(odd), "policy", lambda self, greedy=True: UniformPolicy(self.spec))
    with pytest.raises(OffmarlError, match=r"its policy is a UniformPolicy, only .* --graphs DIR"):
        export_policy(odd)


def external(made: Model) -> None:
    tensor = made.graph.initializer[0]
    tensor.ClearField("int64_data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def looping(made: Model) -> None:
    body = helper.make_graph([], "body", [], [])
    made.graph.node.append(helper.make_node("Loop", [""], ["x"], body=body))


def hidden_graph(made: Model) -> None:
    node = helper.make_node("Identity", ["hidden"], ["y"])
    node.attribute.append(helper.make_attribute("g", helper.make_graph([], "g", [], [])))
    made.graph.node.append(node)


def bomb(made: Model) -> None:
    made.graph.initializer[0].dims[:] = [2**40]


def function(made: Model) -> None:
    made.functions.append(helper.make_function("mine", "F", [], [], [], [helper.make_opsetid("", 18)]))


HOSTILE: dict[str, tuple[Callable[[Model], object], str]] = {
    "file beside it": (external, "is in another file; a graph must hold all its data"),
    "loop": (looping, "operator 'Loop' of domain '' is not played"),
    "custom operator": (lambda m: m.graph.node.add(op_type="System", domain="evil"), "'System' of domain 'evil'"),
    "random numbers": (lambda m: m.graph.node.add(op_type="RandomNormal"), "'RandomNormal' of domain ''"),
    "graph in an attribute": (hidden_graph, "holds a graph inside or a sparse tensor"),
    "tensor beyond the file": (bomb, r"claims shape \[1099511627776\], more than the file holds"),
    "negative tensor": (lambda m: m.graph.initializer[0].dims.append(-1), "claims shape"),
    "no type": (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "has type 99"),
    "second operator set": (lambda m: m.opset_import.add(domain="evil", version=1), "operator sets"),
    "old operator set": (
        lambda m: setattr(m.opset_import[0], "version", 7),
        "expected the standard one from version 13",
    ),
    "new format": (lambda m: setattr(m, "ir_version", 99), "IR version 99"),
    "function": (function, "functions or training of its own"),
    "many nodes": (lambda m: m.graph.node.extend([m.graph.node[0]] * MAX_NODES), "2002 nodes, at most 2000"),
    "escape in a name": (lambda m: setattr(m.graph.node[0], "name", "\x1b[2J"), "unusual characters"),
    "other inputs": (lambda m: setattr(m.graph.input[0], "name", "state"), "inputs are .* expected obs, legal"),
    "one output": (lambda m: m.graph.output.pop(), "outputs are"),
    "sparse": (lambda m: m.graph.sparse_initializer.add(), "holds sparse tensors"),
}


@pytest.mark.parametrize(("spoil", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_graph_is_refused_before_it_is_run(
    spoil: Callable[[Model], object], words: str, tmp_path: Path
) -> None:
    made = model()
    spoil(made)
    with pytest.raises(FormatError, match=words) as refused:
        check_graph(stored(tmp_path, made), SPEC)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (model(o=7), r"obs has shape \(any, 7\), expected \(any, 6\) for toy/signals"),
        (model(width=0), "wide, expected one number from 1"),
        (model(width=5000), "wide, expected one number from 1"),
        (model(rows=1), r"obs has shape \(1, 6\)"),
        (model(kind=TensorProto.DOUBLE), "logits has type float64, expected float32"),
        (model(kind=TensorProto.STRING), "logits has type object, expected float32"),
    ],
    ids=["sizes", "no memory", "vast memory", "one row", "double", "text"],
)
def test_a_graph_for_something_else_is_refused(made: Model, words: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=words):
        check_graph(stored(tmp_path, made), SPEC)


def test_what_is_no_graph_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    for content in (b"\x80\x04cos\nsystem\n", b"", b"\x08" * 100):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"cannot be read as an ONNX graph|IR version 0|operator sets \[\]"):
            check_graph(path, SPEC)
    with pytest.raises(FormatError, match=r"inputs are .*'legal'.*, expected obs, last_action, agent, hidden in this"):
        check_graph(stored(tmp_path, model()), SPECS["target"])


def test_a_graph_that_lies_about_its_shapes_or_divides_by_zero_is_stopped_in_play(tmp_path: Path) -> None:
    obs = np.zeros((2, SPEC.N, SPEC.O), np.float32)
    log = [helper.make_node("Slice", ["obs", "from", "to", "axis"], ["x"]), helper.make_node("Log", ["x"], ["logits"])]
    whole = [helper.make_node("Identity", ["obs"], ["logits"])]
    rest = helper.make_node("Identity", ["hidden"], ["next_hidden"])

    def game(nodes: list[onnx.NodeProto]) -> None:
        policy = OnnxPolicy(stored(tmp_path, model([*nodes, rest])), SPEC)
        policy.reset(2)
        policy.decide(obs, None, np.random.default_rng(0))

    with pytest.raises(FormatError, match="gave numbers that are not finite"):
        game(log)
    with pytest.raises(FormatError, match=r"onnxruntime refuses the graph|gave shapes|fails while it plays"):
        game(whole)
