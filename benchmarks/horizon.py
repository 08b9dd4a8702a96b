"""What the value after a cut does to agents: bootstrapped as the network has it, or as the mean of what is learnt.

    python benchmarks/horizon.py mpe/CN_3ls3l/low --updates 3000

Every agent learns twice from the same batches, with ``trust_at_cut`` at 1 and at 0. Prints a table of the last mean
target and of greedy / sampled mean returns over episodes that neither ``evaluate`` nor a learning curve ever plays.
"""

from __future__ import annotations

import click
import torch

from offmarl_bench.agent import make_agent
from offmarl_bench.loader import Dataset, load_dataset
from offmarl_bench.scoring import play
from offmarl_bench.seeding import generator
from offmarl_bench.train import one_thread

EPISODES = 256
DISCRETE = ("qmix", "macql", "mabcq", "icq")
CONTINUOUS = ("facmac", "macql", "mabcq", "icq")


def trained(dataset: Dataset, name: str, updates: int, seed: int, trust: float) -> tuple[float, float, float]:
    """Mean target of the last update, greedy and sampled mean return, after ``updates`` of each phase."""
    torch.manual_seed(seed)
    agent = make_agent(name, dataset.spec, seed=seed, trust_at_cut=trust)
    target = 0.0
    for k, phase in enumerate(agent.phases(dataset)):
        draws = generator(seed, "train", k)
        phase.start()
        for _ in range(updates):
            target = float(phase.update(phase.batches(draws)).get("target", 0.0))
    greedy, sampled = (
        float(play(agent, dataset.spec.id, EPISODES, seed, g, purpose="verify").returns.mean()) for g in (True, False)
    )
    return target, greedy, sampled


@click.command()
@click.argument("dataset")
@click.option("--updates", default=3000, show_default=True, help="Of each phase.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--agent", "agents", multiple=True, help="May be repeated. Default: all that play what they value, and icq."
)
def main(dataset: str, updates: int, seed: int, agents: tuple[str, ...]) -> None:
    """Compare the two on DATASET."""
    data = load_dataset(dataset)
    click.echo("| agent | target, as it comes | return | target, mean at the cut | return |\n|---|---|---|---|---|")
    with one_thread():
        for name in agents or (DISCRETE if data.spec.discrete else CONTINUOUS):
            row = name
            for trust in (1.0, 0.0):
                target, greedy, sampled = trained(data, name, updates, seed, trust)
                row += f" | {target:.2f} | {greedy:.1f} / {sampled:.1f}".replace("-", "−")
            click.echo(f"| {row} |")


if __name__ == "__main__":
    main()
