"""What a policy looks like as an ONNX graph: names, types and shapes of inputs and outputs.

One row is one agent at one time step. The graph is called once per agent with the rows of all lanes, so that no agent
can see another's observation: play is decentralised by construction, whatever the graph computes.
"""

from __future__ import annotations

from offmarl_bench.types import EnvSpec

OPSET = 18
"""Opset of the graphs that are made here; any from ``OPSET_LEAST`` on is played."""
OPSET_LEAST = 13

INPUTS = ("obs", "legal", "last_action", "agent", "hidden")
"""(K, O) float32; (K, A) bool; (K,) int64, −1 before the first step; (K,) int64; (K, H) float32, 0 at the start."""
OUTPUTS = ("logits", "next_hidden")
"""(K, A) float32, any finite number for illegal actions; (K, H) float32."""
TYPES = {
    "obs": "float32", "legal": "bool", "last_action": "int64", "agent": "int64", "hidden": "float32",
    "logits": "float32", "next_hidden": "float32",
}  # fmt: skip
MAX_HIDDEN = 4096
"""Numbers of memory an agent may have."""


def expected_shapes(spec: EnvSpec) -> dict[str, tuple[int | None, ...]]:
    """Shape of every input and output for an environment; None: any number of rows, or the memory's width."""
    rows: int | None = None
    return {
        "obs": (rows, spec.O), "legal": (rows, spec.A), "last_action": (rows,), "agent": (rows,),
        "hidden": (rows, None), "logits": (rows, spec.A), "next_hidden": (rows, None),
    }  # fmt: skip
