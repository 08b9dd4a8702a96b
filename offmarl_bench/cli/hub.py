"""``push`` and ``pull``: datasets to and from the Hugging Face Hub."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

import click

from offmarl_bench.cli.options import DatasetName, examples, json_option, print_json
from offmarl_bench.errors import FormatError


class DatasetIdType(click.ParamType[str]):
    """``suite/map/quality[-vN]``: a name only, since the file is elsewhere."""

    name = "dataset"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is not an id; whether it exists is for the Hub to say."""
        from offmarl_bench.ids import parse_dataset_id

        try:
            parse_dataset_id(value)
        except FormatError as e:
            self.fail(str(e), param, ctx)
        return value


class RepoType(click.ParamType[str]):
    """``ORG/NAME``."""

    name = "org/name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what cannot be a repository."""
        from offmarl_bench.hub.place import check_repo

        try:
            return check_repo(value)
        except FormatError as e:
            self.fail(str(e), param, ctx)


repo_option = click.option("--repo", type=RepoType(), help="The repository; default: $OFFMARL_HUB/suite-map.")


@click.command(
    epilog=examples(
        "offmarl-bench push smac/2s3z/low --repo me/smac-2s3z --private",
        "offmarl-bench push mine.h5 --repo me/smac-2s3z --licence cc-by-4.0",
    )
)
@click.argument("dataset", type=DatasetName())
@repo_option
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option(
    "--licence", "--license", help="Of the data, as the Hub spells it.  [default: the repository's, else mit]"
)
@json_option
def push(dataset: str, repo: str | None, private: bool, licence: str | None, as_json: bool) -> None:
    """Publish a dataset on the Hugging Face Hub.

    One repository per map, one config per quality, versions as tags. The file is verified first. Log in before, with
    `hf auth login` or HF_TOKEN. What is there is not sent again, and a published version never changes.
    """
    if not sys.stderr.isatty():  # its bars do not ask; read when it is imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from offmarl_bench.publish import push as library

    done = library(dataset, repo=repo, private=private, licence=licence)
    if as_json:
        print_json(asdict(done))
    else:
        what = "is at" if done.uploaded else "was already at"
        click.echo(f"{done.id} {what} {done.url}, tags {' '.join(done.tags)}")


@click.command(
    epilog=examples(
        "offmarl-bench pull smac/2s3z/low",
        "offmarl-bench pull smac/2s3z/low-v1 --repo me/smac-2s3z",
        "offmarl-bench pull smac/2s3z/low --revision v1",
    )
)
@click.argument("dataset", type=DatasetIdType())
@repo_option
@click.option("--revision", default="main", show_default=True, help="A branch, tag (v1, low-v1) or commit.")
@click.option("--overwrite", is_flag=True, help="Replace another dataset of that id that is here.")
def pull(dataset: str, repo: str | None, revision: str, overwrite: bool) -> None:
    """Bring a dataset from the Hugging Face Hub into $OFFMARL_HOME and check it.

    An interrupted pull goes on where it stopped. Private repositories need `hf auth login` or HF_TOKEN.
    """
    from offmarl_bench import hub

    click.echo(hub.pull(dataset, repo=repo, revision=revision, overwrite=overwrite))
