"""``golden/v1.h5`` was written by the first release: every release reads it, to the last number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offmarl_bench.audit import verify
from offmarl_bench.loader import load_dataset

GOLDEN = Path(__file__).parent / "golden" / "v1.h5"
CONTENT = "3627efba4cdf84dfd848afabc07c8e768cf9a708f45f2d5d5e8838c8b2578090"


def test_the_golden_file_reads_as_on_its_first_day() -> None:
    dataset = load_dataset(GOLDEN)
    assert (dataset.spec.id, len(dataset)) == ("toy/signals", 12)
    assert dataset.metadata["format_version"] == 1
    assert dataset.returns.tolist() == [2.5, 3.5, 3.0, 3.5, 3.25, 2.5, 2.75, 3.0, 2.75, 3.75, 3.0, 2.0]
    episode = dataset[7]
    assert episode.actions[:3].tolist() == [[3, 2, 0, 0], [3, 0, 0, 0], [0, 3, 0, 0]]
    assert episode.rewards.tolist() == [0.5, 1.0, 0.5, 0.25, 0.5, 0.25, 0.0, 0.0]
    assert episode.observations[0, 0].tolist() == [0, 0, 0, 1, 0, 0]
    assert episode.behavior_level is not None
    assert episode.behavior_level[0].tolist() == [0, 0, 0, 0]
    assert not episode.terminal
    np.testing.assert_array_equal(dataset.lengths, 8)


def test_the_golden_file_is_unchanged() -> None:
    report = verify(GOLDEN)
    assert report.ok, str(report)
    assert report.content_hash == CONTENT


def test_the_hash_in_the_documentation_is_the_one_in_the_file() -> None:
    text = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    order = [
        line.split("`")[1]
        for line in text.splitlines()
        if (line.startswith("| `") and "| (" in line) or "| () |" in line
    ]
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102  (our own documentation)
    assert order == list(load_dataset(GOLDEN).columns)
    assert names["content_hash"](GOLDEN, order) == CONTENT  # type: ignore[operator]
