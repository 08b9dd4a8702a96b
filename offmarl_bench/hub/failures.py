"""What the Hub refuses, as one line of ours that says what to do.

The client library reports a private repository, a missing one and a bad token in nearly the same words, some of it
over several lines, and failures of the network by the classes of whatever HTTP library it uses this year.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from offmarl_bench.errors import OffmarlError, UnknownName
from offmarl_bench.hub.place import endpoint, offline

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
DISK = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "it is read-only"}
MANY = 429
UNAUTHORISED, FORBIDDEN, MISSING, CONFLICT, STALE = 401, 403, 404, 409, 412
SERVER = 500


def _status(error: BaseException) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _words(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _refusal(error: BaseException, status: int, repo: str, writing: bool, logged_in: bool) -> OffmarlError:
    """An answer of the Hub that is no yes."""
    place = f"{repo} at {endpoint()}"
    told = getattr(error, "server_message", None) or _words(error)
    if status == UNAUTHORISED and "Invalid credentials" in str(error):
        return OffmarlError(f"{place}: the token was refused as invalid; {LOG_IN} with one that is valid")
    if status in (UNAUTHORISED, MISSING) and not (writing and status == UNAUTHORISED):
        who = "this token may not see it" if logged_in else f"it is private: then {LOG_IN}"
        return UnknownName(f"no dataset repository {place}; check the name (--repo OWNER/NAME), or {who}")
    if status in (UNAUTHORISED, FORBIDDEN):
        right = "write to" if writing else "read"
        return OffmarlError(
            f"no permission to {right} {place} ({told}); use a token with the role '{right.split()[0]}' of an account "
            f"that may ({LOG_IN}), or another repository (--repo OWNER/NAME)"
        )
    if status in (CONFLICT, STALE):
        return OffmarlError(f"{place} was changed by somebody else meanwhile; run the same command again")
    if status == MANY or status >= SERVER:
        return OffmarlError(
            f"{place}: the Hub answered {status} ({told}); wait a little and run the same command again"
        )
    return OffmarlError(f"{place}: the Hub answered {status} ({told})")


def explain(error: BaseException, repo: str, *, writing: bool = False) -> OffmarlError | None:
    """An error of the client library, the network or the disk as one of ours; None if it is none of these."""
    from huggingface_hub import errors, get_token

    transport = errors.HfHubHTTPError.__bases__[0]  # the root of the HTTP library, whichever it is
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and len(chain) < 8:  # the upload wraps what happened in a RuntimeError
        chain.append(at)
        at = at.__cause__
    for e in chain:
        if isinstance(e, errors.OfflineModeIsEnabled):
            return OffmarlError(f"{repo}: {offline() or 'HF_HUB_OFFLINE'} is set, so the Hub is not asked; unset it")
        if isinstance(e, errors.GatedRepoError):
            return OffmarlError(
                f"{repo} is gated: accept its conditions at {endpoint()}/datasets/{repo}, then {LOG_IN}"
            )
        if isinstance(e, errors.RevisionNotFoundError):
            return UnknownName(
                f"{repo} at {endpoint()} has no such revision; {endpoint()}/datasets/{repo} lists its tags"
            )
        if isinstance(e, errors.EntryNotFoundError) and not isinstance(e, errors.LocalEntryNotFoundError):
            return UnknownName(f"{repo} at {endpoint()} has no such file; {endpoint()}/datasets/{repo} lists its files")
        if isinstance(e, errors.LocalTokenNotFoundError):
            return OffmarlError(f"{repo} at {endpoint()}: not logged in; {LOG_IN}")
        status = _status(e)
        if status is not None:
            return _refusal(e, status, repo, writing, bool(get_token()))
        if isinstance(e, OSError) and e.errno in DISK:
            where = f" for {e.filename}" if e.filename else ""
            return OffmarlError(f"{DISK[e.errno]}{where}; free space, or choose another place with $OFFMARL_HOME")
        if isinstance(e, transport | TimeoutError | ConnectionError):
            return OffmarlError(
                f"cannot reach the Hub at {endpoint()} ({_words(e)}); check the network and proxy settings, "
                "and run the same command again: what has arrived is kept"
            )
    return None


@contextmanager
def asking(repo: str, *, writing: bool = False) -> Iterator[None]:
    """Turn whatever goes wrong with the Hub into an OffmarlError; anything else passes."""
    try:
        yield
    except OffmarlError:
        raise
    except Exception as e:
        ours = explain(e, repo, writing=writing)
        if ours is None:
            raise
        raise ours from e
