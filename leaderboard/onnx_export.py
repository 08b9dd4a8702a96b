"""Turn a trained policy into an ONNX graph that anybody can play without its Python: see ``onnx_policy``.

Works for every agent whose ``policy()`` is a ``PlayerPolicy`` or a ``ContinuousSlotPolicy``, as all here are. Others
write the graph themselves, to the same interface.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from leaderboard.onnx_interface import OPSET, inputs, outputs
from offmarl_bench.agent import Agent
from offmarl_bench.continuous import GAUSSIAN
from offmarl_bench.continuous_policy import ContinuousSlotPolicy
from offmarl_bench.errors import OffmarlError
from offmarl_bench.policies import PlayerPolicy
from offmarl_bench.types import EnvSpec

if TYPE_CHECKING:
    import onnx

EXAMPLE_ROWS = 2
"""Rows in the example that the exporter traces; it treats 0 and 1 as special."""
EXTRA = "pip install 'offmarl-bench[onnx]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A graph and how sampled play is made of its outputs."""

    graph: bytes
    epsilon: float = 0.0
    softmax: bool = True
    noise: float | None = None


class _Row(nn.Module):
    """One agent's step as a function of tensors alone: what is traced."""

    def __init__(self, policy: PlayerPolicy | ContinuousSlotPolicy) -> None:
        super().__init__()
        # All networks become submodules, also those inside a player that is none: the tracer must see their weights.
        held = (part for a in policy.actors for part in ([a] if isinstance(a, nn.Module) else vars(a).values()))
        self.networks = nn.ModuleList(part for part in held if isinstance(part, nn.Module))
        self.actors = policy.actors
        self.register_buffer("who", torch.as_tensor(policy.assignment))
        self.register_buffer("shown", policy._ids.clone())
        self.widths = [int(a.initial(1).shape[-1]) for a in policy.actors]

    def step(
        self,
        obs: Float[Tensor, "K O"],
        last_action: Shaped[Tensor, "K *A"],
        agent: Int[Tensor, " K"],
        hidden: Float[Tensor, "K H"],
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "K H"]]:
        """Every distinct network steps every row; each row keeps what its own network said."""
        mine, ids = self.get_buffer("who")[agent], self.get_buffer("shown")[agent]
        kept, memory = None, hidden
        for k, (actor, width) in enumerate(zip(self.actors, self.widths, strict=True)):
            out, h = actor.step(obs, last_action, hidden[:, :width], ids)
            h = nn.functional.pad(h, (0, hidden.shape[1] - width)) if width else torch.zeros_like(hidden)
            chosen = (mine == k).unsqueeze(-1)
            kept = out if kept is None else torch.where(chosen, out, kept)
            memory = torch.where(chosen, h, memory)
        if kept is None:
            raise OffmarlError("a policy without networks cannot be exported")
        return kept, memory


class _Choosing(_Row):
    """A row of discrete actions."""

    def __init__(self, policy: PlayerPolicy) -> None:
        super().__init__(policy)
        self.rule = policy.rule

    def forward(
        self,
        obs: Float[Tensor, "K O"],
        legal: Bool[Tensor, "K A"],
        last_action: Int[Tensor, " K"],
        agent: Int[Tensor, " K"],
        hidden: Float[Tensor, "K H"],
    ) -> tuple[Float[Tensor, "K A"], Float[Tensor, "K H"]]:
        """Numbers per action, and the memory."""
        logits, memory = self.step(obs, last_action, agent, hidden)
        if self.rule is not None:
            logits = self.rule(logits.unsqueeze(1), legal.unsqueeze(1)).squeeze(1)
        # Illegal actions are removed by whoever plays; the mask here keeps `legal` an input, and numbers finite.
        least = torch.finfo(logits.dtype).min
        return torch.where(legal, logits.clamp(min=least), torch.full_like(logits, least)), memory


class _Setting(_Row):
    """A row of continuous actions."""

    def __init__(self, policy: ContinuousSlotPolicy) -> None:
        super().__init__(policy)
        self.action_size = policy.spec.A
        self.reader = policy.actors[0]  # all actors are of one kind, so any of them can read

    def forward(
        self,
        obs: Float[Tensor, "K O"],
        last_action: Float[Tensor, "K A"],
        agent: Int[Tensor, " K"],
        hidden: Float[Tensor, "K H"],
    ) -> tuple[Float[Tensor, "K A"], Float[Tensor, "K A"], Float[Tensor, "K H"]]:
        """Mean and log σ before tanh, and the memory; certain actors have nothing to draw, so their σ is not read."""
        raw, memory = self.step(obs, last_action, agent, hidden)
        if self.reader.kind == GAUSSIAN:
            mean, log_std = self.reader.law(raw)
        else:
            mean = raw[:, : self.action_size]
            log_std = torch.zeros_like(mean)
        return mean, log_std, memory


def _row_of(policy: PlayerPolicy | ContinuousSlotPolicy) -> _Row:
    return (_Choosing(policy) if isinstance(policy, PlayerPolicy) else _Setting(policy)).eval()


def _example(row: _Row, spec: EnvSpec) -> tuple[Tensor, ...]:
    k = EXAMPLE_ROWS
    last = (torch.full((k,), -1),) if spec.discrete else (torch.zeros(k, spec.A),)
    legal = (torch.ones(k, spec.A, dtype=torch.bool),) if spec.discrete else ()
    return torch.zeros(k, spec.O), *legal, *last, torch.zeros(k).long(), torch.zeros(k, max(1, *row.widths))


def _policy_of(agent: Agent) -> PlayerPolicy | ContinuousSlotPolicy:
    policy = agent.policy(greedy=False)
    if not isinstance(policy, PlayerPolicy | ContinuousSlotPolicy) or policy.assignment.ndim != 1:
        raise OffmarlError(
            f"{agent.name}: its policy is a {type(policy).__name__}, only a PlayerPolicy or ContinuousSlotPolicy is "
            "exported by itself; write one graph per seed to the interface in docs/leaderboard.md and put them in with "
            "--graphs DIR"
        )
    if any(bool(a.initial(1).any()) for a in policy.actors):
        raise OffmarlError(
            f"{agent.name}: its memory does not start at 0, as the interface wants; write the graph yourself"
        )
    return policy


def _without_traces(model: onnx.ModelProto) -> bytes:
    """The graph without what the exporter says about the machine it ran on (stack traces with paths)."""
    model.ClearField("doc_string")
    model.ClearField("metadata_props")
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    return bytes(model.SerializeToString(deterministic=True))


def export_policy(agent: Agent) -> Exported:
    """The graph of a trained agent's play.

    Raises:
        OffmarlError: a policy that is not made of networks, or the packages for it are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise OffmarlError(f"exporting a policy needs onnx and onnxscript: {EXTRA}") from e
    spec, policy = agent.spec, _policy_of(agent)
    row = _row_of(policy)
    example = _example(row, spec)
    rows = torch.export.Dim("K", min=1)
    chatty = logging.getLogger("torch.onnx")
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own making, nothing that a user could act on
            program = torch.onnx.export(
                row, example, dynamo=True, opset_version=OPSET, input_names=list(inputs(spec)),
                output_names=list(outputs(spec)), dynamic_shapes=tuple({0: rows} for _ in example), verbose=False,
                external_data=False,
            )  # fmt: skip
    except Exception as e:  # the exporter raises its own kinds, by the dozen
        raise OffmarlError(f"{agent.name}: cannot be exported to ONNX: {str(e).splitlines()[0]}") from e
    finally:
        chatty.setLevel(before)
    if program is None:
        raise OffmarlError(f"{agent.name}: the exporter gave nothing")
    graph = _without_traces(program.model_proto)
    if isinstance(policy, PlayerPolicy):
        return Exported(graph=graph, epsilon=policy.epsilon, softmax=not policy.greedy)
    return Exported(graph=graph, noise=policy.noise if policy.greedy else None)
