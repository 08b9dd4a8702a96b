"""Is this folder a submission? Everything is looked at, nothing of it is run.

The order matters: names and sizes before anything is opened, records before what they point to, cheap before dear.
The first thing that is wrong is the answer, in one line.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, fields
from pathlib import Path

from leaderboard.bundle import README, SUBMISSION, Bundle, read_bundle
from leaderboard.claims_check import Known, check_claims
from leaderboard.folder_check import check_folder
from leaderboard.known import known_datasets
from leaderboard.policies_check import check_curves, check_policies
from leaderboard.text_check import check_texts, check_words
from leaderboard.verdict import read_verdict
from offmarl_bench.errors import FormatError
from offmarl_bench.records import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A submission that has passed."""

    bundle: Bundle
    policies: int
    """How many policies it brings."""


def _check_day(bundle: Bundle) -> None:
    try:
        datetime.date.fromisoformat(bundle.submission.created)
    except ValueError as e:
        shown = ascii(bundle.submission.created)
        raise FormatError(f"{bundle.path / SUBMISSION}: created is {shown}, expected a day, e.g. 2026-01-31") from e


def _check_readme(path: Path) -> None:
    if path.exists():
        try:
            text = path.read_text(encoding="utf-8")
        except ValueError as e:
            raise FormatError(f"{path}: is not UTF-8 text") from e
        check_texts(text.replace("\t", " ").split("\n"), str(path))


def validate(path: Path, *, known: Known | None = None, trust: bool = False, verdict: bool = True) -> Checked:
    """Check a stranger's submission without running any of it.

    Args:
        path: its folder.
        known: published datasets; None: those of this package.
        trust: let policies be agents that are named as ``module:attr``, whose code is then imported.
        verdict: look at the verdict that it brings; False before a new one is given.

    Raises:
        FormatError: the first thing that is wrong. OffmarlError: what is needed to look is not installed.
    """
    check_folder(path)
    bundle = read_bundle(path.absolute())
    check_words(bundle.submission, str(bundle.path / SUBMISSION))
    _check_day(bundle)
    check_texts(to_json(bundle.submission), str(bundle.path / SUBMISSION))
    for stem, result in bundle.results.items():
        words = {f.name: getattr(result, f.name) for f in fields(result) if not f.name.endswith("_returns")}
        check_texts(words, f"{bundle.path}/results/{stem}.json")
    _check_readme(bundle.path / README)
    check_claims(bundle, known_datasets() if known is None else known)
    check_curves(bundle)
    policies = check_policies(bundle, trust=trust)
    if verdict:
        read_verdict(bundle.path)
    return Checked(bundle=bundle, policies=policies)
