"""``push``: a dataset file to its repository on the Hub, with manifest, README, card and tags, in one commit."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offmarl_bench.audit import verify
from offmarl_bench.cards import card_data, card_pictures, render_card
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName
from offmarl_bench.format.reader import read_metadata
from offmarl_bench.hub.bring import read_listing
from offmarl_bench.hub.failures import LOG_IN, asking
from offmarl_bench.hub.listing import NAME, HubEntry, Listing
from offmarl_bench.hub.place import MAIN, REPO_TYPE, check_repo, endpoint, path_in_repo, repository
from offmarl_bench.hub.transfer import SHA256_DIGITS, digest_of, prepare, read_small, require_online
from offmarl_bench.ids import DatasetId, parse_dataset_id
from offmarl_bench.loader import find_dataset
from offmarl_bench.manifest import compare
from offmarl_bench.publish.readme import render
from offmarl_bench.publish.tags import set_tags

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

log = logging.getLogger(__name__)

README = "README.md"
CARDS = "cards/"
"""Folder of the datasets' cards and their pictures, in the repository."""
LICENCE = "mit"
_QUALITY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
"""What can be the name of a config, a folder and a git tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push came to."""

    id: str
    repo: str
    """``OWNER/NAME``."""
    url: str
    commit: str
    """Of ``main``, afterwards."""
    tags: tuple[str, ...]
    """Tags that show this dataset."""
    uploaded: bool
    """False: the dataset was there already."""


def push(dataset: str | Path, *, repo: str | None = None, private: bool = False, licence: str | None = None) -> Pushed:
    """Bring a dataset to the Hub. What is there already is not sent again, so an interrupted push can be repeated.

    Args:
        dataset: an id of the datasets folder, or the path of a file.
        repo: ``OWNER/NAME``; None means the place of its map, ``$OFFMARL_HUB/suite-map``.
        private: make a new repository private.
        licence: the Hub's identifier of the data's licence; None means that of the repository, ``mit`` for a new one.

    The file is read whole, to verify it and to write its card; it is sent in pieces.

    Raises:
        UnknownName: no such dataset here. FormatError: a file that `verify` finds faults in, or without an id.
        OffmarlError: no network, no token, no permission; another dataset of that id is there.
    """
    path = find_dataset(dataset, ask_hub=False)
    wanted = _id_of(path)
    place = check_repo(repo) if repo else repository(wanted.env_id)
    require_online(place)
    prepare()
    if repo is None and (status := compare(read_metadata(path)[1]))[0] == "differs":
        raise OffmarlError(f"{path} is not the published {wanted}: {status[1]}; push it to a place of its own (--repo)")
    with asking(place, writing=True):
        from huggingface_hub import HfApi, get_token

        if get_token() is None:
            raise OffmarlError(f"push to {place} at {endpoint()}: not logged in; {LOG_IN}")
        faults = [f for f in verify(path).findings if f.severity == "error"]
        if faults:
            raise FormatError(f"{path} is not pushed: {faults[0]}")
        card = card_data(path)
        api = HfApi(endpoint=endpoint(), library_name="offmarl-bench")
        head = _open(api, place, private)
        return _Push(api, place, path, _entry(path, card), card, licence).run(head)


def _id_of(path: Path) -> DatasetId:
    """The id under which a file can be published. Raises FormatError."""
    spec, said = read_metadata(path)
    wanted = said.get("dataset_id")
    try:
        dataset = parse_dataset_id(str(wanted))
    except FormatError:
        dataset = None
    if dataset is None or dataset.version is None or dataset.env_id != spec.id:
        raise FormatError(
            f"{path} is not pushed: {f'it calls itself {wanted!r}' if wanted else 'it has no id'}, expected "
            f"'{spec.id}/QUALITY-vN'; generate it with --quality, or load it, set metadata['dataset_id'] and save it"
        )
    if not _QUALITY.fullmatch(dataset.quality) or ".." in dataset.quality:
        raise FormatError(
            f"{path} is not pushed: quality {dataset.quality!r} cannot be the name of a git tag; use letters, digits "
            "and _ . + -"
        )
    return dataset


def _entry(path: Path, card: dict[str, Any]) -> HubEntry:
    """What the manifest says of a file."""
    spec, said = read_metadata(path)
    dataset = parse_dataset_id(str(said["dataset_id"]))
    return HubEntry(
        id=str(dataset),
        path=path_in_repo(dataset),
        size=path.stat().st_size,
        sha256=digest_of(path, "0" * SHA256_DIGITS),
        content_hash=str(said["content_hash"]),
        rows=int(card["rows"]),
        episodes=int(card["description"]["episodes"]),
        return_mean=float(card["description"]["returns"]["mean"]),
        recipe=str(said.get("recipe") or ""),
        spec=spec.to_json(),
    )


def _open(api: HfApi, repo: str, private: bool) -> str:
    """The newest commit of the repository, which is made if it is not there."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.dataset_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type=REPO_TYPE, private=private)
        info = api.dataset_info(repo)
    if private and not info.private:
        raise OffmarlError(
            f"{repo} at {endpoint()} exists and is public, so --private cannot hold; make it private on its settings "
            "page, or choose another with --repo OWNER/NAME"
        )
    return str(info.sha)


class _Push:
    """One push: what is there, what is to come, and the commit between them."""

    def __init__(
        self, api: HfApi, repo: str, path: Path, entry: HubEntry, card: dict[str, Any], licence: str | None
    ) -> None:
        self.api, self.repo, self.path, self.card = api, repo, path, card
        try:
            there, _ = read_listing(repo)
        except UnknownName:
            there = Listing(env_id=entry.dataset.env_id)
        if there.env_id != entry.dataset.env_id:
            raise OffmarlError(
                f"{repo} holds datasets of {there.env_id}, not of {entry.dataset.env_id}; use another --repo"
            )
        known = there.get(entry.dataset)
        if known is not None and known.content_hash != entry.content_hash:
            raise OffmarlError(
                f"{repo} has another {entry.id} (content hash {known.content_hash[:12]}…, yours "
                f"{entry.content_hash[:12]}…); a published version never changes: raise the version of yours"
            )
        self.new = known is None
        self.entry = known or entry  # the same content in other bytes stays as it was published
        self.licence = licence or there.licence or LICENCE
        self.listing = replace(there, licence=self.licence)
        if self.new:
            self.listing = self.listing.with_file(entry)
        self.cards: dict[str, str] = {}

    def run(self, head: str) -> Pushed:
        """Commit, then tags."""
        from huggingface_hub import CommitOperationAdd

        operations = [CommitOperationAdd(n, content) for n, content in self._card().items()]
        newest = self.listing.versions()[-1]
        operations += self._texts(self.listing, f"v{newest}")
        if self.new:
            operations.append(CommitOperationAdd(self.entry.path, str(self.path)))  # a path: sent in pieces
        done = self.api.create_commit(
            self.repo, operations, commit_message=f"{self.entry.id}", repo_type=REPO_TYPE, parent_commit=head
        )
        tags = set_tags(self.api, self.repo, done.oid, self.listing, self.entry, self._texts)
        return Pushed(
            id=self.entry.id, repo=self.repo, url=f"{endpoint()}/datasets/{self.repo}", commit=done.oid, tags=tags,
            uploaded=self.new,
        )  # fmt: skip

    def _card(self) -> Mapping[str, bytes]:
        """The dataset's card, its data and its pictures, by their names in the repository."""
        self.cards[self.entry.id] = render_card(self.card, pictures=CARDS, repo=self.repo)
        alone = render_card(self.card, pictures="", repo=self.repo)
        stem = _card_stem(self.entry)
        found = {f"{CARDS}{name}": png for name, png in card_pictures(self.card).items()}
        return {f"{stem}.md": alone.encode(), f"{stem}.json": json.dumps(self.card, indent=1).encode(), **found}

    def _texts(self, listing: Listing, tag: str) -> list[CommitOperationAdd]:
        """README and manifest for a state of the repository."""
        from huggingface_hub import CommitOperationAdd

        shown = listing.up_to(listing.versions()[-1])
        for entry in shown.values():
            if entry.id not in self.cards:
                self.cards[entry.id] = self._card_there(entry)
        cards = {name: text for name, text in self.cards.items() if text}
        text = render(self.repo, listing.env_id, shown, self.licence, cards, tag)
        return [CommitOperationAdd(README, text.encode()), CommitOperationAdd(NAME, listing.to_bytes())]

    def _card_there(self, entry: HubEntry) -> str:
        """The card of a dataset that was pushed before; empty if it has none, or one of another release."""
        try:
            content, _ = read_small(self.repo, f"{_card_stem(entry)}.json", MAIN)
            return render_card(json.loads(content), pictures=CARDS, repo=self.repo)
        except (UnknownName, FormatError, ValueError) as e:
            log.warning("the README goes without the card of %s: %s", entry.id, e)
            return ""


def _card_stem(entry: HubEntry) -> str:
    return f"{CARDS}{entry.dataset.quality}-v{entry.dataset.version}"
