"""The batched environment over real games: one process and one game a lane, stepped at the same time.

A game that crashes, hangs or does not start is started again with its lane's seed, and the actions of its episode are
played again: the real game is deterministic, so what is seen must be what was seen. Where it is not, the episode is
lost, and whoever plays (``rollout``) plays the same seeds once more.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Int, Shaped, UInt64

from offmarl_bench.envs.sc2.game import Game, GameLost
from offmarl_bench.envs.sc2.options import Options
from offmarl_bench.envs.sc2.wire import Arrays
from offmarl_bench.errors import EpisodeLost, OffmarlError, SpecMismatch
from offmarl_bench.types import EnvSpec, Start, Step

log = logging.getLogger(__name__)

SEED_RANGE = 2**32
"""The game takes 32 bits; of a lane's 64 the lower ones are used."""
SIZES = {"n_agents": "N", "n_actions": "A", "obs_shape": "O", "state_shape": "S", "episode_limit": "horizon"}
"""SMAC's name of a size → ours."""
COUNTS = ("dead_allies", "dead_enemies")
Answer = tuple[dict[str, Any], Arrays]


class Lane:
    """One lane: its game, and what has happened in its episode."""

    def __init__(self, spec: EnvSpec, map_name: str, max_reward: float, number: int, options: Options) -> None:
        self._spec, self._map, self._max_reward, self._number = spec, map_name, max_reward, number
        self._options = options
        self._game: Game | None = None
        self._played = 0  # episodes in this game
        self._waiting = False  # asked for something that has not come
        self._seed = 0
        self._tries = 0
        self._actions: list[Int[np.ndarray, " N"]] = []
        self._answers: list[Answer] = []
        self.over = True

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self._spec.id}: lane {self._number}, seed {self._seed}, step {len(self._actions)}"

    @property
    def now(self) -> Answer:
        """The last answer."""
        return self._answers[-1]

    def begin(self, seed: int) -> None:
        """Ask for a new episode; ``look`` fetches it."""
        if self._waiting:  # an episode that was given up while the game still worked on it
            self._drop()
        # SMAC can restart a game after a whole episode only.
        fresh = self._game is None or not self.over or self._played >= self._options.episodes_per_game
        self._seed, self._tries, self._actions, self._answers, self.over = seed % SEED_RANGE, 1, [], [], False
        self._played = 0 if fresh else self._played
        try:
            self._start(fresh)
        except GameLost as e:
            self._again(e)

    def _start(self, fresh: bool) -> None:
        if self._game is None:
            self._game = Game(self._map, self._max_reward, self._options)
        self._played += 1
        self._ask({"seed": self._seed, "fresh": fresh})

    def _ask(self, message: dict[str, Any], arrays: Arrays | None = None) -> None:
        """Send a wish to the game. Raises GameLost."""
        if self._game is None:
            raise GameLost("it is not running")
        self._waiting = True
        self._game.ask(message, arrays)

    def act(self, actions: Int[np.ndarray, " N"]) -> None:
        """Ask for a step; ``look`` fetches it."""
        self._actions.append(actions)
        try:
            self._ask({}, {"actions": actions})
        except GameLost as e:
            self._again(e)

    def look(self) -> None:
        """Wait for what was asked for, starting the game again and replaying the episode where it is lost.

        Raises:
            OffmarlError: the game was lost too often, or is another one than the spec says. EpisodeLost: a replay
                went another way.
        """
        while True:
            try:
                while len(self._answers) <= len(self._actions):
                    self._fetch()
                return
            except GameLost as e:
                self._again(e)

    def _fetch(self) -> None:
        """The next answer of the episode, which was asked for. Raises GameLost, OffmarlError."""
        first = not self._answers
        if self._game is None:
            raise GameLost("it is not running")
        answer = self._game.answer(self._options.start_seconds if first else self._options.step_seconds)
        self._waiting = False
        if first:
            self._check(answer)
        self._answers.append(answer)
        self.over = bool(answer[0].get("over", False))

    def _again(self, reason: GameLost) -> None:
        """Start the game again and replay what has been played. Raises OffmarlError, EpisodeLost."""
        while True:
            self._drop()
            if self._tries >= self._options.attempts:
                raise OffmarlError(
                    f"{self.where}: the game was lost {self._tries} times, last: {reason}; see that it runs alone "
                    "(python -m smac.examples.random_agents), and docs/sc2.md"
                ) from reason
            self._tries += 1
            log.warning("%s: game lost (%s); starting it again", self.where, reason)
            try:
                self._replay()
                return
            except GameLost as e:
                reason = e

    def _replay(self) -> None:
        """A new game with the same seed and the same actions, up to the last answer that was had."""
        known, self._answers, self._played = self._answers, [], 0
        try:
            self._start(fresh=True)
            for k in range(len(known)):
                if k:
                    self._ask({}, {"actions": self._actions[k - 1]})
                self._fetch()
                if not _same(known[k], self._answers[k]):
                    self._drop()
                    raise EpisodeLost(
                        f"{self.where}: the game was lost, and its replay went another way at step {k}; play the "
                        "same seeds again"
                    )
            if known and len(known) <= len(self._actions):
                self._ask({}, {"actions": self._actions[-1]})
        except GameLost:
            self._answers = known
            raise

    def _check(self, answer: Answer) -> None:
        """Raises OffmarlError where the game shows something of other sizes than agents were made for."""
        for theirs, ours in SIZES.items():
            shown, expected = answer[0]["sizes"][theirs], getattr(self._spec, ours)
            if shown != expected:
                self._drop()
                raise OffmarlError(
                    f"{self._spec.id}: the installed smac says {theirs} = {shown}, expected {expected}; use the "
                    "original package with the map's own settings (docs/sc2.md)"
                )

    def _drop(self) -> None:
        self._waiting = False
        if self._game is not None:
            self._game.kill()
            self._game = None

    def close(self) -> None:
        """End the game."""
        self.over = True
        if self._game is not None:
            self._game.close()
            self._game = None


def _same(a: Answer, b: Answer) -> bool:
    return a[0] == b[0] and all(np.array_equal(a[1][name], b[1][name]) for name in a[1])


def _close(lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.close()


class Sc2Env:
    """``num_envs`` games of one map. Games start when a reset first needs them, and end with ``close`` or with us.

    ``step``'s info is that of ``smac``: ``battle_won``, ``dead_allies``, ``dead_enemies``, set when a lane finishes.
    """

    def __init__(self, spec: EnvSpec, map_name: str, max_reward: float, num_envs: int, options: Options) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._map, self._max_reward, self._options = map_name, max_reward, options
        self._lanes: list[Lane] = []
        self._live: list[Lane] = []
        self._end = weakref.finalize(self, _close, self._lanes)

    def reset(self, seeds: UInt64[np.ndarray, " B"]) -> Start:
        """See BatchedEnv. Raises OffmarlError besides: a game that cannot be started."""
        seeds = np.asarray(seeds, np.uint64)
        if seeds.ndim != 1 or not 1 <= len(seeds) <= self.num_envs:
            raise SpecMismatch(
                f"{self.spec.id}: reset got seeds of shape {seeds.shape}, expected 1 to {self.num_envs} of them"
            )
        while len(self._lanes) < len(seeds):
            lane = Lane(self.spec, self._map, self._max_reward, len(self._lanes), self._options)
            self._lanes.append(lane)
        self._live = self._lanes[: len(seeds)]
        for lane, seed in zip(self._live, seeds, strict=True):
            lane.begin(int(seed))
        for lane in self._live:
            lane.look()
        return self._view()

    def _view(self) -> Start:
        arrays = [lane.now[1] for lane in self._live]
        return Start(*(np.stack([a[name] for a in arrays]) for name in ("obs", "state", "legal")))

    def step(self, actions: Int[np.ndarray, "B N"]) -> Step:
        """See BatchedEnv. Raises besides: EpisodeLost, OffmarlError (a game that is lost again and again)."""
        actions = np.asarray(actions)
        self._check(actions)
        running = np.array([not lane.over for lane in self._live])
        for lane, joint in zip(self._live, actions.astype(np.int64), strict=True):
            if not lane.over:
                lane.act(joint)
        for lane, was in zip(self._live, running, strict=True):
            if was:
                lane.look()
        now, told = self._view(), [lane.now[0] for lane in self._live]
        over = np.array([lane.over for lane in self._live])
        cut = over & np.array([t.get("limit", False) for t in told])
        reward = np.array([t.get("reward", 0.0) for t in told], np.float32) * running
        info = {"battle_won": over & np.array([t.get("battle_won", False) for t in told])}
        counts = ([t.get(f"dead_{side}", 0) for t in told] for side in ("agents", "enemies"))
        info |= {name: np.array(count, np.int64) * over for name, count in zip(COUNTS, counts, strict=True)}
        return Step(now.obs, now.state, now.legal, reward.astype(np.float32), over & ~cut, cut, info)

    def _check(self, actions: Shaped[np.ndarray, "B N"]) -> None:
        spec = self.spec
        if not self._live:
            raise SpecMismatch(f"{spec.id}: step before reset; call reset(seeds) first")
        if actions.shape != (len(self._live), spec.N) or actions.dtype.kind not in "iu":
            raise SpecMismatch(
                f"{spec.id}: actions have shape {actions.shape} and type {actions.dtype}, "
                f"expected integers of shape {(len(self._live), spec.N)}"
            )
        for b, lane in enumerate(self._live):
            for i, action in enumerate(actions[b]):
                if not lane.over and not (0 <= action < spec.A and lane.now[1]["legal"][i, action]):
                    self._refuse(b, i, int(action), lane)

    def _refuse(self, b: int, i: int, action: int, lane: Lane) -> NoReturn:
        raise SpecMismatch(
            f"{self.spec.id}: lane {b}, agent {self.spec.agents[i]}: action {action} is illegal; "
            f"legal actions are {np.flatnonzero(lane.now[1]['legal'][i]).tolist()}"
        )

    def close(self) -> None:
        """End all games; a later reset starts them again."""
        _close(self._lanes)
        self._live = []
