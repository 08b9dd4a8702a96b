"""A submission as a pull request on a dataset repository of the Hugging Face Hub.

The repository has the same layout as this one's ``submissions`` folder, so that whoever keeps it can validate, verify
and render with the same commands. Nothing is merged by this: a pull request asks.
"""

from __future__ import annotations

import logging
from pathlib import Path

from leaderboard.bundle import bundle_files, bundle_hash, read_bundle
from offmarl_bench.errors import OffmarlError
from offmarl_bench.hub.failures import asking
from offmarl_bench.hub.place import REPO_TYPE, check_repo, endpoint
from offmarl_bench.hub.transfer import prepare, require_online

log = logging.getLogger(__name__)

FOLDER = "submissions"
"""Where submissions lie in the repository."""


def check_target(repo: str) -> None:
    """Whether a repository can be asked at all, before hours of work are bundled for it.

    Raises:
        FormatError: no ``OWNER/NAME``. OffmarlError: going online is forbidden.
    """
    check_repo(repo)
    require_online(repo)


def open_pull_request(path: Path, repo: str) -> str:
    """Send a submission, without its verdict, as a pull request.

    Args:
        path: its folder.
        repo: ``OWNER/NAME`` of a dataset repository on the Hub.

    Returns:
        The address of the pull request.

    Raises:
        UnknownName: no such repository. OffmarlError: no network, no permission. FormatError: no submission.
    """
    check_target(repo)
    bundle = read_bundle(path)
    prepare()
    with asking(repo, writing=True):
        from huggingface_hub import CommitOperationAdd, HfApi

        files = [
            CommitOperationAdd(path_in_repo=f"{FOLDER}/{bundle.slug}/{name}", path_or_fileobj=path / name)
            for name in bundle_files(path)
        ]
        about = bundle.submission
        done = HfApi(endpoint=endpoint(), library_name="offmarl-bench").create_commit(
            repo, files, repo_type=REPO_TYPE, create_pr=True, commit_message=f"Submission: {about.name}",
            commit_description=f"Agent {about.agent}, {len(bundle.results)} results, hash {bundle_hash(path)}",
        )  # fmt: skip
    if done.pr_url is None:
        raise OffmarlError(f"{repo} at {endpoint()} took the files but opened no pull request; look there")
    log.info("%s: %d files", repo, len(files))
    return str(done.pr_url)
