"""Names: found without importing, suggested when misspelt, and clear when what they stand for is broken."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from baselines.bc import BC
from offmarl_bench import registry
from offmarl_bench.envs import get_spec, make_env, split_id
from offmarl_bench.errors import FormatError, OffmarlError, UnknownName


def test_ours_are_registered() -> None:
    assert {"bc", "icq", "mabcq", "macql", "qmix", "sit"} <= set(registry.names("agents"))
    assert {"smac", "toy"} <= set(registry.names("environments"))
    assert "local" in registry.names("executors")
    assert registry.resolve("agents", "bc") is BC


def test_whatever_is_importable_needs_no_registration() -> None:
    assert registry.resolve("agents", "baselines.bc:BC") is BC
    assert make_env("offmarl_bench.envs.toy:suite/signals", 2).spec.id == "toy/signals"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bcc", r"unknown agent 'bcc'\. Did you mean 'bc'\? Known: .*sit.*'module:attr'"),
        ("zzzzzz", r"unknown agent 'zzzzzz'\. Known: "),
        ("no_such_module:X", r"cannot find 'no_such_module:X' \(agents\): .*expected an importable 'module:attr'"),
        ("baselines.bc:XYZ", "has no attribute 'XYZ'"),
        (":BC", "cannot find ':BC'"),
    ],
)
def test_a_name_that_does_not_exist_is_said_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UnknownName, match=words):
        registry.resolve("agents", name)


def test_a_broken_plugin_is_named_and_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry._points
    broken = EntryPoint("mine", "no_such_module:Agent", "offmarl_bench.agents")
    monkeypatch.setattr(registry, "_points", lambda kind: real(kind) | {"mine": broken})
    with pytest.raises(OffmarlError, match=r"the agent 'mine' \(no_such_module:Agent\) is registered but fails"):
        registry.resolve("agents", "mine")
    assert registry.resolve("agents", "bc") is BC


def test_the_message_for_an_unknown_name() -> None:
    text = str(registry.unknown("level", "exprt", ["random", "expert"], "See the docs."))
    assert text == "unknown level 'exprt'. Did you mean 'expert'? Known: random, expert. See the docs."
    assert str(registry.unknown("level", "x", [])) == "unknown level 'x'. Known: none."


def test_environment_ids() -> None:
    assert split_id("my_package:suite/map") == ("my_package:suite", "map")
    assert get_spec("toy/signals").N == 4
    for bad in ("smac", "/map", "smac/"):
        with pytest.raises(FormatError, match=r"expected 'suite/map', e\.g\. 'smac/2s3z'"):
            split_id(bad)
    with pytest.raises(FormatError, match="num_envs is 0, expected at least 1"):
        make_env("toy/signals", 0)
    with pytest.raises(UnknownName, match=r"unknown map of suite toy 'signal'\. Did you mean 'signals'\?"):
        make_env("toy/signal")
