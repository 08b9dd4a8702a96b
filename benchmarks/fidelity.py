"""How near the embedded engine is to the real game, measured: writes docs/fidelity.md.

    python benchmarks/fidelity.py

Two references: statistics of uniformly random legal play from logs of real StarCraft II runs, and one published
fight of the real game whose policy is known. Both are replayed with our engine on fixed seeds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fidelity_policies import row as policy_row
from jaxtyping import Bool, Int

from offmarl_bench.envs import make_env
from offmarl_bench.envs.smac.env import SmacEnv
from offmarl_bench.envs.smac.maps import MAPS
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.rollout import rollout
from offmarl_bench.seeding import episode_seeds

ROOT = Path(__file__).resolve().parent.parent
EPISODES = 4096
SCRIPTED = 512
FIGHTS = 1024
ATTACK, EAST, STOP = 6, 4, 1
RETURN_GATE, LENGTH_GATE, EPISODES_GATE = 10.0, 15.0, 25
"""What we ask of ourselves: per cent of difference in mean return and length, where the reference has that many
episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealRandom:
    """The real game under uniformly random legal actions: first episodes (ε = 1) of different public PyMARL runs."""

    ret: float
    ret_sd: float
    length: float
    length_sd: float | None = None
    """None where only mean and range were published."""
    n: int
    """Number of different episodes."""
    later: tuple[float, float]
    """Mean return and length over the first 10,000 steps of training, ε about 0.9: not random play, but many runs."""


REAL_RANDOM = {
    "2s3z": RealRandom(ret=3.76, ret_sd=0.87, length=52.3, length_sd=9.6, n=106, later=(4.22, 52.8)),
    "8m": RealRandom(ret=1.88, ret_sd=0.51, length=36.0, length_sd=19.0, n=54, later=(2.09, 32.3)),
    "1c3s5z": RealRandom(ret=6.41, ret_sd=0.82, length=52.0, n=5, later=(7.11, 54.1)),
    "3s_vs_5z": RealRandom(ret=3.17, ret_sd=0.57, length=37.6, n=5, later=(3.34, 51.1)),
    "2s_vs_1sc": RealRandom(ret=1.35, ret_sd=1.14, length=122.0, length_sd=58.0, n=25, later=(1.50, 127.5)),
    "3m": RealRandom(ret=1.55, ret_sd=0.69, length=28.9, length_sd=10.0, n=67, later=(1.74, 26.2)),
}
SMACLITE = {
    "2s3z": (4.03, 46.7),
    "8m": (1.94, 38.5),
    "10m_vs_11m": (2.13, 36.6),
    "3s_vs_5z": (3.33, 42.5),
    "1c3s5z": (6.23, 64.4),
    "2s_vs_1sc": (1.28, 60.2),
}
"""Mean return and length of random play that we measured with SMAClite, 47 to 127 episodes."""


def first_target_else_east(legal: Bool[np.ndarray, "B N A"]) -> Int[np.ndarray, "B N"]:
    """The published fight's policy: attack the first available target, else walk east, else stop."""
    target = legal[:, :, ATTACK:]
    rest = np.where(legal[:, :, EAST], EAST, np.where(legal[:, :, STOP], STOP, 0))
    return np.asarray(np.where(target.any(-1), target.argmax(-1) + ATTACK, rest))


def random_play(map_name: str) -> tuple[str, list[str]]:
    """One map's table row, ours beside the real game's; and in words what misses our gates."""
    env = make_env(f"smac/{map_name}", EPISODES)
    played = rollout(env, UniformPolicy(env.spec), episode_seeds(0, "reference", 0, EPISODES), np.random.default_rng(0))
    returns, steps = played.returns, played.lengths.astype(float)
    cells = [map_name, "–", f"{returns.mean():.2f} ± {returns.std():.2f}", "–"]
    cells += ["–", f"{steps.mean():.1f} ± {steps.std():.1f}", "–", "–", "–"]
    if map_name in SMACLITE:
        cells[8] = "{:.2f} / {:.1f}".format(*SMACLITE[map_name])
    misses = []
    if (real := REAL_RANDOM.get(map_name)) is not None:
        off, steps_off = 100 * (returns.mean() / real.ret - 1), 100 * (steps.mean() / real.length - 1)
        cells[1] = f"{real.ret:.2f} ± {real.ret_sd:.2f} (n = {real.n}, s.e. {real.ret_sd / real.n**0.5:.2f})"
        cells[3] = f"{off:+.1f} %"
        cells[4] = f"{real.length:.1f}" + _spread(real)
        cells[6] = f"{steps_off:+.1f} %"
        cells[7] = "{:.2f} / {:.1f}".format(*real.later)
        for what, value, gate in (("return", off, RETURN_GATE), ("length", steps_off, LENGTH_GATE)):
            if abs(value) > gate:
                few = "" if real.n >= EPISODES_GATE else f", a reference of {real.n} episodes"
                misses.append(f"{map_name}'s {what} ({value:+.1f} %{few})")
    return f"| {' | '.join(cells)} |", misses


def _spread(real: RealRandom) -> str:
    if real.length_sd is None:
        return ""
    return f" ± {real.length_sd:.1f} (s.e. {real.length_sd / real.n**0.5:.1f})"


def published_fight(real: dict[str, Any]) -> list[str]:
    """Rows: per unit and snapshot the real position and health + shield beside ours."""
    env = make_env("smac/2s3z", FIGHTS)
    if not isinstance(env, SmacEnv):
        raise TypeError("the fight is replayed on the embedded engine only")
    legal = env.reset(episode_seeds(0, "reference", 0, FIGHTS)).legal
    rows, length, done = [], np.zeros(FIGHTS), np.zeros(FIGHTS, bool)
    for t in range(1, env.spec.horizon + 1):
        if legal is None:
            break
        step = env.step(first_target_else_east(legal))
        legal = step.legal
        length += ~done
        done = step.terminated | step.truncated
        if f"t{t}" in real:
            rows += _snapshot(t, real[f"t{t}"], env.units())
        if done.all():
            break
    quantiles = ", ".join(f"{q:.0f}" for q in np.percentile(length, [5, 50, 95]))
    lost = 100 * (1 - step.info["battle_won"].mean())
    rows += [
        "",
        f"Real game: lost at step 52. Ours ({FIGHTS} seeds): lost in {lost:.1f} % of them, "
        f"at step {length.mean():.1f} on average (5 %, 50 %, 95 %: {quantiles}).",
    ]
    return rows


def _snapshot(t: int, real: dict[str, Any], units: dict[str, Any]) -> list[str]:
    rows = []
    for side, key in (("allies", "a"), ("enemies", "e")):
        for i, unit in enumerate(real[side]):
            left = (units[f"{key}hp"] + units[f"{key}sh"])[:, i] * (units[f"{key}hp"][:, i] > 0)
            where, ours = "", ""
            if len(unit) == 4:
                distance = np.linalg.norm(units[f"{key}pos"][:, i] - np.array(unit[2:]), axis=-1)
                where = f"({unit[2]:.2f}, {unit[3]:.2f})"
                ours = f"{np.median(distance):.2f}"
            rows.append(
                f"| {t} | {side[:-1] if side == 'allies' else 'enemy'} {unit[0]} {i} | {where} | {ours} | {unit[1]:g} "
                f"| {left.mean():.0f} ± {left.std():.0f} |"
            )
    return [r.replace("allie ", "ally ") for r in rows]


def main() -> None:
    """Measure and write."""
    real = json.loads((ROOT / "tests" / "golden" / "real_2s3z.json").read_text(encoding="utf-8"))
    rows, misses = [], []
    for map_name in MAPS:
        row, missed = random_play(map_name)
        rows.append(row)
        misses += missed
    lines = [
        "# How near is the embedded engine to StarCraft II?",
        "",
        "Written by `python benchmarks/fidelity.py`; do not edit. The real game's numbers come from public logs of",
        "runs with StarCraft II; ours from the engine in this repository. Nothing is fitted per map: units, ranges,",
        "speeds, weapon timings and the game loop are StarCraft's own data, the rest is mechanics.",
        "",
        "## Uniformly random legal play",
        "",
        f"{EPISODES} episodes per map here. The real game's are first episodes of different public training runs; its",
        "first 10,000 training steps (ε about 0.9, the rest the policy of a fresh network) are shown beside because",
        "some maps have few first episodes. A dash: no such number is known to us.",
        "",
        "| map | real return | ours | difference | real length | ours | difference | real, ε ≈ 0.9: return / length "
        "| SMAClite: return / length |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Gates: {RETURN_GATE:.0f} % in mean return, {LENGTH_GATE:.0f} % in mean length. Outside: "
        f"{', '.join(misses) or 'none'}.",
        "",
        "What is known to differ, or not known at all:",
        "",
        "- Where units start: exact on 2s3z (published) and 2s_vs_1sc (in the map). On the other maps groups are",
        "  packed by the spacing that 2s3z shows; the order of directions is a guess beyond the first four.",
        "- Episodes start exactly at the spawn; the real game's later episodes start one or two loops after it.",
        "- Sideways acceleration is not modelled, nor is the medivac's (which needs a second to reach full speed).",
        "- How turning delays walking. The map scripts create units facing south, and yet those of the published",
        "  fight lose no time to the quarter turn that their first step needs; here units face the enemy's side, and a",
        "  turn of more than a loop costs time. Walks without that delay made random play on 2s_vs_1sc last 97 steps",
        "  instead of 105 in a trial, farther from the real 122, so that is not how it is either: open.",
        "- A colossus's beams hit at once: the real ones sweep for a quarter of a second and hit up to 0.7 s later.",
        "- The spine crawler's tentacle flies at its mean speed; its way back is not modelled (by our reckoning it is",
        "  home before the next attack).",
        "- A medivac told to heal a unit in full health stays idle, an order that cannot be carried out leaves the one",
        "  before in force; both are inferred.",
        "",
        "## Scripted and trained play",
        "",
        f"Mean return / won / length of {SCRIPTED} episodes. *Script*: everybody attacks the nearest enemy until it is",
        "dead, medivacs heal the nearest hurt comrade, SMAC's own heuristic; its orders reach across the field, and",
        "the column beside has it keep to legal actions. The real game's shares are the SMAC paper's medians as we",
        "remember them, not looked up again. Starts are fixed and the script is deterministic, so that a detail of",
        "steering turns a fight over: the shares are shown, not asked for. *QMIX*: the best member of the shipped",
        "pool, played greedily, beside means over public logs of real training runs (`docs/pools.md` has all seeds).",
        "",
        "| map | script, real: won | script, ours | script, legal actions only | QMIX, real | QMIX, ours |",
        "|---|---|---|---|---|---|",
        *(policy_row(map_name, SCRIPTED) for map_name in MAPS),
        "",
        "## Who is shot at shoots back",
        "",
        "In its first version (this page at commit `53c0848`) the engine's AI kept a target in range, whatever the",
        "others did. The second version has one rule more: *a unit prefers those who are attacking it*. Some players",
        "of the real game report it, its data files do not contain it; we infer it. It was found in 2s_vs_1sc, whose",
        "real winners need 40 to 42 steps, fewer than any retreat out of the crawler's reach that we searched (43.8 at",
        "best), so that one step back must turn the crawler to the other stalker. It explains more than that:",
        "",
        "| | first version | real game |",
        "|---|---|---|",
        "| 2s_vs_1sc: quickest win of a script, in steps | 43.8 | 40.1 to 42.2 (5 % to 95 % of trained runs) |",
        "| 2s_vs_1sc: QMIX, won | 0 % (return 10.15) | 99 % |",
        "| 2s3z: the published fight is lost at step | 71.1 | 52 |",
        "| 2s3z: SMAC's script, won | 0 % (84 % with legal actions only) | 90 % |",
        "",
        "What the second version does is in the tables of this page. Random play hardly notices the rule. The search",
        "for the quickest win was a trial that is not kept; `tests/test_smac_turns.py` has a script that wins in 42.",
        "",
        "## The published fight on 2s3z",
        "",
        "Policy: every ally attacks the first available target, else walks east. The real fight is one episode; ours",
        "are many, which differ only in the random weapon delay. Distance is the median over seeds, in map cells.",
        "",
        "| step | unit | real position | our distance from it | real health + shield | ours |",
        "|---|---|---|---|---|---|",
        *published_fight(real),
        "",
        "The fight is lost as in the real game, but later. A zealot's attack is two hits, the second one channelled,",
        "and any new order interrupts it. If the *same* attack order sent again interrupted it too, this one fight",
        "would be met closely; but then simple focus-fire heuristics, which win most real games (SMAC paper), would",
        "hardly ever win, and the fastest real wins would be out of reach. So a repeated order changes nothing here.",
        "",
        "Not tried: the real game itself, which cannot be installed here.",
        "",
    ]
    (ROOT / "docs" / "fidelity.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
