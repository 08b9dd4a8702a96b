"""``export`` and ``import``: other people's formats, both ways."""

from __future__ import annotations

from pathlib import Path

import click

from offmarl_bench.cli.options import DatasetName, EnvId, examples, json_option, print_json

TARGETS = ("minari", "pymarl", "tensordict")


@click.command(
    "export",
    epilog=examples(
        "offmarl-bench export smac/2s3z/low --to pymarl --out 2s3z.h5",
        "offmarl-bench export smac/2s3z/low --to minari            then: minari.load_dataset('smac/2s3z/low-v1')",
        "offmarl-bench export smac/2s3z/low --to tensordict --out 2s3z/",
    ),
)
@click.argument("dataset", type=DatasetName())
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="The format.")
@click.option("--out", type=click.Path(path_type=Path), help="File or folder; minari's default: where Minari looks.")
@click.option("--name", help="minari: the dataset's name there, namespace/name-v0; default: its id.")
@json_option
def export(dataset: str, target: str, out: Path | None, name: str | None, as_json: bool) -> None:
    """Write DATASET in another format; what does not survive is listed."""
    from offmarl_bench.interop import exports
    from offmarl_bench.loader import load_dataset

    if out is None and target != "minari":
        raise click.UsageError(f"--to {target} needs --out, a file or folder that does not exist yet")
    data = load_dataset(dataset)
    path = exports.export(data, target, out, name=name)
    if as_json:
        lost = [{"what": loss.what, "why": loss.why} for loss in data.losses(target)]
        print_json({"path": str(path), "format": target, "losses": lost})
    else:
        click.echo(path)


@click.command(
    "import",
    epilog=examples(
        "offmarl-bench import medium.h5 --env smac/2s3z --out medium-ours.h5",
        "offmarl-bench import 3m_good/ --name smac/3m --out 3m.h5        an environment that is not known here",
        "offmarl-bench import ~/.minari/datasets/me/mine-v0 --format minari --out mine.h5",
    ),
)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write.")
@click.option("--format", "kind", help="pymarl, minari, omar, omiga, d4rl, vault; default: found out.")
@click.option("--env", type=EnvId(), help="The environment it comes from, if it is one of `offmarl-bench envs`.")
@click.option("--name", type=EnvId(), help="suite/map of another environment, whose sizes are inferred.")
@click.option("--reward", type=click.Choice(["mean", "sum"]), default="mean", show_default=True,
              help="How rewards of each agent become the team's.")  # fmt: skip
@json_option
def import_(
    file: Path, out: Path, kind: str | None, env: str | None, name: str | None, reward: str, as_json: bool
) -> None:
    """Make a dataset of ours from FILE, a file or folder in anybody's format; what had to be assumed is listed."""
    from offmarl_bench.atomic import refuse_existing
    from offmarl_bench.loader import Dataset

    if env is not None and name is not None:
        raise click.UsageError("give either --env, an environment that is known, or --name for one that is not")
    refuse_existing(out, " with --out")
    data = Dataset.from_file(file, format=kind, env=env, name=name, reward="sum" if reward == "sum" else "mean")
    data.save(out)
    if as_json:
        about = data.metadata.get("imported") or {}
        print_json({"path": str(out), "episodes": len(data), "env": data.spec.id, "imported": about})
    else:
        click.echo(out)
