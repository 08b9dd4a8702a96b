"""OG-MARL's storage beside ours: the same episodes written as a Flashbax Vault and as our file, and both read in turns.

    pip install flashbax
    python benchmarks/vault.py smac/2s3z/low --episodes 512

A Vault has one row a step and no final observations; rewards and ends stand once for every agent, as OG-MARL writes
them. Each side is measured in raw bytes of its own arrays, in memory at the end; files are warm.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import offmarl_bench as ob
from offmarl_bench.doctor.report import diagnose

ROUNDS = 5
"""Each side is read this often, in turns; the best counts."""
MEGABYTE = 1e6
SECONDS = 3.0
"""How long batches are drawn."""
BATCH = 32
WINDOW = 10
"""Steps of a window, where windows are drawn."""
NAME, UID = "2s3z.vlt", "Low"


def experience(ds: ob.Dataset) -> dict[str, Any]:
    """The steps of a dataset in OG-MARL's layout, each array with a leading 1 (one lane)."""
    c, agents = ds.columns, ds.spec.N
    steps = ~c["is_last"]
    ends = np.concatenate([c["is_last"][1:], [True]])[steps]
    terminal = np.concatenate([c["is_terminal"][1:], [False]])[steps]

    def each(x: np.ndarray) -> np.ndarray:
        return np.repeat(x.astype(np.float32)[:, None], agents, axis=1)[None]

    found: dict[str, Any] = {
        "observations": c["observations"][steps][None],
        "actions": c["actions"][steps][None],
        "rewards": each(c["rewards"][steps]),
        "terminals": each(ends & terminal),
        "truncations": each(ends & ~terminal),
        "infos": {"state": c["state"][steps][None]},
    }
    if "legal_actions" in c:
        found["infos"]["legals"] = c["legal_actions"][steps][None].astype(np.float32)
    return found


def quiet(call: Callable[[], Any]) -> Any:
    """The package announces itself on stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call()


def best(call: Callable[[], Any], megabytes: float) -> tuple[float, float]:
    """MB per second by the clock and of processor time, of one reading."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return megabytes / (time.perf_counter() - wall), megabytes / (time.process_time() - cpu)


def per_second(call: Callable[[], Any]) -> float:
    """Calls a second."""
    call()
    count, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        call()
        count += 1
    return count / SECONDS


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="id or path")
    parser.add_argument("--episodes", type=int, default=512)
    args = parser.parse_args()
    try:
        import flashbax  # type: ignore[import-not-found,unused-ignore]
        import jax  # type: ignore[import-not-found,unused-ignore]
        from flashbax.buffers.trajectory_buffer import TrajectoryBufferState  # type: ignore[import-not-found,unused-ignore]
        from flashbax.vault import Vault  # type: ignore[import-not-found,unused-ignore]
    except ImportError as e:
        sys.exit(f"{e}: pip install flashbax")

    whole = ob.load_dataset(args.dataset)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ours.h5"
        ob.Dataset(whole.spec, whole.columns, whole.row_starts[: args.episodes], whole.lengths[: args.episodes]).save(
            file
        )
        ds = ob.load_dataset(file)
        rows = experience(ds)
        steps = rows["actions"].shape[1]
        state = TrajectoryBufferState(
            experience=jax.tree.map(jax.numpy.asarray, rows), current_index=jax.numpy.array(steps - 1),
            is_full=jax.numpy.array(False),
        )  # fmt: skip

        def vault() -> Any:
            return Vault(NAME, vault_uid=UID, rel_dir=folder)

        quiet(lambda: Vault(NAME, experience_structure=state.experience, vault_uid=UID, rel_dir=folder).write(state))
        raw = [sum(x.nbytes for x in leaves) / MEGABYTE for leaves in (ds.columns.values(), jax.tree.leaves(rows))]
        stored = [file.stat().st_size, sum(p.stat().st_size for p in (Path(folder) / NAME).rglob("*") if p.is_file())]
        readers: list[Callable[[], Any]] = [
            lambda: ob.load_dataset(file),
            lambda: jax.block_until_ready(quiet(lambda: vault().read()).experience),
        ]
        rates = [[best(read, size) for read, size in zip(readers, raw, strict=True)] for _ in range(ROUNDS)]
        g, key = np.random.default_rng(0), jax.random.PRNGKey(0)
        buffer = flashbax.make_trajectory_buffer(
            max_length_time_axis=steps, min_length_time_axis=WINDOW, sample_batch_size=BATCH, add_batch_size=1,
            sample_sequence_length=WINDOW, period=1,
        )  # fmt: skip
        held, draw = quiet(lambda: vault().read()), jax.jit(buffer.sample)
        drawn = [
            per_second(lambda: ds.sample(BATCH, generator=g, window=WINDOW)),
            per_second(lambda: jax.block_until_ready(draw(held, key).experience)),
        ]
        print(f"{args.dataset}, first {args.episodes} episodes, {steps} steps; flashbax {version('flashbax')}\n")
        print(f"| | raw MB | stored MB | MB/s by the clock | MB/s of CPU | batches/s, {BATCH} windows of {WINDOW} |")
        print("|---|---|---|---|---|---|")
        for k, name in enumerate(("ours", "Vault")):
            clock, cpu = (max(r[k][i] for r in rates) for i in (0, 1))
            print(f"| {name} | {raw[k]:.0f} | {stored[k] / MEGABYTE:.1f} | {clock:.0f} | {cpu:.0f} | {drawn[k]:.0f} |")
        print(f"\n`offmarl-bench doctor` finds {len(_errors(Path(folder) / NAME / UID))} errors in the Vault.")


def _errors(path: Path) -> list[Any]:
    return [f for f in quiet(lambda: diagnose([str(path)])).patients[0].findings if f.severity == "error"]


if __name__ == "__main__":
    main()
