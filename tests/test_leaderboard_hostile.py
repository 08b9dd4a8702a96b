"""A stranger's submission is hostile until shown otherwise: one spoilt thing at a time, one clear line each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from leaderboard.bundle import file_hash
from leaderboard.folder_check import MAX_FILES, MAX_SIZES
from leaderboard.validate import validate
from offmarl_bench.cli import main
from offmarl_bench.errors import FormatError
from tests.toy_bundle import STEM, edit, everywhere, known, toy_bundle

Spoil = Callable[[Path], object]
RESULT, POLICY = f"results/{STEM.format(0)}.json", f"policies/{STEM.format(0)}.json"
WEIGHTS, CURVES = f"policies/{STEM.format(0)}.safetensors", f"curves/{STEM.format(0)}.json"
MODULE_THAT_MUST_NOT_RUN = "tests.must_not_run"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return toy_bundle(tmp_path)


def test_the_honest_one_passes(bundle: Path) -> None:
    checked = validate(bundle, known=known())
    assert (checked.policies, len(checked.bundle.results)) == (5, 5)
    (bundle / "README.md").write_text("# Words\n\n\tand more of them: 5 < 6, naïve, π\n")
    validate(bundle, known=known())


def test_results_made_before_learning_curves_were_kept_still_pass(bundle: Path) -> None:
    for path in (bundle / "results").iterdir():
        edit(path, lambda r: r.pop("curve"))
    assert validate(bundle, known=known()).bundle.results[STEM.format(0)].curve == ()


def changed(file: str, **values: Any) -> Spoil:
    return lambda b: edit(b / file, lambda record: record.update(values))


def text(file: str, old: str, new: str) -> Spoil:
    def spoil(bundle: Path) -> None:
        content = (bundle / file).read_text()
        assert old in content
        (bundle / file).write_text(content.replace(old, new, 1))

    return spoil


def agent(name: str) -> Spoil:
    def rename(record: dict[str, Any]) -> None:
        if "agent" in record:
            record["agent"] = name

    def spoil(bundle: Path) -> None:
        from offmarl_bench.runs import run_hash

        everywhere(bundle, rename)
        for path in (bundle / "results").iterdir():
            edit(path, lambda r: r.update(run=run_hash(name, r["config"], r["budget"], r["dataset_hash"])))

    return spoil


def in_results(**values: Any) -> Spoil:
    def spoil(bundle: Path) -> None:
        for path in (bundle / "results").iterdir():
            edit(path, lambda r: r.update(values))

    return spoil


def setting(name: str, value: Any) -> Spoil:
    """In a policy and its result, with the run's hash made to fit."""

    def spoil(bundle: Path) -> None:
        from offmarl_bench.runs import run_hash

        everywhere(bundle, lambda r: r["config"].update({name: value}) if "config" in r else None)
        for path in (bundle / "results").iterdir():
            edit(path, lambda r: r.update(run=run_hash(r["agent"], r["config"], r["budget"], r["dataset_hash"])))

    return spoil


def renamed(file: str, name: str) -> Spoil:
    return lambda b: (b / file).rename((b / file).with_name(name))


def linked(bundle: Path) -> None:
    (bundle / "README.md").symlink_to("/etc/passwd")


def hard_linked(bundle: Path) -> None:
    elsewhere = bundle.parent / "elsewhere.json"
    elsewhere.write_bytes((bundle / RESULT).read_bytes())
    (bundle / RESULT).unlink()
    os.link(elsewhere, bundle / RESULT)


def linked_folder(bundle: Path) -> None:
    (bundle / "curves").rename(bundle.parent / "curves")
    (bundle / "curves").symlink_to(bundle.parent / "curves")


def listening(bundle: Path) -> None:
    here = os.getcwd()
    os.chdir(bundle)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("README.md")
    finally:
        os.chdir(here)


def large(file: str) -> Spoil:
    return lambda b: os.truncate(b / file, MAX_SIZES[(b / file).suffix] + 1)  # sparse: takes no room


def many(bundle: Path) -> None:
    for k in range(MAX_FILES):
        (bundle / "curves" / f"x{k}.json").touch()


def deep(bundle: Path) -> None:
    (bundle / "submission.json").write_text('{"overrides":' * 50_000)


def quite_deep(bundle: Path) -> None:
    nested: Any = {}
    for _ in range(20):
        nested = {"x": nested}
    edit(bundle / "submission.json", lambda s: s["overrides"].update(x=nested))
    everywhere(bundle, lambda r: r.update(overrides={"x": nested}) if "overrides" in r else None)


def weights(change: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]) -> Spoil:
    """Change header and data of a file of weights, and the hash that the policy's record states."""

    def spoil(bundle: Path) -> None:
        raw = (bundle / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header, body = change(json.loads(raw[8 : 8 + length]), raw[8 + length :])
        made = json.dumps(header).encode()
        (bundle / WEIGHTS).write_bytes(struct.pack("<Q", len(made)) + made + body)
        changed(POLICY, sha256=file_hash(bundle / WEIGHTS))(bundle)

    return spoil


def tensor(header: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(v for k, v in header.items() if k != "__metadata__" and v["data_offsets"][0] == 0)
    return found


def overlapping(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    first = tensor(header)
    twin = next(v for v in header.values() if "dtype" in v and v is not first)
    twin.update(dtype=first["dtype"], shape=first["shape"], data_offsets=first["data_offsets"])
    return header, body


def with_tensor(**values: Any) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    def change(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        tensor(header).update(values)
        return header, body

    return change


def long_header(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    changed(POLICY, sha256=file_hash(bundle / WEIGHTS))(bundle)


def not_finite(bundle: Path) -> None:
    import torch

    from offmarl_bench.checkpoint import read_tensors, write_tensors

    tensors, header = read_tensors(bundle / WEIGHTS)
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    write_tensors(bundle / WEIGHTS, tensors, header)
    changed(POLICY, sha256=file_hash(bundle / WEIGHTS))(bundle)


def pickled(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(b"\x80\x04cos\nsystem\n")
    changed(POLICY, sha256=file_hash(bundle / WEIGHTS))(bundle)


def without_seed(seed: int) -> Spoil:
    def spoil(bundle: Path) -> None:
        for path in bundle.glob(f"*/{STEM.format(seed)}.*"):
            path.unlink()

    return spoil


KINDS: dict[str, tuple[Spoil, str]] = {
    "symbolic link": (linked, "'README.md' is a symbolic link"),
    "linked folder": (linked_folder, "'curves' is a symbolic link"),
    "hard link": (hard_linked, "is a hard link to a file elsewhere"),
    "socket": (listening, "is a device, pipe or socket"),
    "pipe": (lambda b: os.mkfifo(b / "README.md"), "is a device, pipe or socket"),
    "code beside it": (lambda b: (b / "agent.py").write_text("1"), "'agent.py' does not belong"),
    "hidden file": (lambda b: (b / ".git").mkdir(), r"'\.git' is no name for a file here"),
    "folder in a folder": (lambda b: (b / "results/more").mkdir(), "'results/more' does not belong"),
    "escape in a file name": (lambda b: (b / "\x1b[2J.md").touch(), r"'\\x1b\[2J.md' is no name for a file here"),
    "names that differ in case": (lambda b: (b / "Readme.md").touch(), "'Readme.md' does not belong"),
    "twins in case": (renamed(CURVES, f"{STEM.format(1)}.json".upper().replace("JSON", "json")), "by upper and lower"),
    "large record": (large(RESULT), "has 1048577 bytes, at most 1048576"),
    "large weights": (large(WEIGHTS), "has 16777217 bytes"),
    "many files": (many, "more than 1000 files"),
    "no submission": (lambda b: (b / "submission.json").unlink(), r"no submission\.json here"),
    "no results": (lambda b: shutil.rmtree(b / "results"), "no results"),
    "NaN": (text(RESULT, '"behavior_mean": 5.6', '"behavior_mean": NaN'), "NaN is not a finite number"),
    "infinity": (text(RESULT, '"behavior_mean": 5.6', '"behavior_mean": 1e999'), "1e999 is not a finite number"),
    "endless integer": (text(RESULT, '"seed": 0', '"seed": ' + "9" * 5000), "an integer of 5000 digits"),
    "duplicate key": (text(RESULT, '"seed": 0', '"seed": 0, "seed": 1'), "'seed' is there twice"),
    "deep JSON": (deep, "cannot be read as a Submission"),
    "nested settings": (quite_deep, "nested more than 6 deep"),
    "not JSON": (lambda b: (b / RESULT).write_bytes(b"\xff\xfe"), "cannot be read as a Result"),
    "other format": (changed("submission.json", format="2"), "format is '2', expected"),
    "unknown field": (changed(RESULT, mean=9.0), r"has unknown \['mean'\]"),
    "missing field": (lambda b: edit(b / RESULT, lambda r: r.pop("run")), r"lacks \['run'\]"),
    "wrong type": (changed(RESULT, greedy_returns="many"), "greedy_returns is 'many', expected"),
    "text for a number": (changed(RESULT, seed="0"), "seed is '0', expected"),
    "HTML in the name": (changed("submission.json", name="<script>alert(1)</script>"), "holds one of <>&"),
    "HTML in an author": (changed("submission.json", authors=["<img src=x>"]), "holds one of <>&"),
    "escape in the name": (changed("submission.json", name="\x1b]0;own\x07"), r"invisible character U\+001B"),
    "right-to-left override": (changed("submission.json", name="abc\u202ecba"), r"invisible character U\+202E"),
    "invisible text in a command": (in_results(command="rm\u200b -rf"), r"invisible character U\+200B"),
    "long name": (changed("submission.json", name="x" * 81), "81 characters, at most 80"),
    "script as a link": (changed("submission.json", url="javascript:alert(1)"), "url 'javascript:alert"),
    "link out of its quotes": (changed("submission.json", url='https://x" onclick="y'), "without spaces or quotes"),
    "no day": (changed("submission.json", created="yesterday"), "created is 'yesterday', expected a day"),
    "binary README": (lambda b: (b / "README.md").write_bytes(b"\xff"), "is not UTF-8 text"),
    "escape in the README": (lambda b: (b / "README.md").write_text("\x1b[31m"), r"U\+001B"),
    "missing seed": (without_seed(2), r"are \[0, 1, 3, 4\], expected 0 to 3: none left out"),
    "seed under another name": (changed(RESULT, seed=7), "holds toy/signals/low-v1 seed 7, so it is called"),
    "another agent's result": (changed(RESULT, agent="qmix"), "agent is 'qmix', but the submission's is 'bc'"),
    "unknown dataset": (in_results(dataset_hash="0" * 64), "no published toy/signals/low-v1 has content hash 000"),
    "no hash": (in_results(dataset_hash="x"), "dataset_hash 'x' is no SHA-256"),
    "path for a dataset": (in_results(dataset="../../x"), "dataset id"),
    "other environment": (in_results(env_id="smac/2s3z"), "of 'smac/2s3z': expected"),
    "suite that is code": (
        in_results(dataset=f"{MODULE_THAT_MUST_NOT_RUN}:x/m/low-v1", env_id=f"{MODULE_THAT_MUST_NOT_RUN}:x/m"),
        "unknown suite",
    ),
    "easier references": (in_results(expert_reference=3.0), "expert_reference is 3.0, but the dataset says 8.0"),
    "claim that is not the mean": (changed("submission.json", claims={"toy/signals/low-v1": 8.0}), "but its episodes'"),
    "claim about nothing": (changed("submission.json", claims={}), r"claims are about \[\]"),
    "impossible returns": (in_results(greedy_returns=[1e300] * 32), "returns of at most 1e"),
    "impossible wins": (in_results(greedy_win_rate=0.51), "0.51 is no number of wins out of 32"),
    "impossible lengths": (in_results(greedy_lengths=[10**9] * 32), "1000000000 steps, an episode has at most"),
    "lengths of other episodes": (in_results(greedy_lengths=[3]), "expected 32 numbers of steps"),
    "settings that were not run": (in_results(budget=15_000), "but settings, budget and data make"),
    "seeds of two experiments": (changed(RESULT, updates=99), "updates differs between the seeds"),
    "enormous setting": (setting("hidden", 10**9), "'hidden' is 1000000000; nothing larger"),
    "unknown setting": (setting("trick", 1), r"unknown \['trick'\]"),
    "ill-typed setting": (setting("hidden", "8; import os"), "hidden is '8; import os'"),
    "agent that is code": (agent(f"{MODULE_THAT_MUST_NOT_RUN}:X"), "is code that the submission names; it is not run"),
    "unknown agent": (agent("bcc"), "'bcc' is not installed here. Did you mean 'bc'"),
    "policies for some": (lambda b: (b / WEIGHTS).unlink(), "5 records and 4 policies for 5 results"),
    "policy of a stranger": (changed(POLICY, kind="torch"), "kind is 'torch', expected agent or onnx"),
    "path to weights": (changed(POLICY, weights="../../../etc/passwd"), "weights '../../../etc/passwd', expected"),
    "swapped weights": (lambda b: os.truncate(b / WEIGHTS, 100), "is not the file that"),
    "policy of another seed": (changed(POLICY, seed=1), "seed is not that of"),
    "other sizes": (lambda b: edit(b / POLICY, lambda p: p["spec"].update(O=7)), "spec is not that of toy/signals"),
    "impossible epsilon": (changed(POLICY, epsilon=2.0), "epsilon is 2.0"),
    "impossible noise": (changed(POLICY, noise=1e300), r"noise is 1e\+300, expected null or a number from 0 to 2.0"),
    "pickle": (pickled, "not a safetensors file"),
    "header without end": (long_header, "its header claims 4611686018427387904 bytes"),
    "overlapping tensors": (weights(overlapping), "tensors overlap or leave a gap"),
    "shape beyond the data": (weights(with_tensor(shape=[2**40])), "does not fill bytes"),
    "negative shape": (weights(with_tensor(shape=[-1])), "are counts from 0"),
    "unknown dtype": (weights(with_tensor(dtype="OBJECT")), "dtype 'OBJECT', expected one of"),
    "data after the tensors": (weights(lambda h, b: (h, b + b"#!/bin/sh")), "but the file holds"),
    "weights that are NaN": (not_finite, "holds NaN or infinity"),
    "changed weights": (weights(lambda h, b: (h, b[:-1] + b"\x01")), "does not match its checksum"),
    "curve of no run": (renamed(CURVES, "other.json"), "of a run that has a result"),
    "ragged curve": (lambda b: edit(b / CURVES, lambda c: c["updates"].append(1)), "columns of different lengths"),
    "curve of words": (
        lambda b: edit(b / CURVES, lambda c: c["metrics"].update(loss=["<b>"] * len(c["updates"]))),
        "holds something that is no number",
    ),
    "a verdict of its own": (
        lambda b: (b / "verdict.json").write_text('{"state": "verified"}'), "Verdict lacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), KINDS.values(), ids=KINDS)
def test_a_spoilt_submission_is_refused_in_one_line(bundle: Path, spoil: Spoil, words: str) -> None:
    spoil(bundle)
    with pytest.raises(FormatError, match=words) as refused:
        validate(bundle, known=known())
    shown = str(refused.value)
    assert shown.isprintable(), "what is printed must not steer a terminal"
    assert len(shown) < 600
    assert MODULE_THAT_MUST_NOT_RUN not in sys.modules


def test_there_are_more_than_twenty_kinds() -> None:
    assert len(KINDS) >= 20


@pytest.mark.parametrize("name", ["Upper", "..", "a b", "-x", "x" * 81])
def test_the_folder_is_named_like_a_slug(bundle: Path, name: str) -> None:
    there = bundle.parent if name == ".." else bundle.rename(bundle.with_name(name))
    with pytest.raises(FormatError, match="the folder's name is the entry's slug"):
        validate(there / name if name == ".." else there, known=known())


def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(FormatError, match="a submission is a folder"):
        validate(path, known=known())


def test_trusted_code_is_imported_by_whoever_says_so(bundle: Path) -> None:
    agent("baselines.bc:BC")(bundle)
    with pytest.raises(FormatError, match="is code that the submission names"):
        validate(bundle, known=known())
    assert validate(bundle, known=known(), trust=True).policies == 5


def test_the_command_says_one_line_per_submission_and_fails(bundle: Path) -> None:
    bad = toy_bundle(bundle.parent / "other")
    changed("submission.json", name="<b>")(bad)
    done = CliRunner().invoke(main, ["leaderboard", "validate", str(bundle), str(bad), str(bundle.parent / "no")])
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["Error"] * 4
    assert "no published toy/signals/low-v1" in lines[0], "not known without --local-datasets"
    assert "holds one of" in lines[1]
    assert "no folder here" in lines[2]
    assert lines[3] == "Error: 3 of 3 submissions are refused"
