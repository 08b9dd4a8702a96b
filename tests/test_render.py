"""Episodes as pictures: who plays is found, every moment is there, and a stranger's environment can offer its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offmarl_bench.atomic import write_atomic
from offmarl_bench.envs import make_env
from offmarl_bench.envs.scene import Body, Drawable, Scene, Stick
from offmarl_bench.envs.toy import SPECS, ToyEnv
from offmarl_bench.errors import FormatError, OffmarlError, SpecMismatch, UnknownName
from offmarl_bench.generate import generate
from offmarl_bench.policies import UniformPolicy
from offmarl_bench.pool import save_pool
from offmarl_bench.render import Film, choose_players, film, frames, theme, write_gif
from offmarl_bench.rollout import rollout
from offmarl_bench.runs import RECORD
from offmarl_bench.seeding import episode_seeds, generator
from offmarl_bench.train_runs import train_runs
from tests.toy_pool import toy_pool


def uniform_film(env_id: str) -> Film:
    cast = choose_players(env_id)
    return film(env_id, cast.policy, title=cast.title)


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(map(int, c)) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3)}


def test_a_film_has_every_moment_and_is_the_first_episode_of_an_evaluation() -> None:
    made = uniform_film("mpe/CN_3ls3l")
    env = make_env("mpe/CN_3ls3l", 1)
    played = rollout(env, UniformPolicy(env.spec), episode_seeds(0, "evaluate", 0, 1), generator(0, "evaluate"))
    assert made.episode_return == pytest.approx(played.returns[0])
    assert made.length == 25
    assert len(frames(made)) == 26
    assert [s.t for s in made.shots] == list(range(26))
    assert made.shots[0].actions == ()
    assert len(made.shots[1].actions) == 3


@pytest.mark.parametrize("env_id", ["mpe/CN_4ls4l", "mpe/PP_3p1p", "smac/2s3z", "mamujoco/Walker_2l"])
def test_our_worlds_offer_a_scene_in_which_every_agent_has_its_place(env_id: str) -> None:
    env = make_env(env_id, 2)
    env.reset(np.arange(2, dtype=np.uint64))
    assert isinstance(env, Drawable)
    scene = env.scene(1)
    assert [b.agent for b in scene.bodies if b.role == "agent"] == list(range(env.spec.N))
    assert tuple(b.name for b in scene.bodies if b.role == "agent") == env.spec.agents
    assert scene.caption
    assert all(b.radius > 0 for b in scene.bodies)


def test_a_landmark_with_a_seeker_on_it_counts_as_covered() -> None:
    env = make_env("mpe/CN_3ls3l", 1)
    env.reset(np.zeros(1, np.uint64))
    places = [(0, 0), (1, 0), (0, 1), (0, 0.1), (0.9, 0), (1, 1)]
    env.place(np.array([places]), np.zeros((1, 6, 2)))  # type: ignore[attr-defined]
    assert isinstance(env, Drawable)
    assert env.scene(0).caption == "covered 2 of 3"


def test_a_battle_shows_health_shields_targets_and_the_dead() -> None:
    made = uniform_film("smac/2s3z")
    first, last = made.shots[0].scene, made.shots[-1].scene
    assert first is not None
    assert last is not None
    assert all(b.health == 1 and b.shield == 1 and b.present for b in first.bodies)
    assert not all(b.present for b in last.bodies), "uniform play loses units"
    assert made.won is False
    middle = [b for s in made.shots if s.scene is not None for b in s.scene.bodies]
    assert any(b.aims_at is not None for b in middle)


def test_agents_are_coloured_by_who_plays_them(home: Path) -> None:
    save_pool(toy_pool(), home / "pools" / "toy" / "signals")
    cast = choose_players("toy/signals", recipe="100%[a1r,a2e,b1r,b2e]")
    assert cast.levels == (0, 2, 0, 2)
    assert cast.title == "[a1r,a2e,b1r,b2e]"
    seen = colours(frames(film("toy/signals", cast.policy, levels=cast.levels))[-1])
    assert {theme.BY_LEVEL[0], theme.BY_LEVEL[2]} <= seen
    assert not {theme.BY_LEVEL[1], theme.TEAM} & seen
    assert theme.TEAM in colours(frames(uniform_film("toy/signals"))[-1])


def test_a_level_is_the_recipe_in_which_all_are_of_it_and_a_quality_is_its_recipe(home: Path) -> None:
    save_pool(toy_pool(), home / "pools" / "toy" / "signals")
    assert choose_players("toy/signals", policy="medium").levels == (1, 1, 1, 1)
    drawn = {choose_players("toy/signals", recipe="low", seed=k).levels for k in range(12)}
    assert drawn == {(0, 0, 0, 0), (0, 2, 0, 2)}, "both halves of the recipe come up"


def test_a_trained_agent_plays_by_its_name_or_its_folder(home: Path, tmp_path: Path) -> None:
    save_pool(toy_pool(), home / "pools" / "toy" / "signals")
    generate("toy/signals", quality="low", episodes=32, progress=False)
    with pytest.raises(OffmarlError, match=r"no finished run of bc on toy/signals under .*; train one with"):
        choose_players("toy/signals", policy="bc")
    (run,) = train_runs("bc", "toy/signals/low", seeds=1, budget=2, progress=False)
    by_name, by_folder = (choose_players("toy/signals", policy=p) for p in ("bc", str(run)))
    assert by_name.title == by_folder.title == "bc, seed 0, trained on toy/signals/low-v1"
    returns = [film("toy/signals", c.policy).episode_return for c in (by_name, by_folder)]
    assert returns[0] == returns[1]
    with pytest.raises(SpecMismatch, match=r"bc was made for toy/signals \(N = 4\) and cannot play mpe/CN_3ls3l"):
        choose_players("mpe/CN_3ls3l", policy=str(run))
    write_atomic(run / RECORD, b"{")
    with pytest.raises(FormatError, match=RECORD):
        choose_players("toy/signals", policy=str(run))


def test_what_cannot_play_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown policy 'exprt'\. Did you mean 'expert'"):
        choose_players("toy/signals", policy="exprt")
    with pytest.raises(UnknownName, match=r"no policy pool of toy/target: .* make one with `offmarl-bench pool train"):
        choose_players("toy/target", policy="expert")
    with pytest.raises(FormatError, match="got policy 'medium' and a recipe; give one of them"):
        choose_players("toy/signals", policy="medium", recipe="low")
    with pytest.raises(FormatError, match=f"{tmp_path}: no finished run here"):
        choose_players("toy/signals", policy=str(tmp_path))
    with pytest.raises(UnknownName, match="unknown quality of toy/signals 'lo'"):
        choose_players("toy/signals", recipe="lo")


def test_a_gif_has_a_picture_for_every_moment(tmp_path: Path) -> None:
    path = write_gif(uniform_film("mpe/PP_3p1p"), tmp_path / "new" / "hunt.gif", fps=10)
    with Image.open(path) as gif:
        assert gif.format == "GIF"
        assert gif.n_frames == 26  # type: ignore[attr-defined]
        assert gif.info["duration"] == 100
        gif.seek(25)
        assert gif.info["duration"] == 2000
        assert theme.OTHER in colours(gif), "rare colours survive the palette"


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    first, again = (write_gif(uniform_film("toy/signals"), tmp_path / f"{k}.gif").read_bytes() for k in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("name", "fps", "words"),
    [("a.png", 6.0, "a.png: the picture is an animated GIF; give a file that ends in .gif"),
     ("", 6.0, "ends in .gif"), ("a.gif", 0.0, "fps is 0.0, expected 0.5 to 50.0"),
     ("a.gif", float("nan"), "fps is nan")],
)  # fmt: skip
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, name: str, fps: float, words: str) -> None:
    with pytest.raises(FormatError, match=words.replace(".", r"\.")):
        write_gif(uniform_film("toy/signals"), tmp_path / name, fps=fps)


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gif").mkdir()
    with pytest.raises(FormatError, match="is a folder; give a file"):
        write_gif(uniform_film("toy/signals"), tmp_path / "a.gif")


class Parade(ToyEnv):
    """A stranger's environment with a picture of its own: agents in a row, each aiming at the next."""

    def scene(self, lane: int) -> Scene:
        """See Drawable."""
        n = self.spec.N
        bodies = [
            Body(
                x=k, y=0, radius=0.3, role="agent", agent=k, name="a rather long name", health=0.2, aims_at=(k + 1) % n
            )
            for k in range(n)
        ]
        gone = Body(x=1, y=1, radius=0.3, kind="ghost", present=False)
        return Scene(bodies=(*bodies, gone), ground=((-1, -1, n, 1),), caption="parade")


def test_a_strangers_environment_is_drawn_as_it_says() -> None:
    env = Parade(SPECS["signals"], 1)
    made = film("toy/signals", UniformPolicy(env.spec), env=env, levels=(0, 1, 2, 2))
    pictures = frames(made)
    assert len(pictures) == 9
    assert {*theme.BY_LEVEL, theme.HURT} <= colours(pictures[-1])
    assert len({p.size for p in pictures}) == 1


def test_what_is_jointed_is_drawn_as_sticks_in_the_colours_of_who_moves_them() -> None:
    class Crane(Parade):
        def scene(self, lane: int) -> Scene:
            arms = [Stick(x0=0, y0=0, x1=5.0 + k, y1=5, radius=0.2, agent=k) for k in range(2)]
            return Scene(bodies=(), sticks=(*arms, Stick(x0=-3, y0=-1, x1=3, y1=-1, radius=0.01)))

    env = Crane(SPECS["signals"], 1)
    made = film("toy/signals", UniformPolicy(env.spec), env=env, levels=(0, 2, 2, 2))
    picture = frames(made)[-1]
    seen = colours(picture)
    assert {theme.BY_LEVEL[0], theme.BY_LEVEL[2]} <= seen
    assert theme.BY_LEVEL[1] not in seen
    edge = np.asarray(picture)[theme.HEADER + 1, :]
    assert not (edge == theme.BY_LEVEL[0]).all(-1).any(), "the arms end inside the picture"


def test_a_world_in_which_nothing_is_can_be_drawn() -> None:
    class Void(Parade):
        def scene(self, lane: int) -> Scene:
            return Scene(bodies=())

    env = Void(SPECS["signals"], 1)
    assert len(frames(film("toy/signals", UniformPolicy(env.spec), env=env))) == 9


def test_continuous_actions_fit_the_chart() -> None:
    made = uniform_film("toy/target")
    assert made.shots[1].actions[0][0] in "+-"
    assert frames(made)[0].width == theme.WIDTH


def test_the_agent_in_the_registry_is_not_hidden_by_a_folder_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sit").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OffmarlError, match="no finished run of sit on toy/signals"):
        choose_players("toy/signals", policy="sit")
