"""What stage III of SIT adds to what stage II draws: its settings side by side, on one stage I a seed.

    python benchmarks/stage3.py mpe/CN_3ls3l/low mpe/CN_3ls3l/medium --seeds 3

Stage I is trained once for each dataset and seed; every setting then learns from the same decomposition and the same
batches. Prints a Markdown table of greedy / sampled mean returns over episodes that neither ``evaluate`` nor a learning
curve ever plays, so that a default chosen here is not chosen on a table's own episodes.
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from offmarl_bench.agent import make_agent
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.scoring import play
from offmarl_bench.seeding import generator
from offmarl_bench.train import one_thread
from sit.agent import SIT

EPISODES = 256
SETTINGS: dict[str, dict[str, Any]] = {
    "no filter: imitation of what stage II draws": {"filter": False},
    "no filter, clip(median û/û, 0.1, 10)": {"filter": False, "uncertainty": "clipped"},
    "Q": {"score": "q"},
    "Q − E_π Q": {"score": "advantage"},
    "G^λ − V": {"score": "return"},
    "G^λ − V, clip(median û/û, 0.1, 10)": {"score": "return", "uncertainty": "clipped"},
    "G^λ − V, trust 0": {"score": "return", "trust_at_cut": 0.0},
    "G^λ − V, trust 0.9": {"score": "return", "trust_at_cut": 0.9},
    "G^λ − V, trust 1": {"score": "return", "trust_at_cut": 1.0},
}
"""The default is "G^λ − V" with trust 0.8 (docs/horizon.md); the paper's text is "Q", β = 0.1 and an unbounded 1/û."""


def trained(dataset: Dataset, seed: int, first: int, third: int) -> dict[str, tuple[float, float]]:
    """Greedy and sampled mean return of every setting after ``first`` updates of stage I and ``third`` of stage III."""
    donor = make_agent("sit", dataset.spec, seed=seed)
    assert isinstance(donor, SIT)  # noqa: S101  (narrowing for the type checker)
    decompose, draws = donor.phases(dataset)[0], generator(seed, "train")
    decompose.start()
    for _ in range(first):
        decompose.update(decompose.batches(draws))
    scores = {}
    for name, settings in SETTINGS.items():
        agent = make_agent("sit", dataset.spec, seed=seed, **settings)
        assert isinstance(agent, SIT)  # noqa: S101
        agent.ardnem.load_state_dict(donor.ardnem.state_dict())
        learn, draws = agent.phases(dataset)[-1], generator(seed, "train", 1)
        learn.start()
        for _ in range(third):
            learn.update(learn.batches(draws))
        returns = [
            play(agent, dataset.spec.id, EPISODES, seed, g, purpose="verify").returns.mean() for g in (True, False)
        ]
        scores[name] = float(returns[0]), float(returns[1])
        click.echo(f"{dataset.spec.id} seed {seed} {name}: {returns[0]:.1f} / {returns[1]:.1f}", err=True)
    return scores


@click.command()
@click.argument("datasets", nargs=-1, required=True)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--first", type=click.IntRange(min=1), default=1000, show_default=True, help="Updates of stage I.")
@click.option("--third", type=click.IntRange(min=1), default=750, show_default=True, help="Updates of stage III.")
def main(datasets: tuple[str, ...], seeds: int, first: int, third: int) -> None:
    """Print the table."""
    columns: dict[str, dict[str, tuple[float, float]]] = {}
    with one_thread():
        for name in datasets:
            data = load_dataset(name)
            columns |= {f"{name}, seed {k}": trained(data, k, first, third) for k in range(seeds)}
    click.echo("| exponent and weight | " + " | ".join([*columns, "mean"]) + " |")
    click.echo("|---|" + "---|" * (len(columns) + 1))
    for setting in SETTINGS:
        pairs = [column[setting] for column in columns.values()]
        pairs.append(tuple(np.mean(pairs, axis=0)))
        click.echo(f"| {setting} | " + " | ".join(f"{a:.1f} / {b:.1f}".replace("-", "−") for a, b in pairs) + " |")


if __name__ == "__main__":
    main()
