"""docs/extending.md as a stranger would follow it: its blocks become a package whose every part is used."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from offmarl_bench import registry
from offmarl_bench.cli import main
from offmarl_bench.testing import check_environment
from offmarl_bench.testing.agent import trial_dataset
from tests.test_third_party import installed as installed

PAGE = (Path(__file__).resolve().parent.parent / "docs/extending.md").read_text(encoding="utf-8")
SNIPPET = re.compile(r"^<!-- snippet: (\S+) -->\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = dict(SNIPPET.findall(PAGE))


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All blocks of the page as files of an installed distribution."""
    site = tmp_path / "kit"
    about = tomllib.loads(BLOCKS["pyproject.toml"])["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    groups = about["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups)
    )
    for name, text in BLOCKS.items():
        (site / name).write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(str(site))
    return site


def test_no_block_of_code_is_left_out() -> None:
    code = re.findall(r"^```(python|toml)$", PAGE, re.MULTILINE)
    assert len(code) == len(BLOCKS) >= 6


def test_the_environment_keeps_the_contract_and_is_played_over_the_executor(
    kit: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.distribution("environments", "field") == "field-kit"
    check_environment("field/guess")
    trial_dataset("field/guess").save(home / "guess.h5")
    monkeypatch.setenv("PYTHONPATH", str(kit))  # "workers need your package installed too"
    words = ["--dataset", str(home / "guess.h5"), "--seeds", "1", "--budget", "4", "--episodes", "2"]
    done = CliRunner().invoke(main, ["evaluate", "bc", *words, "--executor", "processes", "--workers", "1", "--json"])
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    assert (result["env_id"], result["backend"]) == ("field/guess", "field-1")
    for where in ([], ["reproduce"]):
        shown = CliRunner().invoke(main, [*where, "worst"])
        assert shown.exit_code == 0, shown.output
        assert re.fullmatch(r"guess  bc@default  [\d.]+\n", shown.stdout)


def test_the_wrapped_environment_keeps_the_contract(kit: Path) -> None:
    import wrapped  # type: ignore[import-not-found]

    check_environment(wrapped.many)


def test_the_test_of_the_agent_passes(kit: Path, installed: str) -> None:
    import test_mine  # type: ignore[import-not-found]

    test_mine.test_my_agent_keeps_the_contract()
