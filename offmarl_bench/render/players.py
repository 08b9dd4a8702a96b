"""Who plays: uniform play, a level or a recipe of the policy pool, or a trained agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offmarl_bench import registry
from offmarl_bench.agent import Policy
from offmarl_bench.envs import get_spec, plays_as, split_id
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch
from offmarl_bench.home import runs_dir
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.pool import load_pool
from offmarl_bench.recipes import named_recipe, parse_recipe, qualities
from offmarl_bench.report_lines import printable
from offmarl_bench.runs import RECORD, is_finished, load_agent, read_run
from offmarl_bench.shards import SHARD_EPISODES, Shard, cast
from offmarl_bench.types import LEVELS, EnvSpec

UNIFORM = "uniform"
SAME = ("N", "O", "A", "discrete", "agent_types")
"""What an agent's spec must share with the environment that it plays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A policy for one lane, and what is known about who plays."""

    policy: Policy
    title: str
    levels: tuple[int, ...] | None = None
    """Index into ``LEVELS`` for each agent, where the pool plays."""


def choose_players(env_id: str, *, policy: str | None = None, recipe: str | None = None, seed: int = 0) -> Cast:
    """Find who was asked for.

    Args:
        env_id: ``suite/map``.
        policy: ``uniform`` (the default), a level of the pool, the folder of a finished run, or an agent's name (its
            newest finished run on this environment).
        recipe: in the paper's notation, or the name of a quality; instead of ``policy``.
        seed: decides which part of a recipe and which members of the pool play.

    Raises:
        UnknownName: no such environment, pool, quality, policy or agent. FormatError: both were asked for, a recipe
            that does not fit, or a damaged run. SpecMismatch: a run for another environment. OffmarlError: an agent
            that has no finished run here.
    """
    if policy is not None and recipe is not None:
        raise FormatError(f"play {env_id}: got policy {policy!r} and a recipe; give one of them")
    spec = get_spec(env_id)
    if recipe is not None:
        return _pool_players(spec, recipe, seed)
    if policy is None or policy == UNIFORM:
        return Cast(policy=UniformPolicy(spec), title="uniformly random play")
    if policy in LEVELS:
        found = _pool_players(spec, f"100%[{','.join(a + policy[0] for a in spec.agents)}]", seed)
        return Cast(policy=found.policy, title=f"pool, level {policy}", levels=found.levels)
    return _trained(spec, policy)


def _pool_players(spec: EnvSpec, recipe: str, seed: int) -> Cast:
    """The first episode that ``generate`` would cast with this recipe and seed."""
    text = recipe if "%" in recipe or "[" in recipe else named_recipe(spec.id, recipe).text
    parsed = parse_recipe(text, spec)
    pool = load_pool(spec.id)
    shard = Shard(
        env_id=spec.id, recipe=parsed, pool=pool, seed=seed, episodes=SHARD_EPISODES, index=0, folder=Path(),
        signature="",
    )  # fmt: skip
    levels, members = cast(shard)
    who = ",".join(a + LEVELS[k][0] for a, k in zip(spec.agents, levels[0], strict=True))
    return Cast(policy=pool.policy(members[:1]), title=f"[{who}]", levels=tuple(int(k) for k in levels[0]))


def _trained(spec: EnvSpec, name: str) -> Cast:
    """A finished run by its folder, or the newest of an agent by its name."""
    folder, agents = Path(name), registry.names("agents")
    if not is_finished(folder):
        if name in agents:
            folder = _newest_run(spec, name)
        elif folder.is_dir():
            raise FormatError(f"{folder}: no finished run here ({RECORD} is missing); train it first")
        else:
            known = (UNIFORM, *LEVELS, *agents)
            raise registry.unknown("policy", name, known, "Or give the folder of a finished run.")
    agent = load_agent(folder)
    for field in SAME:
        mine, theirs = getattr(agent.spec, field), getattr(spec, field)
        if mine != theirs:
            raise SpecMismatch(
                f"{folder}: {agent.name} was made for {agent.spec.id} ({field} = {mine!r}) and cannot play {spec.id} "
                f"({field} = {theirs!r})"
            )
    plan, _ = read_run(folder)
    data = f", trained on {plan.dataset}" if plan.dataset else ""
    return Cast(policy=agent.policy(greedy=True), title=printable(f"{plan.agent}, seed {plan.seed}{data}"))


def _newest_run(spec: EnvSpec, name: str) -> Path:
    places = [runs_dir().joinpath(*split_id(env_id)) for env_id in (spec.id, plays_as(spec.id)) if env_id]
    found = [p.parent for place in places for p in place.rglob(RECORD) if p.parents[2].name.partition("@")[0] == name]
    if not found:
        hint = f"; qualities: {', '.join(qualities(spec.id))}" if qualities(spec.id) else ""
        raise OffmarlError(
            f"no finished run of {name} on {spec.id} under {runs_dir()}; train one with "
            f"`offmarl-bench train {name} {spec.id}/QUALITY`{hint}, or give its folder"
        )
    return max(found, key=lambda p: (p / RECORD).stat().st_mtime)
