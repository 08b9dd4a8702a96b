"""StarCraft II unit data, one row per unit type: a new unit is a new row, the engine does not change.

Values are those of the multiplayer balance that the SMAC maps really run with (StarCraft II 4.6.2 and 4.10 game
data, Legacy of the Void), on StarCraft's "Normal" clock: 1 second = 16 game loops, one agent step = 8 loops. Tables
that quote "Faster" seconds are 1.4 times larger; mixing the two clocks makes every fight 1.4 times too quick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LOOPS_PER_SECOND = 16.0
LOOPS_PER_STEP = 8
TURN_RATE = 999.84
"""Degrees per second, of every unit here that turns as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitType:
    """One unit type. Times in seconds, lengths in map cells, hit points as the game shows them."""

    name: str
    letter: str
    """Prefix of agent names: ``s`` gives s1, s2, …"""
    health: float
    shield: float = 0.0
    armour: float
    """Subtracted from each hit on health (shields have none)."""
    damage: float
    bonus: float = 0.0
    """Extra damage against targets that have the attribute ``bonus_against``."""
    bonus_against: str = ""
    hits: int = 1
    """Hits per attack; the second of a melee pair is channelled ``second_hit`` seconds after the first."""
    second_hit: float = 0.0
    channel_range: float = 0.0
    """Greatest edge-to-edge distance at which the channelled second hit still lands."""
    period: float
    """Time from one attack to the next, before the random delay."""
    damage_point: float
    """Wind-up between starting an attack and its hit; moving away within it cancels the attack."""
    backswing: float = 0.5
    """Time after the hit in which the unit stays put unless it gets another order."""
    range: float
    """Weapon range, edge to edge."""
    range_slop: float = 1.0
    """How much farther the target may get during the wind-up."""
    scan: float
    """Range in which the built-in AI looks for targets, edge to edge."""
    missile: float = 0.0
    """Missile speed in cells per second; 0: the hit is instant. The spine crawler's tentacle starts at 12 and gains 140
    a second: 27 on average over 6 cells."""
    splash: tuple[float, float] = (0.0, 0.0)
    """Half length of a line of splash across the shot, and how far from it the edge of a unit may be; 0: none."""
    speed: float
    radius: float
    separation: float
    """Radius that keeps others away while moving."""
    inner: float
    """Radius used against the separation radius of the other."""
    turn_rate: float = TURN_RATE
    """Degrees per second; 0: attacks in any direction without turning (the colossus, whose turret is quick)."""
    health_regen: float = 0.0
    """Health per second, always."""
    attributes: tuple[str, ...]
    cooldown_shown: float
    """Game loops by which SMAC divides the weapon cooldown in the state."""
    structure: bool = False
    """Never moves and is never pushed."""
    layer: str = "ground"
    """Units push and block only those of their own layer: small units walk under a colossus, those in the ``air`` fly
    over everything, walls included."""
    climbs: bool = False
    """Whether cliffs are no obstacle to it (a map's ``cliffs``; the void around a map is one to everybody)."""
    hits_air: bool = False
    """Whether the weapon reaches targets in the air; the ground it reaches always."""
    heal: float = 0.0
    """Health per second that a healer gives to a biological unit of its side; such a unit has no weapon, and ``range``
    and ``scan`` are those of its healing."""


SHIELD_REGEN = 2.0
"""Shield per second, once unhurt for SHIELD_DELAY."""
SHIELD_DELAY = 10.0
WEAPON_DELAY = (-0.0625, 0.125)
"""Random addition to each attack period in seconds, uniform: the game's only randomness."""
MINIMUM_DAMAGE = 0.5
HEAL_ENERGY = 0.33
"""Energy per point of health healed."""
ENERGY_START = 50.0
ENERGY_MAX = 200.0
ENERGY_REGEN = 0.5625
"""Energy per second."""
ZERG_REGEN = 70.0 / 4096.0 * LOOPS_PER_SECOND
"""Health per second; the game counts in 1/4096 per loop."""

MARINE = UnitType(
    name="marine", letter="m", health=45, armour=0, damage=6, period=0.8608, damage_point=0.05, backswing=0.75,
    range=5, scan=5.5, speed=2.25, radius=0.375, separation=0.375, inner=0.375, attributes=("light", "biological"),
    cooldown_shown=15, hits_air=True,
)  # fmt: skip
STALKER = UnitType(
    name="stalker", letter="s", health=80, shield=80, armour=1, damage=13, bonus=5, bonus_against="armored",
    period=1.87, damage_point=0.167, range=6, scan=6.5, missile=18.75, speed=2.953125, radius=0.625,
    separation=0.625, inner=0.5, attributes=("armored", "mechanical"), cooldown_shown=35, hits_air=True,
)  # fmt: skip
ZEALOT = UnitType(
    name="zealot", letter="z", health=100, shield=50, armour=1, damage=8, hits=2, second_hit=0.28, channel_range=2.1,
    period=1.2, damage_point=0.0, range=0.1, scan=5, speed=2.25, radius=0.5, separation=0.375, inner=0.375,
    attributes=("light", "biological"), cooldown_shown=22,
)  # fmt: skip
COLOSSUS = UnitType(
    name="colossus", letter="c", health=200, shield=150, armour=1, damage=10, bonus=5, bonus_against="light", hits=2,
    period=1.5, damage_point=0.083, range=7, range_slop=0.0, scan=7.5, splash=(1.25, 0.15), speed=2.25, radius=1.0,
    separation=0.75, inner=0.5625, turn_rate=0.0, attributes=("armored", "mechanical", "massive"), cooldown_shown=24,
    layer="colossus", climbs=True,
)  # fmt: skip
SPINE_CRAWLER = UnitType(
    name="spine crawler", letter="sc", health=300, armour=2, damage=25, bonus=5, bonus_against="armored", period=1.85,
    damage_point=0.333, range=7, range_slop=0.0, scan=7, missile=27.0, speed=0.0, radius=0.875, separation=0.875,
    inner=0.875, turn_rate=360.0, health_regen=ZERG_REGEN, attributes=("armored", "biological", "structure"),
    cooldown_shown=15, structure=True,
)  # fmt: skip
ZERGLING = UnitType(
    name="zergling", letter="zg", health=35, armour=0, damage=5, period=0.696, damage_point=0.167, range=0.1, scan=5,
    speed=2.953125, radius=0.375, separation=0.375, inner=0.5, health_regen=ZERG_REGEN,
    attributes=("light", "biological"), cooldown_shown=11,
)  # fmt: skip
MARAUDER = UnitType(
    name="marauder", letter="ma", health=125, armour=1, damage=10, bonus=10, bonus_against="armored", period=1.5,
    damage_point=0.0, range=6, scan=6.5, missile=20.0, speed=2.25, radius=0.5625, separation=0.5, inner=0.375,
    attributes=("armored", "biological"), cooldown_shown=25,
)  # fmt: skip
MEDIVAC = UnitType(
    name="medivac", letter="md", health=150, armour=1, damage=0, period=1, damage_point=0, range=4, scan=6, heal=9.0,
    speed=2.5, radius=0.75, separation=0.75, inner=0.75, layer="air", attributes=("armored", "mechanical"),
    cooldown_shown=ENERGY_MAX,
)  # fmt: skip
ALLIED_MEDIVAC = replace(MEDIVAC, name="allied medivac", speed=2.75)
"""SMAC's own copy of the medivac, which the agents play, is a little faster."""

UNITS = {
    u.name: u for u in (MARINE, STALKER, ZEALOT, COLOSSUS, SPINE_CRAWLER, ZERGLING, MARAUDER, MEDIVAC, ALLIED_MEDIVAC)
}
