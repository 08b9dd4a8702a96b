"""``play``: look at an episode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from offmarl_bench.cli.options import backend_option, examples, json_option, played_suite, print_json
from offmarl_bench.errors import FormatError


@contextmanager
def _usage(option: str) -> Iterator[None]:
    """What is wrong with an option's text is a usage error, unlike whatever fails later."""
    try:
        yield
    except FormatError as e:
        raise click.BadParameter(str(e), param_hint=option) from e


@click.command(
    epilog=examples(
        "offmarl-bench play mpe CN_3ls3l --gif seekers.gif",
        "offmarl-bench play smac 2s3z --policy expert --gif battle.gif",
        'offmarl-bench play smac 2s3z --recipe "100%[s1r,s2e,z1r,z2e,z3e]" --seed 3 --gif mixed.gif',
        "offmarl-bench play smac 2s3z --recipe low --gif low.gif --json",
        "offmarl-bench play smac 2s3z --policy sit --gif sit.gif",
        "offmarl-bench play smac 2s3z --policy expert --backend sc2 --gif real.gif",
    )
)
@click.argument("suite")
@click.argument("map_name", metavar="MAP")
@click.option(
    "--policy", metavar="P",
    help="uniform (the default); random, medium or expert from the pool; an agent (its newest run); or a run's folder.",
)  # fmt: skip
@click.option("--recipe", metavar="R", help="Who plays in the paper's notation, or a quality such as low.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides start and play.")
@click.option("--gif", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@click.option("--fps", type=click.FloatRange(0.5, 50), default=6.0, show_default=True, help="Steps shown per second.")
@backend_option
@json_option
def play(
    suite: str, map_name: str, policy: str | None, recipe: str | None, seed: int, gif: Path, fps: float, backend: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Play one episode of SUITE/MAP and draw it as an animated GIF.

    Agents are coloured by who plays them: random, medium, expert. Environments that offer no picture of themselves
    are drawn as a chart of rewards and actions.
    """
    if policy is not None and recipe is not None:
        raise click.UsageError("give either --policy or --recipe, not both")
    from offmarl_bench.envs import get_spec
    from offmarl_bench.recipes import parse_recipe
    from offmarl_bench.render.film import film
    from offmarl_bench.render.gif import check_target, write_gif
    from offmarl_bench.render.players import choose_players

    env_id = f"{played_suite(suite, backend)}/{map_name}"
    with _usage("--gif"):
        check_target(gif, fps)
    if recipe is not None and "%" in recipe:
        spec = get_spec(env_id)
        with _usage("--recipe"):
            parse_recipe(recipe, spec)
    cast = choose_players(env_id, policy=policy, recipe=recipe, seed=seed)
    made = film(env_id, cast.policy, seed=seed, title=cast.title, levels=cast.levels)
    write_gif(made, gif, fps=fps)
    if as_json:
        print_json(
            {"environment": env_id, "players": cast.title, "seed": seed, "return": made.episode_return,
             "length": made.length, "won": made.won, "file": str(gif)}
        )  # fmt: skip
        return
    won = "" if made.won is None else ", won" if made.won else ", not won"
    click.echo(f"{gif}: {env_id} played by {cast.title}: {made.length} steps, return {made.episode_return:.2f}{won}")
