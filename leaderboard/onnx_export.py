"""Turn a trained policy into an ONNX graph that anybody can play without its Python: see ``onnx_policy``.

Works for every agent whose ``policy()`` is a ``PlayerPolicy`` (all that are built from recurrent networks here are).
Others write the graph themselves, to the same interface.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from leaderboard.onnx_interface import INPUTS, OPSET, OUTPUTS
from offmarl_bench.agent import Agent
from offmarl_bench.errors import OffmarlError
from offmarl_bench.policies import PlayerPolicy

if TYPE_CHECKING:
    import onnx

EXAMPLE_ROWS = 2
"""Rows in the example that the exporter traces; it treats 0 and 1 as special."""
EXTRA = "pip install 'offmarl-bench[onnx]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A graph and how sampled play is made of its outputs."""

    graph: bytes
    epsilon: float
    softmax: bool


class _Row(nn.Module):
    """One agent's step as a function of tensors alone: what is traced."""

    def __init__(self, policy: PlayerPolicy) -> None:
        super().__init__()
        # All networks become submodules, also those inside a player that is none: the tracer must see their weights.
        held = (part for a in policy.actors for part in ([a] if isinstance(a, nn.Module) else vars(a).values()))
        self.networks = nn.ModuleList(part for part in held if isinstance(part, nn.Module))
        self.policy = policy
        self.register_buffer("who", torch.as_tensor(policy.assignment))
        self.register_buffer("shown", policy._ids.clone())
        self.widths = [int(a.initial(1).shape[-1]) for a in policy.actors]

    def forward(
        self,
        obs: Float[Tensor, "K O"],
        legal: Bool[Tensor, "K A"],
        last_action: Int[Tensor, " K"],
        agent: Int[Tensor, " K"],
        hidden: Float[Tensor, "K H"],
    ) -> tuple[Float[Tensor, "K A"], Float[Tensor, "K H"]]:
        """Every distinct network steps every row; each row keeps what its own network said."""
        mine, ids = self.get_buffer("who")[agent], self.get_buffer("shown")[agent]
        logits, memory = None, hidden
        for k, (actor, width) in enumerate(zip(self.policy.actors, self.widths, strict=True)):
            out, h = actor.step(obs, last_action, hidden[:, :width], ids)
            h = nn.functional.pad(h, (0, hidden.shape[1] - width))
            chosen = (mine == k).unsqueeze(-1)
            logits = out if logits is None else torch.where(chosen, out, logits)
            memory = torch.where(chosen, h, memory)
        if self.policy.rule is not None and logits is not None:
            logits = self.policy.rule(logits.unsqueeze(1), legal.unsqueeze(1)).squeeze(1)
        if logits is None:
            raise OffmarlError("a policy without networks cannot be exported")
        # Illegal actions are removed by whoever plays; the mask here keeps `legal` an input, and numbers finite.
        least = torch.finfo(logits.dtype).min
        return torch.where(legal, logits.clamp(min=least), torch.full_like(logits, least)), memory


def _policy_of(agent: Agent) -> PlayerPolicy:
    policy = agent.policy(greedy=False)
    if not isinstance(policy, PlayerPolicy) or policy.assignment.ndim != 1:
        raise OffmarlError(
            f"{agent.name}: its policy is a {type(policy).__name__}, only a PlayerPolicy is exported by itself; write "
            "one graph per seed to the interface in docs/leaderboard.md and put them in with --graphs DIR"
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
    row = _Row(policy).eval()
    k = EXAMPLE_ROWS
    example: tuple[Any, ...] = (
        torch.zeros(k, spec.O), torch.ones(k, spec.A, dtype=torch.bool), torch.full((k,), -1), torch.zeros(k).long(),
        torch.zeros(k, max(row.widths)),
    )  # fmt: skip
    rows = torch.export.Dim("K", min=1)
    chatty = logging.getLogger("torch.onnx")
    before = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own making, nothing that a user could act on
            program = torch.onnx.export(
                row, example, dynamo=True, opset_version=OPSET, input_names=list(INPUTS), output_names=list(OUTPUTS),
                dynamic_shapes=tuple({0: rows} for _ in example), verbose=False, external_data=False,
            )  # fmt: skip
    except Exception as e:  # the exporter raises its own kinds, by the dozen
        raise OffmarlError(f"{agent.name}: cannot be exported to ONNX: {str(e).splitlines()[0]}") from e
    finally:
        chatty.setLevel(before)
    if program is None:
        raise OffmarlError(f"{agent.name}: the exporter gave nothing")
    return Exported(graph=_without_traces(program.model_proto), epsilon=policy.epsilon, softmax=not policy.greedy)
