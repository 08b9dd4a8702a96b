"""Environments by id: ``make_env("smac/2s3z", num_envs=256)``."""

from __future__ import annotations

from offmarl_bench import registry
from offmarl_bench.envs.base import BatchedEnv as BatchedEnv
from offmarl_bench.envs.base import Suite as Suite
from offmarl_bench.errors import FormatError, UnknownName
from offmarl_bench.types import EnvSpec

EMBEDDED = "embedded"
"""The backend that needs nothing but this package."""
BACKENDS = (EMBEDDED, "sc2")


def backend_suite(suite: str, backend: str) -> str:
    """The suite that plays ``suite``'s maps by a backend: ``smac`` by ``sc2`` is ``smac-sc2``.

    Raises:
        UnknownName: no such backend, or none of it for this suite.
    """
    if backend not in BACKENDS:
        raise registry.unknown("backend", backend, BACKENDS)
    if backend == EMBEDDED or suite.endswith(f"-{backend}"):
        return suite
    wanted, known = f"{suite}-{backend}", registry.names("environments")
    if wanted not in known:
        has = ", ".join(n.removesuffix(f"-{backend}") for n in known if n.endswith(f"-{backend}"))
        raise UnknownName(f"no backend {backend!r} for suite {suite!r}; it can play only {has}")
    return wanted


def split_id(env_id: str) -> tuple[str, str]:
    """``suite/map`` → (suite, map). Raises FormatError if there is no slash."""
    suite, slash, map_name = env_id.rpartition("/")
    if not slash or not suite or not map_name:
        raise FormatError(
            f"environment id {env_id!r}: expected 'suite/map', e.g. 'smac/2s3z'; `offmarl-bench envs` lists all"
        )
    return suite, map_name


def get_suite(name: str) -> Suite:
    """The suite registered under ``name`` or spelled ``module:attr``. Raises UnknownName."""
    suite: Suite = registry.resolve("environments", name)
    return suite


def get_spec(env_id: str) -> EnvSpec:
    """The spec of ``suite/map`` without building the environment. Raises UnknownName, FormatError."""
    suite, map_name = split_id(env_id)
    return get_suite(suite).spec(map_name)


def make_env(env_id: str, num_envs: int = 256) -> BatchedEnv:
    """A batched environment with ``num_envs`` lanes.

    Args:
        env_id: ``suite/map``; the suite may be spelled ``module:attr``, as in ``my_package:my_suite/my_map``.
        num_envs: the greatest number of lanes that a ``reset`` may start.

    Raises:
        UnknownName: no such suite or map (with the nearest name).
        FormatError: an id without a slash, or ``num_envs`` below 1.
    """
    if num_envs < 1:
        raise FormatError(f"make_env({env_id!r}): num_envs is {num_envs}, expected at least 1")
    suite, map_name = split_id(env_id)
    return get_suite(suite).make(map_name, num_envs)


def lanes_of(env_id: str, wanted: int) -> int:
    """How many of ``wanted`` lanes to play side by side: all, unless the suite says that fewer are wise.

    A suite whose lanes are costly (each a game of its own) has an attribute ``lanes``.
    """
    return min(wanted, getattr(get_suite(split_id(env_id)[0]), "lanes", wanted))


def plays_as(env_id: str) -> str | None:
    """The environment whose pools, recipes and agents fit ``env_id`` unchanged: ``smac/2s3z`` for ``smac-sc2/2s3z``.

    A suite that simulates the same thing by other means has an attribute ``plays_as`` with the other's name. None for
    everything else, names that do not exist included.
    """
    try:
        suite, map_name = split_id(env_id)
        other = getattr(get_suite(suite), "plays_as", None)
    except (FormatError, UnknownName):
        return None
    return None if other is None else f"{other}/{map_name}"
