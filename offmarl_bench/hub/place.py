"""Where on the Hub a dataset is, and whether the Hub may be asked at all.

One dataset repository per map, ``ORG/suite-map``; in it one folder per quality, with one file per version:
``low/low-v1.h5``. Names carry the version, so versions stand side by side and no revision can mix them up.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from offmarl_bench.errors import FormatError
from offmarl_bench.home import home
from offmarl_bench.ids import SUFFIX, DatasetId, path_of

ORG_VARIABLE = "OFFMARL_HUB"
DEFAULT_ORG = "offmarl-bench"
OFFLINE_VARIABLE = "OFFMARL_OFFLINE"
OFFLINE_VARIABLES = (OFFLINE_VARIABLE, "HF_HUB_OFFLINE")
ENDPOINT_VARIABLE = "HF_ENDPOINT"
DEFAULT_ENDPOINT = "https://huggingface.co"
TRUE = ("1", "on", "yes", "true")
SCHEME = "hf://"
FILES = (SUFFIX, ".hdf5")
REPO_TYPE = "dataset"
MAIN = "main"
_REPO = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?/[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def endpoint() -> str:
    """Address of the Hub: ``$HF_ENDPOINT`` (a mirror, a company's own), else huggingface.co."""
    return (os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT).rstrip("/")


def offline() -> str | None:
    """The variable that forbids asking the Hub, e.g. ``OFFMARL_OFFLINE``; None if it may be asked."""
    return next((v for v in OFFLINE_VARIABLES if os.environ.get(v, "").lower() in TRUE), None)


def check_repo(repo: str) -> str:
    """``repo`` itself. Raises FormatError if it is no ``OWNER/NAME``."""
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise FormatError(
            f"repository {repo!r}: expected OWNER/NAME of letters, digits and _ - . on the Hugging Face Hub, "
            f"e.g. '{DEFAULT_ORG}/smac-2s3z'"
        )
    return repo


def repository(env_id: str) -> str:
    """The repository of a map: ``$OFFMARL_HUB/suite-map``. Raises FormatError for an impossible organisation."""
    org = os.environ.get(ORG_VARIABLE) or DEFAULT_ORG
    return check_repo(f"{org}/{re.sub('[^A-Za-z0-9._]+', '-', env_id)}")


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit id, which can never mean anything else."""
    return bool(_COMMIT.fullmatch(revision))


def path_in_repo(dataset: DatasetId) -> str:
    """``low/low-v1.h5``. Raises FormatError for an id without a version."""
    return f"{dataset.quality}/{path_of(dataset).name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a dataset repository at a revision."""

    repo: str
    """``OWNER/NAME``."""
    path: str
    """Within the repository."""
    revision: str = MAIN
    """Branch, tag or commit."""

    def __str__(self) -> str:
        at = "" if self.revision == MAIN else f"@{self.revision}"
        return f"{SCHEME}{self.repo}{at}/{self.path}"

    def folder(self) -> Path:
        """Where files of this repository are kept."""
        return home() / "hub" / self.repo.replace("/", "--")


def parse_hub_file(text: str) -> HubFile:
    """``hf://OWNER/NAME[@REVISION]/PATH.h5`` → HubFile; ``hf://datasets/OWNER/…`` means the same.

    Raises:
        FormatError: not of that form.
    """
    parts = text.removeprefix(SCHEME).removeprefix("datasets/").split("/")
    name, _, revision = (parts[1] if len(parts) > 1 else "").partition("@")
    inner = parts[2:]
    whole = text.startswith(SCHEME) and inner and all(p not in ("", ".", "..") and "\\" not in p for p in inner)
    if not whole or not text.endswith(FILES):
        raise FormatError(
            f"{text!r}: expected {SCHEME}OWNER/NAME/PATH{SUFFIX}, or {SCHEME}OWNER/NAME@REVISION/PATH{SUFFIX}, e.g. "
            f"'{SCHEME}{DEFAULT_ORG}/smac-2s3z/low/low-v1{SUFFIX}'"
        )
    return HubFile(repo=check_repo(f"{parts[0]}/{name}"), path="/".join(inner), revision=unquote(revision) or MAIN)
