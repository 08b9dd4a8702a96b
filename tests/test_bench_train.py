"""The speed of training: rows for every phase, by the clock and by the processor."""

from __future__ import annotations

from dataclasses import replace

from offmarl_bench.bench import Measurement
from offmarl_bench.bench_train import bench_train, players
from offmarl_bench.cli.bench import three_digits


def test_every_phase_has_its_rows() -> None:
    rows = bench_train(["bc", "bc-joint-sampler"], "toy/signals", lengths=(4,), seconds=0.01)
    found = {(r.case.partition(",")[0], r.unit) for r in rows}
    assert found == {
        *(("bc learn", unit) for unit in ("s/update", "CPU-s/update", "%")),
        *(("bc-joint-sampler share", unit) for unit in ("s/update", "CPU-s/update")),
        *(("bc-joint-sampler learn", unit) for unit in ("s/update", "CPU-s/update", "%")),
    }
    assert all(r.value > 0 and r.threads == 1 for r in rows)


def test_who_cannot_play_is_not_measured_unless_asked_for() -> None:
    discrete, continuous = players("toy/signals"), players("toy/target")
    assert {"bc", "icq", "mabcq", "macql", "sit"} <= {*discrete} & {*continuous}
    assert ("qmix" in discrete, "facmac" in discrete) == (True, False)
    assert ("qmix" in continuous, "facmac" in continuous) == (False, True)


def test_the_table_shows_an_update_of_milliseconds_as_well_as_a_million_steps() -> None:
    assert [three_digits(x) for x in (0.01071, 0.5, 42.14, 826159.4)] == ["0.0107", "0.5", "42.1", "826,159"]


def test_json_keeps_six_digits_of_milliseconds_and_of_a_million_steps() -> None:
    row = Measurement(bench="train", case="one", value=0.00712345678, unit="s/update", threads=1, seconds=5.0)
    assert row.to_json()["value"] == 0.00712346
    assert replace(row, value=826159.4).to_json()["value"] == 826159
