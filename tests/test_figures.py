"""The paper's figures as commands: run at a tiny length on a toy map, with what is missing said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from baselines.exchanged import level_mean
from offmarl_bench.cli import main
from offmarl_bench.comparison import Bar, Panel, plot_panels, to_markdown
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.exchange import exchange_agents
from offmarl_bench.jobs import forget
from offmarl_bench.pool import save_pool
from offmarl_bench.profiles import profiles
from offmarl_bench.reproduction import Effort, Variant, first_that_plays, ready, run_variants
from offmarl_bench.testing import check_dataset
from sit.ardnem import mean_while_present
from tests.imbalanced_toy import imbalanced
from tests.test_report import a_result
from tests.toy_pool import toy_pool

DATA = "toy/signals/low"
SMALL = (
    "--set", "members=2", "--set", "reward_hidden=8", "--set", "attention_hidden=8", "--set", "actor_hidden=8",
    "--set", "critic_hidden=8",
)  # fmt: skip
Call = Callable[..., Result]


@pytest.fixture
def reproduce(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls ``reproduce NAME`` on a stored toy dataset at a tiny length; files go to ``tmp_path/out``.

    The toy's is the only pool there is: of no map of the paper is one shipped.
    """
    forget()
    monkeypatch.setattr("offmarl_bench.pool.SHIPPED", tmp_path / "no pools")
    data = imbalanced(24)
    data.metadata.update(dataset_id=f"{DATA}-v1", recipe="by hand", reference_random=0.0, reference_expert=8.0)
    data.save(home / "datasets/toy/signals/low-v1.h5")
    save_pool(toy_pool(), home / "pools/toy/signals")

    def call(name: str, *more: str, data: str = DATA) -> Result:
        tiny = ("--seeds", "1", "--budget", "8", "--episodes", "2", "--workers", "1")
        words = ["reproduce", name, "--dataset", data, *tiny, "--plots", str(tmp_path / "out"), *more]
        return CliRunner().invoke(main, words)

    return call


def written(result: Result, folder: Path, name: str, *pictures: str) -> dict[str, Any]:
    """The JSON of a figure, once its pictures and its page are there."""
    assert result.exit_code == 0, result.output
    for picture in pictures:
        with Image.open(folder / "out" / picture) as image:
            assert image.format == "PNG"
    page = (folder / "out" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert all(f"]({picture})" in page for picture in pictures)
    found: dict[str, Any] = json.loads((folder / "out" / f"{name}.json").read_text())
    return found


def test_figure_3_shows_rewards_while_stage_one_learns_and_priorities(reproduce: Call, tmp_path: Path) -> None:
    done = reproduce("fig3", "--seeds", "2", *SMALL)
    (one,) = written(done, tmp_path, "fig3", "fig3.png")["data"]
    assert one["agents"] == {"a1": "100% random", "a2": "50% random, 50% expert"} | {
        name: one["agents"][name] for name in ("b1", "b2")
    }
    assert one["updates"] == [4], "the last update of stage I"
    assert {len(values) for values in one["rewards"].values()} == {2}, "two seeds"
    assert set(one["priority_deciles"]) == {"a", "b"}
    assert len(one["measures"]["a/auc"]) == 2
    assert "| a2 | 50% random, 50% expert |" in done.stdout
    assert "| a/rank_correlation |" in done.stdout


def test_figure_4_leaves_out_one_part_at_a_time(reproduce: Call, tmp_path: Path) -> None:
    found = written(reproduce("fig4", "--panel", "a", "--panel", "b", *SMALL), tmp_path, "fig4", "fig4.png")
    a, b = found["data"]
    assert [bar["label"] for bar in a["bars"]] == ["SIT", "w/o decomp", "w/o attention", "w/o ensemble", "w/o GAT"]
    assert [bar["label"] for bar in b["bars"]] == ["SIT", "w/o priority"]
    assert a["bars"][0] == b["bars"][0], "one and the same run"
    assert "--set decomposition=False" in a["bars"][1]["command"]


def test_figure_4c_and_table_1_run_whoever_can_play(reproduce: Call, tmp_path: Path) -> None:
    done = reproduce("fig4", "--panel", "c")
    (panel,) = written(done, tmp_path, "fig4", "fig4.png")["data"]
    assert [bar["label"] for bar in panel["bars"]] == ["BC", "QMIX/FacMAC", "MABCQ", "MACQL", "ICQ", "SIT"]
    done = reproduce("table1", "--dataset", "smac/3s_vs_5z/low")
    found = written(done, tmp_path, "table1", "table1.png")
    assert {cell["agent"] for cell in found["data"]["cells"]} == {"bc", "qmix", "mabcq", "macql", "icq", "sit"}
    assert [line.partition(": ")[0] for line in found["missing"]] == ["left out smac/3s_vs_5z/low"]
    assert "| BC |" in done.stdout
    assert "left out smac/3s_vs_5z/low: no policy pool of smac/3s_vs_5z" in done.stderr


def test_figure_7_compares_both_kinds_of_stage_one(reproduce: Call, tmp_path: Path) -> None:
    found = written(reproduce("fig7", *SMALL), tmp_path, "fig7", "fig7b.png", "fig7c.png")["data"]
    assert [one["title"] for one in found["decomposition"]] == [f"{DATA}, attention", f"{DATA}, monotonic"]
    assert [bar["label"] for bar in found["scores"][0]["bars"]] == ["attention", "monotonic"]


def test_figure_8_changes_one_setting_at_a_time(reproduce: Call, tmp_path: Path) -> None:
    panels = written(reproduce("fig8", *SMALL), tmp_path, "fig8", "fig8.png")["data"]
    assert [panel["title"][:1] for panel in panels] == ["α", "β", "η"]
    assert [bar["label"] for bar in panels[1]["bars"]] == ["β = 0.01", "β = 0.1", "β = 1.0", "β = 10.0"]
    commands = [bar["command"] for bar in panels[1]["bars"]]
    assert "--set beta=0.1 " in commands[1]
    assert "beta" not in commands[2], "the preset's own value is the preset's run"
    assert all("uncertainty=literal" in bar["command"] for bar in panels[2]["bars"])


def test_figure_1_exchanges_agents_and_shows_the_joint_policies(reproduce: Call, tmp_path: Path) -> None:
    done = reproduce("fig1")
    (panel,) = written(done, tmp_path, "fig1", "fig1.png")["data"]
    assert [bar["label"] for bar in panel["bars"]] == ["ICQ", "ICQ, agents exchanged"]
    assert [line[0] for line in panel["lines"]] == [
        "mean of the data", "random joint policies", "medium joint policies",
    ]  # fmt: skip


def test_json_is_what_is_written_and_missing_is_missing_everywhere(reproduce: Call, tmp_path: Path) -> None:
    done = reproduce("fig4", "--panel", "b", *SMALL, "--json", "--dataset", "toy/signals/medium", "--no-generate")
    assert json.loads(done.stdout) == written(done, tmp_path, "fig4", "fig4.png")
    (line,) = json.loads(done.stdout)["missing"]
    assert line.startswith("left out toy/signals/medium: dataset 'toy/signals/medium' is not on this machine")
    assert line in (tmp_path / "out" / "fig4.md").read_text()
    none = reproduce("fig4", "--panel", "b", data="smac/3s_vs_5z/low")
    assert none.exit_code == 1
    assert none.stderr.count("no policy pool of smac/3s_vs_5z") == 1, none.stderr


def test_what_is_not_here_is_generated_where_a_pool_can(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pool(toy_pool(), home / "pools/toy/signals")
    assert ready([DATA]) == ([DATA], [])
    assert (home / "datasets/toy/signals/low-v1.h5").exists()
    with pytest.raises(OffmarlError, match=r"nothing to show: left out toy/signals/x: .*quality"):
        ready(["toy/signals/x"])


def test_a_variant_that_fails_is_left_out_and_a_setting_nobody_has_is_ignored(reproduce: Call) -> None:
    effort = Effort(seeds=1, budget=4, episodes=2, overrides={"hidden": 8}, progress=False)
    diverging = Variant(title="wild", agent="bc", overrides={"learning_rate": 1e38})
    found, failed = run_variants([Variant(title="calm", agent="bc"), diverging], DATA, effort)
    assert list(found) == ["calm"]
    assert found["calm"][0].config["hidden"] == 8
    assert failed[0].startswith(f"left out wild on {DATA}: 1 of 1 runs failed; seed 0: training of bc (seed 0) stopped")
    with pytest.raises(OffmarlError, match="nothing to show: left out wild"):
        run_variants([diverging], DATA, effort)
    found, _ = run_variants([Variant(title="calm", agent="bc")], DATA, replace(effort, overrides={"members": 2}))
    assert "members" not in found["calm"][0].config


def test_the_first_agent_that_can_play_is_taken() -> None:
    assert first_that_plays(("qmix", "bc"), "toy/signals") == "qmix"
    assert first_that_plays(("qmix", "bc"), "toy/target") == "bc"
    assert first_that_plays(("nobody",), "toy/signals") is None


def test_exchanged_data_are_the_same_trajectories_in_other_places() -> None:
    data = imbalanced(24)
    mixed = exchange_agents(data)
    check_dataset(mixed)
    assert mixed.metadata["operation"]["name"] == "exchange"
    kinds = np.array(data.spec.type_index)
    moved = 0
    for before, after in zip(data, mixed, strict=True):
        np.testing.assert_array_equal(before.state, after.state)
        np.testing.assert_array_equal(before.rewards, after.rewards)
        for kind in range(len(data.spec.types)):
            own = np.flatnonzero(kinds == kind)
            trajectories = [
                sorted((e.observations[:, i].tobytes(), e.actions[:, i].tobytes()) for i in own)
                for e in (before, after)
            ]
            assert trajectories[0] == trajectories[1]
        moved += not np.array_equal(before.observations, after.observations)
    assert moved > len(data) // 2
    np.testing.assert_array_equal(exchange_agents(data).columns["actions"], mixed.columns["actions"])
    assert not np.array_equal(exchange_agents(data, seed=1).columns["actions"], mixed.columns["actions"])


def test_rewards_are_averaged_over_the_steps_an_agent_takes_part_in() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 20.0], [5.0, 30.0]])
    present = torch.tensor([[True, False], [True, False], [False, False]])
    assert mean_while_present(values, present).tolist() == [2.0, 0.0]


def test_profiles_by_hand() -> None:
    ours = [a_result(agent="bc", seed=k, greedy_returns=(x,)) for k, x in enumerate((2.0, 4.0))]
    theirs = [a_result(agent="sit", seed=k, greedy_returns=(x,)) for k, x in enumerate((6.0, 8.0))]
    bc, sit = profiles([*ours, *theirs])
    low, high = bc.thresholds[0], bc.thresholds[-1]
    assert (low, high) == (ours[0].normalised(2.0), theirs[1].normalised(8.0))
    assert bc.share[0] == 0.5, "the worst of all scores is not above itself"
    assert sit.share[0] == 1.0
    assert bc.share[-1] == sit.share[-1] == 0.0
    assert bc.low is not None
    assert all(a <= b <= c for a, b, c in zip(bc.low, bc.share, bc.high or (), strict=True))
    assert profiles([ours[0], theirs[0]])[0].low is None, "a single seed has no band"
    with pytest.raises(FormatError, match="no dataset has normalised scores of all of BC, SIT; evaluate them on the"):
        profiles([ours[0], replace(theirs[0], dataset="smac/8m/low-v1")])


def test_the_command_for_profiles(reproduce: Call, tmp_path: Path) -> None:
    words = ["--seeds", "2", "--budget", "4", "--workers", "1", "--episodes", "2"]
    assert CliRunner().invoke(main, ["evaluate", "bc", "--dataset", DATA, *words]).exit_code == 0
    done = CliRunner().invoke(main, ["reproduce", "profiles", "--plots", str(tmp_path / "out")])
    (bc,) = written(done, tmp_path, "profiles", "profiles.png")["data"]
    assert (bc["agent"], bc["runs"], len(bc["share"])) == ("BC", 2, 101)
    assert "| BC | 2 |" in done.stdout


def test_a_comparison_in_words_and_as_a_picture(tmp_path: Path) -> None:
    bars = (
        Bar(label="$\\frac{$ | x", greedy=(1.0, 3.0), sampled=(), updates=7, command=None),
        Bar(label="one seed", greedy=(2.0,), sampled=(1.5,), updates=None, command=None),
    )
    panel = Panel(title="toy", bars=bars, lines=(("mean of the data", 0.5),))
    text = to_markdown([panel])
    assert r"| $\frac{$ \| x | 2.0 ± 1.4 |  | 2 | 7 |" in text
    assert "| one seed | 2.0 | 1.5 | 1 |  |" in text
    assert "- mean of the data: 0.5" in text
    with Image.open(plot_panels([panel] * 4, tmp_path / "x.png")) as picture:
        assert picture.format == "PNG"
    with pytest.raises(OffmarlError, match="there is nothing to draw"):
        plot_panels([], tmp_path / "y.png")


def test_the_mean_of_a_level() -> None:
    pool = toy_pool()
    level = pool.members[0].level
    own = [m.return_mean for m in pool.members if m.level == level]
    assert level_mean(pool, level) == pytest.approx(np.mean(own))
