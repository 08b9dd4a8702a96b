"""What a policy looks like as an ONNX graph: names, types and shapes of inputs and outputs.

One row is one agent at one time step. The graph is called once per agent with the rows of all lanes, so that no agent
can see another's observation: play is decentralised by construction, whatever the graph computes.
"""

from __future__ import annotations

from dataclasses import dataclass

from offmarl_bench.types import EnvSpec

OPSET = 18
"""Opset of the graphs that are made here; any from ``OPSET_LEAST`` on is played."""
OPSET_LEAST = 13
MAX_HIDDEN = 4096
"""Numbers of memory an agent may have."""

ROWS: int | None = None
WIDTH: int | None = None
"""Sizes that the graph chooses: any number of rows must do, the memory has one width."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output."""

    dtype: str
    shape: tuple[int | None, ...]
    """None: any number of rows, or the memory's width."""


def inputs(spec: EnvSpec) -> dict[str, Port]:
    """What a graph is given, in this order: K agents' observations, what they may do, did, who they are, memories.

    ``legal`` is there for discrete actions only. Before the first step ``last_action`` is −1 (discrete) or 0
    (continuous), and ``hidden`` is 0.
    """
    legal = {"legal": Port("bool", (ROWS, spec.A))} if spec.discrete else {}
    last = Port("int64", (ROWS,)) if spec.discrete else Port("float32", (ROWS, spec.A))
    return {
        "obs": Port("float32", (ROWS, spec.O)), **legal, "last_action": last, "agent": Port("int64", (ROWS,)),
        "hidden": Port("float32", (ROWS, WIDTH)),
    }  # fmt: skip


def outputs(spec: EnvSpec) -> dict[str, Port]:
    """What a graph answers, in this order: its decision and the new memories.

    Discrete: ``logits``, a number per action, any finite one where illegal. Continuous: ``mean`` and ``log_std`` of a
    normal distribution before tanh; greedy play is tanh(mean).
    """
    said = ("logits",) if spec.discrete else ("mean", "log_std")
    return {**{name: Port("float32", (ROWS, spec.A)) for name in said}, "next_hidden": Port("float32", (ROWS, WIDTH))}
