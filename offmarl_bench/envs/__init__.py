"""Environments by id: ``make_env("smac/2s3z", num_envs=256)``."""

from __future__ import annotations

from offmarl_bench import registry
from offmarl_bench.envs.base import BatchedEnv as BatchedEnv
from offmarl_bench.envs.base import Suite as Suite
from offmarl_bench.errors import FormatError
from offmarl_bench.types import EnvSpec


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
