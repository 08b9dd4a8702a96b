"""``export`` and ``import`` as somebody at a terminal meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from offmarl_bench.cli.main import main
from offmarl_bench.loader import load_dataset
from tests.test_interop import toy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return toy().save(tmp_path / "ours.h5")


def run(*args: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["-q", *map(str, args)])
    return done.exit_code, done.stdout.strip(), done.stderr.strip()


def test_out_and_in_again(file: Path, tmp_path: Path) -> None:
    code, said, _ = run("export", file, "--to", "pymarl", "--out", tmp_path / "p.h5", "--json")
    assert code == 0
    assert "behavior_level" in {loss["what"] for loss in json.loads(said)["losses"]}
    code, said, _ = run("import", tmp_path / "p.h5", "--out", tmp_path / "back.h5", "--json")
    assert (code, json.loads(said)["episodes"]) == (0, 4)
    back = load_dataset(tmp_path / "back.h5")
    np.testing.assert_array_equal(back.columns["observations"], toy().columns["observations"])
    assert run("export", file, "--to", "minari", "--out", tmp_path / "m")[:2] == (0, str(tmp_path / "m"))
    assert run("export", file, "--to", "tensordict", "--out", tmp_path / "t")[:2] == (0, str(tmp_path / "t"))


def test_what_goes_wrong_is_one_line(file: Path, tmp_path: Path) -> None:
    for args, code, says in (
        (("export", file, "--to", "pymarl"), 2, "--to pymarl needs --out, a file or folder"),
        (("export", file, "--to", "pymarl", "--out", file), 1, "ours.h5 exists already; choose another name"),
        (("import", file, "--out", file), 1, "ours.h5 exists already; choose another name with --out"),
        (("import", file, "--out", tmp_path / "x", "--env", "a/b", "--name", "a/b"), 2, "give either --env"),
        (("import", file, "--out", tmp_path / "x", "--format", "pymrl"), 2, "pymarl"),
        (("import", file, "--out", tmp_path / "x", "--env", "smac/2s3zz"), 2, "2s3z"),
    ):
        found, out, err = run(*args)
        assert (found, out) == (code, "")
        assert says in err
        assert "Traceback" not in err
