"""The process in which a submission's policies play: ``python -m leaderboard.replay_child``, orders on stdin as JSON.

One line of JSON on stdout: ``{"found": …}``, or ``{"error": …, "fault": "bundle" | "here"}``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from leaderboard.replay import Order, load_policy
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.scoring import play


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """Let the operating system end this process when it takes more (where it knows how to)."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, wanted in ((resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_DATA, memory_bytes)):
        _, hard = resource.getrlimit(kind)
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (least, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def carry_out(policies: Path, orders: dict[str, Order]) -> dict[str, Any]:
    """Play every order; each policy is loaded once."""
    found: dict[str, Any] = {}
    loaded: dict[str, Any] = {}
    for name, order in tqdm(orders.items(), desc="replay", unit="game", disable=None):
        if order.stem not in loaded:
            loaded = {order.stem: load_policy(policies / f"{order.stem}.json")}
        played = play(loaded[order.stem], order.env_id, order.episodes, order.seed, order.greedy)
        wins = None if played.win_rate is None else round(played.win_rate * order.episodes)
        found[name] = {"returns": played.returns.tolist(), "wins": wins, "lengths": played.lengths.tolist()}
    return found


def main() -> int:
    """Read orders, play, answer."""
    request = json.loads(sys.stdin.read())
    limit(request["cpu_seconds"], request["memory_bytes"])
    answer: dict[str, Any]
    try:
        orders = {name: Order(**order) for name, order in request["orders"].items()}
        answer = {"found": carry_out(Path(request["policies"]), orders)}
    except (FormatError, SpecMismatch) as e:
        answer = {"error": str(e), "fault": "bundle"}
    except OffmarlError as e:
        answer = {"error": str(e), "fault": "here"}
    except (MemoryError, RuntimeError) as e:  # torch says RuntimeError for memory, too
        answer = {"error": str(e).splitlines()[0] if str(e) else type(e).__name__, "fault": "bundle"}
    sys.stdout.write(f"{json.dumps(answer)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
